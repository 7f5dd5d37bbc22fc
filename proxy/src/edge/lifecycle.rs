//! The phases of the process, from its start to its end.
//!
//! Promises: phases only go forward, each waiter learns of each; readiness
//! fails the moment a drain begins, and what is open is told to end only when
//! the listeners stop. A process that handed its sockets over stays healthy
//! in the eyes of those it still serves: their next request is welcome at its
//! successor.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// Where the process stands between start and exit.
#[derive(Copy, Clone, Debug, Eq, PartialEq, PartialOrd, Ord)]
pub enum Phase {
    /// Sockets are bound, nothing is served yet.
    Starting,
    /// Requests are served.
    Serving,
    /// Readiness fails; requests are served as before, so that whoever sends
    /// them has time to notice.
    Leaving,
    /// The listeners have stopped; what is open may finish.
    Draining,
    /// Nothing is open any more, or the drain bound has passed.
    Stopped,
}

impl Phase {
    /// Lower-case name, for `/readyz`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Leaving => "leaving",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Starting => 0,
            Self::Serving => 1,
            Self::Leaving => 2,
            Self::Draining => 3,
            Self::Stopped => 4,
        }
    }
}

const DRAINING: u8 = 3;

/// The phases of the process and the count of open exchanges.
pub struct Lifecycle {
    phase: AtomicU8,
    succeeded: AtomicBool,
    cutting: AtomicBool,
    busy: AtomicUsize,
    leaving: Duration,
    watch: watch::Sender<Phase>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// A process that starts. Its listeners stop the moment a drain begins.
    pub fn new() -> Self {
        Self {
            phase: AtomicU8::new(0),
            succeeded: AtomicBool::new(false),
            cutting: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            leaving: Duration::ZERO,
            watch: watch::channel(Phase::Starting).0,
        }
    }

    /// The same with listeners that stop so long after readiness failed.
    #[must_use]
    pub fn leaving_for(mut self, delay: Duration) -> Self {
        self.leaving = delay;
        self
    }

    /// The phase at this moment.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            2 => Phase::Leaving,
            DRAINING => Phase::Draining,
            _ => Phase::Stopped,
        }
    }

    /// True while new requests are welcome: here, or at the successor.
    pub fn ready(&self) -> bool {
        self.phase() == Phase::Serving || self.handed_over()
    }

    /// True from the moment on at which the listeners stop.
    pub fn draining(&self) -> bool {
        self.phase.load(Ordering::Relaxed) >= DRAINING
    }

    /// True when another process has taken the listeners over.
    pub fn handed_over(&self) -> bool {
        self.succeeded.load(Ordering::Acquire)
    }

    fn advance(&self, to: Phase) -> bool {
        let first = self.phase.fetch_max(to.number(), Ordering::AcqRel) < to.number();
        if first {
            self.watch.send_modify(|phase| *phase = (*phase).max(to));
        }
        first
    }

    /// The listeners accept.
    pub fn serving(&self) {
        self.advance(Phase::Serving);
    }

    /// Begins the drain: readiness fails at once, and after the delay the
    /// listeners stop and connections close when their exchange is done.
    /// Calling it twice changes nothing.
    pub fn drain(&self) {
        if self.leaving.is_zero() {
            self.stop_accepting();
        } else {
            self.advance(Phase::Leaving);
        }
    }

    /// The listeners stop now, without a delay.
    pub fn stop_accepting(&self) {
        if self.advance(Phase::Draining) {
            crate::engine::deadlines::wake_all();
        }
    }

    /// Another process accepts on the same listeners: this one stops, and
    /// readiness is no longer its own.
    pub fn hand_over(&self) {
        self.succeeded.store(true, Ordering::Release);
        self.stop_accepting();
    }

    /// The drain's bound has passed: what is still open ends now.
    pub fn cut(&self) {
        self.cutting.store(true, Ordering::Release);
        crate::engine::deadlines::wake_all();
    }

    /// True from [`Lifecycle::cut`] on.
    pub fn cutting(&self) -> bool {
        self.cutting.load(Ordering::Relaxed)
    }

    /// The last phase.
    pub fn stopped(&self) {
        self.advance(Phase::Stopped);
    }

    /// Returns when the listeners are to stop: a drain has begun and its
    /// delay has passed.
    pub async fn wait_drain(&self) {
        self.wait_for(Phase::Leaving).await;
        // A hand-over or the end may come before the delay is over.
        let early = tokio::time::timeout(self.leaving, self.wait_for(Phase::Draining));
        if early.await.is_err() {
            self.stop_accepting();
        }
    }

    /// Returns when the last phase has begun.
    pub async fn wait_stopped(&self) {
        self.wait_for(Phase::Stopped).await;
    }

    /// Returns when the process has stopped, or no longer owns its listeners.
    pub async fn wait_stopped_or_succeeded(&self) {
        self.wait_for(Phase::Draining).await;
        if !self.handed_over() {
            self.wait_stopped().await;
        }
    }

    /// Returns when this phase has begun, or a later one.
    pub async fn wait_for(&self, phase: Phase) {
        let mut watch = self.watch.subscribe();
        // The sender lives in self, so the channel can't close before.
        let _ = watch.wait_for(|now| *now >= phase).await;
    }

    /// Open connections.
    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Acquire)
    }

    /// One more open connection.
    pub fn opened(&self) {
        self.busy.fetch_add(1, Ordering::AcqRel);
    }

    /// One open connection less.
    pub fn closed(&self) {
        self.busy.fetch_sub(1, Ordering::AcqRel);
    }

    /// Returns when nothing is open, or after `bound`. True when idle.
    pub async fn wait_idle(&self, bound: Duration) -> bool {
        let end = tokio::time::Instant::now() + bound;
        while self.busy() > 0 {
            if tokio::time::Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(60);

    #[tokio::test]
    async fn readiness_fails_at_once_and_the_listeners_stop_after_the_delay() {
        let lifecycle = Lifecycle::new().leaving_for(DELAY);
        lifecycle.serving();
        assert!(lifecycle.ready());
        let began = tokio::time::Instant::now();
        lifecycle.drain();
        assert!(!lifecycle.ready() && !lifecycle.draining());
        assert_eq!(lifecycle.phase(), Phase::Leaving);
        lifecycle.wait_drain().await;
        assert!(began.elapsed() >= DELAY);
        assert!(lifecycle.draining());
    }

    #[tokio::test]
    async fn without_a_delay_all_of_it_is_at_once() {
        let lifecycle = Lifecycle::new();
        lifecycle.serving();
        lifecycle.drain();
        assert!(lifecycle.draining() && !lifecycle.ready());
        lifecycle.wait_drain().await;
    }

    #[tokio::test]
    async fn a_hand_over_waits_for_nothing_and_stays_healthy() {
        let lifecycle = Lifecycle::new().leaving_for(Duration::from_mins(1));
        lifecycle.serving();
        let began = tokio::time::Instant::now();
        lifecycle.hand_over();
        lifecycle.wait_drain().await;
        lifecycle.wait_stopped_or_succeeded().await;
        assert!(began.elapsed() < Duration::from_secs(10));
        assert!(lifecycle.draining() && lifecycle.ready());
    }

    #[test]
    fn phases_only_go_forward() {
        let lifecycle = Lifecycle::new();
        lifecycle.drain();
        lifecycle.serving();
        assert_eq!(lifecycle.phase(), Phase::Draining);
        lifecycle.stopped();
        lifecycle.drain();
        assert_eq!(lifecycle.phase(), Phase::Stopped);
    }
}
