//! The hash of the table of addresses.
//!
//! Promises: two folded products under four secret words, drawn once a table;
//! no word and no hash is ever told. Not a cryptographic hash: that addresses
//! cannot be chosen to meet in one bucket rests on the words being secret.
//! Cheaper than `SipHash`, which is why it is here. Meant for one `u64` a key.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Makes [`Keyed`] hashers that agree with each other. Each of its own makes
/// others.
#[derive(Copy, Clone)]
pub(super) struct Secret {
    words: [u64; 4],
}

/// Says nothing of the words.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// From the operating system's randomness, through the library.
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        let [a, b, c, d] = [0_u64, 1, 2, 3].map(|number| random.hash_one(number));
        // Odd factors lose no bit of what they multiply.
        Self {
            words: [a, b | 1, c, d | 1],
        }
    }

    /// The hash of one key.
    #[inline]
    pub(super) const fn hash(&self, key: u64) -> u64 {
        let [before, first, between, second] = self.words;
        folded(folded(key ^ before, first) ^ between, second)
    }
}

/// Both halves of a product, one upon the other.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of the product are what is wanted"
)]
const fn folded(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

impl BuildHasher for Secret {
    type Hasher = Keyed;

    #[inline]
    fn build_hasher(&self) -> Keyed {
        Keyed {
            secret: *self,
            hash: 0,
        }
    }
}

/// Hashes one `u64`.
#[derive(Copy, Clone, Debug)]
pub(super) struct Keyed {
    secret: Secret,
    hash: u64,
}

impl Hasher for Keyed {
    #[inline]
    fn write_u64(&mut self, key: u64) {
        self.hash = self.secret.hash(self.hash ^ key);
    }

    /// For completeness: the table's keys are `u64`.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn one_secret_agrees_with_itself_and_not_with_another_and_is_not_told() {
        let (one, other) = (Secret::new(), Secret::new());
        assert_eq!(one.hash_one(7_u64), one.hash(7));
        assert_ne!(one.hash(7), other.hash(7));
        assert_ne!(one.hash_one([1_u8, 2]), one.hash_one([2_u8, 1]));
        assert_eq!(format!("{one:?}"), "Secret");
    }

    #[test]
    fn neighbours_and_networks_spread_over_shards_and_buckets() {
        let secret = Secret::new();
        for (name, step) in [
            ("addresses", 1_u64),
            ("networks of 16", 1 << 16),
            ("v6", 1 << 32),
        ] {
            let mut shards = [0_u32; 64];
            let mut low = BTreeSet::new();
            for key in (0..4_096).map(|at| 0x2001_0db8 + at * step) {
                let hash = secret.hash(key);
                shards[usize::try_from(hash >> 32 & 63).unwrap()] += 1;
                low.insert(hash & 0xffff);
            }
            // 64 on average, standard deviation 8.
            assert!(
                shards.iter().all(|count| (16..128).contains(count)),
                "{name}: {shards:?}"
            );
            assert!(low.len() > 3_700, "{name}: {} of 3969 expected", low.len());
        }
    }

    #[test]
    fn a_bit_of_the_key_changes_half_of_the_hash() {
        let secret = Secret::new();
        for bit in 0..64 {
            let changed: u32 = (0..1_000_u64)
                .map(|key| (secret.hash(key) ^ secret.hash(key ^ 1 << bit)).count_ones())
                .sum();
            assert!((28_000..36_000).contains(&changed), "bit {bit}: {changed}");
        }
    }
}
