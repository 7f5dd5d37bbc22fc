//! A histogram of durations made of atomics.
//!
//! Promises: an observation is three relaxed additions at most, never locks,
//! never allocates. Refuses: buckets chosen at run time; one set serves all,
//! with bounds where the latency brackets and the 200 ms objective lie.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds, microseconds, inclusive. What is longer counts in one more
/// bucket without bound.
const BOUNDS_US: [u64; 21] = [
    500, 1_000, 2_500, 5_000, 10_000, 20_000, 35_000, 50_000, 75_000, 100_000, 150_000, 200_000,
    300_000, 500_000, 750_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Buckets, the unbounded one included.
pub(super) const BUCKETS: usize = BOUNDS_US.len() + 1;

/// Counts of one histogram on one shard.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    /// Microseconds: they last for 584,000 years of requests.
    sum_us: AtomicU64,
}

/// What was observed, with how often the bucket had been hit before.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) struct Observed {
    /// The bucket.
    pub(super) bucket: usize,
    /// Its count before.
    pub(super) before: u64,
    /// The duration.
    pub(super) micros: u64,
}

impl Histogram {
    /// Nothing observed.
    pub(super) fn new() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            sum_us: AtomicU64::new(0),
        }
    }

    /// Counts one duration. Zero counts in the first bucket.
    pub(super) fn observe(&self, duration: Duration) -> Observed {
        let micros = micros(duration);
        let bucket = bucket_of(micros);
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
        let before = self
            .buckets
            .get(bucket)
            .map_or(0, |count| count.fetch_add(1, Ordering::Relaxed));
        Observed {
            bucket,
            before,
            micros,
        }
    }
}

/// Whole microseconds.
pub(super) fn micros(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000_000)
        .saturating_add(u64::from(duration.subsec_micros()))
}

fn bucket_of(micros: u64) -> usize {
    BOUNDS_US.partition_point(|bound| *bound < micros)
}

/// Upper bounds in seconds, infinity last.
pub(super) fn bounds_seconds() -> impl Iterator<Item = f64> {
    BOUNDS_US
        .iter()
        .map(|bound| Duration::from_micros(*bound).as_secs_f64())
        .chain([f64::INFINITY])
}

/// Counts of several histograms added up.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Summed {
    buckets: [u64; BUCKETS],
    sum_us: u64,
}

impl Summed {
    /// Adds what a histogram has at this moment.
    pub(super) fn add(&mut self, histogram: &Histogram) {
        for (sum, count) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += count.load(Ordering::Relaxed);
        }
        self.sum_us = self
            .sum_us
            .wrapping_add(histogram.sum_us.load(Ordering::Relaxed));
    }

    /// Adds another sum.
    pub(super) fn merge(&mut self, other: &Self) {
        for (sum, count) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += count;
        }
        self.sum_us = self.sum_us.wrapping_add(other.sum_us);
    }

    /// Observations in all. Derived from the buckets, so that the `+Inf`
    /// bucket and the count can never disagree.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Sum of all observations, seconds.
    pub(super) fn seconds(&self) -> f64 {
        Duration::from_micros(self.sum_us).as_secs_f64()
    }

    /// Upper bound in seconds and count of each bucket, not cumulative.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        bounds_seconds().zip(self.buckets).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_one_more_to_the_next() {
        for (at, bound) in BOUNDS_US.iter().enumerate() {
            assert_eq!(bucket_of(*bound), at);
            assert_eq!(bucket_of(bound + 1), at + 1);
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn sums_add_up_over_shards() {
        let (left, right) = (Histogram::new(), Histogram::new());
        left.observe(Duration::from_millis(40));
        right.observe(Duration::from_millis(40));
        let third = right.observe(Duration::from_hours(1));
        assert_eq!((third.bucket, third.before), (BUCKETS - 1, 0));
        let mut all = Summed::default();
        all.add(&left);
        all.add(&right);
        assert_eq!(all.count(), 3);
        assert!((all.seconds() - 3_600.08).abs() < 1e-9, "{}", all.seconds());
        assert!(all.buckets().contains(&(0.05, 2)));
    }

    #[test]
    fn the_objective_and_the_brackets_are_bounds() {
        let bounds: Vec<f64> = bounds_seconds().collect();
        for needed in [0.02, 0.05, 0.1, 0.15, 0.2] {
            assert!(bounds.contains(&needed), "{needed}");
        }
        assert!(bounds.is_sorted());
    }
}
