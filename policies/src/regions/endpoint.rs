//! Which endpoint of a region serves.
//!
//! Promises: an endpoint that is down, ejected or was tried is never chosen
//! while another one of the region can serve; of two drawn at random the one
//! with the lower peak-EWMA cost is taken. A session without a pin always gets
//! the same one of those that can serve; with routing by version, only those of
//! the version that was chosen count. In panic (off by default) all
//! endpoints of this one region count as usable.

use std::ops::Range;

use super::choice::{Ask, Removal};
use super::gates::{Gate, is_out};
use super::versions::{VERSIONS_MAX, VersionIndex};
use crate::outliers::OutlierPolicy;
use crate::state::{EndpointState, View, mix};
use crate::{EndpointIndex, Snapshot};

const SALT_FIRST: u64 = 3 << 32;
const SALT_SECOND: u64 = 4 << 32;

/// What a region has to offer to one attempt.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Supply {
    /// Every endpoint can serve.
    All,
    /// So many can, which have to be looked for.
    Some(u32),
    /// None can; the reason.
    None(Removal),
    /// None is good, but all that were not tried may be used.
    Panic(u32),
}

/// Looks at a region's endpoints. One load and no loop where nothing is wrong.
pub(super) fn supply(
    view: &View,
    endpoints: &Range<u32>,
    ask: &Ask<'_>,
    (policy, untroubled): (&OutlierPolicy, bool),
) -> Supply {
    if endpoints.is_empty() {
        return Supply::None(Removal::NoEndpoints);
    }
    if (untroubled && ask.tried.is_empty()) || is_out(Gate::Health) {
        return Supply::All;
    }
    let mut seen = Seen::default();
    for endpoint in endpoints.clone().map(EndpointIndex) {
        seen.add(view, ask, endpoint);
    }
    let total = endpoints.end.saturating_sub(endpoints.start);
    if policy.panics(seen.usable, total) && seen.untried > 0 {
        return Supply::Panic(seen.untried);
    }
    match seen {
        Seen { fresh: 1.., .. } => Supply::Some(seen.fresh),
        Seen { usable: 1.., .. } => Supply::None(Removal::Tried),
        Seen { ejected: 1.., .. } => Supply::None(Removal::Ejected),
        Seen { .. } => Supply::None(Removal::Unhealthy),
    }
}

#[derive(Copy, Clone, Debug, Default)]
struct Seen {
    /// Healthy and not ejected.
    usable: u32,
    /// Of these, not tried.
    fresh: u32,
    /// Not tried, in whatever state.
    untried: u32,
    /// Ejected, but not down.
    ejected: u32,
}

impl Seen {
    fn add(&mut self, view: &View, ask: &Ask<'_>, endpoint: EndpointIndex) {
        let Some(state) = view.endpoint(endpoint) else {
            return;
        };
        let tried = ask.tried.contains(endpoint);
        let usable = state.is_usable(ask.now);
        self.usable += u32::from(usable);
        self.fresh += u32::from(usable && !tried);
        self.untried += u32::from(!tried);
        self.ejected += u32::from(!usable && !state.is_down());
    }
}

/// What one endpoint is taken of.
#[derive(Copy, Clone)]
pub(super) struct Pool<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) view: &'a View,
    pub(super) endpoints: &'a Range<u32>,
    pub(super) ask: &'a Ask<'a>,
    pub(super) supply: Supply,
}

/// Takes one of what [`supply`] found.
pub(super) fn pick(pool: &Pool<'_>) -> Option<EndpointIndex> {
    if pool.ask.session.is_some() || pool.snapshot.regions.versions.is_on() {
        return narrowed(pool);
    }
    let count = match pool.supply {
        Supply::All => pool.endpoints.end.saturating_sub(pool.endpoints.start),
        Supply::Some(count) | Supply::Panic(count) => count,
        Supply::None(_) => 0,
    };
    let (first, second) = two_of(count, pool.ask.draw)?;
    let first = nth(pool, first)?;
    Some(pool.cheaper(first, second.and_then(|position| nth(pool, position))))
}

