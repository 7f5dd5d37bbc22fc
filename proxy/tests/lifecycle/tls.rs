//! TLS as the operator of a process sees it: what is logged, and what
//! replicas share.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, KeyLog, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use crate::edge::{Files, Process, asked, backend, connect, listening};
use crate::support::{Around, until};

/// A process with TLS over TCP and QUIC.
struct Served {
    process: Process,
    certificate: Around,
    tls: SocketAddr,
}

impl Served {
    /// `more` stands below `tls:`; `change` gets the folder and the command.
    fn start(more: &str, change: impl FnOnce(&Path, &mut Command)) -> Self {
        let certificate = Around::new();
        let files = Files::new(backend(), "");
        let mut listeners = String::from("listeners:\n  - { address: \"127.0.0.1:0\" }\n");
        write!(
            listeners,
            "  - address: \"127.0.0.1:0\"\n    protocols: [h1, h2, h3]\n\
             \x20   tls:\n      certificates: [{{ cert: {}, key: {} }}]\n{more}",
            certificate.path("tls.pem").display(),
            certificate.path("tls.key").display()
        )
        .unwrap();
        files.write_static(&listeners, "");
        let folder = files.path("");
        let process = Process::start_with(files, |command| change(&folder, command));
        let ports = until("it says where it listens", || {
            let ports = listening(&process.files.stderr());
            (ports.len() == 2).then_some(ports)
        });
        Self {
            tls: ports[1],
            process,
            certificate,
        }
    }

    fn config(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        config(&[self], version)
    }

    fn metrics(&self) -> String {
        let socket = self.process.files.path("admin.sock");
        asked(&socket, "GET", "/metrics").unwrap().1
    }
}

/// A client that believes these.
fn config(served: &[&Served], version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for one in served {
        let path = one.certificate.path("tls.pem");
        roots
            .add(CertificateDer::from_pem_file(path).unwrap())
            .unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// One request over TCP; whether the session was resumed.
fn visit(to: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<bool> {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, connect(to));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(stream.conn.handshake_kind() == Some(HandshakeKind::Resumed))
}

/// One handshake over QUIC.
fn call(to: SocketAddr, config: ClientConfig) -> Result<quinn::Connection, quinn::ConnectionError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint = quinn::Endpoint::client(any).unwrap();
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let connecting = endpoint.connect_with(config, to, "localhost").unwrap();
        let connection = connecting.await;
        endpoint.close(0_u8.into(), b"");
        endpoint.wait_idle().await;
        connection
    })
}

fn for_h3(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h3".to_vec()];
    config
}

/// The client's own account of its secrets.
#[derive(Debug, Default)]
struct Account(Mutex<Vec<String>>);

impl KeyLog for Account {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        let line = format!("{label} {} {}", hex(client_random), hex(secret));
        self.0.lock().unwrap().push(line);
    }
}

/// What three sessions (TLS 1.2, 1.3, QUIC) should leave in a key log.
fn three_sessions(served: &Served) -> Vec<String> {
    let account = Arc::new(Account::default());
    let with_account = |version| {
        let mut config = served.config(version);
        config.key_log = account.clone();
        config
    };
    for version in [&TLS12, &TLS13] {
        visit(served.tls, &Arc::new(with_account(version))).unwrap();
    }
    call(served.tls, for_h3(with_account(&TLS13))).unwrap();
    account.0.lock().unwrap().clone()
}

#[test]
fn the_flag_writes_the_secrets_of_real_sessions_for_the_owner_alone_and_says_so_loudly() {
    let served = Served::start("", |folder, command| {
        command.arg("--tls-key-log").arg(folder.join("keys.log"));
    });
    let files = &served.process.files;
    let path = files.path("keys.log");
    let expected = three_sessions(&served);
    assert!(expected.len() >= 9, "{expected:?}");
    assert!(
        expected
            .iter()
            .any(|line| line.starts_with("CLIENT_RANDOM "))
    );
    let missing = || {
        let text = std::fs::read_to_string(&path).unwrap();
        let known: Vec<&str> = text.lines().collect();
        expected.iter().find(|line| !known.contains(&line.as_str()))
    };
    until("every secret is in the file", || {
        missing().is_none().then_some(())
    });
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let name = path.display().to_string();
    let said = files.stderr();
    assert!(
        said.contains("TLS KEY LOG") && said.contains(&name),
        "{said}"
    );
    assert!(said.contains("\"WARNING\""), "{said}");
    assert_eq!(files.readyz().unwrap().1["tls_key_log"], name);
    let status = files.verb("status", &[]);
    assert!(status.out.contains("TLS KEY LOG"), "{}", status.out);
}

