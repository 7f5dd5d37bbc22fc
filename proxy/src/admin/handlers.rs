//! One function a route: read, call, write down.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use meridian_policies::Diagnostic;
use meridian_policies::audit::Operation;
use serde_json::{Value, json};

use super::answer::{self, Body, Problem};
use super::explain;
use super::guard::Caller;
use super::query;
use super::residency;
use super::routes::{LISTED, Route};
use crate::edge::{Edge, Phase};
use crate::overrides::{self, Denied, Wish};
use crate::reload::{self, Outcome};
use crate::settings::Switch;
use crate::telemetry::audit::Audit;
use crate::telemetry::{self, Telemetry};

/// Bytes of a request body.
const BODY_MAX: usize = 64 * 1024;

/// For a request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A request that was admitted.
pub(super) struct Call {
    pub(super) edge: Arc<Edge>,
    pub(super) route: Route,
    pub(super) caller: Caller,
    pub(super) parts: Parts,
    pub(super) body: Incoming,
}

/// The answer to a request.
pub(super) async fn answer(call: Call) -> Response<Body> {
    let edge = &call.edge;
    match call.route {
        Route::Index => index(edge),
        Route::Live => answer::json(StatusCode::OK, &json!({ "status": "live" })),
        Route::Ready => ready(edge, call.caller),
        Route::Metrics => metrics(edge),
        Route::Regions => regions(edge),
        Route::Overrides => answer::json(StatusCode::OK, &overrides::all(edge)),
        Route::OverrideOf(region) => match overrides::of_region(edge, &region) {
            Some(found) => answer::json(StatusCode::OK, &found),
            None => answer::not_found("no region of that id"),
        },
        Route::Override(region) => match read(call.body).await {
            Ok(body) => ordered(call.edge, region, &body).await,
            Err(refusal) => *refusal,
        },
        Route::Snapshot => snapshot(edge),
        Route::Decisions => decisions(edge, call.parts.uri.query()),
        Route::Decision(id) => decision(edge, &id),
        Route::Explain => match read(call.body).await {
            Ok(body) => explained(edge, &body),
            Err(refusal) => *refusal,
        },
        Route::ResidencyCheck => match read(call.body).await {
            Ok(body) => residency::check(edge, &body).await,
            Err(refusal) => *refusal,
        },
        Route::Reload => reloaded(call.edge).await,
        Route::Drain => drain(edge),
    }
}

fn index(edge: &Edge) -> Response<Body> {
    let paths: Vec<Value> = LISTED
        .iter()
        .map(|(method, path, what)| json!({ "method": method, "path": path, "what": what }))
        .collect();
    let value = json!({
        "name": "meridian",
        "version": env!("CARGO_PKG_VERSION"),
        "region": edge.settings.edge_region,
        "paths": paths,
    });
    answer::json(StatusCode::OK, &value)
}

/// 200 while requests are welcome, else 503. A rejected reload is told and
/// changes nothing: what is live is still good.
fn ready(edge: &Edge, caller: Caller) -> Response<Body> {
    let phase = edge.lifecycle.phase();
    let status = if edge.lifecycle.ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let value = match caller {
        Caller::Probe => json!({ "phase": phase.as_str() }),
        Caller::Operator => ready_detail(edge, phase),
    };
    answer::json(status, &value)
}

