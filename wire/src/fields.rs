//! Field lines: bytes in one reused buffer and ranges over it.
//!
//! Promises: a line is read once, its name lower-cased in place; what is
//! absent costs one bit test; clearing keeps small buffers and drops big ones.

use std::ops::Range;

use crate::bytes::{is_token, list, text};
use crate::known::{HOP, Known, KnownSet};
use crate::line::{is_space, lower_name, read_value};
use crate::malformed::Malformed;
use crate::names::look;

/// Heads are reused by pools: a buffer above this does not stay, in bytes.
const RAW_KEPT: usize = 16_384;
/// As [`RAW_KEPT`], in field lines.
const ENTRIES_KEPT: usize = 256;
/// Names that `Connection` may list beside its own options.
const NOMINATIONS_MAX: usize = 32;

/// One field of a head or of trailers.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Field<'a> {
    /// Lower case, a token.
    pub name: &'a str,
    /// Without white space around it and without control characters but tab;
    /// may be empty, may have bytes above 127.
    pub value: &'a [u8],
    /// The well-known name, or [`Known::Other`].
    pub known: Known,
    /// Ends at this hop: hop-by-hop by definition, named by `Connection`, or an
    /// imitation of a well-known name with `_` for `-`.
    pub hop: bool,
}

/// A range of the buffer, which is far below 4 GiB (heads end at 16 MiB).
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "heads are bounded far below 4 GiB"
    )]
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    #[inline]
    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    #[inline]
    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    #[inline]
    pub(crate) fn of(self, raw: &[u8]) -> &[u8] {
        raw.get(self.bounds()).unwrap_or(&[])
    }

    #[inline]
    pub(crate) fn of_mut(self, raw: &mut [u8]) -> &mut [u8] {
        raw.get_mut(self.bounds()).unwrap_or(&mut [])
    }

    pub(crate) fn bounds(self) -> Range<usize> {
        self.start()..self.end()
    }

    /// The part between two lengths from its start.
    #[inline]
    pub(crate) fn range(self, from: usize, to: usize) -> Self {
        let end = self.first(to).end();
        Self::new(self.start().saturating_add(from).min(end), end)
    }

    /// The first `len` bytes of this range.
    #[inline]
    pub(crate) fn first(self, len: usize) -> Self {
        Self::new(
            self.start(),
            self.end().min(self.start().saturating_add(len)),
        )
    }
}

/// Where one field line stands.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: Span,
    pub(crate) value: Span,
    pub(crate) known: Known,
    pub(crate) hop: bool,
    /// The line reads `name: value CRLF` and can be copied as it is.
    canonical: bool,
}

/// The field lines of one message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    pub(crate) raw: Vec<u8>,
    pub(crate) entries: Vec<Entry>,
    present: KnownSet,
    /// Names of which there is more than one line.
    repeated: KnownSet,
}

/// How often a name is there.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Only<'a> {
    None,
    One(&'a [u8]),
    More,
}

/// What `Connection` says about the connection itself.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct ConnectionOptions {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

impl Fields {
    pub(crate) fn clear(&mut self) {
        self.raw.clear();
        self.entries.clear();
        self.present = KnownSet::EMPTY;
        self.repeated = KnownSet::EMPTY;
        if self.raw.capacity() > RAW_KEPT {
            self.raw.shrink_to(RAW_KEPT);
        }
        if self.entries.capacity() > ENTRIES_KEPT {
            self.entries.shrink_to(ENTRIES_KEPT);
        }
    }

    /// Reads one line, which ends in CRLF and has no other control character
    /// but tabs. More than `most` fields are refused.
    #[expect(clippy::inline_always, reason = "the loop over the lines of a head")]
    #[inline(always)]
    pub(crate) fn push_line(&mut self, line: &[u8], most: usize) -> Result<(), Malformed> {
        let start = self.raw.len();
        self.raw.extend_from_slice(line);
        let (known, name, hop) = match look(line) {
            Some(found) => {
                let copied = self.raw.get_mut(start..).unwrap_or_default();
                if let Some(front) = copied.first_chunk_mut() {
                    *front = found.lower;
                }
                (found.known, found.len, HOP.contains(found.known))
            }
            None => self.read_name(start)?,
        };
        if self.entries.len() >= most {
            return Err(Malformed::TooManyFields);
        }
        let (value, canonical) = match line.get(name + 1..) {
            Some([b' ', first, .., last, _, _]) if !is_space(*first) && !is_space(*last) => {
                (name + 2..line.len() - 2, true)
            }
            Some(_) | None => self.read_value(start, name),
        };
        self.note(known);
        self.entries.push(Entry {
            name: Span::new(start, start + name),
            value: Span::new(start + value.start, start + value.end),
            known,
            hop,
            canonical,
        });
        Ok(())
    }

