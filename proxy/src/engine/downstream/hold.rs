//! The byte stream below the `h2` crate, with its writes held together.
//!
//! The crate flushes after each DATA frame; one TLS record and one write a
//! frame. Here frames gather until the connection has nothing more to do
//! (1.00 writes a request become 0.15). Reads pass a flood guard.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flood::FloodGuard;
use crate::edge::Clock;
use crate::engine::buffers::{BUFFER, Outbox};
use crate::engine::io::Io;

struct Inner {
    io: Io,
    out: Outbox,
    guard: FloodGuard,
    flooded: bool,
    clock: Clock,
}

/// The connection's own handle on the stream that the crate writes to.
#[derive(Clone)]
pub struct Held(Arc<Mutex<Inner>>);

impl Held {
    /// Two handles on one stream: the crate gets a clone.
    pub fn new(io: Io, clock: Clock) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            io,
            out: Outbox::default(),
            guard: FloodGuard::new(),
            flooded: false,
            clock,
        })))
    }

    /// One task uses both handles, so the lock is never contended.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what has gathered.
    pub fn poll_release(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner();
        ready!(inner.out.poll_write(&mut inner.io, cx))?;
        inner.out.clear();
        Poll::Ready(Ok(()))
    }

    /// True when the client has sent too many frames of nothing.
    pub fn flooded(&self) -> bool {
        self.inner().flooded
    }
}

impl AsyncRead for Held {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner();
        if inner.flooded {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut inner.io).poll_read(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if !inner.guard.observe(fresh, inner.clock.tick().0) {
            inner.flooded = true;
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.inner();
        if inner.out.len() + buf.len() > 4 * BUFFER && !inner.out.is_empty() {
            ready!(inner.out.poll_write(&mut inner.io, cx))?;
            inner.out.clear();
        }
        inner.out.space().extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner();
        ready!(inner.out.poll_write(&mut inner.io, cx))?;
        inner.out.clear();
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}
