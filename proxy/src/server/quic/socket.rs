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
use super::link::{self, Links};
use super::mailbox::Mailbox;
use crate::edge::Edge;

/// What all listeners of a process share.
pub(super) struct Ways {
    pub(super) cids: Arc<Cids>,
    pub(super) links: Links,
    pub(super) edge: Arc<Edge>,
}

/// Where the datagrams of one listener go: shared by its threads.
pub(super) struct Router {
    ways: Arc<Ways>,
    /// What the listener is called between processes.
    pub(super) key: u32,
    mailboxes: Box<[Mailbox]>,
}

/// Whom a datagram belongs to.
enum Owner {
    Here,
    Thread(u8),
    Generation(u8),
    Nobody,
}

impl Router {
    /// One mailbox a thread; at most 256 threads.
    pub(super) fn new(ways: Arc<Ways>, address: SocketAddr, threads: usize) -> Self {
        Self {
            ways,
            key: link::key(address),
            mailboxes: (0..threads.min(256)).map(|_| Mailbox::default()).collect(),
        }
    }

    /// Leaves a datagram for a thread; lost when its mailbox is full.
    fn put(&self, thread: u8, from: &RecvMeta, datagram: &[u8]) {
        if let Some(mailbox) = self.mailboxes.get(usize::from(thread)) {
            let _ = mailbox.put(from, datagram);
        }
    }

    /// Takes a datagram that another process has received.
    pub(super) fn received(&self, from: &RecvMeta, datagram: &[u8]) {
        match self.ways.cids.place(datagram) {
            Place::Thread(thread) => self.put(thread, from, datagram),
            Place::Generation(generation) => {
                let _ = self.pass_on(generation, from, datagram);
            }
            // They stay with whoever received them.
            Place::New | Place::Nobody => {}
        }
    }

    /// Takes what arrived on a socket that no thread has for its own.
    pub(super) fn feed(&self, thread: u8, buffer: &mut [u8], meta: &mut RecvMeta) {
        let kept = self.sort(thread, buffer, meta);
        let kept = buffer.get(..kept).unwrap_or_default();
        for datagram in kept.chunks(meta.stride.max(1)) {
            self.put(thread, meta, datagram);
        }
    }

    fn pass_on(&self, generation: u8, from: &RecvMeta, datagram: &[u8]) -> bool {
        let packed = link::pack(self.key, from, datagram);
        self.ways.links.send(generation, &packed)
    }

    fn owner(&self, datagram: &[u8], thread: u8) -> Owner {
        match self.ways.cids.place(datagram) {
            Place::Thread(owner) if owner == thread => Owner::Here,
            Place::Thread(owner) => Owner::Thread(owner),
            Place::Generation(generation) => Owner::Generation(generation),
            Place::New => Owner::Here,
            Place::Nobody => Owner::Nobody,
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
            let stays = match self.owner(datagram, thread) {
                Owner::Here => true,
                Owner::Thread(owner) => {
                    self.put(owner, meta, datagram);
                    false
                }
                // When that process is gone, the endpoint resets it.
                Owner::Generation(generation) => !self.pass_on(generation, meta, datagram),
                Owner::Nobody => false,
            };
            if stays {
                if kept != at {
                    buffer.copy_within(at..end, kept);
                }
                kept += end - at;
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
            // Another process reads from here on; what is ours it passes on.
            if self.router.ways.edge.lifecycle.handed_over() {
                return Poll::Pending;
            }
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

/// Reads a socket that no thread has for its own: the process before had more
/// of them.
pub(super) async fn feed(inner: Arc<dyn AsyncUdpSocket>, router: Arc<Router>, thread: u8) {
    // With receive offload, as much as IP allows in one datagram.
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let mut metas = [RecvMeta::default()];
        let received = std::future::poll_fn(|cx| {
            if router.ways.edge.lifecycle.handed_over() {
                return Poll::Ready(Ok(0));
            }
            inner.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut metas)
        });
        match received.await {
            Ok(0) => return,
            Ok(_) => {
                for meta in &mut metas {
                    router.feed(thread, &mut buffer, meta);
                }
            }
            // An unreachable client is told here, too.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}
