//! What happened: counters and histograms of fixed size.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency told apart, in microseconds (10 minutes); longer ones
/// count as this.
const LONGEST_US: u64 = 600_000_000;

/// Why a request failed.
#[derive(Copy, Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// No TCP connection.
    Connect,
    /// No TLS session, or not the wanted protocol.
    Tls,
    /// The connection broke, or the peer broke the protocol, before the head.
    Broken,
    /// The body ended early.
    Truncated,
    /// No complete answer in time.
    Timeout,
    /// An answer with a status outside the accepted ones.
    Status,
    /// The run ended before the request could be sent.
    Unsent,
}

/// A complete answer.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body_bytes: u64,
}

/// The three moments of a request.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Times {
    /// When it should have started.
    pub(crate) intended: Instant,
    /// When it was handed to a connection.
    pub(crate) sent: Instant,
    /// When its answer was complete or it failed.
    pub(crate) ended: Instant,
}

/// Everything recorded of a run. Bounded: statuses are numbers below 1,000,
/// failures an enum, histograms of fixed size.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) latency: Histogram<u64>,
    pub(crate) service: Histogram<u64>,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) failures: BTreeMap<Failure, u64>,
    pub(crate) body_bytes: u64,
    pub(crate) reconnects: u64,
    pub(crate) last_end: Option<Instant>,
}

impl Record {
    pub(crate) fn new() -> Self {
        let histogram =
            || Histogram::new_with_bounds(1, LONGEST_US, 3).expect("1 <= 600,000,000 and 3 digits");
        Self {
            latency: histogram(),
            service: histogram(),
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            body_bytes: 0,
            reconnects: 0,
            last_end: None,
        }
    }

    pub(crate) fn answered(&mut self, answer: Answer, times: Times) {
        self.latency
            .saturating_record(micros(times.ended.duration_since(times.intended)));
        self.service
            .saturating_record(micros(times.ended.duration_since(times.sent)));
        *self.statuses.entry(answer.status).or_default() += 1;
        self.body_bytes += answer.body_bytes;
        self.last_end = self.last_end.max(Some(times.ended));
    }

    pub(crate) fn failed(&mut self, failure: Failure, count: u64) {
        if count > 0 {
            *self.failures.entry(failure).or_default() += count;
        }
    }

    pub(crate) fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
