//! `meridian run` as a child process, its admin side on a socket file.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{PATIENCE, Ran, meridian, ran, until};

/// An edge in a process of its own.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) files: Files,
    pub(crate) plain: SocketAddr,
}

/// Its files; they outlive the process.
pub(crate) struct Files {
    folder: TempDir,
    endpoint: SocketAddr,
}

impl Files {
    /// An edge that forwards everything to one endpoint; `more` are further
    /// lines of the static file.
    pub(crate) fn new(endpoint: SocketAddr, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Self { folder, endpoint };
        files.write_static(
            "listeners:\n  - { address: \"127.0.0.1:0\", protocols: [h1] }\n",
            more,
        );
        std::fs::create_dir(files.path("policies")).unwrap();
        files.write_policies(&policies(endpoint, 100));
        files
    }

    pub(crate) fn write_static(&self, listeners: &str, more: &str) {
        let text = format!(
            "edge: {{ region: local }}\nthreads: 2\n{listeners}\
             admin: {{ address: \"unix:{}\" }}\ngeo: {{ embedded: off }}\n\
             telemetry: {{ access_log: off, receipts: 16 }}\n{more}",
            self.path("admin.sock").display()
        );
        std::fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn write_policies(&self, text: &str) {
        let new = self.path("policies/.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path("policies/policies.yaml")).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn backend(&self) -> SocketAddr {
        self.endpoint
    }

    /// What the pid file says.
    pub(crate) fn pid(&self) -> Option<i32> {
        let text = std::fs::read_to_string(self.path("pid")).ok()?;
        text.trim().parse().ok()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("meridian.yaml")
    }

    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }

    /// A verb of the command, with this configuration.
    pub(crate) fn verb(&self, verb: &str, more: &[&str]) -> Ran {
        ran(self.verb_command(verb, more).output().unwrap())
    }

    pub(crate) fn verb_command(&self, verb: &str, more: &[&str]) -> Command {
        let mut command = meridian();
        command.arg(verb).arg("--config").arg(self.config());
        command.args(more);
        command
    }

    /// `GET /readyz`, if anybody answers.
    pub(crate) fn readyz(&self) -> Option<(u16, Value)> {
        admin(&self.path("admin.sock"), "GET", "/readyz")
    }
}

/// The weight is what tests change to have another generation.
pub(crate) fn policies(endpoint: SocketAddr, weight: u32) -> String {
    format!(
        "regions:\n  - {{ id: local, weight: {weight}, endpoints: [\"http://{endpoint}\"] }}\n\
         routes:\n  - {{ id: health, path: /edge-health, action: health }}\n\
         \x20 - {{ id: everything, path: \"/*\", websocket: on, body_limit: 1GiB }}\n\
         waf: {{ mode: off }}\nhealth_check: off\nresidency: off\n\
         outlier_detection: {{ max_ejection_percent: 0 }}\n"
    )
}

/// One request over the admin side's socket file, answered in JSON.
pub(crate) fn admin(socket: &Path, method: &str, path: &str) -> Option<(u16, Value)> {
    let (status, body) = asked(socket, method, path)?;
    Some((status, serde_json::from_str(&body).ok()?))
}

/// One request over the admin side's socket file.
pub(crate) fn asked(socket: &Path, method: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

impl Process {
    pub(crate) fn start(files: Files) -> Self {
        Self::start_with(files, |_| {})
    }

    pub(crate) fn start_with(files: Files, change: impl FnOnce(&mut Command)) -> Self {
        let mut command = files.verb_command("run", &[]);
        change(&mut command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(files.path("stderr")).unwrap());
        let child = command.spawn().unwrap();
        let plain = until("the edge listens", || {
            listening(&files.stderr()).first().copied()
        });
        Self {
            child,
            files,
            plain,
        }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end and gives the exit code.
    pub(crate) fn exit(&mut self) -> Option<i32> {
        until("the process ends", || self.child.try_wait().unwrap()).code()
    }

    /// A connection that has sent one request head.
    pub(crate) fn send(&self, head: &str) -> TcpStream {
        let mut stream = connect(self.plain);
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The addresses that it said it listens on.
pub(crate) fn listening(stderr: &str) -> Vec<SocketAddr> {
    stderr
        .split("listening on ")
        .skip(1)
        .filter_map(|rest| rest.split('"').next()?.parse().ok())
        .collect()
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads one answer with a length from a kept connection.
pub(crate) fn answer(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0; 1];
    while !text.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let length: usize = head
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().unwrap())
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(head + std::str::from_utf8(&body).unwrap())
}

/// Events of a stream, pieces of an upload and bytes of a piece.
pub(crate) const EVENTS: usize = 20;
pub(crate) const PIECES: usize = 20;
pub(crate) const PIECE: usize = 8 * 1024;

/// What belongs to the key of RFC 6455, 1.3.
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A backend that streams `/events`, echoes `/socket`, counts `/count` and
/// answers `ok` to all else.
pub(crate) fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            // What ends it is the edge's or the test's affair.
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0; 1];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let line = head.lines().next().unwrap();
        if line.contains(" /events") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            for number in 0..EVENTS {
                let event = format!("data: {number}\n\n");
                write!(stream, "{:x}\r\n{event}\r\n", event.len())?;
                std::thread::park_timeout(std::time::Duration::from_millis(50));
            }
            stream.write_all(b"0\r\n\r\n")?;
        } else if line.contains(" /socket") {
            write!(
                stream,
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
            )?;
            let mut echoed = stream.try_clone()?;
            std::io::copy(&mut stream, &mut echoed)?;
            return Ok(());
        } else if line.contains(" /count") {
            let mut body = vec![0; PIECE * PIECES];
            stream.read_exact(&mut body)?;
            let count = body.len().to_string();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{count}",
                count.len()
            )?;
        } else {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
    }
}
