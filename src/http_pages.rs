//! Serves pages over HTTP, as each listener asks or not, until it is stopped.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use futures::FutureExt;
use futures::future::BoxFuture;
use log_broker::{Broker, SecurityProtocol};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::http_access::{self, Peer, Surface};
use crate::http_listeners::Tls;

/// How long open connections may take to end at a graceful stop.
const DRAIN: Duration = Duration::from_millis(500);

/// What a listener shows.
pub(crate) struct Pages {
    /// Whose they are.
    pub surface: Surface,
    /// What the listener asks.
    pub protocol: SecurityProtocol,
    /// The pages, as somebody who may everything sees them.
    pub router: Router,
}

impl Pages {
    /// Serves them until `stopped` says so.
    ///
    /// # Errors
    /// If the log's certificates cannot be used where the listener is encrypted.
    pub(crate) fn serve(
        self,
        socket: TcpListener,
        broker: &Broker,
        stopped: watch::Receiver<bool>,
    ) -> Result<impl Future<Output = Result<()>> + Send + use<>> {
        let stop = until(stopped.clone());
        let asked = |router| {
            let pages = http_access::asked(router, broker.guard(), self.surface);
            pages.into_make_service_with_connect_info::<Peer>()
        };
        let graceful: BoxFuture<'static, std::io::Result<()>> = match self.protocol {
            SecurityProtocol::Plaintext | SecurityProtocol::Ssl => {
                let served = axum::serve(socket, self.router);
                served.with_graceful_shutdown(stop).into_future().boxed()
            }
            SecurityProtocol::SaslPlaintext => {
                let served = axum::serve(socket, asked(self.router));
                served.with_graceful_shutdown(stop).into_future().boxed()
            }
            SecurityProtocol::SaslSsl => {
                let socket = broker.tls_socket(socket);
                let socket = socket.context("a listener of HTTP with TLS needs kafka.ssl.*")?;
                let served = axum::serve(Tls(socket), asked(self.router));
                served.with_graceful_shutdown(stop).into_future().boxed()
            }
        };
        let name = match self.surface {
            Surface::Connect => "connect",
            Surface::Sql => "http",
        };
        Ok(async move {
            // A push query's connection never ends by itself: it gets a short time, then it is cut.
            let cut = async {
                until(stopped).await;
                tokio::time::sleep(DRAIN).await;
            };
            tokio::select! {
                result = graceful => result.with_context(|| format!("{name} listener")),
                () = cut => Ok(()),
            }
        })
    }
}

/// Resolves when a stop is asked for.
pub(crate) async fn until(mut stopped: watch::Receiver<bool>) {
    // A closed channel means that the owner is gone: stop as well.
    let _ = stopped.wait_for(|stop| *stop).await;
}
