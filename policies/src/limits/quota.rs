//! What a limit says to the client.

use std::fmt::Write as _;
use std::time::Duration;

use crate::RejectReason;

/// The answer of [`super::check`].
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum LimitVerdict {
    /// Not counted at all.
    Exempt,
    /// May pass; what is left.
    Admit(Quota),
    /// May not.
    Refuse(LimitRefusal),
}

/// A refusal.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct LimitRefusal {
    /// What is left of the limit that refused: nothing.
    pub quota: Quota,
    /// When a request may pass again; at least 1 ns.
    pub retry_after: Duration,
    /// The limit that refused.
    pub limited_by: LimitedBy,
}

/// Which limit.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitedBy {
    /// `per_ip_rate`
    PerSecond,
    /// `ban.requests` in `ban.interval`: this request began the ban, or there
    /// is no ban.
    Window,
    /// A ban that began before.
    Banned,
    /// `requests_per_second`, of all clients together.
    Global,
    /// The bucket that addresses share when the table is full.
    Overflow,
}

impl LimitedBy {
    /// Every limit.
    pub const ALL: [Self; 5] = [
        Self::PerSecond,
        Self::Window,
        Self::Banned,
        Self::Global,
        Self::Overflow,
    ];

    /// Stable name, kebab-case, for metrics and receipts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PerSecond => "per-second",
            Self::Window => "window",
            Self::Banned => "banned",
            Self::Global => "global",
            Self::Overflow => "overflow",
        }
    }

    /// The reason the edge gives.
    pub const fn reason(self) -> RejectReason {
        match self {
            Self::Banned => RejectReason::Banned,
            Self::PerSecond | Self::Window | Self::Global | Self::Overflow => {
                RejectReason::RateLimited
            }
        }
    }
}

/// What is left of the limit that is nearest to its end, for the fields
/// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11).
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Quota {
    /// Name of the policy: `second`, `minute`, `window`, `all`.
    pub name: &'static str,
    /// Requests a window.
    pub limit: u64,
    /// The window in seconds.
    pub window_s: u32,
    /// Requests left, at most `limit`.
    pub remaining: u64,
    /// Seconds until the whole limit is there again, rounded up.
    pub reset_s: u32,
}

/// Room for the longest name, two numbers and what is between them, bytes.
const FIELD_MAX: usize = 48;

impl Quota {
    /// No limit is configured.
    pub(super) const UNLIMITED: Self = Self {
        name: "",
        limit: 0,
        window_s: 0,
        remaining: 0,
        reset_s: 0,
    };

    /// Whether there is anything to say: some limit of an address is
    /// configured.
    pub fn is_some(&self) -> bool {
        !self.name.is_empty()
    }

    /// Appends the value of `RateLimit`, e.g. `"second";r=50;t=1`.
    pub fn write_rate_limit(&self, out: &mut Vec<u8>) {
        out.reserve(FIELD_MAX);
        out.push(b'"');
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(b"\";r=");
        write_number(self.remaining, out);
        out.extend_from_slice(b";t=");
        write_number(u64::from(self.reset_s), out);
    }
}

/// Appends a number, without the cost of `std::fmt`. Most are short.
fn write_number(value: u64, out: &mut Vec<u8>) {
    let digit = |place: u64| b'0' + (value / place % 10) as u8;
    match value {
        0..10 => out.push(digit(1)),
        10..100 => out.extend_from_slice(&[10, 1].map(digit)),
        100..1_000 => out.extend_from_slice(&[100, 10, 1].map(digit)),
        1_000..10_000 => out.extend_from_slice(&[1_000, 100, 10, 1].map(digit)),
        10_000.. => {
            write_number(value / 10_000, out);
            out.extend_from_slice(&[1_000, 100, 10, 1].map(digit));
        }
    }
}

/// Appends the value of `Retry-After`: whole seconds, rounded up, at least 1.
pub(super) fn write_seconds(span: Duration, out: &mut Vec<u8>) {
    write_number(u64::from(seconds_up(span).max(1)), out);
}

impl LimitRefusal {
    /// Appends the value of `Retry-After`.
    pub fn write_retry_after(&self, out: &mut Vec<u8>) {
        write_seconds(self.retry_after, out);
    }
}

/// Whole seconds, rounded up.
pub(super) fn seconds_up(span: Duration) -> u32 {
    let whole = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    u32::try_from(whole).unwrap_or(u32::MAX)
}

/// One item of `RateLimit-Policy`.
pub(super) fn policy_item(out: &mut String, (name, limit, window_s): (&str, u64, u32)) {
    if !out.is_empty() {
        out.push_str(", ");
    }
    let _ = write!(out, "\"{name}\";q={limit};w={window_s}");
}
