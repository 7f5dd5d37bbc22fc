//! The UDP socket of one thread's endpoint.
//!
//! Promises: every datagram reaches the endpoint that knows its connection,
//! whatever socket the kernel chose for it; segmentation offload and batches
//! stay as quinn has them. Refuses: waiting for another thread.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::cid::{Cids, Place};
use super::mailbox::Mailbox;

/// Where the datagrams of one listener go: shared by its threads.
pub(super) struct Router {
    pub(super) cids: Arc<Cids>,
    mailboxes: Box<[Mailbox]>,
}

impl Router {
    /// One mailbox a thread; at most 256 threads.
    pub(super) fn new(cids: Arc<Cids>, threads: usize) -> Self {
        Self {
            cids,
            mailboxes: (0..threads.min(256)).map(|_| Mailbox::default()).collect(),
        }
    }

    /// Leaves a datagram for a thread; lost when its mailbox is full.
    pub(super) fn put(&self, thread: u8, from: &RecvMeta, datagram: &[u8]) {
        if let Some(mailbox) = self.mailboxes.get(usize::from(thread)) {
            let _ = mailbox.put(from, datagram);
        }
    }

    /// Whom a datagram belongs to that `thread` received.
    fn owner(&self, datagram: &[u8], thread: u8) -> Option<u8> {
        match self.cids.place(datagram) {
            Place::Thread(owner) => Some(owner),
            // Of a process that is gone: the endpoint resets it.
            Place::Generation(..) | Place::New => Some(thread),
            Place::Nobody => None,
        }
    }

    /// Passes on what belongs to others, and closes the gaps. Bytes that stay.
    fn sort(&self, thread: u8, buffer: &mut [u8], meta: &mut RecvMeta) -> usize {
        let (stride, mut kept) = (meta.stride.max(1), 0);
        let mut at = 0;
        while at < meta.len {
            let end = (at + stride).min(meta.len);
            let Some(datagram) = buffer.get(at..end) else {
                break;
            };
            match self.owner(datagram, thread) {
                Some(owner) if owner == thread => {
                    if kept != at {
                        buffer.copy_within(at..end, kept);
                    }
                    kept += end - at;
                }
                Some(owner) => self.put(owner, meta, datagram),
                None => {}
            }
            at = end;
        }
        meta.len = kept;
        kept
    }
}

/// One thread's socket.
pub(super) struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    router: Arc<Router>,
    thread: u8,
    /// The mailbox was served last: the socket is first this time.
    mail_last: AtomicBool,
}

impl Socket {
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>, router: Arc<Router>, thread: u8) -> Self {
        Self {
            inner,
            router,
            thread,
            mail_last: AtomicBool::new(false),
        }
    }

    fn mail(
        &self,
        cx: &Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> usize {
        let mailbox = self.router.mailboxes.get(usize::from(self.thread));
        mailbox.map_or(0, |mailbox| mailbox.take(cx, buffers, metas))
    }

    /// Reads the socket until something for this thread is there.
    fn poll_socket(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let count = std::task::ready!(self.inner.poll_recv(cx, buffers, metas))?;
            let mut kept = 0;
            for at in 0..count.min(buffers.len()).min(metas.len()) {
                let (Some(buffer), Some(meta)) = (buffers.get_mut(at), metas.get_mut(at)) else {
                    break;
                };
                if self.router.sort(self.thread, buffer, meta) > 0 {
                    buffers.swap(kept, at);
                    metas.swap(kept, at);
                    kept += 1;
                }
            }
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("thread", &self.thread)
            .finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if !self.mail_last.load(Ordering::Relaxed) {
            let count = self.mail(cx, buffers, metas);
            if count > 0 {
                self.mail_last.store(true, Ordering::Relaxed);
                return Poll::Ready(Ok(count));
            }
        }
        self.mail_last.store(false, Ordering::Relaxed);
        if let Poll::Ready(received) = self.poll_socket(cx, buffers, metas) {
            return Poll::Ready(received);
        }
        match self.mail(cx, buffers, metas) {
            0 => Poll::Pending,
            count => Poll::Ready(Ok(count)),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }
}
