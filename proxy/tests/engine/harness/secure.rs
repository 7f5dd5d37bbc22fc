//! Backends with TLS: one that follows a script and remembers whom it met,
//! and the regional backend as a process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls::{SupportedProtocolVersion, server::NoServerSessionStorage};

use super::client::patient;
use super::pki::{Authority, Leaf};

/// What was seen of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Met {
    /// The handshake was done.
    pub(crate) done: bool,
    /// The name in the edge's hello.
    pub(crate) name: Option<String>,
    pub(crate) resumed: bool,
    /// The edge's certificate.
    pub(crate) shown: Option<CertificateDer<'static>>,
    /// Heads of its requests.
    pub(crate) heads: Vec<String>,
    /// The edge said goodbye before its end.
    pub(crate) farewell: bool,
}

/// A scripted backend with TLS.
pub(crate) struct Secure {
    pub(crate) address: SocketAddr,
    met: Arc<Mutex<Vec<Met>>>,
    config: Arc<Mutex<Arc<ServerConfig>>>,
}

impl Secure {
    /// Runs the script for each connection whose handshake is done.
    pub(crate) fn start(
        config: ServerConfig,
        script: impl Fn(&mut SecureCall) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let met: Arc<Mutex<Vec<Met>>> = Arc::default();
        let config = Arc::new(Mutex::new(Arc::new(config)));
        let script = Arc::new(script);
        let (log, in_use) = (Arc::clone(&met), Arc::clone(&config));
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                patient(&socket);
                let config = Arc::clone(&in_use.lock().unwrap());
                let (script, met) = (Arc::clone(&script), Arc::clone(&log));
                let number = {
                    let mut met = met.lock().unwrap();
                    met.push(Met::default());
                    met.len() - 1
                };
                std::thread::spawn(move || {
                    if let Some(mut call) = SecureCall::accept((config, socket), number, met) {
                        script(&mut call);
                    }
                });
            }
        });
        Self {
            address,
            met,
            config,
        }
    }

    /// Answers every request with its own head.
    pub(crate) fn echo(config: ServerConfig) -> Self {
        Self::start(config, |call| {
            while let Some(head) = call.request() {
                call.ok(&head);
            }
        })
    }

    /// From now on connections are accepted with these.
    pub(crate) fn accept_with(&self, config: ServerConfig) {
        *self.config.lock().unwrap() = Arc::new(config);
    }

    /// All connections so far.
    pub(crate) fn met(&self) -> Vec<Met> {
        self.met.lock().unwrap().clone()
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.met().iter().map(|met| met.heads.len()).sum()
    }
}

/// One connection of a scripted backend.
pub(crate) struct SecureCall {
    stream: StreamOwned<ServerConnection, TcpStream>,
    number: usize,
    met: Arc<Mutex<Vec<Met>>>,
    unread: Vec<u8>,
}

impl SecureCall {
    fn accept(
        (config, socket): (Arc<ServerConfig>, TcpStream),
        number: usize,
        met: Arc<Mutex<Vec<Met>>>,
    ) -> Option<Self> {
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).ok()?;
        }
        let mut call = Self {
            stream,
            number,
            met,
            unread: Vec::new(),
        };
        let session = &call.stream.conn;
        let name = session.server_name().map(str::to_owned);
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let shown = session.peer_certificates();
        let shown = shown.map(|chain| chain[0].clone().into_owned());
        call.note(|met| {
            met.done = true;
            met.name = name;
            met.resumed = resumed;
            met.shown = shown;
        });
        Some(call)
    }

    fn note(&mut self, note: impl FnOnce(&mut Met)) {
        note(&mut self.met.lock().unwrap()[self.number]);
    }

    /// The head of the next request; its body is read and forgotten.
    pub(crate) fn request(&mut self) -> Option<String> {
        let head = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.unread.drain(..at + 4).collect();
                break String::from_utf8(head).unwrap();
            }
            self.fill()?;
        };
        let length = head.to_ascii_lowercase();
        let length = length
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            self.fill()?;
        }
        self.unread.drain(..length);
        let noted = head.clone();
        self.note(|met| met.heads.push(noted));
        Some(head)
    }

    fn fill(&mut self) -> Option<()> {
        let mut buffer = [0; 4_096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.note(|met| met.farewell = true);
                    return None;
                }
                Ok(count) => {
                    self.unread.extend_from_slice(&buffer[..count]);
                    return Some(());
                }
                // Idle pooled connections outlive the patience of one read.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }

    pub(crate) fn ok(&mut self, body: &str) {
        self.send(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    pub(crate) fn send(&mut self, bytes: &str) {
        // Whether it arrives is seen by the edge's client.
        let _ = self.stream.write_all(bytes.as_bytes());
        let _ = self.stream.flush();
    }

    /// Ends its side as TLS wants it.
    pub(crate) fn say_goodbye(&mut self) {
        self.stream.conn.send_close_notify();
        let _ = self.stream.flush();
    }
}

/// A server with this certificate; clients show one of the authority's.
pub(crate) fn server(leaf: &Leaf, clients: Option<&Authority>) -> ServerConfig {
    server_of(leaf, clients, rustls::DEFAULT_VERSIONS)
}

/// The same with these versions.
pub(crate) fn server_of(
    leaf: &Leaf,
    clients: Option<&Authority>,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der.clone()).unwrap();
            let judge = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(judge.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    builder
        .with_single_cert(vec![leaf.der.clone()], key)
        .unwrap()
}

/// The same without sessions to resume.
pub(crate) fn forgetful(leaf: &Leaf) -> ServerConfig {
    let mut config = server(leaf, None);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

/// The regional backend as a process; it ends with its stdin.
pub(crate) struct Backend {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Backend {
    /// With TLS from `NAME.pem` and `NAME.key` of a folder; clients show a
    /// certificate of `clients.pem`.
    pub(crate) fn start(folder: &Path, name: &str) -> Self {
        let file = |name: String| folder.join(name);
        let mut child = Command::new(env!("CARGO_BIN_EXE_meridian"))
            .args(["backend", "--region", "local", "--exit-with-stdin"])
            .arg("--tls-cert")
            .arg(file(format!("{name}.pem")))
            .arg("--tls-key")
            .arg(file(format!("{name}.key")))
            .arg("--client-ca")
            .arg(file("clients.pem".to_owned()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let (_, rest) = line.split_once("https://").unwrap();
        let address = rest.split('"').next().unwrap().parse().unwrap();
        Self { child, address }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
