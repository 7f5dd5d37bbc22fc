//! HTTP/2 as raw frames, for what no library would send.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use super::{PATIENCE, TestEdge, tls};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame that arrived.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a reset stream or a connection's end.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// `:status`, which every encoder puts first; the table is still empty.
    pub(crate) fn status(&self) -> u16 {
        assert_eq!(self.kind, HEADERS);
        match self.payload[0] {
            indexed @ 0x88..=0x8e => {
                [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]
            }
            0x08 | 0x18 | 0x48 => digits(self.payload[1], &self.payload[2..]),
            other => panic!("not a status: {other:#x}"),
        }
    }
}

/// Three digits, plain or in Huffman's code (RFC 7541, appendix B).
fn digits(length: u8, bytes: &[u8]) -> u16 {
    if length & 0x80 == 0 {
        return std::str::from_utf8(&bytes[..3]).unwrap().parse().unwrap();
    }
    let bit = |at: usize| u16::from(bytes[at / 8] >> (7 - at % 8) & 1);
    let take = |at: usize, count: usize| (at..at + count).fold(0, |sum, at| sum << 1 | bit(at));
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        // 0 to 2 have the 5-bit codes 0 to 2; 3 to 9 the 6-bit codes 25 to 31.
        let (digit, used) = match take(at, 5) {
            short @ 0..=2 => (short, 5),
            _ => (take(at, 6) - 22, 6),
        };
        (at, number) = (at + used, number * 10 + digit);
    }
    number
}

/// How a stream ended.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Answered(u16),
    Reset(u32),
    GoAway(u32),
    Closed,
}

pub(crate) struct Frames {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

impl Frames {
    /// A connection whose settings are exchanged.
    pub(crate) fn open(edge: &TestEdge) -> Self {
        let mut frames = Self::raw(edge);
        frames.send(PREFACE);
        frames.frame(SETTINGS, 0, 0, &[]);
        frames
    }

    /// A connection on which nothing was sent.
    pub(crate) fn raw(edge: &TestEdge) -> Self {
        Self {
            stream: tls::connect(edge.tls, b"h2"),
            unread: Vec::new(),
        }
    }

    /// Writes; false when the edge takes no more.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    #[expect(clippy::too_many_arguments, reason = "the four parts of a frame")]
    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let bytes = frame(kind, flags, stream, payload);
        self.send(&bytes)
    }

    /// HEADERS that end the head.
    pub(crate) fn headers(&mut self, stream: u32, fields: &[(&[u8], &[u8])], more: u8) -> bool {
        self.frame(HEADERS, END_HEADERS | more, stream, &block(fields))
    }

    /// `GET path`, complete.
    pub(crate) fn get(&mut self, stream: u32, path: &str) -> bool {
        self.headers(stream, &request("GET", path), END_STREAM)
    }

    /// The next frame; nothing at the connection's end. Answers pings, as a
    /// decent client does.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let frame = self.silent()?;
        if frame.kind == PING && frame.flags & ACK == 0 {
            self.frame(PING, ACK, 0, &frame.payload);
        }
        Some(frame)
    }

    /// The next frame, to which nothing is answered.
    pub(crate) fn silent(&mut self) -> Option<Frame> {
        loop {
            if let Some(header) = self.unread.get(..9) {
                let length = usize::from(header[0]) << 16
                    | usize::from(header[1]) << 8
                    | usize::from(header[2]);
                if self.unread.len() >= 9 + length {
                    let (kind, flags) = (header[3], header[4]);
                    let stream = u32::from_be_bytes(header[5..9].try_into().unwrap());
                    let payload = self.unread.drain(..9 + length).skip(9).collect();
                    return Some(Frame {
                        kind,
                        flags,
                        stream,
                        payload,
                    });
                }
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("no frame within {PATIENCE:?}")
                }
                Err(_) => return None,
            }
        }
    }

    /// Reads until a frame is the one.
    pub(crate) fn until(&mut self, found: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if found(&frame) {
                return Some(frame);
            }
        }
    }

    /// What becomes of a stream.
    pub(crate) fn verdict(&mut self, stream: u32) -> Verdict {
        let found = self.until(|frame| {
            (frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM))
                || (frame.kind == GOAWAY && frame.code() != NO_ERROR)
        });
        match found {
            None => Verdict::Closed,
            Some(frame) if frame.kind == HEADERS => Verdict::Answered(frame.status()),
            Some(frame) if frame.kind == GOAWAY => Verdict::GoAway(frame.code()),
            Some(frame) => Verdict::Reset(frame.code()),
        }
    }

    /// The error code with which the connection ends.
    pub(crate) fn goaway(&mut self) -> Option<u32> {
        self.until(|frame| frame.kind == GOAWAY)
            .map(|frame| frame.code())
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Fields as literals that enter no table.
pub(crate) fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

fn length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

pub(crate) fn request<'a>(method: &'a str, path: &'a str) -> [(&'a [u8], &'a [u8]); 4] {
    [
        (b":method", method.as_bytes()),
        (b":scheme", b"https"),
        (b":authority", b"edge"),
        (b":path", path.as_bytes()),
    ]
}
