//! What must hold for any bytes over HTTP/3.

use meridian_wire::h1::{BodyEncoder, write_request};
use meridian_wire::h3::{Control, Fault, RequestReader, Scratch, Step, Uni, UniStream};
use meridian_wire::{BodyFraming, RequestHead, Upgrade, Version};

use super::{LIMITS, Meant, facts, plan, read_leniently, read_strictly, written_reads_the_same};

/// One stream as far as it was taken.
struct Outcome {
    head: Option<RequestHead>,
    facts: String,
    data: Vec<u8>,
    end: Result<(), Fault>,
}

fn read(stream: &[u8], piece: usize) -> Outcome {
    let (mut reader, mut head) = (RequestReader::new(LIMITS), RequestHead::new());
    let (mut scratch, mut data) = (Scratch::default(), Vec::new());
    let (mut at, mut have) = (0, 0);
    let end = loop {
        let unread = stream.get(at..have).expect("never more than there is");
        match reader.step(unread, &mut head, &mut scratch) {
            Ok(Step::Head { skip }) => at += skip,
            Ok(Step::Data { skip, len }) => {
                assert!(len > 0 && reader.has_head());
                let part = unread.get(skip..skip + len).expect("data that is there");
                data.extend_from_slice(part);
                at += skip + len;
            }
            Ok(Step::NeedMore { skip }) => {
                at += skip;
                assert_eq!(at, have, "nothing is left unread");
                if have == stream.len() && data.is_empty() && reader.has_head() {
                    break reader.finish_head(&mut head);
                }
                if have == stream.len() {
                    break reader.finish();
                }
                have = (have + piece).min(stream.len());
            }
            Err(fault) => break Err(fault),
        }
    };
    assert_eq!(reader.is_done(), end.is_ok());
    let head = reader.has_head().then_some(head);
    let facts = head.as_ref().map(facts).unwrap_or_default();
    Outcome {
        head,
        facts,
        data,
        end,
    }
}

/// Whether a stream is a whole request.
pub(crate) fn is_whole(stream: &[u8]) -> bool {
    let outcome = read(stream, stream.len());
    outcome.end.is_ok()
}

/// A request stream: the same however it is cut, and what goes on over
/// HTTP/1.1 is what was decided on, and no more.
pub(crate) fn request(stream: &[u8]) {
    let whole = read(stream, stream.len().max(1));
    for piece in [1, 3, 17] {
        let cut = read(stream, piece);
        assert_eq!(cut.end, whole.end, "the same however it is cut");
        assert_eq!((&cut.facts, &cut.data), (&whole.facts, &whole.data));
    }
    let Some(head) = whole.head else {
        assert!(whole.data.is_empty() && whole.end.is_err());
        return;
    };
    assert_eq!(head.version(), Version::Http3);
    assert_eq!(head.scheme(), Some("https"));
    assert!(!head.authority().is_empty());
    written_reads_the_same(&head);
    if let BodyFraming::Length(length) = head.framing() {
        let came = whole.data.len() as u64;
        assert!(came <= length && (whole.end.is_err() || came == length));
    }
    if whole.end.is_ok() && head.upgrade() == Upgrade::None {
        forward(&head, &whole.data);
    }
}

fn forward(head: &RequestHead, data: &[u8]) {
    let mut out = Vec::new();
    let added = super::added();
    write_request(head, &plan(head, &added), &mut out);
    let mut encoder = BodyEncoder::new(head.framing());
    encoder.data(data, &mut out).expect("as long as announced");
    encoder
        .finish(None, &mut out)
        .expect("as long as announced");
    let query = head
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let meant = [Meant {
        method: head.method_str().to_owned(),
        target: format!("{}{query}", head.path()),
        host: head.authority().to_owned(),
        body: data.to_vec(),
    }];
    assert_eq!(read_strictly(&out), meant);
    assert_eq!(read_leniently(&out), meant);
}

/// As [`request`], for the bytes of a field section after a usual front.
pub(crate) fn section(fields: &[u8]) {
    // GET, https, "/", an authority.
    let front = b"\0\0\xd1\xd7\xc1\x50\x01a";
    let length = front.len() + fields.len();
    let Ok(length) = u16::try_from(length.min(0x3fff)) else {
        return;
    };
    let [high, low] = length.to_be_bytes();
    let mut stream = vec![1, 0x40 | high, low];
    stream.extend_from_slice(front);
    stream.extend_from_slice(fields);
    request(&stream);
}

/// Streams of a connection beside the requests: the same however they are
/// cut. The first byte of each says how long it is.
pub(crate) fn control(mut data: &[u8]) {
    let mut streams = Vec::new();
    while let Some((&len, rest)) = data.split_first() {
        let (stream, after) = rest.split_at(usize::from(len).min(rest.len()));
        streams.push(stream);
        data = after;
    }
    let whole = run(&streams, usize::MAX);
    for piece in [1, 3, 17] {
        assert_eq!(run(&streams, piece), whole, "the same however they are cut");
    }
}

fn run(streams: &[&[u8]], piece: usize) -> (String, Result<(), Fault>) {
    let mut control = Control::new();
    let end = streams
        .iter()
        .try_for_each(|stream| one(&mut control, stream, piece));
    if let Err(fault) = end {
        assert!(matches!(fault, Fault::Connection(_)));
    }
    (
        format!("{:?} {:?}", control.settings(), control.goaway()),
        end,
    )
}

fn one(control: &mut Control, bytes: &[u8], piece: usize) -> Result<(), Fault> {
    let mut stream = UniStream::new();
    for part in bytes.chunks(piece) {
        if control.read(&mut stream, part)? == Uni::Ignored {
            return control.ended(&stream);
        }
    }
    Ok(())
}
