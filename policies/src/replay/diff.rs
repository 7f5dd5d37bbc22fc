//! What other policies would have done with recorded requests.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::compare::described;
use super::decide::{Decided, Decision, Unchecked, decide_again};
use super::recorded::Recorded;
use crate::limits::{LimitState, LimitVerdict};
use crate::{RejectReason, Snapshot, Tick};

/// Clients whose limits are followed.
const CLIENTS_MAX: usize = 65_536;

/// Request ids that are named of each kind.
const EXAMPLES_MAX: usize = 5;

/// Pairs of regions that are told apart.
const PAIRS_MAX: usize = 10_000;

/// Counts, one recorded request after the other, in the order of their time.
pub struct Diff<'a> {
    snapshot: &'a Snapshot,
    limits: LimitState,
    report: DiffReport,
}

/// How a decision compares with the recorded one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Same region, same answer, same refusal.
    Same,
    /// Served by another region.
    Moved,
    /// Served so far, refused then.
    NewlyRefused,
    /// Refused so far, served then.
    NewlyAllowed,
    /// Answered or refused otherwise.
    Otherwise,
}

/// What would change.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DiffReport {
    /// Recorded requests that were decided again.
    pub compared: u64,
    /// Those that were not, by reason.
    pub unchecked: BTreeMap<&'static str, u64>,
    /// Same region, same answer, same refusal.
    pub same: u64,
    /// Served by another region.
    pub moved: u64,
    /// Of these, from region to region.
    pub moved_by_pair: BTreeMap<String, u64>,
    /// Served so far, refused then.
    pub newly_refused: u64,
    /// Of these, by reason.
    pub newly_refused_by: BTreeMap<&'static str, u64>,
    /// Refused so far, served then.
    pub newly_allowed: u64,
    /// Served in the client's jurisdiction so far, outside of it then.
    pub leaves_jurisdiction: u64,
    /// Not limited so far, over a limit then.
    pub newly_limited: u64,
    /// Answered or refused otherwise.
    pub otherwise: u64,
    /// Some of what changed, `id: before -> then`.
    pub examples: Vec<String>,
}

/// Shares of the compared requests, 0 to 1, that must not be exceeded. `None`:
/// any share is fine.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct Thresholds {
    /// Moved to another region.
    pub moved: Option<f64>,
    /// Newly refused.
    pub newly_refused: Option<f64>,
    /// Newly allowed.
    pub newly_allowed: Option<f64>,
    /// Leaving their jurisdiction.
    pub leaves_jurisdiction: Option<f64>,
    /// Newly limited.
    pub newly_limited: Option<f64>,
}

/// A threshold that was exceeded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exceeded {
    /// Which.
    pub threshold: &'static str,
    /// Requests of that kind.
    pub count: u64,
    /// Of so many.
    pub of: u64,
    /// The share that is allowed.
    pub allowed: f64,
}

