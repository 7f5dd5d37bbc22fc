//! Decisions that were made, made again.
//!
//! Promises: a recorded decision holds everything it depended on, so that with
//! the policies of its generation the same region comes out every time; with
//! other policies it says what they would have decided. Nothing here reads
//! live state. Refuses: to recompute what does not come from policies and
//! facts (what the WAF or a backend said stays as it was recorded), and access
//! rules on fields, which are not recorded.

mod compare;
mod decide;
mod diff;
mod recorded;
mod token;

pub use compare::{Difference, replay};
pub use decide::{Decided, Decision, Unchecked, decide_again};
pub use diff::{Change, Diff, DiffReport, Exceeded, Thresholds};
pub use recorded::{
    Asked, RECORD_MAX, Recorded, RecordedCandidate, RecordedClaims, RecordedLocation, RecordedMcp,
    RecordedRequest, RecordedToken,
};

#[cfg(test)]
mod tests;
