//! A WebSocket as raw bytes behind their opening, whatever carries them.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tungstenite::handshake::derive_accept_key;

use super::client::{self, Client, End};
use super::frames::{
    ACK, DATA, END_STREAM, Frame, Frames, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, request,
};
use super::upstream::{Call, field};
use super::{Carrier, PATIENCE, TestEdge, h3client};

/// What carries a WebSocket.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Over {
    H1(Carrier),
    H2,
    H3,
}

pub(crate) const OVER: [Over; 4] = [
    Over::H1(Carrier::Plain),
    Over::H1(Carrier::Tls),
    Over::H2,
    Over::H3,
];

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The client's opening over HTTP/1.1.
pub(crate) fn opening(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: edge\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: WebSocket\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: chat\r\n\r\n"
    )
}

/// A client's end behind the opening.
pub(crate) enum Socket {
    H1(Client),
    H2(Box<Stream>),
    H3(Quic),
}

/// Stream 1 of a connection.
pub(crate) struct Stream {
    pub(crate) frames: Frames,
    unread: Vec<u8>,
    ended: Option<End>,
    window: i64,
    connection_window: i64,
    initial: i64,
    /// Gives back what it has read.
    credit: bool,
}

const STREAM: u32 = 1;

impl Socket {
    /// Opened; the edge has agreed.
    pub(crate) fn open(edge: &TestEdge, over: Over) -> Self {
        Self::ask(edge, over, "/ws").unwrap_or_else(|status| panic!("{over:?}: {status}"))
    }

    /// Opened, or the status of the refusal.
    pub(crate) fn ask(edge: &TestEdge, over: Over, path: &str) -> Result<Self, u16> {
        match over {
            Over::H1(carrier) => Self::over_h1(edge.over(carrier), path),
            Over::H2 => {
                let mut frames = Frames::open(edge);
                let mut fields = vec![(&b":protocol"[..], &b"websocket"[..])];
                fields.splice(0..0, request("CONNECT", path));
                fields.push((b"sec-websocket-version", b"13"));
                fields.push((b"sec-websocket-protocol", b"chat"));
                frames.headers(STREAM, &fields, 0);
                let mut stream = Stream {
                    frames,
                    unread: Vec::new(),
                    ended: None,
                    window: 65_535,
                    connection_window: 65_535,
                    initial: 65_535,
                    credit: true,
                };
                match stream.status() {
                    200 => Ok(Self::H2(Box::new(stream))),
                    status => Err(status),
                }
            }
            Over::H3 => Quic::ask(edge.tls, path).map(Self::H3),
        }
    }

    /// To a backend itself.
    pub(crate) fn direct(to: SocketAddr) -> Self {
        Self::over_h1(Client::new(client::connect(to)), "/ws")
            .ok()
            .unwrap()
    }

    fn over_h1(mut client: Client, path: &str) -> Result<Self, u16> {
        client.send(opening(path));
        match client.head().unwrap() {
            answer if answer.status == 101 => {
                assert_eq!(
                    answer.field("sec-websocket-accept"),
                    Some(derive_accept_key(KEY.as_bytes()).as_str())
                );
                Ok(Self::H1(client))
            }
            answer => Err(answer.status),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self {
            Self::H1(client) => client.send(bytes),
            Self::H2(stream) => stream.send(bytes.as_ref(), 0),
            Self::H3(quic) => quic.tell(Tell::Send(bytes.as_ref().to_vec())),
        }
    }

    /// Sends the last bytes with the end of the sending side.
    pub(crate) fn finish(&mut self, bytes: impl AsRef<[u8]>) {
        match self {
            Self::H1(client) => {
                client.send(bytes);
                client.close_write();
            }
            Self::H2(stream) => stream.send(bytes.as_ref(), END_STREAM),
            Self::H3(quic) => {
                quic.tell(Tell::Send(bytes.as_ref().to_vec()));
                quic.tell(Tell::Finish);
            }
        }
    }

    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        match self {
            Self::H1(client) => client.exactly(count),
            Self::H2(stream) => {
                while stream.unread.len() < count {
                    assert_eq!(stream.ended, None, "after {} bytes", stream.unread.len());
                    stream.step();
                }
                stream.unread.drain(..count).collect()
            }
            Self::H3(quic) => {
                while quic.unread.len() < count {
                    assert_eq!(quic.ended, None, "after {} bytes", quic.unread.len());
                    quic.step();
                }
                quic.unread.drain(..count).collect()
            }
        }
    }

