//! The file as it is written. Every rule that concerns one key or one group
//! is checked while reading, so that a fault has its place in the file.

pub(super) mod tls;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use meridian_policies::DataClass;
use meridian_policies::yaml::Span;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::telemetry::audit::{Fsync, Keep, Mode, OnFailure, Refusals};

use super::values::{Bounded, Filled, Net, OnOff, Positive, Size, Statuses, Within};

/// Most listeners, trusted hops, databases and sample rules.
const LISTENERS_MAX: usize = 64;
const HOPS_MAX: usize = 1_024;
const DATABASES_MAX: usize = 16;
const RULES_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) edge: Edge,
    #[serde(default)]
    pub(super) threads: Within<0, 256>,
    pub(super) listeners: Listeners,
    #[serde(default)]
    pub(super) trusted_hops: Bounded<Net, HOPS_MAX>,
    #[serde(default)]
    pub(super) admin: Admin,
    #[serde(default = "default_policies")]
    pub(super) policies: Filled,
    #[serde(default, rename = "state_file")]
    pub(super) state: Option<Filled>,
    #[serde(default)]
    pub(super) geo: Geo,
    #[serde(default)]
    pub(super) telemetry: Telemetry,
    #[serde(default)]
    pub(super) recording: Option<super::recording::Raw>,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) timeouts: Timeouts,
    #[serde(default)]
    pub(super) http2: Http2,
    #[serde(default)]
    pub(super) upgrade: Option<Upgrade>,
    #[serde(default, rename = "pid_file")]
    pub(super) pid: Option<Filled>,
}

/// Absent keys keep the defaults of [`super::Http2`].
#[derive(Default, Deserialize)]
#[serde(try_from = "Http2Fields", default)]
pub(super) struct Http2 {
    pub(super) streams: Option<u64>,
    pub(super) stream_window: Option<u64>,
    pub(super) connection_window: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Http2Fields {
    max_concurrent_streams: Option<Within<1, 1_000>>,
    stream_window: Option<Size<16_384, 16_777_216>>,
    connection_window: Option<Size<65_536, 67_108_864>>,
}

impl TryFrom<Http2Fields> for Http2 {
    type Error = String;

    fn try_from(fields: Http2Fields) -> Result<Self, String> {
        let plain = super::Http2::default();
        let stream = fields.stream_window.map(|size| size.0);
        let connection = fields.connection_window.map(|size| size.0);
        let of_stream = stream.unwrap_or(plain.stream_window.into());
        if of_stream > connection.unwrap_or(plain.connection_window.into()) {
            return Err(
                "a stream_window above connection_window can never be used; raise connection_window"
                    .to_owned(),
            );
        }
        Ok(Self {
            streams: fields.max_concurrent_streams.map(|number| number.0),
            stream_window: stream,
            connection_window: connection,
        })
    }
}

/// Absent: the process can't be taken over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upgrade {
    pub(super) socket: Filled,
    #[serde(default)]
    pub(super) patience: Option<Positive>,
}

fn default_policies() -> Filled {
    Filled("policies/".to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edge {
    pub(super) region: Filled,
}

/// At least one listener, no address twice.
pub(super) struct Listeners(pub(super) Vec<Listener>);

impl<'de> Deserialize<'de> for Listeners {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Bounded(list) = Bounded::<Listener, LISTENERS_MAX>::deserialize(from)?;
        if list.is_empty() {
            return Err(D::Error::custom(
                "no listener; write for example - { address: \"0.0.0.0:8080\" }",
            ));
        }
        for (place, listener) in list.iter().enumerate() {
            let address = listener.address;
            let again = list
                .iter()
                .skip(place + 1)
                .any(|other| other.address == address);
            if again && address.port() != 0 {
                return Err(D::Error::custom(format!(
                    "two listeners have the address {address}"
                )));
            }
        }
        Ok(Self(list))
    }
}

#[derive(Deserialize)]
#[serde(try_from = "ListenerFields")]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) protocols: Vec<Protocol>,
    pub(super) tls: Option<tls::Tls>,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    pub(super) h3_port: Option<Within<0, 65_535>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListenerFields {
    address: Socket,
    #[serde(default)]
    protocols: Option<Bounded<Protocol, 8>>,
    #[serde(default)]
    tls: Option<tls::Tls>,
    #[serde(default)]
    proxy_protocol: Option<ProxyProtocol>,
    #[serde(default)]
    h3_port: Option<Within<0, 65_535>>,
}

/// Who carries other people's connections to a listener.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProxyProtocol {
    pub(super) from: Carriers,
}

