//! Key `rate_limiting`, compiled.

use std::time::Duration;

use serde_json::{Value, json};

use super::gcra::Rate;
use super::quota::{policy_item, seconds_up};
use super::raw::{RawBan, RawRateLimiting, When};
use crate::Facts;
use crate::compile::CompileContext;
use crate::nets::NetSet;
use crate::yaml::Spanned;

/// Rate limits. Default: none at all.
#[derive(Clone, Debug, Default)]
pub struct LimitPolicy {
    pub(super) global: Option<Rate>,
    pub(super) per_address: Option<Rate>,
    pub(super) ban: Option<Ban>,
    exempt_always: NetSet,
    exempt_direct: NetSet,
    exempt_text: Vec<(String, When)>,
    policy_field: String,
}

/// Requests a window, and what comes after too many.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ban {
    /// Requests that may pass a window.
    pub(super) requests: u32,
    /// Length of a window, which begins with an address's first request.
    pub(super) interval: Duration,
    /// How long an address is banned; zero only refuses until the window ends.
    pub(super) duration: Duration,
}

impl Ban {
    pub(super) fn window_s(&self) -> u32 {
        seconds_up(self.interval)
    }

    /// The name in `RateLimit-Policy`.
    pub(super) fn name(&self) -> &'static str {
        match self.window_s() {
            60 => "minute",
            3_600 => "hour",
            _ => "window",
        }
    }
}

impl LimitPolicy {
    /// The value of `RateLimit-Policy`: all limits of one address, e.g.
    /// `"second";q=1000;w=1, "minute";q=1000;w=60`. Empty where there are
    /// none.
    pub fn policy_field(&self) -> &str {
        &self.policy_field
    }

    /// Whether anything is counted.
    pub fn is_off(&self) -> bool {
        self.global.is_none() && self.per_address.is_none() && self.ban.is_none()
    }

    #[inline]
    pub(super) fn exempts(&self, facts: &Facts<'_>) -> bool {
        self.is_off()
            || self.exempt_always.contains(facts.client)
            || (facts.is_direct() && self.exempt_direct.contains(facts.client))
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "requests_per_second": self.global.map(|rate| rate.per_second),
            "burst_size": self.global.map(|rate| rate.burst),
            "per_ip_rate": self.per_address.map(|rate| rate.per_second),
            "per_ip_burst": self.per_address.map(|rate| rate.burst),
            "ban": self.ban.map(|ban| json!({
                "requests": ban.requests,
                "interval_s": ban.interval.as_secs_f64(),
                "duration_s": ban.duration.as_secs_f64(),
            })),
            "exempt": self.exempt_text.iter().map(|(net, when)| json!({
                "cidr": net, "when": when,
            })).collect::<Vec<_>>(),
        })
    }
}

pub(crate) fn compile(
    raw: Option<Spanned<RawRateLimiting>>,
    ctx: &mut CompileContext<'_>,
) -> LimitPolicy {
    let Some(raw) = raw else {
        return LimitPolicy::default();
    };
    let global = rate(raw.requests_per_second, ("burst_size", raw.burst_size), ctx);
    let per_address = rate(raw.per_ip_rate, ("per_ip_burst", raw.per_ip_burst), ctx);
    let ban = raw.ban.as_ref().and_then(|raw| ban(raw, ctx));
    let mut policy_field = String::new();
    if let Some(rate) = per_address {
        policy_item(&mut policy_field, ("second", rate.per_second.get(), 1));
    }
    if let Some(ban) = &ban {
        policy_item(
            &mut policy_field,
            (ban.name(), u64::from(ban.requests), ban.window_s()),
        );
    }
    let (mut always, mut direct, mut text) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &raw.exempt {
        let Some(net) = entry.cidr.read(ctx) else {
            continue;
        };
        text.push((net.to_string(), entry.when));
        match entry.when {
            When::Always => always.push(net),
            When::Direct => direct.push(net),
        }
    }
    if global.is_none() && per_address.is_none() && ban.is_none() && !text.is_empty() {
        ctx.warn(raw.at, "exemptions without a limit");
    }
    LimitPolicy {
        global,
        per_address,
        ban,
        exempt_always: NetSet::new(always),
        exempt_direct: NetSet::new(direct),
        exempt_text: text,
        policy_field,
    }
}

/// The burst is twice the rate unless it is given.
fn rate(
    raw: Option<Spanned<u64>>,
    (burst_key, burst): (&str, Option<Spanned<u64>>),
    ctx: &mut CompileContext<'_>,
) -> Option<Rate> {
    let Some(per_second) = raw else {
        if let Some(burst) = burst {
            ctx.error(burst.at, format!("`{burst_key}` without its rate"));
        }
        return None;
    };
    let burst_value = burst.map_or(per_second.value.saturating_mul(2), |burst| burst.value);
    let rate = Rate::new(per_second.value, burst_value);
    if rate.is_none() {
        let at = if per_second.value == 0 {
            per_second.at
        } else {
            burst.unwrap_or(per_second).at
        };
        ctx.error_help(
            at,
            "a rate is 1 to 1000000000 a second, a burst at least 1 and at most what a day admits",
            "to let nobody in, deny by `access`; for no limit, leave the key out",
        );
    }
    rate
}

fn ban(raw: &Spanned<RawBan>, ctx: &mut CompileContext<'_>) -> Option<Ban> {
    let day = Duration::from_hours(24);
    let (requests, interval) = (raw.requests, raw.interval);
    if requests.value == 0 {
        ctx.error(
            requests.at,
            "a window of no requests: to let nobody in, deny by `access`",
        );
        return None;
    }
    if interval.value.0 < Duration::from_secs(1) || interval.value.0 > day {
        ctx.error(interval.at, "a window is 1s to 24h");
        return None;
    }
    if raw.duration.value.0 > day {
        ctx.error(raw.duration.at, "a ban is at most 24h");
        return None;
    }
    Some(Ban {
        requests: requests.value,
        interval: interval.value.0,
        duration: raw.duration.value.0,
    })
}
