//! Faults on demand, as a pure plan. Promises that the same requests in the
//! same order meet the same faults: an error rate is kept by counting, not by
//! chance. Refuses values outside their bounds. Performs nothing itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest latency a fault may add, in milliseconds (ten minutes).
const LATENCY_MAX_MS: u64 = 600_000;
/// Longest path prefix, in bytes.
const PATH_MAX: usize = 256;
/// The path of the health answer, which only `unhealthy` and faults that
/// name it may touch.
pub(crate) const HEALTH_PATH: &str = "/v3/health";

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// After the request was read, before any byte of the answer.
    BeforeAnswer,
    /// After the head and the first part of the body: the first event of a
    /// stream, the first half of a body that is complete at once.
    MidBody,
}

/// What `POST /fault` takes. Fields that are absent do nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// Added before the answer, in milliseconds, at most 600,000.
    pub latency_ms: u64,
    /// Share of requests answered with `status`, 0 to 1: at 0.5 every second.
    pub error_rate: f64,
    /// Status of those answers, 400 to 599. Default 503.
    pub status: u16,
    /// Reads the request and never answers.
    pub hang: bool,
    /// Cuts the TCP connection with a reset, so that every exchange on it
    /// breaks (in HTTP/2 too).
    pub reset: Option<Reset>,
    /// Makes `/v3/health` answer 503.
    pub unhealthy: bool,
    /// Requests to touch before the fault clears itself. Absent: until
    /// cleared. Zero: none.
    pub count: Option<u64>,
    /// Touches only paths that begin so, at most 256 bytes. Absent: all but
    /// `/v3/health`.
    pub path: Option<String>,
}

impl Default for Fault {
    fn default() -> Self {
        Self {
            latency_ms: 0,
            error_rate: 0.0,
            status: 503,
            hang: false,
            reset: None,
            unhealthy: false,
            count: None,
            path: None,
        }
    }
}

/// Why a fault was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// Not JSON of the expected shape.
    #[error("{0}")]
    Syntax(String),
    /// A value outside its bounds.
    #[error("{0}")]
    OutOfRange(&'static str),
}

impl Fault {
    /// Reads and checks the JSON of `POST /fault`.
    pub fn parse(json: &[u8]) -> Result<Self, FaultError> {
        // An array of values by position would parse too, and surprise.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(FaultError::Syntax("expected an object".to_owned()));
        }
        let fault: Self =
            serde_json::from_slice(json).map_err(|error| FaultError::Syntax(error.to_string()))?;
        if fault.latency_ms > LATENCY_MAX_MS {
            return Err(FaultError::OutOfRange("latency_ms: expected 0 to 600000"));
        }
        if !(0.0..=1.0).contains(&fault.error_rate) {
            return Err(FaultError::OutOfRange("error_rate: expected 0 to 1"));
        }
        if !(400..=599).contains(&fault.status) {
            return Err(FaultError::OutOfRange("status: expected 400 to 599"));
        }
        if fault
            .path
            .as_ref()
            .is_some_and(|path| path.len() > PATH_MAX)
        {
            return Err(FaultError::OutOfRange("path: expected at most 256 bytes"));
        }
        Ok(fault)
    }

    fn touches(&self, path: &str) -> bool {
        match &self.path {
            Some(prefix) => path.starts_with(prefix.as_str()),
            None => path != HEALTH_PATH,
        }
    }
}

/// What one request meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Waited before anything else happens.
    pub latency: Duration,
    /// Then this.
    pub outcome: Outcome,
}

impl Effect {
    /// No fault at all.
    pub(crate) const NONE: Self = Self {
        latency: Duration::ZERO,
        outcome: Outcome::Serve,
    };
}

/// How an exchange that met a fault goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As without a fault.
    Serve,
    /// Answers with this status instead.
    Fail(u16),
    /// Never answers.
    Hang,
    /// Cuts the connection.
    Reset(Reset),
    /// Health only: says that this region is unhealthy.
    Unhealthy,
}

/// The fault that is set, if any, and what is left of it.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan {
    fault: Option<Fault>,
    /// Requests that met a fault since the start.
    applied: u64,
    /// Errors owed: grows by `error_rate` with each request.
    debt: f64,
}

/// What `GET /fault` answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultReport {
    /// The fault in force; its `count` is what is left.
    pub fault: Option<Fault>,
    /// Requests that met a fault since the start.
    pub applied: u64,
}

impl FaultPlan {
    /// Replaces whatever is set.
    pub(crate) fn set(&mut self, fault: Fault) {
        self.debt = 0.0;
        self.fault = (fault.count != Some(0)).then_some(fault);
    }

    /// Removes whatever is set.
    pub(crate) fn clear(&mut self) {
        self.fault = None;
    }

