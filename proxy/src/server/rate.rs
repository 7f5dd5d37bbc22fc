//! How many of something begin in a second, in all and from one address:
//! connections, handshakes.
//!
//! Promises: a refusal costs no cryptography and no memory; addresses share
//! 4,096 cells by a hash that nobody outside can foresee, so that the bound of
//! one may now and then be shared with another. Refuses: what is over the rate
//! of the last second.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use meridian_policies::Tick;

const CELLS: usize = 4_096;
const SECOND: u64 = 1_000_000_000;

/// Rates; `None` has no bound.
pub(super) struct Rate {
    total: Option<NonZeroU32>,
    each: Option<NonZeroU32>,
    all: AtomicU64,
    cells: Box<[AtomicU64]>,
    hash: RandomState,
}

impl Rate {
    pub(super) fn new(total: Option<NonZeroU32>, each: Option<NonZeroU32>) -> Self {
        let cells = if each.is_some() { CELLS } else { 0 };
        Self {
            total,
            each,
            all: AtomicU64::new(0),
            cells: (0..cells).map(|_| AtomicU64::new(0)).collect(),
            hash: RandomState::new(),
        }
    }

    /// Whether there is any.
    pub(super) fn is_some(&self) -> bool {
        self.total.is_some() || self.each.is_some()
    }

    /// Whether one more may begin. `client` is an address, or the network that
    /// stands for one client.
    pub(super) fn admits(&self, client: IpAddr, now: Tick) -> bool {
        if let Some(each) = self.each {
            let hash = usize::try_from(self.hash.hash_one(client)).unwrap_or(0);
            let cell = hash
                .checked_rem(self.cells.len())
                .and_then(|at| self.cells.get(at));
            if cell.is_some_and(|cell| !take(cell, each, now)) {
                return false;
            }
        }
        self.total.is_none_or(|total| take(&self.all, total, now))
    }
}

/// One step of GCRA: a second's worth at once, then at the rate.
fn take(cell: &AtomicU64, rate: NonZeroU32, now: Tick) -> bool {
    let interval = SECOND / u64::from(rate.get());
    let step = |due: u64| {
        let due = due.max(now.0);
        (due - now.0 <= SECOND - interval).then_some(due + interval)
    };
    cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick(ms * 1_000_000)
    }

    #[test]
    fn a_seconds_worth_passes_at_once_and_then_the_rate() {
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let rate = Rate::new(NonZeroU32::new(5), NonZeroU32::new(4));
        let admitted = |client, now| (0..20).filter(|_| rate.admits(client, now)).count();
        assert_eq!(admitted(a, at(0)), 4, "an address has its own bound");
        assert_eq!(admitted(b, at(0)), 1, "all have one together");
        assert_eq!(admitted(a, at(250)), 1);
        assert_eq!(admitted(a, at(10_000)), 4);
    }

    #[test]
    fn without_rates_everything_passes() {
        let rate = Rate::new(None, None);
        let client = IpAddr::from([192, 0, 2, 1]);
        assert!((0..10_000).all(|_| rate.admits(client, at(0))));
    }
}
