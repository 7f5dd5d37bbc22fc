use super::*;
use crate::known::Known;
use crate::path::PathNotes;
use crate::rules::{BodyFraming, Upgrade};

fn parse(bytes: &[u8]) -> Result<RequestHead, Malformed> {
    let mut head = RequestHead::new();
    let used = RequestParser::new().parse(bytes, &HeadLimits::default(), &mut head)?;
    assert_eq!(used, Some(bytes.len()));
    Ok(head)
}

/// A head with these lines after the request line.
fn with(lines: &str) -> RequestHead {
    parse(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes()).unwrap()
}

#[test]
fn a_head_gives_its_facts() {
    let head = parse(
        b"POST /a/%2e/b%2Fc?d=/../e HTTP/1.1\r\nHost: Edge.Example:8443\r\n\
          Accept: x\r\nX-Custom:\t y \t\r\nACCEPT: z\r\nContent-Length: 3\r\n\r\n",
    )
    .unwrap();
    assert_eq!((head.method(), head.method_str()), (Method::Post, "POST"));
    assert_eq!((head.version(), head.scheme()), (Version::Http11, None));
    assert_eq!(
        (head.authority(), head.host()),
        ("edge.example:8443", "edge.example")
    );
    assert_eq!(head.raw_target(), "/a/%2e/b%2Fc?d=/../e");
    assert_eq!((head.raw_path(), head.path()), ("/a/%2e/b%2Fc", "/a/b%2Fc"));
    assert_eq!(head.query(), Some("d=/../e"));
    assert!(
        head.path_notes()
            .contains(PathNotes::DOT_SEGMENTS.with(PathNotes::ENCODED_SLASH))
    );
    assert_eq!(head.first(Known::Accept), Some(b"x".as_slice()));
    assert_eq!(head.all(Known::Accept).collect::<Vec<_>>(), [b"x", b"z"]);
    assert_eq!(
        (head.count(Known::Accept), head.count(Known::Cookie)),
        (2, 0)
    );
    assert_eq!(head.first_named("x-custom"), Some(b"y".as_slice()));
    assert_eq!(head.first(Known::Cookie), None);
    let names: Vec<_> = head.fields().map(|field| field.name).collect();
    assert_eq!(
        names,
        ["host", "accept", "x-custom", "accept", "content-length"]
    );
    assert_eq!(head.framing(), BodyFraming::Length(3));
    assert!(head.keep_alive());
    assert_eq!(head.head_bytes(), 120);
}

#[test]
fn an_absolute_form_names_scheme_and_authority() {
    let head = parse(b"GET HTTPS://A:1/x?y HTTP/1.1\r\nHost: a:1\r\n\r\n").unwrap();
    assert_eq!((head.scheme(), head.authority()), (Some("https"), "a:1"));
    assert_eq!(
        (head.raw_target(), head.path(), head.query()),
        ("/x?y", "/x", Some("y"))
    );
    let bare = parse(b"GET http://a HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(
        (bare.authority(), bare.raw_target(), bare.path()),
        ("a", "", "/")
    );
    let query = parse(b"GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!((query.path(), query.query()), ("/", Some("q")));
    let server = parse(b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(server.path(), "*");
}

#[test]
fn keep_alive_follows_version_and_connection() {
    for (version, connection, expected) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: foo, CLOSE\r\n", false),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        (
            "1.0",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
        ),
    ] {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
        assert_eq!(
            parse(text.as_bytes()).unwrap().keep_alive(),
            expected,
            "{version} {connection}"
        );
    }
}

#[test]
fn connection_makes_what_it_names_hop_by_hop() {
    let head = with("X-A: 1\r\nConnection: x-a\r\nX-B: 2\r\nConnection: X-C ,,\r\nx-c: 3\r\n");
    let hops: Vec<_> = head
        .fields()
        .filter(|field| field.hop)
        .map(|field| field.name)
        .collect();
    assert_eq!(hops, ["x-a", "connection", "connection", "x-c"]);
}

#[test]
fn upgrade_is_followed_for_websocket_alone() {
    let lines = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
    assert_eq!(with(lines).upgrade(), Upgrade::WebSocket);
    assert_eq!(with("Upgrade: websocket\r\n").upgrade(), Upgrade::None);
    assert_eq!(
        with("Connection: upgrade\r\nUpgrade: h2c\r\n").upgrade(),
        Upgrade::None
    );
    for start in ["POST / HTTP/1.1\r\nHost: a", "GET / HTTP/1.0\r\nHost: a"] {
        let head = parse(format!("{start}\r\n{lines}\r\n").as_bytes()).unwrap();
        assert_eq!(head.upgrade(), Upgrade::None, "{start}");
    }
    let body = with(&format!("{lines}Content-Length: 3\r\n"));
    assert_eq!(
        body.upgrade(),
        Upgrade::None,
        "a body and a tunnel do not go together"
    );
}

