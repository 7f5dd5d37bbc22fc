//! One connection as its exchanges see it. Promises that a connection that
//! was cut ends with a reset, not with a clean close.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// State that a connection and its exchanges share.
#[derive(Debug)]
pub(crate) struct Link {
    cut: CancellationToken,
    used: AtomicBool,
    /// The connection's place among those allowed, kept until a WebSocket
    /// that came out of it ends too.
    _place: OwnedSemaphorePermit,
}

impl Link {
    /// A fresh connection that takes the place of `place`.
    pub(crate) fn new(place: OwnedSemaphorePermit) -> Self {
        Self {
            cut: CancellationToken::new(),
            used: AtomicBool::new(false),
            _place: place,
        }
    }

    /// Ends the connection with a reset.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }

    /// Waits until somebody cuts the connection.
    pub(crate) async fn cut_requested(&self) {
        self.cut.cancelled().await;
    }

    /// Notes that a request arrived.
    pub(crate) fn mark_used(&self) {
        self.used.store(true, Relaxed);
    }

    /// Whether a request ever arrived.
    pub(crate) fn used(&self) -> bool {
        self.used.load(Relaxed)
    }
}

/// What carries a connection.
#[derive(Debug)]
pub(crate) enum Carrier {
    /// TCP as it is.
    Plain(TcpStream),
    /// TLS, its handshake done.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream that is reset, not closed, when its link was cut.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Carrier,
    link: Arc<Link>,
}

impl Socket {
    /// Binds `stream` to its link.
    pub(crate) fn new(stream: Carrier, link: Arc<Link>) -> Self {
        Self { stream, link }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.link.cut.is_cancelled() {
            // Failing means that the peer has already gone.
            let _ = match &self.stream {
                Carrier::Plain(stream) => stream.set_zero_linger(),
                Carrier::Tls(stream) => stream.get_ref().0.set_zero_linger(),
            };
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Carrier::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Carrier::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Carrier::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Carrier::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Carrier::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Carrier::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Carrier::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Carrier::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Carrier::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Carrier::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Carrier::Plain(stream) => stream.is_write_vectored(),
            Carrier::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
