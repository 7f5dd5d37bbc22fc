//! What an operator's order does to a choice.
//!
//! Promises: an order only takes regions out. A forced region that cannot
//! serve leaves its requests unserved; a pinned one hands them on. A request
//! that may not go to the ordered region is served as if nothing were ordered.

use super::{Top, Weighing};
use crate::RegionIndex;
use crate::regions::choice::{Candidate, Removal};
use crate::regions::compiled::tag_of;
use crate::state::OverrideAction;

impl Weighing<'_> {
    /// Takes out what orders for other regions leave no room for.
    #[cold]
    pub(super) fn obey(&self, candidates: &mut [Candidate], top: &mut Top) {
        let forced = |candidate: &Candidate| {
            is_allowed(candidate) && self.is_ordered(candidate.region, OverrideAction::Force)
        };
        let pinned = |candidate: &Candidate| {
            is_willing(candidate) && self.is_ordered(candidate.region, OverrideAction::Pin)
        };
        if candidates.iter().any(forced) {
            leave(candidates, forced, Removal::Forced);
        } else if candidates.iter().any(pinned) {
            leave(candidates, pinned, Removal::Pinned);
        } else {
            return;
        }
        *top = Top::default();
        for candidate in candidates {
            *candidate = top.note(*candidate);
        }
    }

    fn is_ordered(&self, at: RegionIndex, wanted: OverrideAction) -> bool {
        self.view.region(at).is_some_and(|state| {
            let held = state.ruling(self.ask.now);
            held.is_some_and(|ruling| ruling.action == wanted) && state.rules_route(self.route())
        })
    }

    fn route(&self) -> u64 {
        let routes = self.snapshot.routes();
        routes
            .get(self.ask.route.index())
            .map_or(u64::MAX, |route| tag_of(&route.id))
    }
}

fn leave(candidates: &mut [Candidate], stays: impl Fn(&Candidate) -> bool, removal: Removal) {
    for candidate in candidates {
        if is_allowed(candidate) && !stays(candidate) {
            candidate.removed_by = Some(removal);
        }
    }
}

/// Law, route and configuration let the request go there.
fn is_allowed(candidate: &Candidate) -> bool {
    !candidate.removed_by.is_some_and(Removal::is_fixed)
}

/// It can serve, and is not full.
fn is_willing(candidate: &Candidate) -> bool {
    match candidate.removed_by {
        None
        | Some(Removal::Standby | Removal::Degraded | Removal::Recovering | Removal::Weight) => {
            true
        }
        Some(
            Removal::Law
            | Removal::RouteConstraint
            | Removal::NoEndpoints
            | Removal::Plaintext
            | Removal::Draining
            | Removal::Forced
            | Removal::Pinned
            | Removal::Unhealthy
            | Removal::Ejected
            | Removal::Tried
            | Removal::Failed
            | Removal::Headroom
            | Removal::Full
            | Removal::Outscored,
        ) => false,
    }
}

#[cfg(test)]
mod tests;
