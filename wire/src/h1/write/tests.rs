use super::*;
use crate::added::NOTHING_ADDED;
use crate::h1::{RequestParser, ResponseParser};
use crate::limits::HeadLimits;
use crate::method::Method;

fn forwarded(request: &[u8], plan: &RequestPlan<'_>) -> String {
    let mut head = RequestHead::new();
    let used = RequestParser::new().parse(request, &HeadLimits::default(), &mut head);
    assert_eq!(used, Ok(Some(request.len())));
    let mut out = Vec::new();
    write_request(&head, plan, &mut out);
    String::from_utf8(out).unwrap()
}

const PLAIN: RequestPlan<'static> = RequestPlan {
    drop: KnownSet::EMPTY,
    append: &NOTHING_ADDED,
    framing: BodyFraming::None,
    upgrade: Upgrade::None,
};

#[test]
fn a_request_is_written_anew() {
    let request =
        b"GET http://A.:81/x//./%7ey?%7e HTTP/1.1\r\nX:  1 \r\nHost: a:81\r\nY: 2\r\nZ: 3\r\n\r\n";
    let expected = "GET /x/~y?%7e HTTP/1.1\r\nhost: a:81\r\nx: 1\r\ny: 2\r\nz: 3\r\n\r\n";
    assert_eq!(forwarded(request, &PLAIN), expected);
}

#[test]
fn hop_by_hop_fields_and_nominations_end_here() {
    let request = b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\n\
        Keep-Alive: timeout=5\r\nProxy-Connection: close\r\nTE: trailers\r\nTrailer: x\r\n\
        Upgrade: h2c\r\nHTTP2-Settings: AAMA\r\nProxy-Authorization: Basic eA==\r\nX-Last: 2\r\n\r\n";
    let expected = "GET / HTTP/1.1\r\nhost: a\r\nx-last: 2\r\n\r\n";
    assert_eq!(forwarded(request, &PLAIN), expected);
}

#[test]
fn a_plan_drops_and_appends() {
    let plan = RequestPlan {
        drop: KnownSet::of(&[Known::XForwardedFor, Known::Cookie]),
        append: &Added::from_iter([
            ("x-forwarded-for", b"192.0.2.1".as_slice()),
            ("x-client-region", b"DE"),
        ]),
        ..PLAIN
    };
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nX-Forwarded-For: 10.0.0.1\r\nB: 2\r\nCookie: c\r\n\r\n";
    let expected = "GET / HTTP/1.1\r\nhost: a\r\na: 1\r\nb: 2\r\nx-forwarded-for: 192.0.2.1\r\n\
        x-client-region: DE\r\n\r\n";
    assert_eq!(forwarded(request, &plan), expected);
}

#[test]
fn framing_is_written_once_and_by_the_plan() {
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0005\r\n\r\n";
    let with = |framing| forwarded(request, &RequestPlan { framing, ..PLAIN });
    let start = "POST / HTTP/1.1\r\nhost: a\r\n";
    assert_eq!(
        with(BodyFraming::Length(5)),
        format!("{start}content-length: 5\r\n\r\n")
    );
    assert_eq!(
        with(BodyFraming::Length(0)),
        format!("{start}content-length: 0\r\n\r\n")
    );
    assert_eq!(
        with(BodyFraming::Chunked),
        format!("{start}transfer-encoding: chunked\r\n\r\n")
    );
    assert_eq!(with(BodyFraming::None), format!("{start}\r\n"));
}

#[test]
fn a_websocket_request_keeps_its_own_fields() {
    let request = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
        Upgrade: h2c, WebSocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let plan = RequestPlan {
        upgrade: Upgrade::WebSocket,
        ..PLAIN
    };
    let expected = "GET /ws HTTP/1.1\r\nhost: a\r\nsec-websocket-key: eA==\r\n\
        sec-websocket-version: 13\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(forwarded(request, &plan), expected);
}

fn answered(answer: &str, to: Method, plan: &ResponsePlan<'_>) -> String {
    let mut head = ResponseHead::new();
    let parsed =
        ResponseParser::new().parse(answer.as_bytes(), &HeadLimits::default(), to, &mut head);
    assert_eq!(parsed, Ok(Some(answer.len())));
    let mut out = Vec::new();
    write_response(&head, plan, &mut out);
    String::from_utf8(out).unwrap()
}

const KEPT: ResponsePlan<'static> = ResponsePlan {
    to: Version::Http11,
    drop: KnownSet::EMPTY,
    append: &NOTHING_ADDED,
    framing: BodyFraming::None,
    connection: Connection::KeepAlive,
};

#[test]
fn an_answer_is_written_anew() {
    let answer = "HTTP/1.0 404 nix da\r\nServer: x\r\nConnection: X-Hop\r\nX-Hop: 1\r\nETag:\"e\"\r\nContent-Length: 3\r\n\r\n";
    let plan = ResponsePlan {
        drop: KnownSet::of(&[Known::Server]),
        append: &Added::from_iter([("x-request-id", b"7".as_slice())]),
        framing: BodyFraming::Length(3),
        ..KEPT
    };
    let expected =
        "HTTP/1.1 404 Not Found\r\netag: \"e\"\r\nx-request-id: 7\r\ncontent-length: 3\r\n\r\n";
    assert_eq!(answered(answer, Method::Get, &plan), expected);
}

#[test]
fn an_answer_without_body_keeps_the_length_it_tells_about() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    let expected = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n";
    assert_eq!(answered(head, Method::Head, &KEPT), expected);
    let unchanged = "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n";
    assert!(answered(unchanged, Method::Get, &KEPT).contains("content-length: 3"));
    let none = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        answered(none, Method::Get, &KEPT),
        "HTTP/1.1 204 No Content\r\n\r\n"
    );
}

#[test]
fn connection_and_chunks_follow_the_client() {
    let answer = "HTTP/1.1 299 x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (to, framing, connection, lines) in [
        (
            Version::Http11,
            BodyFraming::Chunked,
            Connection::KeepAlive,
            "transfer-encoding: chunked\r\n",
        ),
        (
            Version::Http10,
            BodyFraming::Chunked,
            Connection::KeepAlive,
            "connection: close\r\n",
        ),
        (
            Version::Http11,
            BodyFraming::UntilClose,
            Connection::KeepAlive,
            "connection: close\r\n",
        ),
        (
            Version::Http10,
            BodyFraming::Length(1),
            Connection::KeepAlive,
            "content-length: 1\r\nconnection: keep-alive\r\n",
        ),
        (
            Version::Http11,
            BodyFraming::Length(1),
            Connection::Close,
            "content-length: 1\r\nconnection: close\r\n",
        ),
        (
            Version::Http11,
            BodyFraming::None,
            Connection::Upgrade,
            "connection: upgrade\r\nupgrade: websocket\r\n",
        ),
    ] {
        let plan = ResponsePlan {
            to,
            framing,
            connection,
            ..KEPT
        };
        let written = answered(answer, Method::Get, &plan);
        assert_eq!(written, format!("HTTP/1.1 299 \r\n{lines}\r\n"));
    }
}
