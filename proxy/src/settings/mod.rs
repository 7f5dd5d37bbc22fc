//! The static file, `meridian.yaml`: what needs a restart to change.
//!
//! Promises: every key is checked, a value is either meant or refused with
//! its place and what to do, and relative paths are relative to the file.
//! Refuses: keys it does not know, features that are not built yet, and an
//! admin address that others can reach without a token.

mod compile;
mod descriptors;
mod raw;
mod recording;
mod references;
mod tls;
mod values;

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::time::Duration;

use meridian_geo::IpNet;
use meridian_policies::{Diagnostic, SourceFile};
use meridian_wire::HeadLimits;

use crate::telemetry::audit::AuditSettings;

pub use descriptors::{DESCRIPTORS_KEPT_BACK, raise_descriptor_limit};
pub use recording::{GuardSettings, RecordingSettings, percent};
pub use references::{READ_MAX, Surroundings, read_text, unreadable};
pub use tls::{ClientAuth, Tickets, TlsFiles, TlsSettings, TlsVersion};

/// Everything that stays as it was when the process started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file these settings were read from.
    pub path: PathBuf,
    /// Id of the region where this edge stands; never empty.
    pub edge_region: String,
    /// Worker threads, 1 to 256. `threads: 0` in the file means one a core.
    pub threads: usize,
    /// At least one, at most 64.
    pub listeners: Vec<Listener>,
    /// Whose `X-Forwarded-For` is believed; empty: nobody's. At most 1,024.
    pub trusted_hops: Vec<IpNet>,
    /// `None`: no admin side at all.
    pub admin: Option<AdminSettings>,
    /// The folder of policy files.
    pub policies: PathBuf,
    /// What operators ordered, kept over restarts; `None`: forgotten at the end
    /// of the process.
    pub state_file: Option<PathBuf>,
    /// Where addresses are located.
    pub geo: GeoSettings,
    /// What is told about requests.
    pub telemetry: TelemetrySettings,
    /// Bounds of the process.
    pub limits: ProcessLimits,
    /// Deadlines of the process; routes may set their own.
    pub timeouts: Timeouts,
    /// What HTTP/2 clients may do at once.
    pub http2: Http2,
    /// `None`: this process can't be taken over.
    pub upgrade: Option<UpgradeSettings>,
    /// Where the process that owns the sockets writes its id.
    pub pid_file: Option<PathBuf>,
}

/// One public socket.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Port 0: any free one.
    pub address: SocketAddr,
    /// At least one is offered.
    pub protocols: Protocols,
    /// Whose PROXY protocol header is required and believed; `None`: nobody
    /// sends one. Never empty, at most 1,024.
    pub proxy_protocol: Option<Vec<IpNet>>,
    /// The port at which clients reach HTTP/3, where that is not this one's
    /// own; 0: they are not told of it.
    pub h3_port: Option<u16>,
    /// `None`: plain text, and then only HTTP/1.
    pub tls: Option<TlsSettings>,
}

/// Which versions a listener speaks.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Protocols {
    /// HTTP/1.1 and 1.0.
    pub h1: Switch,
    /// HTTP/2, chosen by ALPN.
    pub h2: Switch,
    /// HTTP/3, on the UDP port of the same number.
    pub h3: Switch,
}

/// What HTTP/2 clients may do at once.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Http2 {
    /// Streams of one connection, 1 to 1,000.
    pub streams: u32,
    /// Bytes of a request body that a stream may send ahead, 16 KiB to 16 MiB.
    pub stream_window: u32,
    /// The same for all streams of a connection; at least 64 KiB and at least
    /// `stream_window`, at most 64 MiB.
    pub connection_window: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            streams: 100,
            stream_window: 64 * 1024,
            connection_window: 1024 * 1024,
        }
    }
}

/// How another process takes over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpgradeSettings {
    /// The control socket, a file that only this user may use.
    pub socket: PathBuf,
    /// From a new process's start to its word that it serves.
    pub patience: Duration,
}

/// On or off.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Switch {
    /// Wanted.
    On,
    /// Not wanted.
    Off,
}

/// The admin side.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// Where it listens.
    pub bind: AdminBind,
    /// Asked for as `Authorization: Bearer`; always there unless `bind` is
    /// loopback or a unix socket.
    pub token: Option<Secret>,
}

/// Where the admin side listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AdminBind {
    /// Port 0: any free one.
    Tcp(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
}

/// A value that is never printed.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for comparing in constant time.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where addresses are located.
#[derive(Clone, Debug)]
pub struct GeoSettings {
    /// The data inside the binary, asked last.
    pub embedded: Switch,
    /// Asked in this order. At most 16.
    pub databases: Vec<PathBuf>,
    /// Older data is stale; 0: none ever is.
    pub max_age: Duration,
    /// What becomes of a stale database.
    pub stale: StaleGeo,
}

/// What becomes of a geo database that is older than its `max_age`.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum StaleGeo {
    /// It is asked, and warned about.
    Warn,
    /// It is not asked: its addresses are unknown, unless another source
    /// knows them.
    Unknown,
}

