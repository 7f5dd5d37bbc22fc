//! What the proxy reports of attempts and checks, and what changes by it.

use std::time::Duration;

use serde::Serialize;

use super::{OverrideEvent, TlsFault};
use crate::regions::RegionHealth;
use crate::{EndpointIndex, RegionIndex, Tick};

/// How an attempt at an endpoint ended.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum AttemptOutcome {
    /// An answer below 500.
    Success,
    /// An answer of 500 to 599.
    ServerError(u16),
    /// No connection came about.
    ConnectFailed,
    /// A connection came about, but not over TLS as it has to be.
    TlsFailed(TlsFault),
    /// The connection broke before a full answer.
    Reset,
    /// No answer in time.
    TimedOut,
    /// The client left: says nothing about the endpoint.
    ClientGone,
}

impl AttemptOutcome {
    /// Stable name for receipts and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ServerError(_) => "server-error",
            Self::ConnectFailed => "connect-failed",
            Self::TlsFailed(fault) => fault.as_str(),
            Self::Reset => "reset",
            Self::TimedOut => "timed-out",
            Self::ClientGone => "client-gone",
        }
    }
}

/// One attempt, reported once, when it is over.
#[derive(Copy, Clone, Debug)]
pub struct AttemptReport {
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Time to connect; `None` on a kept connection.
    pub connect: Option<Duration>,
    /// From the last byte of the request head to the first byte of the answer.
    pub first_byte: Option<Duration>,
}

/// What an active check found.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum ProbeOutcome {
    /// A good answer, with the load it reports, 0 to 1.
    Up {
        /// Reported load.
        load: Option<f32>,
    },
    /// None, or a bad one.
    Down(ProbeFailure),
}

/// Why a check failed.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum ProbeFailure {
    /// No connection.
    Connect,
    /// A connection, but not over TLS as it has to be.
    Tls(TlsFault),
    /// No answer in time.
    Timeout,
    /// An answer with this status.
    Status(u16),
    /// The connection broke, or the answer is nonsense.
    Broken,
}

impl ProbeFailure {
    /// Stable name for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls(fault) => fault.as_str(),
            Self::Timeout => "timeout",
            Self::Status(_) => "status",
            Self::Broken => "broken",
        }
    }
}

/// An endpoint went out or came back by what requests met.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum EndpointEvent {
    /// Ejected for failures in a row.
    Ejected {
        /// Which.
        endpoint: EndpointIndex,
        /// How many ejections in a row, this one included.
        count: u32,
        /// When it comes back.
        until: Tick,
    },
    /// An ejection is over.
    Returned {
        /// Which.
        endpoint: EndpointIndex,
    },
}

/// An endpoint changed by what checks found.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum HealthEvent {
    /// It answers.
    Up {
        /// Which.
        endpoint: EndpointIndex,
    },
    /// It does not.
    Down {
        /// Which.
        endpoint: EndpointIndex,
        /// The last failure.
        reason: ProbeFailure,
    },
}

/// A region changed its state.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RegionEvent {
    /// Which.
    #[serde(skip)]
    pub region: RegionIndex,
    /// What was announced last.
    pub from: RegionHealth,
    /// What it is now.
    pub to: RegionHealth,
}

/// Several regions are failed at once: a case for a person.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum AlarmEvent {
    /// It has begun, or their number has changed.
    Raised {
        /// How many have failed.
        failed: u32,
    },
    /// At most one is left.
    Ended,
}

/// What [`crate::View::tick`] finds.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum StateEvent {
    /// An endpoint came back.
    Endpoint(EndpointEvent),
    /// A region changed.
    Region(RegionEvent),
    /// An operator's order ended by itself.
    Override(OverrideEvent),
    /// Several regions have failed, or no longer.
    Alarm(AlarmEvent),
}
