//! What must hold for any bytes. The fuzz targets and the tests run the same
//! functions; each panics when a promise is broken.

use meridian_wire::h1::{
    BodyDecoder, BodyEncoder, Connection, RequestParser, RequestPlan, ResponseParser, ResponsePlan,
    Step, Trailers, write_request, write_response,
};
use meridian_wire::websocket::{CloseCode, Follower, Position, Sender, write_close};
use meridian_wire::{
    Added, BodyFraming, HeadLimits, Known, KnownSet, Malformed, Method, RequestHead, ResponseHead,
    Upgrade, Version, path,
};

#[path = "oracle_events.rs"]
pub(crate) mod events;
#[path = "oracle_h2.rs"]
pub(crate) mod h2;
#[path = "oracle_h3.rs"]
pub(crate) mod h3;

/// Small enough that inputs reach the bounds.
const LIMITS: HeadLimits = HeadLimits {
    head_bytes: 4_096,
    fields: 24,
    target_bytes: 256,
};

/// A request head: verdict of one call, of byte by byte, of other parsers, and
/// of ourselves after writing it.
pub(crate) fn request_head(data: &[u8]) {
    let mut head = RequestHead::new();
    let whole = RequestParser::new().parse(data, &LIMITS, &mut head);
    let (mut dripped, mut parser) = (RequestHead::new(), RequestParser::new());
    let pieces = (0..=data.len())
        .map(|len| parser.parse(data.get(..len).unwrap_or(&[]), &LIMITS, &mut dripped))
        .find(|verdict| !matches!(verdict, Ok(None)))
        .unwrap_or(Ok(None));
    assert_eq!(whole, pieces, "the same however it is cut");
    let Ok(Some(used)) = whole else {
        return;
    };
    assert_eq!(facts(&head), facts(&dripped));
    accepted_elsewhere(data.get(..used).expect("used bytes exist"), &head);
    written_reads_the_same(&head);
}

/// Everything that is decided on.
fn facts(head: &RequestHead) -> String {
    use std::fmt::Write as _;
    let mut text = format!(
        "{:?} {} {:?} {:?} {} {} {:?} {:?} {:?} {} {} {:?}",
        head.version(),
        head.method_str(),
        head.scheme(),
        head.authority(),
        head.host(),
        head.path(),
        head.query(),
        head.path_notes(),
        head.framing(),
        head.keep_alive(),
        head.expects_continue(),
        head.upgrade()
    );
    for field in head.fields() {
        let _ = write!(text, "\n{} {} {:?}", field.name, field.hop, field.value);
    }
    text
}

/// Nothing that httparse or hyper's types refuse is taken.
fn accepted_elsewhere(bytes: &[u8], head: &RequestHead) {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut other = httparse::Request::new(&mut fields);
    let status = other.parse(bytes).expect("httparse takes what we take");
    assert_eq!(status, httparse::Status::Complete(bytes.len()));
    assert_eq!(other.method, Some(head.method_str()));
    let target = other.path.expect("a target");
    if head.path() != "*" {
        assert!(target.ends_with(head.raw_target()), "{target}");
    }
    assert_eq!(other.headers.len(), head.fields().count());
    for (theirs, ours) in other.headers.iter().zip(head.fields()) {
        assert!(theirs.name.eq_ignore_ascii_case(ours.name));
        if ours.known != Known::Host {
            assert_eq!(theirs.value, ours.value, "{}", ours.name);
        }
    }
    http::Method::from_bytes(head.method_str().as_bytes()).expect("a method for hyper");
    target.parse::<http::Uri>().expect("a target for hyper");
    if !head.authority().is_empty() {
        head.authority()
            .parse::<http::uri::Authority>()
            .expect("an authority for hyper");
    }
    for field in head.fields() {
        http::HeaderName::from_bytes(field.name.as_bytes()).expect("a name for hyper");
        http::HeaderValue::from_bytes(field.value).expect("a value for hyper");
    }
}

/// What the plan adds.
pub(crate) fn added() -> Added {
    Added::from_iter([("x-forwarded-for", b"192.0.2.1".as_slice())])
}

