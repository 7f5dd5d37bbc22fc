//! Field sections in (RFC 9204 4.5), without a dynamic table.
//!
//! Promises: linear time; what a section says is bounded by its size as RFC
//! 9114 4.2.2 counts it, before it is handed on.

use std::str::from_utf8;

use crate::builder::RequestBuilder;
use crate::h1::Trailers;
use crate::h3::code::{Code, Fault};
use crate::h3::{huffman, prefix, table};
use crate::malformed::Malformed;

/// What a field costs beside its name and value (RFC 9114 4.2.2).
const FIELD_COST: usize = 32;
/// A buffer above this does not stay, in bytes.
const KEPT: usize = 4_096;
const BROKEN: Fault = Fault::Connection(Code::QpackDecompressionFailed);

/// Room for one field while it is decoded. One serves all streams of a
/// connection or a thread; it keeps at most 8 KiB.
#[derive(Debug, Default)]
pub struct Scratch {
    name: Vec<u8>,
    value: Vec<u8>,
}

/// Who takes the fields of a section.
pub(super) trait Sink {
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed>;
}

impl Sink for RequestBuilder<'_> {
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        let text = |rule| from_utf8(value).map_err(|_| rule);
        match name {
            b":method" => self.method(text(Malformed::MethodName)?)?,
            b":scheme" => self.scheme(text(Malformed::SchemeUnsupported)?)?,
            b":authority" => self.authority(text(Malformed::HostSyntax)?)?,
            b":path" => self.path(text(Malformed::TargetCharacter)?)?,
            b":protocol" => self.protocol(text(Malformed::ProtocolUnsupported)?)?,
            name => self.field(name, value)?,
        };
        Ok(())
    }
}

impl Sink for Trailers {
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        self.push(name, value)
    }
}

/// Reads a whole section. Its size may be `most` bytes.
///
/// # Errors
/// [`Malformed::HeadTooLarge`] past `most`, the sink's rules, or a connection
/// error for what can't be decoded.
pub(super) fn section(
    mut input: &[u8],
    most: usize,
    scratch: &mut Scratch,
    sink: &mut impl Sink,
) -> Result<(), Fault> {
    read_prefix(&mut input)?;
    let mut left = most;
    while let Some(&first) = input.first() {
        let (name, value) = line(first, &mut input, scratch)?;
        left = left
            .checked_sub(name.len() + value.len() + FIELD_COST)
            .ok_or(Malformed::HeadTooLarge)?;
        sink.take(name, value)?;
        scratch.release();
    }
    Ok(())
}

/// Required Insert Count must be zero; with a sign the base would be below it.
fn read_prefix(input: &mut &[u8]) -> Result<(), Fault> {
    let Some((&0, mut rest)) = input.split_first() else {
        return Err(BROKEN);
    };
    if rest.first().is_none_or(|base| base & 0x80 != 0) {
        return Err(BROKEN);
    }
    prefix::read(&mut rest, 7).ok_or(BROKEN)?;
    *input = rest;
    Ok(())
}

type Line<'a> = (&'a [u8], &'a [u8]);

/// One field line. References to the dynamic table have no meaning here.
#[inline]
fn line<'a: 'b, 'b>(
    first: u8,
    input: &mut &'a [u8],
    scratch: &'b mut Scratch,
) -> Result<Line<'b>, Fault> {
    let Scratch { name, value } = scratch;
    if first & 0xc0 == 0xc0 {
        let (name, value) = indexed(input, 6)?;
        return Ok((name.as_bytes(), value.as_bytes()));
    }
    if first & 0xd0 == 0x50 {
        let (name, _) = indexed(input, 4)?;
        return Ok((name.as_bytes(), string(input, 7, value)?));
    }
    if first & 0xe0 == 0x20 {
        let name = string(input, 3, name)?;
        return Ok((name, string(input, 7, value)?));
    }
    Err(BROKEN)
}

#[inline]
fn indexed(input: &mut &[u8], bits: u32) -> Result<(&'static str, &'static str), Fault> {
    prefix::read(input, bits)
        .and_then(table::entry)
        .ok_or(BROKEN)
}

/// A string; the bit above its length says whether it is coded.
#[inline]
fn string<'a: 'b, 'b>(
    input: &mut &'a [u8],
    bits: u32,
    room: &'b mut Vec<u8>,
) -> Result<&'b [u8], Fault> {
    let coded = input
        .first()
        .is_some_and(|first| first & (1_u8 << bits) != 0);
    let len = prefix::read(input, bits).ok_or(BROKEN)?;
    let len = usize::try_from(len).map_err(|_| BROKEN)?;
    let (text, rest) = input.split_at_checked(len).ok_or(BROKEN)?;
    *input = rest;
    if !coded {
        return Ok(text);
    }
    room.clear();
    if !huffman::decode(text, room) {
        return Err(BROKEN);
    }
    Ok(room)
}

impl Scratch {
    #[inline]
    fn release(&mut self) {
        if self.name.capacity() > KEPT || self.value.capacity() > KEPT {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests;
