//! Encodes bodies.
//!
//! Promises: what is written has exactly the length that was announced, or
//! ends as chunks; a body that breaks off never looks complete.

use crate::bytes::push_hex;
use crate::h1::trailers::Trailers;
use crate::malformed::Malformed;
use crate::rules::BodyFraming;

/// Encodes one body.
#[derive(Clone, Debug)]
pub struct BodyEncoder {
    framing: BodyFraming,
    ended: bool,
}

impl BodyEncoder {
    /// At the start of a body; [`BodyFraming::Length`] counts down.
    pub fn new(framing: BodyFraming) -> Self {
        Self {
            framing,
            ended: false,
        }
    }

    /// Whether an announced end is still to be written.
    pub fn is_owed(&self) -> bool {
        match self.framing {
            BodyFraming::Length(left) => left > 0,
            BodyFraming::Chunked => !self.ended,
            BodyFraming::None | BodyFraming::UntilClose => false,
        }
    }

    /// Appends framed data; no data appends nothing.
    ///
    /// # Errors
    /// [`Malformed::BodyTooLong`] when that is more than was announced, or
    /// after the end; nothing is appended.
    pub fn data(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        if data.is_empty() {
            return Ok(());
        }
        self.begin_data(data.len(), out)?;
        out.extend_from_slice(data);
        self.end_data(out);
        Ok(())
    }

    /// Appends what stands before `len` bytes of data that the caller writes
    /// from where they are. `len` is not zero.
    ///
    /// # Errors
    /// As [`BodyEncoder::data`].
    pub fn begin_data(&mut self, len: usize, out: &mut Vec<u8>) -> Result<(), Malformed> {
        if self.ended {
            return Err(Malformed::BodyTooLong);
        }
        self.framing.count(len as u64)?;
        if self.framing == BodyFraming::Chunked {
            push_hex(len as u64, out);
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    /// Appends what stands after the data of [`BodyEncoder::begin_data`].
    pub fn end_data(&self, out: &mut Vec<u8>) {
        if self.framing == BodyFraming::Chunked {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Appends the end. Trailers go out in chunks only; otherwise they end here.
    ///
    /// # Errors
    /// [`Malformed::BodyTooShort`] when less came than was announced: the
    /// connection is to be closed.
    pub fn finish(
        &mut self,
        trailers: Option<&Trailers>,
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        if self.ended {
            return Ok(());
        }
        self.framing.check_end()?;
        if self.framing == BodyFraming::Chunked {
            out.extend_from_slice(b"0\r\n");
            if let Some(trailers) = trailers {
                trailers.write(out);
            }
            out.extend_from_slice(b"\r\n");
        }
        self.ended = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
