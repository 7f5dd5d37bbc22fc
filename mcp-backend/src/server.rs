//! The listener and its connections. Promises HTTP/1.1 with keep-alive and
//! HTTP/2 with prior knowledge on one port, and a stop that lets requests in
//! flight finish within the drain time. Refuses connections above the bound
//! by leaving them in the queue.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backend::Backend,
    link::{Carrier, Link, Socket},
    options::Options,
    store::StoreError,
    tls::{TlsError, acceptor},
};

/// How long a connection may wait for a request's head, keep-alive included:
/// longer than the 60 s that an edge keeps an idle connection.
pub const IDLE: Duration = Duration::from_secs(90);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Streams at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// Fields and bytes of a head: more than an edge lets through (100, 64 KiB),
/// because it adds its own.
const FIELDS_MAX: usize = 256;
const HEAD_MAX: u32 = 256 * 1024;
/// HTTP/2 peers are asked for a sign of life this often...
const PING: Duration = Duration::from_secs(30);
/// ...and have this long to give it.
const PONG: Duration = Duration::from_secs(20);
/// Pause after a failed accept (out of descriptors), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What standing streams get for their goodbye after the drain.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a backend could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The record store did not open.
    #[error("record store: {0}")]
    Store(#[from] StoreError),
    /// A certificate, key or authority cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Serves on `listener` until `shutdown` ends, then drains: stops accepting,
/// lets requests finish for at most `options.drain`, ends standing streams,
/// and returns. Errors come only from the start.
pub async fn serve(
    options: Options,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let drain = options.drain;
    let tls = options.tls.as_ref().map(acceptor).transpose()?;
    let places = Arc::new(Semaphore::new(options.connections_max));
    let backend = Arc::new(Backend::new(options)?);
    let connections = TaskTracker::new();
    let ended = CancellationToken::new();
    {
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = accept(&listener, &places) => accepted,
            };
            match accepted {
                Ok((stream, link)) => {
                    let (backend, tls) = (Arc::clone(&backend), tls.clone());
                    let ended = ended.clone();
                    let served = async move {
                        // A peer that is not believed, or no TLS, needs no answer.
                        if let Some(stream) = secured(stream, tls).await {
                            connection(backend, stream, link).await;
                        }
                    };
                    connections.spawn(async move {
                        tokio::select! { () = ended.cancelled() => {}, () = served => {} }
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
    drop(listener);
    backend.draining.cancel();
    connections.close();
    backend.sockets.close();
    // Whatever is still running after the drain time is cut off below.
    let _ = timeout(drain, backend.load.idle()).await;
    backend.closing.cancel();
    let _ = timeout(GOODBYE, async {
        connections.wait().await;
        backend.sockets.wait().await;
    })
    .await;
    ended.cancel();
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Arc<Link>)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, Arc::new(Link::new(place))))
}

/// The stream after its handshake, if it is to have one.
async fn secured(stream: TcpStream, tls: Option<TlsAcceptor>) -> Option<Carrier> {
    // Only costs latency where it fails.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return Some(Carrier::Plain(stream));
    };
    let stream = timeout(HANDSHAKE, tls.accept(stream)).await.ok()?.ok()?;
    Some(Carrier::Tls(Box::new(stream)))
}

/// Serves one connection to its end.
async fn connection(backend: Arc<Backend>, stream: Carrier, link: Arc<Link>) {
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&link)));
    let service = service_fn(|request| {
        let (backend, link) = (Arc::clone(&backend), Arc::clone(&link));
        async move { backend.answer(request, &link).await }
    });
    let builder = protocols();
    let mut served = pin!(builder.serve_connection_with_upgrades(socket, service));
    let mut draining = pin!(backend.draining.cancelled());
    let mut silent = pin!(silence(&link));
    let mut asked = false;
    loop {
        tokio::select! {
            biased;
            () = link.cut_requested() => return,
            // However it ended, the peer knows; a broken one needs no word.
            _ = &mut served => return,
            () = &mut draining, if !asked => {
                asked = true;
                served.as_mut().graceful_shutdown();
            }
            Silent = &mut silent => return,
        }
    }
}

/// Ends never for a connection that sent a request; the protocol's own
/// deadlines take over there.
async fn silence(link: &Link) -> Silent {
    tokio::time::sleep(IDLE).await;
    if link.used() {
        std::future::pending().await
    } else {
        Silent
    }
}

/// A connection that was opened and never used.
struct Silent;

fn protocols() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_headers(FIELDS_MAX)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_MAX)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    builder
}
