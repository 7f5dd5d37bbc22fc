//! Rate limits: per client address, per window with a ban, and for all
//! together.
//!
//! Promises: a bucket admits at most its burst and its rate times the time;
//! one `u64` of state a bucket; memory is bounded; a reload keeps every
//! bucket. IPv6 clients are counted by /64. Refuses: to count without bound;
//! when the table is full of live entries, further addresses share one bucket.

mod compiled;
mod gcra;
mod hash;
mod quota;
mod raw;
mod state;

pub use compiled::LimitPolicy;
pub(crate) use compiled::compile;
pub use quota::{LimitRefusal, LimitVerdict, LimitedBy, Quota};
pub(crate) use raw::RawRateLimiting;
pub use state::LimitState;

use crate::routes::RouteLimits;
use crate::{Facts, Route, Snapshot, Tick};

/// Counts one request and says whether it may pass.
#[inline]
#[expect(
    clippy::too_many_arguments,
    reason = "the five things a limit depends on"
)]
pub fn check(
    snapshot: &Snapshot,
    state: &LimitState,
    facts: &Facts<'_>,
    route: &Route,
    now: Tick,
) -> LimitVerdict {
    match route.limits {
        RouteLimits::Off => LimitVerdict::Exempt,
        RouteLimits::On if snapshot.limits.exempts(facts) => LimitVerdict::Exempt,
        RouteLimits::On => state.check(&snapshot.limits, facts.client, now),
    }
}

#[cfg(test)]
mod tests;
