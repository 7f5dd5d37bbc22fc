//! Names content by 64 bits, to tell generations apart. Not a signature.

/// FNV-1a over eight-byte words (and the bytes that remain), with the length
/// last: a few milliseconds for a country database.
#[derive(Copy, Clone)]
pub(crate) struct Fingerprint(u64);

const PRIME: u64 = 0x0100_0000_01b3;

impl Fingerprint {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        for &byte in rest {
            self.mix(u64::from(byte));
        }
        self.mix(bytes.len() as u64);
    }

    pub(crate) fn mix(&mut self, word: u64) {
        // The rotation lets high bits reach low ones, which FNV over words
        // alone would not.
        self.0 = (self.0 ^ word).wrapping_mul(PRIME).rotate_left(23);
    }

    pub(crate) const fn finish(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&[u8]]) -> u64 {
        let mut fingerprint = Fingerprint::new();
        for part in parts {
            fingerprint.add(part);
        }
        fingerprint.finish()
    }

    #[test]
    fn every_flipped_bit_changes_the_fingerprint() {
        let bytes: Vec<u8> = (0..67).collect();
        let before = of(&[&bytes]);
        for position in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[position / 8] ^= 1 << (position % 8);
            assert_ne!(of(&[&flipped]), before, "bit {position}");
        }
    }

    #[test]
    fn where_parts_end_counts() {
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b""]), of(&[]));
    }
}
