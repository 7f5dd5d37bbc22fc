//! A backend that follows a script, byte by byte, and remembers every byte
//! that it was sent.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::client::{connect, patient, reset};
use super::until;

/// What happened on one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Bytes from the edge.
    pub(crate) bytes: Vec<u8>,
    /// When the edge ended it.
    pub(crate) ended: Option<Instant>,
    /// The script is over and its side closed.
    pub(crate) closed: bool,
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

#[derive(Default)]
struct Log {
    seen: Mutex<Vec<Seen>>,
    open: Mutex<Vec<TcpStream>>,
    stopped: AtomicBool,
}

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    log: Arc<Log>,
}

impl Upstream {
    /// Runs the script once for each connection, on a thread of its own. The
    /// connection closes when the script returns.
    pub(crate) fn start(script: impl Fn(&mut Call) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let (script, seen_by) = (Arc::new(script), Arc::clone(&log));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if seen_by.stopped.load(Ordering::Acquire) {
                    return;
                }
                patient(&stream);
                let number = {
                    let mut seen = seen_by.seen.lock().unwrap();
                    seen.push(Seen::default());
                    seen.len() - 1
                };
                seen_by
                    .open
                    .lock()
                    .unwrap()
                    .push(stream.try_clone().unwrap());
                let mut call = Call {
                    stream,
                    number,
                    log: Arc::clone(&seen_by),
                    unread: Vec::new(),
                };
                let script = Arc::clone(&script);
                std::thread::spawn(move || {
                    script(&mut call);
                    let _ = call.stream.shutdown(Shutdown::Both);
                    call.log.seen.lock().unwrap()[call.number].closed = true;
                });
            }
        });
        Self { address, log }
    }

    /// Answers every request with 200 and what it read: the head as it came,
    /// an empty line and the body.
    pub(crate) fn echo() -> Self {
        Self::start(|call| {
            while let Some(request) = call.request() {
                let mut body = request.head.into_bytes();
                body.extend_from_slice(&request.body);
                if call.ok(&body).is_err() {
                    return;
                }
            }
        })
    }

    /// Answers each request with these bytes and keeps the connection.
    pub(crate) fn always(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |call| {
            while call.request().is_some() {
                if call.send(&answer).is_err() {
                    return;
                }
            }
        })
    }

    /// Closes the listener and every connection, as a process that dies does.
    pub(crate) fn stop(&self) {
        if !self.log.stopped.swap(true, Ordering::AcqRel) {
            drop(connect(self.address));
            for stream in self.log.open.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// What happened so far, by connection.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.log.seen.lock().unwrap().clone()
    }

    /// All bytes of all connections.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen()
            .into_iter()
            .flat_map(|seen| seen.bytes)
            .collect()
    }

    /// Request heads that mention this.
    pub(crate) fn count(&self, text: &str) -> usize {
        let bytes = self.bytes();
        String::from_utf8_lossy(&bytes).matches(text).count()
    }

    /// True when the script of this connection is over.
    pub(crate) fn is_closed(&self, number: usize) -> bool {
        self.seen()[number].closed
    }

    /// Waits until the bytes of one connection contain this.
    pub(crate) fn until_seen(&self, text: &str) {
        until(text, || {
            self.seen()
                .iter()
                .any(|seen| seen.text().contains(text))
                .then_some(())
        });
    }

    /// Waits until the edge has ended this connection; when it did.
    pub(crate) fn until_ended(&self, number: usize) -> Instant {
        until("the edge ends a connection to the backend", || {
            self.seen().get(number)?.ended
        })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An IPv4 address and port as `/proc/net/tcp` writes them.
fn tcp_table_address(address: SocketAddr) -> String {
    let SocketAddr::V4(v4) = address else {
        panic!("{address}")
    };
    format!(
        "{:08X}:{:04X}",
        u32::from_ne_bytes(v4.ip().octets()),
        v4.port()
    )
}

/// A request as the backend reads it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Request line and fields, with the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// The only field of this name.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut all = head.lines().skip(1).filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    });
    let found = all.next();
    assert!(all.next().is_none(), "{name} more than once: {head}");
    found
}

/// One connection from the edge.
pub(crate) struct Call {
    pub(crate) stream: TcpStream,
    /// Counts connections from 0.
    pub(crate) number: usize,
    log: Arc<Log>,
    unread: Vec<u8>,
}

