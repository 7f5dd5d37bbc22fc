//! The functions that the fuzz targets run, on vectors that were mutated, and
//! on generated messages.

use crate::oracle::{
    any_path, chunked_body, events, h2, h3, request_head, request_pair, response_head,
    websocket_frames,
};
use crate::vectors::{
    BAD_CHUNKS, BAD_REQUESTS, BAD_RESPONSES, GOOD_CHUNKS, GOOD_REQUESTS, GOOD_RESPONSES,
};
use proptest::prelude::*;

/// Pseudo-random numbers (xorshift64*), the same in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let draw = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(draw).unwrap_or(0) % bound.max(1)
    }
}

/// Pieces that parsers disagree about.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\0",
    b":",
    b",",
    b";",
    b"/",
    b"//",
    b"/../",
    b"/./",
    b"%2e",
    b"%2f",
    b"%25",
    b"%",
    b"?",
    b"#",
    b"\x7f",
    b"\x80",
    b"0",
    b"a",
    b"ff",
    b"-",
    b"+",
    b"Host: a\r\n",
    b"Host: b\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close, x\r\n",
    b"0\r\n\r\n",
    b"3\r\nabc\r\n",
    b"GET / HTTP/1.1\r\n",
    b"HTTP/1.0",
    b"http://a",
    b"X: y\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\n",
];

