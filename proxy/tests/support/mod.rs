//! What the tests of the command share: running it, a demo, a plain client.

#![expect(dead_code, reason = "each test binary uses its part")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A test that waits longer than this has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

pub(crate) fn meridian() -> Command {
    Command::new(env!("CARGO_BIN_EXE_meridian"))
}

/// Runs the command to its end.
pub(crate) fn run(args: &[&str]) -> Ran {
    ran(meridian().args(args).output().unwrap())
}

pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{}\n{}", self.out, self.err))
    }
}

pub(crate) fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A certificate and everything that the examples take from the environment.
pub(crate) struct Around {
    folder: tempfile::TempDir,
}

impl Around {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("tls.pem"), made.cert.pem()).unwrap();
        std::fs::write(
            folder.path().join("tls.key"),
            made.signing_key.serialize_pem(),
        )
        .unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn around(&self, command: &mut Command) -> Ran {
        command.env("UPSTREAM", "127.0.0.1:9000");
        command
            .env("HTTP_PORT", "8080")
            .env("HTTPS_PORT", "8443")
            .env("ADMIN_PORT", "9090");
        command
            .env("TLS_CERT", self.path("tls.pem"))
            .env("TLS_KEY", self.path("tls.key"))
            .env("TLS_CA", self.path("tls.pem"));
        // What a second key and a staple hold is no concern of a check.
        command
            .env("TLS_RSA_CERT", self.path("tls.pem"))
            .env("TLS_RSA_KEY", self.path("tls.key"))
            .env("TLS_OCSP", self.path("tls.der"))
            .env("TLS_TICKET_KEYS", self.path("tickets"));
        std::fs::write(self.path("tls.der"), [0x30, 0]).unwrap();
        std::fs::write(self.path("tickets"), "5a".repeat(32)).unwrap();
        command.env("ACCESS_LOG", self.path("access.log"));
        ran(command.output().unwrap())
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

/// Asks until the answer is there: no sleeps but the yield between two looks.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::yield_now();
    }
}

/// A running demo, ended with the test.
pub(crate) struct Demo {
    pub(crate) child: Child,
    /// What it printed when it was ready.
    pub(crate) ready: Value,
    pub(crate) dir: PathBuf,
    stderr: PathBuf,
    out: BufReader<ChildStdout>,
    _folder: tempfile::TempDir,
}

impl Demo {
    /// On free ports, in a fresh folder.
    pub(crate) fn start() -> Self {
        Self::start_in(|_| {})
    }

    /// In a folder that was prepared.
    pub(crate) fn start_in(prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("demo");
        std::fs::create_dir(&dir).unwrap();
        prepare(&dir);
        let stderr = folder.path().join("stderr");
        let mut child = meridian()
            .args([
                "demo", "--http", "0", "--https", "0", "--admin", "0", "--json", "--dir",
            ])
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!(
                "no ready line: {line:?}\n{}",
                std::fs::read_to_string(&stderr).unwrap()
            )
        });
        Self {
            child,
            ready,
            dir,
            stderr,
            out,
            _folder: folder,
        }
    }

    pub(crate) fn url(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap()
    }

    pub(crate) fn address(&self, key: &str) -> SocketAddr {
        self.url(key).rsplit('/').next().unwrap().parse().unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    pub(crate) fn backend_pid(&self, region: &str) -> i32 {
        i32::try_from(self.ready["backends"][region]["pid"].as_i64().unwrap()).unwrap()
    }

    /// `GET path` at the public plain port.
    pub(crate) fn get(&self, path: &str, fields: &[&str]) -> Reply {
        ask(self.address("http"), "GET", path, fields)
    }

    pub(crate) fn admin(&self, path: &str) -> Reply {
        ask(self.address("admin"), "GET", path, &[])
    }

    /// Replaces text in a policy file by a rename, as editors do.
    pub(crate) fn edit(&self, file: &str, change: impl FnOnce(&str) -> String) {
        let path = self.dir.join("policies").join(file);
        let text = change(&std::fs::read_to_string(&path).unwrap());
        let new = self.dir.join("policies/.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end; the exit code and what else it printed.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let status = until("the demo ends", || self.child.try_wait().unwrap());
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (status.code(), rest)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// True while a process exists and is not a zombie.
pub(crate) fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// One answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}\n{}", self.head, self.body))
    }
}

/// One request on a connection of its own; the connection's end ends the
/// answer, chunks are put together.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, fields: &[&str]) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let fields: String = fields.iter().flat_map(|field| [*field, "\r\n"]).collect();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut reply = Reply {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    };
    if reply.field("transfer-encoding").is_some() {
        reply.body = unchunked(body);
    }
    reply
}

fn unchunked(mut rest: &str) -> String {
    let mut out = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        out.push_str(&tail[..size]);
        rest = &tail[size + 2..];
    }
    out
}

/// Says why a test did not test, for `scripts/test` to count.
pub(crate) fn skipped(test: &str, why: &str) {
    eprintln!("skipped: {test}: {why}");
    if let Ok(path) = std::env::var("MERIDIAN_SKIPPED") {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        writeln!(file, "{test}: {why}").unwrap();
    }
}
