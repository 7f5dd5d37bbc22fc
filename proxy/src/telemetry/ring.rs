//! The last so many records, newest over oldest.
//!
//! Promises: putting one in is one addition and one swap of a box, without a
//! copy and, once every slot has been used, without an allocation; the box
//! that falls out is handed back for reuse. Refuses: to grow.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A fixed number of slots.
#[derive(Debug)]
pub(super) struct Ring<T> {
    slots: Box<[Mutex<Slot<T>>]>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Slot<T> {
    /// Counts from 1; 0: never used.
    number: u64,
    held: Option<Box<T>>,
}

impl<T: Default> Ring<T> {
    /// `slots` may be 0: then nothing is kept.
    pub(super) fn new(slots: usize) -> Self {
        let empty = |_| {
            Mutex::new(Slot {
                number: 0,
                held: None,
            })
        };
        Self {
            slots: (0..slots).map(empty).collect(),
            next: AtomicU64::new(0),
        }
    }

    /// Keeps a record and gives back one that may be written over.
    #[expect(
        clippy::unnecessary_box_returns,
        reason = "boxes change hands so that nothing is copied"
    )]
    pub(super) fn put(&self, record: Box<T>) -> Box<T> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(slot) = self.slot_of(number) else {
            return record;
        };
        // A panic while a slot is held can only come from a reader's closure;
        // the record is whole all the same.
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.number = number + 1;
        slot.held.replace(record).unwrap_or_default()
    }

    /// Walks from the newest to the oldest until `visit` has enough. Records
    /// put in meanwhile may be missed; none is seen twice in a row of one lap.
    pub(super) fn newest_first(&self, mut visit: impl FnMut(&T) -> Walk) {
        let newest = self.next.load(Ordering::Relaxed);
        let kept = u64::try_from(self.slots.len()).unwrap_or(u64::MAX);
        for back in 1..=kept.min(newest) {
            let Some(slot) = self.slot_of(newest - back) else {
                return;
            };
            let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            let current = slot.number == newest - back + 1;
            let walk = slot
                .held
                .as_deref()
                .filter(|_| current)
                .map_or(Walk::On, &mut visit);
            if walk == Walk::Enough {
                return;
            }
        }
    }

    /// Slots in all.
    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Records put in since the start.
    pub(super) fn written(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    fn slot_of(&self, number: u64) -> Option<&Mutex<Slot<T>>> {
        let slots = u64::try_from(self.slots.len()).ok()?;
        let place = number.checked_rem(slots)?;
        self.slots.get(usize::try_from(place).ok()?)
    }
}

/// Whether a walk goes on.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Walk {
    /// Next one, please.
    On,
    /// That was the last one wanted.
    Enough,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(ring: &Ring<u32>) -> Vec<u32> {
        let mut seen = Vec::new();
        ring.newest_first(|record| {
            seen.push(*record);
            Walk::On
        });
        seen
    }

    #[test]
    fn the_newest_come_first_and_the_oldest_fall_out() {
        let ring = Ring::new(3);
        assert!(all(&ring).is_empty());
        for record in 1..=2 {
            ring.put(Box::new(record));
        }
        assert_eq!(all(&ring), [2, 1]);
        for record in 3..=7 {
            ring.put(Box::new(record));
        }
        assert_eq!(all(&ring), [7, 6, 5]);
        assert_eq!((ring.capacity(), ring.written()), (3, 7));
    }

    #[test]
    fn what_falls_out_is_handed_back_in_its_own_box() {
        let ring = Ring::new(1);
        let first = Box::new(1_u32);
        let place = std::ptr::from_ref(&*first);
        assert_eq!(*ring.put(first), 0, "a fresh one while slots are empty");
        let back = ring.put(Box::new(2));
        assert_eq!(*back, 1);
        assert!(std::ptr::eq(place, &raw const *back));
    }

    #[test]
    fn a_ring_without_slots_keeps_nothing() {
        let ring = Ring::new(0);
        assert_eq!(*ring.put(Box::new(9_u32)), 9);
        assert!(all(&ring).is_empty());
    }

    #[test]
    fn a_walk_ends_when_there_is_enough() {
        let ring = Ring::new(4);
        for record in 0..4_u32 {
            ring.put(Box::new(record));
        }
        let mut seen = 0;
        ring.newest_first(|_| {
            seen += 1;
            if seen == 2 { Walk::Enough } else { Walk::On }
        });
        assert_eq!(seen, 2);
    }

    #[test]
    fn many_threads_lose_nothing_but_the_oldest() {
        let ring = Ring::new(64);
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let ring = &ring;
                scope.spawn(move || {
                    for record in 0..1_000 {
                        ring.put(Box::new(thread * 1_000 + record));
                    }
                });
            }
        });
        assert_eq!(ring.written(), 4_000);
        assert!(all(&ring).len() <= 64 && !all(&ring).is_empty());
    }
}
