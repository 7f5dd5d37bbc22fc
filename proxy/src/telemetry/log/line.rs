//! The text of one line.
//!
//! Promises: valid JSON, one line, at most about 18 KiB whatever the client
//! sent; field names of Cloud Logging's structured logs, the edge's own under
//! `meridian`.

use meridian_wire::Known;

use crate::telemetry::histogram::micros;
use crate::telemetry::json::{address, decimal, escape, moment, seconds, text};
use crate::telemetry::outcome::{Outcome, Transport};

/// Longest target written, bytes; escaping can make it six times as long.
const TARGET_MAX: usize = 2_048;

/// Longest path in the message, bytes.
const MESSAGE_PATH_MAX: usize = 256;

/// Longest user agent and authority written, bytes.
const FIELD_MAX: usize = 256;

/// Longest of the other values, bytes.
const VALUE_MAX: usize = 128;

/// Appends the line of one request and a line feed.
pub(super) fn write(outcome: &Outcome<'_>, out: &mut Vec<u8>) {
    put(out, br#"{"severity":""#);
    put(out, severity(outcome).as_bytes());
    put(out, br#"","time":""#);
    moment(outcome.ended_unix_ms(), out);
    message(outcome, out);
    request(outcome, out);
    if let Some(trace) = outcome.trace {
        put(out, br#","logging.googleapis.com/trace":""#);
        text(trace.as_bytes(), VALUE_MAX, out);
        put(out, br#"""#);
    }
    own(outcome, out);
    put(out, b"}\n");
}

/// Text of the edge's own, as it is.
#[inline]
fn put(out: &mut Vec<u8>, literal: &[u8]) {
    out.extend_from_slice(literal);
}

/// `ERROR` when the edge or a backend failed, `WARNING` when the edge refused
/// or the exchange broke, else `INFO`.
fn severity(outcome: &Outcome<'_>) -> &'static str {
    match (outcome.status, super::notable(outcome)) {
        (500.., _) => "ERROR",
        (_, super::Notable::Yes) => "WARNING",
        (_, super::Notable::No) => "INFO",
    }
}

fn message(outcome: &Outcome<'_>, out: &mut Vec<u8>) {
    put(out, br#"","message":""#);
    text(outcome.head.method_str().as_bytes(), VALUE_MAX, out);
    put(out, b" ");
    text(outcome.head.path_bytes(), MESSAGE_PATH_MAX, out);
    put(out, b" ");
    decimal(u64::from(outcome.status), out);
    let last = outcome
        .reject
        .map_or_else(|| region(outcome), |reject| reject.name());
    if !last.is_empty() {
        put(out, b" ");
        text(last.as_bytes(), VALUE_MAX, out);
    }
}

fn request(outcome: &Outcome<'_>, out: &mut Vec<u8>) {
    let head = outcome.head;
    put(out, br#"","httpRequest":{"requestMethod":""#);
    text(head.method_str().as_bytes(), VALUE_MAX, out);
    put(out, br#"","requestUrl":""#);
    put(out, outcome.transport.scheme().as_bytes());
    put(out, b"://");
    text(head.authority_bytes(), FIELD_MAX, out);
    text(head.raw_target_bytes(), TARGET_MAX, out);
    put(out, br#"","status":"#);
    decimal(u64::from(outcome.status), out);
    put(out, br#","requestSize":""#);
    decimal(outcome.bytes_in, out);
    put(out, br#"","responseSize":""#);
    decimal(outcome.bytes_out, out);
    if let Some(agent) = head.first(Known::UserAgent) {
        put(out, br#"","userAgent":""#);
        text(agent, FIELD_MAX, out);
    }
    put(out, br#"","remoteIp":""#);
    address(outcome.client, out);
    if let Some(endpoint) = outcome.endpoint {
        put(out, br#"","serverIp":""#);
        escape(
            outcome
                .generation
                .snapshot
                .endpoint(endpoint)
                .host
                .as_bytes(),
            out,
        );
    }
    put(out, br#"","latency":""#);
    seconds(micros(outcome.duration), out);
    put(out, br#"","protocol":""#);
    put(out, head.version().as_str().as_bytes());
    put(out, br#""}"#);
}

fn own(outcome: &Outcome<'_>, out: &mut Vec<u8>) {
    put(out, br#","meridian":{"request_id":""#);
    text(outcome.request_id.as_bytes(), VALUE_MAX, out);
    put(out, br#"","region":""#);
    escape(region(outcome).as_bytes(), out);
    if let Some(endpoint) = outcome.endpoint {
        put(out, br#"","endpoint":""#);
        escape(
            outcome.generation.snapshot.endpoint(endpoint).id.as_bytes(),
            out,
        );
    }
    put(out, br#"","data_class":""#);
    put(out, outcome.class.as_str().as_bytes());
    put(out, br#"","country":""#);
    put(
        out,
        outcome
            .location
            .country
            .as_ref()
            .map_or("", |country| country.as_str())
            .as_bytes(),
    );
    put(out, br#"","geo_source":""#);
    put(out, outcome.location.source.as_str().as_bytes());
    if let Some(reject) = outcome.reject {
        put(out, br#"","reject":""#);
        put(out, reject.name().as_bytes());
    }
    if let Some(fault) = outcome.upstream_tls {
        put(out, br#"","upstream_tls":""#);
        put(out, fault.as_str().as_bytes());
    }
    put(out, br#"","end":""#);
    put(out, outcome.end.as_str().as_bytes());
    put(out, br#"","attempts":"#);
    decimal(u64::from(outcome.attempts), out);
    put(out, br#","generation":"#);
    decimal(outcome.generation.number, out);
    connection(outcome, out);
    put(out, br#""}"#);
}

fn connection(outcome: &Outcome<'_>, out: &mut Vec<u8>) {
    put(out, br#","protocol":""#);
    put(out, outcome.protocol.as_str().as_bytes());
    put(
        out,
        match outcome.transport {
            Transport::Plain => br#"","tls":"no","peer":""#.as_slice(),
            Transport::Tls => br#"","tls":"yes","peer":""#.as_slice(),
        },
    );
    address(outcome.peer.ip(), out);
    if let Some(connect) = outcome.connect {
        put(out, br#"","connect":""#);
        seconds(micros(connect), out);
    }
    if let Some(first_byte) = outcome.upstream_first_byte {
        put(out, br#"","first_byte":""#);
        seconds(micros(first_byte), out);
    }
}

/// The region that served; empty where the edge answered by itself.
fn region<'a>(outcome: &Outcome<'a>) -> &'a str {
    outcome.region.map_or("", |index| {
        outcome.generation.snapshot.region(index).id.as_str()
    })
}

#[cfg(test)]
mod tests;
