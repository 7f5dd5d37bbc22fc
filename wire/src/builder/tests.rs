use super::*;
use crate::added::{Added, NOTHING_ADDED};
use crate::h1::{RequestPlan, write_request};

type Pseudo<'a> = (&'a str, &'a str);

/// Feeds pseudo-headers by name and fields in the order given.
fn build(parts: &[Pseudo<'_>], end: EndStream) -> Result<RequestHead, Malformed> {
    let mut head = RequestHead::new();
    let limits = HeadLimits {
        head_bytes: 1_024,
        fields: 4,
        target_bytes: 64,
    };
    let mut builder = RequestBuilder::new(&mut head, Version::Http2, limits);
    for (name, value) in parts {
        match *name {
            ":method" => builder.method(value)?,
            ":scheme" => builder.scheme(value)?,
            ":authority" => builder.authority(value)?,
            ":path" => builder.path(value)?,
            ":protocol" => builder.protocol(value)?,
            name => builder.field(name.as_bytes(), value.as_bytes())?,
        };
    }
    builder.finish(end)?;
    Ok(head)
}

const GET: [Pseudo<'_>; 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "A.example"),
    (":path", "/x/../y?q"),
];

fn get_with(more: &[Pseudo<'static>], end: EndStream) -> Result<RequestHead, Malformed> {
    build(&[&GET, more].concat(), end)
}

#[test]
fn a_head_has_the_same_facts_as_over_h1() {
    let head = get_with(&[("accept", "*/*"), ("te", "trailers")], EndStream::Yes).unwrap();
    assert_eq!(head.version(), Version::Http2);
    assert_eq!((head.method(), head.method_str()), (Method::Get, "GET"));
    assert_eq!(head.scheme(), Some("https"));
    assert_eq!((head.authority(), head.host()), ("a.example", "a.example"));
    assert_eq!((head.path(), head.query()), ("/y", Some("q")));
    assert_eq!(head.raw_target(), "/x/../y?q");
    assert_eq!(head.first(Known::Host), Some(b"a.example".as_slice()));
    assert_eq!(head.framing(), BodyFraming::None);
    assert!(head.keep_alive());
    assert!(head.fields().any(|field| field.name == "te" && field.hop));
}

#[test]
fn framing_follows_length_and_the_end_of_the_stream() {
    let framing = |more, end| get_with(more, end).map(|head| head.framing());
    assert_eq!(framing(&[], EndStream::No), Ok(BodyFraming::Chunked));
    assert_eq!(
        framing(&[("content-length", "3")], EndStream::No),
        Ok(BodyFraming::Length(3))
    );
    assert_eq!(
        framing(&[("content-length", "0")], EndStream::Yes),
        Ok(BodyFraming::Length(0))
    );
    assert_eq!(
        framing(&[("content-length", "3")], EndStream::Yes),
        Err(Malformed::LengthAtEnd)
    );
}

#[test]
fn what_the_rules_forbid_is_refused_by_its_rule() {
    for (more, rule) in [
        (("Accept", "a"), Malformed::UppercaseName),
        (("", "a"), Malformed::FieldName),
        (("a b", "a"), Malformed::FieldName),
        (("a\u{e9}", "a"), Malformed::FieldName),
        (("a:", "a"), Malformed::FieldName),
        ((":x", "a"), Malformed::PseudoMisplaced),
        (("a", "b\r\nc: d"), Malformed::ControlCharacter),
        (("a", "b\0"), Malformed::ControlCharacter),
        (("a", " b"), Malformed::FieldValue),
        (("a", "b\t"), Malformed::FieldValue),
        (("connection", "close"), Malformed::ConnectionSpecific),
        (("keep-alive", "1"), Malformed::ConnectionSpecific),
        (("proxy-connection", "close"), Malformed::ConnectionSpecific),
        (
            ("transfer-encoding", "chunked"),
            Malformed::ConnectionSpecific,
        ),
        (("upgrade", "h2c"), Malformed::ConnectionSpecific),
        (("te", "gzip"), Malformed::TeValue),
        (("host", "b.example"), Malformed::HostConflict),
        (("host", "a.example/"), Malformed::HostSyntax),
        (("content-length", "+1"), Malformed::ContentLengthSyntax),
        (("expect", "something"), Malformed::Expectation),
        (("x", "y".repeat(2_000).leak()), Malformed::HeadTooLarge),
    ] {
        assert_eq!(
            get_with(&[more], EndStream::No).err(),
            Some(rule),
            "{more:?}"
        );
    }
    let twice = [("content-length", "1"), ("content-length", "1")];
    let repeated = get_with(&twice, EndStream::No).err();
    assert_eq!(repeated, Some(Malformed::ContentLengthRepeated));
    let many = get_with(&[("a", "b"); 4], EndStream::No).err();
    assert_eq!(many, Some(Malformed::TooManyFields), "host counts");
    let hosts = [("host", "a.example"), ("host", "a.example")];
    assert_eq!(
        get_with(&hosts, EndStream::No).err(),
        Some(Malformed::HostRepeated)
    );
}

#[test]
fn pseudo_headers_come_once_complete_and_first() {
    for left_out in [0, 1, 3] {
        let mut parts = GET.to_vec();
        parts.remove(left_out);
        assert_eq!(
            build(&parts, EndStream::Yes).err(),
            Some(Malformed::PseudoMissing)
        );
    }
    let without_host = [GET[0], GET[1], GET[3]];
    assert_eq!(
        build(&without_host, EndStream::Yes).err(),
        Some(Malformed::HostMissing)
    );
    for again in GET {
        let parts = [&GET, [again].as_slice()].concat();
        assert_eq!(
            build(&parts, EndStream::Yes).err(),
            Some(Malformed::PseudoRepeated)
        );
        let late = [("a", "b"), again];
        assert_eq!(
            build(&late, EndStream::Yes).err(),
            Some(Malformed::PseudoMisplaced)
        );
    }
}

#[test]
fn pseudo_values_obey_the_rules_of_a_request_line() {
    for (part, rule) in [
        ((":method", "G T"), Malformed::MethodName),
        ((":method", ""), Malformed::MethodName),
        ((":method", "GET\r\n"), Malformed::MethodName),
        ((":method", "CONNECT"), Malformed::ConnectMethod),
        ((":scheme", "ftp"), Malformed::SchemeUnsupported),
        ((":scheme", ""), Malformed::SchemeUnsupported),
        ((":authority", ""), Malformed::HostMissing),
        ((":authority", "u@a"), Malformed::Userinfo),
        ((":authority", "a b"), Malformed::HostSyntax),
        ((":authority", "a\r\nx: y"), Malformed::HostSyntax),
        ((":path", ""), Malformed::TargetForm),
        ((":path", "x"), Malformed::TargetForm),
        ((":path", "*"), Malformed::TargetForm),
        ((":path", "/a#b"), Malformed::TargetCharacter),
        ((":path", "/a b"), Malformed::TargetCharacter),
        ((":path", "/a\r\nb"), Malformed::ControlCharacter),
        ((":path", "/%zz"), Malformed::PercentEscape),
        ((":path", "/%00"), Malformed::EncodedNul),
        ((":path", "http://a/"), Malformed::TargetForm),
        ((":path", "/".repeat(65).leak()), Malformed::TargetTooLong),
    ] {
        let parts: Vec<_> = GET
            .iter()
            .map(|usual| if usual.0 == part.0 { part } else { *usual })
            .collect();
        assert_eq!(build(&parts, EndStream::Yes).err(), Some(rule), "{part:?}");
    }
}

#[test]
fn host_alone_or_equal_to_the_authority_is_taken_once() {
    let equal = get_with(&[("host", "a.EXAMPLE.")], EndStream::Yes).unwrap();
    assert_eq!(equal.count(Known::Host), 1);
    let parts = [GET[0], GET[1], GET[3], ("host", "B.example:81")];
    let alone = build(&parts, EndStream::Yes).unwrap();
    assert_eq!(
        (alone.authority(), alone.host()),
        ("b.example:81", "b.example")
    );
}

#[test]
fn cookie_crumbs_become_one_field() {
    let crumbs = [("cookie", "a=1"), ("accept", "b"), ("cookie", "c=2")];
    let head = get_with(&crumbs, EndStream::Yes).unwrap();
    assert_eq!(head.all(Known::Cookie).collect::<Vec<_>>(), [b"a=1; c=2"]);
    assert_eq!(head.first(Known::Accept), Some(b"b".as_slice()));
    let mut out = Vec::new();
    let plan = RequestPlan {
        drop: KnownSet::EMPTY,
        append: &NOTHING_ADDED,
        framing: BodyFraming::None,
        upgrade: Upgrade::None,
    };
    write_request(&head, &plan, &mut out);
    let expected = "GET /y?q HTTP/1.1\r\nhost: a.example\r\naccept: b\r\ncookie: a=1; c=2\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn empty_cookie_crumbs_leave_nothing_behind() {
    let joined = |crumbs: [&'static str; 3]| {
        let head = get_with(&crumbs.map(|crumb| ("cookie", crumb)), EndStream::Yes).unwrap();
        head.first(Known::Cookie).unwrap().to_vec()
    };
    assert_eq!(joined(["a=1", "", "b=2"]), b"a=1; b=2");
    assert_eq!(joined(["", "a=1", ""]), b"a=1");
    assert_eq!(joined(["", "", ""]), b"");
}

#[test]
fn extended_connect_is_a_get_that_asks_for_a_websocket() {
    let connect = |more: &[Pseudo<'static>]| {
        let parts = [(":method", "CONNECT"), GET[1], GET[2], (":path", "/ws")];
        build(&[&parts, more].concat(), EndStream::No)
    };
    let head = connect(&[(":protocol", "websocket"), ("sec-websocket-version", "13")]).unwrap();
    assert_eq!(
        (head.method_str(), head.upgrade(), head.framing()),
        ("GET", Upgrade::WebSocket, BodyFraming::None)
    );
    assert!(head.is_extended_connect());
    let body = connect(&[(":protocol", "websocket"), ("content-length", "3")]).err();
    assert_eq!(body, Some(Malformed::BodyForbidden));
    let mut out = Vec::new();
    let plan = RequestPlan {
        drop: KnownSet::EMPTY,
        append: &Added::from_iter([("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==".as_slice())]),
        framing: head.framing(),
        upgrade: head.upgrade(),
    };
    write_request(&head, &plan, &mut out);
    let expected = "GET /ws HTTP/1.1\r\nhost: a.example\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nconnection: upgrade\r\n\
        upgrade: websocket\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert_eq!(connect(&[]).err(), Some(Malformed::ConnectMethod));
    let other = connect(&[(":protocol", "connect-udp")]).err();
    assert_eq!(other, Some(Malformed::ProtocolUnsupported));
    let get = get_with(&[(":protocol", "websocket")], EndStream::No).err();
    assert_eq!(get, Some(Malformed::PseudoMisplaced));
}

#[test]
fn answers_of_h2_upstreams_pass_the_same_rules() {
    let answer = |status, to, end, fields: &[Pseudo<'_>]| {
        let mut head = ResponseHead::new();
        let mut builder = ResponseBuilder::new(&mut head, Version::Http2, HeadLimits::default());
        builder.status(status)?;
        for (name, value) in fields {
            builder.field(name.as_bytes(), value.as_bytes())?;
        }
        builder.finish(to, end)?;
        Ok(head.framing())
    };
    let length = [("content-length", "3")];
    assert_eq!(
        answer(200, Method::Get, EndStream::No, &length),
        Ok(BodyFraming::Length(3))
    );
    assert_eq!(
        answer(200, Method::Get, EndStream::No, &[]),
        Ok(BodyFraming::Chunked)
    );
    assert_eq!(
        answer(200, Method::Head, EndStream::Yes, &length),
        Ok(BodyFraming::None)
    );
    assert_eq!(
        answer(304, Method::Get, EndStream::Yes, &length),
        Ok(BodyFraming::None)
    );
    for (status, end, fields, rule) in [
        (200, EndStream::Yes, length, Malformed::LengthAtEnd),
        (204, EndStream::Yes, length, Malformed::BodyForbidden),
        (101, EndStream::No, length, Malformed::StatusCode),
        (600, EndStream::No, length, Malformed::StatusCode),
        (
            200,
            EndStream::No,
            [("connection", "close")],
            Malformed::ConnectionSpecific,
        ),
        (200, EndStream::No, [("X", "y")], Malformed::UppercaseName),
    ] {
        assert_eq!(
            answer(status, Method::Get, end, &fields),
            Err(rule),
            "{status} {fields:?}"
        );
    }
}
