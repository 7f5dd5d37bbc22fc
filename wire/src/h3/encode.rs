//! Field sections out (RFC 9204 4.5): entries of the static table, and text
//! as it is. Not Huffman coded: an answer of eight fields costs 1,700
//! instructions and 107 bytes so, and 3,000 and 91 in that code.

use crate::h3::{prefix, table};
use crate::known::Known;

/// The prefix of a section without a dynamic table.
const PREFIX: [u8; 2] = [0, 0];
/// First index of `:status`.
const STATUS: usize = 24;

/// Appends the prefix.
pub(super) fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(&PREFIX);
}

/// Appends `:status`; 100 to 999.
pub(super) fn status(status: u16, out: &mut Vec<u8>) {
    if let Some(index) = table::status_index(status) {
        prefix::write(0xc0, 6, usize::from(index), out);
        return;
    }
    prefix::write(0x50, 4, STATUS, out);
    out.push(3);
    for unit in [100, 10, 1] {
        let digit = (status / unit % 10).to_le_bytes();
        let [digit, _] = digit;
        out.push(b'0' + digit);
    }
}

/// Appends a field. The name is a lower-case token.
#[inline]
pub(super) fn field(known: Known, name: &str, value: &[u8], out: &mut Vec<u8>) {
    if let Some(first) = table::name_index(known, name) {
        if let Some(index) = table::field_index(first, value) {
            prefix::write(0xc0, 6, usize::from(index), out);
            return;
        }
        prefix::write(0x50, 4, usize::from(first), out);
    } else {
        prefix::write(0x20, 3, name.len(), out);
        out.extend_from_slice(name.as_bytes());
    }
    prefix::write(0, 7, value.len(), out);
    out.extend_from_slice(value);
}
