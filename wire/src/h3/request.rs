//! A client's request stream (RFC 9114 4.1).
//!
//! Promises: the same however the bytes are cut; data is never copied; only a
//! field section that is cut is kept, as much of it as came and never more
//! than its bound; the message is whole only when [`RequestReader::finish`]
//! says so.
//!
//! Refuses: sections longer than their bound before they come; frames out of
//! order; data that differs from the length that was announced; unknown and
//! empty frames without end.

use crate::builder::{EndStream, RequestBuilder};
use crate::h1::Trailers;
use crate::h3::code::{Code, Fault};
use crate::h3::decode::{Scratch, section};
use crate::h3::frame;
use crate::h3::varint::VarintReader;
use crate::limits::HeadLimits;
use crate::malformed::Malformed;
use crate::request::RequestHead;
use crate::rules::{BodyFraming, Upgrade};
use crate::version::Version;

/// Bytes of a section of trailers.
const TRAILERS_MAX: usize = 8_192;
/// Frames without use between two bytes of data.
const IDLE_FRAMES_MAX: u16 = 256;
/// Bytes of unknown frames between two bytes of data.
const IDLE_BYTES_MAX: u64 = 65_536;

const UNEXPECTED: Fault = Fault::Connection(Code::FrameUnexpected);

/// What the front of the unread bytes is.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Drop `skip` bytes: the head is complete. Call again with what follows.
    Head {
        /// Bytes of frames.
        skip: usize,
    },
    /// Drop `skip` bytes of frames, then `len` bytes are data; call again
    /// after them.
    Data {
        /// Bytes of frames.
        skip: usize,
        /// Bytes of data, never zero.
        len: usize,
    },
    /// Drop `skip` bytes, which is all: more input or the end is needed.
    NeedMore {
        /// Bytes of frames.
        skip: usize,
    },
}

/// Which part of the message comes next.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Stage {
    Head,
    Body,
    /// After the trailers nothing but unknown frames may come.
    Trailers,
    Done,
}

/// Where in a frame the reader is.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Place {
    Type,
    Length { kind: u64 },
    Data { left: u64 },
    Section { left: usize },
    Unknown { left: u64 },
}