fn mutate(seed: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=draw.below(3) {
        let at = draw.below(bytes.len() + 1);
        match draw.below(4) {
            0 => {
                let piece = PIECES
                    .get(draw.below(PIECES.len()))
                    .copied()
                    .unwrap_or_default();
                bytes.splice(at..at, piece.iter().copied());
            }
            1 => {
                let end = (at + draw.below(4)).min(bytes.len());
                bytes.drain(at..end);
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = u8::try_from(draw.below(256)).unwrap_or(0);
                }
            }
            _ => {
                let from = draw.below(bytes.len() + 1).min(at);
                let again = bytes.get(from..at).unwrap_or_default().to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

fn run(oracle: fn(&[u8]), seeds: &[&[u8]], rounds: usize) {
    let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
    for seed in seeds {
        oracle(seed);
        for _ in 0..rounds {
            oracle(&mutate(seed, &mut draw));
        }
    }
}

#[test]
fn request_heads_hold_their_promises_under_mutation() {
    let mut seeds: Vec<&[u8]> = GOOD_REQUESTS.iter().map(|(_, bytes)| *bytes).collect();
    seeds.extend(BAD_REQUESTS.iter().map(|(_, bytes, _)| *bytes));
    run(request_head, &seeds, 60);
}

#[test]
fn answer_heads_hold_their_promises_under_mutation() {
    let mut seeds: Vec<&[u8]> = GOOD_RESPONSES.iter().map(|(_, bytes)| *bytes).collect();
    seeds.extend(BAD_RESPONSES.iter().map(|(_, bytes, _)| *bytes));
    run(response_head, &seeds, 100);
}

/// A request with data, answers to pings, between two headers of frames.
const H2_FAREWELLS: &[&[u8]] = &[
    b"\x18\x0512345678901234567890abcd\0\0\x08\x06\x01\0\0\0\0\x0b\x7b\xa2\xf0\x8b\x9b\xfe\x54\
      \0\0\x03\x01\x04\0\0\0\x01abc\0\0\x02\0\x01\0\0\0\x01de",
    b"\x20\x0112345678901234567890abcd\0\0\x08\x06\0\0\0\0\0\x0b\x7b\xa2\xf0\x8b\x9b\xfe\x54\
      \0\0\x08\x06\x01\0\0\0\0\x0b\x7b\xa2\xf0\x8b\x9b\xfe\x55\
      \0\0\x08\x06\x01\0\0\0\0\x0b\x7b\xa2\xf0\x8b\x9b\xfe\x54\0\0\x04",
    b"\0\xff12345678901234567890abcd\0\0\x08\x06\x01\0\0\0\0\x0b\x7b\xa2\xf0",
    // The goodbye comes within a header that never becomes whole.
    b"\x1a\0\xa8\xa8\xa8\xa8uuuuu`uuuuu0\r\n\r\nuuuu//\x80",
];
/// Streams of HTTP/3: a request with everything, one with a body of unknown
/// length, a tunnel.
const H3_REQUESTS: &[&[u8]] = &[
    b"!\x03abc\x01%\0\0\xd4\xd7P\x03a.bQ\x05/x?yzT\x016\x22te\x08trailers#x-y\x011\0\x03abc\0\0\0\x03def\x01\x0a\0\0%x-sum\x011",
    b"\x01\x0c\0\0\xd4\xd7\xc1$host\x01a\0\x04abcd\0\x01e",
    b"\x01\x1d\0\0\xcf\xd7\xc1P\x01a'\x02:protocol\x09websocket\0\x02hi",
];
/// Settings and a GOAWAY; an encoder; a decoder; an unknown stream.
const H3_CONTROLS: &[&[u8]] = &[
    b"\x13\x00\x04\x09\x01\x00\x06\x44\x00\x07\x00\x08\x01\x21\x01\x00\x07\x01\x04\x00\
      \x02\x02\x20\x04\x03\x44\x7f\x01\x03\x21ab",
    b"\x06\x00\x04\x02\x33\x01\x21\x05\x00\x0d\x01\x04\x00",
];
/// Field lines in each representation.
const H3_SECTIONS: &[&[u8]] = &[
    b"\xc5\x55\x03a=b\xc5",
    b"\xdd\x54\x013\x5f\x50\x84\xb9\x58\xd3\x3f\x27\x00x-custom\x03abc\x2d\x41\x52\xb1\x0e\x7e\x83\x82\x64\x02",
    b"\x55\x03a=b\x55\x03c=d\x22te\x08trailers\x5f\x0d\x07Mozilla",
];

#[test]
fn request_streams_hold_their_promises_under_mutation() {
    assert!(H3_REQUESTS.iter().all(|stream| h3::is_whole(stream)));
    run(h3::request, H3_REQUESTS, 3_000);
}

#[test]
fn goodbyes_hold_their_promises_under_mutation() {
    run(h2::farewell, H2_FAREWELLS, 3_000);
}

#[test]
fn field_sections_hold_their_promises_under_mutation() {
    run(h3::section, H3_SECTIONS, 3_000);
}

#[test]
fn control_streams_hold_their_promises_under_mutation() {
    run(h3::control, H3_CONTROLS, 3_000);
}

#[test]
fn chunked_bodies_hold_their_promises_under_mutation() {
    let mut seeds: Vec<&[u8]> = GOOD_CHUNKS.iter().map(|(_, bytes, _)| *bytes).collect();
    seeds.extend(BAD_CHUNKS.iter().map(|(_, bytes, _)| *bytes));
    run(chunked_body, &seeds, 200);
}

#[test]
fn pipelines_smuggle_nothing_under_mutation() {
    let mut draw = Draw(42);
    for _ in 0..6_000 {
        let mut stream = Vec::new();
        for _ in 0..=draw.below(3) {
            let (_, head) = GOOD_REQUESTS[draw.below(GOOD_REQUESTS.len())];
            stream.extend_from_slice(head);
            match draw.below(3) {
                0 => stream.extend_from_slice(b"abc"),
                1 => stream.extend_from_slice(GOOD_CHUNKS[draw.below(GOOD_CHUNKS.len())].1),
                _ => {}
            }
        }
        request_pair(&stream);
        request_pair(&mutate(&stream, &mut draw));
    }
}

#[test]
fn paths_hold_their_promises_under_mutation() {
    let seeds: [&[u8]; 6] = [
        b"/a/../b//c/%2e%2e/%7Ed;p=1",
        b"/%2e%2e/%2e/..;/x",
        b"/a/b/../../../../etc/passwd",
        b"/%252e%252e/%5c..%2f",
        b"/.",
        b"/a%c0%ae/%0d%0a",
    ];
    run(any_path, &seeds, 2_000);
}

fn token() -> impl Strategy<Value = String> {
    "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,24}"
}

/// A field that is no business of the parser.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let value = proptest::collection::vec(
        prop_oneof![Just(b'\t'), 0x20_u8..=0x7e, 0x80_u8..=0xff],
        0..40,
    );
    (token(), value, "[ \t]{0,3}", "[ \t]{0,3}").prop_map(|(name, value, before, after)| {
        let mut line = b"x-".to_vec();
        line.extend_from_slice(name.as_bytes());
        line.push(b':');
        line.extend_from_slice(before.as_bytes());
        line.extend_from_slice(&value);
        line.extend_from_slice(after.as_bytes());
        line.extend_from_slice(b"\r\n");
        line
    })
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let target = "(/([a-zA-Z0-9._~!$&'()*+,;=:@-]|%[2-9A-E][0-9A-Fa-f]){0,12}){1,6}";
    let query = proptest::option::of("[!$-;=?-\\[\\]-~]{0,30}");
    let host = "[a-zA-Z0-9_-]{1,10}(\\.[a-zA-Z0-9_-]{1,10}){0,3}\\.?(:[1-9][0-9]{0,3})?";
    let fields = proptest::collection::vec(field(), 0..8);
    (token(), target, query, host, fields).prop_map(|(method, target, query, host, fields)| {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let mut bytes =
            format!("{method} {target}{query} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
        bytes.extend(fields.concat());
        bytes.extend_from_slice(b"\r\n");
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_requests_are_taken_and_read_the_same_after_writing(bytes in request()) {
        use meridian_wire::{HeadLimits, RequestHead};
        let mut head = RequestHead::new();
        let used = meridian_wire::h1::RequestParser::new()
            .parse(&bytes, &HeadLimits::default(), &mut head);
        prop_assert_eq!(used, Ok(Some(bytes.len())));
        request_head(&bytes);
        request_pair(&bytes);
    }

    #[test]
    fn any_bytes_are_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        request_head(&bytes);
        response_head(&bytes);
        chunked_body(&bytes);
        request_pair(&bytes);
        any_path(&bytes);
    }

    #[test]
    fn data_survives_chunks_of_any_size(parts in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..50), 0..6)) {
        let mut encoder = meridian_wire::h1::BodyEncoder::new(meridian_wire::BodyFraming::Chunked);
        let mut out = Vec::new();
        for part in &parts {
            prop_assert_eq!(encoder.data(part, &mut out), Ok(()));
        }
        prop_assert_eq!(encoder.finish(None, &mut out), Ok(()));
        let mut decoder =
            meridian_wire::h1::BodyDecoder::new(meridian_wire::BodyFraming::Chunked);
        let decoded = crate::oracle::decode(&mut decoder, &out, 3);
        prop_assert_eq!(decoded, Ok((parts.concat(), Some(out.len()))));
    }
}

/// One frame, legal in most cases; then whatever follows.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        8 => 0_usize..140,
        1 => 65_500_usize..65_600,
        1 => Just(125),
    ];
    (any::<u8>(), any::<bool>(), payload, 0_u8..20).prop_map(|(first, masked, length, odd)| {
        let first = if odd == 0 { first } else { first | 0x80 };
        let mark = if masked { 0x80 } else { 0 };
        let mut bytes = vec![first];
        match (length, odd) {
            (0..=125, 2..) => bytes.push(mark | u8::try_from(length).expect("at most 125")),
            (_, 1) => {
                bytes.push(mark | 0x7f);
                bytes.extend((length as u64).to_be_bytes());
            }
            (_, _) => {
                bytes.push(mark | 0x7e);
                bytes.extend(
                    u16::try_from(length % 65_536)
                        .expect("16 bits")
                        .to_be_bytes(),
                );
            }
        }
        if masked {
            bytes.extend([1, 2, 3, 4]);
        }
        bytes.extend(std::iter::repeat_n(0x81, length));
        bytes
    })
}

proptest! {
    #[test]
    fn frames_end_where_a_reader_of_all_bytes_says(
        frames in prop::collection::vec(frame(), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = frames.concat();
        websocket_frames(&bytes);
        websocket_frames(&bytes[..cut.index(bytes.len() + 1)]);
    }

    #[test]
    fn bytes_that_are_no_frames_are_told_as_such(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        websocket_frames(&bytes);
    }
}

proptest! {
    #[test]
    fn a_broken_event_stream_goes_on_with_what_is_appended(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "data", "event", "id", "retry", ":", ": ", "\n", "\r", "\r\n", "\n\n", "{", "}",
                "\"id\":1", "\"result\":{}", "x", "message", "interrupted", "\u{feff}",
            ]),
            0..40,
        ),
    ) {
        events::event_stream(pieces.concat().as_bytes());
    }
}
