//! What is told about requests: metrics, access log, decision ring.
//!
//! Promises: [`Telemetry::finish`] takes a request's outcome once and never
//! waits: counters are sharded atomics, the log line goes to a buffer of the
//! thread's own, the receipt changes places with the oldest one. Counts
//! survive reloads. Refuses: labels that a client could choose, and failing a
//! request because a disk is full.

pub mod audit;
mod counts;
mod decisions;
mod exemplar;
mod exposition;
mod histogram;
mod json;
pub mod labels;
mod log;
mod outcome;
mod recorder;
mod regions;
mod ring;
mod scrape;
mod status;
mod versions;

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use meridian_policies::affinity::CookieSeen;
use meridian_policies::identity::TokenCount;
use meridian_policies::regions::AffinityOutcome;
use meridian_policies::replay::Asked;
use meridian_policies::{Receipt, RegionIndex, RejectReason};
use meridian_wire::Method;

use self::audit::Audit;
use self::counts::{Counts, Named};
pub use self::decisions::{DECISIONS_MAX, Filter, Kind};
pub use self::exposition::CONTENT_TYPE;
pub use self::labels::{
    CloseReason, ConnectResult, HandshakeFailure, MethodLabel, Protocol, RetryReason, WebSocketEnd,
};
use self::log::Log;
pub use self::outcome::{End, ExpiredDeadline, Outcome, Shape, Transport};
pub use self::recorder::{Agreement, RecordCounts, Recorder};
use self::regions::{Cells, Count, Crossing, Regions};
use self::ring::Ring;
pub use self::scrape::Scrape;
use self::versions::Versions;
use crate::edge::Generation;
use crate::settings::{Switch, TelemetrySettings};

/// Most shards: threads beyond them share. Each costs some 6 KiB a region.
const SHARDS_MAX: usize = 16;

/// How long the end of the process waits for the disk.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// All counters, the log and the ring of one process.
pub struct Telemetry {
    metrics: Switch,
    edge_region: String,
    regions: Regions,
    aligned: ArcSwap<Aligned>,
    decisions: Box<[DecisionCells]>,
    open: Arc<Counts<{ Protocol::COUNT }>>,
    closed: Counts<{ CloseReason::COUNT }>,
    websockets: Counts<{ WebSocketEnd::COUNT }>,
    handshakes: Counts<{ HandshakeFailure::COUNT }>,
    waf: Named,
    limited: AtomicU64,
    cookies: Counts<{ CookieSeen::COUNTED.len() }>,
    tokens: Counts<{ TokenCount::NAMES.len() }>,
    sessions: Counts<{ AffinityOutcome::ALL.len() }>,
    versions: Versions,
    log: Option<Log>,
    audit: Option<Audit>,
    ring: Ring<Receipt>,
    recorder: Option<Recorder>,
    /// Generations that receipts may refer to; newest last.
    history: Mutex<Vec<Arc<Generation>>>,
}

/// Cells lined up with one generation's region indices.
struct Aligned {
    generation: u64,
    cells: Vec<Arc<Cells>>,
}

/// One shard's verdicts.
#[repr(align(128))]
struct DecisionCells {
    forwarded: AtomicU64,
    answered: AtomicU64,
    refused: Counts<{ RejectReason::ALL.len() }>,
}

impl DecisionCells {
    fn new() -> Self {
        Self {
            forwarded: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            refused: Counts::new(),
        }
    }
}

