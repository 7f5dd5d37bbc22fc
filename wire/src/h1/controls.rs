//! Finds control characters.
//!
//! Promises: every one but tab, in order; 16 bytes a step.

use std::array;

use wide::u8x16;

/// Bytes of one look: one bit each.
const BLOCK: usize = 64;
const STEP: usize = 16;

/// The control characters of a text, tab excepted, delete included.
#[derive(Clone, Debug)]
pub(crate) struct Controls<'a> {
    text: &'a [u8],
    /// Where the block that `found` speaks of begins.
    base: usize,
    /// Where the next block begins.
    ahead: usize,
    /// A bit for each control character of the block that was not given out.
    found: u64,
}

impl<'a> Controls<'a> {
    /// Those at `from` and after.
    #[inline]
    pub(crate) fn new(text: &'a [u8], from: usize) -> Self {
        Self {
            text,
            base: from,
            ahead: from,
            found: 0,
        }
    }

    /// Passes the next one over: it was seen in the text.
    #[inline]
    pub(crate) fn skip(&mut self) {
        if self.found == 0 {
            self.next();
        } else {
            self.found &= self.found - 1;
        }
    }

    /// The place of the next one.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            let rest = self
                .text
                .get(self.ahead..)
                .filter(|rest| !rest.is_empty())?;
            self.base = self.ahead;
            self.ahead += rest.len().min(BLOCK);
            self.found = rest.first_chunk().map_or_else(|| look_at_tail(rest), look);
        }
        let at = self.base + self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        Some(at)
    }
}

/// A bit for each control character.
#[inline]
fn look(block: &[u8; BLOCK]) -> u64 {
    let (steps, _) = block.as_chunks::<STEP>();
    steps
        .iter()
        .rev()
        .fold(0, |found, step| found << STEP | controls(step))
}

fn look_at_tail(rest: &[u8]) -> u64 {
    let mut block: [u8; BLOCK] = array::from_fn(|_| b' ');
    if let Some(front) = block.get_mut(..rest.len()) {
        front.copy_from_slice(rest);
    }
    look(&block)
}

/// A bit for each control character of 16 bytes.
#[inline]
fn controls(step: &[u8; STEP]) -> u64 {
    let text = u8x16::new(*step);
    let below = text.min(u8x16::splat(0x1f)).simd_eq(text);
    let tab = text.simd_eq(u8x16::splat(b'\t'));
    let delete = text.simd_eq(u8x16::splat(0x7f));
    u64::from(((below & !tab) | delete).to_bitmask())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_character_is_found_at_every_place_and_nothing_else_is() {
        for byte in 0..=255 {
            let expected = (byte < 0x20 && byte != b'\t') || byte == 0x7f;
            for at in 0..STEP {
                let mut step = [b'a'; STEP];
                step[at] = byte;
                assert_eq!(controls(&step), u64::from(expected) << at, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn places_are_given_in_order_from_any_start_and_for_any_length() {
        let text: Vec<u8> = (0..300)
            .map(|at| {
                if at % 7 == 3 || at % 64 == 0 {
                    b'\n'
                } else {
                    b'x'
                }
            })
            .collect();
        for from in [0, 1, 63, 64, 65, 299, 300] {
            for end in [from, 130.max(from), 300] {
                let mut controls = Controls::new(&text[..end], from);
                let found: Vec<_> = std::iter::from_fn(|| controls.next()).collect();
                let expected: Vec<_> = (from..end).filter(|at| text[*at] == b'\n').collect();
                assert_eq!(found, expected, "{from}..{end}");
            }
        }
    }
}
