//! What every thread shares: one [`Edge`] for the process, one [`Generation`]
//! for each accepted set of policy files.
//!
//! Promises: a request takes one `Arc<Generation>` and sees nothing else; a
//! reload is one swap. Refuses: any state that belongs to a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use meridian_geo::Locator;
use meridian_policies::limits::LimitState;
use meridian_policies::retry::Budget;
use meridian_policies::{Snapshot, State, Tick, View};
use meridian_waf::Ruleset;
use tokio::sync::watch;

use crate::reload::ReloadLog;
use crate::server::{Connections, Tls};
use crate::settings::Settings;
use crate::telemetry::Telemetry;

/// The process as its threads see it.
pub struct Edge {
    /// The static file, already meant.
    pub settings: Settings,
    /// The generation that new requests take.
    pub live: ArcSwap<Generation>,
    /// Health, ejections and latencies by endpoint id; survives reloads.
    pub state: State,
    /// Buckets, windows and bans by client address; survives reloads.
    pub limits: LimitState,
    /// Share of requests that may be tried again.
    pub budget: Budget,
    /// Metrics, access log and the decision ring.
    pub telemetry: Telemetry,
    /// The only clock of the request path.
    pub clock: Clock,
    /// Starting, serving, draining, stopped.
    pub lifecycle: Lifecycle,
    /// What reloads were accepted and refused.
    pub reloads: ReloadLog,
    /// Client connections, in all and by address.
    pub connections: Connections,
    /// Certificates of the listeners, and who may resume what.
    pub tls: Tls,
}

/// One accepted set of policy files and all that was compiled from it.
pub struct Generation {
    /// Counts accepted sets from 1.
    pub number: u64,
    /// Compiled policies.
    pub snapshot: Snapshot,
    /// Live state lined up with the snapshot's indices.
    pub view: View,
    /// Address to place.
    pub locator: Locator,
    /// Request inspection.
    pub waf: Ruleset,
    /// When it became live, milliseconds since 1970.
    pub loaded_unix_ms: u64,
}

/// Monotonic time since the process started, and wall time.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Nanoseconds of the machine's monotonic clock.
    origin: u64,
    /// Wall time at the origin, milliseconds since 1970; follows steps of the
    /// machine's clock.
    wall: Arc<AtomicU64>,
}

impl Clock {
    /// A clock whose zero is now.
    pub fn start() -> Self {
        let clock = Self {
            origin: monotonic(),
            wall: Arc::new(AtomicU64::new(0)),
        };
        clock.follow();
        clock
    }

    /// Takes over where the machine's wall clock stands now. Called ten times
    /// a second, so that requests need not ask.
    pub fn follow(&self) {
        let since = self.tick().0 / 1_000_000;
        self.wall
            .store(Self::unix_ms().saturating_sub(since), Ordering::Relaxed);
    }

    /// Milliseconds since 1970 at a tick of this clock.
    pub fn unix_ms_at(&self, tick: Tick) -> u64 {
        self.wall
            .load(Ordering::Relaxed)
            .saturating_add(tick.0 / 1_000_000)
    }

    /// Nanoseconds since [`Clock::start`]; saturates after 584 years.
    pub fn tick(&self) -> Tick {
        Tick(monotonic().saturating_sub(self.origin))
    }

    /// Milliseconds since 1970; 0 when the machine's clock is before that.
    pub fn unix_ms() -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            })
    }
}

/// One call into the vDSO, without `Instant`'s arithmetic.
fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    u64::try_from(now.tv_sec)
        .unwrap_or(0)
        .saturating_mul(1_000_000_000)
        .saturating_add(nanos)
}

/// Where the process stands between start and exit.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Sockets are bound, nothing is served yet.
    Starting,
    /// Requests are served.
    Serving,
    /// Readiness fails; what is open may finish.
    Draining,
    /// Nothing is open any more, or the drain bound has passed.
    Stopped,
}

impl Phase {
    /// Lower-case name, for `/readyz`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// The phases of the process and the count of open exchanges.
pub struct Lifecycle {
    phase: AtomicU8,
    cutting: AtomicBool,
    busy: AtomicUsize,
    draining: watch::Sender<bool>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// A process that starts.
    pub fn new() -> Self {
        Self {
            phase: AtomicU8::new(0),
            cutting: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            draining: watch::channel(false).0,
        }
    }

    /// The phase at this moment.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            2 => Phase::Draining,
            _ => Phase::Stopped,
        }
    }

    /// True while new requests are welcome.
    pub fn ready(&self) -> bool {
        self.phase() == Phase::Serving
    }

    /// True from the first call of [`Lifecycle::drain`] on.
    pub fn draining(&self) -> bool {
        self.phase.load(Ordering::Relaxed) >= 2
    }

    /// The listeners accept.
    pub fn serving(&self) {
        let _ = self
            .phase
            .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Begins the drain: readiness fails at once, connections close when
    /// their exchange is done. Calling it twice changes nothing.
    pub fn drain(&self) {
        if self.phase.fetch_max(2, Ordering::AcqRel) < 2 {
            self.draining.send_replace(true);
            crate::engine::deadlines::wake_all();
        }
    }

    /// The drain's bound has passed: what is still open ends now.
    pub fn cut(&self) {
        self.cutting.store(true, Ordering::Release);
        crate::engine::deadlines::wake_all();
    }

    /// True from [`Lifecycle::cut`] on.
    pub fn cutting(&self) -> bool {
        self.cutting.load(Ordering::Relaxed)
    }

    /// The last phase.
    pub fn stopped(&self) {
        self.phase.fetch_max(3, Ordering::AcqRel);
        self.draining.send_replace(true);
    }

    /// Returns when the last phase has begun.
    pub async fn wait_stopped(&self) {
        let mut watch = self.watch_drain();
        // The sender lives in self, so the channel can't close before.
        let _ = watch.wait_for(|_| self.phase() == Phase::Stopped).await;
    }

    /// A receiver that turns true when the drain begins.
    pub fn watch_drain(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    /// Returns when the drain has begun.
    pub async fn wait_drain(&self) {
        let mut watch = self.watch_drain();
        // The sender lives in self, so the channel can't close before.
        let _ = watch.wait_for(|draining| *draining).await;
    }

    /// Open connections.
    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Acquire)
    }

    /// One more open connection.
    pub fn opened(&self) {
        self.busy.fetch_add(1, Ordering::AcqRel);
    }

    /// One open connection less.
    pub fn closed(&self) {
        self.busy.fetch_sub(1, Ordering::AcqRel);
    }

    /// Returns when nothing is open, or after `bound`. True when idle.
    pub async fn wait_idle(&self, bound: Duration) -> bool {
        let end = tokio::time::Instant::now() + bound;
        while self.busy() > 0 {
            if tokio::time::Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }
}

impl Edge {
    /// The generation that a request beginning now sees to its end.
    pub fn generation(&self) -> Arc<Generation> {
        self.live.load_full()
    }
}
