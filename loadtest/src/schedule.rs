//! When each request should start: pure arithmetic.

use std::num::NonZeroU32;
use std::time::Duration;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Evenly spaced starts, `rate` a second, the first at zero.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Schedule {
    rate: NonZeroU32,
}

impl Schedule {
    pub(crate) const fn new(rate: NonZeroU32) -> Self {
        Self { rate }
    }

    /// Start of request `index` (from zero), counted from the run's beginning.
    pub(crate) fn start_of(self, index: u64) -> Duration {
        let nanos = u128::from(index) * NANOS_PER_SECOND / u128::from(self.rate.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many requests should have started when `elapsed` has passed.
    /// At zero: one.
    pub(crate) fn due(self, elapsed: Duration) -> u64 {
        let product = (elapsed.as_nanos() + 1) * u128::from(self.rate.get());
        u64::try_from(product.div_ceil(NANOS_PER_SECOND)).unwrap_or(u64::MAX)
    }

    /// Starts that lie before `end`.
    pub(crate) fn starts_before(self, end: Duration) -> u64 {
        let product = end.as_nanos() * u128::from(self.rate.get());
        u64::try_from(product.div_ceil(NANOS_PER_SECOND)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate: u32) -> Schedule {
        Schedule::new(NonZeroU32::new(rate).unwrap())
    }

    #[test]
    fn starts_are_evenly_spaced_and_do_not_drift() {
        assert_eq!(schedule(1_000).start_of(0), Duration::ZERO);
        assert_eq!(schedule(1_000).start_of(1), Duration::from_millis(1));
        assert_eq!(schedule(3).start_of(3), Duration::from_secs(1));
        assert_eq!(
            schedule(3).start_of(3_000_000_000),
            Duration::from_secs(1_000_000_000)
        );
    }

    #[test]
    fn a_request_is_due_at_its_start_and_not_before() {
        for rate in [1, 3, 7, 1_000, 99_999] {
            let schedule = schedule(rate);
            for index in [0, 1, 2, 10, 99_999] {
                let start = schedule.start_of(index);
                assert_eq!(schedule.due(start), index + 1, "{rate} {index}");
                if let Some(before) = start.checked_sub(Duration::from_nanos(1)) {
                    assert!(schedule.due(before) <= index, "{rate} {index}");
                }
            }
        }
    }

    #[test]
    fn a_run_has_rate_times_duration_requests() {
        assert_eq!(schedule(100).starts_before(Duration::from_secs(2)), 200);
        assert_eq!(schedule(3).starts_before(Duration::from_millis(500)), 2);
        assert_eq!(schedule(3).starts_before(Duration::ZERO), 0);
    }
}