fn plan<'a>(head: &RequestHead, append: &'a Added) -> RequestPlan<'a> {
    RequestPlan {
        drop: KnownSet::EMPTY,
        append,
        framing: head.framing(),
        upgrade: head.upgrade(),
    }
}

/// What we write parses to what was decided on, here and elsewhere.
fn written_reads_the_same(head: &RequestHead) {
    let mut out = Vec::new();
    let added = added();
    write_request(head, &plan(head, &added), &mut out);
    if head.authority().is_empty() {
        return; // HTTP/1.0 without Host: the caller names one.
    }
    let wide = HeadLimits {
        head_bytes: 65_536,
        fields: 200,
        target_bytes: 8_192,
    };
    let mut again = RequestHead::new();
    let used = RequestParser::new().parse(&out, &wide, &mut again);
    assert_eq!(
        used,
        Ok(Some(out.len())),
        "{}",
        String::from_utf8_lossy(&out)
    );
    // An extended CONNECT goes on as a GET that upgrades.
    let method = match head.upgrade() {
        Upgrade::WebSocket => "GET",
        Upgrade::None => head.method_str(),
    };
    assert_eq!(again.method_str(), method);
    assert_eq!(again.path(), head.path());
    assert_eq!(
        again.raw_path(),
        head.path(),
        "what was decided on is what is sent"
    );
    assert_eq!(again.query(), head.query());
    assert_eq!(again.authority(), head.authority());
    assert_eq!(again.upgrade(), head.upgrade());
    if head.upgrade() == Upgrade::None {
        assert_eq!(again.framing(), head.framing());
        assert!(!again.has(Known::Connection) && !again.has(Known::Upgrade));
    }
    for name in [
        Known::Te,
        Known::KeepAlive,
        Known::ProxyConnection,
        Known::Http2Settings,
    ] {
        assert!(!again.has(name), "hop-by-hop fields end here");
    }
    let end_to_end: Vec<_> = head
        .fields()
        .filter(|field| !field.hop)
        .filter(|field| field.known != Known::Host && field.known != Known::ContentLength)
        .map(|field| (field.name.to_owned(), field.value.to_owned()))
        .chain([("x-forwarded-for".to_owned(), b"192.0.2.1".to_vec())])
        .collect();
    let sent: Vec<_> = again
        .fields()
        .filter(|field| field.known != Known::Host && field.known != Known::ContentLength)
        .filter(|field| !field.hop)
        .map(|field| (field.name.to_owned(), field.value.to_owned()))
        .collect();
    assert_eq!(sent, end_to_end);
    accepted_elsewhere(&out, &again);
}

/// As [`request_head`], for answers. The first byte chooses the method.
pub(crate) fn response_head(data: &[u8]) {
    let (to, data) = match data {
        [b'0', rest @ ..] => (Method::Head, rest),
        [..] => (Method::Get, data),
    };
    let mut head = ResponseHead::new();
    let whole = ResponseParser::new().parse(data, &LIMITS, to, &mut head);
    let (mut dripped, mut parser) = (ResponseHead::new(), ResponseParser::new());
    let pieces = (0..=data.len())
        .map(|len| parser.parse(data.get(..len).unwrap_or(&[]), &LIMITS, to, &mut dripped))
        .find(|verdict| !matches!(verdict, Ok(None)))
        .unwrap_or(Ok(None));
    assert_eq!(whole, pieces, "the same however it is cut");
    let Ok(Some(used)) = whole else {
        return;
    };
    let bytes = data.get(..used).expect("used bytes exist");
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut other = httparse::Response::new(&mut fields);
    assert_eq!(other.parse(bytes), Ok(httparse::Status::Complete(used)));
    assert_eq!(other.code, Some(head.status()));
    let mut out = Vec::new();
    let plan = ResponsePlan {
        to: Version::Http11,
        drop: KnownSet::EMPTY,
        append: &meridian_wire::NOTHING_ADDED,
        framing: head.framing(),
        connection: Connection::KeepAlive,
    };
    write_response(&head, &plan, &mut out);
    let mut again = ResponseHead::new();
    let verdict = ResponseParser::new().parse(&out, &HeadLimits::default(), to, &mut again);
    assert_eq!(
        verdict,
        Ok(Some(out.len())),
        "{}",
        String::from_utf8_lossy(&out)
    );
    assert_eq!(
        (again.status(), again.framing()),
        (head.status(), head.framing())
    );
    let sent = again.fields().filter(|field| !field.hop).count();
    let length_twice = usize::from(sent > 0 && again.count(Known::ContentLength) > 1);
    assert_eq!(length_twice, 0);
    for field in head.fields().filter(|field| field.hop) {
        assert!(
            again
                .fields()
                .all(|sent| sent.name != field.name || sent.hop),
            "{}",
            field.name
        );
    }
}

