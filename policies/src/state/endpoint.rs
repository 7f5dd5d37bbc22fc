//! What is known of one endpoint while it runs.
//!
//! Promises: every field is a relaxed atomic, so that the request path never
//! waits; the clock is an argument. Two threads that report at the same
//! moment may lose one latency sample to each other, never a count of
//! requests in flight or an ejection.

use std::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::Duration;

use super::{ProbeOutcome, mix};
use crate::Tick;
use crate::ids::nanos;
use crate::outliers::{HealthCheck, OutlierPolicy};

/// Cost of an endpoint nobody has measured: 30 ms, between the regions of
/// one continent, so that it is neither shunned nor flooded.
const UNKNOWN_LATENCY_NS: f32 = 30_000_000.0;

/// Time in which the memory of a latency fades: 10 s.
const FADE: Duration = Duration::from_secs(10);

/// What active checks say.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Health {
    /// No check has answered yet: counted as healthy.
    Unknown = 0,
    Up = 1,
    Down = 2,
}

/// Live state of one endpoint, shared by all generations that name it.
#[derive(Debug, Default)]
pub(crate) struct EndpointState {
    in_flight: AtomicU32,
    latency_ns: AtomicU64,
    latency_at: AtomicU64,
    failures: AtomicU32,
    ejected_until: AtomicU64,
    ejections: AtomicU32,
    /// 1 from an ejection until its end has been reported.
    return_owed: AtomicU8,
    health: AtomicU8,
    probe_streak: AtomicU32,
    probe_at: AtomicU64,
    probes: AtomicU32,
    up_since: AtomicU64,
    reported_load: AtomicU32,
}