/// What is told about requests.
#[derive(Clone, Debug)]
pub struct TelemetrySettings {
    /// Where one JSON line a request goes.
    pub access_log: AccessLog,
    /// First match decides; no match: kept. Refusals are always kept. At most 64.
    pub sample: Vec<SampleRule>,
    /// Receipts kept for `/decisions`, at most 1,048,576; 0: none are kept.
    pub receipts: usize,
    /// Off: `/metrics` answers 404 and nothing is counted per request.
    pub metrics: Switch,
    /// Decisions in full; `None`: not recorded.
    pub recording: Option<RecordingSettings>,
    /// `None`: nothing is audited.
    pub audit: Option<AuditSettings>,
}

/// Where the access log goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

/// Keeps one of `one_in` matching lines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SampleRule {
    /// Lowest matching status.
    pub status_from: u16,
    /// Highest matching status.
    pub status_to: u16,
    /// Matches every path that begins with it; `None`: any path.
    pub path_prefix: Option<String>,
    /// 1 keeps all.
    pub one_in: NonZeroU32,
}

/// Bounds of the process.
#[derive(Clone, Debug)]
pub struct ProcessLimits {
    /// Client connections at once, in all; lies below the descriptor limit.
    pub connections: usize,
    /// Client connections at once from one address.
    pub connections_per_address: usize,
    /// Bounds of a message head.
    pub head: HeadLimits,
    /// QUIC handshakes at once in all; clients beyond them prove their address
    /// by a Retry first. 0: all do.
    pub quic_handshakes: usize,
    /// After so many a connection is closed politely; `None`: never.
    pub requests_per_connection: Option<NonZeroU64>,
    /// Client connections that are taken in a second, in all; `None`: any
    /// number.
    pub connections_per_second: Option<NonZeroU32>,
    /// Client connections that are taken in a second from one address (IPv6:
    /// /64); `None`: any number.
    pub connections_per_second_per_address: Option<NonZeroU32>,
    /// TLS handshakes that begin in a second, in all; `None`: any number.
    pub handshakes_per_second: Option<NonZeroU32>,
    /// TLS handshakes that begin in a second from one address (IPv6: /64);
    /// `None`: any number.
    pub handshakes_per_second_per_address: Option<NonZeroU32>,
    /// Bytes of a request body that may be held back before the first byte
    /// leaves; 0: none.
    pub buffered_body: usize,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 1_000,
            quic_handshakes: 256,
            head: HeadLimits::default(),
            requests_per_connection: None,
            connections_per_second: None,
            connections_per_second_per_address: None,
            handshakes_per_second: None,
            handshakes_per_second_per_address: None,
            buffered_body: 64 * 1024,
        }
    }
}

/// Deadlines of the process. None is 0, unless it says so.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// From accept to a finished TLS handshake.
    pub handshake: Duration,
    /// From a request's first byte to the end of its head.
    pub head: Duration,
    /// How long a body may be slower than `body_rate`.
    pub body_grace: Duration,
    /// Bytes per second that a body must bring after `body_grace`; 0: no rate.
    pub body_rate: u64,
    /// A keep-alive connection without a request.
    pub idle: Duration,
    /// A client's connection takes no further request after it; `None`: it
    /// has no such end.
    pub connection_lifetime: Option<Duration>,
    /// A connection to an endpoint.
    pub connect: Duration,
    /// From the request sent to the answer's first byte.
    pub first_byte: Duration,
    /// A whole exchange; `None`: as long as it takes.
    pub total: Option<Duration>,
    /// From failing readiness until the listeners stop; 0: at once.
    pub drain_delay: Duration,
    /// From the listeners' stop until what is left is cut.
    pub drain: Duration,
    /// From the listeners' stop until every WebSocket is closed; 0: at once;
    /// `None`: as everything else, at the end of `drain`.
    pub websocket_drain: Option<Duration>,
    /// An idle connection to an endpoint.
    pub upstream_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            body_grace: Duration::from_secs(10),
            body_rate: 1024,
            idle: Duration::from_mins(1),
            connection_lifetime: None,
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(30),
            total: None,
            drain_delay: Duration::ZERO,
            drain: Duration::from_mins(1),
            websocket_drain: None,
            upstream_idle: Duration::from_secs(50),
        }
    }
}

impl Settings {
    /// Reads and checks a file. All faults that one pass can see come together.
    pub fn load(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let text = read_text(path).map_err(|fault| vec![unreadable(path, &fault)])?;
        let source = SourceFile {
            path: path.display().to_string(),
            text,
        };
        Self::parse(&source, path, &Surroundings::of(path))
    }

    /// The same from text, with the outside given: no I/O of its own.
    pub fn parse(
        source: &SourceFile,
        path: &Path,
        around: &Surroundings<'_>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let raw: raw::File = meridian_policies::yaml::parse(source, &around.references())?;
        Ok(compile::settings(raw, path, around))
    }

    /// The folder of the file: what relative paths are relative to.
    pub fn folder(&self) -> &Path {
        references::folder(&self.path)
    }

    /// Lowers the connection cap below what the process may open. Returns a
    /// sentence for the log when it had to.
    pub fn fit_descriptors(&mut self, descriptors: u64) -> Option<String> {
        descriptors::fit(&mut self.limits, self.listeners.len(), descriptors)
    }
}