/// At least one network.
pub(super) struct Carriers(pub(super) Bounded<Net, HOPS_MAX>);

impl<'de> Deserialize<'de> for Carriers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let list = Bounded::<Net, HOPS_MAX>::deserialize(from)?;
        if list.0.is_empty() {
            return Err(D::Error::custom(
                "nobody could connect; name the load balancer's networks, for example [10.0.0.0/8]",
            ));
        }
        Ok(Self(list))
    }
}

#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum Protocol {
    H1,
    H2,
    H3,
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match text.as_str() {
            "h1" => Ok(Self::H1),
            "h2" => Ok(Self::H2),
            "h3" => Ok(Self::H3),
            other => Err(D::Error::custom(format!(
                "`{other}` is not a protocol; write h1, h2 or h3"
            ))),
        }
    }
}

impl TryFrom<ListenerFields> for Listener {
    type Error = String;

    fn try_from(fields: ListenerFields) -> Result<Self, String> {
        let tls = fields.tls;
        let protocols = match (fields.protocols, &tls) {
            (Some(Bounded(list)), _) => list,
            (None, Some(_)) => vec![Protocol::H1, Protocol::H2],
            (None, None) => vec![Protocol::H1],
        };
        if protocols.is_empty() {
            return Err("a listener without protocols; write protocols: [h1]".to_owned());
        }
        if tls.is_none() && protocols.contains(&Protocol::H2) {
            return Err(
                "h2 needs tls (HTTP/2 in plain text is not supported): add `tls: { certificates: \
                        [{ cert: tls.pem, key: tls.key }] }` or write protocols: [h1]"
                    .to_owned(),
            );
        }
        if tls.is_none() && protocols.contains(&Protocol::H3) {
            return Err(
                "h3 needs tls (QUIC is always encrypted): add `tls: { certificates: [{ cert: \
                        tls.pem, key: tls.key }] }` or take h3 out of the list"
                    .to_owned(),
            );
        }
        if fields.proxy_protocol.is_some() && protocols.contains(&Protocol::H3) {
            return Err(
                "the PROXY protocol is not spoken over QUIC: take h3 out of the list, or give it a \
                 listener without proxy_protocol"
                    .to_owned(),
            );
        }
        if fields.h3_port.is_some() && !protocols.contains(&Protocol::H3) {
            return Err("h3_port without h3: add h3 to protocols, or take h3_port out".to_owned());
        }
        if protocols == [Protocol::H3] {
            return Err(
                "h3 alone: clients learn of it from answers over h1 or h2; write protocols: [h1, \
                        h2, h3]"
                    .to_owned(),
            );
        }
        Ok(Self {
            address: fields.address.0,
            protocols,
            tls,
            proxy_protocol: fields.proxy_protocol,
            h3_port: fields.h3_port,
        })
    }
}

/// `address:port`.
#[derive(Copy, Clone)]
struct Socket(SocketAddr);

impl<'de> Deserialize<'de> for Socket {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        socket(&text).map(Self).map_err(D::Error::custom)
    }
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an address and port; write for example \"0.0.0.0:8080\" or \"[::]:8080\"")
    })
}

/// Where the admin side listens, and who may ask.
#[derive(Deserialize)]
#[serde(try_from = "AdminFields")]
pub(super) struct Admin {
    pub(super) bind: AdminAddress,
    pub(super) token: Option<String>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            bind: AdminAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 9090))),
            token: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdminFields {
    address: AdminAddress,
    #[serde(default)]
    token: Option<Filled>,
}

