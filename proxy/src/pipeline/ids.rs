//! Request ids and draws, per thread.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// 32 lower-case hex digits: also a valid trace id (never all zero).
pub type RequestId = [u8; 32];

thread_local! {
    static STATE: Cell<u64> = Cell::new(seed());
}

/// From the process's random keys and the thread's own counter.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The next of a thread's sequence (splitmix64, Steele et al. 2014). Good for
/// choices and ids; not for secrets.
pub fn draw() -> u64 {
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mut mixed = next;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// A fresh id.
pub fn request_id() -> RequestId {
    let mut id = [0; 32];
    if let ([front, back], _) = id.as_chunks_mut() {
        *front = hex(draw() | 1);
        *back = hex(draw());
    }
    id
}

/// 16 hex digits, the highest first.
#[inline]
pub fn hex(value: u64) -> [u8; 16] {
    // Eight digits at a time, a nibble in each byte of a word.
    let digits = |half: u64| {
        let mut spread = half;
        spread = (spread | (spread << 16)) & 0x0000_ffff_0000_ffff;
        spread = (spread | (spread << 8)) & 0x00ff_00ff_00ff_00ff;
        spread = (spread | (spread << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
        let letters = ((spread + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
        u128::from(spread + 0x3030_3030_3030_3030 + letters * 0x27)
    };
    (digits(value >> 32) << 64 | digits(value & 0xffff_ffff)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_trace_id() {
        let id = request_id();
        assert!(
            id.iter()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        );
        assert!(id.iter().any(|byte| *byte != b'0'));
        assert_ne!(id, request_id());
    }

    #[test]
    fn hex_is_what_format_says() {
        assert_eq!(&hex(0x0123_4567_89ab_cdef), b"0123456789abcdef");
        for value in [0, 1, 0xfedc_ba98_7654_3210, u64::MAX, draw()] {
            assert_eq!(hex(value), *format!("{value:016x}").as_bytes());
        }
    }
}