/// Data, and the bytes that were used up.
type Decoded = Result<(Vec<u8>, Option<usize>), Malformed>;

/// Decodes as far as `data` goes, which arrives `piece` bytes at a time.
pub(crate) fn decode(decoder: &mut BodyDecoder, data: &[u8], piece: usize) -> Decoded {
    let (mut body, mut read, mut have) = (Vec::new(), 0, 0);
    loop {
        let unread = data.get(read..have).expect("never more than there is");
        match decoder.step(unread)? {
            Step::Data { skip, len } => {
                assert!(len > 0);
                let end = skip + len;
                body.extend_from_slice(unread.get(skip..end).expect("data that is there"));
                read += end;
            }
            Step::Done { skip } => return Ok((body, Some(read + skip))),
            Step::NeedMore { skip } => {
                read += skip;
                assert_eq!(read, have, "nothing is left unread");
                if have == data.len() {
                    return Ok((body, None));
                }
                have = (have + piece).min(data.len());
            }
        }
    }
}

/// A chunked body: the same however it is cut, and again after encoding.
pub(crate) fn chunked_body(data: &[u8]) {
    let whole = decode(
        &mut BodyDecoder::new(BodyFraming::Chunked),
        data,
        data.len().max(1),
    );
    for piece in [1, 2, 7] {
        let cut = decode(&mut BodyDecoder::new(BodyFraming::Chunked), data, piece);
        assert_eq!(whole, cut, "the same however it is cut");
    }
    let Ok((body, Some(used))) = whole else {
        return;
    };
    assert!(used <= data.len());
    let mut decoder = BodyDecoder::new(BodyFraming::Chunked);
    decode(&mut decoder, data, data.len()).expect("as before");
    assert!(decoder.is_done() && decoder.end_of_input().is_ok());
    let mut encoder = BodyEncoder::new(BodyFraming::Chunked);
    let mut out = Vec::new();
    for part in body.chunks(5) {
        encoder.data(part, &mut out).expect("chunks have no length");
    }
    encoder
        .finish(decoder.trailers(), &mut out)
        .expect("chunks have no length");
    let mut decoder = BodyDecoder::new(BodyFraming::Chunked);
    let again = decode(&mut decoder, &out, out.len());
    assert_eq!(again, Ok((body, Some(out.len()))));
    for field in decoder.trailers().into_iter().flat_map(Trailers::fields) {
        assert!(!field.hop && field.known != Known::ContentLength && field.known != Known::Host);
    }
}

/// One request of a pipeline as it is meant.
#[derive(Debug, Eq, PartialEq)]
struct Meant {
    method: String,
    target: String,
    host: String,
    body: Vec<u8>,
}

/// Bytes of a client in, bytes to an upstream out: the upstream sees the
/// requests that were decided on, and no other.
pub(crate) fn request_pair(data: &[u8]) {
    let (meant, out) = forward(data);
    assert_eq!(read_strictly(&out), meant);
    assert_eq!(read_leniently(&out), meant);
}

/// Reads a pipeline as the engine does and writes each request anew.
fn forward(data: &[u8]) -> (Vec<Meant>, Vec<u8>) {
    let (mut meant, mut out, mut rest) = (Vec::new(), Vec::new(), data);
    let (mut parser, mut head) = (RequestParser::new(), RequestHead::new());
    while let Ok(Some(used)) = parser.parse(rest, &LIMITS, &mut head) {
        rest = rest.get(used..).expect("used bytes exist");
        let mut decoder = BodyDecoder::new(head.framing());
        let Ok((body, Some(used))) = decode(&mut decoder, rest, 3) else {
            break;
        };
        rest = rest.get(used..).expect("used bytes exist");
        if head.authority().is_empty() || head.upgrade() != Upgrade::None {
            break;
        }
        let added = added();
        write_request(&head, &plan(&head, &added), &mut out);
        let mut encoder = BodyEncoder::new(head.framing());
        encoder.data(&body, &mut out).expect("as long as announced");
        encoder
            .finish(decoder.trailers(), &mut out)
            .expect("as long as announced");
        let query = head
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        meant.push(Meant {
            method: head.method_str().to_owned(),
            target: format!("{}{query}", head.path()),
            host: head.authority().to_owned(),
            body,
        });
        if !head.keep_alive() {
            break;
        }
    }
    (meant, out)
}

