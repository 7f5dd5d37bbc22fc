use super::*;
use crate::h3::testing::{FORMS, GET, LIMITS, Pair, Seen, begun, frame, headers, read, section};
use crate::method::Method;

/// The rules that a stream breaks, read in one piece.
fn fault(stream: &[u8]) -> Option<Fault> {
    read(stream, usize::MAX / 2).0.fault
}

/// As [`read`], after a check that every cut shows the same.
fn whole(stream: &[u8]) -> Seen {
    let (seen, ..) = read(stream, usize::MAX / 2);
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(read(stream, piece).0, seen, "in pieces of {piece}");
    }
    seen
}

fn with(more: &[Pair<'_>]) -> Vec<u8> {
    headers(&[&GET, more].concat())
}

fn replaced(part: Pair<'static>) -> Vec<u8> {
    let fields: Vec<_> = GET
        .iter()
        .map(|usual| if usual.0 == part.0 { part } else { *usual })
        .collect();
    headers(&fields)
}

#[test]
fn a_request_reads_the_same_in_every_form_and_however_it_is_cut() {
    for form in FORMS {
        let fields = [
            GET.as_slice(),
            &[("accept", "*/*"), ("x-y", "ä"), ("te", "trailers")],
        ]
        .concat();
        let stream = [
            frame(1, &section(&fields, form)),
            frame(0, b"abc"),
            frame(0, b"de"),
        ]
        .concat();
        let seen = whole(&stream);
        assert_eq!(seen.fault, None);
        assert_eq!(
            seen.head.as_deref(),
            Some(
                "GET a.example /x Chunked [\"host: a.example\", \"accept: */*\", \
                 \"x-y: \\\\xc3\\\\xa4\", \"te: trailers\"]"
            ),
            "{form:?}"
        );
        assert_eq!(seen.data, b"abcde");
    }
}

#[test]
fn a_head_without_data_has_no_body() {
    let (seen, reader, head) = read(&with(&[]), 5);
    assert_eq!(seen.fault, None);
    assert!(reader.is_done());
    assert_eq!(head.framing(), BodyFraming::None);
    let waits = with(&[("expect", "100-continue")]);
    let (_, _, head) = read(&waits, 5);
    assert!(!head.expects_continue());
    let (_, _, head) = read(&with(&[("content-length", "0")]), 5);
    assert_eq!(head.framing(), BodyFraming::Length(0));
    let (_, _, head) = read(&[with(&[]), frame(0x21, b"grease")].concat(), 5);
    assert_eq!(head.framing(), BodyFraming::None);
}

#[test]
fn data_is_as_long_as_was_announced() {
    let message = |length, data: &[&[u8]]| {
        let frames = data.iter().flat_map(|data| frame(0, data));
        let stream: Vec<u8> = with(&[("content-length", length)])
            .into_iter()
            .chain(frames)
            .collect();
        whole(&stream)
    };
    assert_eq!(message("3", &[b"abc"]).fault, None);
    assert_eq!(message("3", &[b"a", b"", b"bc"]).fault, None);
    for (length, data, rule) in [
        ("3", [b"ab".as_slice()].as_slice(), Malformed::BodyTooShort),
        ("3", &[], Malformed::BodyTooShort),
        ("3", &[b"abcd"], Malformed::BodyTooLong),
        ("3", &[b"abc", b"d"], Malformed::BodyTooLong),
        ("0", &[b"d"], Malformed::BodyTooLong),
    ] {
        assert_eq!(
            message(length, data).fault,
            Some(rule.into()),
            "{length} {data:?}"
        );
    }
}

#[test]
fn too_much_data_is_refused_before_it_comes() {
    let stream = [with(&[("content-length", "3")]), begun(0, 4)].concat();
    assert_eq!(fault(&stream), Some(Malformed::BodyTooLong.into()));
}

#[test]
fn empty_data_frames_are_skipped() {
    let stream = [with(&[]), frame(0, b"abc"), frame(0, b""), frame(0, b"def")].concat();
    let seen = whole(&stream);
    assert_eq!(
        (seen.data.as_slice(), seen.fault),
        (b"abcdef".as_slice(), None)
    );
}

#[test]
fn unknown_frames_are_skipped_everywhere() {
    let grease = || frame(0x21 + 31, &[7; 300]);
    let stream = [
        grease(),
        with(&[]),
        grease(),
        frame(0, b"abc"),
        grease(),
        headers(&[("x-sum", "1")]),
        grease(),
    ]
    .concat();
    let seen = whole(&stream);
    assert_eq!(
        (seen.data.as_slice(), seen.fault),
        (b"abc".as_slice(), None)
    );
}

#[test]
fn unknown_and_empty_frames_without_end_are_refused() {
    let load = Some(Fault::Stream(Code::ExcessiveLoad));
    let limit = usize::from(IDLE_FRAMES_MAX);
    for idle in [frame(0x21, b""), frame(0, b"")] {
        let many = |count| [with(&[]), idle.repeat(count), frame(0, b"a")].concat();
        assert_eq!(fault(&many(limit)), None);
        assert_eq!(fault(&many(limit + 1)), load);
        let paid = [many(limit), idle.repeat(limit)].concat();
        assert_eq!(fault(&paid), None, "data pays for more");
    }
    let long = begun(0x21, 300_000_000);
    assert_eq!(fault(&long), load, "refused before it comes");
    let long = [with(&[]), begun(0x21, varint_max())].concat();
    assert_eq!(fault(&long), load);
}

fn varint_max() -> u64 {
    crate::h3::varint::MAX
}

#[test]
fn sections_longer_than_their_bound_are_refused_before_they_come() {
    let too_large = Some(Fault::from(Malformed::HeadTooLarge));
    assert_eq!(fault(&begun(1, 4_097)), too_large);
    assert_eq!(fault(&begun(1, varint_max())), too_large);
    assert_eq!(too_large.and_then(Fault::answer), Some(431));
    let trailers = [with(&[]), begun(1, 8_193)].concat();
    assert_eq!(fault(&trailers), Some(Malformed::TrailersTooLarge.into()));
}

#[test]
fn small_sections_that_say_much_are_refused() {
    // Each line of one byte says "content-security-policy" and 52 bytes more.
    let mut bomb = section(&GET, crate::h3::testing::Form::Indexed);
    bomb.extend([0xff, 85 - 63].repeat(60));
    let refused = fault(&frame(1, &bomb));
    assert_eq!(refused, Some(Malformed::TooManyFields.into()));
    let value = "y".repeat(LIMITS.head_bytes - 300);
    let (long, tight) = (
        with(&[("x", &value)]),
        with(&[("x", &value), ("z", &value[..120])]),
    );
    assert_eq!(fault(&long), None);
    assert_eq!(fault(&tight), Some(Malformed::HeadTooLarge.into()));
}

#[test]
fn frames_out_of_order_close_the_connection() {
    let unexpected = Some(Fault::Connection(Code::FrameUnexpected));
    assert_eq!(fault(&frame(0, b"abc")), unexpected, "data before a head");
    let trailers = [with(&[]), headers(&[("a", "b")])].concat();
    for after in [frame(0, b"a"), headers(&[("a", "b")])] {
        assert_eq!(fault(&[trailers.clone(), after].concat()), unexpected);
    }
    for kind in [2, 3, 4, 5, 6, 7, 8, 9, 13] {
        assert_eq!(fault(&begun(kind, 0)), unexpected, "{kind} first");
        let later = [with(&[]), begun(kind, 0)].concat();
        assert_eq!(fault(&later), unexpected, "{kind} later");
    }
}

#[test]
fn a_stream_cut_anywhere_is_never_whole() {
    let stream = [
        with(&[("content-length", "6")]),
        frame(0, b"abc"),
        frame(0x21, b"xy"),
        frame(0, b"def"),
        headers(&[("x-sum", "1")]),
    ]
    .concat();
    assert_eq!(fault(&stream), None);
    let ends = stream.len() - headers(&[("x-sum", "1")]).len();
    for len in 0..stream.len() {
        let cut = fault(&stream[..len]);
        if len == ends {
            assert_eq!(cut, None, "without its trailers it is another message");
        } else {
            assert!(cut.is_some(), "cut at {len}");
        }
    }
    assert_eq!(fault(b""), Some(Fault::Stream(Code::RequestIncomplete)));
    assert_eq!(
        fault(&stream[..4]),
        Some(Fault::Connection(Code::FrameError))
    );
}

#[test]
fn trailers_are_read_strictly() {
    let message = |fields: &[Pair<'_>]| {
        let stream = [with(&[]), frame(0, b"abc"), headers(fields)].concat();
        let (seen, reader, _) = read(&stream, 3);
        (seen.fault, reader)
    };
    let (ok, reader) = message(&[("x-sum", "1"), ("x-two", "2")]);
    assert_eq!(ok, None);
    let names: Vec<_> = reader
        .trailers()
        .unwrap()
        .fields()
        .map(|field| field.name)
        .collect();
    assert_eq!(names, ["x-sum", "x-two"]);
    for (field, rule) in [
        ((":path", "/"), Malformed::PseudoMisplaced),
        (("A", "b"), Malformed::UppercaseName),
        (("a", "b\n"), Malformed::ControlCharacter),
        (("connection", "close"), Malformed::ConnectionSpecific),
    ] {
        assert_eq!(message(&[field]).0, Some(rule.into()), "{field:?}");
    }
    let many = [("a", "b"); 33];
    assert_eq!(message(&many).0, Some(Malformed::TrailersTooLarge.into()));
}

#[test]
fn fields_that_the_rules_forbid_are_refused_by_their_rule() {
    for (field, rule) in [
        (("connection", "close"), Malformed::ConnectionSpecific),
        (("connection", "keep-alive"), Malformed::ConnectionSpecific),
        (("keep-alive", "1"), Malformed::ConnectionSpecific),
        (("proxy-connection", "close"), Malformed::ConnectionSpecific),
        (
            ("transfer-encoding", "chunked"),
            Malformed::ConnectionSpecific,
        ),
        (("upgrade", "websocket"), Malformed::ConnectionSpecific),
        (("te", "gzip"), Malformed::TeValue),
        (("te", "trailers, gzip"), Malformed::TeValue),
        (("Accept", "a"), Malformed::UppercaseName),
        (("x-Y", "a"), Malformed::UppercaseName),
        (("", "a"), Malformed::FieldName),
        (("a b", "a"), Malformed::FieldName),
        (("a\r\nb", "a"), Malformed::FieldName),
        (("a\0", "a"), Malformed::FieldName),
        (("a", "b\rc"), Malformed::ControlCharacter),
        (("a", "b\nc"), Malformed::ControlCharacter),
        (("a", "b\r\nc: d"), Malformed::ControlCharacter),
        (("a", "b\0"), Malformed::ControlCharacter),
        (("a", " b"), Malformed::FieldValue),
        (("a", "b\t"), Malformed::FieldValue),
        ((":x", "a"), Malformed::PseudoMisplaced),
        ((":status", "200"), Malformed::PseudoMisplaced),
        ((":Path", "/"), Malformed::PseudoMisplaced),
        ((":protocol", "websocket"), Malformed::PseudoMisplaced),
        (("host", "b.example"), Malformed::HostConflict),
        (("host", "a.example:443"), Malformed::HostConflict),
        (("host", "u@a.example"), Malformed::Userinfo),
        (("content-length", ""), Malformed::ContentLengthSyntax),
        (("content-length", "+1"), Malformed::ContentLengthSyntax),
        (("content-length", "-1"), Malformed::ContentLengthSyntax),
        (("content-length", "1,1"), Malformed::ContentLengthSyntax),
        (("content-length", "0x1"), Malformed::ContentLengthSyntax),
        (
            ("content-length", "9223372036854775808"),
            Malformed::ContentLengthOverflow,
        ),
        (("expect", "else"), Malformed::Expectation),
    ] {
        assert_eq!(fault(&with(&[field])), Some(rule.into()), "{field:?}");
        let twice = with(&[("a", "b"), field, ("c", "d")]);
        assert_eq!(fault(&twice), Some(rule.into()), "{field:?} among others");
    }
    for (pair, rule) in [
        (
            [("content-length", "1"), ("content-length", "1")],
            Malformed::ContentLengthRepeated,
        ),
        (
            [("content-length", "1"), ("content-length", "2")],
            Malformed::ContentLengthRepeated,
        ),
        (
            [("host", "a.example"), ("host", "a.example")],
            Malformed::HostRepeated,
        ),
    ] {
        assert_eq!(fault(&with(&pair)), Some(rule.into()), "{pair:?}");
    }
}

#[test]
fn pseudo_headers_come_once_complete_and_first() {
    for part in GET {
        let again = with(&[part]);
        assert_eq!(
            fault(&again),
            Some(Malformed::PseudoRepeated.into()),
            "{part:?}"
        );
        let late = with(&[("a", "b"), part]);
        assert_eq!(
            fault(&late),
            Some(Malformed::PseudoMisplaced.into()),
            "{part:?}"
        );
        let less: Vec<_> = GET.into_iter().filter(|other| *other != part).collect();
        let rule = match part.0 {
            ":authority" => Malformed::HostMissing,
            _ => Malformed::PseudoMissing,
        };
        assert_eq!(
            fault(&headers(&less)),
            Some(rule.into()),
            "without {part:?}"
        );
    }
    let other = [(":authority", "a.example"), (":authority", "evil")];
    let fields = [&[GET[0], GET[1], GET[3]], other.as_slice()].concat();
    assert_eq!(
        fault(&headers(&fields)),
        Some(Malformed::PseudoRepeated.into())
    );
}

#[test]
fn pseudo_values_obey_the_rules_of_a_request_line() {
    for (part, rule) in [
        ((":method", "G T"), Malformed::MethodName),
        ((":method", ""), Malformed::MethodName),
        ((":method", "GET\r\n"), Malformed::MethodName),
        ((":scheme", "http"), Malformed::SchemeUnsupported),
        ((":scheme", "ftp"), Malformed::SchemeUnsupported),
        ((":scheme", ""), Malformed::SchemeUnsupported),
        ((":authority", ""), Malformed::HostMissing),
        ((":authority", "u@a.example"), Malformed::Userinfo),
        ((":authority", "u:p@a.example"), Malformed::Userinfo),
        ((":authority", "a b"), Malformed::HostSyntax),
        ((":authority", "a\r\nx: y"), Malformed::HostSyntax),
        ((":authority", "a/b"), Malformed::HostSyntax),
        ((":path", ""), Malformed::TargetForm),
        ((":path", "x"), Malformed::TargetForm),
        ((":path", "*"), Malformed::TargetForm),
        ((":path", "https://a.example/"), Malformed::TargetForm),
        ((":path", "/a b"), Malformed::TargetCharacter),
        ((":path", "/a#b"), Malformed::TargetCharacter),
        ((":path", "/ä"), Malformed::TargetCharacter),
        ((":path", "/a\r\nb"), Malformed::ControlCharacter),
        ((":path", "/a\0b"), Malformed::ControlCharacter),
        ((":path", "/%zz"), Malformed::PercentEscape),
        ((":path", "/%00"), Malformed::EncodedNul),
    ] {
        assert_eq!(fault(&replaced(part)), Some(rule.into()), "{part:?}");
        assert_eq!(Fault::from(rule).answer(), None, "reset: {part:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_in_pseudo_headers() {
    for (name, rule) in [
        (":method", Malformed::MethodName),
        (":scheme", Malformed::SchemeUnsupported),
        (":authority", Malformed::HostSyntax),
        (":path", Malformed::TargetCharacter),
    ] {
        let mut fields = vec![0, 0];
        for (usual, value) in GET {
            let value = if usual == name {
                b"/\xff".as_slice()
            } else {
                value.as_bytes()
            };
            crate::h3::testing::field(
                usual.as_bytes(),
                value,
                crate::h3::testing::Form::Plain,
                &mut fields,
            );
        }
        assert_eq!(fault(&frame(1, &fields)), Some(rule.into()), "{name}");
    }
}

#[test]
fn well_formed_requests_that_are_not_served_get_a_status() {
    let connect = [(":method", "CONNECT"), (":authority", "a.example:443")];
    let long = replaced((":path", "/".repeat(300).leak()));
    let tunnel = |protocol| {
        let fields = [
            (":method", "CONNECT"),
            GET[1],
            GET[2],
            GET[3],
            (":protocol", protocol),
        ];
        headers(&fields)
    };
    for (stream, status) in [
        (headers(&connect), 405),
        (tunnel("connect-udp"), 501),
        (tunnel(""), 501),
        (long, 414),
        (with(&[("expect", "else")]), 417),
        (with(&[("a", "b"); 25]), 431),
        (replaced((":method", "M".repeat(33).leak())), 501),
    ] {
        assert_eq!(fault(&stream).and_then(Fault::answer), Some(status));
    }
}

#[test]
fn an_extended_connect_is_a_tunnel_without_trailers_and_length() {
    let fields = [
        (":method", "CONNECT"),
        GET[1],
        GET[2],
        GET[3],
        (":protocol", "websocket"),
    ];
    let stream = [
        headers(&fields),
        frame(0, b"ab"),
        frame(0x21, b""),
        frame(0, b"c"),
    ]
    .concat();
    let (seen, _, head) = read(&stream, 4);
    assert_eq!(
        (seen.data.as_slice(), seen.fault),
        (b"abc".as_slice(), None)
    );
    assert_eq!(
        (head.method(), head.upgrade()),
        (Method::Get, Upgrade::WebSocket)
    );
    let trailers = [stream, headers(&[("a", "b")])].concat();
    assert_eq!(
        fault(&trailers),
        Some(Fault::Connection(Code::FrameUnexpected))
    );
    let length = headers(&[&fields, [("content-length", "3")].as_slice()].concat());
    assert_eq!(fault(&length), Some(Malformed::BodyForbidden.into()));
}

#[test]
fn sections_that_cannot_be_decoded_close_the_connection() {
    let broken = Some(Fault::Connection(Code::QpackDecompressionFailed));
    for bytes in [
        [].as_slice(),
        &[0],
        &[1, 0],                // needs the dynamic table
        &[0, 0x80],             // a base below zero
        &[0, 0, 0x80],          // dynamic, indexed
        &[0, 0, 0x10],          // dynamic, after the base
        &[0, 0, 0x40, 0],       // dynamic, by name
        &[0, 0, 0x00, 0],       // dynamic, by name, after the base
        &[0, 0, 0xff, 36],      // index 99
        &[0, 0, 0x5f, 84, 0],   // index 99 by name
        &[0, 0, 0xff],          // cut
        &[0, 0, 0x51],          // no value
        &[0, 0, 0x51, 5, b'a'], // a cut value
        &[
            0, 0, 0x27, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
        ],
        &[0, 0, 0x51, 0x81, 0x00],                   // wrong padding
        &[0, 0, 0x51, 0x84, 0xff, 0xff, 0xff, 0xff], // the end
    ] {
        assert_eq!(fault(&frame(1, bytes)), broken, "{bytes:x?}");
    }
}

#[test]
fn what_is_kept_is_what_came() {
    let mut reader = RequestReader::new(LIMITS);
    let (mut head, mut scratch) = (RequestHead::new(), Scratch::default());
    let stream = [begun(1, 4_000), vec![0; 10]].concat();
    let step = reader.step(&stream, &mut head, &mut scratch);
    assert_eq!(step, Ok(Step::NeedMore { skip: stream.len() }));
    assert!(reader.kept.capacity() < 100);
    assert!(
        size_of::<RequestReader>() <= 160,
        "{}",
        size_of::<RequestReader>()
    );
}