fn ready_detail(edge: &Edge, phase: Phase) -> Value {
    let generation = edge.generation();
    let (accepted, rejected) = edge.reloads.counts();
    let standing = edge.reloads.standing().map(|standing| {
        json!({
            "at": telemetry::rfc3339(standing.at_unix_ms),
            "diagnostics": diagnostics(&standing.diagnostics),
        })
    });
    let geo: Vec<Value> = edge
        .reloads
        .databases()
        .into_iter()
        .map(|database| {
            json!({
                "database": database.name,
                "built": telemetry::rfc3339(database.built.saturating_mul(1_000)),
                "stale": database.stale,
            })
        })
        .collect();
    let certificates: Vec<Value> = edge
        .certificates()
        .into_iter()
        .map(|status| {
            json!({
                "certificate": status.certificate,
                "standing": status.standing,
                "expires_in": status.left,
                "fault": status.fault,
            })
        })
        .collect();
    json!({
        "ready": edge.lifecycle.ready(),
        "phase": phase.as_str(),
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "region": edge.settings.edge_region,
        "generation": generation.number,
        "loaded_at": telemetry::rfc3339(generation.loaded_unix_ms),
        "connections": edge.lifecycle.busy(),
        "reloads": { "accepted": accepted, "rejected": rejected },
        "rejected_reload": standing,
        "certificates": certificates,
        "tls_key_log": edge.tls.key_log(),
        "geo": geo,
        "audit": edge.telemetry.audit().map(audit),
    })
}

/// Where the audit log stands. Whoever keeps `seq` and `hash` elsewhere can
/// tell later whether lines were cut off at its end.
fn audit(log: &Audit) -> Value {
    let standing = log.standing();
    json!({
        "failing": standing.fault.is_some(),
        "fault": standing.fault,
        "file": standing.file,
        "seq": standing.head.as_ref().map(|head| head.seq),
        "hash": standing.head.map(|head| head.hash),
        "lost": {
            "refusals": standing.lost.refusals,
            "transfers": standing.lost.transfers,
            "others": standing.lost.others,
        },
        "refused": standing.refused,
        "torn_bytes": standing.torn_bytes,
        "waiting": standing.waiting,
    })
}

fn diagnostics(found: &[Diagnostic]) -> Vec<Value> {
    found
        .iter()
        .map(|diagnostic| {
            json!({
                "path": diagnostic.path,
                "line": diagnostic.line,
                "column": diagnostic.column,
                "message": diagnostic.message,
                "help": diagnostic.help,
                "frame": diagnostic.frame,
            })
        })
        .collect()
}

fn metrics(edge: &Edge) -> Response<Body> {
    match edge.telemetry.metrics() {
        Switch::On => {}
        Switch::Off => return answer::not_found("metrics are turned off in the settings"),
    }
    match Telemetry::scrape(edge) {
        Ok(text) => answer::bytes(StatusCode::OK, telemetry::CONTENT_TYPE, text.into_bytes()),
        Err(error) => internal(error.to_string()),
    }
}

fn regions(edge: &Edge) -> Response<Body> {
    let generation = edge.generation();
    let value = json!({
        "generation": generation.number,
        "edge_region": edge.settings.edge_region,
        "regions": generation.view.status(&generation.snapshot, edge.clock.tick()),
    });
    answer::json(StatusCode::OK, &value)
}

fn snapshot(edge: &Edge) -> Response<Body> {
    let generation = edge.generation();
    let value = json!({
        "generation": generation.number,
        "loaded_at": telemetry::rfc3339(generation.loaded_unix_ms),
        "digest": generation.snapshot.digest(),
        "snapshot": generation.snapshot.to_redacted_json(),
    });
    answer::json(StatusCode::OK, &value)
}

fn decisions(edge: &Edge, query: Option<&str>) -> Response<Body> {
    let filter = match query::filter(query) {
        Ok(filter) => filter,
        Err(detail) => return answer::bad(detail),
    };
    let generation = edge.generation();
    edge.telemetry.adopt(&generation);
    let found = edge.telemetry.decisions(&filter);
    let value = json!({ "generation": generation.number, "decisions": found });
    answer::json(StatusCode::OK, &value)
}

fn decision(edge: &Edge, request_id: &str) -> Response<Body> {
    edge.telemetry.adopt(&edge.generation());
    match edge.telemetry.decision(request_id) {
        Some(found) => answer::json(StatusCode::OK, &found),
        None => answer::not_found("no decision of that request id is kept any more"),
    }
}