/// `off`, `address:port` or `unix:PATH`.
pub(super) enum AdminAddress {
    Off,
    Tcp(SocketAddr),
    Unix(String),
}

impl<'de> Deserialize<'de> for AdminAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match text.strip_prefix("unix:") {
            Some("") => Err(D::Error::custom(
                "`unix:` needs a path: unix:/run/meridian.sock",
            )),
            Some(path) => Ok(Self::Unix(path.to_owned())),
            None if text == "off" => Ok(Self::Off),
            None => socket(&text).map(Self::Tcp).map_err(D::Error::custom),
        }
    }
}

/// Shortest token that is worth the name.
const TOKEN_MIN: usize = 16;

impl TryFrom<AdminFields> for Admin {
    type Error = String;

    fn try_from(fields: AdminFields) -> Result<Self, String> {
        let token = fields.token.map(|Filled(token)| token);
        if token.as_ref().is_some_and(|token| token.len() < TOKEN_MIN) {
            return Err(format!("the admin token is shorter than {TOKEN_MIN} bytes"));
        }
        if let AdminAddress::Tcp(address) = &fields.address
            && token.is_none()
            && !address.ip().to_canonical().is_loopback()
        {
            return Err(format!(
                "the admin address {address} can be reached by others: add `token: file:PATH` or use 127.0.0.1"
            ));
        }
        Ok(Self {
            bind: fields.address,
            token,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Geo {
    pub(super) embedded: OnOff,
    pub(super) databases: Bounded<Filled, DATABASES_MAX>,
    pub(super) max_age: Span,
    pub(super) stale: Stale,
}

#[derive(Copy, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stale {
    Warn,
    Unknown,
}

impl Default for Geo {
    fn default() -> Self {
        let days_45 = Span(Duration::from_hours(45 * 24));
        Self {
            embedded: OnOff::On,
            databases: Bounded::default(),
            max_age: days_45,
            stale: Stale::Warn,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Telemetry {
    pub(super) access_log: Filled,
    pub(super) sample: Bounded<Sample, RULES_MAX>,
    pub(super) receipts: Within<0, 1_048_576>,
    pub(super) metrics: OnOff,
    pub(super) audit: Option<Audit>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            access_log: Filled("stdout".to_owned()),
            sample: Bounded::default(),
            receipts: Within(1_024),
            metrics: OnOff::On,
            audit: None,
        }
    }
}

/// The audit log: what contradicts itself is refused here.
#[derive(Deserialize)]
#[serde(try_from = "AuditFields")]
pub(super) struct Audit {
    pub(super) path: String,
    pub(super) mode: Mode,
    pub(super) refusals: Refusals,
    pub(super) transfers_from: DataClass,
    pub(super) rotate_size: u64,
    pub(super) keep: Keep,
    pub(super) fsync: Fsync,
    pub(super) on_failure: OnFailure,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditFields {
    path: Filled,
    #[serde(default)]
    mode: AuditMode,
    #[serde(default)]
    refusals: AuditRefusals,
    #[serde(default = "laxest")]
    transfers_from: DataClass,
    #[serde(default)]
    rotate: AuditRotate,
    fsync: Option<AuditFsync>,
    #[serde(default)]
    on_failure: AuditOnFailure,
}

fn laxest() -> DataClass {
    DataClass::Tier4Public
}

#[derive(Copy, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AuditMode {
    Strict,
    #[default]
    Relaxed,
}

#[derive(Copy, Clone, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AuditRefusals {
    #[default]
    All,
    Law,
}

#[derive(Copy, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AuditFsync {
    Always,
    Interval,
    Off,
}

#[derive(Copy, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AuditOnFailure {
    #[default]
    Refuse,
    Serve,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AuditRotate {
    size: Size<65_536, 17_179_869_184>,
    keep: AuditKeep,
}

impl Default for AuditRotate {
    fn default() -> Self {
        Self {
            size: Size(64 * 1024 * 1024),
            keep: AuditKeep(Keep::All),
        }
    }
}

/// `all`, or how many files.
struct AuditKeep(Keep);

impl<'de> Deserialize<'de> for AuditKeep {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text == "all" {
            return Ok(Self(Keep::All));
        }
        let files = text.parse::<NonZeroUsize>().ok();
        let files = files.filter(|files| files.get() <= 1_000_000);
        files.map(|files| Self(Keep::Files(files))).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is not a number of files; write all, or 1 to 1000000"
            ))
        })
    }
}

