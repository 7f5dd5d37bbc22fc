//! Datagrams that arrived on another thread's socket.
//!
//! Promises: a thread gets what the others received for it, in order, without
//! waiting; bounded in number and bytes. Refuses: what does not fit, as a
//! network would: QUIC sends it again.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use quinn::udp::RecvMeta;

/// Datagrams that wait for one thread.
const DATAGRAMS_MAX: usize = 1_024;
/// Their bytes.
const BYTES_MAX: usize = 1024 * 1024;

#[derive(Default)]
struct Inner {
    waiting: VecDeque<(RecvMeta, Box<[u8]>)>,
    bytes: usize,
    reader: Option<Waker>,
}

/// One thread's mailbox; others put, its own takes.
#[derive(Default)]
pub(super) struct Mailbox(Mutex<Inner>);

impl Mailbox {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves one datagram; false when there is no room.
    pub(super) fn put(&self, from: &RecvMeta, datagram: &[u8]) -> bool {
        let mut inner = self.inner();
        if inner.waiting.len() >= DATAGRAMS_MAX || inner.bytes + datagram.len() > BYTES_MAX {
            return false;
        }
        let meta = RecvMeta {
            len: datagram.len(),
            stride: datagram.len(),
            ..*from
        };
        inner.bytes += datagram.len();
        inner.waiting.push_back((meta, datagram.into()));
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    /// Fills the buffers with what waits; how many. When nothing does, the
    /// task is woken at the next one.
    pub(super) fn take(
        &self,
        cx: &Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> usize {
        let mut inner = self.inner();
        let mut count = 0;
        let mut places = buffers.iter_mut().zip(metas);
        let Some(mut place) = places.next() else {
            return 0;
        };
        while let Some((meta, datagram)) = inner.waiting.pop_front() {
            inner.bytes -= datagram.len();
            // A datagram larger than any that an endpoint takes is nobody's.
            let Some(room) = place.0.get_mut(..datagram.len()) else {
                continue;
            };
            room.copy_from_slice(&datagram);
            *place.1 = meta;
            count += 1;
            match places.next() {
                Some(next) => place = next,
                None => break,
            }
        }
        if count == 0 {
            inner.reader = Some(cx.waker().clone());
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn take(mailbox: &Mailbox, cx: &Context<'_>) -> Vec<(RecvMeta, Vec<u8>)> {
        let mut space = [[0_u8; 64]; 2];
        let mut buffers = space.each_mut().map(|room| IoSliceMut::new(room));
        let mut metas = [RecvMeta::default(); 2];
        let count = mailbox.take(cx, &mut buffers, &mut metas);
        (0..count)
            .map(|at| (metas[at], buffers[at][..metas[at].len].to_vec()))
            .collect()
    }

    #[test]
    fn datagrams_come_out_as_they_went_in() {
        let mailbox = Mailbox::default();
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Arc::clone(&woken).into();
        let cx = Context::from_waker(&waker);
        assert!(take(&mailbox, &cx).is_empty());
        let from = RecvMeta {
            addr: "192.0.2.1:9".parse().unwrap(),
            len: 200,
            stride: 100,
            ecn: None,
            dst_ip: None,
        };
        for text in [&b"one"[..], b"two", b"three"] {
            assert!(mailbox.put(&from, text));
        }
        assert!(woken.0.load(Ordering::SeqCst), "the reader is told");
        let first = take(&mailbox, &cx);
        assert_eq!(first[0].1, b"one");
        assert_eq!(first[1].1, b"two");
        assert_eq!(first[0].0.addr, from.addr);
        assert_eq!((first[0].0.len, first[0].0.stride), (3, 3));
        assert_eq!(take(&mailbox, &cx)[0].1, b"three");
        assert!(take(&mailbox, &cx).is_empty());
    }

    #[test]
    fn what_does_not_fit_is_dropped() {
        let mailbox = Mailbox::default();
        let from = RecvMeta::default();
        let large = vec![0; 60_000];
        let fit = (0..100).take_while(|_| mailbox.put(&from, &large)).count();
        assert_eq!(fit, BYTES_MAX / large.len());
        let mailbox = Mailbox::default();
        let fit = (0..2_000).take_while(|_| mailbox.put(&from, b"x")).count();
        assert_eq!(fit, DATAGRAMS_MAX);
    }
}
