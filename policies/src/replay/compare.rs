//! Whether a record comes out again as it was.

use std::fmt;

use super::decide::{Decided, Unchecked, decide_again};
use super::diff::Change;
use super::recorded::{Recorded, RecordedCandidate};
use crate::regions::Removal;
use crate::{DataClass, Snapshot};

/// The first thing that came out otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Of which request.
    pub request_id: String,
    /// What: `route`, `data_class`, `jurisdiction`, `permitted`,
    /// `candidate europe-west1: score`, `decision`.
    pub what: String,
    /// As it was recorded.
    pub recorded: String,
    /// As it comes out now.
    pub now: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}: recorded {}, now {}",
            self.request_id, self.what, self.recorded, self.now
        )
    }
}

/// Decides again and compares, from the facts to the region.
///
/// # Errors
/// What keeps it from being decided; the difference is in `Ok(Some)`.
pub fn replay(snapshot: &Snapshot, recorded: &Recorded) -> Result<Option<Difference>, Unchecked> {
    let now = decide_again(snapshot, recorded)?;
    let found = by_facts(recorded, &now)
        .or_else(|| by_candidates(recorded, &now))
        .or_else(|| by_decision(recorded, &now));
    Ok(found.map(|(what, recorded_as, now_as)| Difference {
        request_id: recorded.request_id.clone(),
        what,
        recorded: recorded_as,
        now: now_as,
    }))
}

type Found = Option<(String, String, String)>;

fn by_facts(recorded: &Recorded, now: &Decided) -> Found {
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    let class =
        |class: Option<DataClass>| class.map_or("none".to_owned(), |c| c.as_str().to_owned());
    if recorded.route != now.route {
        return Some(("route".into(), shown(&recorded.route), shown(&now.route)));
    }
    // A refusal before the law leaves class and permit open.
    recorded.data_class?;
    if recorded.data_class != now.data_class {
        let (was, is) = (class(recorded.data_class), class(now.data_class));
        return Some(("data_class".into(), was, is));
    }
    if recorded.permitted != now.permitted {
        let list = |ids: &[String]| format!("[{}]", ids.join(", "));
        let (was, is) = (list(&recorded.permitted), list(&now.permitted));
        return Some(("permitted".into(), was, is));
    }
    if !recorded.permitted.is_empty() && recorded.jurisdiction != now.jurisdiction {
        let (was, is) = (shown(&recorded.jurisdiction), shown(&now.jurisdiction));
        return Some(("jurisdiction".into(), was, is));
    }
    None
}

fn by_candidates(recorded: &Recorded, now: &Decided) -> Found {
    if recorded.candidates.is_empty() {
        return None;
    }
    let mut pairs = recorded.candidates.iter().zip(&now.candidates);
    pairs
        .find_map(|(was, is)| by_candidate(was, is))
        .or_else(|| {
            let (was, is) = (recorded.candidates.len(), now.candidates.len());
            (was != is).then(|| ("candidates".into(), was.to_string(), is.to_string()))
        })
}

fn by_candidate(was: &RecordedCandidate, is: &RecordedCandidate) -> Found {
    let told = |removal: Option<Removal>| removal.map_or("in", Removal::as_str).to_owned();
    if was.region != is.region {
        return Some(("candidate".into(), was.region.clone(), is.region.clone()));
    }
    // Nothing was seen of it; that it did not win is what the decision says.
    if was.removed_by == Some(Removal::Outscored) {
        return None;
    }
    if was.score.to_bits() != is.score.to_bits() {
        let what = format!("candidate {}: score", was.region);
        return Some((what, was.score.to_string(), is.score.to_string()));
    }
    let (removed, now) = (told(was.removed_by), told(is.removed_by));
    (removed != now).then(|| {
        (
            format!("candidate {}: removed_by", was.region),
            removed,
            now,
        )
    })
}

fn by_decision(recorded: &Recorded, now: &Decided) -> Found {
    (Change::of(recorded, now) != Change::Same).then(|| {
        (
            "decision".into(),
            described(recorded),
            now.decision.describe(),
        )
    })
}

/// A recorded decision as people read it.
pub(super) fn described(recorded: &Recorded) -> String {
    match (&recorded.region, &recorded.reason) {
        (Some(region), _) => format!("forward to {region}"),
        (None, Some(reason)) => format!("refuse ({reason})"),
        (None, None) => format!("answer {}", recorded.status),
    }
}