/// The same among the endpoints of one version, or by the session's hash.
fn narrowed(pool: &Pool<'_>) -> Option<EndpointIndex> {
    let wanted = pool.version();
    let counts = |at: &EndpointIndex| {
        pool.can_serve(*at) && wanted.is_none_or(|wanted| pool.routed(*at) == Some(wanted))
    };
    let fitting = || pool.endpoints.clone().map(EndpointIndex).filter(counts);
    if let Some(key) = pool.ask.session {
        return fitting().max_by_key(|at| mix(key.0, pool.view.tag(*at)));
    }
    let count = u32::try_from(fitting().count()).unwrap_or(u32::MAX);
    let (first, second) = two_of(count, pool.ask.draw)?;
    let at = |position: u32| fitting().nth(usize::try_from(position).ok()?);
    let first = at(first)?;
    Some(pool.cheaper(first, second.and_then(at)))
}

impl Pool<'_> {
    fn cheaper(&self, first: EndpointIndex, second: Option<EndpointIndex>) -> EndpointIndex {
        let policy = &self.snapshot.outliers.detection;
        let cost = |at: EndpointIndex| {
            let state = self.view.endpoint(at);
            state.map_or(f32::INFINITY, |state| state.cost(policy, self.ask.now))
        };
        second
            .filter(|second| cost(*second) < cost(first))
            .unwrap_or(first)
    }

    fn routed(&self, at: EndpointIndex) -> Option<VersionIndex> {
        self.snapshot.regions.endpoints.get(at.index())?.routed
    }

    /// The version that serves this request here; `None`: whichever.
    fn version(&self) -> Option<VersionIndex> {
        let versions = &self.snapshot.regions.versions;
        if !versions.is_on() {
            return None;
        }
        let mut can_serve = [false; VERSIONS_MAX];
        for at in self.endpoints.clone().map(EndpointIndex) {
            let slot = self
                .routed(at)
                .and_then(|version| can_serve.get_mut(version.index()));
            if let Some(slot) = slot.filter(|slot| !**slot) {
                *slot = self.can_serve(at);
            }
        }
        versions.choose(&can_serve, (self.ask.version, self.ask.draw))
    }

    fn can_serve(&self, at: EndpointIndex) -> bool {
        match self.supply {
            Supply::All => true,
            Supply::Panic(_) => !self.ask.tried.contains(at),
            Supply::Some(_) => {
                let usable = |state: &EndpointState| state.is_usable(self.ask.now);
                !self.ask.tried.contains(at) && self.view.endpoint(at).is_some_and(usable)
            }
            Supply::None(_) => false,
        }
    }
}

/// Two different positions below `count`, by draw.
fn two_of(count: u32, draw: u64) -> Option<(u32, Option<u32>)> {
    let first = below(mix(draw, SALT_FIRST), count)?;
    let second = count
        .checked_sub(1)
        .and_then(|others| below(mix(draw, SALT_SECOND), others))
        .map(|step| (first + 1 + step) % count);
    Some((first, second))
}

/// A number below `count`, by the upper half of a product: no division.
fn below(random: u64, count: u32) -> Option<u32> {
    (count > 0).then(|| (((random >> 32) * u64::from(count)) >> 32) as u32)
}

fn nth(pool: &Pool<'_>, position: u32) -> Option<EndpointIndex> {
    if pool.supply == Supply::All {
        return pool
            .endpoints
            .start
            .checked_add(position)
            .map(EndpointIndex);
    }
    let mut usable = pool
        .endpoints
        .clone()
        .map(EndpointIndex)
        .filter(|at| pool.can_serve(*at));
    usable.nth(usize::try_from(position).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_are_always_two_different_endpoints() {
        for draw in 0..2_000 {
            for count in 2..6 {
                let (first, second) = two_of(count, draw).unwrap();
                let second = second.unwrap();
                assert!(first < count && second < count && first != second);
            }
        }
        assert_eq!(two_of(1, 7), Some((0, None)));
        assert_eq!(two_of(0, 7), None);
    }

    #[test]
    fn every_pair_of_endpoints_comes_up() {
        let mut pairs = std::collections::BTreeSet::new();
        for draw in 0..500 {
            let (first, second) = two_of(4, draw).unwrap();
            pairs.insert((first, second.unwrap()));
        }
        assert_eq!(pairs.len(), 12);
    }
}
