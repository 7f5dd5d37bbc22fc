//! The goodbye of an HTTP/2 connection: holds back the answer to the ping
//! behind GOAWAY.
//!
//! A codec that shuts down says GOAWAY for every stream and PING, and when the
//! ping is answered GOAWAY for the streams that it has seen until then. A
//! client answers a ping ahead of what waits in its queue, so requests that it
//! had begun would be named unprocessed. Here the answer waits until the client
//! has begun nothing for two round trips.
//!
//! Promises: every other byte passes, in order; the answer comes between two
//! frames, [`LATEST`] after the goodbye at the latest, even if the client never
//! answers. Refuses: to hold more than one frame of 17 bytes.

use std::time::Duration;

use super::frame::{Follower, FrameHeader, HEADER, kind};

/// PING, ACK, with the payload that the `h2` crate gives the ping of its
/// shutdown.
pub const SHUTDOWN_ACK: [u8; FRAME] = [
    0, 0, 8, 6, 1, 0, 0, 0, 0, 0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54,
];
/// Length of a PING frame.
const FRAME: usize = HEADER + 8;
/// The time without a new request after which the client has understood: two
/// round trips, within these.
const QUIET_MIN: Duration = Duration::from_millis(100);
const QUIET_MAX: Duration = Duration::from_secs(1);
/// When the answer is given for a client that gives none, or begins requests
/// without an end.
const LATEST: Duration = Duration::from_secs(3);

/// Stands between a client's bytes and the codec from GOAWAY on. Times are
/// those since then.
#[derive(Debug)]
pub struct Farewell {
    /// The frame that begins: its header, and all of a ping.
    frame: [u8; FRAME],
    have: usize,
    /// Of `frame`, what the codec has already.
    passed: usize,
    /// Payload that passes.
    left: usize,
    /// When the client had answered.
    answered: Option<Duration>,
    /// When it began its last request.
    began: Duration,
}

impl Farewell {
    /// Takes over where the bytes that have passed ended.
    pub fn new(follower: &Follower) -> Self {
        let mut frame = [0; FRAME];
        if let Some(header) = frame.get_mut(..HEADER) {
            header.copy_from_slice(&follower.header);
        }
        Self {
            frame,
            have: follower.have,
            passed: follower.have,
            left: follower.skip,
            answered: None,
            began: Duration::ZERO,
        }
    }

    /// Appends what passes of the bytes that came.
    pub fn pass(&mut self, mut bytes: &[u8], now: Duration, out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let (through, rest) = bytes.split_at(self.left.min(bytes.len()));
            out.extend_from_slice(through);
            self.left -= through.len();
            let taken = self.take(rest);
            bytes = rest.get(taken..).unwrap_or_default();
            self.judge(now, out);
        }
    }

    /// Gathers the frame that begins, and says how much of the bytes that took.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let whole = if self.have < HEADER { HEADER } else { FRAME };
        let taken = (whole - self.have).min(bytes.len());
        if let (Some(to), Some(from)) = (
            self.frame.get_mut(self.have..self.have + taken),
            bytes.get(..taken),
        ) {
            to.copy_from_slice(from);
        }
        self.have += taken;
        taken
    }

    /// What becomes of the frame that was gathered.
    fn judge(&mut self, now: Duration, out: &mut Vec<u8>) {
        let Some(header) = self.frame.first_chunk::<HEADER>() else {
            return;
        };
        let header = FrameHeader::read(*header);
        match self.have {
            HEADER if self.passed == 0 && is_pong(header) => {}
            HEADER => {
                if header.kind == kind::HEADERS {
                    self.began = now;
                }
                self.left = header.length;
                self.give(out);
            }
            FRAME if self.frame == SHUTDOWN_ACK => {
                self.answered.get_or_insert(now);
                (self.have, self.passed) = (0, 0);
            }
            FRAME => self.give(out),
            _ => {}
        }
    }

    /// The codec gets what was gathered.
    fn give(&mut self, out: &mut Vec<u8>) {
        let fresh = self.frame.get(self.passed..self.have);
        out.extend_from_slice(fresh.unwrap_or_default());
        (self.have, self.passed) = (0, 0);
    }

    /// Appends the answer when its time has come, and what waited behind it.
    /// True then: from here on bytes pass without this.
    pub fn release(&mut self, now: Duration, out: &mut Vec<u8>) -> bool {
        let between = self.left == 0 && self.passed == 0;
        if !between || !self.is_due(now) {
            return false;
        }
        out.extend_from_slice(&SHUTDOWN_ACK);
        self.give(out);
        true
    }

    fn is_due(&self, now: Duration) -> bool {
        let understood = self.answered.is_some_and(|answered| {
            let quiet = (answered * 2).clamp(QUIET_MIN, QUIET_MAX);
            now >= answered.max(self.began) + quiet
        });
        understood || now >= LATEST
    }
}

/// True for an answer to a ping of the right length on the connection itself.
const fn is_pong(header: FrameHeader) -> bool {
    header.kind == kind::PING && header.is_ack() && header.length == FRAME - HEADER
}

#[cfg(test)]
mod tests;
