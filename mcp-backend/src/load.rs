//! What this backend carries. Promises that whatever was counted in is counted
//! out when its guard drops, whatever way the exchange ended. Never waits
//! except in [`Load::idle`].

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
};

use tokio::sync::Notify;

/// Counters of one backend, shared by all its connections.
#[derive(Debug)]
pub(crate) struct Load {
    capacity: usize,
    in_flight: AtomicUsize,
    streams: AtomicUsize,
    requests: AtomicU64,
    cancelled: AtomicU64,
    idle: Notify,
}

/// What [`Load`] counts an exchange as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ends by itself: a stop waits for it.
    Request,
    /// Lasts until somebody ends it: a stop does.
    Standing,
}

/// Counts its exchange out when it drops.
#[derive(Debug)]
pub(crate) struct Guard {
    load: Arc<Load>,
    kind: Kind,
}

impl Load {
    /// Nothing in flight yet, room for `capacity` requests.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            in_flight: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            idle: Notify::new(),
        }
    }

    /// Counts an exchange in, or says that there is no room for it.
    pub(crate) fn enter(self: &Arc<Self>, kind: Kind) -> Option<Guard> {
        self.requests.fetch_add(1, Relaxed);
        let guard = Guard {
            load: Arc::clone(self),
            kind,
        };
        let before = self.counter(kind).fetch_add(1, SeqCst);
        (before < self.capacity).then_some(guard)
    }

    /// Notes a tool call that its caller gave up.
    pub(crate) fn note_cancelled(&self) {
        self.cancelled.fetch_add(1, Relaxed);
    }

    /// Waits until no request is in flight. Standing streams do not count.
    pub(crate) async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.in_flight.load(SeqCst) == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Requests being answered now.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(SeqCst)
    }

    /// Standing streams, WebSocket ones included, that are open now.
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(SeqCst)
    }

    /// Requests at a time that are accepted.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Requests since the start, refused ones included, health not.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Tool calls that were cancelled since the start.
    pub(crate) fn cancelled(&self) -> u64 {
        self.cancelled.load(Relaxed)
    }

    fn counter(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Request => &self.in_flight,
            Kind::Standing => &self.streams,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.load.counter(self.kind).fetch_sub(1, SeqCst) == 1 {
            self.load.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_leaves_no_trace() {
        let load = Arc::new(Load::new(1));
        let first = load.enter(Kind::Request);
        assert!(first.is_some());
        assert!(load.enter(Kind::Request).is_none());
        assert!(
            load.enter(Kind::Standing).is_some(),
            "streams have their own room"
        );
        assert_eq!(
            (load.in_flight(), load.streams(), load.requests()),
            (1, 0, 3)
        );
        drop(first);
        assert_eq!(load.in_flight(), 0);
    }

    #[tokio::test]
    async fn idle_waits_for_requests_and_not_for_streams() {
        let load = Arc::new(Load::new(9));
        let _stream = load.enter(Kind::Standing);
        load.idle().await;
        let request = load.enter(Kind::Request);
        let waiting = tokio::spawn({
            let load = Arc::clone(&load);
            async move { load.idle().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(request);
        waiting.await.unwrap();
    }
}