fn explained(edge: &Edge, body: &[u8]) -> Response<Body> {
    let question = match explain::question(body) {
        Ok(question) => question,
        Err(detail) => return answer::bad(detail),
    };
    match explain::ask(&question, &edge.generation(), edge.clock.tick()) {
        Ok(explanation) => {
            let mut value = json!(explanation);
            if let (true, Some(members)) = (question.table, value.as_object_mut()) {
                members.insert("table".to_owned(), explanation.to_table().into());
            }
            answer::json(StatusCode::OK, &value)
        }
        Err(detail) => answer::bad(detail),
    }
}

/// The state file is written on a thread that may wait.
async fn ordered(edge: Arc<Edge>, region: String, body: &[u8]) -> Response<Body> {
    let wish: Wish = match serde_json::from_slice(body) {
        Ok(wish) => wish,
        Err(fault) => return answer::bad(fault.to_string()),
    };
    let granted = tokio::task::spawn_blocking(move || overrides::grant(&edge, &region, &wish));
    match granted.await {
        Ok(Ok(told)) => answer::json(StatusCode::OK, &told),
        Ok(Err(Denied::NoRegion)) => answer::not_found("no region of that id"),
        Ok(Err(Denied::Senseless(detail))) => answer::bad(detail),
        Err(error) => internal(error.to_string()),
    }
}

/// Into the audit log, with nothing but what was done.
fn operated(edge: &Edge, action: &str) {
    let operation = Operation {
        action,
        region: None,
        reason: None,
        until_unix_ms: None,
    };
    crate::pipeline::audit::operation(edge, &operation);
}

async fn reloaded(edge: Arc<Edge>) -> Response<Body> {
    operated(&edge, "reload");
    let both = move || {
        let outcome = reload::reload(&edge);
        edge.tls.reload(&edge.generation().upstreams);
        outcome
    };
    match tokio::task::spawn_blocking(both).await {
        Ok(outcome) => told(&outcome),
        Err(error) => internal(error.to_string()),
    }
}

/// 200 when what is on disk is live, 422 when it was rejected.
fn told(outcome: &Outcome) -> Response<Body> {
    match outcome {
        Outcome::Unchanged => answer::json(StatusCode::OK, &json!({ "result": "unchanged" })),
        Outcome::Mended => answer::json(StatusCode::OK, &json!({ "result": "mended" })),
        Outcome::Live { generation, kept } => {
            let kept = diagnostics(kept);
            let value = json!({ "result": "live", "generation": generation, "kept": kept });
            answer::json(StatusCode::OK, &value)
        }
        Outcome::Rejected(faults) => {
            let value = json!({ "result": "rejected", "diagnostics": diagnostics(faults) });
            answer::json(StatusCode::UNPROCESSABLE_ENTITY, &value)
        }
    }
}

fn drain(edge: &Edge) -> Response<Body> {
    edge.lifecycle.drain();
    operated(edge, "drain-edge");
    let value = json!({ "phase": edge.lifecycle.phase().as_str() });
    answer::json(StatusCode::ACCEPTED, &value)
}

/// A whole body within bounds of size and time.
async fn read(body: Incoming) -> Result<Vec<u8>, Box<Response<Body>>> {
    let whole = Limited::new(body, BODY_MAX).collect();
    match tokio::time::timeout(BODY_TIMEOUT, whole).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Box::new(answer::problem(&Problem {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                reason: "body-too-large",
                title: "The body is too large",
                detail: format!("at most {BODY_MAX} bytes"),
            })))
        }
        Ok(Err(error)) => Err(Box::new(answer::bad(error.to_string()))),
        Err(_) => Err(Box::new(answer::problem(&Problem {
            status: StatusCode::REQUEST_TIMEOUT,
            reason: "request-timeout",
            title: "The body did not arrive in time",
            detail: format!("within {} seconds", BODY_TIMEOUT.as_secs()),
        }))),
    }
}

fn internal(detail: String) -> Response<Body> {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let title = "A fault of the edge";
    answer::problem(&Problem {
        status,
        reason: "internal",
        title,
        detail,
    })
}