    /// The fault in force and what it did.
    pub(crate) fn report(&self) -> FaultReport {
        FaultReport {
            fault: self.fault.clone(),
            applied: self.applied,
        }
    }

    /// What the next request for `path` meets; uses up one of `count`.
    pub(crate) fn draw(&mut self, path: &str) -> Effect {
        let Some(fault) = &mut self.fault else {
            return Effect::NONE;
        };
        let unhealthy = fault.unhealthy && path == HEALTH_PATH;
        if !unhealthy && !fault.touches(path) {
            return Effect::NONE;
        }
        self.applied += 1;
        self.debt += fault.error_rate;
        let due = self.debt >= 1.0;
        if due {
            self.debt -= 1.0;
        }
        let effect = if unhealthy {
            Effect {
                latency: Duration::ZERO,
                outcome: Outcome::Unhealthy,
            }
        } else {
            Effect {
                latency: Duration::from_millis(fault.latency_ms),
                outcome: outcome(fault, due),
            }
        };
        if let Some(left) = &mut fault.count {
            *left -= 1;
            if *left == 0 {
                self.fault = None;
            }
        }
        effect
    }
}

/// The worst of what a fault asks for: a reset beats a hang beats an error.
fn outcome(fault: &Fault, error_due: bool) -> Outcome {
    match fault.reset {
        Some(reset) => Outcome::Reset(reset),
        None if fault.hang => Outcome::Hang,
        None if error_due => Outcome::Fail(fault.status),
        None => Outcome::Serve,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> FaultPlan {
        let mut plan = FaultPlan::default();
        plan.set(Fault::parse(json.as_bytes()).unwrap());
        plan
    }

    fn outcomes(plan: &mut FaultPlan, path: &str, n: usize) -> Vec<Outcome> {
        (0..n).map(|_| plan.draw(path).outcome).collect()
    }

    #[test]
    fn half_of_the_requests_fail_by_counting() {
        let mut plan = plan(r#"{"error_rate":0.5,"status":500}"#);
        let met = outcomes(&mut plan, "/mcp", 4);
        assert_eq!(
            met,
            [
                Outcome::Serve,
                Outcome::Fail(500),
                Outcome::Serve,
                Outcome::Fail(500)
            ]
        );
    }

    #[test]
    fn a_rate_of_one_fails_all_and_of_zero_none() {
        assert!(
            outcomes(&mut plan(r#"{"error_rate":1}"#), "/", 9)
                .iter()
                .all(|o| *o == Outcome::Fail(503))
        );
        assert!(
            outcomes(&mut plan(r#"{"error_rate":0}"#), "/", 9)
                .iter()
                .all(|o| *o == Outcome::Serve)
        );
    }

    #[test]
    fn a_counted_fault_clears_itself_and_the_report_says_what_is_left() {
        let mut plan = plan(r#"{"hang":true,"count":2}"#);
        assert_eq!(plan.draw("/a").outcome, Outcome::Hang);
        assert_eq!(plan.report().fault.and_then(|f| f.count), Some(1));
        assert_eq!(plan.draw("/a").outcome, Outcome::Hang);
        assert_eq!(plan.draw("/a"), Effect::NONE);
        assert_eq!(
            plan.report(),
            FaultReport {
                fault: None,
                applied: 2
            }
        );
    }

    #[test]
    fn health_is_touched_only_by_unhealthy_or_by_name() {
        assert_eq!(plan(r#"{"hang":true}"#).draw(HEALTH_PATH), Effect::NONE);
        assert_eq!(
            plan(r#"{"unhealthy":true}"#).draw(HEALTH_PATH).outcome,
            Outcome::Unhealthy
        );
        assert_eq!(
            plan(r#"{"unhealthy":true}"#).draw("/mcp").outcome,
            Outcome::Serve
        );
        let by_name = r#"{"hang":true,"path":"/v3/health"}"#;
        assert_eq!(plan(by_name).draw(HEALTH_PATH).outcome, Outcome::Hang);
        assert_eq!(plan(by_name).draw("/mcp"), Effect::NONE);
    }

    #[test]
    fn zero_requests_means_no_fault() {
        assert_eq!(plan(r#"{"hang":true,"count":0}"#).draw("/"), Effect::NONE);
    }

    #[test]
    fn values_out_of_bounds_and_unknown_fields_are_refused() {
        for bad in [
            r#"{"latency_ms":600001}"#,
            r#"{"error_rate":1.1}"#,
            r#"{"error_rate":-0.1}"#,
            r#"{"status":200}"#,
            r#"{"reset":"later"}"#,
            r#"{"nap":1}"#,
            "",
            "[]",
        ] {
            assert!(Fault::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
