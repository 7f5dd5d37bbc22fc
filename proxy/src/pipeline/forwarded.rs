//! What the backend is told about the client: fields of the edge's own.
//!
//! Promises: the client's copies of these fields are dropped; only a trusted
//! hop's are continued.

use std::net::{IpAddr, SocketAddr};

use meridian_policies::affinity::Secure;
use meridian_policies::regions::Choice;
use meridian_policies::{Snapshot, Trust};
use meridian_wire::{Added, Known, KnownSet, RequestHead};

use super::extra::address;
use super::ids::{RequestId, draw, hex};
use crate::engine::connection::ConnectionInfo;
use crate::pipeline::admit::Admitted;
use crate::telemetry::Transport;

/// Fields that mean something only when the edge wrote them. `Expect` is
/// answered here.
const OWN: KnownSet = KnownSet::of(&[
    Known::Forwarded,
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XRealIp,
    Known::XRequestId,
    Known::XClientRegion,
    Known::XClientCity,
    Known::ClientCert,
    Known::Traceparent,
    Known::XDataClass,
    Known::XResidencyObligations,
    Known::XMeridianRegion,
    Known::Expect,
    Known::McpSessionId,
]);

/// What only a trusted hop may say of a person's data.
const VOUCHING: KnownSet = KnownSet::of(&[Known::XConsent, Known::XPurpose, Known::XSafeguards]);

/// The fields of a request that are not passed on as they came.
pub fn dropped(trust: Trust) -> KnownSet {
    match trust {
        Trust::Untrusted => OWN.with(Known::Tracestate).union(VOUCHING),
        Trust::Trusted => OWN,
    }
}

/// The fields that are the same for every request of a connection whose peer
/// is the client.
pub fn of_connection(peer: &[u8], transport: Transport) -> Added {
    let mut told = Added::new();
    told.push("x-forwarded-for", peer);
    told.push("x-forwarded-proto", transport.scheme().as_bytes());
    told
}

/// Adds the edge's fields. The session id is given back as the backend knows
/// it.
pub fn add(
    extra: &mut Added,
    info: &ConnectionInfo,
    (snapshot, choice): (&Snapshot, &Choice),
    admitted: &Admitted<'_>,
) {
    let head = admitted.facts.head;
    let hop = |known| match info.trust {
        Trust::Trusted => head.first(known),
        Trust::Untrusted => None,
    };
    extra.push("x-request-id", &admitted.id);
    match info.trust {
        Trust::Untrusted => of_peer(extra, info, admitted),
        Trust::Trusted => of_hops(extra, info, admitted),
    }
    place(extra, admitted);
    extra.push("x-data-class", admitted.class.as_str().as_bytes());
    if admitted.permitted.jurisdiction().is_some() {
        extra.add("x-residency-obligations", |text| {
            snapshot.write_obligations(&admitted.permitted, choice.region(), text);
        });
    }
    // A certificate of the connection's own speaks louder than a hop.
    if let Some(field) = info.client_cert().or_else(|| hop(Known::ClientCert)) {
        extra.push("client-cert", field);
    }
    if let Some(session) = admitted.session {
        extra.push("mcp-session-id", session);
    }
}

/// Whether the client's own connection is encrypted: this one, or the one that
/// a trusted hop has taken.
pub fn secure(info: &ConnectionInfo, head: &RequestHead) -> Secure {
    let hop =
        info.trust == Trust::Trusted && head.first(Known::XForwardedProto) == Some(&b"https"[..]);
    match info.transport {
        Transport::Tls => Secure::Yes,
        Transport::Plain if hop => Secure::Yes,
        Transport::Plain => Secure::No,
    }
}

/// The client is the peer: nothing it says about itself goes on.
fn of_peer(extra: &mut Added, info: &ConnectionInfo, admitted: &Admitted<'_>) {
    let host = admitted.facts.head.authority_bytes();
    extra.extend(info.told());
    if !host.is_empty() {
        extra.push("x-forwarded-host", host);
    }
    extra.add("forwarded", |text| {
        peer(text, info);
        if !host.is_empty() {
            text.extend_from_slice(b";host=\"");
            text.extend_from_slice(host);
            text.extend_from_slice(b"\"");
        }
        text.extend_from_slice(b";proto=");
        text.extend_from_slice(info.transport.scheme().as_bytes());
    });
    extra.add("traceparent", |text| traceparent(text, &admitted.id));
}

