//! Active health checks: asks each endpoint's health path when it is due.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use meridian_policies::{Endpoint, EndpointIndex, HealthCheck, ProbeFailure, ProbeOutcome};
use meridian_wire::{HeadLimits, Method, ResponseHead};
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::edge::{Edge, Generation};
use crate::engine::line::Body;
use crate::engine::upstream::connect::{Unconnected, connect};
use crate::engine::upstream::h1::{HeadError, Upstream};
use crate::pipeline::{events, ids};
use crate::server::tls::Secured;

/// How often due checks are looked for.
const ROUND: Duration = Duration::from_millis(100);
/// Checks at once.
const CHECKS_MAX: usize = 64;
/// Bytes of a health answer that are read for its load.
const BODY_MAX: usize = 4 * 1024;

/// Checks until the task is aborted.
pub(super) async fn probe(edge: Arc<Edge>) {
    let checks = Arc::new(Semaphore::new(CHECKS_MAX));
    loop {
        let generation = edge.generation();
        // Receipts keep their names after a reload.
        edge.telemetry.adopt(&generation);
        for index in 0..generation.snapshot.endpoints().len() {
            let Ok(index) = u32::try_from(index) else {
                break;
            };
            let endpoint = EndpointIndex(index);
            let now = edge.clock.tick();
            if !generation
                .view
                .probe_due(&generation.snapshot, endpoint, now)
            {
                continue;
            }
            let Ok(permit) = Arc::clone(&checks).acquire_owned().await else {
                return;
            };
            let (edge, generation) = (Arc::clone(&edge), Arc::clone(&generation));
            tokio::spawn(async move {
                check(&edge, &generation, endpoint).await;
                drop(permit);
            });
        }
        let now = edge.clock.tick();
        for event in generation.view.tick(&generation.snapshot, now) {
            events::state(&edge, &generation, &event);
        }
        edge.limits.sweep(now);
        edge.clock.follow();
        tokio::time::sleep(ROUND).await;
    }
}

async fn check(edge: &Edge, generation: &Generation, index: EndpointIndex) {
    let policy = generation.snapshot.health_check();
    let endpoint = generation.snapshot.endpoint(index);
    let secured = generation.upstreams.secured(index);
    let outcome = tokio::time::timeout(policy.timeout, ask((endpoint, secured), policy))
        .await
        .unwrap_or(ProbeOutcome::Down(ProbeFailure::Timeout));
    let now = edge.clock.tick();
    let event = generation
        .view
        .record_probe(&generation.snapshot, index, outcome, now);
    if let Some(event) = event {
        events::health(generation, &event);
    }
}

/// What a backend may say about itself.
#[derive(Deserialize)]
struct Report {
    in_flight: Option<f32>,
    capacity: Option<f32>,
}

async fn ask(
    (endpoint, secured): (&Endpoint, Option<&Secured>),
    policy: &HealthCheck,
) -> ProbeOutcome {
    let connected = connect(endpoint, secured, (ids::draw(), policy.timeout)).await;
    let mut upstream = match connected {
        Ok(connected) => Upstream::new(connected, 0),
        Err(Unconnected::Tls(fault)) => return ProbeOutcome::Down(ProbeFailure::Tls(fault)),
        Err(Unconnected::Socket(error)) if error.kind() == io::ErrorKind::TimedOut => {
            return ProbeOutcome::Down(ProbeFailure::Timeout);
        }
        Err(Unconnected::Socket(_)) => return ProbeOutcome::Down(ProbeFailure::Connect),
    };
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {}\r\nuser-agent: meridian-health\r\nconnection: close\r\n\r\n",
        policy.path, endpoint.authority
    );
    upstream
        .line
        .outbox
        .space()
        .extend_from_slice(request.as_bytes());
    match exchange(&mut upstream).await {
        Ok((status, body)) if (200..300).contains(&status) => {
            ProbeOutcome::Up { load: load(&body) }
        }
        Ok((status, _)) => ProbeOutcome::Down(ProbeFailure::Status(status)),
        Err(failure) => ProbeOutcome::Down(failure),
    }
}

/// Status and the first bytes of the body.
async fn exchange(upstream: &mut Upstream) -> Result<(u16, Vec<u8>), ProbeFailure> {
    // Whoever closed before it read may still have said why.
    let _ = poll_fn(|cx| upstream.line.poll_flush(cx)).await;
    let mut head = ResponseHead::new();
    let limits = HeadLimits::default();
    poll_fn(|cx| upstream.poll_head(cx, &limits, Method::Get, &mut head))
        .await
        .map_err(|error| match error {
            HeadError::Untrusted(fault) => ProbeFailure::Tls(fault),
            HeadError::Closed | HeadError::Broke | HeadError::Malformed(_) => ProbeFailure::Broken,
        })?;
    upstream.expect_body(&head);
    let mut body = Vec::new();
    while body.len() < BODY_MAX {
        let found = poll_fn(|cx| upstream.line.poll_body(cx)).await;
        match found.map_err(|_| ProbeFailure::Broken)? {
            Body::Data => {
                let data = upstream.line.data();
                let count = data.len();
                body.extend_from_slice(data);
                upstream.line.consume(count);
            }
            Body::End => break,
        }
    }
    Ok((head.status(), body))
}

/// In flight over capacity, 0 to 1; nothing when the backend does not say.
fn load(body: &[u8]) -> Option<f32> {
    let report: Report = serde_json::from_slice(body).ok()?;
    let (in_flight, capacity) = (report.in_flight?, report.capacity?);
    (capacity > 0.0 && in_flight >= 0.0).then(|| (in_flight / capacity).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_what_the_backend_reports_within_bounds() {
        assert_eq!(load(br#"{"in_flight":5,"capacity":10}"#), Some(0.5));
        assert_eq!(load(br#"{"in_flight":50,"capacity":10}"#), Some(1.0));
        for silent in [
            &b"ok"[..],
            b"{}",
            br#"{"in_flight":1}"#,
            br#"{"in_flight":1,"capacity":0}"#,
        ] {
            assert_eq!(load(silent), None);
        }
    }
}
