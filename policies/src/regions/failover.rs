//! When a region counts as degraded, failed, recovering: a machine that is
//! fed with what is seen and with `now`.
//!
//! Promises: a region that flaps does not flap the traffic. Getting worse to
//! `Failed` is immediate; every other change waits for the dwell time, and
//! leaving `Failed` waits for the failback delay without a bad moment in
//! between, then for a ramp. Refuses nothing: every input gives a state.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::gates::{Gate, is_out};
use crate::Tick;

/// Thresholds and times of the machine (`traffic_policy.failover`). Shares
/// are 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailoverPolicy {
    /// Unhealthy share of endpoints at which a region is degraded. Default 0.25.
    pub degraded_unhealthy: f32,
    /// Error share at which a region is degraded. Default 0.05.
    pub degraded_errors: f32,
    /// Unhealthy share at which a region has failed. Default 0.5 (seed:
    /// `failover_threshold: 50`).
    pub failed_unhealthy: f32,
    /// Error share at which a region has failed. Default 0.25.
    pub failed_errors: f32,
    /// Answers within the window below which the error share says nothing.
    /// Default 50.
    pub min_requests: u32,
    /// Shortest stay in a state, `Failed` excepted. Default 10 s; zero: none.
    pub dwell: Duration,
    /// How long a failed region must look well before traffic returns.
    /// Default 300 s (seed: `failback_delay: 300`); zero: at once.
    pub failback_delay: Duration,
    /// How long the return takes from 10 % to all of the traffic. Default
    /// 60 s; zero: at once.
    pub ramp: Duration,
    /// Load (0 to 1 of capacity) from which a region hands traffic to others,
    /// more and more until it hands over all at 1. Default 0.8.
    pub spill_at: f32,
}

impl Default for FailoverPolicy {
    fn default() -> Self {
        Self {
            degraded_unhealthy: 0.25,
            degraded_errors: 0.05,
            failed_unhealthy: 0.5,
            failed_errors: 0.25,
            min_requests: 50,
            dwell: Duration::from_secs(10),
            failback_delay: Duration::from_mins(5),
            ramp: Duration::from_mins(1),
            spill_at: 0.8,
        }
    }
}

/// State of a region. `Standby` is shown for a healthy region that only
/// serves when no active one can.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RegionHealth {
    /// Serves.
    Active,
    /// Serves what its healthy part can carry.
    Degraded,
    /// Serves only what no other permitted region can.
    Failed,
    /// Was failed, looks well, gets a growing share.
    Recovering,
    /// Serves when no active region can.
    Standby,
}

impl RegionHealth {
    /// Name in metrics, receipts and `/regions`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Recovering => "recovering",
            Self::Standby => "standby",
        }
    }
}

/// What is seen of a region at one moment.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(crate) struct Vitals {
    /// Share of endpoints that are unhealthy, 0 to 1.
    pub(crate) unhealthy: f32,
    /// Share of answers that were errors, 0 to 1; 0 below the minimum volume.
    pub(crate) errors: f32,
}

impl Vitals {
    /// A state ends at half of the thresholds at which it begins.
    fn below_half_of(self, unhealthy: f32, errors: f32) -> Calm {
        if self.unhealthy <= unhealthy / 2.0 && self.errors <= errors / 2.0 {
            Calm::Yes
        } else {
            Calm::No
        }
    }
}

/// Whether a region looks well enough to leave its phase.
#[derive(Copy, Clone)]
enum Calm {
    Yes,
    No,
}

/// Phase of the machine; `Standby` is a role, not a phase.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Takes its traffic.
    Active,
    /// Troubled: takes a share of it.
    Degraded,
    /// Takes none while another permitted region can.
    Failed,
    /// Comes back by a ramp.
    Recovering,
}

impl Phase {
    /// What `/regions` shows for a region with an active role.
    pub(crate) fn health(self) -> RegionHealth {
        match self {
            Self::Active => RegionHealth::Active,
            Self::Degraded => RegionHealth::Degraded,
            Self::Failed => RegionHealth::Failed,
            Self::Recovering => RegionHealth::Recovering,
        }
    }
}

/// Where the machine stands.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Standing {
    pub(crate) phase: Phase,
    pub(crate) since: Tick,
    /// Since when the region has looked well enough to leave its phase.
    pub(crate) calm_since: Option<Tick>,
}