impl<'a> Diff<'a> {
    /// Begins with empty buckets.
    pub fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            limits: LimitState::new(CLIENTS_MAX),
            report: DiffReport::default(),
        }
    }

    /// Counts one request; they must come in the order of their time, or the
    /// limits' share is wrong.
    pub fn add(&mut self, recorded: &Recorded) {
        self.limit(recorded);
        match decide_again(self.snapshot, recorded) {
            Ok(then) => {
                self.report.compared += 1;
                self.compare(recorded, &then);
            }
            Err(why) => self.unchecked(why),
        }
    }

    /// What was counted.
    pub fn report(self) -> DiffReport {
        self.report
    }

    fn unchecked(&mut self, why: Unchecked) {
        *self.report.unchecked.entry(why.as_str()).or_default() += 1;
    }

    fn limit(&mut self, recorded: &Recorded) {
        let at = Tick(0) + Duration::from_millis(recorded.at_unix_ms);
        let verdict = super::decide::limit(self.snapshot, &self.limits, recorded, at);
        if matches!(verdict, Some(LimitVerdict::Refuse(_))) && !recorded.limited {
            self.report.newly_limited += 1;
            self.example(recorded, "over a limit");
        }
    }

    fn compare(&mut self, recorded: &Recorded, then: &Decided) {
        let report = &mut self.report;
        let change = Change::of(recorded, then);
        match change {
            Change::Same => report.same += 1,
            Change::Moved => {
                report.moved += 1;
                report.pair(recorded, then);
            }
            Change::NewlyRefused => {
                report.newly_refused += 1;
                if let Decision::Refuse(reason) = then.decision {
                    *report.newly_refused_by.entry(reason.name()).or_default() += 1;
                }
            }
            Change::NewlyAllowed => report.newly_allowed += 1,
            Change::Otherwise => report.otherwise += 1,
        }
        if then.crosses_border && recorded.region.is_some() && !recorded.crossed_border {
            report.leaves_jurisdiction += 1;
        }
        if change != Change::Same {
            self.example(recorded, &then.decision.describe());
        }
    }

    fn example(&mut self, recorded: &Recorded, then: &str) {
        if self.report.examples.len() < EXAMPLES_MAX {
            let before = described(recorded);
            self.report
                .examples
                .push(format!("{}: {before} -> {then}", recorded.request_id));
        }
    }
}

impl Change {
    /// How a decision compares with the recorded one.
    pub fn of(recorded: &Recorded, then: &Decided) -> Self {
        let refused_so = |reason: RejectReason| recorded.reason.as_deref() == Some(reason.name());
        match (&recorded.region, &then.decision) {
            (Some(was), Decision::Forward(is)) if was == is => Self::Same,
            (Some(_), Decision::Forward(_)) => Self::Moved,
            (Some(_), Decision::Refuse(_)) => Self::NewlyRefused,
            (None, Decision::Forward(_)) => Self::NewlyAllowed,
            (None, Decision::Refuse(reason)) if refused_so(*reason) => Self::Same,
            (None, Decision::Answer(_)) if recorded.verdict == "answer" => Self::Same,
            (Some(_), Decision::Answer(_)) | (None, Decision::Refuse(_) | Decision::Answer(_)) => {
                Self::Otherwise
            }
        }
    }

    /// Stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Moved => "moved",
            Self::NewlyRefused => "newly_refused",
            Self::NewlyAllowed => "newly_allowed",
            Self::Otherwise => "otherwise",
        }
    }
}

impl DiffReport {
    fn pair(&mut self, recorded: &Recorded, then: &Decided) {
        let (Some(was), Decision::Forward(is)) = (&recorded.region, &then.decision) else {
            return;
        };
        let pair = format!("{was} -> {is}");
        let pairs = &mut self.moved_by_pair;
        if pairs.contains_key(&pair) || pairs.len() < PAIRS_MAX {
            *pairs.entry(pair).or_default() += 1;
        }
    }

    /// The thresholds that this exceeds. Without a request to compare, none.
    pub fn exceeded(&self, thresholds: &Thresholds) -> Vec<Exceeded> {
        let one = |threshold, count: u64, allowed: Option<f64>| {
            let allowed = allowed?;
            #[expect(
                clippy::cast_precision_loss,
                reason = "a share needs no more than 52 bits"
            )]
            let over = self.compared > 0 && count as f64 > allowed * self.compared as f64;
            over.then_some(Exceeded {
                threshold,
                count,
                of: self.compared,
                allowed,
            })
        };
        [
            one("moved", self.moved, thresholds.moved),
            one(
                "newly_refused",
                self.newly_refused,
                thresholds.newly_refused,
            ),
            one(
                "newly_allowed",
                self.newly_allowed,
                thresholds.newly_allowed,
            ),
            one(
                "leaves_jurisdiction",
                self.leaves_jurisdiction,
                thresholds.leaves_jurisdiction,
            ),
            one(
                "newly_limited",
                self.newly_limited,
                thresholds.newly_limited,
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
