//! The live state as one generation sees it.
//!
//! Promises: an index of the snapshot that the view was made with is one load
//! away from its state; an index of another snapshot changes nothing.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::endpoint::Health;
use super::{
    Alarm, AttemptOutcome, AttemptReport, EndpointEvent, EndpointState, HealthEvent, ProbeOutcome,
    RegionEvent, RegionState, StateEvent, Until,
};
use crate::outliers::ProbeMode;
use crate::regions::failover::{Phase, Standing, Vitals};
use crate::stamp::Stamp;
use crate::{EndpointIndex, RegionIndex, Snapshot, Tick};

/// State lined up with one snapshot's indices. Made by
/// [`super::State::reconcile`] at each reload; shared by all threads.
#[derive(Debug)]
pub struct View {
    /// The snapshot that it is lined up with.
    pub(crate) stamp: Stamp,
    pub(super) regions: Box<[RegionSlot]>,
    pub(super) endpoints: Box<[EndpointSlot]>,
    /// Until when some order may take other regions out than its own.
    pub(super) ruled_until: Arc<Until>,
    pub(super) alarm: Arc<Alarm>,
    /// The largest amount by which any measured round trip is below what the
    /// matrix says, as bits of an `f32` of at most 0. Worked out with every
    /// measurement of this view, and on every tick.
    pub(super) least_correction: AtomicU32,
}

#[derive(Debug)]
pub(super) struct RegionSlot {
    pub(super) state: Arc<RegionState>,
    pub(super) endpoints: Range<u32>,
    /// What the matrix says from the edge's own place.
    pub(super) from_edge_ms: Option<f32>,
}

#[derive(Debug)]
pub(super) struct EndpointSlot {
    pub(super) state: Arc<EndpointState>,
    pub(super) region: RegionIndex,
    pub(super) tag: u64,
}

impl View {
    /// An attempt at an endpoint begins. Each must be ended once.
    pub fn begin(&self, endpoint: EndpointIndex, now: Tick) {
        if let Some(slot) = self.endpoints.get(endpoint.index()) {
            slot.state.begin();
            if let Some(region) = self.region(slot.region) {
                region.begin(now);
            }
        }
    }

    /// The attempt is over, whatever came of it.
    pub fn end(&self, endpoint: EndpointIndex) {
        if let Some(slot) = self.endpoints.get(endpoint.index()) {
            slot.state.end();
            if let Some(region) = self.region(slot.region) {
                region.end();
            }
        }
    }

