//! Every rule, by tables: bytes in, verdict out, however the bytes are cut.

use std::collections::BTreeSet;

use crate::oracle::decode;
use crate::vectors::{
    BAD_CHUNKS, BAD_REQUESTS, BAD_RESPONSES, GOOD_CHUNKS, GOOD_REQUESTS, GOOD_RESPONSES,
};
use meridian_wire::h1::{BodyDecoder, RequestParser, ResponseParser};
use meridian_wire::h3::{Fault, RequestReader, Scratch, Step};
use meridian_wire::{BodyFraming, HeadLimits, Malformed, Method, RequestHead, ResponseHead};

type Verdict = Result<Option<usize>, Malformed>;

/// The verdict when the bytes arrive up to `cut` first and then whole.
fn request_cut(bytes: &[u8], cut: usize) -> Verdict {
    let (mut parser, mut head) = (RequestParser::new(), RequestHead::new());
    let limits = HeadLimits::default();
    match parser.parse(bytes.get(..cut).unwrap_or(bytes), &limits, &mut head) {
        Ok(None) => parser.parse(bytes, &limits, &mut head),
        verdict => verdict,
    }
}

fn response_cut(bytes: &[u8], cut: usize) -> Verdict {
    let (mut parser, mut head) = (ResponseParser::new(), ResponseHead::new());
    let limits = HeadLimits::default();
    match parser.parse(
        bytes.get(..cut).unwrap_or(bytes),
        &limits,
        Method::Get,
        &mut head,
    ) {
        Ok(None) => parser.parse(bytes, &limits, Method::Get, &mut head),
        verdict => verdict,
    }
}

#[test]
fn bad_requests_are_refused_by_their_rule_wherever_they_are_cut() {
    for (name, bytes, rule) in BAD_REQUESTS {
        for cut in 0..=bytes.len() {
            assert_eq!(request_cut(bytes, cut), Err(*rule), "{name}, cut at {cut}");
        }
    }
}

#[test]
fn good_requests_are_taken_wherever_they_are_cut() {
    for (name, bytes) in GOOD_REQUESTS {
        for cut in 0..=bytes.len() {
            assert_eq!(
                request_cut(bytes, cut),
                Ok(Some(bytes.len())),
                "{name}, cut at {cut}"
            );
        }
        crate::oracle::request_head(bytes);
    }
}

#[test]
fn bad_answers_are_refused_by_their_rule_wherever_they_are_cut() {
    for (name, bytes, rule) in BAD_RESPONSES {
        for cut in 0..=bytes.len() {
            assert_eq!(response_cut(bytes, cut), Err(*rule), "{name}, cut at {cut}");
        }
    }
}

#[test]
fn good_answers_are_taken_wherever_they_are_cut() {
    for (name, bytes) in GOOD_RESPONSES {
        for cut in 0..=bytes.len() {
            assert_eq!(
                response_cut(bytes, cut),
                Ok(Some(bytes.len())),
                "{name}, cut at {cut}"
            );
        }
        crate::oracle::response_head(bytes);
    }
}

#[test]
fn bad_chunks_are_refused_by_their_rule_wherever_they_are_cut() {
    for (name, bytes, rule) in BAD_CHUNKS {
        for piece in 1..=bytes.len() {
            let verdict = decode(&mut BodyDecoder::new(BodyFraming::Chunked), bytes, piece);
            assert_eq!(verdict, Err(*rule), "{name}, {piece} bytes at a time");
        }
    }
}

#[test]
fn good_chunks_are_decoded_wherever_they_are_cut() {
    for (name, bytes, data) in GOOD_CHUNKS {
        for piece in 1..=bytes.len() {
            let verdict = decode(&mut BodyDecoder::new(BodyFraming::Chunked), bytes, piece);
            assert_eq!(
                verdict,
                Ok((data.to_vec(), Some(bytes.len()))),
                "{name}, {piece}"
            );
        }
        crate::oracle::chunked_body(bytes);
    }
}

#[test]
fn every_prefix_of_a_good_message_only_wants_more() {
    for (name, bytes) in GOOD_REQUESTS {
        for cut in 0..bytes.len() {
            let mut head = RequestHead::new();
            let verdict =
                RequestParser::new().parse(&bytes[..cut], &HeadLimits::default(), &mut head);
            assert_eq!(verdict, Ok(None), "{name}, cut at {cut}");
        }
    }
    for (name, bytes, _) in GOOD_CHUNKS {
        for cut in 0..bytes.len() {
            let mut decoder = BodyDecoder::new(BodyFraming::Chunked);
            assert!(
                decode(&mut decoder, &bytes[..cut], 3).is_ok(),
                "{name}, cut at {cut}"
            );
            assert_eq!(
                decoder.end_of_input(),
                Err(Malformed::Truncated),
                "{name}, {cut}"
            );
        }
    }
}

