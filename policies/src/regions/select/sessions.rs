//! Where a session without a pin is served: rendezvous hashing.
//!
//! Promises: a session's home is the region with the highest hash of the two
//! among the regions that are about equally good for it, so that a region that
//! comes or goes moves only its own share. Load does not move sessions until a
//! region has no headroom; a home that cannot serve hands its sessions to the
//! next, and takes them back.

use super::{Scale, Top, tier};
use crate::RegionIndex;
use crate::affinity::SessionKey;
use crate::regions::choice::{AffinityOutcome, Candidate, Removal};
use crate::regions::score::load_score;
use crate::state::mix;

/// Points that sums of terms in another order may differ by.
const ROUNDING: f32 = 0.01;

impl Scale<'_> {
    /// The region that serves a session, and whether it is the session's
    /// home. The tier's removals are taken back.
    pub(super) fn settle(
        &self,
        candidates: &mut [Candidate],
        top: &Top,
        key: SessionKey,
    ) -> Option<(RegionIndex, AffinityOutcome)> {
        let serves = |candidate: &Candidate| tier(candidate.removed_by) == Some(top.tier);
        let home = self.home(candidates, key, is_home);
        let (region, outcome) = match home {
            Some(home) if serves(home) => (home.region, AffinityOutcome::Kept),
            Some(home) => {
                let next = self.home(candidates, key, serves)?;
                (next.region, yielded(home.removed_by))
            }
            None => {
                let only = self.home(candidates, key, serves)?;
                (only.region, AffinityOutcome::Kept)
            }
        };
        for candidate in candidates.iter_mut() {
            if tier(candidate.removed_by) == Some(top.tier) {
                candidate.removed_by = None;
            }
        }
        Some((region, outcome))
    }

    /// The highest hash among those about as good as the best one.
    fn home<'c>(
        &self,
        candidates: &'c [Candidate],
        key: SessionKey,
        counts: impl Fn(&Candidate) -> bool,
    ) -> Option<&'c Candidate> {
        let best = candidates
            .iter()
            .filter(|candidate| counts(candidate))
            .map(|candidate| self.worth(candidate))
            .fold(f32::NEG_INFINITY, f32::max);
        let least = best - self.snapshot.affinity.spread.max(super::TIE);
        candidates
            .iter()
            .filter(|candidate| counts(candidate) && self.worth(candidate) >= least)
            .max_by_key(|candidate| self.rank(candidate.region, key))
    }

    /// What a further region's worth is at most beside its latency's part, of
    /// a score's `rest`, and how far behind the best one it shares no session.
    /// The best one that serves is no better than the best home: what cannot
    /// share with it is neither a home nor the next.
    pub(super) fn session_bar(&self, rest: f32) -> (f32, f32) {
        let scoring = &self.snapshot.regions.scoring;
        let spread = self.snapshot.affinity.spread.max(super::TIE);
        (rest - 100.0 * scoring.weights().load, spread + ROUNDING)
    }

    /// The score without its load.
    pub(super) fn worth(&self, candidate: &Candidate) -> f32 {
        let weight = self.snapshot.regions.scoring.weights().load;
        candidate.score - weight * load_score(candidate.seen.load)
    }

    fn rank(&self, at: RegionIndex, key: SessionKey) -> u64 {
        let hot = self.snapshot.regions.hot.get(at.index());
        mix(key.0, hot.map_or(0, |hot| hot.tag))
    }
}

/// Whether sessions may be at home there when all is well.
fn is_home(candidate: &Candidate) -> bool {
    match candidate.removed_by {
        None
        | Some(
            Removal::Draining
            | Removal::Forced
            | Removal::Pinned
            | Removal::Unhealthy
            | Removal::Ejected
            | Removal::Tried
            | Removal::Failed
            | Removal::Degraded
            | Removal::Recovering
            | Removal::Headroom
            | Removal::Full,
        ) => true,
        Some(
            Removal::Law
            | Removal::RouteConstraint
            | Removal::NoEndpoints
            | Removal::Plaintext
            | Removal::Standby
            | Removal::Weight
            | Removal::Outscored,
        ) => false,
    }
}

fn yielded(removal: Option<Removal>) -> AffinityOutcome {
    match removal {
        Some(Removal::Forced | Removal::Pinned) => AffinityOutcome::YieldedToOperator,
        Some(Removal::Headroom | Removal::Full) => AffinityOutcome::YieldedToLoad,
        None
        | Some(
            Removal::Law
            | Removal::RouteConstraint
            | Removal::NoEndpoints
            | Removal::Plaintext
            | Removal::Draining
            | Removal::Unhealthy
            | Removal::Ejected
            | Removal::Tried
            | Removal::Failed
            | Removal::Standby
            | Removal::Degraded
            | Removal::Recovering
            | Removal::Weight
            | Removal::Outscored,
        ) => AffinityOutcome::YieldedToHealth,
    }
}

#[cfg(test)]
mod tests;