    /// The name of the line at `start`: what it is, its length, and whether it
    /// ends at this hop.
    #[inline(never)]
    fn read_name(&mut self, start: usize) -> Result<(Known, usize, bool), Malformed> {
        let line = self.raw.get_mut(start..).unwrap_or_default();
        let (known, len) = lower_name(line)?;
        let name = line.get(..len).unwrap_or_default();
        Ok((known, len, HOP.contains(known) || imitates(known, name)))
    }

    /// The value of the line at `start`, and whether the line is written as we
    /// write it.
    #[inline(never)]
    fn read_value(&mut self, start: usize, name: usize) -> (Range<usize>, bool) {
        let line = self.raw.get_mut(start..).unwrap_or_default();
        let value = read_value(line, name + 1);
        let canonical = value.start == name + 2 && value.end + 2 == line.len();
        (value, canonical)
    }

    /// Appends one field in the form in which it is written. The name is a
    /// lower-case token and the value is trimmed field content.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.raw.len();
        self.raw.extend_from_slice(name);
        self.raw.extend_from_slice(b": ");
        let value_start = self.raw.len();
        self.raw.extend_from_slice(value);
        self.adopt(start, value_start);
    }

    /// Ends the line `name: value` that begins at `start` and makes it a field.
    pub(crate) fn adopt(&mut self, start: usize, value: usize) {
        let name = Span::new(start, value.saturating_sub(2));
        let known = Known::from_lower(name.of(&self.raw));
        let hop = HOP.contains(known) || imitates(known, name.of(&self.raw));
        let value = Span::new(value, self.raw.len());
        self.raw.extend_from_slice(b"\r\n");
        self.note(known);
        self.entries.push(Entry {
            name,
            value,
            known,
            hop,
            canonical: true,
        });
    }

    /// Takes every field of this name out.
    pub(crate) fn remove(&mut self, known: Known) {
        self.entries.retain(|entry| entry.known != known);
        self.present = KnownSet::EMPTY;
        self.repeated = KnownSet::EMPTY;
        for at in 0..self.entries.len() {
            if let Some(entry) = self.entries.get(at) {
                self.note(entry.known);
            }
        }
    }

    #[inline]
    fn note(&mut self, known: Known) {
        let this = KnownSet::EMPTY.with(known);
        self.repeated = self.repeated.union(self.present.common(this));
        self.present = self.present.union(this);
    }

    /// The value of a name that may have one line only: none, one, or more.
    #[inline]
    pub(crate) fn only(&self, known: Known) -> Only<'_> {
        match self.first(known) {
            None => Only::None,
            Some(_) if self.repeated.contains(known) => Only::More,
            Some(value) => Only::One(value),
        }
    }

    #[inline]
    pub(crate) fn present(&self) -> KnownSet {
        self.present
    }

    #[inline]
    pub(crate) fn has(&self, known: Known) -> bool {
        self.present.contains(known)
    }

    #[inline]
    pub(crate) fn entry(&self, known: Known) -> Option<&Entry> {
        if !self.has(known) {
            return None;
        }
        self.entries.iter().find(|entry| entry.known == known)
    }

    #[inline]
    pub(crate) fn first(&self, known: Known) -> Option<&[u8]> {
        self.entry(known).map(|entry| entry.value.of(&self.raw))
    }

    pub(crate) fn first_named(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|field| field.name == name)
            .map(|field| field.value)
    }

    pub(crate) fn count(&self, known: Known) -> usize {
        self.all(known).count()
    }

    pub(crate) fn all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        let entries = if self.has(known) {
            self.entries.as_slice()
        } else {
            &[]
        };
        entries
            .iter()
            .filter(move |entry| entry.known == known)
            .map(|entry| entry.value.of(&self.raw))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.entries.iter().map(|entry| Field {
            name: entry
                .known
                .listed()
                .unwrap_or_else(|| text(entry.name.of(&self.raw))),
            value: entry.value.of(&self.raw),
            known: entry.known,
            hop: entry.hop,
        })
    }

    /// Reads `Connection` and marks what it names as hop-by-hop.
    pub(crate) fn connection(&mut self) -> Result<ConnectionOptions, Malformed> {
        let mut options = ConnectionOptions::default();
        if !self.has(Known::Connection) {
            return Ok(options);
        }
        // The usual forms, without taking lists apart.
        match self.only(Known::Connection) {
            Only::One(b"keep-alive" | b"Keep-Alive") => {
                options.keep_alive = true;
                return Ok(options);
            }
            Only::One(b"close") => {
                options.close = true;
                return Ok(options);
            }
            Only::One(_) | Only::More | Only::None => {}
        }
        let Self { raw, entries, .. } = self;
        let mut named = 0;
        for at in 0..entries.len() {
            let Some(Entry {
                known: Known::Connection,
                value,
                ..
            }) = entries.get(at)
            else {
                continue;
            };
            let value = value.of(raw);
            for token in list(value) {
                if token.eq_ignore_ascii_case(b"close") {
                    options.close = true;
                } else if token.eq_ignore_ascii_case(b"keep-alive") {
                    options.keep_alive = true;
                } else if token.eq_ignore_ascii_case(b"upgrade") {
                    options.upgrade = true;
                } else {
                    named += 1;
                    nominate(token, raw, entries)?;
                }
                if named > NOMINATIONS_MAX {
                    return Err(Malformed::ConnectionOption);
                }
            }
        }
        Ok(options)
    }

    /// Appends the fields that go on: not hop-by-hop and not in `skip`.
    /// Neighbours in canonical form are copied in one piece.
    pub(crate) fn write(&self, skip: KnownSet, out: &mut Vec<u8>) {
        let mut run = Span::default();
        for entry in &self.entries {
            if entry.hop || skip.contains(entry.known) {
                continue;
            }
            if entry.canonical {
                if run.end != entry.name.start {
                    out.extend_from_slice(run.of(&self.raw));
                    run.start = entry.name.start;
                }
                run.end = entry.value.end.saturating_add(2);
            } else {
                out.extend_from_slice(run.of(&self.raw));
                run = Span::default();
                out.extend_from_slice(entry.name.of(&self.raw));
                out.extend_from_slice(b": ");
                out.extend_from_slice(entry.value.of(&self.raw));
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(run.of(&self.raw));
    }
}

/// Marks the fields of this name; Host and Content-Length may not be named.
fn nominate(token: &[u8], raw: &[u8], entries: &mut [Entry]) -> Result<(), Malformed> {
    let held = [b"host".as_slice(), b"content-length"];
    if !is_token(token) || held.iter().any(|name| token.eq_ignore_ascii_case(name)) {
        return Err(Malformed::ConnectionOption);
    }
    for entry in entries {
        if entry.name.of(raw).eq_ignore_ascii_case(token) {
            entry.hop = true;
        }
    }
    Ok(())
}

/// Whether a name becomes a well-known one where `-` and `_` are the same, as
/// for CGI and its heirs: such a field ends at the edge, or a client could
/// speak in the edge's name.
fn imitates(known: Known, name: &[u8]) -> bool {
    let mut dashed = [0_u8; KNOWN_LEN_MAX];
    let Some(copy) = dashed.get_mut(..name.len()) else {
        return false;
    };
    if known != Known::Other || !name.contains(&b'_') {
        return false;
    }
    for (to, from) in copy.iter_mut().zip(name) {
        *to = if *from == b'_' { b'-' } else { *from };
    }
    Known::from_lower(copy) != Known::Other
}

/// Longer than every well-known name.
const KNOWN_LEN_MAX: usize = 32;