/// The peer is a trusted hop: what it says goes on.
fn of_hops(extra: &mut Added, info: &ConnectionInfo, admitted: &Admitted<'_>) {
    let head = admitted.facts.head;
    extra.add("x-forwarded-for", |text| {
        for value in head.all(Known::XForwardedFor) {
            text.extend_from_slice(value);
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(info.peer_text());
    });
    let proto = head
        .first(Known::XForwardedProto)
        .unwrap_or(info.transport.scheme().as_bytes());
    extra.push("x-forwarded-proto", proto);
    let host = head
        .first(Known::XForwardedHost)
        .unwrap_or(head.authority_bytes());
    if !host.is_empty() {
        extra.push("x-forwarded-host", host);
    }
    extra.add("forwarded", |text| {
        if admitted.facts.is_direct() {
            peer(text, info);
        } else {
            element(text, admitted.facts.client);
        }
        host_and_proto(text, host, proto);
    });
    let begun = head.first(Known::Traceparent);
    match begun.filter(|value| is_traceparent(value)) {
        Some(value) => extra.push("traceparent", value),
        None => extra.add("traceparent", |text| traceparent(text, &admitted.id)),
    }
}

fn place(extra: &mut Added, admitted: &Admitted<'_>) {
    let location = &admitted.facts.location;
    if let Some(country) = &location.country {
        extra.push("x-client-region", country.as_str().as_bytes());
    }
    if let Some(city) = &location.city {
        extra.push("x-client-city", city.ascii().as_bytes());
    }
}

/// The node of RFC 7239 for the peer, whose address was written once.
fn peer(text: &mut Vec<u8>, info: &ConnectionInfo) {
    match info.peer {
        SocketAddr::V4(_) => {
            text.extend_from_slice(b"for=");
            text.extend_from_slice(info.peer_text());
        }
        SocketAddr::V6(_) => element(text, info.peer.ip()),
    }
}

/// The node of RFC 7239 for an address.
fn element(text: &mut Vec<u8>, client: IpAddr) {
    text.extend_from_slice(b"for=");
    match client {
        IpAddr::V4(_) => address(text, client),
        IpAddr::V6(_) => {
            text.extend_from_slice(b"\"[");
            address(text, client);
            text.extend_from_slice(b"]\"");
        }
    }
}

/// A host from a trusted hop may be anything; what needs quoting is left out.
fn host_and_proto(text: &mut Vec<u8>, host: &[u8], proto: &[u8]) {
    let plain = |byte: &u8| !matches!(byte, b'"' | b'\\');
    if !host.is_empty() && host.iter().all(plain) {
        text.extend_from_slice(b";host=\"");
        text.extend_from_slice(host);
        text.push(b'"');
    }
    if proto == b"https" || proto == b"http" {
        text.extend_from_slice(b";proto=");
        text.extend_from_slice(proto);
    }
}

/// W3C Trace Context, version 00: the request id is the trace id.
fn traceparent(text: &mut Vec<u8>, id: &RequestId) {
    text.extend_from_slice(b"00-");
    text.extend_from_slice(id);
    text.push(b'-');
    text.extend_from_slice(&hex(draw() | 1));
    text.extend_from_slice(b"-00");
}

/// The trace that a trusted hop has begun; `None`: the request id is the trace.
pub fn trace(trust: Trust, head: &RequestHead) -> Option<&str> {
    match trust {
        Trust::Untrusted => None,
        Trust::Trusted => {
            let value = head.first(Known::Traceparent)?;
            let id = is_traceparent(value).then(|| value.get(3..35)).flatten()?;
            std::str::from_utf8(id).ok()
        }
    }
}

/// Version 00 with ids that are not all zero.
pub fn is_traceparent(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    let mut parts = text.split('-');
    let mut hex = |length: usize| {
        parts.next().is_some_and(|part| {
            part.len() == length
                && part
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
                && (length == 2 || part.bytes().any(|byte| byte != b'0'))
        })
    };
    text.starts_with("00-") && hex(2) && hex(32) && hex(16) && hex(2) && text.len() == 55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_made_as_it_is_asked_for() {
        let mut text = Vec::new();
        traceparent(&mut text, &super::super::ids::request_id());
        assert!(is_traceparent(&text), "{}", String::from_utf8_lossy(&text));
        for bad in ["", "00-0-0-00", "ff-0123", "00--", "01-"] {
            assert!(!is_traceparent(bad.as_bytes()));
        }
        let zero = format!("00-{}-{}-00", "0".repeat(32), "1".repeat(16));
        assert!(!is_traceparent(zero.as_bytes()));
    }

    #[test]
    fn the_trace_is_a_trusted_hops_or_the_requests_own() {
        let traceparent = format!("00-{}-{}-01", "a".repeat(32), "b".repeat(16));
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nTraceparent: {traceparent}\r\n\r\n");
        let mut head = RequestHead::new();
        let limits = meridian_wire::HeadLimits::default();
        let parsed =
            meridian_wire::h1::RequestParser::new().parse(text.as_bytes(), &limits, &mut head);
        assert!(parsed.unwrap().is_some());
        assert_eq!(trace(Trust::Trusted, &head), Some("a".repeat(32).as_str()));
        assert_eq!(trace(Trust::Untrusted, &head), None);
    }

    #[test]
    fn forwarded_quotes_what_is_no_token() {
        let mut text = Vec::new();
        element(&mut text, "2001:db8::1".parse().unwrap());
        host_and_proto(&mut text, b"a:8080", b"https");
        assert_eq!(text, b"for=\"[2001:db8::1]\";host=\"a:8080\";proto=https");
    }
}
