//! Receipts as JSON, with names.

use meridian_geo::{CityName, Country, Location, Point};
use serde_json::{Value, json};

use super::{ExplainedCandidate, explained, names};
use crate::audit::rfc3339;
use crate::identity::TokenNote;
use crate::limits::LimitVerdict;
use crate::regions::complete;
use crate::{AttemptOutcome, Obligation, Receipt, Snapshot, Verdict};

/// A receipt with its names, looked up in the snapshot it was made with.
/// Indices of another snapshot come out as `null` or are left out.
pub fn receipt_json(snapshot: &Snapshot, receipt: &Receipt) -> Value {
    let (region, status, reason) = match receipt.verdict {
        Verdict::Forward { region } => (
            snapshot
                .regions()
                .get(region.index())
                .map(|region| &region.id),
            None,
            None,
        ),
        Verdict::Refuse { status, reason } => (None, Some(status), Some(reason.name())),
        Verdict::Answer | Verdict::Undecided => (None, None, None),
    };
    let permitted = receipt.permitted.as_ref();
    let obligations = permitted
        .zip(snapshot_region(receipt))
        .map(|(permitted, region)| {
            permitted
                .obligations(region)
                .iter()
                .map(Obligation::as_str)
                .collect::<Vec<_>>()
        });
    json!({
        "request_id": receipt.request_id.as_str(),
        "generation": receipt.generation,
        "digest": snapshot.digest(),
        "at": rfc3339(receipt.at_unix_ms),
        "at_unix_ms": receipt.at_unix_ms,
        "client": receipt.client.to_string(),
        "location": location(&receipt.location),
        "method": method(receipt),
        "route": receipt.route.and_then(|at| snapshot.routes().get(at.index())).map(|r| &r.id),
        "data_class": receipt.classified.map(|classified| classified.class.as_str()),
        "data_class_by": receipt.classified.map(|classified| classified.by.as_str()),
        "token": token(snapshot, receipt.token),
        "jurisdiction": receipt.jurisdiction.map(|at| snapshot.jurisdiction_id(at)),
        "permitted": permitted.map(|permitted| names(snapshot, permitted)).unwrap_or_default(),
        "obligations": obligations.unwrap_or_default(),
        "candidates": candidates(snapshot, receipt),
        "draw": receipt.draw.to_string(),
        "affinity": receipt.affinity.as_str(),
        "limits": receipt.limit.as_ref().map(limit),
        "rules": receipt.rules.iter().map(|hit| json!({
            "family": hit.family.as_str(), "id": hit.id.as_str(),
        })).collect::<Vec<_>>(),
        "attempts": receipt.attempts.iter().map(|attempt| json!({
            "endpoint": snapshot.endpoints().get(attempt.endpoint.index()).map(|e| &e.id),
            "version": snapshot.endpoints().get(attempt.endpoint.index()).and_then(|e| e.version.as_ref()),
            "outcome": attempt.outcome.as_str(),
            "status": server_error(attempt.outcome),
        })).collect::<Vec<_>>(),
        "attempt_count": receipt.attempts.count(),
        "verdict": receipt.verdict.as_str(),
        "region": region,
        "reason": reason,
        "status": status.unwrap_or(receipt.status),
        "duration_us": receipt.duration_us,
    })
}

/// Every region, also those that it was not worth to look at.
fn candidates(snapshot: &Snapshot, receipt: &Receipt) -> Vec<ExplainedCandidate> {
    let Some(permitted) = receipt.permitted.as_ref() else {
        return explained(snapshot, &receipt.candidates, None);
    };
    let facts = (permitted, &receipt.location);
    let all = complete(snapshot, facts, &receipt.candidates);
    explained(snapshot, &all, Some(facts))
}

fn snapshot_region(receipt: &Receipt) -> Option<crate::RegionIndex> {
    match receipt.verdict {
        Verdict::Forward { region } => Some(region),
        Verdict::Refuse { .. } | Verdict::Answer | Verdict::Undecided => None,
    }
}

fn server_error(outcome: AttemptOutcome) -> Option<u16> {
    match outcome {
        AttemptOutcome::ServerError(status) => Some(status),
        AttemptOutcome::Success
        | AttemptOutcome::ConnectFailed
        | AttemptOutcome::TlsFailed(_)
        | AttemptOutcome::Reset
        | AttemptOutcome::TimedOut
        | AttemptOutcome::ClientGone => None,
    }
}

/// A location as both forms show it.
pub(super) fn location(location: &Location) -> Value {
    json!({
        "country": location.country.as_ref().map(Country::as_str),
        "city": location.city.as_ref().map(CityName::as_str),
        "lat": location.point.map(Point::lat),
        "lon": location.point.map(Point::lon),
        "source": location.source.as_str(),
        "certainty": location.certainty.as_str(),
    })
}

fn limit(verdict: &LimitVerdict) -> Value {
    match verdict {
        LimitVerdict::Exempt => json!({ "verdict": "exempt" }),
        LimitVerdict::Admit(quota) => json!({
            "verdict": "admit",
            "policy": quota.name,
            "limit": quota.limit,
            "remaining": quota.remaining,
        }),
        LimitVerdict::Refuse(refusal) => json!({
            "verdict": "refuse",
            "policy": refusal.quota.name,
            "limit": refusal.quota.limit,
            "limited_by": refusal.limited_by.as_str(),
            "retry_after_s": refusal.retry_after.as_secs_f64(),
        }),
    }
}

/// Who vouches, or why nobody does; never for whom.
fn token(snapshot: &Snapshot, note: TokenNote) -> Value {
    match note {
        TokenNote::NotAsked => Value::Null,
        TokenNote::Missing => json!("missing"),
        TokenNote::Refused(fault) => json!({ "refused": fault.as_str() }),
        TokenNote::Verified(index) => {
            let provider = snapshot.authentication().provider(index);
            json!({ "provider": provider.map(|one| &one.id) })
        }
    }
}

fn method(receipt: &Receipt) -> &'static str {
    receipt.method.text().unwrap_or("EXTENSION")
}