impl Standing {
    /// A region nobody has complained about yet.
    pub(crate) fn start(now: Tick) -> Self {
        Self {
            phase: Phase::Active,
            since: now,
            calm_since: None,
        }
    }

    fn enter(phase: Phase, now: Tick) -> Self {
        Self {
            phase,
            since: now,
            calm_since: None,
        }
    }

    /// Share of its traffic that the phase lets a region take, 0 to 1;
    /// `vitals` count only while degraded.
    pub(crate) fn share(self, vitals: Vitals, policy: &FailoverPolicy, now: Tick) -> f32 {
        match self.phase {
            Phase::Active => 1.0,
            // 1.4: the overprovisioning that regions are planned with, as in Envoy.
            Phase::Degraded => ((1.0 - vitals.unhealthy) * 1.4).min(1.0) * (1.0 - vitals.errors),
            Phase::Failed => 0.0,
            Phase::Recovering => {
                let passed = now.saturating_sub(self.since);
                if policy.ramp.is_zero() {
                    return 1.0;
                }
                (passed.as_secs_f32() / policy.ramp.as_secs_f32()).clamp(0.1, 1.0)
            }
        }
    }
}

/// The machine's next standing. Pure; calling it twice with the same
/// arguments gives the same standing as calling it once.
pub(crate) fn step(at: Standing, seen: Vitals, policy: &FailoverPolicy, now: Tick) -> Standing {
    let failed = seen.unhealthy >= policy.failed_unhealthy || seen.errors >= policy.failed_errors;
    let degraded =
        seen.unhealthy >= policy.degraded_unhealthy || seen.errors >= policy.degraded_errors;
    let stayed = now.saturating_sub(at.since);
    match at.phase {
        Phase::Failed => leave_failed(at, seen, policy, now),
        Phase::Active | Phase::Degraded | Phase::Recovering if failed => {
            Standing::enter(Phase::Failed, now)
        }
        Phase::Active if degraded && stayed >= policy.dwell => {
            Standing::enter(Phase::Degraded, now)
        }
        Phase::Active => at,
        Phase::Degraded => leave_degraded(at, seen, policy, now),
        Phase::Recovering if stayed < policy.ramp => at,
        Phase::Recovering if degraded => Standing::enter(Phase::Degraded, now),
        Phase::Recovering => Standing::enter(Phase::Active, now),
    }
}

fn leave_failed(at: Standing, seen: Vitals, policy: &FailoverPolicy, now: Tick) -> Standing {
    let calm = seen.below_half_of(policy.failed_unhealthy, policy.failed_errors);
    calm_for(at, calm, (policy.failback_delay, Phase::Recovering), now)
}

fn leave_degraded(at: Standing, seen: Vitals, policy: &FailoverPolicy, now: Tick) -> Standing {
    let calm = seen.below_half_of(policy.degraded_unhealthy, policy.degraded_errors);
    calm_for(at, calm, (policy.dwell, Phase::Active), now)
}