impl Call {
    /// One read; false when the edge has ended the connection.
    pub(crate) fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        // Idle pooled connections outlive the patience of one read.
        let count = loop {
            match self.stream.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => break read.unwrap_or_default(),
            }
        };
        let mut seen = self.log.seen.lock().unwrap();
        let seen = &mut seen[self.number];
        if count == 0 {
            seen.ended = Some(Instant::now());
        }
        seen.bytes.extend_from_slice(&buffer[..count]);
        self.unread.extend_from_slice(&buffer[..count]);
        count > 0
    }

    /// Up to and with the next CRLF.
    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.unread.drain(..end + 2).collect();
                return Some(String::from_utf8(line).unwrap());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// A head, with its empty line.
    pub(crate) fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        loop {
            let line = self.line()?;
            head.push_str(&line);
            if line == "\r\n" {
                return Some(head);
            }
        }
    }

    /// A whole request.
    pub(crate) fn request(&mut self) -> Option<Request> {
        let head = self.head()?;
        let mut body = Vec::new();
        if field(&head, "transfer-encoding").is_some() {
            while self.chunk(&mut body)? {}
            while self.line()? != "\r\n" {}
        } else if let Some(length) = field(&head, "content-length") {
            body = self.exactly(length.parse().unwrap())?;
        }
        Some(Request { head, body })
    }

    /// Appends one chunk; false after the last.
    pub(crate) fn chunk(&mut self, body: &mut Vec<u8>) -> Option<bool> {
        let line = self.line()?;
        let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
        if size == 0 {
            return Some(false);
        }
        body.extend(self.exactly(size)?);
        assert_eq!(self.line()?, "\r\n");
        Some(true)
    }

    /// What there is, at least one byte.
    pub(crate) fn some(&mut self) -> Option<Vec<u8>> {
        if self.unread.is_empty() && !self.fill() {
            return None;
        }
        Some(std::mem::take(&mut self.unread))
    }

    /// Exactly so many bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            if !self.fill() {
                return None;
            }
        }
        Some(self.unread.drain(..count).collect())
    }

    /// True when the edge has ended the connection, though perhaps not all of
    /// it was read. Reads nothing.
    pub(crate) fn has_ended(&mut self) -> bool {
        let mut byte = [0];
        self.stream.set_nonblocking(true).unwrap();
        // Unread bytes hide an orderly end, but not a write that fails.
        let ended = match self.stream.peek(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        self.stream.set_nonblocking(false).unwrap();
        ended || self.log.stopped.load(Ordering::Acquire)
    }

    /// True when the connection was reset, or no longer takes a byte. Unread
    /// bytes hide its orderly end; a byte that nobody expects does not.
    pub(crate) fn has_broken(&mut self) -> bool {
        let error = self.stream.take_error().unwrap();
        error.is_some() || self.has_ended() || self.peer_is_gone()
    }

    /// Whether the kernel knows of the other end's FIN, read or not.
    fn peer_is_gone(&self) -> bool {
        let local = tcp_table_address(self.stream.local_addr().unwrap());
        let peer = tcp_table_address(self.stream.peer_addr().unwrap());
        let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        // State 01 is ESTABLISHED (Linux, proc(5)).
        let open = table.lines().any(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            words.next() == Some(&local)
                && words.next() == Some(&peer)
                && words.next() == Some("01")
        });
        !open
    }

    /// True when nothing more has been read than was used.
    pub(crate) fn is_dry(&self) -> bool {
        self.unread.is_empty()
    }

    /// Reads on until the edge ends the connection.
    pub(crate) fn until_ended(&mut self) {
        while self.fill() {}
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// 200 with this body.
    pub(crate) fn ok(&mut self, body: &[u8]) -> io::Result<()> {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        answer.extend_from_slice(body);
        self.send(answer)
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(&mut self) {
        let number = self.number;
        // The clones for `stop` would keep the socket open.
        let mut open = self.log.open.lock().unwrap();
        let own = self.stream.peer_addr();
        open.retain(|other| match (other.peer_addr(), &own) {
            (Ok(other), Ok(own)) => other != *own,
            _ => true,
        });
        drop(open);
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpStream::connect(nobody.local_addr().unwrap()).unwrap();
        reset(std::mem::replace(&mut self.stream, other));
        self.log.seen.lock().unwrap()[number].ended = Some(Instant::now());
    }
}
