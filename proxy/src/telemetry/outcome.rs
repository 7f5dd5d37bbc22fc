//! All that happened to one request, built once at its end.
//!
//! Promises: metrics, access log and decision ring read this and nothing
//! else, so they cannot disagree.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use meridian_geo::Location;
use meridian_policies::{DataClass, EndpointIndex, RegionIndex, RejectReason, TlsFault};
use meridian_wire::RequestHead;

use crate::edge::Generation;
use crate::telemetry::Protocol;

/// One finished request. Times are measured by the caller; nothing here reads
/// a clock.
#[derive(Copy, Clone)]
pub struct Outcome<'a> {
    /// What the request was decided with.
    pub generation: &'a Generation,
    /// The head as it was parsed; empty where none could be.
    pub head: &'a RequestHead,
    /// The id in `x-request-id`.
    pub request_id: &'a str,
    /// Trace id of `traceparent`, 32 hex digits.
    pub trace: Option<&'a str>,
    /// What the client speaks.
    pub protocol: Protocol,
    /// Whether the client's connection is encrypted.
    pub transport: Transport,
    /// The client, canonical.
    pub client: IpAddr,
    /// The connection's other end.
    pub peer: SocketAddr,
    /// Where the client is.
    pub location: Location,
    /// The region that served; `None`: the edge answered by itself.
    pub region: Option<RegionIndex>,
    /// The endpoint that served, or was tried last.
    pub endpoint: Option<EndpointIndex>,
    /// Final status sent to the client; 0: none was.
    pub status: u16,
    /// Why the edge refused; `None`: it did not.
    pub reject: Option<RejectReason>,
    /// How the exchange ended.
    pub end: End,
    /// What kind of answer it was.
    pub shape: Shape,
    /// Bytes of request body read from the client; for a tunnel all bytes up.
    pub bytes_in: u64,
    /// Bytes of answer body sent to the client; for a tunnel all bytes down.
    pub bytes_out: u64,
    /// When the head was complete, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// From then to the end.
    pub duration: Duration,
    /// From the request sent to the answer's first byte, last attempt.
    pub upstream_first_byte: Option<Duration>,
    /// Time to connect, where the last attempt needed a new connection.
    pub connect: Option<Duration>,
    /// What TLS with an endpoint failed by, last time.
    pub upstream_tls: Option<TlsFault>,
    /// Attempts made; 0 when nothing was forwarded.
    pub attempts: u8,
    /// The request's data class.
    pub class: DataClass,
}

/// Whether the client's connection is encrypted.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Transport {
    /// TCP as it is.
    Plain,
    /// TLS, or QUIC.
    Tls,
}

/// What kind of answer was given. Only messages say something about latency
/// by their whole duration; a stream lives as long as both sides like.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Shape {
    /// One message.
    Message,
    /// Server-sent events.
    EventStream,
    /// A WebSocket.
    Tunnel,
}

/// How an exchange ended.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// The whole answer was sent.
    Complete,
    /// The client went away before.
    ClientGone,
    /// What the client sent could not be read to its end.
    ClientBroke,
    /// The endpoint broke off before its answer was whole.
    UpstreamBroke,
    /// A deadline passed.
    TimedOut(ExpiredDeadline),
    /// Cut by the end of the drain.
    Drained,
    /// A fault of the edge.
    Internal,
}

/// The deadline that passed.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum ExpiredDeadline {
    /// The request's body was too slow.
    Body,
    /// No connection to the endpoint in time.
    Connect,
    /// No first byte of an answer in time.
    FirstByte,
    /// The answer stood still.
    Idle,
    /// The client did not take the answer.
    Write,
    /// The exchange as a whole.
    Total,
    /// The WebSocket as a whole.
    Lifetime,
}

impl Transport {
    /// Scheme of the request's URL.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls => "https",
        }
    }
}

impl End {
    /// Stable name for the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client-gone",
            Self::ClientBroke => "client-broke",
            Self::UpstreamBroke => "upstream-broke",
            Self::TimedOut(ExpiredDeadline::Body) => "body-timeout",
            Self::TimedOut(ExpiredDeadline::Connect) => "connect-timeout",
            Self::TimedOut(ExpiredDeadline::FirstByte) => "first-byte-timeout",
            Self::TimedOut(ExpiredDeadline::Idle) => "idle-timeout",
            Self::TimedOut(ExpiredDeadline::Write) => "write-timeout",
            Self::TimedOut(ExpiredDeadline::Total) => "total-timeout",
            Self::TimedOut(ExpiredDeadline::Lifetime) => "lifetime-timeout",
            Self::Drained => "drained",
            Self::Internal => "internal",
        }
    }
}

impl Outcome<'_> {
    /// What the client waited: the whole exchange, and for streams only up to
    /// the first byte (nothing, where that is not known).
    pub fn latency(&self) -> Option<Duration> {
        match self.shape {
            Shape::Message => Some(self.duration),
            Shape::EventStream | Shape::Tunnel => self.upstream_first_byte,
        }
    }

    /// What its bytes between the edge and a region are estimated to cost, in
    /// US dollars.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn egress_cost(&self, region: RegionIndex) -> f64 {
        const GIB: f64 = (1u64 << 30) as f64;
        let toll = self.generation.snapshot.toll(region);
        let leg = |bytes: u64, price: Option<f32>| bytes as f64 * f64::from(price.unwrap_or(0.0));
        (leg(self.bytes_in, toll.there) + leg(self.bytes_out, toll.back)) / GIB
    }

    /// The version of the backends that served, where requests are routed by
    /// version.
    pub fn version(&self) -> Option<&str> {
        let endpoint = self.generation.snapshot.endpoint(self.endpoint?);
        endpoint.routed?;
        endpoint.version.as_deref()
    }

    /// When it ended, milliseconds since 1970.
    pub fn ended_unix_ms(&self) -> u64 {
        let lasted = u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX);
        self.started_unix_ms.saturating_add(lasted)
    }
}
