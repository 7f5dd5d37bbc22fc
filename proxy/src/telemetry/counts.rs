//! Rows of counters, by the index of a label or by a configured id.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// One counter for each value of a closed label.
#[derive(Debug)]
pub(super) struct Counts<const N: usize>([AtomicU64; N]);

impl<const N: usize> Counts<N> {
    /// All zero.
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    /// One more.
    pub(super) fn add(&self, index: usize) {
        if let Some(count) = self.0.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One more, but not of the first, which stands for nothing.
    pub(super) fn add_unless_zero(&self, index: usize) {
        if index > 0 {
            self.add(index);
        }
    }

    /// One less; for gauges, never below what was added.
    pub(super) fn sub(&self, index: usize) {
        if let Some(count) = self.0.get(index) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The count now; 0 past the end.
    pub(super) fn read(&self, index: usize) -> u64 {
        self.0
            .get(index)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

/// Names that are counted apart; what comes after counts as [`OTHER`].
const NAMES_MAX: usize = 1_024;

/// Stands for all names past the bound.
const OTHER: &str = "other";

/// Counters by configured name (rule ids). Writers share a read lock; only a
/// name's first hit takes it alone.
#[derive(Debug, Default)]
pub(super) struct Named(RwLock<BTreeMap<String, AtomicU64>>);

impl Named {
    /// One more.
    pub(super) fn add(&self, name: &str) {
        {
            let counts = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = counts.get(name) {
                count.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        let mut counts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let name = if counts.len() < NAMES_MAX {
            name
        } else {
            OTHER
        };
        counts
            .entry(name.to_owned())
            .or_default()
            .fetch_add(1, Ordering::Relaxed);
    }

    /// All names in order.
    pub(super) fn all(&self) -> Vec<(String, u64)> {
        let counts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        counts
            .iter()
            .map(|(name, count)| (name.clone(), count.load(Ordering::Relaxed)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_past_the_end_counts_nothing() {
        let counts = Counts::<2>::new();
        counts.add(1);
        counts.add(2);
        assert_eq!((counts.read(0), counts.read(1), counts.read(2)), (0, 1, 0));
    }

    #[test]
    fn names_past_the_bound_share_one_counter() {
        let named = Named::default();
        for number in 0..NAMES_MAX + 5 {
            named.add(&format!("rule-{number}"));
        }
        named.add("rule-0");
        let all = named.all();
        assert_eq!(all.len(), NAMES_MAX + 1);
        assert!(all.contains(&("rule-0".to_owned(), 2)));
        assert!(all.contains(&(OTHER.to_owned(), 5)));
    }
}
