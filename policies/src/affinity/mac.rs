//! HMAC-SHA-256 (RFC 2104) with a key that is prepared once.
//!
//! Promises: two compressions for a short message; comparing takes the same
//! time wherever the first difference is.

use sha2::{Digest as _, Sha256};

/// Bytes of a tag that cookies carry: half of the hash, as RFC 2104 allows.
pub(super) const TAG_BYTES: usize = 16;

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// A key, as the two hashes that begin with it. Without `Debug`: it is secret.
#[derive(Clone)]
pub(super) struct MacKey {
    inner: Sha256,
    outer: Sha256,
}

impl MacKey {
    pub(super) fn new(key: &[u8]) -> Self {
        let mut block = [0u8; BLOCK];
        let hashed;
        let key = if key.len() > BLOCK {
            hashed = Sha256::digest(key);
            &hashed[..]
        } else {
            key
        };
        for (slot, byte) in block.iter_mut().zip(key) {
            *slot = *byte;
        }
        let begin = |pad: u8| Sha256::new_with_prefix(block.map(|byte| byte ^ pad));
        Self {
            inner: begin(0x36),
            outer: begin(0x5c),
        }
    }

    fn whole(&self, message: &[u8]) -> [u8; 32] {
        let inner = self.inner.clone().chain_update(message).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }

    /// The first half of the hash.
    pub(super) fn tag(&self, message: &[u8]) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        for (slot, byte) in tag.iter_mut().zip(self.whole(message)) {
            *slot = byte;
        }
        tag
    }
}

/// Compares without telling by its time where the first difference is.
pub(super) fn same(one: &[u8; TAG_BYTES], other: &[u8; TAG_BYTES]) -> bool {
    let differing = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap();
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.map(digit).collect()
    }

    /// RFC 4231, test cases 1, 2, 3 and 6.
    #[test]
    fn the_vectors_of_rfc_4231_come_out() {
        let cases: [(&[u8], &[u8], &str); 4] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, message, expected) in cases {
            assert_eq!(hex(&MacKey::new(key).whole(message)), expected);
        }
    }

    #[test]
    fn one_changed_bit_is_another_tag() {
        let key = MacKey::new(b"a key of some length");
        let tag = key.tag(b"message");
        assert!(same(&tag, &key.tag(b"message")));
        assert!(!same(&tag, &key.tag(b"messagf")));
        assert!(!same(&tag, &MacKey::new(b"another key").tag(b"message")));
    }
}
