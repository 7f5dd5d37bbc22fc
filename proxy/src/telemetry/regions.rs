//! Counts by region: the tables that requests write to.
//!
//! Promises: a request writes to its thread's shard with relaxed additions,
//! so that cores do not fight over a line; a region keeps its counts over
//! reloads. Refuses: to grow with reloads. Past [`KEPT_MAX`] regions the ones
//! that are no longer configured are forgotten.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::counts::Counts;
use super::exemplar::{self, Exemplars};
use super::histogram::{Histogram, Summed};
use super::labels::{ConnectResult, MethodLabel, RetryReason};
use super::status;

/// Regions remembered, those of former generations included: twice the bound
/// of one policy set.
const KEPT_MAX: usize = 1_024;

/// Value of the label `region` where the edge answered by itself.
pub(super) const EDGE: &str = "edge";

/// What one region has counted.
#[derive(Debug)]
pub(super) struct Cells {
    shards: Box<[Shard]>,
    /// Request ids that stand for latency buckets.
    pub(super) exemplars: Exemplars,
    /// Connection attempts.
    pub(super) connects: Counts<{ ConnectResult::COUNT }>,
    /// Attempts after the first.
    pub(super) retries: Counts<{ RetryReason::COUNT }>,
    /// Endpoints ejected.
    pub(super) ejections: Counts<1>,
}

/// One shard's part; its own cache lines.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    requests: [[AtomicU64; status::SLOTS]; MethodLabel::COUNT],
    latency: [Histogram; MethodLabel::COUNT],
    cross_latency: Histogram,
    cross_bytes: AtomicU64,
    /// Millionths of a millionth of a dollar: good for 18 million of them.
    cross_cost: AtomicU64,
}

const PICO: f64 = 1e12;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never negative; past 18 million dollars it saturates"
)]
fn picodollars(cost: f64) -> u64 {
    (cost * PICO).round() as u64
}

/// What one request adds.
#[derive(Copy, Clone, Debug)]
pub(super) struct Count<'a> {
    pub(super) method: MethodLabel,
    pub(super) status: u16,
    /// `None`: says nothing about latency.
    pub(super) latency: Option<Duration>,
    pub(super) request_id: &'a str,
    pub(super) at_unix_ms: u64,
}

/// What a request adds that crossed from the edge's region to another.
#[derive(Copy, Clone, Debug)]
pub(super) struct Crossing {
    pub(super) first_byte: Option<Duration>,
    pub(super) bytes: u64,
    /// US dollars.
    pub(super) cost: f64,
}

impl Cells {
    fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards.max(1)).map(|_| Shard::new()).collect(),
            exemplars: Exemplars::new(),
            connects: Counts::new(),
            retries: Counts::new(),
            ejections: Counts::new(),
        }
    }

    /// Counts one request.
    pub(super) fn count(&self, shard: usize, count: &Count<'_>) {
        let Some(shard) = self.shard(shard) else {
            return;
        };
        let cell = shard.requests.get(count.method.index());
        if let Some(cell) = cell.and_then(|by_status| by_status.get(status::slot(count.status))) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        let histogram = shard.latency.get(count.method.index());
        if let Some((histogram, latency)) = histogram.zip(count.latency) {
            let observed = histogram.observe(latency);
            if exemplar::is_due(observed.before) {
                let seen = (observed.micros, count.at_unix_ms);
                self.exemplars
                    .remember(observed.bucket, count.request_id, seen);
            }
        }
    }

    /// Counts what crossed between regions.
    pub(super) fn cross(&self, shard: usize, crossing: Crossing) {
        let Some(shard) = self.shard(shard) else {
            return;
        };
        shard
            .cross_bytes
            .fetch_add(crossing.bytes, Ordering::Relaxed);
        if crossing.cost > 0.0 {
            shard
                .cross_cost
                .fetch_add(picodollars(crossing.cost), Ordering::Relaxed);
        }
        if let Some(first_byte) = crossing.first_byte {
            shard.cross_latency.observe(first_byte);
        }
    }

    /// Requests by method and status slot, all shards.
    pub(super) fn requests(&self) -> Vec<(MethodLabel, usize, u64)> {
        let mut found = Vec::new();
        for method in MethodLabel::ALL {
            for slot in 0..status::SLOTS {
                let count = self
                    .shards
                    .iter()
                    .map(|shard| shard.read(*method, slot))
                    .sum();
                if count > 0 {
                    found.push((*method, slot, count));
                }
            }
        }
        found
    }

    /// Latency of one method, all shards.
    pub(super) fn latency(&self, method: MethodLabel) -> Summed {
        self.sum(|shard| shard.latency.get(method.index()))
    }

    /// Latency toward this region.
    pub(super) fn cross_latency(&self) -> Summed {
        self.sum(|shard| Some(&shard.cross_latency))
    }

    /// Bytes exchanged with this region.
    pub(super) fn cross_bytes(&self) -> u64 {
        self.shards
            .iter()
            .map(|shard| shard.cross_bytes.load(Ordering::Relaxed))
            .sum()
    }

    /// What that is estimated to have cost, in US dollars.
    pub(super) fn cross_cost(&self) -> f64 {
        let shards = self.shards.iter();
        let sum: u64 = shards
            .map(|shard| shard.cross_cost.load(Ordering::Relaxed))
            .sum();
        super::scrape::float(sum) / PICO
    }

    fn sum<'a>(&'a self, histogram: impl Fn(&'a Shard) -> Option<&'a Histogram>) -> Summed {
        let mut summed = Summed::default();
        self.shards
            .iter()
            .filter_map(histogram)
            .for_each(|part| summed.add(part));
        summed
    }

    fn shard(&self, shard: usize) -> Option<&Shard> {
        shard
            .checked_rem(self.shards.len())
            .and_then(|at| self.shards.get(at))
    }
}

