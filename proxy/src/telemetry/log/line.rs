//! The text of one line.
//!
//! Promises: valid JSON, one line, at most about 14 KiB whatever the client
//! sent; field names of Cloud Logging's structured logs, the edge's own under
//! `meridian`.

use meridian_wire::Known;

use crate::telemetry::json::{self, Object};
use crate::telemetry::outcome::{Outcome, Transport};

/// Longest URL written, bytes; escaping can make it six times as long.
const URL_MAX: usize = 2_048;

/// Longest user agent written, bytes.
const AGENT_MAX: usize = 256;

/// Longest of the other values, bytes.
const VALUE_MAX: usize = 128;

/// Longest path in the message, bytes.
const MESSAGE_PATH_MAX: usize = 256;

/// Appends the line of one request and a line feed.
pub(super) fn write(outcome: &Outcome<'_>, out: &mut Vec<u8>) {
    let mut line = Object::begin(out);
    line.plain("severity", severity(outcome));
    line.with("time", |out| json::moment(outcome.ended_unix_ms(), out));
    message(outcome, &mut line);
    request(outcome, line.object("httpRequest"));
    if let Some(trace) = outcome.trace {
        line.text("logging.googleapis.com/trace", trace.as_bytes(), VALUE_MAX);
    }
    own(outcome, line.object("meridian"));
    line.end();
    out.push(b'\n');
}

/// `ERROR` when the edge or a backend failed, `WARNING` when the edge refused
/// or the exchange broke, else `INFO`.
fn severity(outcome: &Outcome<'_>) -> &'static str {
    match outcome.status {
        500.. => "ERROR",
        _ if outcome.reject.is_some() || super::notable(outcome) == super::Notable::Yes => {
            "WARNING"
        }
        _ => "INFO",
    }
}

fn message(outcome: &Outcome<'_>, line: &mut Object<'_>) {
    let path = outcome.head.path().as_bytes();
    let cut = path.get(..MESSAGE_PATH_MAX).unwrap_or(path);
    line.with("message", |out| {
        json::escape(method(outcome).as_bytes(), out);
        out.push(b' ');
        json::escape(cut, out);
        out.push(b' ');
        json::decimal(u64::from(outcome.status), 3, out);
        out.push(b' ');
        let last = outcome
            .reject
            .map_or_else(|| region(outcome), |reject| reject.name());
        json::escape(last.as_bytes(), out);
    });
}

fn request(outcome: &Outcome<'_>, mut http: Object<'_>) {
    let head = outcome.head;
    http.text("requestMethod", method(outcome).as_bytes(), VALUE_MAX);
    let url: [&[u8]; 4] = [
        outcome.transport.scheme().as_bytes(),
        b"://",
        head.authority().as_bytes(),
        head.raw_target().as_bytes(),
    ];
    http.parts("requestUrl", &url, URL_MAX);
    http.number("status", u64::from(outcome.status));
    http.number_text("requestSize", outcome.bytes_in);
    http.number_text("responseSize", outcome.bytes_out);
    if let Some(agent) = head.first(Known::UserAgent) {
        http.text("userAgent", agent, AGENT_MAX);
    }
    http.address("remoteIp", outcome.client);
    if let Some(endpoint) = outcome.endpoint {
        let host = &outcome.generation.snapshot.endpoint(endpoint).host;
        http.text("serverIp", host.as_bytes(), VALUE_MAX);
    }
    let micros = crate::telemetry::histogram::micros(outcome.duration);
    http.with("latency", |out| json::seconds(micros, out));
    http.plain("protocol", head.version().as_str());
    http.end();
}

fn own(outcome: &Outcome<'_>, mut own: Object<'_>) {
    own.text("request_id", outcome.request_id.as_bytes(), VALUE_MAX);
    own.text("region", region(outcome).as_bytes(), VALUE_MAX);
    if let Some(endpoint) = outcome.endpoint {
        let id = &outcome.generation.snapshot.endpoint(endpoint).id;
        own.text("endpoint", id.as_bytes(), VALUE_MAX);
    }
    own.plain("data_class", outcome.class.as_str());
    own.plain(
        "country",
        outcome
            .location
            .country
            .as_ref()
            .map_or("", |country| country.as_str()),
    );
    own.plain("geo_source", outcome.location.source.as_str());
    if let Some(reject) = outcome.reject {
        own.plain("reject", reject.name());
    }
    own.plain("end", outcome.end.as_str());
    own.number("attempts", u64::from(outcome.attempts));
    own.number("generation", outcome.generation.number);
    own.plain("protocol", outcome.protocol.as_str());
    own.plain(
        "tls",
        match outcome.transport {
            Transport::Plain => "no",
            Transport::Tls => "yes",
        },
    );
    own.address("peer", outcome.peer.ip());
    for (name, duration) in [
        ("connect", outcome.connect),
        ("first_byte", outcome.upstream_first_byte),
    ] {
        if let Some(duration) = duration {
            let micros = crate::telemetry::histogram::micros(duration);
            own.with(name, |out| json::seconds(micros, out));
        }
    }
    own.end();
}

fn method<'a>(outcome: &Outcome<'a>) -> &'a str {
    outcome.head.method_str()
}

/// The region that served; empty where the edge answered by itself.
fn region<'a>(outcome: &Outcome<'a>) -> &'a str {
    outcome.region.map_or("", |index| {
        outcome.generation.snapshot.region(index).id.as_str()
    })
}

#[cfg(test)]
mod tests;
