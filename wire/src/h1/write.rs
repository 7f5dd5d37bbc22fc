//! Writes heads anew from what was parsed.
//!
//! Promises: no byte of the received head goes on but method, the one form of
//! host and path, the query and end-to-end fields; hop-by-hop fields and what
//! `Connection` named end here; framing is written once, by us.

use crate::added::Added;
use crate::bytes::push_decimal;
use crate::known::{Known, KnownSet};
use crate::request::RequestHead;
use crate::response::ResponseHead;
use crate::rules::{BodyFraming, Upgrade};
use crate::version::Version;

/// Written by the writers themselves, never copied.
const OWN: KnownSet = KnownSet::of(&[
    Known::Host,
    Known::ContentLength,
    Known::TransferEncoding,
    Known::Connection,
]);
const CRLF: &[u8] = b"\r\n";
const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n";
const UPGRADE: &[u8] = b"connection: upgrade\r\nupgrade: websocket\r\n";

/// How a request goes to an upstream.
#[derive(Copy, Clone, Debug)]
pub struct RequestPlan<'a> {
    /// Names that do not go on.
    pub drop: KnownSet,
    /// Fields added after those that go on.
    pub append: &'a Added,
    /// How the body is sent; [`BodyFraming::UntilClose`] means chunks, since a
    /// request cannot end with its connection.
    pub framing: BodyFraming,
    /// What is asked of the upstream's connection.
    pub upgrade: Upgrade,
}

/// What becomes of the connection to the client.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Connection {
    /// Another request may follow.
    KeepAlive,
    /// It closes after this answer.
    Close,
    /// It becomes a WebSocket.
    Upgrade,
}

/// How an answer goes to a client.
#[derive(Copy, Clone, Debug)]
pub struct ResponsePlan<'a> {
    /// The client's version: 1.0 or 1.1.
    pub to: Version,
    /// Names that do not go on.
    pub drop: KnownSet,
    /// Fields added after those that go on.
    pub append: &'a Added,
    /// How the body is sent. [`BodyFraming::None`] writes the head's own
    /// Content-Length if it has one (HEAD, 304). [`BodyFraming::Chunked`] to
    /// HTTP/1.0 writes what [`BodyFraming::UntilClose`] writes: the body is to
    /// be encoded so.
    pub framing: BodyFraming,
    /// What becomes of the connection; a body that ends with it closes it.
    pub connection: Connection,
}

/// Appends the head of a request.
pub fn write_request(head: &RequestHead, plan: &RequestPlan<'_>, out: &mut Vec<u8>) {
    match plan.upgrade {
        Upgrade::WebSocket => out.extend_from_slice(b"GET"),
        Upgrade::None => out.extend_from_slice(head.method_bytes()),
    }
    out.extend_from_slice(b" ");
    out.extend_from_slice(head.path_bytes());
    if let Some(query) = head.query_bytes() {
        out.extend_from_slice(b"?");
        out.extend_from_slice(query);
    }
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(head.authority.of(&head.fields.raw));
    out.extend_from_slice(CRLF);
    head.fields.write(plan.drop.union(OWN), out);
    out.extend_from_slice(plan.append.lines());
    match plan.upgrade {
        Upgrade::WebSocket => out.extend_from_slice(UPGRADE),
        Upgrade::None => match plan.framing {
            BodyFraming::None => {}
            BodyFraming::Length(length) => push_length(length, out),
            BodyFraming::Chunked | BodyFraming::UntilClose => out.extend_from_slice(CHUNKED),
        },
    }
    out.extend_from_slice(CRLF);
}

/// Appends the head of an answer. The status line says HTTP/1.1 to every
/// client (RFC 9110 2.5) and carries the registered reason, or none.
pub fn write_response(head: &ResponseHead, plan: &ResponsePlan<'_>, out: &mut Vec<u8>) {
    if head.status() == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        push_status(head.status(), out);
    }
    head.fields.write(plan.drop.union(OWN), out);
    out.extend_from_slice(plan.append.lines());
    let mut connection = plan.connection;
    match (plan.framing, plan.to) {
        (BodyFraming::None, _) => {
            if !matches!(head.status(), 100..=199 | 204)
                && let Some(length) = head.first(Known::ContentLength)
            {
                out.extend_from_slice(b"content-length: ");
                out.extend_from_slice(length);
                out.extend_from_slice(CRLF);
            }
        }
        (BodyFraming::Length(length), _) => push_length(length, out),
        (BodyFraming::Chunked, Version::Http11 | Version::Http2 | Version::Http3) => {
            out.extend_from_slice(CHUNKED);
        }
        (BodyFraming::Chunked, Version::Http10) | (BodyFraming::UntilClose, _) => {
            connection = Connection::Close;
        }
    }
    match (connection, plan.to) {
        (Connection::Close, _) => out.extend_from_slice(b"connection: close\r\n"),
        (Connection::Upgrade, _) => out.extend_from_slice(UPGRADE),
        (Connection::KeepAlive, Version::Http10) => {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        (Connection::KeepAlive, Version::Http11 | Version::Http2 | Version::Http3) => {}
    }
    out.extend_from_slice(CRLF);
}

fn push_status(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(u64::from(status), out);
    out.extend_from_slice(b" ");
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(CRLF);
}

#[inline]
fn push_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"content-length: ");
    push_decimal(length, out);
    out.extend_from_slice(CRLF);
}

/// The reason phrase of the registry; empty for others.
const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
