//! From what is written to what is meant.

use std::time::Duration;

use super::raw::{RawHealthCheck, RawOutlierDetection, RawProbe};
use super::{HealthCheck, OutlierPolicy, ProbeMode};
use crate::compile::CompileContext;
use crate::yaml::{Span, Spanned};

/// Both halves: what requests meet, and what checks find.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct CompiledOutliers {
    pub(crate) detection: OutlierPolicy,
    pub(crate) health_check: HealthCheck,
}

/// Compiles both keys; what is absent has its default.
pub(crate) fn compile(
    health_check: Option<Spanned<RawHealthCheck>>,
    detection: Option<Spanned<RawOutlierDetection>>,
    ctx: &mut CompileContext<'_>,
) -> CompiledOutliers {
    let health_check = health_check.map(|raw| raw.value).unwrap_or_default();
    let detection = detection.map(|raw| raw.value).unwrap_or_default();
    CompiledOutliers {
        detection: OutlierPolicy::compile(&detection, ctx),
        health_check: HealthCheck::compile(&health_check, ctx),
    }
}

impl CompiledOutliers {
    /// For `/snapshot`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "detection": self.detection, "health_check": self.health_check })
    }
}

impl OutlierPolicy {
    /// Compiles `outlier_detection`; faults leave the default in their place.
    fn compile(raw: &RawOutlierDetection, ctx: &mut CompileContext<'_>) -> Self {
        let shipped = Self::default();
        let base = span(raw.base_ejection_time, shipped.base_ejection_time, ctx);
        let longest = span(
            raw.max_ejection_time,
            shipped.max_ejection_time.max(base),
            ctx,
        );
        if let Some(given) = raw.max_ejection_time.filter(|_| longest < base) {
            ctx.error_help(
                given.at,
                "the longest ejection is shorter than the first",
                "make it at least `base_ejection_time`",
            );
        }
        Self {
            consecutive_errors: count(raw.consecutive_errors, shipped.consecutive_errors, ctx),
            interval: span(raw.interval, shipped.interval, ctx),
            base_ejection_time: base,
            max_ejection_time: longest,
            max_ejection_percent: percent(raw.max_ejection_percent, 50, ctx),
            panic_threshold: percent(raw.panic_threshold, 0, ctx),
            slow_start: raw.slow_start.map_or(shipped.slow_start, |span| span.0),
        }
    }
}

impl HealthCheck {
    /// Compiles `health_check`; faults leave the default in their place.
    fn compile(raw: &RawHealthCheck, ctx: &mut CompileContext<'_>) -> Self {
        match raw {
            RawHealthCheck::Off => Self {
                mode: ProbeMode::Off,
                ..Self::default()
            },
            RawHealthCheck::On(probe) => Self::probe(probe, ctx),
        }
    }

    fn probe(raw: &RawProbe, ctx: &mut CompileContext<'_>) -> Self {
        let shipped = Self::default();
        let path = raw
            .path
            .as_ref()
            .map_or(shipped.path.as_str(), |path| path.value.as_str());
        let sane = path.starts_with('/') && path.len() <= 1_024 && path.bytes().all(is_target);
        if let Some(given) = raw.path.as_ref().filter(|_| !sane) {
            ctx.error_help(
                given.at,
                "not a path",
                "begin with `/`, no spaces, as in `/v3/health`",
            );
        }
        Self {
            mode: ProbeMode::Active,
            path: path.to_owned(),
            interval: span(raw.interval, shipped.interval, ctx),
            timeout: span(raw.timeout, shipped.timeout, ctx),
            healthy_threshold: count(raw.healthy_threshold, shipped.healthy_threshold, ctx),
            unhealthy_threshold: count(raw.unhealthy_threshold, shipped.unhealthy_threshold, ctx),
        }
    }
}

fn is_target(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// 10 ms to a day.
fn span(given: Option<Spanned<Span>>, default: Duration, ctx: &mut CompileContext<'_>) -> Duration {
    let Some(given) = given else { return default };
    let wanted = Duration::from_millis(10)..=Duration::from_hours(24);
    if !wanted.contains(&given.value.0) {
        ctx.error_help(given.at, "too short or too long", "write 10ms to 24h");
        return default;
    }
    given.value.0
}

/// 1 to 1,000.
fn count(given: Option<Spanned<u32>>, default: u32, ctx: &mut CompileContext<'_>) -> u32 {
    let Some(given) = given else { return default };
    if !(1..=1_000).contains(&given.value) {
        ctx.error_help(given.at, "out of range", "write 1 to 1000");
        return default;
    }
    given.value
}

fn percent(given: Option<Spanned<u32>>, default: u32, ctx: &mut CompileContext<'_>) -> u32 {
    let Some(given) = given else { return default };
    if given.value > 100 {
        ctx.error_help(given.at, "not a percentage", "write 0 to 100");
        return default;
    }
    given.value
}
