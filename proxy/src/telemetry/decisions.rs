//! The ring's receipts for people.
//!
//! Promises: a receipt is told with the names of the generation that it was
//! decided with, never with another's. Where that generation is no longer
//! kept, the receipt says so and leaves the names out.

use std::sync::{Arc, PoisonError};

use meridian_policies::explain::receipt_json;
use meridian_policies::{Receipt, Snapshot, Verdict};
use serde_json::{Value, json};

use super::Telemetry;
use super::ring::Walk;
use crate::edge::Generation;

/// Most decisions told at once.
pub const DECISIONS_MAX: usize = 1_000;

/// Generations whose names are kept for receipts, the live one included.
const GENERATIONS_KEPT: usize = 4;

/// Which decisions are wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filter {
    /// At most so many, and at most [`DECISIONS_MAX`].
    pub limit: usize,
    /// Only those forwarded to this region.
    pub region: Option<String>,
    /// Only those with this verdict.
    pub kind: Option<Kind>,
}

/// What can be decided.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Sent to a region.
    Forward,
    /// Answered by the edge itself.
    Answer,
    /// Refused.
    Refuse,
}

impl Kind {
    /// Reads `forward`, `answer` or `refuse`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "forward" => Some(Self::Forward),
            "answer" => Some(Self::Answer),
            "refuse" => Some(Self::Refuse),
            _ => None,
        }
    }

    fn of(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::Forward { .. } => Some(Self::Forward),
            Verdict::Answer => Some(Self::Answer),
            Verdict::Refuse { .. } => Some(Self::Refuse),
            Verdict::Undecided => None,
        }
    }
}

impl Telemetry {
    /// Remembers a generation, so that receipts made with it keep their names
    /// after it was replaced. The last four are kept.
    pub fn adopt(&self, generation: &Arc<Generation>) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.iter().any(|kept| kept.number == generation.number) {
            return;
        }
        if history.len() >= GENERATIONS_KEPT {
            history.remove(0);
        }
        history.push(Arc::clone(generation));
    }

    /// Decisions that are still kept, newest first.
    pub fn decisions(&self, filter: &Filter) -> Vec<Value> {
        let known = self.known();
        let wanted = |receipt: &Receipt| {
            filter
                .kind
                .is_none_or(|kind| Kind::of(receipt.verdict) == Some(kind))
                && filter.region.as_ref().is_none_or(|id| {
                    snapshot_of(&known, receipt)
                        .is_some_and(|snapshot| region_of(snapshot, receipt) == Some(id.as_str()))
                })
        };
        let mut found: Vec<Receipt> = Vec::new();
        let limit = filter.limit.min(DECISIONS_MAX);
        self.ring.newest_first(|receipt| {
            if wanted(receipt) {
                found.push(receipt.clone());
            }
            if found.len() >= limit {
                Walk::Enough
            } else {
                Walk::On
            }
        });
        found.iter().map(|receipt| told(&known, receipt)).collect()
    }

    /// The decision on one request; the latest if an id came twice.
    pub fn decision(&self, request_id: &str) -> Option<Value> {
        // Receipts hold the beginning of ids that are too long.
        let wanted = meridian_policies::ShortId::new(request_id);
        let mut found = None;
        self.ring.newest_first(|receipt| {
            if receipt.request_id != wanted {
                return Walk::On;
            }
            found = Some(receipt.clone());
            Walk::Enough
        });
        found.map(|receipt| told(&self.known(), &receipt))
    }

    fn known(&self) -> Vec<Arc<Generation>> {
        self.history
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn snapshot_of<'a>(known: &'a [Arc<Generation>], receipt: &Receipt) -> Option<&'a Snapshot> {
    let made_with = known.iter().find(|kept| kept.number == receipt.generation);
    made_with.map(|generation| &generation.snapshot)
}

fn region_of<'a>(snapshot: &'a Snapshot, receipt: &Receipt) -> Option<&'a str> {
    match receipt.verdict {
        Verdict::Forward { region } => snapshot
            .regions()
            .get(region.index())
            .map(|region| region.id.as_str()),
        Verdict::Answer | Verdict::Refuse { .. } | Verdict::Undecided => None,
    }
}

fn told(known: &[Arc<Generation>], receipt: &Receipt) -> Value {
    if let Some(snapshot) = snapshot_of(known, receipt) {
        return receipt_json(snapshot, receipt);
    }
    let reason = match receipt.verdict {
        Verdict::Refuse { reason, .. } => Some(reason.name()),
        Verdict::Forward { .. } | Verdict::Answer | Verdict::Undecided => None,
    };
    json!({
        "request_id": receipt.request_id.as_str(),
        "generation": receipt.generation,
        "at": super::rfc3339(receipt.at_unix_ms),
        "at_unix_ms": receipt.at_unix_ms,
        "client": receipt.client.to_string(),
        "verdict": receipt.verdict.as_str(),
        "reason": reason,
        "status": receipt.status,
        "duration_us": receipt.duration_us,
        "note": "the policies of this generation are no longer kept: names are left out",
    })
}
