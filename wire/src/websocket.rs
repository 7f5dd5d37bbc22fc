//! Frames of a WebSocket (RFC 6455), followed but not read.
//!
//! Promises: where a frame ends is known at every byte, whatever the pieces in
//! which the bytes come; no byte is copied, kept or changed; between two
//! frames a close frame may be written. Fragments of a message are frames:
//! a control frame may stand between them (5.4). Reserved bits and opcodes
//! pass, since an extension may give them a meaning that leaves the framing
//! as it is (5.8).
//!
//! Refuses to guess: what breaks the framing (a mask that is missing or not
//! called for, a length in more bytes than it needs or beyond 63 bits, a
//! control frame that is long or fragmented, a fragment of no message, a
//! message within a message) is not followed any further. Such bytes are still
//! the caller's to pass on.

/// Longest payload of a control frame (5.5).
const CONTROL_MAX: u64 = 125;
/// Bytes of a masking key.
const MASK_BYTES: u64 = 4;

const OPCODE: u8 = 0x0f;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;

/// Who sends: a client masks its frames, a server must not (5.1).
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Sender {
    /// The end that asked for the upgrade.
    Client,
    /// The end that agreed to it.
    Server,
}

/// Where one direction stands.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Position {
    /// Between two frames; also before the first.
    Boundary,
    /// Within a frame.
    Within,
    /// A close frame has passed: what follows means nothing.
    Closed,
    /// The bytes are not framed as RFC 6455 says.
    Lost,
}

#[derive(Copy, Clone, Debug)]
enum State {
    /// So many bytes of a frame's head are there: 2, and 2 or 8 of its length.
    Head {
        bytes: [u8; 10],
        have: usize,
    },
    /// So many bytes of the frame are still to come.
    Payload {
        left: u64,
        close: bool,
    },
    Closed,
    Lost,
}

/// Follows the frames of one direction.
#[derive(Clone, Debug)]
pub struct Follower {
    sender: Sender,
    state: State,
    /// A message has begun whose last fragment is still to come.
    fragments: bool,
}

const FRESH: State = State::Head {
    bytes: [0; 10],
    have: 0,
};

impl Follower {
    /// Before the first frame.
    pub fn new(sender: Sender) -> Self {
        Self {
            sender,
            state: FRESH,
            fragments: false,
        }
    }

    /// Where it stands after all that was followed.
    pub fn position(&self) -> Position {
        match self.state {
            State::Head { have: 0, .. } => Position::Boundary,
            State::Head { .. } | State::Payload { .. } => Position::Within,
            State::Closed => Position::Closed,
            State::Lost => Position::Lost,
        }
    }

    /// Follows `bytes` to the end of the frame that they go on with, or as far
    /// as they go: how many of them that took. All of them once the direction
    /// is closed or lost; 0 only for none.
    pub fn step(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            let rest = bytes.get(taken..).unwrap_or_default();
            match &mut self.state {
                State::Closed | State::Lost => return bytes.len(),
                State::Payload { left, close } => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= count as u64;
                    if *left == 0 {
                        self.state = if *close { State::Closed } else { FRESH };
                    }
                    return taken + count;
                }
                State::Head { bytes: head, have } => {
                    let (Some(&byte), Some(place)) = (rest.first(), head.get_mut(*have)) else {
                        return taken;
                    };
                    *place = byte;
                    *have += 1;
                    taken += 1;
                    let (head, have) = (*head, *have);
                    if self.begin(head, have) {
                        return taken;
                    }
                }
            }
        }
    }

    /// Follows all of `bytes`.
    pub fn follow(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.step(rest);
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    /// So much of a head is there: begins the frame if that is all of it. True
    /// when the frame is over already, having no payload.
    fn begin(&mut self, head: [u8; 10], have: usize) -> bool {
        let [first, second, extended @ ..] = head;
        let masked = second & MASKED != 0;
        let short = u64::from(second & !MASKED);
        let (need, least) = match short {
            126 => (4, CONTROL_MAX + 1),
            127 => (10, 1 << 16),
            _ => (2, 0),
        };
        if have < 2 || have < need {
            return false;
        }
        let length = match (need, extended) {
            (4, [high, low, ..]) => u64::from(u16::from_be_bytes([high, low])),
            (10, extended) => u64::from_be_bytes(extended),
            (_, _) => short,
        };
        let legal = masked == (self.sender == Sender::Client)
            && length >= least
            && i64::try_from(length).is_ok()
            && self.fits(first, length);
        if !legal {
            self.state = State::Lost;
            return false;
        }
        let left = if masked { length + MASK_BYTES } else { length };
        let close = first & OPCODE == CLOSE;
        self.state = match (left, close) {
            (0, true) => State::Closed,
            (0, false) => FRESH,
            (left, close) => State::Payload { left, close },
        };
        left == 0
    }

    /// Whether a frame may stand here (5.4, 5.5).
    fn fits(&mut self, first: u8, length: u64) -> bool {
        let (last, opcode) = (first & FIN != 0, first & OPCODE);
        if opcode >= CLOSE {
            return last && length <= CONTROL_MAX;
        }
        let fits = self.fragments == (opcode == CONTINUATION);
        self.fragments = !last;
        fits
    }
}

/// Why an endpoint closes (7.4.1).
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[repr(u16)]
pub enum CloseCode {
    /// It is going away.
    GoingAway = 1001,
}

/// Appends a close frame with at most 123 bytes of `reason`, which is ASCII.
/// A client's frame is masked with `mask`; toward a client there is none.
pub fn write_close(code: CloseCode, reason: &str, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let reason = reason.as_bytes();
    let reason = reason.get(..123).unwrap_or(reason);
    let length = u8::try_from(reason.len() + 2).unwrap_or(125);
    let key = mask.unwrap_or([0; 4]);
    out.push(FIN | CLOSE);
    match mask {
        Some(mask) => {
            out.push(MASKED | length);
            out.extend_from_slice(&mask);
        }
        None => out.push(length),
    }
    let code = (code as u16).to_be_bytes();
    let plain = code.iter().chain(reason);
    out.extend(plain.zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests;
