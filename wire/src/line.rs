//! Parts of one field line, which ends in CRLF and has no other control
//! character but tabs.

use std::ops::Range;

use crate::bytes::{token_lower, trim};
use crate::known::Known;
use crate::malformed::Malformed;

/// Lower-cases the name at the front of a line; the name and its length.
#[inline(never)]
pub(crate) fn lower_name(line: &mut [u8]) -> Result<(Known, usize), Malformed> {
    let mut len = 0;
    for byte in line.iter_mut() {
        let low = token_lower(*byte);
        if low == 0 {
            break;
        }
        *byte = low;
        len += 1;
    }
    if len == 0 || line.get(len) != Some(&b':') {
        return Err(name_fault(line, len));
    }
    Ok((Known::from_lower(line.get(..len).unwrap_or(&[])), len))
}

/// What may stand around a value.
#[inline]
pub(crate) fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The value without white space around it. A tab in the place of the usual
/// space becomes one.
pub(crate) fn read_value(line: &mut [u8], from: usize) -> Range<usize> {
    let space = |byte: &u8| is_space(*byte);
    let mut value = from..line.len().saturating_sub(2);
    if let Some(lead) = line.get_mut(from).filter(|lead| space(lead)) {
        *lead = b' ';
        value.start += 1;
    }
    while value.start < value.end && line.get(value.start).is_some_and(space) {
        value.start += 1;
    }
    while value.start < value.end && line.get(value.end - 1).is_some_and(space) {
        value.end -= 1;
    }
    value
}

/// Which rule a line breaks whose name does not end in a colon at `at`.
#[cold]
fn name_fault(rest: &[u8], at: usize) -> Malformed {
    let after = rest.get(at..).unwrap_or(&[]);
    match after {
        [b' ' | b'\t', ..] if at == 0 => Malformed::ObsFold,
        [b' ' | b'\t', ..] => match trim(after) {
            [b':', ..] => Malformed::SpaceBeforeColon,
            line if line.contains(&b':') => Malformed::FieldName,
            _ => Malformed::MissingColon,
        },
        [b'\r', ..] | [] => Malformed::MissingColon,
        _ => Malformed::FieldName,
    }
}
