//! Coarse deadlines: one per connection or stream, looked at ten times a
//! second by one task a thread.
//!
//! Promises: arming, moving and disarming cost one store; a deadline fires
//! within [`GRAIN`] after it is due. Refuses: precision that nobody needs.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use meridian_policies::Tick;

use super::upstream::pool;
use crate::edge::Clock;

/// How often due deadlines are looked for.
pub const GRAIN: Duration = Duration::from_millis(100);

/// Idle upstream connections are looked at every so many rounds: 2 s.
const POOL_ROUNDS: u32 = 20;

/// Entries kept by a thread for its next tasks.
const FREE_MAX: usize = 256;

/// Never due.
const NEVER: u64 = u64::MAX;

struct Entry {
    /// The thread whose list it is in.
    home: usize,
    due: AtomicU64,
    fired: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// The deadline of one task. It wakes the task that asked last.
pub struct Deadline {
    entry: Arc<Entry>,
    known: bool,
}

thread_local! {
    static ENTRIES: RefCell<Vec<Arc<Entry>>> = const { RefCell::new(Vec::new()) };
    static FREE: RefCell<Vec<Arc<Entry>>> = const { RefCell::new(Vec::new()) };
    static SWEEPING: RefCell<bool> = const { RefCell::new(false) };
}

impl Deadline {
    /// A deadline that is not armed. Must be made on a runtime's thread, which
    /// from then on keeps one sweeping task.
    pub fn new(clock: &Clock) -> Self {
        if let Some(entry) = FREE.with(|free| free.borrow_mut().pop()) {
            return Self {
                entry,
                known: false,
            };
        }
        let entry = Arc::new(Entry {
            home: here(),
            due: AtomicU64::new(NEVER),
            fired: AtomicBool::new(false),
            waker: Mutex::new(None),
        });
        ENTRIES.with(|entries| entries.borrow_mut().push(Arc::clone(&entry)));
        let idle = SWEEPING.with(|sweeping| !sweeping.replace(true));
        if idle {
            tokio::spawn(sweep(clock.clone()));
        }
        Self {
            entry,
            known: false,
        }
    }

    /// Due at `at`, whatever it was before.
    pub fn arm(&mut self, at: Tick) {
        self.entry.fired.store(false, Ordering::Relaxed);
        self.entry.due.store(at.0, Ordering::Relaxed);
    }

    /// Due at `at`, unless it is sooner already.
    pub fn arm_sooner(&mut self, at: Tick) {
        self.entry.due.fetch_min(at.0, Ordering::Relaxed);
    }

    /// Never due.
    pub fn disarm(&mut self) {
        self.arm(Tick(NEVER));
    }

    /// True once when it was due. Remembers whom to wake.
    pub fn expired(&mut self, cx: &Context<'_>) -> bool {
        if !self.known {
            self.known = true;
            *self
                .entry
                .waker
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        }
        self.entry.fired.load(Ordering::Relaxed) && self.entry.fired.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.disarm();
        // Still in the list of its thread: the next task there takes it over.
        // A task that ends elsewhere, or with the thread, leaves it to the
        // sweep.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < FREE_MAX && self.entry.home == here() {
                free.push(Arc::clone(&self.entry));
            }
        });
    }
}

/// Tells threads apart: the address of something each has its own of. 0 while
/// the thread ends.
fn here() -> usize {
    ENTRIES
        .try_with(|entries| std::ptr::from_ref(entries).addr())
        .unwrap_or(0)
}

/// Makes every task with a deadline look around once, within [`GRAIN`].
pub fn wake_all() {
    EPOCH.fetch_add(1, Ordering::Release);
}

/// Counts calls of [`wake_all`].
static EPOCH: AtomicU64 = AtomicU64::new(0);

async fn sweep(clock: Clock) {
    let mut rounds = 0_u32;
    let mut epoch = EPOCH.load(Ordering::Acquire);
    loop {
        tokio::time::sleep(GRAIN).await;
        let now = clock.tick().0;
        rounds = rounds.wrapping_add(1);
        if rounds.is_multiple_of(POOL_ROUNDS) {
            pool::sweep(Tick(now));
        }
        let everyone = EPOCH.load(Ordering::Acquire) != epoch;
        epoch = EPOCH.load(Ordering::Acquire);
        let mut due = Vec::new();
        ENTRIES.with(|entries| {
            let mut entries = entries.borrow_mut();
            entries.retain(|entry| {
                if entry.due.load(Ordering::Relaxed) <= now {
                    entry.due.store(NEVER, Ordering::Relaxed);
                    entry.fired.store(true, Ordering::Relaxed);
                    due.push(Arc::clone(entry));
                } else if everyone {
                    due.push(Arc::clone(entry));
                }
                Arc::strong_count(entry) > 1
            });
            if entries.capacity() > 64 && entries.len() < entries.capacity() / 4 {
                entries.shrink_to_fit();
            }
        });
        for entry in due {
            let waker = entry
                .waker
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    async fn wait(deadline: &mut Deadline) {
        poll_fn(|cx| {
            if deadline.expired(cx) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    #[tokio::test]
    async fn fires_after_it_is_due_and_only_once() {
        let clock = Clock::start();
        let mut deadline = Deadline::new(&clock);
        let due = Tick(clock.tick().0 + 50_000_000);
        deadline.arm(due);
        wait(&mut deadline).await;
        assert!(clock.tick() >= due);
        poll_fn(|cx| {
            assert!(!deadline.expired(cx));
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn a_dropped_deadline_is_used_again() {
        let clock = Clock::start();
        let mut first = Deadline::new(&clock);
        first.arm(Tick(0));
        drop(first);
        let mut other = Deadline::new(&clock);
        other.arm(clock.tick());
        wait(&mut other).await;
        ENTRIES.with(|entries| assert_eq!(entries.borrow().len(), 1));
    }
}
