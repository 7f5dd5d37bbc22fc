//! The live state for people and for `/regions`.

use serde::Serialize;

use super::endpoint::Health;
use super::{Override, OverrideAction, View};
use crate::regions::failover::Phase;
use crate::regions::{RegionHealth, Role};
use crate::{Region, RegionIndex, Snapshot, Tick};

/// One region, now.
#[derive(Clone, Debug, Serialize)]
pub struct RegionStatus {
    /// Its id.
    pub region: String,
    /// Its state.
    pub state: RegionHealth,
    /// Seconds in that state.
    pub since_s: f64,
    /// Its role.
    pub role: Role,
    /// Its weight, 0 to 100.
    pub weight: u32,
    /// Seconds until a drain ends; `null` if it is not drained.
    pub drained_s: Option<f64>,
    /// What an operator ordered; `null`: nothing.
    pub order: Option<OrderStatus>,
    /// Requests in flight.
    pub in_flight: u32,
    /// Load, 0 to 1 and beyond.
    pub load: f32,
    /// Share of failures in the last ten seconds, 0 below the minimum volume.
    pub error_share: f32,
    /// Measured round trip from this edge, milliseconds.
    pub round_trip_ms: Option<f32>,
    /// Its endpoints.
    pub endpoints: Vec<EndpointStatus>,
}

/// An operator's order, now.
#[derive(Clone, Debug, Serialize)]
pub struct OrderStatus {
    /// What is ordered.
    pub action: OverrideAction,
    /// The one route it is for; `null`: all.
    pub route: Option<String>,
    /// Seconds until it ends.
    pub left_s: f64,
    /// Why.
    pub reason: String,
    /// When it was ordered, milliseconds since 1970.
    pub set_unix_ms: u64,
}

impl OrderStatus {
    /// As of now.
    pub fn new(order: Override, now: Tick) -> Self {
        Self {
            action: order.action,
            route: order.route,
            left_s: order.until.saturating_sub(now).as_secs_f64(),
            reason: order.reason,
            set_unix_ms: order.set_unix_ms,
        }
    }
}

/// One endpoint, now.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointStatus {
    /// Its id.
    pub id: String,
    /// `unknown`, `up` or `down`, by active checks.
    pub health: &'static str,
    /// Whether requests may go there.
    pub usable: bool,
    /// Seconds until an ejection ends; `null` if it is not ejected.
    pub ejected_s: Option<f64>,
    /// Ejections in a row, as of the last one.
    pub ejections: u32,
    /// Requests in flight.
    pub in_flight: u32,
    /// Remembered latency, milliseconds.
    pub latency_ms: Option<f64>,
    /// Load it reported last, 0 to 1.
    pub reported_load: Option<f32>,
}

impl View {
    /// Every region with its endpoints, in the snapshot's order.
    pub fn status(&self, snapshot: &Snapshot, now: Tick) -> Vec<RegionStatus> {
        let indexed = (0u16..).map(RegionIndex).zip(snapshot.regions());
        indexed
            .filter_map(|(index, region)| self.one(snapshot, (index, region), now))
            .collect()
    }

    fn one(
        &self,
        snapshot: &Snapshot,
        (index, region): (RegionIndex, &Region),
        now: Tick,
    ) -> Option<RegionStatus> {
        let state = self.region(index)?;
        let (standing, seen) = self.settle(snapshot, index, now)?;
        let health = match (standing.phase, region.role) {
            (Phase::Active, Role::Standby) => RegionHealth::Standby,
            (phase, Role::Active | Role::Standby) => phase.health(),
        };
        Some(RegionStatus {
            region: region.id.clone(),
            state: health,
            since_s: now.saturating_sub(standing.since).as_secs_f64(),
            role: region.role,
            weight: region.weight,
            drained_s: left(state.drained_until(), now),
            order: self
                .order_of(index, now)
                .map(|order| OrderStatus::new(order, now)),
            in_flight: state.in_flight(),
            load: state.load(region.capacity, now),
            error_share: seen.errors,
            round_trip_ms: state.path().round_trip_ms(now),
            endpoints: region
                .endpoints()
                .filter_map(|endpoint| {
                    let state = self.endpoint(endpoint)?;
                    Some(EndpointStatus {
                        id: snapshot.endpoint(endpoint).id.clone(),
                        health: match state.health() {
                            Health::Unknown => "unknown",
                            Health::Up => "up",
                            Health::Down => "down",
                        },
                        usable: state.is_usable(now),
                        ejected_s: left(state.ejected_until(), now),
                        ejections: state.ejections(),
                        in_flight: state.in_flight(),
                        latency_ms: state
                            .latency()
                            .map(|latency| latency.as_secs_f64() * 1_000.0),
                        reported_load: state.reported_load(),
                    })
                })
                .collect(),
        })
    }
}

fn left(until: Tick, now: Tick) -> Option<f64> {
    (until > now).then(|| until.saturating_sub(now).as_secs_f64())
}
