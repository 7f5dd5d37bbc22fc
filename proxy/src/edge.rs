//! What every thread shares: one [`Edge`] for the process, one [`Generation`]
//! for each accepted set of policy files.
//!
//! Promises: a request takes one `Arc<Generation>` and sees nothing else; a
//! reload is one swap. Refuses: any state that belongs to a request.

mod lifecycle;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use meridian_geo::Locator;
use meridian_policies::identity::TokenCache;
use meridian_policies::limits::LimitState;
use meridian_policies::retry::Budget;
use meridian_policies::{Snapshot, State, Tick, View};
use meridian_waf::Ruleset;

use crate::reload::ReloadLog;
use crate::server::tls::{CertificateStatus, Upstreams};
use crate::server::{Connections, Tls};
use crate::settings::Settings;
use crate::telemetry::Telemetry;

pub use self::lifecycle::{Lifecycle, Phase};

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
    /// Tokens that were verified with the snapshot's keys.
    pub tokens: TokenCache,
    /// Request inspection; shared with the generations before that have the
    /// same rules.
    pub waf: Arc<Ruleset>,
    /// TLS toward endpoints.
    pub upstreams: Upstreams,
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

impl Edge {
    /// The generation that a request beginning now sees to its end.
    pub fn generation(&self) -> Arc<Generation> {
        self.live.load_full()
    }

    /// How all certificates that the edge shows stand, to clients and to
    /// endpoints, each file once.
    pub fn certificates(&self) -> Vec<CertificateStatus> {
        let mut all = self.tls.certificates();
        for status in self.generation().upstreams.certificates() {
            if all.iter().all(|s| s.certificate != status.certificate) {
                all.push(status);
            }
        }
        all
    }
}
