//! The way in for TCP: accepts, and hands each connection to one thread.
//!
//! Promises: a connection's readiness is told to the thread that serves it,
//! and nothing lies between that thread and the socket; running out of
//! descriptors is waited out. Refuses: anything before the connection is
//! [`App`]'s.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora_core::server::ShutdownWatch;
use pingora_core::services::listening;
use pingora_runtime::current_handle;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::app::App;

/// How long to wait for descriptors when there are none left.
const BREATH: Duration = Duration::from_millis(100);

/// Accepts until it is told to stop.
pub(super) async fn accept(
    listener: TcpListener,
    app: Arc<App>,
    (mut stop, shutdown): (watch::Receiver<bool>, ShutdownWatch),
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (app, shutdown) = (Arc::clone(&app), shutdown.clone());
                // A connection that is gone already needs no task.
                let _ = hand_over(stream, move |stream| async move {
                    let stream: Stream = Box::new(Accepted { stream, peer });
                    listening::Service::handle_event(stream, app, shutdown).await;
                });
            }
            Err(error) if is_the_clients(&error) => {}
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
}

/// Gives a connection to one of the service's threads, which from then on
/// hears of its readiness itself.
fn hand_over<F>(
    stream: TcpStream,
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    stream.set_nodelay(true)?;
    let thread = current_handle();
    if thread.id() == Handle::current().id() {
        thread.spawn(serve(stream));
        return Ok(());
    }
    let stream = stream.into_std()?;
    thread.spawn(async move {
        if let Ok(stream) = TcpStream::from_std(stream) {
            serve(stream).await;
        }
    });
    Ok(())
}

/// The connection ended before it was accepted: the next one may be fine.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::InvalidInput
    )
}

/// An accepted connection on its way through [`ServerApp`]. It only carries:
/// [`Accepted::take`] gives the socket itself.
///
/// [`ServerApp`]: pingora_core::apps::ServerApp
#[derive(Debug)]
pub(super) struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
}

impl Accepted {
    /// The socket and its other end, canonical; nothing for a stream that was
    /// not accepted here.
    pub(super) fn take(stream: Stream) -> Option<(TcpStream, SocketAddr)> {
        let Self { stream, peer } = *stream.into_any().downcast::<Self>().ok()?;
        Some((
            stream,
            SocketAddr::new(peer.ip().to_canonical(), peer.port()),
        ))
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Accepted {
    async fn shutdown(&mut self) {
        let _ = self.stream.shutdown().await;
    }
}

impl UniqueID for Accepted {
    fn id(&self) -> UniqueIDType {
        use std::os::fd::AsRawFd as _;
        self.stream.as_raw_fd()
    }
}

impl GetTimingDigest for Accepted {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Accepted {
    fn get_proxy_digest(&self) -> Option<Arc<pingora_core::protocols::raw_connect::ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Accepted {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Ssl for Accepted {}
impl Peek for Accepted {}
