//! Every rule, by tables: bytes in, verdict out, however the bytes are cut.

use std::collections::BTreeSet;

use crate::oracle::decode;
use crate::vectors::{
    BAD_CHUNKS, BAD_REQUESTS, BAD_RESPONSES, GOOD_CHUNKS, GOOD_REQUESTS, GOOD_RESPONSES,
};
use meridian_wire::h1::{BodyDecoder, RequestParser, ResponseParser};
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

/// Rows of the table: rule name, example, status, and three columns of where.
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
        assert_eq!(row.len(), 7, "{}", rule.name());
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
    let (h1, upstream) = (column(4), column(6));
    for (name, _, rule) in BAD_REQUESTS.iter().chain(BAD_CHUNKS) {
        assert!(h1.contains(rule.name()), "{name}");
    }
    for (name, _, rule) in BAD_RESPONSES.iter().chain(BAD_CHUNKS) {
        assert!(upstream.contains(rule.name()), "{name}");
    }
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
