//! One request that stands for a bucket: its id beside the count.
//!
//! Promises: a writer never waits (it gives up when a reader holds the slot),
//! never allocates, and remembers only ids that need no escaping.

use std::sync::Mutex;

use super::histogram::BUCKETS;

/// Longest id that is remembered, bytes. `OpenMetrics` 1.0 allows 128
/// characters for all names and values of an exemplar together.
const ID_MAX: usize = 64;

/// A bucket's exemplar is replaced once in so many observations of a shard.
const ONE_IN: u64 = 64;

/// Whether the observation that found `before` earlier ones is remembered.
/// The first one always is.
pub(super) fn is_due(before: u64) -> bool {
    before.is_multiple_of(ONE_IN)
}

/// The exemplars of one histogram.
#[derive(Debug)]
pub(super) struct Exemplars([Mutex<Slot>; BUCKETS]);

#[derive(Copy, Clone, Debug)]
struct Slot {
    id: [u8; ID_MAX],
    /// 0: nothing remembered.
    length: usize,
    micros: u64,
    unix_ms: u64,
}

/// One exemplar as it is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Told {
    /// Request id.
    pub(super) request_id: String,
    /// Observed duration, microseconds.
    pub(super) micros: u64,
    /// When, milliseconds since 1970.
    pub(super) unix_ms: u64,
}

impl Exemplars {
    /// None yet.
    pub(super) fn new() -> Self {
        let empty = Slot {
            id: [0; ID_MAX],
            length: 0,
            micros: 0,
            unix_ms: 0,
        };
        Self(std::array::from_fn(|_| Mutex::new(empty)))
    }

    /// Remembers a request, unless its id is empty, too long or odd.
    pub(super) fn remember(&self, bucket: usize, request_id: &str, seen: (u64, u64)) {
        let bytes = request_id.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if bytes.is_empty() || bytes.len() > ID_MAX || !bytes.iter().all(plain) {
            return;
        }
        let Some(Ok(mut slot)) = self.0.get(bucket).map(Mutex::try_lock) else {
            return;
        };
        if let Some(room) = slot.id.get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
        }
        slot.length = bytes.len();
        (slot.micros, slot.unix_ms) = seen;
    }

    /// What is remembered for a bucket.
    pub(super) fn told(&self, bucket: usize) -> Option<Told> {
        let slot = *self.0.get(bucket)?.lock().ok()?;
        let id = slot.id.get(..slot.length).filter(|id| !id.is_empty())?;
        let request_id = std::str::from_utf8(id).ok()?.to_owned();
        Some(Told {
            request_id,
            micros: slot.micros,
            unix_ms: slot.unix_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_plain_id_is_told() {
        let exemplars = Exemplars::new();
        assert_eq!(exemplars.told(3), None);
        exemplars.remember(3, "first", (10, 1));
        exemplars.remember(3, "0190-second_2.x", (20, 2));
        let told = exemplars.told(3).unwrap();
        assert_eq!(told.request_id, "0190-second_2.x");
        assert_eq!((told.micros, told.unix_ms), (20, 2));
    }

    #[test]
    fn ids_that_need_escaping_or_room_are_not_remembered() {
        let exemplars = Exemplars::new();
        for odd in ["", "a\"b", "a\\b", "a\nb", "ä", &"x".repeat(ID_MAX + 1)] {
            exemplars.remember(0, odd, (1, 1));
        }
        exemplars.remember(BUCKETS, "past-the-end", (1, 1));
        assert_eq!(exemplars.told(0), None);
    }

    #[test]
    fn a_reader_never_holds_a_writer_up() {
        let exemplars = Exemplars::new();
        let held = exemplars.0[0].lock().unwrap();
        exemplars.remember(0, "id", (1, 1));
        drop(held);
        assert_eq!(exemplars.told(0), None);
    }

    #[test]
    fn the_first_of_a_bucket_is_due_and_then_one_in_sixty_four() {
        assert!(is_due(0) && !is_due(1) && !is_due(63) && is_due(64));
    }
}