#[test]
fn continue_is_expected_only_with_a_body_and_from_http_1_1_on() {
    let expects = |version: &str, length: &str| {
        let text =
            format!("POST / HTTP/{version}\r\nHost: a\r\nExpect: 100-continue\r\n{length}\r\n");
        parse(text.as_bytes()).unwrap().expects_continue()
    };
    assert!(expects("1.1", "Content-Length: 3\r\n"));
    assert!(expects("1.1", "Transfer-Encoding: chunked\r\n"));
    assert!(!expects("1.1", "Content-Length: 0\r\n") && !expects("1.1", ""));
    assert!(!expects("1.0", "Content-Length: 3\r\n"));
}

#[test]
fn pipelined_requests_come_one_after_another() {
    let stream = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\nGET /3";
    let (mut parser, mut head) = (RequestParser::new(), RequestHead::new());
    let limits = HeadLimits::default();
    let mut at = 0;
    let mut seen = Vec::new();
    while let Some(used) = parser.parse(&stream[at..], &limits, &mut head).unwrap() {
        seen.push((used, head.path().to_owned(), head.host().to_owned()));
        at += used;
    }
    let expected = [
        (28, "/1".to_owned(), "a".to_owned()),
        (30, "/2".to_owned(), "b".to_owned()),
    ];
    assert_eq!(seen, expected);
    assert_eq!(&stream[at..], b"GET /3");
}

fn verdict(bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Malformed> {
    let whole = RequestParser::new().parse(bytes, limits, &mut RequestHead::new());
    let (mut parser, mut head) = (RequestParser::new(), RequestHead::new());
    let dripped = (0..=bytes.len())
        .map(|len| parser.parse(&bytes[..len], limits, &mut head))
        .find(|verdict| !matches!(verdict, Ok(None)));
    assert_eq!(dripped.unwrap_or(Ok(None)), whole);
    whole
}

#[test]
fn a_head_may_have_as_many_bytes_as_allowed_and_no_more() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: 1234567890\r\n\r\n";
    let limits = |head_bytes| HeadLimits {
        head_bytes,
        ..HeadLimits::default()
    };
    assert_eq!(verdict(head, &limits(head.len())), Ok(Some(head.len())));
    assert_eq!(
        verdict(head, &limits(head.len() - 1)),
        Err(Malformed::HeadTooLarge)
    );
    assert_eq!(verdict(head, &limits(10)), Err(Malformed::TargetTooLong));
    assert_eq!(verdict(head, &limits(0)), Err(Malformed::TargetTooLong));
}

#[test]
fn fields_and_target_are_bounded() {
    let head = b"GET /1234567 HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    let limits = |fields, target_bytes| HeadLimits {
        head_bytes: 100,
        fields,
        target_bytes,
    };
    assert_eq!(verdict(head, &limits(2, 8)), Ok(Some(head.len())));
    assert_eq!(verdict(head, &limits(1, 8)), Err(Malformed::TooManyFields));
    assert_eq!(verdict(head, &limits(2, 7)), Err(Malformed::TargetTooLong));
    let absolute = b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(verdict(absolute, &limits(2, 9)), Ok(Some(absolute.len())));
    assert_eq!(
        verdict(absolute, &limits(2, 8)),
        Err(Malformed::TargetTooLong)
    );
}

#[test]
fn an_earlier_fault_is_named_before_a_later_one() {
    for (bytes, rule) in [
        (
            b"G(T / HTTP/1.1\nHost: a\r\n\r\n".as_slice(),
            Malformed::BareLf,
        ),
        (
            b"GET / HTTP/3.1\r\nHost: a\nX: y\r\n\r\n",
            Malformed::VersionUnsupported,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\nY: z\n\r\n",
            Malformed::SpaceBeforeColon,
        ),
    ] {
        assert_eq!(verdict(bytes, &HeadLimits::default()), Err(rule));
    }
}

#[test]
fn a_cleared_head_keeps_small_buffers_and_drops_big_ones() {
    let mut head = with(&format!("X: {}\r\n", "y".repeat(1_000)));
    head.clear();
    assert!((1_000..=16_384).contains(&head.fields.raw.capacity()));
    assert_eq!(
        (head.path(), head.authority(), head.fields().count()),
        ("/", "", 0)
    );
    let mut big = with(&format!("X: {}\r\n", "y".repeat(60_000)));
    big.clear();
    assert!(big.fields.raw.capacity() <= 16_384);
}

#[test]
fn parsing_again_allocates_nothing() {
    let bytes = b"GET /a/../b HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    let (mut parser, mut head) = (RequestParser::new(), RequestHead::new());
    let limits = HeadLimits::default();
    parser.parse(bytes, &limits, &mut head).unwrap();
    let buffers = |head: &RequestHead| {
        (
            head.fields.raw.as_ptr(),
            head.fields.entries.as_ptr(),
            head.normalized.as_ptr(),
        )
    };
    let before = buffers(&head);
    for _ in 0..100 {
        parser.parse(bytes, &limits, &mut head).unwrap();
    }
    assert_eq!(buffers(&head), before);
}