    /// All that still comes, and how it ends.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        match self {
            Self::H1(client) => client.rest(),
            Self::H2(stream) => loop {
                if let Some(end) = stream.ended {
                    return (std::mem::take(&mut stream.unread), end);
                }
                stream.step();
            },
            Self::H3(quic) => loop {
                if let Some(end) = quic.ended {
                    return (std::mem::take(&mut quic.unread), end);
                }
                quic.step();
            },
        }
    }

    /// Leaves without a word.
    pub(crate) fn abort(self) {
        match self {
            Self::H1(client) => client.abort(),
            Self::H2(mut stream) => {
                let cancel = 8_u32.to_be_bytes();
                stream.frames.frame(RST_STREAM, 0, STREAM, &cancel);
            }
            Self::H3(quic) => quic.tell(Tell::Abort),
        }
    }

    /// Reads no more than the windows that were given so far.
    pub(crate) fn stall(&mut self) {
        if let Self::H2(stream) = self {
            stream.credit = false;
        }
    }

    /// Reads on.
    pub(crate) fn resume(&mut self) {
        if let Self::H2(stream) = self {
            stream.credit = true;
            stream.give(1 << 20);
        }
    }
}

impl Stream {
    fn status(&mut self) -> u16 {
        loop {
            let frame = self.frames.next().expect("an answer");
            self.count(&frame);
            if frame.stream == STREAM && frame.kind == HEADERS {
                return frame.status();
            }
            assert_ne!(frame.kind, RST_STREAM, "{frame:?}");
        }
    }

    /// Reads one frame.
    fn step(&mut self) {
        let Some(frame) = self.frames.next() else {
            self.ended.get_or_insert(End::Reset);
            return;
        };
        self.count(&frame);
        if frame.stream != STREAM {
            return;
        }
        if frame.kind == DATA {
            if self.credit && !frame.payload.is_empty() {
                self.give(u32::try_from(frame.payload.len()).unwrap());
            }
            self.unread.extend(&frame.payload);
        }
        if frame.kind == RST_STREAM {
            self.ended.get_or_insert(End::Reset);
        } else if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
            self.ended.get_or_insert(End::Clean);
        }
    }

    fn give(&mut self, count: u32) {
        for stream in [0, STREAM] {
            self.frames
                .frame(WINDOW_UPDATE, 0, stream, &count.to_be_bytes());
        }
    }

    fn count(&mut self, frame: &Frame) {
        if frame.kind == WINDOW_UPDATE {
            let more = frame.payload.as_slice().try_into().unwrap();
            let more = i64::from(u32::from_be_bytes(more));
            match frame.stream {
                0 => self.connection_window += more,
                _ => self.window += more,
            }
        }
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            for entry in frame.payload.chunks_exact(6) {
                let value = i64::from(u32::from_be_bytes(entry[2..].try_into().unwrap()));
                if entry[..2] == [0, 4] {
                    self.window += value - self.initial;
                    self.initial = value;
                }
            }
            // They hold from then on.
            self.frames.frame(SETTINGS, ACK, 0, &[]);
        }
    }

    /// Sends in frames, as the edge's windows allow.
    fn send(&mut self, mut bytes: &[u8], last: u8) {
        while self.ended.is_none() {
            let room = self.window.min(self.connection_window).max(0);
            let count = bytes.len().min(usize::try_from(room).unwrap()).min(16_384);
            if count == 0 && !bytes.is_empty() {
                self.step();
                continue;
            }
            let (part, rest) = bytes.split_at(count);
            let flags = if rest.is_empty() { last } else { 0 };
            self.frames.frame(DATA, flags, STREAM, part);
            self.window -= i64::try_from(count).unwrap();
            self.connection_window -= i64::try_from(count).unwrap();
            if rest.is_empty() {
                return;
            }
            bytes = rest;
        }
    }
}

/// What is told to the task of an HTTP/3 client.
enum Tell {
    Send(Vec<u8>),
    Finish,
    Abort,
}

/// What it tells.
enum Told {
    Status(u16),
    Data(Vec<u8>),
    Ended(End),
}

/// A stream of an HTTP/3 connection, with a thread of its own.
pub(crate) struct Quic {
    to: UnboundedSender<Tell>,
    from: Receiver<Told>,
    unread: Vec<u8>,
    ended: Option<End>,
}

impl Quic {
    fn ask(to: SocketAddr, path: &str) -> Result<Self, u16> {
        let (tell, telling) = unbounded_channel();
        let (say, from) = channel();
        let path = path.to_owned();
        std::thread::spawn(move || h3client::run(converse(to, path, telling, say)));
        match from.recv_timeout(PATIENCE).unwrap() {
            Told::Status(200) => Ok(Self {
                to: tell,
                from,
                unread: Vec::new(),
                ended: None,
            }),
            Told::Status(status) => Err(status),
            Told::Data(_) | Told::Ended(_) => panic!("no answer"),
        }
    }

    fn tell(&self, tell: Tell) {
        // A task that has ended is for the reads to notice.
        let _ = self.to.send(tell);
    }

    fn step(&mut self) {
        match self.from.recv_timeout(PATIENCE).unwrap() {
            Told::Data(data) => self.unread.extend(data),
            Told::Ended(end) => self.ended = Some(end),
            Told::Status(status) => panic!("a second head: {status}"),
        }
    }
}

