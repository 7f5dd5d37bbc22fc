//! What is known of one region while it runs.
//!
//! Promises: relaxed atomics only; the failover machine's standing is one
//! word, so that no thread sees half of a change.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::endpoint::saturating_decrement;
use super::overrides::{Note, OverrideAction, Ruling};
use super::window::{OneSecond, TenSeconds};
use crate::Tick;
use crate::ids::nanos;
use crate::regions::failover::{FailoverPolicy, Phase, Standing, Vitals, step};

/// Samples of the way to a region that make a window worth believing.
const PATH_SAMPLES_MIN: u32 = 20;

/// Width of one window of samples: 10 s.
const PATH_WINDOW: Duration = Duration::from_secs(10);

/// How long a measurement is believed while no new one comes: 5 min, the
/// failback delay. A region that looked slow and gets no traffic for it is then
/// taken for what the matrix says, and tried again.
const PATH_MEMORY: Duration = Duration::from_mins(5);

/// Live state of one region, shared by all generations that name it.
#[derive(Debug)]
pub(crate) struct RegionState {
    in_flight: AtomicU32,
    started: OneSecond,
    answers: TenSeconds,
    /// Phase in the low two bits, nanoseconds since when above: good for 146
    /// years.
    standing: AtomicU64,
    /// Tick plus one; 0 is none.
    calm_since: AtomicU64,
    announced: AtomicU32,
    /// Until when some endpoint may be unusable; `u64::MAX` while one is down.
    trouble_until: AtomicU64,
    /// A packed [`Ruling`]; 0: none.
    ruling: AtomicU64,
    /// Tag of the route that a pin is for; 0: all.
    ruled_route: AtomicU64,
    /// Never touched by a request.
    note: Mutex<Option<Note>>,
    reported_load: AtomicU32,
    path: PathState,
}

