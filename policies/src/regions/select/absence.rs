//! What a client is told when no permitted region can serve.

use std::time::Duration;

use super::Weighing;
use crate::EndpointIndex;
use crate::outliers::ProbeMode;
use crate::regions::choice::{Candidate, NoRegion, Removal};

/// Bounds of what a refused client is told to wait.
const RETRY_AFTER: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_mins(1);

impl Weighing<'_> {
    /// Why there is nothing to choose from.
    pub(super) fn none(&self, candidates: &[Candidate]) -> NoRegion {
        if candidates
            .iter()
            .any(|candidate| candidate.removed_by == Some(Removal::Tried))
        {
            return NoRegion::Exhausted {
                retry_after: *RETRY_AFTER.start(),
            };
        }
        let waits = candidates
            .iter()
            .filter_map(|candidate| self.wait(candidate));
        let soonest = waits.min().unwrap_or(*RETRY_AFTER.end());
        NoRegion::AllDown {
            retry_after: soonest.clamp(*RETRY_AFTER.start(), *RETRY_AFTER.end()),
        }
    }

    /// How long until a region that is out may be back.
    fn wait(&self, candidate: &Candidate) -> Option<Duration> {
        let state = self.view.region(candidate.region)?;
        let now = self.ask.now;
        match candidate.removed_by? {
            Removal::Draining => Some(state.drained_until().saturating_sub(now)),
            Removal::Ejected | Removal::Unhealthy => {
                let hot = self.snapshot.regions.hot.get(candidate.region.index())?;
                hot.endpoints
                    .clone()
                    .filter_map(|at| self.back(EndpointIndex(at)))
                    .min()
            }
            Removal::Law
            | Removal::RouteConstraint
            | Removal::NoEndpoints
            | Removal::Plaintext
            | Removal::Forced
            | Removal::Pinned
            | Removal::Tried
            | Removal::Failed
            | Removal::Standby
            | Removal::Degraded
            | Removal::Recovering
            | Removal::Headroom
            | Removal::Full
            | Removal::Weight
            | Removal::Outscored => None,
        }
    }

    fn back(&self, endpoint: EndpointIndex) -> Option<Duration> {
        let state = self.view.endpoint(endpoint)?;
        let ejected = state.ejected_until().saturating_sub(self.ask.now);
        let check = self.snapshot.health_check();
        let checks = match check.mode {
            ProbeMode::Active if state.is_down() => check.interval * check.healthy_threshold,
            ProbeMode::Active | ProbeMode::Off => Duration::ZERO,
        };
        Some(ejected.max(checks))
    }
}