fn read_strictly(out: &[u8]) -> Vec<Meant> {
    let wide = HeadLimits {
        head_bytes: 65_536,
        fields: 200,
        target_bytes: 8_192,
    };
    let (mut seen, mut rest, mut head) = (Vec::new(), out, RequestHead::new());
    let mut parser = RequestParser::new();
    while !rest.is_empty() {
        let used = parser
            .parse(rest, &wide, &mut head)
            .expect("well-formed")
            .expect("complete");
        rest = rest.get(used..).expect("used bytes exist");
        let (body, used) =
            decode(&mut BodyDecoder::new(head.framing()), rest, rest.len()).expect("well-formed");
        rest = rest
            .get(used.expect("complete")..)
            .expect("used bytes exist");
        seen.push(Meant {
            method: head.method_str().to_owned(),
            target: head.raw_target().to_owned(),
            host: head.authority().to_owned(),
            body,
        });
    }
    seen
}

/// A reader of its own: httparse and the plainest body reader there is.
fn read_leniently(out: &[u8]) -> Vec<Meant> {
    let (mut seen, mut rest) = (Vec::new(), out);
    while !rest.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut fields);
        let used = request
            .parse(rest)
            .unwrap_or_else(|e| panic!("{e} {}", rest.escape_ascii()))
            .unwrap();
        let method = request.method.expect("a method").to_owned();
        let target = request.path.expect("a target").to_owned();
        let value = |name: &str| -> Option<String> {
            let mut all = request.headers.iter().filter(|field| field.name == name);
            let first = all
                .next()
                .map(|field| String::from_utf8_lossy(field.value).into_owned());
            assert!(all.next().is_none(), "{name} once");
            first
        };
        let (host, length) = (value("host").expect("a host"), value("content-length"));
        let chunked = value("transfer-encoding");
        assert!(length.is_none() || chunked.is_none(), "one framing");
        rest = rest.get(used..).expect("used bytes exist");
        let (body, used) = match (length, chunked) {
            (Some(length), _) => {
                let length = length.parse().expect("a length");
                (rest.get(..length).expect("a whole body").to_vec(), length)
            }
            (None, Some(_)) => plain_chunks(rest),
            (None, None) => (Vec::new(), 0),
        };
        rest = rest.get(used..).expect("used bytes exist");
        seen.push(Meant {
            method,
            target,
            host,
            body,
        });
    }
    seen
}

/// Reads the chunks that we write: size, data, trailers up to an empty line.
fn plain_chunks(bytes: &[u8]) -> (Vec<u8>, usize) {
    let (mut body, mut at) = (Vec::new(), 0);
    let line = |at: usize| -> &[u8] {
        let rest = bytes.get(at..).expect("not past the end");
        let end = rest.iter().position(|&byte| byte == b'\n').expect("a line");
        rest.get(..end)
            .expect("a line")
            .strip_suffix(b"\r")
            .expect("CRLF")
    };
    loop {
        let size = line(at);
        at += size.len() + 2;
        let size = std::str::from_utf8(size).expect("digits");
        let size = usize::from_str_radix(size, 16).expect("hex digits");
        if size == 0 {
            break;
        }
        body.extend_from_slice(bytes.get(at..at + size).expect("a whole chunk"));
        at += size;
        assert_eq!(line(at), b"");
        at += 2;
    }
    while !line(at).is_empty() {
        at += line(at).len() + 2;
    }
    (body, at + 2)
}