impl EndpointState {
    /// An endpoint whose first check is due at `first_probe`.
    pub(crate) fn new(first_probe: Tick) -> Self {
        let state = Self::default();
        state.probe_at.store(first_probe.0, Relaxed);
        state.reported_load.store(f32::NAN.to_bits(), Relaxed);
        state
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// Never falls below zero, whatever the caller forgot.
    pub(crate) fn end(&self) {
        saturating_decrement(&self.in_flight);
    }

    pub(crate) fn health(&self) -> Health {
        match self.health.load(Relaxed) {
            1 => Health::Up,
            2 => Health::Down,
            0 | 3.. => Health::Unknown,
        }
    }

    pub(crate) fn is_ejected(&self, now: Tick) -> bool {
        now.0 < self.ejected_until.load(Relaxed)
    }

    pub(crate) fn ejected_until(&self) -> Tick {
        Tick(self.ejected_until.load(Relaxed))
    }

    pub(crate) fn is_down(&self) -> bool {
        self.health() == Health::Down
    }

    pub(crate) fn is_usable(&self, now: Tick) -> bool {
        !self.is_ejected(now) && !self.is_down()
    }

    /// Unhealthy for the region's machine: down by its checks, or ejected
    /// again after it had come back. A first ejection is itself the remedy.
    pub(crate) fn is_unhealthy(&self, now: Tick) -> bool {
        self.is_down() || (self.is_ejected(now) && self.ejections.load(Relaxed) >= 2)
    }

    pub(crate) fn ejections(&self) -> u32 {
        self.ejections.load(Relaxed)
    }

    /// Load the backend reported last, 0 to 1.
    pub(crate) fn reported_load(&self) -> Option<f32> {
        let load = f32::from_bits(self.reported_load.load(Relaxed));
        (!load.is_nan()).then_some(load)
    }

    /// A latency sample: peaks count at once, better ones fade in.
    pub(crate) fn observe(&self, sample: Duration, now: Tick) {
        let sample = nanos(sample).max(1);
        let old = self.latency_ns.load(Relaxed);
        let at = Tick(self.latency_at.swap(now.0, Relaxed));
        let new = if old == 0 || sample >= old {
            sample
        } else {
            let kept = (-now.saturating_sub(at).as_secs_f32() / FADE.as_secs_f32()).exp();
            sample.saturating_add(scale(old - sample, kept))
        };
        self.latency_ns.store(new.max(1), Relaxed);
    }

    /// Latency as remembered, `None` before the first sample.
    pub(crate) fn latency(&self) -> Option<Duration> {
        let nanos = self.latency_ns.load(Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// Peak-EWMA cost: remembered latency times requests in flight and one
    /// more. The memory fades while nothing is measured, so that an endpoint
    /// that was slow once is tried again; a fresh one costs more until its
    /// slow start is over.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a cost is compared, not counted"
    )]
    pub(crate) fn cost(&self, policy: &OutlierPolicy, now: Tick) -> f32 {
        let latency = match self.latency_ns.load(Relaxed) {
            0 => UNKNOWN_LATENCY_NS,
            known => {
                let idle = now.saturating_sub(Tick(self.latency_at.load(Relaxed)));
                let fade = FADE.as_secs_f32();
                known as f32 * fade / (fade + idle.as_secs_f32())
            }
        };
        latency * (self.in_flight() as f32 + 1.0) / self.warmth(policy, now)
    }

    /// 0.1 to 1: how far slow start is over.
    fn warmth(&self, policy: &OutlierPolicy, now: Tick) -> f32 {
        let since = self
            .ejected_until
            .load(Relaxed)
            .max(self.up_since.load(Relaxed));
        if since == 0 || policy.slow_start.is_zero() {
            return 1.0;
        }
        let age = now.saturating_sub(Tick(since)).as_secs_f32();
        (age / policy.slow_start.as_secs_f32()).clamp(0.1, 1.0)
    }

    /// An answer below 500: the row of failures ends.
    pub(crate) fn note_success(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// One more failure in a row; the length of the row.
    pub(crate) fn note_failure(&self) -> u32 {
        self.failures.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// Ejects unless another thread just did. How long it lasts grows with
    /// every ejection and is forgiven by one per quiet interval.
    pub(crate) fn eject(&self, policy: &OutlierPolicy, now: Tick) -> Option<Ejection> {
        let until = self.ejected_until.load(Relaxed);
        if now.0 < until {
            return None;
        }
        let count = self.forgiven(policy, now).saturating_add(1);
        let span = policy
            .base_ejection_time
            .saturating_mul(count)
            .min(policy.max_ejection_time);
        let end = now + span;
        self.ejected_until
            .compare_exchange(until, end.0, SeqCst, Relaxed)
            .ok()?;
        self.ejections.store(count, Relaxed);
        self.failures.store(0, Relaxed);
        self.return_owed.store(1, Relaxed);
        Some(Ejection { count, until: end })
    }

    fn forgiven(&self, policy: &OutlierPolicy, now: Tick) -> u32 {
        let quiet = now.saturating_sub(self.ejected_until());
        let intervals = quiet.as_nanos() / policy.interval.as_nanos().max(1);
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX);
        self.ejections.load(Relaxed).saturating_sub(intervals)
    }

    /// True once after an ejection has ended.
    pub(crate) fn take_return(&self, now: Tick) -> bool {
        self.return_owed.load(Relaxed) == 1
            && !self.is_ejected(now)
            && self.return_owed.swap(0, Relaxed) == 1
    }

    /// What a check found: the change of health it brought, if any.
    pub(crate) fn note_probe(
        &self,
        found: ProbeOutcome,
        policy: &HealthCheck,
        now: Tick,
    ) -> Option<Health> {
        if let ProbeOutcome::Up { load } = found {
            let load = load
                .filter(|load| load.is_finite())
                .map_or(f32::NAN, |l| l.clamp(0.0, 1.0));
            self.reported_load.store(load.to_bits(), Relaxed);
        }
        let before = self.health();
        let (after, needed) = match (before, found) {
            (Health::Up, ProbeOutcome::Up { .. }) | (Health::Down, ProbeOutcome::Down(_)) => {
                self.probe_streak.store(0, Relaxed);
                return None;
            }
            (Health::Unknown, ProbeOutcome::Up { .. }) => (Health::Up, 1),
            (Health::Down, ProbeOutcome::Up { .. }) => (Health::Up, policy.healthy_threshold),
            (Health::Unknown | Health::Up, ProbeOutcome::Down(_)) => {
                (Health::Down, policy.unhealthy_threshold)
            }
        };
        if self.probe_streak.fetch_add(1, Relaxed).saturating_add(1) < needed {
            return None;
        }
        self.turn(before, after, now);
        Some(after)
    }

    fn turn(&self, before: Health, after: Health, now: Tick) {
        self.probe_streak.store(0, Relaxed);
        self.health.store(after as u8, SeqCst);
        if before == Health::Down {
            self.up_since.store(now.0, Relaxed);
        }
    }

    /// Whether a check is due; the one who is told so has to make it.
    pub(crate) fn claim_probe(&self, interval: Duration, tag: u64, now: Tick) -> bool {
        let due = self.probe_at.load(Relaxed);
        if now.0 < due {
            return false;
        }
        let count = self.probes.load(Relaxed);
        let next = now + jittered(interval, mix(tag, u64::from(count)));
        let won = self
            .probe_at
            .compare_exchange(due, next.0, Relaxed, Relaxed)
            .is_ok();
        if won {
            self.probes.fetch_add(1, Relaxed);
        }
        won
    }
}

/// An ejection that just happened.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ejection {
    pub(crate) count: u32,
    pub(crate) until: Tick,
}

/// The interval, longer or shorter by at most a tenth.
fn jittered(interval: Duration, random: u64) -> Duration {
    let tenth = interval / 10;
    let spread = nanos(tenth).saturating_mul(2).saturating_add(1);
    interval.saturating_sub(tenth) + Duration::from_nanos(random % spread)
}

/// Takes one unless there is none.
pub(crate) fn saturating_decrement(count: &AtomicU32) {
    let _ = count.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1));
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a latency needs no more than 7 digits; the share is 0 to 1"
)]
fn scale(value: u64, share: f32) -> u64 {
    (value as f32 * share) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::ProbeFailure;

    const SECOND: Duration = Duration::from_secs(1);

    struct Rig {
        state: EndpointState,
        policy: OutlierPolicy,
        now: Tick,
    }

    impl Rig {
        fn new() -> Self {
            let now = Tick(0) + Duration::from_secs(1_000);
            Self {
                state: EndpointState::new(now),
                policy: OutlierPolicy::default(),
                now,
            }
        }

        fn eject(&mut self) -> Duration {
            let ejection = self.state.eject(&self.policy, self.now).unwrap();
            ejection.until.saturating_sub(self.now)
        }
    }

    #[test]
    fn ejections_grow_by_thirty_seconds_up_to_five_minutes() {
        let mut rig = Rig::new();
        for count in 1..=15u64 {
            assert_eq!(rig.eject(), Duration::from_secs((30 * count).min(300)));
            assert_eq!(rig.state.eject(&rig.policy, rig.now), None, "only one wins");
            rig.now = rig.state.ejected_until();
            assert!(
                rig.state.is_usable(rig.now),
                "it comes back when its time is over"
            );
        }
    }

    #[test]
    fn a_quiet_interval_forgives_one_ejection() {
        let mut rig = Rig::new();
        for _ in 0..3 {
            rig.eject();
            rig.now = rig.state.ejected_until();
        }
        rig.now = rig.now + Duration::from_secs(21);
        assert_eq!(
            rig.eject(),
            Duration::from_mins(1),
            "3 less 2, and one more"
        );
    }

    #[test]
    fn a_return_is_told_once_and_not_before_its_time() {
        let mut rig = Rig::new();
        rig.eject();
        assert!(!rig.state.take_return(rig.now));
        rig.now = rig.state.ejected_until();
        assert!(rig.state.take_return(rig.now));
        assert!(!rig.state.take_return(rig.now));
    }

    #[test]
    fn three_bad_checks_take_an_endpoint_out_and_two_good_ones_bring_it_back() {
        let rig = Rig::new();
        let check = HealthCheck::default();
        let probe = |found| rig.state.note_probe(found, &check, rig.now);
        let (up, down) = (
            ProbeOutcome::Up { load: None },
            ProbeOutcome::Down(ProbeFailure::Timeout),
        );
        assert_eq!(
            [probe(down), probe(down), probe(down)],
            [None, None, Some(Health::Down)]
        );
        assert_eq!(
            [probe(up), probe(down), probe(up), probe(up)],
            [None, None, None, Some(Health::Up)]
        );
        assert_eq!(
            [probe(down), probe(down), probe(up), probe(down)],
            [None; 4]
        );
        assert!(rig.state.is_usable(rig.now));
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let rig = Rig::new();
        let ms = Duration::from_millis;
        rig.state.observe(ms(10), rig.now);
        rig.state.observe(ms(100), rig.now + SECOND);
        assert_eq!(rig.state.latency(), Some(ms(100)));
        rig.state.observe(ms(10), rig.now + Duration::from_secs(11));
        let faded = rig.state.latency().unwrap();
        assert!(
            ms(40) < faded && faded < ms(46),
            "10 s keep 1/e of 90 ms: {faded:?}"
        );
    }

    #[test]
    fn requests_in_flight_multiply_the_cost_and_idleness_lowers_it() {
        let rig = Rig::new();
        rig.state.observe(Duration::from_millis(10), rig.now);
        let idle = rig.state.cost(&rig.policy, rig.now);
        rig.state.begin();
        assert!((rig.state.cost(&rig.policy, rig.now) / idle - 2.0).abs() < 0.01);
        rig.state.end();
        rig.state.end();
        assert_eq!(rig.state.in_flight(), 0, "an end too many is no underflow");
        let later = rig
            .state
            .cost(&rig.policy, rig.now + Duration::from_secs(10));
        assert!((later / idle - 0.5).abs() < 0.01);
    }

    #[test]
    fn an_endpoint_that_came_back_is_dear_until_it_is_warm() {
        let mut rig = Rig::new();
        let cold = rig.state.cost(&rig.policy, rig.now);
        rig.eject();
        rig.now = rig.state.ejected_until();
        assert!((rig.state.cost(&rig.policy, rig.now) / cold - 10.0).abs() < 0.1);
        rig.now = rig.now + Duration::from_secs(30);
        assert!((rig.state.cost(&rig.policy, rig.now) / cold - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_check_is_claimed_by_one_and_due_again_after_about_an_interval() {
        let rig = Rig::new();
        let interval = Duration::from_secs(10);
        let mut now = rig.now;
        for _ in 0..100 {
            assert!(rig.state.claim_probe(interval, 7, now));
            assert!(!rig.state.claim_probe(interval, 7, now));
            assert!(
                !rig.state
                    .claim_probe(interval, 7, now + Duration::from_millis(8_999))
            );
            now = now + Duration::from_millis(11_001);
        }
    }
}
