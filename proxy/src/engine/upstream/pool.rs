//! Idle upstream connections, by thread and endpoint.
//!
//! Promises: no lock, no task a connection; a connection on which a byte
//! arrived that nobody asked for, or its end, is dropped when it is taken, and
//! so is one that was made with other settings of TLS than those of this moment.
//! Refuses: more than [`IDLE_PER_ENDPOINT`] a thread and endpoint.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use meridian_policies::Tick;

use super::h1::Upstream;

/// Idle connections kept by a thread for one endpoint.
pub const IDLE_PER_ENDPOINT: usize = 256;

/// Tags are hashes of configured names already.
type Pools = HashMap<u64, Vec<Box<Upstream>>, BuildHasherDefault<TagHasher>>;

/// Takes a tag as its own hash.
#[derive(Default)]
struct TagHasher(u64);

impl Hasher for TagHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes
            .iter()
            .fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, tag: u64) {
        self.0 = tag;
    }
}

thread_local! {
    static IDLE: RefCell<Pools> = RefCell::new(Pools::default());
}

/// The youngest quiet connection to the endpoint that was made with these
/// settings of TLS, if there is one.
pub fn take((tag, print): (u64, u64), now: Tick) -> Option<Box<Upstream>> {
    IDLE.with(|pools| {
        let mut pools = pools.borrow_mut();
        let pool = pools.get_mut(&tag)?;
        while let Some(mut upstream) = pool.pop() {
            if now < upstream.expires && upstream.print == print && upstream.line.io.is_quiet() {
                upstream.reused = true;
                upstream.begin();
                return Some(upstream);
            }
        }
        None
    })
}

/// Keeps a connection whose answer was read to its end, until `expires`.
pub fn give(mut upstream: Box<Upstream>, expires: Tick) {
    if !upstream.reusable || !upstream.line.inbox.is_empty() || upstream.line.ended {
        return;
    }
    upstream.line.outbox.clear();
    upstream.line.inbox.release();
    upstream.expires = expires;
    IDLE.with(|pools| {
        let mut pools = pools.borrow_mut();
        let pool = pools.entry(upstream.tag).or_default();
        if pool.len() < IDLE_PER_ENDPOINT {
            pool.push(upstream);
        }
    });
}

/// Closes what has been idle for too long, and forgets empty pools.
pub fn sweep(now: Tick) {
    IDLE.with(|pools| {
        pools.borrow_mut().retain(|_, pool| {
            pool.retain(|upstream| now < upstream.expires);
            !pool.is_empty()
        });
    });
}