impl RegionState {
    pub(crate) fn new(now: Tick) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            started: OneSecond::default(),
            answers: TenSeconds::default(),
            standing: AtomicU64::new(pack(Standing::start(now))),
            calm_since: AtomicU64::new(0),
            announced: AtomicU32::new(Phase::Active as u32),
            trouble_until: AtomicU64::new(0),
            ruling: AtomicU64::new(0),
            ruled_route: AtomicU64::new(0),
            note: Mutex::new(None),
            reported_load: AtomicU32::new(0f32.to_bits()),
            path: PathState::default(),
        }
    }

    pub(crate) fn begin(&self, now: Tick) {
        self.in_flight.fetch_add(1, Relaxed);
        self.started.add(now);
    }

    pub(crate) fn end(&self) {
        saturating_decrement(&self.in_flight);
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    pub(crate) fn note_success(&self, now: Tick) {
        self.answers.add(now);
    }

    pub(crate) fn note_failure(&self, now: Tick) {
        self.answers.add_marked(now);
    }

    /// Share of failures among the answers of the last 10 s, 0 below the
    /// minimum volume.
    pub(crate) fn error_share(&self, policy: &FailoverPolicy, now: Tick) -> f32 {
        let tally = self.answers.tally(now);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a volume needs no more than 7 digits"
        )]
        let least = policy.min_requests as f32;
        if tally.total < least {
            0.0
        } else {
            tally.share()
        }
    }

    /// Load, 0 idle to 1 full and beyond: the larger of what this edge sends
    /// (in flight, and begun in the last second) over the capacity, and of
    /// what the backends report. Without a capacity only the latter counts.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a load needs no more than 7 digits"
    )]
    pub(crate) fn load(&self, capacity: Option<f32>, now: Tick) -> f32 {
        let reported = f32::from_bits(self.reported_load.load(Relaxed));
        let Some(capacity) = capacity else {
            return reported;
        };
        let sent = (self.in_flight() as f32).max(self.started.tally(now).total);
        if sent > 0.0 {
            (sent / capacity).max(reported)
        } else {
            reported
        }
    }

    pub(crate) fn set_reported_load(&self, load: f32) {
        self.reported_load.store(load.to_bits(), Relaxed);
    }

    /// Whether every endpoint is certainly usable.
    pub(crate) fn is_untroubled(&self, now: Tick) -> bool {
        self.trouble_until.load(Relaxed) <= now.0
    }

    /// Trouble until then at least.
    pub(crate) fn trouble(&self, until: Tick) {
        self.trouble_until.fetch_max(until.0, SeqCst);
    }

    /// Forgets trouble; the caller then reports again what is left of it. In
    /// this order nothing that happens meanwhile is lost.
    pub(crate) fn forget_trouble(&self) {
        self.trouble_until.store(0, SeqCst);
    }

    pub(super) fn rule(&self, ruling: Ruling, route: u64, note: Note) {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = Some(note);
        self.ruled_route.store(route, Relaxed);
        self.ruling.store(ruling.pack(), SeqCst);
    }

    pub(super) fn unrule(&self) {
        self.ruling.store(0, SeqCst);
    }

    /// What an operator ordered, if it still holds.
    pub(crate) fn ruling(&self, now: Tick) -> Option<Ruling> {
        self.any_ruling().filter(|ruling| ruling.until > now)
    }

    pub(super) fn any_ruling(&self) -> Option<Ruling> {
        Ruling::unpack(self.ruling.load(Relaxed))
    }

    /// Whether the order is for a route of this tag.
    pub(crate) fn rules_route(&self, tag: u64) -> bool {
        let route = self.ruled_route.load(Relaxed);
        route == 0 || route == tag
    }

    pub(super) fn note(&self) -> Option<Note> {
        self.note
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The action of an order that has ended, once.
    pub(super) fn take_ended(&self, now: Tick) -> Option<OverrideAction> {
        let packed = self.ruling.load(Relaxed);
        let ruling = Ruling::unpack(packed).filter(|ruling| ruling.until <= now)?;
        self.ruling
            .compare_exchange(packed, 0, SeqCst, Relaxed)
            .ok()
            .map(|_| ruling.action)
    }

    /// Until when an operator drains the region; the past: not at all.
    pub(crate) fn drained_until(&self) -> Tick {
        match self.any_ruling() {
            Some(Ruling {
                action: OverrideAction::Drain,
                until,
            }) => until,
            Some(_) | None => Tick(0),
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        let calm = self.calm_since.load(Relaxed).checked_sub(1).map(Tick);
        Standing {
            calm_since: calm,
            ..unpack(self.standing.load(Relaxed))
        }
    }

    /// Lets the machine catch up with `now`; the standing it then has.
    pub(crate) fn settle(&self, seen: Vitals, policy: &FailoverPolicy, now: Tick) -> Standing {
        let packed = self.standing.load(Relaxed);
        let calm = self.calm_since.load(Relaxed);
        let at = Standing {
            calm_since: calm.checked_sub(1).map(Tick),
            ..unpack(packed)
        };
        let next = step(at, seen, policy, now);
        let target = pack(next);
        if target != packed
            && self
                .standing
                .compare_exchange(packed, target, Relaxed, Relaxed)
                .is_err()
        {
            return self.standing();
        }
        let next_calm = next.calm_since.map_or(0, |at| at.0.saturating_add(1));
        if next_calm != calm {
            self.calm_since.store(next_calm, Relaxed);
        }
        next
    }

    /// The phase that was announced last, when it is not this one; it is
    /// announced now.
    pub(crate) fn announce(&self, phase: Phase) -> Option<Phase> {
        let before = self.announced.swap(phase as u32, Relaxed);
        let before = phase_of(u64::from(before));
        (before != phase).then_some(before)
    }

    pub(crate) fn path(&self) -> &PathState {
        &self.path
    }
}

fn pack(standing: Standing) -> u64 {
    (standing.since.0 << 2) | standing.phase as u64
}

fn unpack(packed: u64) -> Standing {
    Standing {
        phase: phase_of(packed & 3),
        since: Tick(packed >> 2),
        calm_since: None,
    }
}

fn phase_of(bits: u64) -> Phase {
    match bits {
        0 => Phase::Active,
        1 => Phase::Degraded,
        2 => Phase::Failed,
        3.. => Phase::Recovering,
    }
}

/// What this edge measures of the way to a region.
///
/// A first byte is the round trip plus the time of service, so the smallest of
/// a window is what says most about the way; windows are then averaged.
#[derive(Debug)]
pub(crate) struct PathState {
    window_from: AtomicU64,
    smallest_ns: AtomicU64,
    samples: AtomicU32,
    /// Microseconds, as bits of an `f32`; 0 until something is known.
    average_us: AtomicU32,
    /// When that was last renewed.
    measured_at: AtomicU64,
}

impl Default for PathState {
    fn default() -> Self {
        Self {
            window_from: AtomicU64::new(0),
            smallest_ns: AtomicU64::new(u64::MAX),
            samples: AtomicU32::new(0),
            average_us: AtomicU32::new(0),
            measured_at: AtomicU64::new(0),
        }
    }
}

impl PathState {
    /// A round trip was seen that took this long, service included.
    pub(crate) fn observe(&self, sample: Duration, now: Tick) {
        self.rotate(now);
        self.smallest_ns.fetch_min(nanos(sample).max(1), Relaxed);
        self.samples.fetch_add(1, Relaxed);
    }

    /// Round trip in milliseconds; `None` until a window had enough samples, and
    /// when that was too long ago.
    pub(crate) fn round_trip_ms(&self, now: Tick) -> Option<f32> {
        let us = f32::from_bits(self.average_us.load(Relaxed));
        if us > 0.0 {
            let age = now.saturating_sub(Tick(self.measured_at.load(Relaxed)));
            (age <= PATH_MEMORY).then_some(us / 1_000.0)
        } else {
            None
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a latency needs no more than 7 digits"
    )]
    fn rotate(&self, now: Tick) {
        let from = self.window_from.load(Relaxed);
        let open = from != 0 && now.saturating_sub(Tick(from)) < PATH_WINDOW;
        if open
            || self
                .window_from
                .compare_exchange(from, now.0.max(1), Relaxed, Relaxed)
                .is_err()
        {
            return;
        }
        let samples = self.samples.swap(0, Relaxed);
        let smallest = self.smallest_ns.swap(u64::MAX, Relaxed);
        if samples < PATH_SAMPLES_MIN || smallest == u64::MAX {
            return;
        }
        let smallest = smallest as f32 / 1_000.0;
        let average = self.round_trip_ms(now).unwrap_or(0.0) * 1_000.0;
        let next = if average > 0.0 {
            average * 0.7 + smallest * 0.3
        } else {
            smallest
        };
        self.average_us.store(next.to_bits(), Relaxed);
        self.measured_at.store(now.0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_the_smallest_of_a_window_averaged_over_windows() {
        let path = PathState::default();
        let mut now = Tick(1);
        for window in 0..3u64 {
            for sample in 0..20 {
                path.observe(Duration::from_millis(100 + window * 10 + sample), now);
            }
            now = now + PATH_WINDOW;
        }
        let found = path.round_trip_ms(now).unwrap();
        assert!(
            (found - 103.0).abs() < 0.01,
            "100, then 0.7 x 100 + 0.3 x 110: {found}"
        );
        let later = now + Duration::from_mins(6);
        assert_eq!(path.round_trip_ms(later), None, "that was long ago");
    }

    #[test]
    fn a_few_slow_answers_say_nothing_about_the_way() {
        let path = PathState::default();
        for second in 0..60u64 {
            path.observe(
                Duration::from_secs(2),
                Tick(0) + Duration::from_secs(second),
            );
        }
        assert_eq!(path.round_trip_ms(Tick(0) + Duration::from_mins(1)), None);
    }

    #[test]
    fn errors_count_only_from_the_minimum_volume_on() {
        let policy = FailoverPolicy::default();
        let state = RegionState::new(Tick(0));
        for _ in 0..49 {
            state.note_failure(Tick(1));
        }
        assert!(state.error_share(&policy, Tick(1)).abs() < f32::EPSILON);
        state.note_failure(Tick(1));
        assert!((state.error_share(&policy, Tick(1)) - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn the_load_is_the_worst_of_what_is_sent_and_what_is_reported() {
        let state = RegionState::new(Tick(0));
        for _ in 0..30 {
            state.begin(Tick(1));
        }
        assert!((state.load(Some(100.0), Tick(1)) - 0.3).abs() < 0.001);
        state.set_reported_load(0.7);
        assert!((state.load(Some(100.0), Tick(1)) - 0.7).abs() < 0.001);
        assert!((state.load(None, Tick(1)) - 0.7).abs() < 0.001);
    }
}
