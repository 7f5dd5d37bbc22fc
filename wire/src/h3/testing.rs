//! What the tests of this folder share: sections, frames, and a reader that
//! collects what happens.

use crate::fields::Field;
use crate::h3::code::Fault;
use crate::h3::decode::Scratch;
use crate::h3::request::{RequestReader, Step};
use crate::h3::{huffman, prefix, table, varint};
use crate::limits::HeadLimits;
use crate::request::RequestHead;

pub(super) type Pair<'a> = (&'a str, &'a str);

pub(super) const LIMITS: HeadLimits = HeadLimits {
    head_bytes: 4_096,
    fields: 24,
    target_bytes: 256,
};

pub(super) const GET: [Pair<'_>; 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "a.example"),
    (":path", "/x"),
];

/// How a test writes a field.
#[derive(Copy, Clone, Debug)]
pub(super) enum Form {
    /// Name and value as they are.
    Plain,
    /// Both in Huffman code.
    Coded,
    /// By the static table where it has it.
    Indexed,
}

pub(super) const FORMS: [Form; 3] = [Form::Plain, Form::Coded, Form::Indexed];

/// A field section.
pub(super) fn section(fields: &[Pair<'_>], form: Form) -> Vec<u8> {
    let mut out = vec![0, 0];
    for (name, value) in fields {
        field(name.as_bytes(), value.as_bytes(), form, &mut out);
    }
    out
}

pub(super) fn field(name: &[u8], value: &[u8], form: Form, out: &mut Vec<u8>) {
    let entries = || table::ENTRIES.iter().enumerate();
    let named = entries().find(|(_, entry)| entry.0.as_bytes() == name);
    let whole =
        entries().find(|(_, entry)| (entry.0.as_bytes(), entry.1.as_bytes()) == (name, value));
    match (form, whole, named) {
        (Form::Plain, ..) => {
            text(0x20, 3, name, out);
            text(0, 7, value, out);
        }
        (Form::Indexed, Some((index, _)), _) => prefix::write(0xc0, 6, index, out),
        (Form::Indexed, None, Some((index, _))) => {
            prefix::write(0x50, 4, index, out);
            coded(0x80, 7, value, out);
        }
        (Form::Coded | Form::Indexed, ..) => {
            coded(0x28, 3, name, out);
            coded(0x80, 7, value, out);
        }
    }
}

fn text(flags: u8, bits: u32, text: &[u8], out: &mut Vec<u8>) {
    prefix::write(flags, bits, text.len(), out);
    out.extend_from_slice(text);
}

fn coded(flags: u8, bits: u32, plain: &[u8], out: &mut Vec<u8>) {
    let mut coded = Vec::new();
    huffman::encode(plain, &mut coded);
    text(flags, bits, &coded, out);
}

/// A frame around a payload.
pub(super) fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = begun(kind, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

/// The front of a frame that says it has so many bytes.
pub(super) fn begun(kind: u64, length: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write(kind, &mut out);
    varint::write(length, &mut out);
    out
}

pub(super) fn headers(fields: &[Pair<'_>]) -> Vec<u8> {
    frame(1, &section(fields, Form::Indexed))
}

/// What came out of a stream.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Seen {
    /// Everything that is decided on, once the head was there.
    pub(super) head: Option<String>,
    pub(super) data: Vec<u8>,
    /// How it ended: cut (`None`), or the first fault.
    pub(super) fault: Option<Fault>,
}

/// Reads a stream that comes `piece` bytes at a time and then ends.
pub(super) fn read(stream: &[u8], piece: usize) -> (Seen, RequestReader, RequestHead) {
    let (mut reader, mut head) = (RequestReader::new(LIMITS), RequestHead::new());
    let mut seen = Seen::default();
    let result = feed(stream, piece, (&mut reader, &mut head), &mut seen);
    let bodiless = seen.head.is_some() && seen.data.is_empty();
    let result = result.and_then(|()| {
        if bodiless {
            reader.finish_head(&mut head)
        } else {
            reader.finish()
        }
    });
    seen.fault = result.err();
    (seen, reader, head)
}

fn feed(
    stream: &[u8],
    piece: usize,
    (reader, head): (&mut RequestReader, &mut RequestHead),
    seen: &mut Seen,
) -> Result<(), Fault> {
    let (mut at, mut have) = (0, 0);
    let mut scratch = Scratch::default();
    loop {
        match reader.step(&stream[at..have], head, &mut scratch)? {
            Step::Head { skip } => {
                at += skip;
                assert!(seen.head.is_none() && reader.has_head());
                seen.head = Some(facts(head));
            }
            Step::Data { skip, len } => {
                at += skip;
                assert!(len > 0);
                seen.data.extend_from_slice(&stream[at..at + len]);
                at += len;
            }
            Step::NeedMore { skip } => {
                at += skip;
                assert_eq!(at, have, "nothing is left unread");
                if have == stream.len() {
                    return Ok(());
                }
                have = (have + piece).min(stream.len());
            }
        }
    }
}

fn facts(head: &RequestHead) -> String {
    let fields: Vec<_> = head
        .fields()
        .map(|Field { name, value, .. }| format!("{name}: {}", value.escape_ascii()))
        .collect();
    format!(
        "{} {} {}{} {:?} {:?}",
        head.method_str(),
        head.authority(),
        head.path(),
        head.query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default(),
        head.framing(),
        fields
    )
}
