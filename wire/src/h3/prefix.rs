//! Prefixed integers (RFC 9204 4.1.1).

/// More than this is more than any bound here, so it is refused.
const CONTINUATION_MAX: u32 = 56;

/// Takes an integer whose first byte has `bits` (1 to 7) bits of it. `None`:
/// cut, or 2^56 and more.
#[inline]
pub(super) fn read(input: &mut &[u8], bits: u32) -> Option<u64> {
    let (&first, mut rest) = input.split_first()?;
    let mask = (1_u64 << bits) - 1;
    let mut value = u64::from(first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (&byte, after) = rest.split_first()?;
            rest = after;
            if shift >= CONTINUATION_MAX {
                return None;
            }
            value += u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *input = rest;
    Some(value)
}

/// Appends an integer behind the high bits `flags` of its first byte, which
/// has `bits` (1 to 7) bits of it.
#[inline]
pub(super) fn write(flags: u8, bits: u32, value: usize, out: &mut Vec<u8>) {
    let mask = (1_usize << bits) - 1;
    if value < mask {
        out.push(flags | low(value));
        return;
    }
    out.push(flags | low(mask));
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(0x80 | low(rest & 0x7f));
        rest >>= 7;
    }
    out.push(low(rest));
}

/// The lowest byte.
#[inline]
fn low(value: usize) -> u8 {
    let [low, ..] = value.to_le_bytes();
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_7541_read_and_write_as_stated() {
        for (value, bits, bytes) in [
            (10, 5, [10].as_slice()),
            (1_337, 5, &[31, 154, 10]),
            (42, 7, &[42]),
        ] {
            let mut out = Vec::new();
            write(0, bits, value, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(read(&mut &*out, bits), Some(value as u64));
        }
    }

    #[test]
    fn every_prefix_reads_as_written() {
        for bits in 1..=7 {
            for value in (0..600).chain([16_383, 65_535, 1 << 40]) {
                let mut out = Vec::new();
                write(0, bits, value, &mut out);
                out.push(0xaa);
                let mut input = out.as_slice();
                assert_eq!(read(&mut input, bits), Some(value as u64));
                assert_eq!(input, [0xaa]);
            }
        }
    }

    #[test]
    fn cut_and_endless_ones_are_refused() {
        assert_eq!(read(&mut [].as_slice(), 7), None);
        assert_eq!(read(&mut [0x7f].as_slice(), 7), None);
        assert_eq!(read(&mut [0x7f, 0x80].as_slice(), 7), None);
        let mut endless = vec![0x7f];
        endless.extend([0x80; 100]);
        endless.push(0);
        assert_eq!(read(&mut endless.as_slice(), 7), None);
        endless.fill(0xff);
        assert_eq!(read(&mut endless.as_slice(), 7), None);
    }
}