impl TryFrom<AuditFields> for Audit {
    type Error = String;

    fn try_from(fields: AuditFields) -> Result<Self, String> {
        let strict = fields.mode == AuditMode::Strict;
        if strict && !matches!(fields.fsync, None | Some(AuditFsync::Always)) {
            return Err(
                "`mode: strict` promises that a record is durable before its request \
                        goes on: write fsync: always, or leave it out"
                    .to_owned(),
            );
        }
        if strict && fields.on_failure == AuditOnFailure::Serve {
            return Err(
                "`mode: strict` and `on_failure: serve` contradict each other: \
                        write on_failure: refuse, or mode: relaxed"
                    .to_owned(),
            );
        }
        Ok(Self {
            path: fields.path.0,
            mode: match fields.mode {
                AuditMode::Strict => Mode::Strict,
                AuditMode::Relaxed => Mode::Relaxed,
            },
            refusals: match fields.refusals {
                AuditRefusals::All => Refusals::All,
                AuditRefusals::Law => Refusals::Law,
            },
            transfers_from: fields.transfers_from,
            rotate_size: fields.rotate.size.0,
            keep: fields.rotate.keep.0,
            fsync: match (fields.fsync, fields.mode) {
                (Some(AuditFsync::Always), _) | (None, AuditMode::Strict) => Fsync::Always,
                (Some(AuditFsync::Interval), _) | (None, AuditMode::Relaxed) => Fsync::Interval,
                (Some(AuditFsync::Off), _) => Fsync::Off,
            },
            on_failure: match fields.on_failure {
                AuditOnFailure::Refuse => OnFailure::Refuse,
                AuditOnFailure::Serve => OnFailure::Serve,
            },
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sample {
    #[serde(default)]
    pub(super) status: Statuses,
    #[serde(default)]
    pub(super) path: Option<Filled>,
    pub(super) one_in: NonZeroU32,
}

/// Absent keys keep the defaults of [`super::ProcessLimits`].
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) connections: Option<Within<1, 1_000_000>>,
    pub(super) connections_per_address: Option<Within<1, 1_000_000>>,
    pub(super) quic_handshakes: Option<Within<0, 1_000_000>>,
    pub(super) head_bytes: Option<Size<1_024, 1_048_576>>,
    pub(super) head_fields: Option<Within<8, 1_000>>,
    pub(super) target_bytes: Option<Size<64, 65_536>>,
    pub(super) requests_per_connection: Option<NonZeroU64>,
    pub(super) connections_per_second: Option<NonZeroU32>,
    pub(super) connections_per_second_per_address: Option<NonZeroU32>,
    pub(super) handshakes_per_second: Option<NonZeroU32>,
    pub(super) handshakes_per_second_per_address: Option<NonZeroU32>,
    pub(super) buffered_body: Option<Size<0, 16_777_216>>,
}

/// Absent keys keep the defaults of [`super::Timeouts`].
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Timeouts {
    pub(super) handshake: Option<Positive>,
    pub(super) head: Option<Positive>,
    pub(super) body_grace: Option<Positive>,
    pub(super) body_rate: Option<Size<0, 1_073_741_824>>,
    pub(super) idle: Option<Positive>,
    pub(super) connection_lifetime: Option<Positive>,
    pub(super) connect: Option<Positive>,
    pub(super) first_byte: Option<Positive>,
    pub(super) total: Option<Positive>,
    pub(super) drain_delay: Option<Span>,
    pub(super) drain: Option<Positive>,
    pub(super) websocket_drain: Option<Span>,
    pub(super) upstream_idle: Option<Positive>,
}
