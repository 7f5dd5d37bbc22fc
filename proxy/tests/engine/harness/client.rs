//! A client that writes raw bytes and reads what HTTP/1 says comes back.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
    patient(&stream);
    stream
}

pub(crate) fn patient(stream: &TcpStream) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
}

/// Ends a connection by a reset.
pub(crate) fn reset(stream: TcpStream) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    stream.set_nonblocking(true).unwrap();
    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
    stream.set_zero_linger().unwrap();
}

/// How a connection ended.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Clean,
    Reset,
}

/// Why there is no whole answer.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Broken {
    /// The connection ended; bytes of the body so far.
    Ended(End, Vec<u8>),
    /// Not HTTP.
    Malformed(String),
}

/// One answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) version: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Answer {
    /// The only field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.all(name);
        let found = all.next();
        assert!(all.next().is_none(), "{name} more than once: {self:?}");
        found
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Writes; a closed connection is for the reads to notice.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Sends and reads the answer.
    pub(crate) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes);
        self.answer()
    }

    /// `GET target` and its answer.
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: edge\r\n\r\n"))
    }

    /// A whole answer with a body.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer("GET")
            .unwrap_or_else(|broken| panic!("no answer: {broken:?}"))
    }

    /// A whole answer to this method, or why there is none.
    pub(crate) fn try_answer(&mut self, method: &str) -> Result<Answer, Broken> {
        let mut answer = self.head()?;
        let status = answer.status;
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Ok(answer);
        }
        if answer.field("transfer-encoding").is_some() {
            while self.chunk(&mut answer.body)? {}
            answer.trailers = self.fields()?;
        } else if let Some(length) = answer.field("content-length") {
            let length: usize = length.parse().unwrap();
            while self.unread.len() < length {
                if let Err(end) = self.fill() {
                    return Err(Broken::Ended(end, std::mem::take(&mut self.unread)));
                }
            }
            answer.body = self.unread.drain(..length).collect();
        } else {
            loop {
                match self.fill() {
                    Ok(()) => {}
                    Err(End::Clean) => break,
                    Err(end) => return Err(Broken::Ended(end, std::mem::take(&mut self.unread))),
                }
            }
            answer.body = std::mem::take(&mut self.unread);
        }
        Ok(answer)
    }

    /// A head alone; its body is still to be read.
    pub(crate) fn head(&mut self) -> Result<Answer, Broken> {
        let line = self.line()?;
        let mut words = line.splitn(3, ' ');
        let version = words.next().unwrap_or_default().to_owned();
        let status = words.next().and_then(|word| word.parse().ok());
        let Some(status) = status.filter(|_| version.starts_with("HTTP/1.")) else {
            return Err(Broken::Malformed(line));
        };
        let fields = self.fields()?;
        Ok(Answer {
            status,
            version,
            fields,
            body: Vec::new(),
            trailers: Vec::new(),
        })
    }

    fn fields(&mut self) -> Result<Vec<(String, String)>, Broken> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let Some((name, value)) = line.split_once(':') else {
                return Err(Broken::Malformed(line));
            };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Appends one chunk; false after the last.
    pub(crate) fn chunk(&mut self, body: &mut Vec<u8>) -> Result<bool, Broken> {
        let line = match self.line() {
            Err(Broken::Ended(end, _)) => return Err(Broken::Ended(end, std::mem::take(body))),
            other => other?,
        };
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16);
        let Ok(size) = size else {
            return Err(Broken::Malformed(line));
        };
        if size == 0 {
            return Ok(false);
        }
        while self.unread.len() < size + 2 {
            if let Err(end) = self.fill() {
                body.append(&mut self.unread);
                return Err(Broken::Ended(end, std::mem::take(body)));
            }
        }
        body.extend(self.unread.drain(..size));
        let end: Vec<u8> = self.unread.drain(..2).collect();
        if end == b"\r\n" {
            Ok(true)
        } else {
            Err(Broken::Malformed("chunk".to_owned()))
        }
    }

    fn line(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).into_owned();
                let Some(line) = line.strip_suffix("\r\n") else {
                    return Err(Broken::Malformed(line));
                };
                return Ok(line.to_owned());
            }
            self.fill().map_err(|end| Broken::Ended(end, Vec::new()))?;
        }
    }

    /// Exactly so many raw bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            self.fill()
                .unwrap_or_else(|end| panic!("{end:?} after {} bytes", self.unread.len()));
        }
        self.unread.drain(..count).collect()
    }

    fn fill(&mut self) -> Result<(), End> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(End::Clean),
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!(
                    "nothing to read within {PATIENCE:?}; so far {:?}",
                    self.so_far()
                )
            }
            Err(_) => Err(End::Reset),
        }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(self.unread.get(..200).unwrap_or(&self.unread)).into_owned()
    }

    /// All that still comes, and how it ends.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.fill() {
                return (std::mem::take(&mut self.unread), end);
            }
        }
    }

    /// Nothing comes for so long, and the connection stays.
    pub(crate) fn quiet_for(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let read = self.stream.read(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let quiet = read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        assert!(quiet && self.unread.is_empty());
    }

    /// The connection ends, and nothing more comes before that.
    pub(crate) fn ends(&mut self) -> End {
        let (rest, end) = self.rest();
        assert!(
            rest.is_empty(),
            "more came: {:?}",
            String::from_utf8_lossy(&rest)
        );
        end
    }

    /// Closes the sending side.
    pub(crate) fn close_write(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Leaves without a word.
    pub(crate) fn abort(self) {
        reset(self.stream);
    }
}
