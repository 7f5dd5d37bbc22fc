//! Counts HTTP/2 frames that cost the edge work and the client nothing.
//!
//! Promises: constant memory, a few instructions a frame. The `h2` crate
//! bounds streams, header lists and resets of streams it has not handed out;
//! PING, SETTINGS, PRIORITY, `RST_STREAM` and empty DATA it does not count.

/// Frames of one kind that a client may send within [`WINDOW_NS`].
const FRAMES_MAX: u32 = 400;
/// Length of a counting window: 10 s.
const WINDOW_NS: u64 = 10_000_000_000;
/// Length of the client's preface (RFC 9113, 3.4).
const PREFACE: usize = 24;
const HEADER: usize = 9;

/// Follows the frames of one connection.
pub struct FloodGuard {
    header: [u8; HEADER],
    have: usize,
    skip: usize,
    window_begins: u64,
    control: u32,
    resets: u32,
    empty: u32,
}

impl Default for FloodGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl FloodGuard {
    /// A connection whose preface is still to come.
    pub fn new() -> Self {
        Self {
            header: [0; HEADER],
            have: 0,
            skip: PREFACE,
            window_begins: 0,
            control: 0,
            resets: 0,
            empty: 0,
        }
    }

    /// Looks at bytes that arrived at `now` (nanoseconds). False when the
    /// client has sent too much of nothing.
    pub fn observe(&mut self, mut bytes: &[u8], now: u64) -> bool {
        if now.saturating_sub(self.window_begins) > WINDOW_NS {
            self.window_begins = now;
            (self.control, self.resets, self.empty) = (0, 0, 0);
        }
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let taken = (HEADER - self.have).min(bytes.len());
            if let (Some(to), Some(from)) = (
                self.header.get_mut(self.have..self.have + taken),
                bytes.get(..taken),
            ) {
                to.copy_from_slice(from);
            }
            self.have += taken;
            bytes = bytes.get(taken..).unwrap_or_default();
            if self.have == HEADER {
                self.have = 0;
                self.count();
            }
        }
        self.control <= FRAMES_MAX && self.resets <= FRAMES_MAX && self.empty <= FRAMES_MAX
    }

    fn count(&mut self) {
        let [a, b, c, kind, flags, ..] = self.header;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.skip = length;
        let end_stream = flags & 1 == 1;
        let end_headers = flags & 4 == 4;
        match kind {
            // DATA and CONTINUATION without content that end nothing.
            0 if length == 0 && !end_stream => self.empty += 1,
            9 if length == 0 && !end_headers => self.empty += 1,
            // PRIORITY, SETTINGS, PING.
            2 | 4 | 6 => self.control += 1,
            // RST_STREAM.
            3 => self.resets += 1,
            // WINDOW_UPDATE answers our own DATA, the rest carries content.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn data_with_content_is_never_a_flood() {
        let mut guard = started();
        for _ in 0..10 * FRAMES_MAX {
            assert!(guard.observe(&frame(0, 0, b"x"), 1));
        }
    }
}
