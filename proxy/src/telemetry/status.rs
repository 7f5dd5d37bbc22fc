//! Status codes as label values: a fixed number of slots.
//!
//! Promises: each final status of the registry that a proxy meets has a slot
//! of its own; any other number falls into its class (`2xx`), a number
//! outside 100 to 599 into `none`. So an upstream cannot make new series.

/// Slots of their own.
const KNOWN: [u16; 47] = [
    101, 200, 201, 202, 203, 204, 205, 206, 207, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403,
    404, 405, 406, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 425, 426, 428, 429,
    431, 451, 499, 500, 501, 502, 503, 504, 505,
];

/// Shared by what has no slot; index: first digit, 0 for no status at all.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// How many slots there are.
pub(super) const SLOTS: usize = KNOWN.len() + CLASSES.len();

/// First status of the table below.
const FIRST: u16 = 100;

/// Slot of each status from 100 to 599.
static TABLE: [u8; 500] = table();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler: a bad index fails the build"
)]
const fn table() -> [u8; 500] {
    let mut table = [0; 500];
    let mut at = 0;
    while at < table.len() {
        table[at] = (KNOWN.len() + 1 + at / 100) as u8;
        at += 1;
    }
    let mut slot = 0;
    while slot < KNOWN.len() {
        table[(KNOWN[slot] - FIRST) as usize] = slot as u8;
        slot += 1;
    }
    table
}

/// The slot that counts a status.
pub(super) fn slot(status: u16) -> usize {
    status
        .checked_sub(FIRST)
        .and_then(|offset| TABLE.get(usize::from(offset)))
        .map_or(KNOWN.len(), |slot| usize::from(*slot))
}

/// The label value of a slot; slots past the end are `none`.
pub(super) fn label(slot: usize) -> String {
    KNOWN.get(slot).map_or_else(
        || {
            let class = slot.saturating_sub(KNOWN.len());
            CLASSES.get(class).copied().unwrap_or("none").to_owned()
        },
        u16::to_string,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_statuses_keep_their_number() {
        for status in KNOWN {
            assert_eq!(label(slot(status)), status.to_string());
        }
    }

    #[test]
    fn other_numbers_fall_into_their_class() {
        assert_eq!(label(slot(299)), "2xx");
        assert_eq!(label(slot(418)), "4xx");
        assert_eq!(label(slot(599)), "5xx");
        for odd in [0, 99, 600, u16::MAX] {
            assert_eq!(label(slot(odd)), "none");
        }
    }

    #[test]
    fn every_slot_is_within_the_table() {
        assert!((0..=u16::MAX).all(|status| slot(status) < SLOTS));
    }
}
