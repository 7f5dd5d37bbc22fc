//! Counts over a sliding window, without a lock.
//!
//! Promises: adding costs one atomic addition and, once a window, a rotation;
//! reading never changes anything. Two buckets stand for the window: what the
//! older one still contributes falls linearly, so the answer is off by at most
//! what one bucket holds unevenly. Refuses to go back: a `now` older than the
//! current bucket is counted in the current bucket.

use crate::Tick;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many things happened, and how many of them were of the marked kind.
/// Both saturate the reader at `u32::MAX` per window, which no process
/// reaches in seconds.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// All of them.
    pub(crate) total: f32,
    /// The marked ones (errors, retries).
    pub(crate) marked: f32,
}

impl Tally {
    /// Share of marked ones, 0 to 1; 0 when nothing happened.
    pub(crate) fn share(self) -> f32 {
        if self.total > 0.0 {
            (self.marked / self.total).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }
}

/// A sliding window of fixed width in nanoseconds, known to the compiler so
/// that no request pays for a division.
#[derive(Debug, Default)]
pub(crate) struct Sliding<const WIDTH_NS: u64> {
    epoch: AtomicU64,
    current: AtomicU64,
    previous: AtomicU64,
}

/// One second.
pub(crate) type OneSecond = Sliding<1_000_000_000>;

/// Ten seconds.
pub(crate) type TenSeconds = Sliding<10_000_000_000>;

impl<const WIDTH_NS: u64> Sliding<WIDTH_NS> {
    /// Counts one that is not marked.
    pub(crate) fn add(&self, now: Tick) {
        self.rotate(now);
        self.current.fetch_add(1 << 32, Relaxed);
    }

    /// Counts one that is marked.
    pub(crate) fn add_marked(&self, now: Tick) {
        self.rotate(now);
        self.current.fetch_add((1 << 32) | 1, Relaxed);
    }

    /// Marks one that was counted before.
    pub(crate) fn mark(&self, now: Tick) {
        self.rotate(now);
        self.current.fetch_add(1, Relaxed);
    }

    /// What happened within one width before `now`.
    pub(crate) fn tally(&self, now: Tick) -> Tally {
        let epoch = self.epoch.load(Relaxed);
        let wanted = now.0 / WIDTH_NS;
        let (current, previous) = match wanted.saturating_sub(epoch) {
            0 => (self.current.load(Relaxed), self.previous.load(Relaxed)),
            1 => (0, self.current.load(Relaxed)),
            2.. => return Tally::default(),
        };
        let left = if wanted < epoch {
            1.0
        } else {
            1.0 - Self::progress(now)
        };
        let (current, previous) = (unpack(current), unpack(previous));
        Tally {
            total: current.total + previous.total * left,
            marked: current.marked + previous.marked * left,
        }
    }

    /// How much of the current bucket has passed, 0 to 1.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share needs no more than 7 digits"
    )]
    fn progress(now: Tick) -> f32 {
        (now.0 % WIDTH_NS) as f32 / WIDTH_NS as f32
    }

    /// One thread wins the rotation; what others add meanwhile lands in one
    /// of the two buckets.
    fn rotate(&self, now: Tick) {
        let wanted = now.0 / WIDTH_NS;
        let epoch = self.epoch.load(Relaxed);
        if wanted <= epoch
            || self
                .epoch
                .compare_exchange(epoch, wanted, Relaxed, Relaxed)
                .is_err()
        {
            return;
        }
        let last = self.current.swap(0, Relaxed);
        self.previous
            .store(if wanted == epoch + 1 { last } else { 0 }, Relaxed);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count in a share needs no more than 7 digits"
)]
fn unpack(packed: u64) -> Tally {
    Tally {
        total: (packed >> 32) as f32,
        marked: (packed & u64::from(u32::MAX)) as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn close(found: f32, expected: f32) -> bool {
        (found - expected).abs() < 0.01
    }

    #[test]
    fn what_happened_fades_over_the_following_window() {
        let window = TenSeconds::default();
        for _ in 0..8 {
            window.add(Tick(SECOND));
        }
        window.add_marked(Tick(2 * SECOND));
        window.add_marked(Tick(2 * SECOND));
        assert!(close(window.tally(Tick(3 * SECOND)).total, 10.0));
        assert!(close(window.tally(Tick(15 * SECOND)).total, 5.0));
        assert!(close(window.tally(Tick(15 * SECOND)).share(), 0.2));
        assert_eq!(window.tally(Tick(20 * SECOND)), Tally::default());
    }

    #[test]
    fn reading_changes_nothing() {
        let window = OneSecond::default();
        window.add(Tick(SECOND / 2));
        assert_eq!(window.tally(Tick(50 * SECOND)), Tally::default());
        assert!(close(window.tally(Tick(SECOND / 2)).total, 1.0));
    }

    #[test]
    fn a_clock_that_goes_back_still_counts() {
        let window = OneSecond::default();
        window.add(Tick(5 * SECOND));
        window.add(Tick(3 * SECOND));
        assert!(close(window.tally(Tick(5 * SECOND)).total, 2.0));
    }

    #[test]
    fn a_gap_of_two_windows_forgets_everything() {
        let window = OneSecond::default();
        window.add_marked(Tick(SECOND));
        window.add(Tick(4 * SECOND));
        let tally = window.tally(Tick(4 * SECOND));
        assert!(close(tally.total, 1.0) && close(tally.marked, 0.0));
    }

    #[test]
    fn marking_later_raises_the_share_only() {
        let window = TenSeconds::default();
        window.add(Tick(0));
        window.add(Tick(0));
        window.mark(Tick(1));
        assert!(close(window.tally(Tick(1)).share(), 0.5));
    }
}
