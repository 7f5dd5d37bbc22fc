//! Which endpoint of a region serves.
//!
//! Promises: an endpoint that is down, ejected or was tried is never chosen
//! while another one of the region can serve; of two drawn at random the one
//! with the lower peak-EWMA cost is taken. In panic (off by default) all
//! endpoints of this one region count as usable.

use std::ops::Range;

use super::choice::{Ask, Removal};
use super::gates::{Gate, is_out};
use crate::EndpointIndex;
use crate::outliers::OutlierPolicy;
use crate::state::{View, mix};

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

/// Takes one of what [`supply`] found.
pub(super) fn pick(
    view: &View,
    endpoints: &Range<u32>,
    ask: &Ask<'_>,
    (policy, supply): (&OutlierPolicy, Supply),
) -> Option<EndpointIndex> {
    let count = match supply {
        Supply::All => endpoints.end.saturating_sub(endpoints.start),
        Supply::Some(count) | Supply::Panic(count) => count,
        Supply::None(_) => 0,
    };
    let (first, second) = two_of(count, ask.draw)?;
    let first = nth(view, endpoints, ask, (supply, first))?;
    let Some(second) = second.and_then(|nth_| nth(view, endpoints, ask, (supply, nth_))) else {
        return Some(first);
    };
    let cost = |endpoint| {
        view.endpoint(endpoint)
            .map_or(f32::INFINITY, |state| state.cost(policy, ask.now))
    };
    Some(if cost(second) < cost(first) {
        second
    } else {
        first
    })
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

fn nth(
    view: &View,
    endpoints: &Range<u32>,
    ask: &Ask<'_>,
    (supply, position): (Supply, u32),
) -> Option<EndpointIndex> {
    let counts = |endpoint: &EndpointIndex| match supply {
        Supply::All => true,
        Supply::Panic(_) => !ask.tried.contains(*endpoint),
        Supply::Some(_) => {
            !ask.tried.contains(*endpoint)
                && view
                    .endpoint(*endpoint)
                    .is_some_and(|state| state.is_usable(ask.now))
        }
        Supply::None(_) => false,
    };
    if supply == Supply::All {
        return endpoints.start.checked_add(position).map(EndpointIndex);
    }
    endpoints
        .clone()
        .map(EndpointIndex)
        .filter(counts)
        .nth(usize::try_from(position).ok()?)
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
