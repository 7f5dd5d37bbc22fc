//! Answers out: heads, data and trailers in frames.
//!
//! Promises: what is sent has exactly the length that was announced; nothing
//! is allocated beside `out`; what belongs to a hop ends here.

use crate::bytes::push_decimal;
use crate::fields::Field;
use crate::h1::{Connection, ResponsePlan, Trailers};
use crate::h3::{encode, frame, varint};
use crate::known::{Known, KnownSet};
use crate::malformed::Malformed;
use crate::response::ResponseHead;
use crate::rules::BodyFraming;

/// Written from the plan, never copied.
const OWN: KnownSet = KnownSet::of(&[Known::ContentLength, Known::TransferEncoding]);

/// Appends the head of an answer as one frame. `plan.to` has no meaning here;
/// of `plan.connection` only an upgrade has: the stream becomes a WebSocket,
/// which is told by 200 (RFC 9220).
pub fn write_response(head: &ResponseHead, plan: &ResponsePlan<'_>, out: &mut Vec<u8>) {
    section(out, |out| {
        let status = match plan.connection {
            Connection::Upgrade => 200,
            Connection::KeepAlive | Connection::Close => head.status(),
        };
        encode::status(status, out);
        let skip = plan.drop.union(OWN);
        head.fields()
            .filter(|field| !field.hop && !skip.contains(field.known))
            .for_each(|field| push(&field, out));
        for (name, value) in plan.append.iter() {
            encode::field(Known::from_lower(name.as_bytes()), name, value, out);
        }
        match plan.framing {
            BodyFraming::Length(length) => push_length(length, out),
            // HEAD and 304 keep the length that was stated; 1xx and 204 have
            // none (RFC 9110 8.6).
            BodyFraming::None if !matches!(head.status(), 100..=199 | 204) => {
                if let Some(value) = head.first(Known::ContentLength) {
                    let name = Known::ContentLength.as_str();
                    encode::field(Known::ContentLength, name, value, out);
                }
            }
            BodyFraming::None | BodyFraming::Chunked | BodyFraming::UntilClose => {}
        }
    });
}

/// Appends the head of an interim answer (100 to 199, never 101) as one frame.
pub fn write_interim(head: &ResponseHead, out: &mut Vec<u8>) {
    section(out, |out| {
        encode::status(head.status(), out);
        head.fields()
            .filter(|field| !field.hop && !OWN.contains(field.known))
            .for_each(|field| push(&field, out));
    });
}

fn push(field: &Field<'_>, out: &mut Vec<u8>) {
    encode::field(field.known, field.name, field.value, out);
}

fn push_length(length: u64, out: &mut Vec<u8>) {
    // At most 20 digits, so one byte says how many.
    let name = Known::ContentLength.as_str();
    encode::field(Known::ContentLength, name, b"", out);
    out.pop();
    let place = out.len();
    out.push(0);
    push_decimal(length, out);
    let digits = out.len() - place - 1;
    if let Some(len) = out.get_mut(place) {
        *len = u8::try_from(digits).unwrap_or(0);
    }
}

/// Appends a HEADERS frame around what `fields` writes.
fn section(out: &mut Vec<u8>, fields: impl FnOnce(&mut Vec<u8>)) {
    varint::write(frame::HEADERS, out);
    let place = out.len();
    // Nearly always right: 64 to 16,383 bytes.
    varint::write(64, out);
    encode::begin(out);
    fields(out);
    let room = out.len() - place - 2;
    let length = u64::try_from(room).unwrap_or(varint::MAX);
    if let ..=0x3fff = length {
        let [.., high, low] = length.to_be_bytes();
        if let Some(two) = out.get_mut(place..place + 2) {
            two.copy_from_slice(&[0x40 | high, low]);
        }
        return;
    }
    let mut prefix = Vec::with_capacity(4);
    varint::write(length, &mut prefix);
    out.splice(place..place + 2, prefix);
}

/// Frames the body of one answer.
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

    /// Appends data as one frame; no data appends nothing.
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
        Ok(())
    }

    /// Appends what stands before `len` bytes of data that the caller writes
    /// from where they are. `len` is not zero.
    ///
    /// # Errors
    /// As [`BodyEncoder::data`].
    pub fn begin_data(&mut self, len: usize, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let len = len as u64;
        if self.ended {
            return Err(Malformed::BodyTooLong);
        }
        self.framing.count(len)?;
        varint::write(frame::DATA, out);
        varint::write(len, out);
        Ok(())
    }

    /// Appends the trailers that go on, if any; the caller then ends the
    /// stream.
    ///
    /// # Errors
    /// [`Malformed::BodyTooShort`] when less came than was announced: the
    /// stream is to be reset.
    pub fn finish(
        &mut self,
        trailers: Option<&Trailers>,
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        if self.ended {
            return Ok(());
        }
        self.framing.check_end()?;
        if let Some(trailers) = trailers
            && trailers.forwarded().next().is_some()
        {
            section(out, |out| {
                trailers.forwarded().for_each(|field| push(&field, out));
            });
        }
        self.ended = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
