//! The peer's QPACK streams (RFC 9204 4.3 and 4.4), where there is no dynamic
//! table: an encoder may say that it has none, a decoder may give a stream up.

use crate::h3::code::{Code, Fault};

/// "Set Dynamic Table Capacity" to zero.
const NO_CAPACITY: u8 = 0x20;
/// Longest continuation of a stream's id.
const CONTINUATION_MAX: u8 = 9;

/// Reads instructions of an encoder; how many there were.
pub(super) fn encoder(input: &[u8]) -> Result<u64, Fault> {
    if input.iter().any(|&byte| byte != NO_CAPACITY) {
        return Err(Fault::Connection(Code::QpackEncoderStreamError));
    }
    Ok(input.len() as u64)
}

/// Reads instructions of a decoder, which may come in pieces.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct DecoderReader {
    /// Bytes of a continuation that came; 0: at the start of an instruction.
    within: u8,
}

impl DecoderReader {
    /// How many instructions ended.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<u64, Fault> {
        let mut count = 0;
        for &byte in input {
            let more = match self.within {
                // Nothing was sent that could be acknowledged.
                0 if byte & 0xc0 != 0x40 => {
                    return Err(Fault::Connection(Code::QpackDecoderStreamError));
                }
                0 => byte & 0x3f == 0x3f,
                CONTINUATION_MAX.. if byte & 0x80 != 0 => {
                    return Err(Fault::Connection(Code::QpackDecoderStreamError));
                }
                _ => byte & 0x80 != 0,
            };
            if more {
                self.within += 1;
            } else {
                self.within = 0;
                count += 1;
            }
        }
        Ok(count)
    }
}
