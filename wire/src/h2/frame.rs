//! Frame headers as they pass.

/// Length of the client's preface (RFC 9113, 3.4).
const PREFACE: usize = 24;
/// Length of a frame header.
pub(super) const HEADER: usize = 9;

/// Frame types (RFC 9113, 6).
pub mod kind {
    /// DATA.
    pub const DATA: u8 = 0;
    /// HEADERS.
    pub const HEADERS: u8 = 1;
    /// PRIORITY.
    pub const PRIORITY: u8 = 2;
    /// `RST_STREAM`.
    pub const RST_STREAM: u8 = 3;
    /// SETTINGS.
    pub const SETTINGS: u8 = 4;
    /// PING.
    pub const PING: u8 = 6;
    /// CONTINUATION.
    pub const CONTINUATION: u8 = 9;
}

/// What a frame header says of its frame.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct FrameHeader {
    /// Bytes of payload.
    pub length: usize,
    /// One of [`kind`], or any other.
    pub kind: u8,
    flags: u8,
}

impl FrameHeader {
    pub(super) const fn read(bytes: [u8; HEADER]) -> Self {
        let [a, b, c, kind, flags, ..] = bytes;
        Self {
            length: (a as usize) << 16 | (b as usize) << 8 | c as usize,
            kind,
            flags,
        }
    }

    /// ACK of PING and SETTINGS.
    pub const fn is_ack(self) -> bool {
        self.flags & 1 == 1
    }

    /// `END_STREAM` of DATA and HEADERS.
    pub const fn ends_stream(self) -> bool {
        self.flags & 1 == 1
    }

    /// `END_HEADERS` of HEADERS and CONTINUATION.
    pub const fn ends_headers(self) -> bool {
        self.flags & 4 == 4
    }
}

/// `SETTINGS_MAX_HEADER_LIST_SIZE` (RFC 9113, 6.5.2).
const MAX_HEADER_LIST_SIZE: u16 = 6;
/// Length of a setting.
const SETTING: usize = 6;

/// Knows at every byte of what a client sends where in a frame it is, and of
/// its settings the one that concerns answers and that codecs keep to
/// themselves.
#[derive(Clone, Debug)]
pub struct Follower {
    pub(super) header: [u8; HEADER],
    pub(super) have: usize,
    pub(super) skip: usize,
    /// What is skipped are settings.
    settings: bool,
    setting: [u8; SETTING],
    /// Bytes of it that have come.
    come: usize,
    header_list: Option<u32>,
}

impl Default for Follower {
    fn default() -> Self {
        Self::new()
    }
}

impl Follower {
    /// A connection whose preface is still to come.
    pub const fn new() -> Self {
        Self {
            header: [0; HEADER],
            have: 0,
            skip: PREFACE,
            settings: false,
            setting: [0; SETTING],
            come: 0,
            header_list: None,
        }
    }

    /// Largest field section that the client takes, counted as
    /// [`crate::section_fits`] does; `None`: it did not say.
    pub const fn header_list(&self) -> Option<u32> {
        self.header_list
    }

    /// Follows bytes; `seen` gets each frame header that is complete by them.
    pub fn follow(&mut self, mut bytes: &[u8], mut seen: impl FnMut(FrameHeader)) {
        while !bytes.is_empty() {
            let (payload, rest) = bytes.split_at(self.skip.min(bytes.len()));
            self.skip -= payload.len();
            bytes = rest;
            if self.settings {
                self.read_settings(payload);
            }
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
                let header = FrameHeader::read(self.header);
                self.skip = header.length;
                self.settings = header.kind == kind::SETTINGS;
                self.come = 0;
                seen(header);
            }
        }
    }

    #[cold]
    fn read_settings(&mut self, payload: &[u8]) {
        for byte in payload {
            if let Some(place) = self.setting.get_mut(self.come) {
                *place = *byte;
            }
            self.come += 1;
            if self.come == SETTING {
                self.come = 0;
                let [a, b, value @ ..] = self.setting;
                if u16::from_be_bytes([a, b]) == MAX_HEADER_LIST_SIZE {
                    self.header_list = Some(u32::from_be_bytes(value));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_about_the_size_of_heads_is_known() {
        let mut bytes = vec![0; PREFACE];
        let lone = [0, 6, 0, 0, 0x40, 0];
        let pair = [0, 1, 0, 6, 0, 0, 0, 6, 0, 0, 1, 2];
        for (settings, known) in [(&lone[..], 0x4000), (&pair, 0x102)] {
            bytes.extend([0, 0, u8::try_from(settings.len()).unwrap(), kind::SETTINGS]);
            bytes.extend([0, 0, 0, 0, 0]);
            bytes.extend(settings);
            // What looks like a setting elsewhere is none.
            bytes.extend([0, 0, 6, kind::DATA, 0, 0, 0, 0, 1, 0, 6, 9, 9, 9, 9]);
            for size in 1..=bytes.len() {
                let mut follower = Follower::new();
                for piece in bytes.chunks(size) {
                    follower.follow(piece, |_| {});
                }
                assert_eq!(follower.header_list(), Some(known));
            }
        }
        assert_eq!(Follower::new().header_list(), None);
    }

    #[test]
    fn headers_are_seen_however_they_are_cut() {
        let mut bytes = vec![0; PREFACE];
        bytes.extend([0, 0, 3, kind::DATA, 1, 0, 0, 0, 1, 9, 9, 9]);
        bytes.extend([0, 0, 0, kind::SETTINGS, 1, 0, 0, 0, 0]);
        bytes.extend([1, 0, 2, kind::HEADERS, 4, 0, 0, 0, 3]);
        for size in 1..=bytes.len() {
            let (mut follower, mut seen) = (Follower::new(), Vec::new());
            for piece in bytes.chunks(size) {
                follower.follow(piece, |header| seen.push(header));
            }
            let [data, settings, head] = seen[..] else {
                panic!("{seen:?}");
            };
            assert!(data.ends_stream() && data.length == 3 && data.kind == kind::DATA);
            assert!(settings.is_ack() && settings.length == 0);
            assert!(head.ends_headers() && !head.ends_stream());
            assert_eq!(head.length, 65_538);
        }
    }
}
