//! Which snapshot something was made for.
//!
//! Promises: no two snapshots of a process share a stamp, so that a permit, a
//! view and a choice can be held against the snapshot that they are used with
//! by comparing one word. Says nothing of what a snapshot means: that is its
//! digest.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The identity of one compiled snapshot in this process.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Stamp(NonZeroU64);

impl Stamp {
    /// One that no other snapshot has. Starts anew after 2^64 of them.
    pub(crate) fn fresh() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let next = LAST.fetch_add(1, Relaxed).wrapping_add(1);
        Self(NonZeroU64::new(next).unwrap_or(NonZeroU64::MIN))
    }
}
