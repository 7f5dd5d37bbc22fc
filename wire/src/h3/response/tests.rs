use proptest::prelude::*;

use super::*;
use crate::h1::Connection;
use crate::h3::decode::{Scratch, Sink, section as read_section};
use crate::version::Version;

/// Fields as a client sees them.
#[derive(Debug, Default, Eq, PartialEq)]
struct Lines(Vec<String>);

impl Sink for Lines {
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        let (name, value) = (name.escape_ascii(), value.escape_ascii());
        self.0.push(format!("{name}: {value}"));
        Ok(())
    }
}

/// The lines of the HEADERS frame at the front, and what follows it.
fn lines(mut out: &[u8]) -> (Vec<String>, &[u8]) {
    let mut reader = varint::VarintReader::default();
    assert_eq!(reader.read(&mut out), Some(frame::HEADERS));
    let length = reader.read(&mut out).unwrap();
    let (payload, rest) = out.split_at(usize::try_from(length).unwrap());
    let mut lines = Lines::default();
    read_section(payload, 1 << 20, &mut Scratch::default(), &mut lines).unwrap();
    (lines.0, rest)
}

const PLAN: ResponsePlan<'static> = ResponsePlan {
    to: Version::Http3,
    drop: KnownSet::EMPTY,
    append: &crate::added::NOTHING_ADDED,
    framing: BodyFraming::None,
    connection: Connection::KeepAlive,
};

fn head(status: u16, fields: &[(&str, &str)]) -> ResponseHead {
    let mut head = ResponseHead::new();
    head.begin(status);
    for (name, value) in fields {
        head.push(name, value.as_bytes());
    }
    head
}

fn written(head: &ResponseHead, plan: &ResponsePlan<'_>) -> Vec<String> {
    let mut out = b"before".to_vec();
    write_response(head, plan, &mut out);
    let (lines, rest) = lines(&out[6..]);
    assert!(rest.is_empty());
    lines
}

#[test]
fn a_head_goes_out_with_its_status_fields_and_additions() {
    let head = head(
        200,
        &[
            ("content-type", "application/json"),
            ("content-type", "text/else"),
            ("vary", "origin"),
            ("vary", "accept"),
            ("x-own", "yes"),
            ("date", ""),
            ("server", "s"),
        ],
    );
    let plan = ResponsePlan {
        drop: KnownSet::of(&[Known::Server]),
        append: &crate::added::Added::from_iter([
            ("alt-svc", b"h3=\":443\"".as_slice()),
            ("x-request-id", b"7"),
        ]),
        framing: BodyFraming::Length(1_024),
        ..PLAN
    };
    assert_eq!(
        written(&head, &plan),
        [
            ":status: 200",
            "content-type: application/json",
            "content-type: text/else",
            "vary: origin",
            "vary: accept",
            "x-own: yes",
            "date: ",
            "alt-svc: h3=\\\":443\\\"",
            "x-request-id: 7",
            "content-length: 1024",
        ]
    );
}

#[test]
fn every_status_is_written_as_its_number() {
    for status in 100..=599 {
        assert_eq!(
            written(&head(status, &[]), &PLAN),
            [format!(":status: {status}")]
        );
        let mut out = Vec::new();
        write_interim(&head(status, &[("link", "</a>")]), &mut out);
        assert_eq!(
            lines(&out).0,
            [format!(":status: {status}"), "link: </a>".to_owned()]
        );
    }
}

#[test]
fn what_belongs_to_a_hop_and_framing_of_the_backend_end_here() {
    let head = head(
        200,
        &[
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("proxy-connection", "close"),
            ("upgrade", "h2c"),
            ("trailer", "x-sum"),
            ("content-length", "7"),
            ("x-own", "yes"),
        ],
    );
    for framing in [BodyFraming::Chunked, BodyFraming::UntilClose] {
        let plan = ResponsePlan { framing, ..PLAN };
        assert_eq!(written(&head, &plan), [":status: 200", "x-own: yes"]);
    }
}

