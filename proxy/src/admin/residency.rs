//! Whether a backend may move data from one region to another.
//!
//! Promises: the answer is the live policies'; one that concerns a border is
//! recorded before it is given. Refuses: names that are not configured, and to
//! answer what must be recorded and can't be.

use hyper::{Response, StatusCode};
use meridian_policies::audit::{Checked, Context, Kind};
use meridian_policies::residency::{TransferAsk, transfer};
use meridian_policies::{DataClass, Obligation, RegionIndex, Snapshot, Vouched};
use serde::Deserialize;
use serde_json::json;

use super::answer::{self, Body, Problem};
use crate::edge::{Edge, Generation};

/// What is asked. Everything but `consent` and `request_id` is needed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    /// The region where the data is.
    source: String,
    /// The region where it is to go.
    destination: String,
    /// Its class.
    class: DataClass,
    /// Whether the backend vouches for the person's consent.
    #[serde(default)]
    consent: bool,
    /// The request on whose behalf it is moved, for the audit log.
    #[serde(default)]
    request_id: String,
}

/// Longest `request_id`, bytes.
const REQUEST_ID_MAX: usize = 64;

/// Answers `POST /residency/check`.
pub(super) async fn check(edge: &Edge, body: &[u8]) -> Response<Body> {
    let question: Question = match serde_json::from_slice(body) {
        Ok(question) => question,
        Err(fault) => return answer::bad(fault.to_string()),
    };
    let generation = edge.generation();
    let ask = match read(&question, &generation.snapshot) {
        Ok(ask) => ask,
        Err(fault) => return answer::bad(fault),
    };
    let checked = Checked {
        ask,
        outcome: transfer(&generation.snapshot, ask),
    };
    let crosses = generation.snapshot.crosses_border(&ask);
    let recorded = match (crosses, edge.telemetry.audit()) {
        (true, Some(audit)) => {
            let record = checked.record(&context(edge, &generation, &question.request_id));
            if audit.crossing(Kind::Check, record).await.is_err() {
                return unrecorded();
            }
            true
        }
        (true, None) | (false, _) => false,
    };
    told(&generation.snapshot, checked, (crosses, recorded))
}

fn read(question: &Question, snapshot: &Snapshot) -> Result<TransferAsk, String> {
    let region = |id: &str| -> Result<RegionIndex, String> {
        let found = snapshot.region_by_id(id);
        found.ok_or_else(|| format!("no region `{id}`; GET /regions lists them"))
    };
    let plain = |byte: u8| byte.is_ascii_graphic();
    let id = &question.request_id;
    if id.len() > REQUEST_ID_MAX || !id.bytes().all(plain) {
        return Err(format!(
            "`request_id` is at most {REQUEST_ID_MAX} printable ASCII characters"
        ));
    }
    Ok(TransferAsk {
        source: region(&question.source)?,
        destination: region(&question.destination)?,
        class: question.class,
        consent: question.consent.then_some(Vouched::TrustedHop),
    })
}

fn context<'a>(edge: &'a Edge, generation: &'a Generation, request_id: &'a str) -> Context<'a> {
    Context {
        at_unix_ms: edge.clock.unix_ms_at(edge.clock.tick()),
        edge: &edge.settings.edge_region,
        generation: generation.number,
        snapshot: Some(&generation.snapshot),
        request_id,
    }
}

fn told(
    snapshot: &Snapshot,
    checked: Checked,
    (crosses, recorded): (bool, bool),
) -> Response<Body> {
    let law = snapshot.law_of_region(&checked.ask);
    let obligations = snapshot.transfer_obligations(&checked.ask, checked.outcome);
    let value = json!({
        "outcome": checked.outcome.as_str(),
        "allowed": checked.outcome.may_go(),
        "cross_border": crosses,
        "jurisdiction": law.map(|law| &law.id),
        "regulation": law.and_then(|law| law.regulation.as_ref()),
        "obligations": obligations.iter().map(Obligation::as_str).collect::<Vec<_>>(),
        "recorded": recorded,
    });
    answer::json(StatusCode::OK, &value)
}

fn unrecorded() -> Response<Body> {
    answer::problem(&Problem {
        status: StatusCode::SERVICE_UNAVAILABLE,
        reason: "audit-unavailable",
        title: "What must be audited cannot be recorded",
        detail: "the answer concerns a border; /readyz says why the audit log can't be written"
            .to_owned(),
    })
}
