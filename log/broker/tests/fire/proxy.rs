//! A network between clients and the broker that does to single frames what networks do to them.
//!
//! ```text
//!  client ──▶ connection n ──▶ frame of the api that is aimed at, the k-th ──▶ broker
//!                                 hold     the client is cut off; the frame arrives once the client has gone on over newer connections
//!                                 cut      the frame arrives, its answer does not: both ends are closed
//!                                 half     the frame is torn: its first half arrives, then the connection is closed
//!                                 silence  the frame arrives, its answer does not, and nothing is closed
//! ```
//! What makes the client go on is its own work: a held frame arrives when so many more of its kind have passed, not after a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Hold,
    Cut,
    Half,
    Silence,
}

impl Fault {
    pub(super) const ALL: [Self; 4] = [Self::Hold, Self::Cut, Self::Half, Self::Silence];
}

/// Frames of its kind that pass before a held one arrives.
const HELD_FOR: usize = 3;

/// The faults to come: the next frame of an api meets one.
#[derive(Debug, Default)]
struct Plan {
    armed: Mutex<Option<(i16, Fault)>>,
    /// Faults that were met so far.
    met: AtomicUsize,
}

/// A proxy; dropped, it takes no further connections.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    plan: Arc<Plan>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// In front of the broker at `target`.
    pub(super) async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let plan = Arc::new(Plan::default());
        let shared = Arc::clone(&plan);
        let accepting = tokio::spawn(async move {
            let passed = Arc::new(watch::Sender::new([0_usize; KINDS]));
            while let Ok((client, _)) = listener.accept().await {
                let Ok(broker) = TcpStream::connect(target).await else {
                    continue;
                };
                let pair = Pair {
                    plan: Arc::clone(&shared),
                    passed: Arc::clone(&passed),
                };
                tokio::spawn(pair.run(client, broker));
            }
        });
        Self {
            address,
            plan,
            accepting,
        }
    }

    /// The next frame of this api meets this fault.
    pub(super) fn arm(&self, api: i16, fault: Fault) {
        *self.plan.armed.lock() = Some((api, fault));
    }

    /// Whether the fault that was armed is still to come.
    pub(super) fn is_armed(&self) -> bool {
        self.plan.armed.lock().is_some()
    }

    pub(super) fn met(&self) -> usize {
        self.plan.met.load(Ordering::Relaxed)
    }
}

/// Apis up to this number are counted.
const KINDS: usize = 100;

struct Pair {
    plan: Arc<Plan>,
    /// Frames that have passed, by api.
    passed: Arc<watch::Sender<[usize; KINDS]>>,
}

impl Pair {
    async fn run(self, client: TcpStream, broker: TcpStream) {
        let _ = client.set_nodelay(true);
        let _ = broker.set_nodelay(true);
        let (from_client, to_client) = client.into_split();
        let (from_broker, to_broker) = broker.into_split();
        let answers = tokio::spawn(answer(from_broker, to_client));
        self.ask(from_client, to_broker, answers).await;
    }

    /// Passes frames of the client on until one of them meets a fault, or an end.
    async fn ask(
        self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        answers: tokio::task::JoinHandle<()>,
    ) {
        while let Some(frame) = frame(&mut from).await {
            let api = i16::from_be_bytes([frame[4], frame[5]]);
            let fault = {
                let mut armed = self.plan.armed.lock();
                armed.take_if(|(aimed, _)| *aimed == api)
            };
            let kind = usize::try_from(api).unwrap_or(0).min(KINDS - 1);
            let Some((_, fault)) = fault else {
                if to.write_all(&frame).await.is_err() {
                    break;
                }
                self.passed.send_modify(|passed| passed[kind] += 1);
                continue;
            };
            self.plan.met.fetch_add(1, Ordering::Relaxed);
            match fault {
                Fault::Hold => {
                    // The client sees its connection end, and goes on over another.
                    answers.abort();
                    drop(from);
                    let mut passed = self.passed.subscribe();
                    let until = passed.borrow()[kind] + HELD_FOR;
                    // The load may end before.
                    let _ = passed.wait_for(|passed| passed[kind] >= until).await;
                    let _ = to.write_all(&frame).await;
                    let _ = to.shutdown().await;
                    return;
                }
                Fault::Cut => {
                    answers.abort();
                    let _ = to.write_all(&frame).await;
                    return;
                }
                Fault::Half => {
                    let _ = to.write_all(&frame[..frame.len() / 2]).await;
                    answers.abort();
                    return;
                }
                Fault::Silence => {
                    // The client's patience ends it.
                    let keep = answers.abort_handle();
                    let _ = to.write_all(&frame).await;
                    keep.abort();
                    while self::frame(&mut from).await.is_some() {}
                    return;
                }
            }
        }
        let _ = to.shutdown().await;
    }
}

/// Passes answers on.
async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

/// The next frame with its size; none at the end.
async fn frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let size = from.read_u32().await.ok()?;
    let mut frame = vec![0; 4 + usize::try_from(size).ok()?];
    frame[..4].copy_from_slice(&size.to_be_bytes());
    from.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}
