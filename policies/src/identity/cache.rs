//! Tokens that were verified, so that the next request with the same one costs
//! a hash and no signature.
//!
//! Promises: a kept token counts exactly as long as it would if it were
//! verified again with the same keys; memory is bounded; a clock that is set
//! changes no answer. A cache belongs to one generation of policies: new keys
//! begin with an empty one. Refuses to keep what was refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::digest::{SHA256, digest};

use super::{Authentication, Identity, TokenFault};

/// Shards: more than threads, so that two rarely meet.
const SHARDS: usize = 32;
/// Tokens that are kept by default.
const BOUND_DEFAULT: usize = 16_384;

type Digest = [u8; 32];
type Shard = HashMap<Digest, Arc<Identity>>;

/// Verified tokens of one generation, by their SHA-256.
#[derive(Debug)]
pub struct TokenCache {
    shards: [Mutex<Shard>; SHARDS],
    bound: usize,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self::keeping(BOUND_DEFAULT)
    }
}

impl TokenCache {
    /// An empty one for 16,384 tokens.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps at most `bound` tokens, rounded up to a multiple of 32; 0 keeps
    /// one of each shard.
    pub fn keeping(bound: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            bound: bound.div_ceil(SHARDS).max(1),
        }
    }

    /// Tokens that are kept.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a token says that was verified before. `None`: it was not.
    ///
    /// # Errors
    /// Its time is over, or has not come (the clock was set back).
    pub fn known(&self, token: &[u8], now_s: u64) -> Result<Option<Arc<Identity>>, TokenFault> {
        let (digest, shard) = self.place(token);
        let found = lock(shard).get(&digest).cloned();
        let Some(identity) = found else {
            return Ok(None);
        };
        identity.counts(now_s).map(|()| Some(identity))
    }

    /// Verifies a token and keeps what it says. `authentication` is the one of
    /// this cache's generation.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn verify(
        &self,
        authentication: &Authentication,
        token: &[u8],
        now_s: u64,
    ) -> Result<Arc<Identity>, TokenFault> {
        let identity = Arc::new(authentication.verify(token, now_s)?);
        let (digest, shard) = self.place(token);
        let mut shard = lock(shard);
        if shard.len() >= self.bound {
            shard.retain(|_, kept| kept.counts(now_s).is_ok());
        }
        // All are in use: half of them go, whichever, and are verified again.
        if shard.len() >= self.bound {
            let mut keep = false;
            shard.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        shard.insert(digest, Arc::clone(&identity));
        Ok(identity)
    }

    fn place(&self, token: &[u8]) -> (Digest, &Mutex<Shard>) {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token).as_ref());
        let [first, ..] = key;
        let [fallback, ..] = &self.shards;
        let shard = self.shards.get(usize::from(first) % SHARDS);
        (key, shard.unwrap_or(fallback))
    }
}

/// A panic elsewhere leaves nothing half written.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
