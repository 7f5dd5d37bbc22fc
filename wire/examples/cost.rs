//! Instructions per head, to be run under callgrind:
//!
//! ```text
//! cargo build --release -p meridian-wire --example cost
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/cost both 10000
//! ```
//!
//! Run it with two counts: the difference by the difference of the counts is
//! the price of one exchange. Parts: `request`, `response` (parse), `both`
//! (parse and write of a request and its answer), `h3` (as `both`, for a client
//! of HTTP/3), `h3-request` (parse), `h3-response` (write).

use std::env;
use std::hint::black_box;
use std::sync::LazyLock;

use meridian_wire::h1::{
    Connection, RequestParser, RequestPlan, ResponseParser, ResponsePlan, write_request,
    write_response,
};
use meridian_wire::h3::{self, Fault, RequestReader, Scratch};
use meridian_wire::{
    Added, BodyFraming, HeadLimits, Known, KnownSet, Malformed, Method, RequestHead, ResponseHead,
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
/// The same request over HTTP/3, Huffman coded as by ls-qpack.
const H3_REQUEST: &[u8] = b"\x01\x40\x92\x00\x00\xd1\xd7P\x90,\x93\x15r\xf9\x1d5\xd0U\xc8zn<\
    \xd3L\xffQ\x98c\xbb,$\xb5\x0e\xa4\xa1\x86\x9d\x08X\xb0\xa4=\x92#\xfc\xa0\xd4\x990\x08\x1f_\
    P\xa2\xd0\x7ff\xa2\x81\xb0\xda\xe0S\xfa\xfc\x08~\xd4\xcej\xad\xf2\xa7\x97\x9c\x89\xc6\xbf\
    \xb50\x9a\xc2\xca\x7f,\x04O\x7f_\x0e\x99\x1du\xd0b\x0d&=LtA\xea\xfaQ%\xf2\x96\x0b\xdc\xb5%\
    d&\xc2\x8e\x9f_\x10\x87\x9b\xd9\xab\xfaR;?/\x02\xf2\xb4\x83H\xd6%\x03B?\x8bI\x8bdB\x88\xd5\
    $\xb6T:?";
const DROP: KnownSet = KnownSet::of(&[Known::XForwardedFor, Known::XDataClass]);

static ADDED_UP: LazyLock<Added> = LazyLock::new(|| {
    Added::from_iter([
        ("x-forwarded-for", b"192.0.2.1".as_slice()),
        ("x-data-class", b"tier_2_internal"),
    ])
});
static ADDED_DOWN: LazyLock<Added> =
    LazyLock::new(|| Added::from_iter([("x-meridian-region", b"europe-west1".as_slice())]));

/// What a request becomes toward a backend.
fn up() -> RequestPlan<'static> {
    RequestPlan {
        drop: DROP,
        append: &ADDED_UP,
        framing: BodyFraming::None,
        upgrade: Upgrade::None,
    }
}

fn main() -> Result<(), Fault> {
    let mut arguments = env::args().skip(1);
    let part = arguments.next().unwrap_or_default();
    let count = arguments
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(10_000);
    if part.starts_with("h3") {
        over_h3(&part, count)
    } else {
        over_h1(&part, count).map_err(Fault::from)
    }
}

fn down(response: &ResponseHead) -> ResponsePlan<'static> {
    ResponsePlan {
        to: Version::Http11,
        drop: KnownSet::EMPTY,
        append: &ADDED_DOWN,
        framing: response.framing(),
        connection: Connection::KeepAlive,
    }
}

fn over_h3(part: &str, count: usize) -> Result<(), Fault> {
    let limits = HeadLimits::default();
    let (mut request, mut response) = (RequestHead::new(), ResponseHead::new());
    let (mut scratch, mut out) = (Scratch::default(), Vec::new());
    ResponseParser::new().parse(RESPONSE, &limits, Method::Get, &mut response)?;
    for _ in 0..count {
        out.clear();
        if part != "h3-response" {
            let mut reader = RequestReader::new(limits);
            reader.step(black_box(H3_REQUEST), &mut request, &mut scratch)?;
            reader.finish_head(&mut request)?;
        }
        if part == "h3" {
            write_request(&request, &up(), &mut out);
            ResponseParser::new().parse(
                black_box(RESPONSE),
                &limits,
                Method::Get,
                &mut response,
            )?;
        }
        if part != "h3-request" {
            h3::write_response(&response, &down(&response), &mut out);
        }
        black_box(&out);
    }
    Ok(())
}

fn over_h1(part: &str, count: usize) -> Result<(), Malformed> {
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
            write_request(&request, &up(), &mut out);
        }
        if part != "request" {
            responses.parse(black_box(RESPONSE), &limits, Method::Get, &mut response)?;
        }
        if part == "both" {
            write_response(&response, &down(&response), &mut out);
        }
        black_box(&out);
    }
    Ok(())
}