impl Telemetry {
    /// Opens the access log and the audit log. `edge_region` is where this edge stands: the
    /// `source_region` of what crosses regions.
    pub fn new(settings: &TelemetrySettings, edge_region: &str) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = cores.min(SHARDS_MAX);
        Ok(Self {
            metrics: settings.metrics,
            edge_region: edge_region.to_owned(),
            regions: Regions::new(shards),
            aligned: ArcSwap::from_pointee(Aligned {
                generation: 0,
                cells: Vec::new(),
            }),
            decisions: (0..shards).map(|_| DecisionCells::new()).collect(),
            open: Arc::new(Counts::new()),
            closed: Counts::new(),
            websockets: Counts::new(),
            handshakes: Counts::new(),
            waf: Named::default(),
            limited: AtomicU64::new(0),
            cookies: Counts::new(),
            tokens: Counts::new(),
            sessions: Counts::new(),
            versions: Versions::default(),
            log: Log::start(settings, shards)?,
            audit: settings
                .audit
                .as_ref()
                .map(|audit| Audit::start(audit, edge_region))
                .transpose()?,
            ring: Ring::new(settings.receipts),
            recorder: match &settings.recording {
                Some(recording) => Some(Recorder::start(recording, edge_region)?),
                None => None,
            },
            history: Mutex::default(),
        })
    }

    /// Decisions in full, where they are wanted.
    pub fn recorder(&self) -> Option<&Recorder> {
        self.recorder.as_ref()
    }

    /// The audit log; `None`: nothing is audited.
    #[inline]
    pub fn audit(&self) -> Option<&Audit> {
        self.audit.as_ref()
    }

    /// Whether metrics are wanted.
    pub fn metrics(&self) -> Switch {
        self.metrics
    }

    /// Once for each request, at its end. Gives back a receipt to write over.
    pub fn finish(&self, outcome: &Outcome<'_>, receipt: Box<Receipt>) -> Box<Receipt> {
        let shard = shard_of_this_thread();
        match self.metrics {
            Switch::On => {
                self.count(shard, outcome);
                self.sessions.add_unless_zero(receipt.affinity as usize);
            }
            Switch::Off => {}
        }
        if let Some(log) = &self.log {
            log.finish(shard, outcome);
        }
        if let Some(recorder) = &self.recorder {
            let asked = Asked {
                head: outcome.head,
                peer: outcome.peer.ip(),
            };
            recorder.take(&outcome.generation.snapshot, &receipt, asked);
        }
        self.ring.put(receipt)
    }

    fn count(&self, shard: usize, outcome: &Outcome<'_>) {
        self.verdict(shard, outcome);
        let count = Count {
            method: method(outcome.head.method()),
            status: outcome.status,
            latency: outcome.latency(),
            request_id: outcome.request_id,
            at_unix_ms: outcome.ended_unix_ms(),
        };
        let Some(region) = outcome.region else {
            return self.regions.edge().count(shard, &count);
        };
        let crossing = Crossing {
            first_byte: outcome.upstream_first_byte,
            bytes: outcome.bytes_in.saturating_add(outcome.bytes_out),
            cost: 0.0,
        };
        let snapshot = &outcome.generation.snapshot;
        if let Some(version) = outcome.version() {
            self.versions
                .count(version, (outcome.status, outcome.latency()));
        }
        let crosses = snapshot.region(region).id != self.edge_region;
        self.with_cells(outcome.generation, region, |cells| {
            cells.count(shard, &count);
            if crosses {
                let cost = outcome.egress_cost(region);
                cells.cross(shard, Crossing { cost, ..crossing });
            }
        });
    }

    fn verdict(&self, shard: usize, outcome: &Outcome<'_>) {
        let cells = shard
            .checked_rem(self.decisions.len())
            .and_then(|at| self.decisions.get(at));
        let Some(cells) = cells else {
            return;
        };
        match (outcome.reject, outcome.region) {
            (Some(reason), _) => {
                cells.refused.add(reason as usize);
                if matches!(reason, RejectReason::RateLimited | RejectReason::Banned) {
                    self.limited.fetch_add(1, Ordering::Relaxed);
                }
            }
            (None, Some(_)) => drop(cells.forwarded.fetch_add(1, Ordering::Relaxed)),
            (None, None) => drop(cells.answered.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Gives a region's cells. The newest generation costs one load; the
    /// first request of a new one lines the cells up; the last ones of an old
    /// one look their region up by its id.
    fn with_cells(&self, of: &Generation, region: RegionIndex, write: impl FnOnce(&Cells)) {
        let mut aligned = self.aligned.load();
        if aligned.generation < of.number {
            self.align(of);
            aligned = self.aligned.load();
        }
        if aligned.generation == of.number {
            if let Some(cells) = aligned.cells.get(region.index()) {
                write(cells);
            }
        } else if let Some(cells) = self.regions.find(&of.snapshot.region(region).id) {
            write(&cells);
        }
    }

    #[cold]
    fn align(&self, to: &Generation) {
        let ids = to
            .snapshot
            .regions()
            .iter()
            .map(|region| region.id.as_str());
        let aligned = Arc::new(Aligned {
            generation: to.number,
            cells: self.regions.align(ids),
        });
        // Two threads may race here: the newer generation stays.
        self.aligned.rcu(|current| {
            let newest = if current.generation < to.number {
                &aligned
            } else {
                current
            };
            Arc::clone(newest)
        });
    }

    /// One more open connection; the guard takes it back.
    pub fn connection(&self, protocol: Protocol) -> ConnectionGuard {
        self.open.add(protocol.index());
        ConnectionGuard {
            open: Arc::clone(&self.open),
            protocol,
        }
    }

    /// A client's connection ended.
    pub fn connection_closed(&self, reason: CloseReason) {
        self.closed.add(reason.index());
    }

    /// A WebSocket ended.
    pub fn websocket_ended(&self, end: WebSocketEnd) {
        self.websockets.add(end.index());
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self, reason: HandshakeFailure) {
        self.handshakes.add(reason.index());
    }

    /// An attempt to connect to an endpoint of a region ended.
    pub fn upstream_connect(&self, of: &Generation, region: RegionIndex, result: ConnectResult) {
        self.with_cells(of, region, |cells| cells.connects.add(result.index()));
    }

    /// The edge tries again what failed in a region.
    pub fn retry(&self, of: &Generation, region: RegionIndex, reason: RetryReason) {
        self.with_cells(of, region, |cells| cells.retries.add(reason.index()));
    }

    /// An endpoint of a region was ejected.
    pub fn ejection(&self, of: &Generation, region: RegionIndex) {
        self.with_cells(of, region, |cells| cells.ejections.add(0));
    }

    /// What became of a request's token.
    pub fn token(&self, seen: TokenCount) {
        self.tokens.add(seen.index());
    }

    /// What a request's cookie said of its session.
    pub fn cookie(&self, seen: CookieSeen) {
        if let Some(at) = seen.counted() {
            self.cookies.add(at);
        }
    }

    /// A WAF rule matched. `rule` is a configured or built-in id.
    pub fn waf_hit(&self, rule: &str) {
        self.waf.add(rule);
    }

    /// Waits until the logs are written, two seconds each at most: for the
    /// end of the process.
    pub fn flush(&self) {
        if let Some(recorder) = &self.recorder {
            let _ = recorder.flush(FLUSH_MAX);
        }
        if let Some(audit) = &self.audit {
            // What a standing disk has not taken by then is lost.
            let _ = audit.flush(FLUSH_MAX);
        }
        if let Some(log) = &self.log {
            // What a standing disk has not taken by then is lost.
            let _ = log.flush(FLUSH_MAX);
        }
    }
}

/// An open connection, counted until it is dropped.
#[derive(Debug)]
pub struct ConnectionGuard {
    open: Arc<Counts<{ Protocol::COUNT }>>,
    protocol: Protocol,
}

impl ConnectionGuard {
    /// The connection goes on as something else: a WebSocket, or HTTP/2 once
    /// ALPN has chosen it.
    pub fn becomes(&mut self, protocol: Protocol) {
        self.open.add(protocol.index());
        self.open.sub(self.protocol.index());
        self.protocol = protocol;
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.open.sub(self.protocol.index());
    }
}

const fn method(method: Method) -> MethodLabel {
    match method {
        Method::Get => MethodLabel::Get,
        Method::Head => MethodLabel::Head,
        Method::Post => MethodLabel::Post,
        Method::Put => MethodLabel::Put,
        Method::Delete => MethodLabel::Delete,
        Method::Options => MethodLabel::Options,
        Method::Patch => MethodLabel::Patch,
        Method::Trace => MethodLabel::Trace,
        Method::Connect => MethodLabel::Connect,
        Method::Extension => MethodLabel::Other,
    }
}

/// A moment as RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    let mut text = Vec::with_capacity(24);
    json::moment(unix_ms, &mut text);
    // Digits and punctuation only.
    String::from_utf8(text).unwrap_or_default()
}

/// Threads are numbered as they first ask.
fn shard_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<Option<usize>> = const { Cell::new(None) };
    }
    SHARD.with(|shard| {
        shard.get().unwrap_or_else(|| {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            shard.set(Some(number));
            number
        })
    })
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
