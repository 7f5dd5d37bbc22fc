//! Decodes bodies in place.
//!
//! Promises: looks at no byte twice, keeps no data, says the same however the
//! bytes were cut. Refuses every chunk that two readers could measure
//! differently.

use crate::bytes::hex_value;
use crate::h1::extension::{Extension, Read};
use crate::h1::trailers::Trailers;
use crate::malformed::Malformed;
use crate::rules::BodyFraming;

/// Digits of a chunk size.
const SIZE_DIGITS: u8 = 16;
/// Signed 64-bit readers are common: no chunk is larger.
const SIZE_MAX: u64 = i64::MAX as u64;

/// What the front of the unread bytes is.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Drop `skip` bytes of framing, then `len` bytes are data; call again
    /// after them.
    Data {
        /// Bytes of framing.
        skip: usize,
        /// Bytes of data, never zero.
        len: usize,
    },
    /// Drop `skip` bytes; more input is needed.
    NeedMore {
        /// Bytes of framing.
        skip: usize,
    },
    /// Drop `skip` bytes; the body has ended and what follows belongs to the
    /// next message.
    Done {
        /// Bytes of framing.
        skip: usize,
    },
}

/// Where in the body the decoder is.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Place {
    /// So many bytes of data are left in the body.
    Length(u64),
    UntilClose,
    /// Digits of a chunk size.
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
    },
    /// After the CR of a size line.
    SizeLf {
        size: u64,
    },
    /// So many bytes of data are left in the chunk.
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    /// At the start of a trailer line, or of the last line.
    TrailerStart,
    /// After a CR at the start of a line.
    LastLf,
    /// In a trailer line.
    Trailer,
    Done,
}

/// Decodes one body in place. Call [`BodyDecoder::step`] with the unread bytes
/// until it says [`Step::NeedMore`] or [`Step::Done`].
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    place: Place,
    extension: Extension,
    /// The trailer line that is being read, at most 8 KiB.
    line: Vec<u8>,
    trailers: Option<Box<Trailers>>,
}

impl BodyDecoder {
    /// At the start of a body.
    pub fn new(framing: BodyFraming) -> Self {
        let place = match framing {
            BodyFraming::None | BodyFraming::Length(0) => Place::Done,
            BodyFraming::Length(length) => Place::Length(length),
            BodyFraming::Chunked => Place::Size { size: 0, digits: 0 },
            BodyFraming::UntilClose => Place::UntilClose,
        };
        Self {
            place,
            extension: Extension::new(),
            line: Vec::new(),
            trailers: None,
        }
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.place == Place::Done
    }

    /// The trailer fields, after the end and when there were any.
    pub fn trailers(&self) -> Option<&Trailers> {
        self.trailers.as_deref().filter(|_| self.is_done())
    }

    /// The peer closed.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] unless the body had ended or ends so.
    pub fn end_of_input(&mut self) -> Result<(), Malformed> {
        match self.place {
            Place::Done | Place::UntilClose => {
                self.place = Place::Done;
                Ok(())
            }
            Place::Length(_)
            | Place::Size { .. }
            | Place::Extension { .. }
            | Place::SizeLf { .. }
            | Place::Chunk(_)
            | Place::ChunkCr
            | Place::ChunkLf
            | Place::TrailerStart
            | Place::LastLf
            | Place::Trailer => Err(Malformed::Truncated),
        }
    }

