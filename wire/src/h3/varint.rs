//! Variable-length integers of QUIC (RFC 9000 16): 1, 2, 4 or 8 bytes.

/// The largest one.
pub(super) const MAX: u64 = (1 << 62) - 1;

/// Reads one integer that may come in pieces.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct VarintReader {
    /// Bytes of a cut integer, and how many.
    kept: [u8; 8],
    have: u8,
}

impl VarintReader {
    /// Takes the bytes of one integer from the front; `None` when there are
    /// too few, which are then kept.
    #[inline]
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Option<u64> {
        if self.have == 0 {
            let (value, len) = whole(input)?;
            if let Some(rest) = input.get(len..) {
                *input = rest;
                return Some(value);
            }
        }
        self.read_cut(input)
    }

    #[cold]
    fn read_cut(&mut self, input: &mut &[u8]) -> Option<u64> {
        while let [first, rest @ ..] = *input {
            *input = rest;
            let place = self.kept.get_mut(usize::from(self.have))?;
            *place = *first;
            self.have += 1;
            let kept = self.kept.get(..usize::from(self.have))?;
            if let Some((value, len)) = whole(kept)
                && len == kept.len()
            {
                self.have = 0;
                return Some(value);
            }
        }
        None
    }

    /// Whether no byte of an integer is kept.
    pub(super) fn is_empty(self) -> bool {
        self.have == 0
    }
}

/// The integer at the front and its length, which may be more than there is.
#[inline]
fn whole(input: &[u8]) -> Option<(u64, usize)> {
    let first = *input.first()?;
    let len = 1_usize << (first >> 6);
    let mut value = u64::from(first & 0x3f);
    for byte in input.iter().take(len).skip(1) {
        value = value << 8 | u64::from(*byte);
    }
    Some((value, len))
}

/// Appends an integer in its shortest form; above [`MAX`] counts as that.
#[inline]
pub(super) fn write(value: u64, out: &mut Vec<u8>) {
    let value = value.min(MAX);
    let bytes = value.to_be_bytes();
    let [.., c, d, e, f] = bytes;
    match value {
        0..0x40 => out.push(f),
        0x40..0x4000 => out.extend_from_slice(&[0x40 | e, f]),
        0x4000..0x4000_0000 => out.extend_from_slice(&[0x80 | c, d, e, f]),
        _ => {
            let start = out.len();
            out.extend_from_slice(&bytes);
            if let Some(first) = out.get_mut(start) {
                *first |= 0xc0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_read_as_written_however_they_are_cut() {
        for value in [
            0,
            1,
            0x3f,
            0x40,
            0x3fff,
            0x4000,
            0x3fff_ffff,
            0x4000_0000,
            MAX,
        ] {
            let mut out = Vec::new();
            write(value, &mut out);
            let mut input = out.as_slice();
            assert_eq!(VarintReader::default().read(&mut input), Some(value));
            assert!(input.is_empty());
            let mut reader = VarintReader::default();
            for (at, byte) in out.iter().enumerate() {
                let read = reader.read(&mut [*byte].as_slice());
                assert_eq!(read, (at + 1 == out.len()).then_some(value), "{value}");
            }
        }
    }

    #[test]
    fn the_examples_of_rfc_9000_read_as_stated() {
        for (bytes, value) in [
            (
                [0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c].as_slice(),
                151_288_809_941_952_652,
            ),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ] {
            let mut input = bytes;
            assert_eq!(VarintReader::default().read(&mut input), Some(value));
            assert!(input.is_empty());
        }
    }

    #[test]
    fn what_follows_stays_unread() {
        let mut input = [0x25, 9].as_slice();
        assert_eq!(VarintReader::default().read(&mut input), Some(37));
        assert_eq!(input, [9]);
    }
}