/// Rows of the table: rule name, meaning, example, status, and four columns of
/// where.
fn table() -> Vec<Vec<&'static str>> {
    include_str!("../../../docs/http-strictness.md")
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

#[test]
fn documentation_and_rules_agree() {
    let listed: Vec<(String, u16)> = table()
        .iter()
        .map(|row| (row[0].trim_matches('`').to_owned(), row[3].parse().unwrap()))
        .collect();
    let rules: Vec<(String, u16)> = Malformed::ALL
        .iter()
        .map(|rule| (rule.name().to_owned(), rule.status()))
        .collect();
    assert_eq!(listed, rules);
    for (row, rule) in table().iter().zip(Malformed::ALL) {
        assert_eq!(row[1], rule.text(), "{}", rule.name());
        assert_eq!(row.len(), 8, "{}", rule.name());
        assert!(
            row[4..].iter().all(|cell| ["yes", "-"].contains(cell)),
            "{}",
            rule.name()
        );
    }
}

#[test]
fn documentation_names_the_messages_a_rule_was_seen_on() {
    let column = |at: usize| -> BTreeSet<&str> {
        table()
            .iter()
            .filter(|row| row[at] == "yes")
            .map(|row| row[0].trim_matches('`'))
            .collect()
    };
    let (h1, upstream) = (column(4), column(7));
    for (name, _, rule) in BAD_REQUESTS.iter().chain(BAD_CHUNKS) {
        assert!(h1.contains(rule.name()), "{name}");
    }
    for (name, _, rule) in BAD_RESPONSES.iter().chain(BAD_CHUNKS) {
        assert!(upstream.contains(rule.name()), "{name}");
    }
}

/// Each rule that HTTP/3 has beside the usual fields, and a field or two that
/// break it.
const BAD_H3: &[(Malformed, &[(&str, &str)])] = &[
    (Malformed::ControlCharacter, &[("a", "b\r\nc: d")]),
    (Malformed::FieldName, &[("a b", "c")]),
    (Malformed::MethodName, &[(":method", "G T")]),
    (
        Malformed::MethodTooLong,
        &[(":method", "MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM")],
    ),
    (Malformed::ConnectMethod, &[(":method", "CONNECT")]),
    (Malformed::TargetCharacter, &[(":path", "/a b")]),
    (Malformed::TargetForm, &[(":path", "a")]),
    (
        Malformed::TargetTooLong,
        &[(":path", "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r")],
    ),
    (Malformed::PercentEscape, &[(":path", "/%zz")]),
    (Malformed::EncodedNul, &[(":path", "/%00")]),
    (Malformed::SchemeUnsupported, &[(":scheme", "http")]),
    (Malformed::Userinfo, &[(":authority", "u@a")]),
    (Malformed::HostMissing, &[(":authority", "")]),
    (Malformed::HostRepeated, &[("host", "a"), ("host", "a")]),
    (Malformed::HostSyntax, &[(":authority", "a/b")]),
    (Malformed::HostConflict, &[("host", "b")]),
    (Malformed::ContentLengthSyntax, &[("content-length", "+3")]),
    (
        Malformed::ContentLengthRepeated,
        &[("content-length", "3"), ("content-length", "3")],
    ),
    (
        Malformed::ContentLengthOverflow,
        &[("content-length", "9223372036854775808")],
    ),
    (Malformed::Expectation, &[("expect", "else")]),
    (Malformed::HeadTooLarge, &[("a", LONG)]),
    (
        Malformed::TooManyFields,
        &[("a", ""), ("b", ""), ("c", ""), ("d", "")],
    ),
    (Malformed::TrailersTooLarge, &[("trailer", LONG)]),
    (Malformed::BodyTooLong, &[("content-length", "2")]),
    (Malformed::BodyTooShort, &[("content-length", "4")]),
    (
        Malformed::BodyForbidden,
        &[
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            ("content-length", "3"),
        ],
    ),
    (Malformed::UppercaseName, &[("A", "b")]),
    (Malformed::ConnectionSpecific, &[("connection", "close")]),
    (Malformed::TeValue, &[("te", "gzip")]),
    (Malformed::FieldValue, &[("a", " b")]),
    (Malformed::PseudoMissing, &[(":path", LEFT_OUT)]),
    (Malformed::PseudoRepeated, &[(":path", "/"), (":path", "/")]),
    (Malformed::PseudoMisplaced, &[("a", "b"), (":other", "c")]),
    (
        Malformed::ProtocolUnsupported,
        &[(":method", "CONNECT"), (":protocol", "connect-udp")],
    ),
];
/// More than the limits here allow.
const LONG: &str = "long";
/// The usual pseudo-header does not come.
const LEFT_OUT: &str = "left out";

