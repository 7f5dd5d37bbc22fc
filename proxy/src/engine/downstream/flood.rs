//! Counts HTTP/2 frames that cost the edge work and the client nothing.
//!
//! Promises: constant memory, a few instructions a frame. The `h2` crate
//! bounds streams, header lists and resets of streams it has not handed out;
//! PING, SETTINGS, PRIORITY, `RST_STREAM` and empty DATA it does not count.

use meridian_wire::h2::{Follower, FrameHeader, kind};

/// Frames of one kind that a client may send within [`WINDOW_NS`].
const FRAMES_MAX: u32 = 400;
/// Length of a counting window: 10 s.
const WINDOW_NS: u64 = 10_000_000_000;
/// Follows the frames of one connection.
#[derive(Default)]
pub struct FloodGuard {
    follower: Follower,
    window_begins: u64,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    control: u32,
    resets: u32,
    empty: u32,
}

impl FloodGuard {
    /// A connection whose preface is still to come.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where in the frames the bytes that were looked at have ended.
    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// Looks at bytes that arrived at `now` (nanoseconds). False when the
    /// client has sent too much of nothing.
    pub fn observe(&mut self, bytes: &[u8], now: u64) -> bool {
        if now.saturating_sub(self.window_begins) > WINDOW_NS {
            self.window_begins = now;
            self.counts = Counts::default();
        }
        let counts = &mut self.counts;
        self.follower.follow(bytes, |frame| counts.count(frame));
        counts.control <= FRAMES_MAX && counts.resets <= FRAMES_MAX && counts.empty <= FRAMES_MAX
    }
}

impl Counts {
    fn count(&mut self, frame: FrameHeader) {
        match frame.kind {
            // They end nothing.
            kind::DATA if frame.length == 0 && !frame.ends_stream() => self.empty += 1,
            kind::CONTINUATION if frame.length == 0 && !frame.ends_headers() => self.empty += 1,
            kind::PRIORITY | kind::SETTINGS | kind::PING => self.control += 1,
            kind::RST_STREAM => self.resets += 1,
            // WINDOW_UPDATE answers our own DATA, the rest carries content.
            _ => {}
        }
    }
}

/// Requests that break a rule of messages: each is answered, and none of them
/// comes as far as a rate limit.
#[derive(Default)]
pub struct MalformedBudget {
    window_begins: u64,
    before: u64,
}

impl MalformedBudget {
    /// How many in a window.
    pub const MAX: u64 = 100;

    /// False when there were too many of them at `now` (nanoseconds), by their
    /// count since the connection began.
    pub fn allows(&mut self, seen: u64, now: u64) -> bool {
        if now.saturating_sub(self.window_begins) > WINDOW_NS {
            (self.window_begins, self.before) = (now, seen);
        }
        seen.saturating_sub(self.before) <= Self::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Length of the client's preface.
    const PREFACE: usize = 24;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    fn started() -> FloodGuard {
        let mut guard = FloodGuard::new();
        assert!(guard.observe(&[0; PREFACE], 0));
        guard
    }

    #[test]
    fn pings_are_fine_until_there_are_too_many_within_a_window() {
        let mut guard = started();
        for _ in 0..FRAMES_MAX {
            assert!(guard.observe(&frame(6, 0, &[0; 8]), 1));
        }
        assert!(!guard.observe(&frame(6, 0, &[0; 8]), 2));
        assert!(guard.observe(&frame(6, 0, &[0; 8]), WINDOW_NS + 2));
    }

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let mut guard = started();
        let flood: Vec<u8> = (0..=FRAMES_MAX).flat_map(|_| frame(0, 0, &[])).collect();
        let fine = flood.iter().all(|byte| guard.observe(&[*byte], 1));
        assert!(!fine);
    }

    #[test]
    fn malformed_requests_are_fine_until_there_are_too_many_within_a_window() {
        let mut budget = MalformedBudget::default();
        assert!(budget.allows(MalformedBudget::MAX, 1));
        assert!(!budget.allows(MalformedBudget::MAX + 1, 2));
        assert!(budget.allows(MalformedBudget::MAX + 1, WINDOW_NS + 2));
        assert!(budget.allows(2 * MalformedBudget::MAX + 1, WINDOW_NS + 3));
        assert!(!budget.allows(2 * MalformedBudget::MAX + 2, WINDOW_NS + 4));
    }

    #[test]
    fn data_with_content_is_never_a_flood() {
        let mut guard = started();
        for _ in 0..10 * FRAMES_MAX {
            assert!(guard.observe(&frame(0, 0, b"x"), 1));
        }
    }
}