    /// Reads the front of the unread bytes.
    ///
    /// # Errors
    /// The first rule that the framing breaks; the connection is to be closed.
    pub fn step(&mut self, buf: &[u8]) -> Result<Step, Malformed> {
        let mut skip = 0;
        loop {
            let rest = buf.get(skip..).unwrap_or(&[]);
            match self.place {
                Place::Done => return Ok(Step::Done { skip }),
                Place::UntilClose => return Ok(data(skip, rest.len())),
                Place::Length(left) => {
                    let len = at_most(left, rest.len());
                    self.place = match left - len as u64 {
                        0 => Place::Done,
                        left => Place::Length(left),
                    };
                    return Ok(data(skip, len));
                }
                Place::Chunk(left) => {
                    let len = at_most(left, rest.len());
                    self.place = match left - len as u64 {
                        0 => Place::ChunkCr,
                        left => Place::Chunk(left),
                    };
                    return Ok(data(skip, len));
                }
                Place::Size { .. }
                | Place::Extension { .. }
                | Place::SizeLf { .. }
                | Place::ChunkCr
                | Place::ChunkLf
                | Place::TrailerStart
                | Place::LastLf
                | Place::Trailer => {}
            }
            let Some(&byte) = rest.first() else {
                return Ok(Step::NeedMore { skip });
            };
            self.place = self.read_framing(byte)?;
            skip += 1;
        }
    }

    /// Reads one byte of framing.
    fn read_framing(&mut self, byte: u8) -> Result<Place, Malformed> {
        Ok(match self.place {
            Place::Size { size, digits } => self.read_size(size, digits, byte)?,
            Place::Extension { size } => match self.extension.read(byte)? {
                Read::More => Place::Extension { size },
                Read::Ended => Place::SizeLf { size },
            },
            Place::SizeLf { size } => match (byte, size) {
                (b'\n', 0) => Place::TrailerStart,
                (b'\n', size) => Place::Chunk(size),
                (_, _) => return Err(Malformed::BareCr),
            },
            Place::ChunkCr if byte == b'\r' => Place::ChunkLf,
            Place::ChunkLf if byte == b'\n' => Place::Size { size: 0, digits: 0 },
            Place::ChunkCr | Place::ChunkLf => return Err(Malformed::ChunkEnd),
            Place::TrailerStart if byte == b'\r' => Place::LastLf,
            Place::LastLf if byte == b'\n' => Place::Done,
            Place::LastLf => return Err(Malformed::BareCr),
            Place::TrailerStart | Place::Trailer => self.read_trailer(byte)?,
            place @ (Place::Length(_) | Place::UntilClose | Place::Chunk(_) | Place::Done) => place,
        })
    }

    fn read_size(&mut self, size: u64, digits: u8, byte: u8) -> Result<Place, Malformed> {
        if let Some(value) = hex_value(byte) {
            let size = size << 4 | u64::from(value);
            if digits == SIZE_DIGITS || size > SIZE_MAX {
                return Err(Malformed::ChunkSize);
            }
            return Ok(Place::Size {
                size,
                digits: digits + 1,
            });
        }
        match byte {
            b'\n' => Err(Malformed::BareLf),
            b'\r' if digits > 0 => Ok(Place::SizeLf { size }),
            b';' if digits > 0 => {
                self.extension.begin();
                Ok(Place::Extension { size })
            }
            _ => Err(Malformed::ChunkSize),
        }
    }

    /// One byte of a trailer line; the line is read when it is complete.
    fn read_trailer(&mut self, byte: u8) -> Result<Place, Malformed> {
        let trailers = self.trailers.get_or_insert_default();
        if trailers.is_full(self.line.len()) {
            return Err(Malformed::TrailersTooLarge);
        }
        if byte == b'\n' && self.line.last() != Some(&b'\r') {
            return Err(Malformed::BareLf);
        }
        self.line.push(byte);
        if byte != b'\n' {
            return Ok(Place::Trailer);
        }
        trailers.push_line(&self.line)?;
        self.line.clear();
        Ok(Place::TrailerStart)
    }
}

fn at_most(left: u64, have: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(have)
}

/// Data if there is any, otherwise the wish for more.
fn data(skip: usize, len: usize) -> Step {
    if len == 0 {
        Step::NeedMore { skip }
    } else {
        Step::Data { skip, len }
    }
}

#[cfg(test)]
mod tests;