async fn converse(
    to: SocketAddr,
    path: String,
    mut telling: UnboundedReceiver<Tell>,
    say: Sender<Told>,
) {
    let raw = h3client::Raw::connect(to).await;
    let fields = [
        (":protocol", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
    ];
    let (mut send, mut recv) = raw.begin("CONNECT", &path, &fields).await;
    let writing = async move {
        while let Some(tell) = telling.recv().await {
            match tell {
                Tell::Send(bytes) if bytes.is_empty() => {}
                Tell::Send(bytes) => {
                    let mut frame = vec![0];
                    let length = u32::try_from(bytes.len()).unwrap() | 0x8000_0000;
                    frame.extend(length.to_be_bytes());
                    frame.extend(bytes);
                    let _ = send.write_all(&frame).await;
                }
                Tell::Finish => {
                    let _ = send.finish();
                }
                Tell::Abort => {
                    let _ = send.reset(0x10c_u32.into());
                }
            }
        }
        // Nobody reads any more either.
    };
    let reading = async move {
        let mut unread = Vec::new();
        let end = loop {
            match recv.read_chunk(16_384, true).await {
                Ok(Some(chunk)) => unread.extend_from_slice(&chunk.bytes),
                Ok(None) => break End::Clean,
                Err(_) => break End::Reset,
            }
            while let Some((kind, payload)) = h3_frame(&mut unread) {
                let told = match kind {
                    0 => Told::Data(payload),
                    1 => Told::Status(h3_status(&payload)),
                    _ => continue,
                };
                let _ = say.send(told);
            }
        };
        let _ = say.send(Told::Ended(end));
        // The connection lives as long as its client.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
    raw.leave().await;
}

/// Takes one frame off the front.
fn h3_frame(unread: &mut Vec<u8>) -> Option<(u64, Vec<u8>)> {
    let (kind, one) = varint(unread)?;
    let (length, two) = varint(unread.get(one..)?)?;
    let length = usize::try_from(length).unwrap();
    unread.get(one + two..one + two + length)?;
    let payload = unread.drain(..one + two + length).skip(one + two).collect();
    Some((kind, payload))
}

fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let count = 1 << (bytes.first()? >> 6);
    let rest = bytes.get(1..count)?;
    let first = u64::from(bytes[0] & 0x3f);
    let value = rest
        .iter()
        .fold(first, |value, byte| value << 8 | u64::from(*byte));
    Some((value, count))
}

/// `:status`, which the edge puts first (RFC 9204, appendix A).
fn h3_status(section: &[u8]) -> u16 {
    match section[2..] {
        [0xd9, ..] => 200,
        [0xdb, ..] => 404,
        [0xdc, ..] => 503,
        [0xff, index, ..] if index < 9 => {
            [100, 204, 206, 302, 400, 403, 421, 425, 500][usize::from(index)]
        }
        [0x5f, 9, 3, ref digits @ ..] => {
            std::str::from_utf8(&digits[..3]).unwrap().parse().unwrap()
        }
        ref other => panic!("not a status: {:x?}", &other[..8]),
    }
}

/// A frame with a payload: masked, as clients send them, or plain.
pub(crate) fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(bit | u8::try_from(length).unwrap()),
        length @ 126..=0xffff => {
            bytes.push(bit | 0x7e);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(bit | 0x7f);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.iter().flatten());
    let key = mask.unwrap_or([0; 4]);
    bytes.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

/// A client's frame.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, Some([0x37, 0xfa, 0x21, 0x3d]), payload)
}

/// A server's frame.
pub(crate) fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, None, payload)
}

/// A close frame's payload.
pub(crate) fn reason(code: u16, text: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], text.as_bytes()].concat()
}

impl Call {
    /// Reads an opening and agrees to it; the head.
    pub(crate) fn upgrade(&mut self) -> Option<String> {
        let head = self.head()?;
        let lower = head.to_ascii_lowercase();
        assert!(
            lower.starts_with("get ") && lower.contains("upgrade: websocket\r\n"),
            "{head}"
        );
        let accept = derive_accept_key(field(&head, "sec-websocket-key")?.as_bytes());
        self.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
        ))
        .ok()?;
        Some(head)
    }

    /// The next frame from the client, unmasked: its first byte and payload.
    pub(crate) fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.exactly(2)?;
        assert_eq!(head[1] & 0x80, 0x80, "a client masks");
        let length = match head[1] & 0x7f {
            126 => usize::from(u16::from_be_bytes(self.exactly(2)?.try_into().unwrap())),
            127 => {
                let bytes = self.exactly(8)?.try_into().unwrap();
                usize::try_from(u64::from_be_bytes(bytes)).unwrap()
            }
            short => usize::from(short),
        };
        let mask = self.exactly(4)?;
        let payload = self.exactly(length)?;
        let plain = payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key);
        Some((head[0], plain.collect()))
    }
}