/// Moves to `next` once calm has lasted `needed` without a break.
fn calm_for(at: Standing, calm: Calm, (needed, next): (Duration, Phase), now: Tick) -> Standing {
    match calm {
        Calm::No => {
            return Standing {
                calm_since: None,
                ..at
            };
        }
        Calm::Yes => {}
    }
    let since = at.calm_since.unwrap_or(now);
    if now.saturating_sub(since) >= needed || is_out(Gate::Patience) {
        return Standing::enter(next, now);
    }
    Standing {
        calm_since: Some(since),
        ..at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Vitals = Vitals {
        unhealthy: 0.0,
        errors: 0.0,
    };
    const SICK: Vitals = Vitals {
        unhealthy: 0.3,
        errors: 0.0,
    };
    const DEAD: Vitals = Vitals {
        unhealthy: 1.0,
        errors: 0.0,
    };

    struct Rig {
        policy: FailoverPolicy,
        now: Tick,
        at: Standing,
    }

    impl Rig {
        fn new() -> Self {
            let now = Tick(1_000_000_000_000);
            Self {
                policy: FailoverPolicy::default(),
                now,
                at: Standing::start(now),
            }
        }

        fn after(&mut self, seconds: u64, seen: Vitals) -> Phase {
            for _ in 0..seconds {
                self.now = self.now + Duration::from_secs(1);
                self.at = step(self.at, seen, &self.policy, self.now);
            }
            self.at.phase
        }
    }

    #[test]
    fn half_of_the_endpoints_down_fails_a_region_at_once() {
        let mut rig = Rig::new();
        let half = Vitals {
            unhealthy: 0.5,
            errors: 0.0,
        };
        assert_eq!(rig.after(1, half), Phase::Failed);
    }

    #[test]
    fn a_quarter_of_errors_fails_and_a_twentieth_degrades() {
        let mut rig = Rig::new();
        assert_eq!(
            rig.after(
                20,
                Vitals {
                    unhealthy: 0.0,
                    errors: 0.05
                }
            ),
            Phase::Degraded
        );
        assert_eq!(
            rig.after(
                1,
                Vitals {
                    unhealthy: 0.0,
                    errors: 0.25
                }
            ),
            Phase::Failed
        );
    }

    #[test]
    fn degrading_waits_for_the_dwell_and_ends_at_half_the_threshold() {
        let mut rig = Rig::new();
        assert_eq!(rig.after(9, SICK), Phase::Active);
        assert_eq!(rig.after(1, SICK), Phase::Degraded);
        let better = Vitals {
            unhealthy: 0.2,
            errors: 0.0,
        };
        assert_eq!(
            rig.after(60, better),
            Phase::Degraded,
            "0.2 is above half of 0.25"
        );
        assert_eq!(rig.after(10, WELL), Phase::Degraded);
        assert_eq!(rig.after(1, WELL), Phase::Active);
    }

    #[test]
    fn failback_waits_300_seconds_then_ramps() {
        let mut rig = Rig::new();
        rig.after(1, DEAD);
        assert_eq!(rig.after(300, WELL), Phase::Failed);
        assert_eq!(rig.after(1, WELL), Phase::Recovering);
        assert!((rig.at.share(WELL, &rig.policy, rig.now) - 0.1).abs() < 0.01);
        rig.after(30, WELL);
        assert!((rig.at.share(WELL, &rig.policy, rig.now) - 0.5).abs() < 0.01);
        assert_eq!(rig.after(30, WELL), Phase::Active);
    }

    #[test]
    fn one_bad_moment_begins_the_failback_delay_anew() {
        let mut rig = Rig::new();
        rig.after(1, DEAD);
        rig.after(299, WELL);
        rig.after(1, DEAD);
        assert_eq!(rig.after(300, WELL), Phase::Failed);
        assert_eq!(rig.after(1, WELL), Phase::Recovering);
    }

    #[test]
    fn a_region_that_flaps_every_three_seconds_fails_once() {
        let mut rig = Rig::new();
        let mut changes = 0;
        let mut last = rig.at.phase;
        for round in 0..100 {
            let phase = rig.after(3, if round % 2 == 0 { DEAD } else { WELL });
            changes += usize::from(phase != last);
            last = phase;
        }
        assert_eq!(changes, 1);
    }

    #[test]
    fn a_relapse_while_recovering_fails_again_at_once() {
        let mut rig = Rig::new();
        rig.after(1, DEAD);
        rig.after(302, WELL);
        assert_eq!(rig.at.phase, Phase::Recovering);
        assert_eq!(rig.after(1, DEAD), Phase::Failed);
    }

    #[test]
    fn stepping_twice_at_the_same_moment_changes_nothing_more() {
        let mut rig = Rig::new();
        for seen in [SICK, DEAD, WELL, SICK, WELL] {
            for _ in 0..200 {
                rig.after(2, seen);
                assert_eq!(step(rig.at, seen, &rig.policy, rig.now), rig.at);
            }
        }
    }

    #[test]
    fn a_degraded_region_keeps_what_its_healthy_part_can_carry() {
        let policy = FailoverPolicy::default();
        let at = Standing {
            phase: Phase::Degraded,
            ..Standing::start(Tick(0))
        };
        let seen = Vitals {
            unhealthy: 0.4,
            errors: 0.1,
        };
        assert!((at.share(seen, &policy, Tick(0)) - 0.84 * 0.9).abs() < 0.001);
    }
}