/// Reads one request stream. Call [`RequestReader::step`] with the unread
/// bytes until it says [`Step::NeedMore`]. After an error it is not to be used.
#[derive(Debug)]
pub struct RequestReader {
    limits: HeadLimits,
    stage: Stage,
    place: Place,
    varint: VarintReader,
    /// The part of a cut section that came.
    kept: Vec<u8>,
    /// Data that is to come; `None`: nobody said.
    expected: Option<u64>,
    /// An extended CONNECT: what comes is no message.
    tunnel: Tunnel,
    idle_frames: u16,
    idle_bytes: u64,
    trailers: Option<Box<Trailers>>,
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Tunnel {
    No,
    Yes,
}

impl RequestReader {
    /// At the start of a stream; nothing is allocated.
    pub fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            stage: Stage::Head,
            place: Place::Type,
            varint: VarintReader::default(),
            kept: Vec::new(),
            expected: None,
            tunnel: Tunnel::No,
            idle_frames: 0,
            idle_bytes: 0,
            trailers: None,
        }
    }

    /// Whether the head is complete.
    pub fn has_head(&self) -> bool {
        self.stage != Stage::Head
    }

    /// Whether the message was whole at the end of the stream.
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// The trailer fields, after the end and when there were any.
    pub fn trailers(&self) -> Option<&Trailers> {
        self.trailers.as_deref().filter(|_| self.is_done())
    }

    /// Reads the front of the unread bytes. `head` is written before
    /// [`Step::Head`] and not touched after it.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn step(
        &mut self,
        input: &[u8],
        head: &mut RequestHead,
        scratch: &mut Scratch,
    ) -> Result<Step, Fault> {
        let mut rest = input;
        loop {
            match self.place {
                Place::Type => match self.varint.read(&mut rest) {
                    Some(kind) => self.place = Place::Length { kind },
                    None => break,
                },
                Place::Length { kind } => match self.varint.read(&mut rest) {
                    Some(length) => self.place = self.begin(kind, length)?,
                    None => break,
                },
                Place::Data { left: 0 } | Place::Unknown { left: 0 } => self.place = Place::Type,
                Place::Data { left } => {
                    let len = shorter(left, rest);
                    if len == 0 {
                        break;
                    }
                    self.place = Place::Data {
                        left: left - len as u64,
                    };
                    return Ok(Step::Data {
                        skip: input.len() - rest.len(),
                        len,
                    });
                }
                Place::Unknown { left } => {
                    let len = shorter(left, rest);
                    if len == 0 {
                        break;
                    }
                    rest = rest.get(len..).unwrap_or(&[]);
                    self.place = Place::Unknown {
                        left: left - len as u64,
                    };
                }
                Place::Section { left } => {
                    let Some(part) = rest.get(..left) else {
                        self.kept.extend_from_slice(rest);
                        self.place = Place::Section {
                            left: left - rest.len(),
                        };
                        break;
                    };
                    rest = rest.get(left..).unwrap_or(&[]);
                    self.place = Place::Type;
                    if self.end_section(part, head, scratch)? == Stage::Body {
                        return Ok(Step::Head {
                            skip: input.len() - rest.len(),
                        });
                    }
                }
            }
        }
        Ok(Step::NeedMore { skip: input.len() })
    }

    /// The end of the stream, as [`RequestReader::finish`], when nobody has
    /// acted on the head yet: a request without data has no body, and its
    /// head says so.
    ///
    /// # Errors
    /// As [`RequestReader::finish`].
    pub fn finish_head(&mut self, head: &mut RequestHead) -> Result<(), Fault> {
        self.finish()?;
        head.no_body_came();
        Ok(())
    }

    /// The end of the stream. After it the message is whole.
    ///
    /// # Errors
    /// [`Code::FrameError`] within a frame, [`Code::RequestIncomplete`]
    /// without a head, [`Malformed::BodyTooShort`] when data is missing.
    pub fn finish(&mut self) -> Result<(), Fault> {
        let whole = match self.place {
            Place::Type => self.varint.is_empty(),
            Place::Data { left } | Place::Unknown { left } => left == 0,
            Place::Length { .. } | Place::Section { .. } => false,
        };
        if !whole {
            return Err(Fault::Connection(Code::FrameError));
        }
        if self.stage == Stage::Head {
            return Err(Fault::Stream(Code::RequestIncomplete));
        }
        if self.expected.is_some_and(|left| left > 0) {
            return Err(Malformed::BodyTooShort.into());
        }
        self.stage = Stage::Done;
        Ok(())
    }

    /// A frame begins: whether it may stand here and be so long.
    fn begin(&mut self, kind: u64, length: u64) -> Result<Place, Fault> {
        match (kind, self.stage) {
            (frame::HEADERS, Stage::Head) => {
                let length =
                    bounded(length, self.limits.head_bytes()).ok_or(Malformed::HeadTooLarge)?;
                Ok(Place::Section { left: length })
            }
            (frame::HEADERS, Stage::Body) if self.tunnel == Tunnel::No => {
                let length = bounded(length, TRAILERS_MAX).ok_or(Malformed::TrailersTooLarge)?;
                Ok(Place::Section { left: length })
            }
            (frame::DATA, Stage::Body) => self.begin_data(length),
            (
                frame::DATA
                | frame::HEADERS
                | frame::CANCEL_PUSH
                | frame::SETTINGS
                | frame::PUSH_PROMISE
                | frame::GOAWAY
                | frame::MAX_PUSH_ID,
                _,
            ) => Err(UNEXPECTED),
            (kind, _) if frame::is_reserved(kind) => Err(UNEXPECTED),
            _ => {
                self.idle(length)?;
                Ok(Place::Unknown { left: length })
            }
        }
    }

    fn begin_data(&mut self, length: u64) -> Result<Place, Fault> {
        if length == 0 {
            self.idle(0)?;
        } else {
            self.idle_frames = 0;
            self.idle_bytes = 0;
        }
        if let Some(expected) = &mut self.expected {
            *expected = expected.checked_sub(length).ok_or(Malformed::BodyTooLong)?;
        }
        Ok(Place::Data { left: length })
    }

    /// A frame without use, with so many bytes.
    fn idle(&mut self, length: u64) -> Result<(), Fault> {
        self.idle_frames += 1;
        self.idle_bytes = self.idle_bytes.saturating_add(length);
        if self.idle_frames > IDLE_FRAMES_MAX || self.idle_bytes > IDLE_BYTES_MAX {
            return Err(Fault::Stream(Code::ExcessiveLoad));
        }
        Ok(())
    }

    /// The last part of a section: what it was is read.
    fn end_section(
        &mut self,
        part: &[u8],
        head: &mut RequestHead,
        scratch: &mut Scratch,
    ) -> Result<Stage, Fault> {
        let mut kept = std::mem::take(&mut self.kept);
        let bytes = if kept.is_empty() {
            part
        } else {
            kept.extend_from_slice(part);
            &kept
        };
        match self.stage {
            Stage::Head => {
                self.read_head(bytes, head, scratch)?;
                self.stage = Stage::Body;
            }
            Stage::Body | Stage::Trailers | Stage::Done => {
                let mut trailers = Box::<Trailers>::default();
                section(bytes, TRAILERS_MAX, scratch, trailers.as_mut()).map_err(of_trailers)?;
                self.trailers = Some(trailers);
                self.stage = Stage::Trailers;
            }
        }
        Ok(self.stage)
    }

    fn read_head(
        &mut self,
        bytes: &[u8],
        head: &mut RequestHead,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        let mut builder = RequestBuilder::new(head, Version::Http3, self.limits);
        section(bytes, self.limits.head_bytes(), scratch, &mut builder)?;
        builder.finish(EndStream::No)?;
        self.expected = match head.framing() {
            BodyFraming::Length(length) => Some(length),
            BodyFraming::None | BodyFraming::Chunked | BodyFraming::UntilClose => None,
        };
        self.tunnel = match head.upgrade() {
            Upgrade::WebSocket => Tunnel::Yes,
            Upgrade::None => Tunnel::No,
        };
        Ok(())
    }
}

/// The shorter of a number and the bytes there are.
#[inline]
fn shorter(left: u64, rest: &[u8]) -> usize {
    usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()))
}

/// What is too large is so for trailers.
fn of_trailers(fault: Fault) -> Fault {
    if fault == Fault::Message(Malformed::HeadTooLarge) {
        return Malformed::TrailersTooLarge.into();
    }
    fault
}

fn bounded(length: u64, most: usize) -> Option<usize> {
    usize::try_from(length)
        .ok()
        .filter(|&length| length <= most)
}

#[cfg(test)]
mod tests;
