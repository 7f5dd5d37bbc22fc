//! Chunk extensions (RFC 9112 7.1.1): read, bounded, dropped.
//!
//! Refuses white space outside of quoted strings, empty names and values, and
//! control characters.

use crate::bytes::token_lower;
use crate::malformed::Malformed;

/// Extension bytes of one chunk.
const CHUNK_MAX: u32 = 256;
/// Extension bytes of one body: a body is not a carrier of extensions.
const BODY_MAX: u32 = 16_384;

/// Where in an extension the reader is.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Place {
    /// After `;`: a name must begin.
    NameStart,
    Name,
    /// After `=`: a value must begin.
    ValueStart,
    Value,
    Quoted,
    /// After a backslash.
    Escaped,
    /// After a closing quote.
    Closed,
}

/// Reads the extensions of a body's chunks.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Extension {
    place: Place,
    chunk: u32,
    body: u32,
}

/// Whether the extension goes on.
pub(crate) enum Read {
    More,
    /// The byte was the CR that ends the line.
    Ended,
}

impl Extension {
    pub(crate) const fn new() -> Self {
        Self {
            place: Place::NameStart,
            chunk: 0,
            body: 0,
        }
    }

    /// A `;` after a chunk size was read.
    pub(crate) fn begin(&mut self) {
        self.place = Place::NameStart;
        self.chunk = 0;
    }

    /// Reads one byte.
    pub(crate) fn read(&mut self, byte: u8) -> Result<Read, Malformed> {
        self.chunk += 1;
        self.body += 1;
        if self.chunk > CHUNK_MAX || self.body > BODY_MAX {
            return Err(Malformed::ChunkExtensionTooLong);
        }
        self.place = match (self.place, byte) {
            (Place::Name | Place::Value | Place::Closed, b'\r') => return Ok(Read::Ended),
            (_, b'\n') => return Err(Malformed::BareLf),
            (Place::Name | Place::Value | Place::Closed, b';') => Place::NameStart,
            (Place::Name, b'=') => Place::ValueStart,
            (Place::ValueStart, b'"') => Place::Quoted,
            (Place::NameStart | Place::Name, byte) if token_lower(byte) != 0 => Place::Name,
            (Place::ValueStart | Place::Value, byte) if token_lower(byte) != 0 => Place::Value,
            (Place::Quoted, b'"') => Place::Closed,
            (Place::Quoted, b'\\') => Place::Escaped,
            (Place::Quoted | Place::Escaped, b'\t' | 0x20..=0x7e | 0x80..) => Place::Quoted,
            (
                Place::NameStart
                | Place::Name
                | Place::ValueStart
                | Place::Value
                | Place::Quoted
                | Place::Escaped
                | Place::Closed,
                _,
            ) => return Err(Malformed::ChunkExtension),
        };
        Ok(Read::More)
    }
}