#[test]
fn the_environment_alone_writes_no_key_log() {
    let mut asked_for = None;
    let served = Served::start("", |folder, command| {
        let path = folder.join("keys.log");
        command.env("SSLKEYLOGFILE", &path);
        asked_for = Some(path);
    });
    assert!(three_sessions(&served).len() >= 9);
    let files = &served.process.files;
    assert!(!asked_for.unwrap().exists());
    assert!(files.readyz().unwrap().1["tls_key_log"].is_null());
    assert!(!files.stderr().contains("KEY LOG"));
    assert!(!files.verb("status", &[]).out.contains("KEY LOG"));
}

#[test]
fn a_key_log_that_can_not_be_written_stops_the_start() {
    let files = Files::new(backend(), "");
    let folder = files.path("");
    let ran = files.verb("run", &["--tls-key-log", folder.to_str().unwrap()]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("cannot open the TLS key log"),
        "{}",
        ran.err
    );
}

#[test]
fn a_session_that_one_process_began_is_resumed_by_another_with_the_same_key_file() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "5a".repeat(32)).unwrap();
    let more = format!("      session_tickets: {{ keys: {} }}\n", keys.display());
    let one = Served::start(&more, |_, _| {});
    let two = Served::start(&more, |_, _| {});
    let stranger = Served::start("", |_, _| {});
    for version in [&TLS12, &TLS13] {
        let config = || Arc::new(config(&[&one, &two, &stranger], version));
        let shared = config();
        assert!(!visit(one.tls, &shared).unwrap());
        assert!(visit(two.tls, &shared).unwrap(), "{version:?}");
        let other = config();
        assert!(!visit(one.tls, &other).unwrap());
        assert!(!visit(stranger.tls, &other).unwrap(), "{version:?}");
    }
}

/// Failed handshakes by their reason.
fn failures(served: &Served) -> Vec<(String, u64)> {
    let text = served.metrics();
    let of = "meridian_handshake_failures_total{reason=\"";
    let lines = text.lines().filter_map(|line| {
        let (reason, count) = line.strip_prefix(of)?.split_once("\"} ")?;
        Some((reason.to_owned(), count.parse().ok()?))
    });
    lines.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn handshakes_that_fail_are_counted_and_nothing_is_logged_of_them() {
    let served = Served::start("      min_version: \"1.3\"\n", |_, _| {});
    let before = served.process.files.stderr();
    // No TLS, nothing at all, too old, a name that is not believed, no protocol in common.
    let mut plain = connect(served.tls);
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    drop(connect(served.tls));
    let old = served.config(&TLS12);
    assert!(visit(served.tls, &Arc::new(old)).is_err());
    let stranger = config(&[], &TLS13);
    assert!(visit(served.tls, &Arc::new(stranger.clone())).is_err());
    let mut other = served.config(&TLS13);
    other.alpn_protocols = vec![b"gopher".to_vec()];
    assert!(visit(served.tls, &Arc::new(other.clone())).is_err());
    assert!(call(served.tls, for_h3(stranger)).is_err());
    assert!(call(served.tls, other).is_err());
    until("all seven are counted", || {
        let counted: u64 = failures(&served).iter().map(|(_, count)| count).sum();
        (counted == 7).then_some(())
    });
    let reasons: Vec<String> = failures(&served).into_iter().map(|(r, _)| r).collect();
    for reason in ["not-tls", "no-agreement", "client-gone", "alert"] {
        assert!(reasons.iter().any(|r| r == reason), "{reasons:?}");
    }
    assert_eq!(served.process.files.stderr(), before);
}
