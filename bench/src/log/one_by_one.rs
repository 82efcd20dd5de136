//! Records one by one: Produce requests at a steady rate over one connection, each timed from its send to its answer.
//!
//! ```text
//! sender     sleeps until the next is due ── notes the time, writes the request ──▶ broker
//! receiver   waits for the next answer ◀─────────── answers come in order ────────────┘
//! ```
//! No client library, and nobody spins: a thread that has nothing to do leaves the core, so what is timed is the broker and not whose turn
//! it is on the driver's core.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use log_protocol::api::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use log_protocol::{
    ApiKey, BatchBuilder, Compression, ErrorCode, ProducerStamp, RequestHeader, Response,
    decode_response, encode_request,
};

/// Both brokers take it, and it still names topics.
const PRODUCE_VERSION: i16 = 9;
/// A broker that says nothing for so long has given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A partition that was just made may have no leader yet: how often it is asked again.
const LEADER_PAUSE: Duration = Duration::from_millis(20);

/// What is sent, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) topic: &'a str,
    /// Taken in turns.
    pub(super) values: &'a [String],
    /// Records a second.
    pub(super) rate: u32,
    pub(super) records: u32,
}

/// Sends the records of `plan` to partition 0; gives the time that each took.
///
/// # Errors
/// The broker refuses a record, or is gone.
pub(super) fn send(address: &str, plan: Plan<'_>) -> Result<Vec<Duration>> {
    let mut requests = TcpStream::connect(address).context("connect")?;
    requests.set_nodelay(true)?;
    requests.set_read_timeout(Some(SILENCE_MAX))?;
    await_leader(&mut requests, plan)?;
    let answers = requests.try_clone()?;
    let (sent, times) = mpsc::channel();
    thread::scope(|scope| {
        let receiver = scope.spawn(move || receive(answers, &times, plan.records));
        let written = write_all(&mut requests, &sent, plan);
        if written.is_err() {
            // The receiver waits for nothing more; that it is gone already is no loss.
            let _ = requests.shutdown(Shutdown::Both);
        }
        let received = receiver.join().map_err(|_| anyhow!("the receiver died"))?;
        written.and(received)
    })
}

fn write_all(requests: &mut TcpStream, sent: &Sender<Instant>, plan: Plan<'_>) -> Result<()> {
    let period = Duration::from_secs(1) / plan.rate;
    let started = Instant::now();
    for number in 0..plan.records {
        let request = request(plan, number)?;
        let due = started + period * number;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if sent.send(Instant::now()).is_err() {
            // The receiver has failed, and says why.
            return Ok(());
        }
        requests.write_all(&request).context("send a record")?;
    }
    Ok(())
}

fn receive(
    mut answers: TcpStream,
    times: &Receiver<Instant>,
    records: u32,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(records as usize);
    for number in 0..records {
        let frame = frame(&mut answers)?;
        let now = Instant::now();
        match outcome(frame, number)? {
            ErrorCode::None => latencies.push(now - times.recv()?),
            refused => bail!("record {number} was refused: {refused:?}"),
        }
    }
    Ok(latencies)
}

/// Sends a record until it is taken.
fn await_leader(stream: &mut TcpStream, plan: Plan<'_>) -> Result<()> {
    let started = Instant::now();
    loop {
        stream.write_all(&request(plan, 0)?)?;
        match outcome(frame(stream)?, 0)? {
            ErrorCode::None => return Ok(()),
            refused if started.elapsed() > SILENCE_MAX => {
                bail!("no record is taken: {refused:?}")
            }
            _ => thread::sleep(LEADER_PAUSE),
        }
    }
}

fn request(plan: Plan<'_>, number: u32) -> Result<Bytes> {
    let value = &plan.values[number as usize % plan.values.len()];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let mut batch = BatchBuilder::new(Compression::None);
    let now_ms = i64::try_from(now.as_millis())?;
    batch.append(now_ms, None, Some(value.as_bytes()), &[]);
    let request = ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: i32::try_from(SILENCE_MAX.as_millis())?,
        topic_data: vec![TopicProduceData {
            name: plan.topic.to_owned(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(batch.build(ProducerStamp::NONE)),
            }],
            ..TopicProduceData::default()
        }],
    };
    let correlation = i32::try_from(number)?;
    let client = Some("bench".to_owned());
    let header = RequestHeader::new(ApiKey::Produce, PRODUCE_VERSION, correlation, client);
    Ok(encode_request(&header, &request.into())?)
}

/// The next answer, without its size.
fn frame(stream: &mut TcpStream) -> Result<Bytes> {
    let mut size = [0; 4];
    stream.read_exact(&mut size).context("await an answer")?;
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(size))?];
    stream.read_exact(&mut frame).context("await an answer")?;
    Ok(frame.into())
}

/// What became of the record with this number.
fn outcome(frame: Bytes, number: u32) -> Result<ErrorCode> {
    let (correlation, answer) = decode_response(ApiKey::Produce, PRODUCE_VERSION, frame)?;
    let answered = match &answer {
        Response::Produce(answer) => answer
            .responses
            .first()
            .and_then(|topic| topic.partition_responses.first()),
        _ => None,
    };
    match answered {
        Some(answered) if i64::from(correlation) == i64::from(number) => Ok(answered.error_code),
        _ => bail!("not the answer to record {number}: {answer:?}"),
    }
}
