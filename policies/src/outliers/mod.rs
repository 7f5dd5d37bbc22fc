//! When an endpoint is set aside for what it answers, and how it is asked
//! whether it is well.
//!
//! Promises: five failures in a row set an endpoint aside for 30 s, longer each
//! time, and it always comes back; at most half of a region is set aside, but
//! always at least one. Refuses intervals and thresholds of zero. Source: the
//! seed's `outlier_detection` and `google_compute_health_check`.

mod build;
mod raw;

use std::time::Duration;

use serde::Serialize;

pub(crate) use build::{CompiledOutliers, compile};
pub(crate) use raw::{RawHealthCheck, RawOutlierDetection};

/// Rules of passive ejection.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct OutlierPolicy {
    /// Failures in a row that eject. Default 5.
    pub consecutive_errors: u32,
    /// Quiet time that forgives one earlier ejection. Default 10 s.
    pub interval: Duration,
    /// Length of the first ejection; the n-th in a row lasts n times as long.
    /// Default 30 s.
    pub base_ejection_time: Duration,
    /// Longest ejection. Default 300 s.
    pub max_ejection_time: Duration,
    /// Percentage of a region's endpoints that may be ejected at once; one
    /// always may. Default 50; 0: no ejection at all.
    pub max_ejection_percent: u32,
    /// Percentage of usable endpoints at or below which a region with bad ones
    /// uses all of them, itself only. Default 0: bad ones are never used.
    pub panic_threshold: u32,
    /// How long an endpoint that came back is warmed up. Default 30 s; zero:
    /// not at all.
    pub slow_start: Duration,
}

impl Default for OutlierPolicy {
    fn default() -> Self {
        Self {
            consecutive_errors: 5,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_mins(5),
            max_ejection_percent: 50,
            panic_threshold: 0,
            slow_start: Duration::from_secs(30),
        }
    }
}

impl OutlierPolicy {
    /// How many of so many endpoints may be ejected at once.
    pub(crate) fn ejected_max(&self, endpoints: u32) -> u32 {
        if self.max_ejection_percent == 0 {
            return 0;
        }
        let share = u64::from(endpoints) * u64::from(self.max_ejection_percent) / 100;
        u32::try_from(share).unwrap_or(u32::MAX).max(1)
    }

    /// Whether so few usable endpoints of a region mean that all are used.
    pub(crate) fn panics(&self, usable: u32, endpoints: u32) -> bool {
        self.panic_threshold > 0
            && u64::from(usable) * 100 <= u64::from(endpoints) * u64::from(self.panic_threshold)
    }
}

/// Whether endpoints are asked how they are.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeMode {
    /// Each endpoint, once an interval.
    Active,
    /// Never; only what requests meet counts.
    Off,
}

/// Rules of active checks.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct HealthCheck {
    /// Whether there are any.
    pub mode: ProbeMode,
    /// What is asked for. Default `/v3/health`.
    pub path: String,
    /// Time between two checks of one endpoint, give or take a tenth.
    /// Default 10 s.
    pub interval: Duration,
    /// What counts as no answer. Default 5 s.
    pub timeout: Duration,
    /// Good answers in a row that bring an endpoint back. Default 2.
    pub healthy_threshold: u32,
    /// Bad ones in a row that take it out. Default 3.
    pub unhealthy_threshold: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            mode: ProbeMode::Active,
            path: "/v3/health".to_owned(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            healthy_threshold: 2,
            unhealthy_threshold: 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_region_may_be_ejected_but_always_one() {
        let policy = OutlierPolicy::default();
        for (endpoints, most) in [(1, 1), (2, 1), (3, 1), (4, 2), (4_096, 2_048)] {
            assert_eq!(policy.ejected_max(endpoints), most, "{endpoints}");
        }
        let never = OutlierPolicy {
            max_ejection_percent: 0,
            ..policy
        };
        assert_eq!(never.ejected_max(10), 0);
    }

    #[test]
    fn panic_is_off_unless_asked_for() {
        let policy = OutlierPolicy::default();
        assert!(!policy.panics(0, 4));
        let policy = OutlierPolicy {
            panic_threshold: 25,
            ..policy
        };
        assert!(policy.panics(1, 4) && !policy.panics(2, 4));
    }
}
