//! Asks the admin side of a running edge, as its settings say where it is.
//!
//! Promises: one request a connection, with the token of the settings, within
//! bounds of time and size. Refuses: to guess an address. With `port: 0` in the
//! settings, or from another machine, `--admin` says where.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use super::{ConfigArg, output};
use crate::settings::{AdminBind, Secret, Settings};

/// For the connection, and for each read and write. A reload may have much to
/// compile.
const PATIENCE: Duration = Duration::from_mins(1);

/// Bytes of an answer.
const ANSWER_MAX: u64 = 64 * 1024 * 1024;

/// Which edge.
#[derive(Args, Clone, Debug)]
pub(super) struct AdminArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// Where its admin side listens, if not where the static file says
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<SocketAddr>,
}

/// The admin side of one edge.
pub(super) struct Side {
    bind: AdminBind,
    token: Option<Secret>,
}

/// What it answered.
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Told {
    /// The same, with a refusal of the admin side itself (a wrong token) as a
    /// fault.
    pub(super) fn admitted(self) -> anyhow::Result<Self> {
        match self.body.get("reason").and_then(Value::as_str) {
            Some(reason) => bail!("refused ({reason}): {}", self.refusal().unwrap_or_default()),
            None => Ok(self),
        }
    }

    /// Why it did not do what was asked; `None`: it did.
    pub(super) fn refusal(&self) -> Option<String> {
        if self.status < 400 {
            return None;
        }
        let detail = self.body.get("detail").and_then(Value::as_str);
        Some(detail.map_or_else(|| format!("status {}", self.status), str::to_owned))
    }
}

impl AdminArgs {
    /// The side that is meant; `None`: the static file has faults, which have
    /// been printed.
    pub(super) fn side(&self) -> anyhow::Result<Option<Side>> {
        let settings = match Settings::load(&self.config.config) {
            Ok(settings) => settings,
            Err(faults) => {
                output::diagnostics(&faults);
                return Ok(None);
            }
        };
        let admin = settings.admin;
        let bind = match (self.admin, &admin) {
            (Some(address), _) => AdminBind::Tcp(address),
            (None, Some(admin)) => admin.bind.clone(),
            (None, None) => bail!("the admin side is off in the static file"),
        };
        let token = admin.and_then(|admin| admin.token);
        Ok(Some(Side { bind, token }))
    }
}

impl Side {
    /// Reads something.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Told> {
        self.ask("GET", path, "")
    }

    /// Changes something.
    pub(super) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Told> {
        self.ask("POST", path, &body.to_string())
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> anyhow::Result<Told> {
        match &self.bind {
            AdminBind::Tcp(address) => {
                let mut address = *address;
                if address.port() == 0 {
                    bail!("the static file leaves the admin port open; say it with --admin");
                }
                if address.ip().is_unspecified() {
                    address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
                }
                let stream = TcpStream::connect_timeout(&address, PATIENCE)
                    .with_context(|| format!("no edge answers at {address}"))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                self.exchange(stream, (method, path), body)
            }
            AdminBind::Unix(path_of) => {
                let stream = UnixStream::connect(path_of)
                    .with_context(|| format!("no edge answers at {}", path_of.display()))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                self.exchange(stream, (method, path), body)
            }
        }
    }

    fn exchange(
        &self,
        mut stream: impl Read + Write,
        (method, path): (&str, &str),
        body: &str,
    ) -> anyhow::Result<Told> {
        let token = self.token.as_ref().map_or_else(String::new, |token| {
            format!("authorization: Bearer {}\r\n", token.reveal())
        });
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nhost: localhost\r\n{token}content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
        read(&answer).context("what answered is no admin side of an edge")
    }
}

/// An HTTP/1.0 answer whose body ends with the connection.
fn read(answer: &[u8]) -> Option<Told> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let body = serde_json::from_str(body).ok()?;
    Some(Told { status, body })
}

/// A region's id as a part of a path.
pub(super) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_json() {
        let told = read(b"HTTP/1.0 404 Not Found\r\na: b\r\n\r\n{\"detail\":\"no such\"}").unwrap();
        assert_eq!(told.refusal().as_deref(), Some("no such"));
        let told = read(b"HTTP/1.1 200 OK\r\n\r\n{}").unwrap();
        assert_eq!(told.refusal(), None);
        for odd in [
            &b""[..],
            b"hello",
            b"HTTP/1.1 xyz\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\n\r\n<html>",
        ] {
            assert!(read(odd).is_none());
        }
    }

    #[test]
    fn odd_names_stay_within_their_part_of_the_path() {
        assert_eq!(encoded("eu-1"), "eu-1");
        assert_eq!(encoded("a/b?c d"), "a%2Fb%3Fc%20d");
    }
}