/// A frame of literals.
fn h3_head(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = vec![0, 0];
    let low = |number: usize| number.to_le_bytes()[0];
    let number = |first: u8, most: u8, number: usize, out: &mut Vec<u8>| {
        if number < usize::from(most) {
            return out.push(first | low(number));
        }
        out.push(first | most);
        let mut rest = number - usize::from(most);
        while rest >= 128 {
            out.push(low(rest & 127) | 128);
            rest >>= 7;
        }
        out.push(low(rest));
    };
    for (name, value) in fields {
        let value = if *value == LONG {
            "v".repeat(9_000)
        } else {
            (*value).to_owned()
        };
        number(0x20, 7, name.len(), &mut section);
        section.extend_from_slice(name.as_bytes());
        number(0, 127, value.len(), &mut section);
        section.extend_from_slice(value.as_bytes());
    }
    let length = u32::try_from(section.len()).expect("a short section") | 0x8000_0000;
    [[1].as_slice(), &length.to_be_bytes(), &section].concat()
}

/// The usual head with these instead or after, three bytes of data, and
/// trailers where they are asked for.
fn h3_stream(fields: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", "/"),
    ];
    let front = usual
        .iter()
        .filter(|(name, _)| fields.iter().all(|(other, _)| other != name));
    let all: Vec<_> = fields
        .iter()
        .filter(|(name, value)| name.starts_with(':') && *value != LEFT_OUT && *name != ":other")
        .chain(front)
        .chain(
            fields
                .iter()
                .filter(|(name, _)| !name.starts_with(':') || *name == ":other"),
        )
        .copied()
        .collect();
    let (trailers, head): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|field| field.0 == "trailer");
    let mut stream = [h3_head(&head), b"\x00\x03abc".to_vec()].concat();
    if !trailers.is_empty() {
        stream.extend(h3_head(&trailers));
    }
    stream
}

fn h3_fault(stream: &[u8], piece: usize) -> Option<Fault> {
    let limits = HeadLimits {
        head_bytes: 4_096,
        fields: 4,
        target_bytes: 32,
    };
    let (mut reader, mut scratch) = (RequestReader::new(limits), Scratch::default());
    let mut head = RequestHead::new();
    let mut unread = Vec::new();
    for part in stream.chunks(piece) {
        unread.extend_from_slice(part);
        loop {
            match reader.step(&unread, &mut head, &mut scratch) {
                Ok(Step::Head { skip }) => unread.drain(..skip),
                Ok(Step::Data { skip, len }) => unread.drain(..skip + len),
                Ok(Step::NeedMore { skip }) => {
                    unread.drain(..skip);
                    break;
                }
                Err(fault) => return Some(fault),
            };
        }
    }
    reader.finish().err()
}

#[test]
fn bad_requests_over_h3_are_refused_by_their_rule_wherever_they_are_cut() {
    assert_eq!(h3_fault(&h3_stream(&[("a", "b")]), 5), None);
    for (rule, fields) in BAD_H3 {
        let stream = h3_stream(fields);
        for piece in [1, 2, 7, stream.len()] {
            let fault = h3_fault(&stream, piece);
            assert_eq!(fault, Some(Fault::Message(*rule)), "{fields:?} by {piece}");
        }
    }
}

#[test]
fn documentation_names_the_rules_of_h3() {
    let listed: BTreeSet<_> = table()
        .iter()
        .filter(|row| row[6] == "yes")
        .map(|row| row[0].trim_matches('`'))
        .collect();
    let seen: BTreeSet<_> = BAD_H3.iter().map(|(rule, _)| rule.name()).collect();
    assert_eq!(listed, seen);
}

#[test]
fn rule_names_are_distinct_and_kebab_case() {
    let names: BTreeSet<_> = Malformed::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(names.len(), Malformed::ALL.len());
    assert!(names.iter().all(|name| {
        name.bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_lowercase())
    }));
}
