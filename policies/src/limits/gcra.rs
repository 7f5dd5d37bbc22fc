//! The generic cell rate algorithm: a token bucket in one number.
//!
//! The number is the time at which the bucket will be full again ("theoretical
//! arrival time"). A request moves it one interval ahead and is refused where
//! it would then lie further ahead than the burst reaches.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::Tick;

const SECOND: u64 = 1_000_000_000;

/// A rate with its burst.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Rate {
    pub(super) per_second: NonZeroU64,
    pub(super) burst: NonZeroU64,
    /// Nanoseconds from one request to the next; rounded up, so that the rate
    /// is never exceeded.
    interval: u64,
    /// How far ahead the bucket's number may lie: interval times burst.
    reach: u64,
}

/// What became of one request.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Cell {
    /// Goes through; the bucket's new number.
    Conforms(u64),
    /// Does not, until this long from now.
    Exceeds(Duration),
}

impl Rate {
    /// At most 1,000,000,000 a second, and a burst of at most a day.
    pub(super) fn new(per_second: u64, burst: u64) -> Option<Self> {
        let (rate, burst) = (NonZeroU64::new(per_second)?, NonZeroU64::new(burst)?);
        let interval = SECOND.div_ceil(rate.get());
        let reach = interval.checked_mul(burst.get())?;
        let bounded = per_second <= SECOND && reach <= 86_400 * SECOND;
        bounded.then_some(Self {
            per_second: rate,
            burst,
            interval,
            reach,
        })
    }

    #[inline]
    pub(super) fn check(&self, full_at: u64, now: Tick) -> Cell {
        // A number that lies further ahead than the burst can have put it
        // comes from a larger limit before a reload.
        let next = full_at
            .clamp(now.0, now.0.saturating_add(self.reach))
            .saturating_add(self.interval);
        match next.saturating_sub(now.0).checked_sub(self.reach) {
            None | Some(0) => Cell::Conforms(next),
            Some(over) => Cell::Exceeds(Duration::from_nanos(over)),
        }
    }

    /// Requests that would go through at once.
    #[inline]
    pub(super) fn remaining(&self, full_at: u64, now: Tick) -> u64 {
        self.reach.saturating_sub(full_at.saturating_sub(now.0)) / self.interval
    }
}
