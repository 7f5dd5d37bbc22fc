//! What changes while running, and survives reloads.
//!
//! Promises: endpoints and regions are known by their ids, so that ejections,
//! latencies and requests in flight outlive any number of reloads; the request
//! path touches relaxed atomics only, never a lock. Refuses to remember what no
//! generation names: an endpoint that was removed is forgotten with the last
//! [`View`] that holds it.

mod endpoint;
mod overrides;
mod region;
mod report;
mod status;
mod tls_fault;
mod view;
pub(crate) mod window;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

pub(crate) use endpoint::EndpointState;
pub use overrides::{OVERRIDE_MAX, Override, OverrideAction, OverrideEvent, REASON_MAX};
pub(crate) use region::RegionState;
pub use report::{
    AlarmEvent, AttemptOutcome, AttemptReport, EndpointEvent, HealthEvent, ProbeFailure,
    ProbeOutcome, RegionEvent, StateEvent,
};
pub use status::{EndpointStatus, OrderStatus, RegionStatus};
pub use tls_fault::TlsFault;
pub use view::View;
use view::{EndpointSlot, RegionSlot};

use crate::regions::tag_of;
use crate::{Endpoint, Snapshot, Tick};

/// Live state of everything, by id. Bounded by what living views name: 512
/// regions and 4,096 endpoints each.
#[derive(Debug, Default)]
pub struct State {
    known: Mutex<Known>,
    ruled_until: Arc<Until>,
    alarm: Arc<Alarm>,
}

/// Failed regions from which on the edge holds still and calls for a person
/// (seed: two are escalated).
pub const ALARM_AT: u32 = 2;

/// How many regions have failed, and how many were told of last.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    failed: AtomicU32,
    told: AtomicU32,
}

impl Alarm {
    pub(crate) fn is_on(&self) -> bool {
        self.failed.load(Relaxed) >= ALARM_AT
    }

    fn set(&self, failed: u32) {
        self.failed.store(failed, Relaxed);
    }

    /// What has changed since this was asked last, if it concerns the alarm.
    fn news(&self) -> Option<AlarmEvent> {
        let failed = self.failed.load(Relaxed);
        let told = self.told.swap(failed, Relaxed);
        match (told >= ALARM_AT, failed >= ALARM_AT) {
            (false, false) => None,
            (true, false) => Some(AlarmEvent::Ended),
            (true, true) if told == failed => None,
            (true | false, true) => Some(AlarmEvent::Raised { failed }),
        }
    }
}

/// A moment that many threads read.
#[derive(Debug, Default)]
pub(crate) struct Until(AtomicU64);

impl Until {
    pub(crate) fn get(&self) -> Tick {
        Tick(self.0.load(Relaxed))
    }

    fn set(&self, until: Tick) {
        self.0.store(until.0, Relaxed);
    }
}

#[derive(Debug, Default)]
struct Known {
    endpoints: HashMap<String, Weak<EndpointState>>,
    regions: HashMap<String, Weak<RegionState>>,
}

impl State {
    /// A state that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lines the state up with a snapshot. What both the snapshot and a living
    /// view name is kept as it is; the rest begins anew. Takes a lock, which
    /// no request ever takes.
    pub fn reconcile(&self, snapshot: &Snapshot, now: Tick) -> View {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let regions = snapshot
            .regions()
            .iter()
            .zip(&snapshot.regions.hot)
            .map(|(region, hot)| RegionSlot {
                state: find(&mut known.regions, &region.id, || RegionState::new(now)),
                endpoints: region.endpoints.clone(),
                from_edge_ms: hot.from_edge_ms,
            })
            .collect();
        let endpoints = snapshot
            .endpoints()
            .iter()
            .map(|endpoint| EndpointSlot {
                state: find(&mut known.endpoints, &endpoint.id, || {
                    EndpointState::new(first_probe(snapshot, endpoint, now))
                }),
                region: endpoint.region,
                tag: endpoint.tag,
            })
            .collect();
        known.endpoints.retain(|_, state| state.strong_count() > 0);
        known.regions.retain(|_, state| state.strong_count() > 0);
        drop(known);
        let view = View {
            stamp: snapshot.stamp,
            regions,
            endpoints,
            ruled_until: Arc::clone(&self.ruled_until),
            alarm: Arc::clone(&self.alarm),
            least_correction: AtomicU32::new(0f32.to_bits()),
        };
        view.refresh(snapshot, now);
        view
    }
}

fn find<T>(known: &mut HashMap<String, Weak<T>>, id: &str, new: impl FnOnce() -> T) -> Arc<T> {
    if let Some(state) = known.get(id).and_then(Weak::upgrade) {
        return state;
    }
    let state = Arc::new(new());
    known.insert(id.to_owned(), Arc::downgrade(&state));
    state
}

/// First checks are spread over a fifth of the interval, a second at most.
fn first_probe(snapshot: &Snapshot, endpoint: &Endpoint, now: Tick) -> Tick {
    let spread = (snapshot.health_check().interval / 5).min(Duration::from_secs(1));
    let share = mix(tag_of(&endpoint.id), 0) % 1_000;
    now + spread.mul_f64(f64::from(u32::try_from(share).unwrap_or(0)) / 1_000.0)
}

/// One of many independent random numbers from one: splitmix64.
pub(crate) fn mix(draw: u64, salt: u64) -> u64 {
    let mut z = draw.wrapping_add(salt.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
