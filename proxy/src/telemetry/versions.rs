//! Counts by version of the backends.
//!
//! Promises: versions are configured names, at most [`KEPT_MAX`] are told
//! apart; nothing is looked up where requests are not routed by version.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::counts::Counts;
use super::histogram::{Histogram, Summed};

/// Versions remembered, those of former generations included. Past it the
/// names that come new are not counted.
const KEPT_MAX: usize = 256;

/// Classes of a status.
pub(super) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Debug)]
struct Cells {
    requests: Counts<{ CLASSES.len() }>,
    latency: Histogram,
}

/// Cells by version.
#[derive(Debug, Default)]
pub(super) struct Versions(RwLock<BTreeMap<String, Arc<Cells>>>);

impl Versions {
    /// Counts one request that a version served.
    pub(super) fn count(&self, version: &str, (status, latency): (u16, Option<Duration>)) {
        let Some(cells) = self.cells(version) else {
            return;
        };
        cells.requests.add(usize::from(status / 100).min(5));
        if let Some(latency) = latency {
            cells.latency.observe(latency);
        }
    }

    fn cells(&self, version: &str) -> Option<Arc<Cells>> {
        let found = {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            known.get(version).map(Arc::clone)
        };
        found.or_else(|| {
            let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= KEPT_MAX && !known.contains_key(version) {
                return None;
            }
            let new = || {
                Arc::new(Cells {
                    requests: Counts::new(),
                    latency: Histogram::new(),
                })
            };
            let cells = known.entry(version.to_owned()).or_insert_with(new);
            Some(Arc::clone(cells))
        })
    }

    /// Requests by class, and latency, of each version.
    pub(super) fn all(&self) -> Vec<(String, [u64; CLASSES.len()], Summed)> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let one = |(version, cells): (&String, &Arc<Cells>)| {
            let mut latency = Summed::default();
            latency.add(&cells.latency);
            let requests = std::array::from_fn(|class| cells.requests.read(class));
            (version.clone(), requests, latency)
        };
        known.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_counted_apart_and_their_number_is_bounded() {
        let versions = Versions::default();
        versions.count("v1", (200, Some(Duration::from_millis(3))));
        versions.count("v1", (503, None));
        for nth in 0..KEPT_MAX * 2 {
            versions.count(&format!("x{nth}"), (0, None));
        }
        let all = versions.all();
        assert_eq!(all.len(), KEPT_MAX);
        let (name, requests, latency) = &all[0];
        assert_eq!((name.as_str(), *requests), ("v1", [0, 0, 1, 0, 0, 1]));
        assert_eq!(latency.count(), 1);
    }
}
