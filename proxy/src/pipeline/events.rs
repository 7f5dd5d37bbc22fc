//! Changes of endpoints and regions, for metrics and the process's log.

use meridian_policies::{AlarmEvent, EndpointEvent, EndpointIndex, HealthEvent, StateEvent};
use serde_json::{Value, json};

use crate::edge::{Edge, Generation};

/// An endpoint was ejected or came back.
pub fn endpoint(edge: &Edge, generation: &Generation, event: &EndpointEvent) {
    match *event {
        EndpointEvent::Ejected {
            endpoint, count, ..
        } => {
            let region = generation.snapshot.endpoint(endpoint).region;
            edge.telemetry.ejection(generation, region);
            let message = "endpoint ejected after failures in a row";
            notice(
                "WARNING",
                message,
                &place(generation, endpoint, &json!({ "ejections": count })),
            );
        }
        EndpointEvent::Returned { endpoint } => {
            notice(
                "INFO",
                "endpoint back after ejection",
                &place(generation, endpoint, &json!({})),
            );
        }
    }
}

/// An active check changed an endpoint.
pub fn health(generation: &Generation, event: &HealthEvent) {
    match *event {
        HealthEvent::Up { endpoint } => {
            notice(
                "INFO",
                "endpoint healthy",
                &place(generation, endpoint, &json!({})),
            );
        }
        HealthEvent::Down { endpoint, reason } => {
            let why = json!({ "reason": reason.as_str() });
            notice(
                "WARNING",
                "endpoint unhealthy",
                &place(generation, endpoint, &why),
            );
        }
    }
}

/// Time has changed something.
pub fn state(edge: &Edge, generation: &Generation, event: &StateEvent) {
    match event {
        StateEvent::Endpoint(change) => endpoint(edge, generation, change),
        StateEvent::Region(change) => {
            let region = &generation.snapshot.region(change.region).id;
            let text = json!({ "region": region, "from": change.from, "to": change.to });
            notice("WARNING", "region changed state", &text);
        }
        StateEvent::Alarm(AlarmEvent::Raised { failed }) => {
            let message = "several regions have failed: a person has to look";
            notice("CRITICAL", message, &json!({ "failed": failed }));
        }
        StateEvent::Alarm(AlarmEvent::Ended) => {
            notice("NOTICE", "at most one region is failed", &json!({}));
        }
        StateEvent::Override(ended) => {
            let region = &generation.snapshot.region(ended.region).id;
            let text = json!({
                "region": region, "change": "expired", "action": ended.action.as_str(),
            });
            notice("NOTICE", "region override", &text);
        }
    }
}

fn place(generation: &Generation, endpoint: EndpointIndex, more: &Value) -> Value {
    let endpoint = generation.snapshot.endpoint(endpoint);
    let region = &generation.snapshot.region(endpoint.region).id;
    let mut value = json!({ "region": region, "endpoint": endpoint.id });
    if let (Some(object), Some(more)) = (value.as_object_mut(), more.as_object()) {
        object.extend(more.clone());
    }
    value
}

/// One JSON line on standard error, with Cloud Logging's field names.
pub fn notice(severity: &str, message: &str, meridian: &Value) {
    use std::io::Write as _;
    let line = json!({ "severity": severity, "message": message, "meridian": meridian });
    // Standard error that is closed must not stop the process. In one write:
    // another process may write to the same file.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