impl Shard {
    fn new() -> Self {
        Self {
            requests: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            latency: std::array::from_fn(|_| Histogram::new()),
            cross_latency: Histogram::new(),
            cross_bytes: AtomicU64::new(0),
            cross_cost: AtomicU64::new(0),
        }
    }

    fn read(&self, method: MethodLabel, slot: usize) -> u64 {
        let by_status = self.requests.get(method.index());
        by_status
            .and_then(|by_status| by_status.get(slot))
            .map_or(0, |cell| cell.load(Ordering::Relaxed))
    }
}

/// Cells of all regions ever seen, by id.
#[derive(Debug)]
pub(super) struct Regions {
    by_id: Mutex<BTreeMap<String, Arc<Cells>>>,
    shards: usize,
    /// Of what the edge answered by itself.
    edge: Arc<Cells>,
}

impl Regions {
    /// Knows no region yet. `shards`: how many threads write apart.
    pub(super) fn new(shards: usize) -> Self {
        Self {
            by_id: Mutex::default(),
            shards,
            edge: Arc::new(Cells::new(shards)),
        }
    }

    /// Cells of what the edge answered by itself.
    pub(super) fn edge(&self) -> &Arc<Cells> {
        &self.edge
    }

    /// Cells of these regions, in their order; new ones where an id is new.
    pub(super) fn align<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Vec<Arc<Cells>> {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let aligned: Vec<(&str, Arc<Cells>)> = ids
            .map(|id| match by_id.get(id) {
                Some(cells) => (id, Arc::clone(cells)),
                None => (id, Arc::new(Cells::new(self.shards))),
            })
            .collect();
        if by_id.len() + aligned.len() > KEPT_MAX {
            by_id.clear();
        }
        by_id.extend(
            aligned
                .iter()
                .map(|(id, cells)| ((*id).to_owned(), Arc::clone(cells))),
        );
        aligned.into_iter().map(|(_, cells)| cells).collect()
    }

    /// Cells of one region, if it was ever configured.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Cells>> {
        let by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.get(id).map(Arc::clone)
    }

    /// All cells with their label, the edge's own first.
    pub(super) fn all(&self) -> Vec<(String, Arc<Cells>)> {
        let by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let own = std::iter::once((EDGE.to_owned(), Arc::clone(&self.edge)));
        own.chain(
            by_id
                .iter()
                .map(|(id, cells)| (id.clone(), Arc::clone(cells))),
        )
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(status: u16) -> Count<'static> {
        Count {
            method: MethodLabel::Get,
            status,
            latency: Some(Duration::from_millis(3)),
            request_id: "id-1",
            at_unix_ms: 7,
        }
    }

    #[test]
    fn shards_add_up_and_threads_beyond_them_share() {
        let cells = Cells::new(2);
        for shard in 0..5 {
            cells.count(shard, &count(200));
        }
        cells.count(0, &count(451));
        let slot = status::slot;
        let expected = [
            (MethodLabel::Get, slot(200), 5),
            (MethodLabel::Get, slot(451), 1),
        ];
        assert_eq!(cells.requests(), expected);
        assert_eq!(cells.latency(MethodLabel::Get).count(), 6);
        assert_eq!(cells.latency(MethodLabel::Post).count(), 0);
    }

    #[test]
    fn the_first_request_of_a_bucket_is_its_exemplar() {
        let cells = Cells::new(1);
        cells.count(0, &count(200));
        let bucket = Histogram::new().observe(Duration::from_millis(3)).bucket;
        assert_eq!(cells.exemplars.told(bucket).unwrap().request_id, "id-1");
    }

    #[test]
    fn a_stream_without_a_first_byte_counts_as_a_request_only() {
        let cells = Cells::new(1);
        cells.count(
            0,
            &Count {
                latency: None,
                ..count(101)
            },
        );
        assert_eq!(cells.requests().len(), 1);
        assert_eq!(cells.latency(MethodLabel::Get).count(), 0);
    }

    #[test]
    fn a_region_keeps_its_counts_over_reloads_and_reordering() {
        let regions = Regions::new(1);
        let before = regions.align(["a", "b"].into_iter());
        before[1].count(0, &count(200));
        let after = regions.align(["b", "c"].into_iter());
        assert_eq!(after[0].requests().len(), 1);
        assert_eq!(after[1].requests().len(), 0);
        let labels: Vec<String> = regions.all().into_iter().map(|(label, _)| label).collect();
        assert_eq!(labels, ["edge", "a", "b", "c"]);
    }

    #[test]
    fn ids_that_come_and_go_do_not_pile_up() {
        let regions = Regions::new(1);
        let kept = regions.align(std::iter::once("stays"));
        kept[0].count(0, &count(200));
        for reload in 0..KEPT_MAX * 2 {
            let fresh = format!("region-{reload}");
            regions.align(["stays", &fresh].into_iter());
        }
        assert!(regions.all().len() <= KEPT_MAX + 1);
        assert_eq!(regions.find("stays").unwrap().requests().len(), 1);
        assert!(regions.find("region-0").is_none());
    }
}
