//! The byte stream below the `h2` crate, with its writes held together.
//!
//! The crate flushes after each DATA frame; one TLS record and one write a
//! frame. Here frames gather until the connection has nothing more to do
//! (1.00 writes a request become 0.15). Reads pass a flood guard, and during
//! the goodbye what holds back the answer to the crate's ping.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use meridian_policies::Tick;
use meridian_wire::h2::Farewell;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flood::FloodGuard;
use crate::edge::Clock;
use crate::engine::buffers::{BUFFER, Outbox};
use crate::engine::io::Io;

/// Bytes that are read at once during the goodbye.
const FAREWELL_READ: usize = 4 * 1024;

struct Inner {
    io: Io,
    out: Outbox,
    guard: FloodGuard,
    flooded: bool,
    clock: Clock,
    leaving: Option<Box<Leaving>>,
}

/// The goodbye, from GOAWAY until the crate has the answer to its ping.
struct Leaving {
    farewell: Farewell,
    since: Tick,
    /// What the crate has not taken yet.
    ready: Vec<u8>,
    taken: usize,
    over: bool,
}

impl Leaving {
    /// Hands over what is ready. False when that is nothing.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let unread = self.ready.get(self.taken..).unwrap_or_default();
        let count = unread.len().min(buf.remaining());
        buf.put_slice(unread.get(..count).unwrap_or_default());
        self.taken += count;
        if self.taken == self.ready.len() {
            self.ready.clear();
            self.taken = 0;
        }
        count > 0
    }
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
            leaving: None,
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

    /// The crate says goodbye: from now on the answer to its ping is held
    /// back, until the client has understood or a bound has passed. Whoever
    /// calls this lets the connection read again now and then.
    pub fn say_goodbye(&self) {
        let inner = &mut *self.inner();
        if inner.leaving.is_none() {
            inner.leaving = Some(Box::new(Leaving {
                farewell: Farewell::new(inner.guard.follower()),
                since: inner.clock.tick(),
                ready: Vec::new(),
                taken: 0,
                over: false,
            }));
        }
    }

    /// True until the crate has the answer to its ping.
    pub fn says_goodbye(&self) -> bool {
        self.inner().leaving.is_some()
    }

    /// Largest head of an answer that the client takes, if it said so.
    pub fn head_max(&self) -> Option<u32> {
        self.inner().guard.follower().header_list()
    }

    /// True when the client has sent too many frames of nothing.
    pub fn flooded(&self) -> bool {
        self.inner().flooded
    }
}

impl Inner {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if !self.guard.observe(fresh, self.clock.tick().0) {
            self.flooded = true;
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    /// The same, around what is held back.
    #[cold]
    fn poll_read_leaving(
        &mut self,
        mut leaving: Box<Leaving>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let now = self.clock.tick().saturating_sub(leaving.since);
        let mut bytes = [0; FAREWELL_READ];
        let mut read = ReadBuf::new(&mut bytes);
        loop {
            if leaving.give(buf) {
                if !leaving.over || !leaving.ready.is_empty() {
                    self.leaving = Some(leaving);
                }
                return Poll::Ready(Ok(()));
            }
            read.clear();
            let polled = self.poll_read(cx, &mut read);
            leaving
                .farewell
                .pass(read.filled(), now, &mut leaving.ready);
            leaving.over = leaving.farewell.release(now, &mut leaving.ready);
            if leaving.ready.is_empty() && read.filled().is_empty() {
                self.leaving = Some(leaving);
                return polled;
            }
        }
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
        match inner.leaving.take() {
            None => inner.poll_read(cx, buf),
            Some(leaving) => inner.poll_read_leaving(leaving, cx, buf),
        }
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
