//! Buffers that are held only while bytes are in them.
//!
//! Promises: an idle connection owns no buffer; a buffer in steady state comes
//! from a per-thread pool and goes back there. Refuses: growth past the bound
//! that the caller names.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Size of a pooled buffer: one TLS record or a large head with its body.
pub const BUFFER: usize = 16 * 1024;
/// Buffers kept by a thread for reuse: 1 MiB.
const POOLED: usize = 64;

/// Buffers of one kind that nobody holds.
struct Pool {
    /// The one that was given back last: most often it is all there is to it.
    last: Cell<Vec<u8>>,
    rest: RefCell<Vec<Vec<u8>>>,
}

impl Pool {
    const fn new() -> Self {
        Self {
            last: Cell::new(Vec::new()),
            rest: RefCell::new(Vec::new()),
        }
    }

    /// One that was given back; without capacity when there is none.
    #[inline]
    fn take(&self) -> Vec<u8> {
        let last = self.last.take();
        if last.capacity() > 0 {
            return last;
        }
        self.rest.borrow_mut().pop().unwrap_or_default()
    }

    #[inline]
    fn give(&self, buffer: Vec<u8>) {
        let other = self.last.replace(buffer);
        if other.capacity() > 0 {
            let mut rest = self.rest.borrow_mut();
            if rest.len() < POOLED {
                rest.push(other);
            }
        }
    }
}

thread_local! {
    static READ: Pool = const { Pool::new() };
    static WRITE: Pool = const { Pool::new() };
}

#[inline]
fn take_read() -> Vec<u8> {
    let buffer = READ.with(Pool::take);
    if buffer.is_empty() {
        return vec![0; BUFFER];
    }
    buffer
}

#[inline]
fn give_read(buffer: Vec<u8>) {
    if buffer.len() == BUFFER {
        READ.with(|pool| pool.give(buffer));
    }
}

#[inline]
fn take_write() -> Vec<u8> {
    let buffer = WRITE.with(Pool::take);
    if buffer.capacity() == 0 {
        return Vec::with_capacity(BUFFER);
    }
    buffer
}

#[inline]
fn give_write(mut buffer: Vec<u8>) {
    if (BUFFER..=2 * BUFFER).contains(&buffer.capacity()) {
        buffer.clear();
        WRITE.with(|pool| pool.give(buffer));
    }
}

/// Bytes that arrived and were not read yet.
#[derive(Default)]
pub struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    /// What is there to read.
    pub fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// True when nothing is left to read.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Marks `count` bytes as read (at most what is there). An empty inbox
    /// starts over at the front of its buffer.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Gives the buffer back to the thread when nothing is in it.
    pub fn release(&mut self) {
        if self.is_empty() && !self.buffer.is_empty() {
            give_read(std::mem::take(&mut self.buffer));
        }
    }

    /// True when no byte more fits without growing.
    pub fn is_full(&self) -> bool {
        self.end - self.start >= self.buffer.len().max(BUFFER)
    }

    /// Makes room for more than a pooled buffer holds, up to `bound` bytes in
    /// all. False when the bound is reached.
    pub fn grow(&mut self, bound: usize) -> bool {
        if self.buffer.len() >= bound {
            return false;
        }
        let larger = (self.buffer.len() * 2).clamp(BUFFER, bound.max(BUFFER));
        self.buffer.resize(larger, 0);
        true
    }

    /// Reads once. `Ok(0)` is the end of input. While nothing is there, no
    /// buffer is held. The caller sees to it that the inbox is not full.
    pub fn poll_fill<I: AsyncRead + Unpin>(
        &mut self,
        io: &mut I,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.buffer.is_empty() {
            self.buffer = take_read();
        }
        if self.end == self.buffer.len() && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let mut free = ReadBuf::new(self.buffer.get_mut(self.end..).unwrap_or_default());
        match Pin::new(io).poll_read(cx, &mut free) {
            Poll::Ready(Ok(())) => {
                let count = free.filled().len();
                self.end += count;
                if count == 0 {
                    self.release();
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => {
                self.release();
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                self.release();
                Poll::Pending
            }
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        give_read(std::mem::take(&mut self.buffer));
    }
}

/// Bytes that wait to be written.
#[derive(Default)]
pub struct Outbox {
    buffer: Vec<u8>,
    written: usize,
    /// Written, but perhaps still in a TLS session.
    unflushed: bool,
}

impl Outbox {
    /// Where the next bytes are appended.
    pub fn space(&mut self) -> &mut Vec<u8> {
        if self.buffer.capacity() == 0 {
            self.buffer = take_write();
        }
        &mut self.buffer
    }

    /// Bytes that are not written yet.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.written
    }

    /// True when all is written and flushed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && !self.unflushed
    }

    /// True when the writer should wait before it appends more.
    pub fn is_full(&self) -> bool {
        self.len() >= BUFFER
    }

    /// All bytes since the last [`Outbox::clear`], written or not.
    pub fn all(&self) -> &[u8] {
        &self.buffer
    }

    /// Forgets everything and gives the buffer back.
    pub fn clear(&mut self) {
        self.written = 0;
        if self.buffer.capacity() > 0 {
            give_write(std::mem::take(&mut self.buffer));
        }
    }

    /// Writes until nothing is left, keeping what was written for a rewind.
    pub fn poll_write<I: AsyncWrite + Unpin>(
        &mut self,
        io: &mut I,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.buffer.len() {
            let left = self.buffer.get(self.written..).unwrap_or_default();
            let count = ready!(Pin::new(&mut *io).poll_write(cx, left))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        give_write(std::mem::take(&mut self.buffer));
    }
}