/// Any path: refused, or brought into its one form, which stays as it is.
pub(crate) fn any_path(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else {
        return;
    };
    let mut once = Vec::new();
    if path::normalize(raw, &mut once).is_err() {
        return;
    }
    let text = String::from_utf8(once.clone()).expect("ASCII");
    assert!(
        text.starts_with('/') && text.is_ascii() && !text.contains("//"),
        "{text}"
    );
    assert!(
        text.split('/')
            .all(|segment| segment != "." && segment != ".."),
        "{text}"
    );
    assert!(text.len() <= raw.len());
    assert!(!text.to_ascii_lowercase().contains("%2e"), "{text}");
    let mut twice = Vec::new();
    let notes = path::normalize(&text, &mut twice).expect("stays well-formed");
    assert_eq!(once, twice, "once is enough");
    assert!(!notes.contains(meridian_wire::PathNotes::REPEATED_SLASH));
    assert!(!notes.contains(meridian_wire::PathNotes::ABOVE_ROOT));
}

/// Frames of a WebSocket: the same positions however the bytes are cut, those
/// of a reader that sees all of them, and none lost behind a close frame that
/// was written between two.
pub(crate) fn websocket_frames(data: &[u8]) {
    for sender in [Sender::Client, Sender::Server] {
        let ends = frame_ends(data, sender);
        let (mut steps, mut at) = (Follower::new(sender), 0);
        let mut dripped = Follower::new(sender);
        let mut boundaries = Vec::new();
        while at < data.len() {
            let rest = data.get(at..).expect("within the data");
            let taken = steps.step(rest);
            assert!(
                (1..=rest.len()).contains(&taken),
                "it goes on, and not too far"
            );
            for byte in rest.iter().take(taken) {
                assert_eq!(dripped.step(std::slice::from_ref(byte)), 1);
            }
            assert_eq!(steps.position(), dripped.position());
            at += taken;
            match steps.position() {
                Position::Boundary => boundaries.push(at),
                Position::Closed | Position::Lost => break,
                Position::Within => assert_eq!(at, data.len()),
            }
        }
        assert_eq!(boundaries, ends.boundaries);
        let mut whole = Follower::new(sender);
        whole.follow(data);
        assert_eq!(whole.position(), ends.last);
        for end in boundaries.iter().chain(&[0]) {
            closes_at(data.get(..*end).expect("within the data"), sender);
        }
    }
}

fn closes_at(frames: &[u8], sender: Sender) {
    let mask = (sender == Sender::Client).then_some([9, 8, 7, 6]);
    let mut bytes = frames.to_vec();
    write_close(CloseCode::GoingAway, "idle", mask, &mut bytes);
    let mut follower = Follower::new(sender);
    follower.follow(&bytes);
    assert_eq!(follower.position(), Position::Closed);
}

struct FrameEnds {
    boundaries: Vec<usize>,
    last: Position,
}

/// RFC 6455, 5.2 to 5.5, read from the whole text.
fn frame_ends(data: &[u8], sender: Sender) -> FrameEnds {
    let (mut at, mut fragments) = (0_usize, false);
    let mut boundaries = Vec::new();
    let last = loop {
        let rest = data.get(at..).unwrap_or(&[]);
        let &[first, second, ref more @ ..] = rest else {
            break if rest.is_empty() {
                Position::Boundary
            } else {
                Position::Within
            };
        };
        let bytes = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(extended) = more.get(..bytes) else {
            break Position::Within;
        };
        let length = extended
            .iter()
            .fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        let (length, minimal) = match bytes {
            0 => (u64::from(second & 0x7f), true),
            2 => (length, length > 125),
            _ => (length, length > 0xffff && length < 1 << 63),
        };
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        let placed = match opcode {
            0 => fragments,
            1..=7 => !fragments,
            _ => fin && length <= 125,
        };
        let masked = second & 0x80 != 0;
        if !minimal || !placed || masked != (sender == Sender::Client) {
            break Position::Lost;
        }
        if opcode < 8 {
            fragments = !fin;
        }
        let mask = if masked { 4 } else { 0 };
        let whole = (2 + bytes as u64 + mask).saturating_add(length);
        if whole > rest.len() as u64 {
            break Position::Within;
        }
        if opcode == 8 {
            break Position::Closed;
        }
        at += usize::try_from(whole).unwrap_or(usize::MAX);
        boundaries.push(at);
    };
    FrameEnds { boundaries, last }
}