    /// Learns from an attempt: latency, failures in a row, the region's error
    /// share. The event is for logs and metrics.
    #[expect(
        clippy::too_many_arguments,
        reason = "who, what, when, under which rules"
    )]
    pub fn record(
        &self,
        snapshot: &Snapshot,
        endpoint: EndpointIndex,
        report: &AttemptReport,
        now: Tick,
    ) -> Option<EndpointEvent> {
        let slot = self.endpoints.get(endpoint.index())?;
        let region = self.region(slot.region)?;
        let returned = slot
            .state
            .take_return(now)
            .then_some(EndpointEvent::Returned { endpoint });
        match report.outcome {
            AttemptOutcome::ClientGone => returned,
            AttemptOutcome::Success => {
                observe(slot, region, report, now);
                self.note_correction(slot.region, now);
                slot.state.note_success();
                region.note_success(now);
                returned
            }
            // The latency of a failure is no latency: an endpoint that fails
            // fast must not look near.
            AttemptOutcome::ServerError(_)
            | AttemptOutcome::ConnectFailed
            | AttemptOutcome::TlsFailed(_)
            | AttemptOutcome::Reset
            | AttemptOutcome::TimedOut => self.fail(snapshot, endpoint, now).or(returned),
        }
    }

    fn fail(
        &self,
        snapshot: &Snapshot,
        endpoint: EndpointIndex,
        now: Tick,
    ) -> Option<EndpointEvent> {
        let slot = self.endpoints.get(endpoint.index())?;
        let region = self.region(slot.region)?;
        region.note_failure(now);
        let policy = &snapshot.outliers.detection;
        let row = slot.state.note_failure();
        let event = (row >= policy.consecutive_errors
            && self.may_eject(snapshot, slot.region, now))
        .then(|| slot.state.eject(policy, now))
        .flatten()
        .map(|ejection| {
            region.trouble(ejection.until);
            EndpointEvent::Ejected {
                endpoint,
                count: ejection.count,
                until: ejection.until,
            }
        });
        self.settle(snapshot, slot.region, now);
        event
    }

    fn may_eject(&self, snapshot: &Snapshot, region: RegionIndex, now: Tick) -> bool {
        let states = self.states(region);
        let total = u32::try_from(states.len()).unwrap_or(u32::MAX);
        let ejected = states
            .iter()
            .filter(|slot| slot.state.is_ejected(now))
            .count();
        u32::try_from(ejected).unwrap_or(u32::MAX) < snapshot.outliers.detection.ejected_max(total)
    }

    /// Learns from an active check.
    #[expect(
        clippy::too_many_arguments,
        reason = "who, what, when, under which rules"
    )]
    pub fn record_probe(
        &self,
        snapshot: &Snapshot,
        endpoint: EndpointIndex,
        outcome: ProbeOutcome,
        now: Tick,
    ) -> Option<HealthEvent> {
        let slot = self.endpoints.get(endpoint.index())?;
        let change = slot.state.note_probe(outcome, snapshot.health_check(), now);
        self.report_load(slot.region);
        self.refresh_region(slot.region, now);
        self.settle(snapshot, slot.region, now);
        match (change, outcome) {
            (Some(Health::Down), ProbeOutcome::Down(reason)) => {
                Some(HealthEvent::Down { endpoint, reason })
            }
            (Some(Health::Up), ProbeOutcome::Up { .. }) => Some(HealthEvent::Up { endpoint }),
            (Some(Health::Unknown | Health::Up | Health::Down) | None, _) => None,
        }
    }

    /// A round trip that was measured with almost no service in it, such as a
    /// check's: the best evidence there is of the way to a region.
    pub fn record_round_trip(&self, endpoint: EndpointIndex, took: Duration, now: Tick) {
        if let Some(slot) = self.endpoints.get(endpoint.index())
            && let Some(region) = self.region(slot.region)
        {
            region.path().observe(took, now);
            self.note_correction(slot.region, now);
        }
    }

    /// What no measurement goes below; at most 0.
    #[inline]
    pub(crate) fn least_correction(&self) -> f32 {
        f32::from_bits(self.least_correction.load(Relaxed))
    }

    fn correction(&self, region: RegionIndex, now: Tick) -> f32 {
        let slot = self.regions.get(region.index());
        let correction = slot.and_then(|slot| {
            let measured = slot.state.path().round_trip_ms(now)?;
            Some(measured - slot.from_edge_ms?)
        });
        correction.unwrap_or(0.0).min(0.0)
    }

    fn note_correction(&self, region: RegionIndex, now: Tick) {
        let correction = self.correction(region, now);
        if correction < self.least_correction() {
            let lower = |bits| {
                let least = f32::from_bits(bits);
                (correction < least).then(|| correction.to_bits())
            };
            // Somebody else's was lower still.
            let _ = self.least_correction.fetch_update(Relaxed, Relaxed, lower);
        }
    }

    fn note_corrections(&self, now: Tick) {
        let regions = (0u16..).map(RegionIndex).take(self.regions.len());
        let least = regions
            .map(|at| self.correction(at, now))
            .fold(0.0, f32::min);
        self.least_correction.store(least.to_bits(), Relaxed);
    }

    /// Whether an endpoint is to be checked now. Says so once an interval: the
    /// caller that is told so makes the check.
    pub fn probe_due(&self, snapshot: &Snapshot, endpoint: EndpointIndex, now: Tick) -> bool {
        let check = snapshot.health_check();
        match check.mode {
            ProbeMode::Off => false,
            ProbeMode::Active => self
                .endpoints
                .get(endpoint.index())
                .is_some_and(|slot| slot.state.claim_probe(check.interval, slot.tag, now)),
        }
    }

    /// Lets time pass for all of it; what changed since the last call. To be
    /// called about once a second: ejections that end and failback delays that
    /// pass are noticed here, though requests never wait for it.
    pub fn tick(&self, snapshot: &Snapshot, now: Tick) -> Vec<StateEvent> {
        let ended = self.ended_orders(now).into_iter();
        let mut events: Vec<StateEvent> = ended.map(StateEvent::Override).collect();
        for (index, slot) in (0u32..).map(EndpointIndex).zip(&self.endpoints) {
            if slot.state.take_return(now) {
                events.push(StateEvent::Endpoint(EndpointEvent::Returned {
                    endpoint: index,
                }));
            }
        }
        let mut failed = 0;
        for (index, slot) in (0u16..).map(RegionIndex).zip(&self.regions) {
            self.refresh_region(index, now);
            let Some((standing, _)) = self.settle(snapshot, index, now) else {
                continue;
            };
            failed += u32::from(standing.phase == Phase::Failed);
            if let Some(from) = slot.state.announce(standing.phase) {
                let (from, to) = (from.health(), standing.phase.health());
                events.push(StateEvent::Region(RegionEvent {
                    region: index,
                    from,
                    to,
                }));
            }
        }
        self.note_corrections(now);
        self.alarm.set(failed);
        events.extend(self.alarm.news().map(StateEvent::Alarm));
        events
    }

    /// Whether so many regions have failed that what still serves holds
    /// still, as of the last tick.
    pub(crate) fn is_alarmed(&self) -> bool {
        self.alarm.is_on()
    }

    pub(crate) fn region(&self, index: RegionIndex) -> Option<&RegionState> {
        self.regions.get(index.index()).map(|slot| &*slot.state)
    }

    pub(crate) fn endpoint(&self, index: EndpointIndex) -> Option<&EndpointState> {
        self.endpoints.get(index.index()).map(|slot| &*slot.state)
    }

    /// The endpoint's tag; 0 for another snapshot's index.
    pub(crate) fn tag(&self, index: EndpointIndex) -> u64 {
        self.endpoints.get(index.index()).map_or(0, |slot| slot.tag)
    }

    /// The machine's standing at `now`, and what it was judged by.
    pub(crate) fn settle(
        &self,
        snapshot: &Snapshot,
        region: RegionIndex,
        now: Tick,
    ) -> Option<(Standing, Vitals)> {
        let state = self.region(region)?;
        let policy = &snapshot.regions.failover;
        let seen = Vitals {
            unhealthy: self.unhealthy_share(region, now),
            errors: state.error_share(policy, now),
        };
        Some((state.settle(seen, policy, now), seen))
    }

    #[expect(clippy::cast_precision_loss, reason = "at most 4,096 endpoints")]
    fn unhealthy_share(&self, region: RegionIndex, now: Tick) -> f32 {
        let states = self.states(region);
        if states.is_empty()
            || self
                .region(region)
                .is_none_or(|state| state.is_untroubled(now))
        {
            return 0.0;
        }
        let unhealthy = states
            .iter()
            .filter(|slot| slot.state.is_unhealthy(now))
            .count();
        unhealthy as f32 / states.len() as f32
    }

    fn states(&self, region: RegionIndex) -> &[EndpointSlot] {
        self.regions
            .get(region.index())
            .and_then(|slot| {
                let (start, end) = (slot.endpoints.start, slot.endpoints.end);
                self.endpoints
                    .get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
            })
            .unwrap_or_default()
    }

    /// Works out anew what is derived from endpoints, for all regions.
    pub(super) fn refresh(&self, snapshot: &Snapshot, now: Tick) {
        self.note_corrections(now);
        for index in (0u16..).map(RegionIndex).take(self.regions.len()) {
            self.report_load(index);
            self.refresh_region(index, now);
            self.settle(snapshot, index, now);
        }
    }

    fn refresh_region(&self, region: RegionIndex, now: Tick) {
        let Some(state) = self.region(region) else {
            return;
        };
        if state.is_untroubled(now) {
            return self.report_trouble(region, now);
        }
        state.forget_trouble();
        self.report_trouble(region, now);
    }

    fn report_trouble(&self, region: RegionIndex, now: Tick) {
        let Some(state) = self.region(region) else {
            return;
        };
        for slot in self.states(region) {
            if slot.state.is_down() {
                state.trouble(Tick(u64::MAX));
            } else if slot.state.is_ejected(now) {
                state.trouble(slot.state.ejected_until());
            }
        }
    }

    /// Mean of what the endpoints report; those that report nothing are left
    /// out.
    fn report_load(&self, region: RegionIndex) {
        let loads = self
            .states(region)
            .iter()
            .filter_map(|slot| slot.state.reported_load());
        let (sum, count) = loads.fold((0.0, 0.0), |(sum, count), load| (sum + load, count + 1.0));
        if let Some(state) = self.region(region) {
            state.set_reported_load(if count > 0.0 { sum / count } else { 0.0 });
        }
    }
}

fn observe(slot: &EndpointSlot, region: &RegionState, report: &AttemptReport, now: Tick) {
    if let Some(first_byte) = report.first_byte {
        slot.state.observe(first_byte, now);
        region
            .path()
            .observe(report.connect.unwrap_or_default().max(first_byte), now);
    }
}
