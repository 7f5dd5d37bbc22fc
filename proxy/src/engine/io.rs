//! One type for every byte stream a connection may run over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A downstream or upstream byte stream.
pub enum Io {
    /// Plain, accepted or connected.
    Tcp(TcpStream),
    /// Accepted, with our TLS inside.
    Tls(Box<TlsStream<TcpStream>>),
    /// Connected, with our TLS inside.
    Dialled(Box<Dialled>),
}

/// TLS toward an endpoint.
pub type Dialled = tokio_rustls::client::TlsStream<TcpStream>;

/// Reads of one look at an idle TLS connection: what an endpoint says unasked
/// (tickets, new keys) is less.
const LOOKS_MAX: usize = 8;

impl Io {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            Self::Dialled(stream) => stream.get_ref().0,
        }
    }

    /// Whether the connection broke, though bytes of it may be left to read.
    pub fn is_broken(&self) -> bool {
        matches!(self.socket().take_error(), Ok(Some(_)) | Err(_))
    }

    /// True when nothing waits to be read: no byte that nobody asked for, no
    /// end. Takes what it reads. Only asked of what was connected.
    #[inline]
    pub fn is_quiet(&mut self) -> bool {
        match self {
            Self::Tcp(stream) => {
                let mut byte = [0_u8; 1];
                matches!(stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Tls(_) => false,
            Self::Dialled(stream) => is_silent(stream),
        }
    }

    /// Says goodbye where the protocol has a word for it, as far as that goes
    /// without waiting.
    pub fn say_goodbye(&mut self) {
        if let Self::Dialled(stream) = self {
            let (socket, session) = stream.get_mut();
            session.send_close_notify();
            // Whoever does not hear it sees the end of the connection.
            let _ = session.write_tls(&mut Now(socket));
        }
    }

    /// Apart, so that reading in plain text stays small enough to be inlined.
    #[inline(never)]
    fn poll_read_sealed(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            Self::Dialled(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }

    /// Its end will be a reset. A socket that takes no options is broken, and
    /// ends so anyway.
    pub fn reset_at_end(&self) {
        let _ = self.socket().set_zero_linger();
    }
}

/// A socket as it is at this moment: what would wait is an error.
struct Now<'a>(&'a TcpStream);

impl io::Read for Now<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl io::Write for Now<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same behind TLS, whose own messages (tickets, new keys) are no answer.
fn is_silent(stream: &mut Dialled) -> bool {
    let (socket, session) = stream.get_mut();
    for _ in 0..LOOKS_MAX {
        match session.read_tls(&mut Now(socket)) {
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            Ok(0) => return false,
            Ok(_) => {}
        }
        match session.process_new_packets() {
            Ok(state) if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => {}
            Ok(_) | Err(_) => return false,
        }
    }
    false
}

impl AsyncRead for Io {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let io = self.get_mut();
        match io {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(_) | Self::Dialled(_) => io.poll_read_sealed(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            // Most often there is room: ask for it only when there is not.
            Self::Tcp(stream) => match stream.try_write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Pin::new(stream).poll_write(cx, buf)
                }
                written => Poll::Ready(written),
            },
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
            Self::Dialled(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // A socket has nothing to flush.
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            Self::Dialled(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Self::Dialled(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
