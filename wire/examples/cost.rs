//! Instructions per head, to be run under callgrind:
//!
//! ```text
//! cargo build --release -p meridian-wire --example cost
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/cost both 10000
//! ```
//!
//! Run it with two counts: the difference by the difference of the counts is
//! the price of one exchange. Parts: `request`, `response` (parse), `both`
//! (parse and write of a request and its answer).

use std::env;
use std::hint::black_box;

use meridian_wire::h1::{
    Connection, RequestParser, RequestPlan, ResponseParser, ResponsePlan, write_request,
    write_response,
};
use meridian_wire::{
    BodyFraming, HeadLimits, Known, KnownSet, Malformed, Method, RequestHead, ResponseHead,
    Upgrade, Version,
};

const REQUEST: &[u8] = b"GET /v3/tenants/4711/records?limit=20 HTTP/1.1\r\n\
    Host: edge.example.com:8443\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/128\r\n\
    Accept: application/json, text/event-stream\r\n\
    Accept-Encoding: gzip, br\r\n\
    X-Data-Class: tier_2_internal\r\n\
    Connection: keep-alive\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: backend/1.0\r\n\
    Date: Sun, 22 Nov 2026 19:00:42 GMT\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 1024\r\n\
    ETag: \"67409f1c-400\"\r\n\
    Cache-Control: no-store\r\n\r\n";
const DROP: KnownSet = KnownSet::of(&[Known::XForwardedFor, Known::XDataClass]);

fn main() -> Result<(), Malformed> {
    let mut arguments = env::args().skip(1);
    let part = arguments.next().unwrap_or_default();
    let count = arguments
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(10_000);
    let limits = HeadLimits::default();
    let (mut request, mut response) = (RequestHead::new(), ResponseHead::new());
    let (mut requests, mut responses) = (RequestParser::new(), ResponseParser::new());
    let mut out = Vec::new();
    for _ in 0..count {
        out.clear();
        if part != "response" {
            requests.parse(black_box(REQUEST), &limits, &mut request)?;
        }
        if part == "both" {
            let plan = RequestPlan {
                drop: DROP,
                append: &[
                    ("x-forwarded-for", b"192.0.2.1"),
                    ("x-data-class", b"tier_2_internal"),
                ],
                framing: BodyFraming::None,
                upgrade: Upgrade::None,
            };
            write_request(&request, &plan, &mut out);
        }
        if part != "request" {
            responses.parse(black_box(RESPONSE), &limits, Method::Get, &mut response)?;
        }
        if part == "both" {
            let plan = ResponsePlan {
                to: Version::Http11,
                drop: KnownSet::EMPTY,
                append: &[("x-meridian-region", b"europe-west1")],
                framing: response.framing(),
                connection: Connection::KeepAlive,
            };
            write_response(&response, &plan, &mut out);
        }
        black_box(&out);
    }
    Ok(())
}