#[test]
fn head_and_304_keep_the_length_that_was_stated() {
    let length = [("content-length", "7")];
    assert_eq!(
        written(&head(304, &length), &PLAN),
        [":status: 304", "content-length: 7"]
    );
    assert_eq!(written(&head(204, &length), &PLAN), [":status: 204"]);
    let none = ResponsePlan {
        framing: BodyFraming::Length(0),
        ..PLAN
    };
    assert_eq!(
        written(&head(200, &[]), &none),
        [":status: 200", "content-length: 0"]
    );
    let most = ResponsePlan {
        framing: BodyFraming::Length(u64::MAX),
        ..PLAN
    };
    assert_eq!(
        written(&head(200, &[]), &most)[1],
        format!("content-length: {}", u64::MAX)
    );
}

#[test]
fn heads_of_every_size_are_framed_right() {
    for len in [0, 1, 50, 63, 64, 16_000, 16_370, 16_380, 16_390, 70_000] {
        let value = "v".repeat(len);
        let head = head(200, &[("x-long", &value)]);
        assert_eq!(written(&head, &PLAN)[1], format!("x-long: {value}"));
    }
}

#[test]
fn a_body_is_exactly_as_long_as_announced() {
    let mut out = Vec::new();
    let mut body = BodyEncoder::new(BodyFraming::Length(3));
    body.data(b"", &mut out).unwrap();
    body.data(b"ab", &mut out).unwrap();
    assert_eq!(body.finish(None, &mut out), Err(Malformed::BodyTooShort));
    assert_eq!(body.data(b"cd", &mut out), Err(Malformed::BodyTooLong));
    body.data(b"c", &mut out).unwrap();
    body.finish(None, &mut out).unwrap();
    assert_eq!(body.data(b"d", &mut out), Err(Malformed::BodyTooLong));
    assert_eq!(out, [0, 2, b'a', b'b', 0, 1, b'c']);
    let mut none = BodyEncoder::new(BodyFraming::None);
    assert_eq!(none.data(b"a", &mut out), Err(Malformed::BodyTooLong));
    none.finish(None, &mut out).unwrap();
    assert_eq!(out.len(), 7);
}

#[test]
fn trailers_that_may_go_on_follow_the_data() {
    let mut trailers = Trailers::new();
    for (name, value) in [
        ("x-sum", "1"),
        ("content-length", "7"),
        ("set-cookie", "a=b"),
    ] {
        trailers.push(name.as_bytes(), value.as_bytes()).unwrap();
    }
    let mut out = Vec::new();
    let mut body = BodyEncoder::new(BodyFraming::Chunked);
    body.begin_data(300, &mut out).unwrap();
    assert_eq!(out, [0, 0x41, 0x2c]);
    out.clear();
    body.finish(Some(&trailers), &mut out).unwrap();
    assert_eq!(lines(&out), (vec!["x-sum: 1".to_owned()], [].as_slice()));
    let again = out.len();
    body.finish(Some(&trailers), &mut out).unwrap();
    assert_eq!(out.len(), again, "once");
    let (mut none, mut forbidden) = (Vec::new(), Trailers::new());
    forbidden.push(b"set-cookie", b"a=b").unwrap();
    BodyEncoder::new(BodyFraming::Chunked)
        .finish(Some(&forbidden), &mut none)
        .unwrap();
    assert!(none.is_empty(), "no empty section");
}

proptest! {
    #[test]
    fn any_answer_reads_as_written(
        status in 100_u16..=599,
        fields in prop::collection::vec(("[a-z][a-z0-9-]{0,40}", "([!-~]([ -~]{0,300}[!-~])?)?"), 0..30),
    ) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let head = head(status, &fields);
        let expected: Vec<_> = head
            .fields()
            .filter(|field| !field.hop && !OWN.contains(field.known))
            .map(|field| format!("{}: {}", field.name, field.value.escape_ascii()))
            .collect();
        let lines = written(&head, &ResponsePlan { framing: BodyFraming::Chunked, ..PLAN });
        prop_assert_eq!(&lines[1..], expected);
    }
}
