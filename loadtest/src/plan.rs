//! What a run is: the command line, parsed and meant.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, Method, Uri};
use serde::Serialize;

/// HTTP version on the wire.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize)]
pub enum Protocol {
    /// HTTP/1.1 with keep-alive: one request at a time on a connection.
    #[serde(rename = "h1")]
    H1,
    /// HTTP/2: by ALPN over TLS, with prior knowledge (h2c) without.
    #[serde(rename = "h2")]
    H2,
    /// HTTP/3 over QUIC, without looking for it by `Alt-Svc` first.
    #[serde(rename = "h3")]
    H3,
}

/// How requests are started.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Load {
    /// At this many requests a second in all, whatever the server does.
    Open(NonZeroU32),
    /// As fast as answers come. Latencies then hide what queues would show.
    Closed,
}

/// Whose certificate is believed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Trust {
    /// No TLS on this target.
    Plain,
    /// Certificates that lead to one of the file's (PEM).
    Authority(PathBuf),
    /// Any certificate: self-signed ones of a test.
    Anyone,
}

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Target {
    /// The URL as given.
    pub uri: Uri,
    /// Host without brackets, for the certificate's name.
    pub host: String,
    /// Resolved addresses, never empty; tried in order.
    pub addresses: Vec<SocketAddr>,
    /// Whose certificate is believed.
    pub trust: Trust,
}

/// The one request that is repeated.
#[derive(Clone, Debug)]
pub struct RequestPlan {
    /// Any method.
    pub method: Method,
    /// Fields as given, without `host`.
    pub headers: HeaderMap,
    /// `Host` or `:authority`; the URL's unless given as a field.
    pub authority: String,
    /// Sent with every request; empty for none.
    pub body: Bytes,
}

/// How long a run takes and what of it counts.
#[derive(Copy, Clone, Debug)]
pub struct Window {
    /// Requests that start within it are made but not recorded. May be zero.
    pub warm_up: Duration,
    /// Time recorded after it. Never zero.
    pub duration: Duration,
    /// An end by number of requests, the warm-up's included, if that comes
    /// earlier.
    pub requests: Option<NonZeroU32>,
}

/// How many requests may be open at once: connections times streams.
#[derive(Copy, Clone, Debug)]
pub struct Lanes {
    /// Connections, opened before the run begins.
    pub connections: NonZeroUsize,
    /// Requests at once on each; one for h1.
    pub streams: NonZeroUsize,
}

/// What makes a run a failure. `None` is not checked.
#[derive(Copy, Clone, Debug, Default)]
pub struct Thresholds {
    /// Bound of the 50th percentile of latency.
    pub max_p50: Option<Duration>,
    /// Bound of the 99th percentile of latency.
    pub max_p99: Option<Duration>,
    /// Bound of the 99.9th percentile of latency.
    pub max_p999: Option<Duration>,
    /// Errors over requests, 0 to 1.
    pub max_error_rate: Option<f64>,
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where.
    pub target: Target,
    /// In which version.
    pub protocol: Protocol,
    /// How fast.
    pub load: Load,
    /// How long.
    pub window: Window,
    /// How many at once.
    pub lanes: Lanes,
    /// What.
    pub request: RequestPlan,
    /// From sending to the answer's last byte; also how long a run waits for
    /// its last answers.
    pub timeout: Duration,
    /// Statuses that are not errors.
    pub ok: RangeInclusive<u16>,
    /// What makes it a failure.
    pub thresholds: Thresholds,
    /// Threads that send; one uses a single-threaded runtime.
    pub threads: NonZeroUsize,
}
