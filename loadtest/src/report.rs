//! The result of a run, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::plan::{Load, Plan, Protocol};
use crate::record::{Failure, Record};

/// A distribution in microseconds, three significant digits.
#[derive(Clone, Debug, Serialize)]
pub struct Spread {
    /// Smallest.
    pub min: u64,
    /// Mean.
    pub mean: f64,
    /// Percentiles.
    pub p50: u64,
    /// 75 of 100 are at or below.
    pub p75: u64,
    /// 90 of 100 are at or below.
    pub p90: u64,
    /// 95 of 100 are at or below.
    pub p95: u64,
    /// 99 of 100 are at or below.
    pub p99: u64,
    /// 999 of 1,000 are at or below.
    pub p99_9: u64,
    /// Largest.
    pub max: u64,
}

impl Spread {
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        (!histogram.is_empty()).then(|| Self {
            min: histogram.min(),
            mean: histogram.mean(),
            p50: histogram.value_at_quantile(0.50),
            p75: histogram.value_at_quantile(0.75),
            p90: histogram.value_at_quantile(0.90),
            p95: histogram.value_at_quantile(0.95),
            p99: histogram.value_at_quantile(0.99),
            p99_9: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        })
    }
}

/// One condition and whether it held.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// The flag's name without dashes.
    pub name: &'static str,
    /// The bound: microseconds, or a share.
    pub limit: f64,
    /// What was measured; absent when nothing was answered.
    pub value: Option<f64>,
    /// Whether it held. Without a value it did not.
    pub passed: bool,
}

/// Everything told about a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The target's URL.
    pub url: String,
    /// HTTP version.
    pub protocol: Protocol,
    /// `open` or `closed`.
    pub mode: &'static str,
    /// Requests a second asked for; absent for a closed run.
    pub rate_wanted: Option<u32>,
    /// Answers a second.
    pub rate: f64,
    /// From the end of the warm-up to the last answer, at least the duration
    /// asked for unless a number of requests ended the run.
    pub seconds: f64,
    /// Requests that should have been made: answers and failures.
    pub requests: u64,
    /// Complete answers of any status.
    pub answers: u64,
    /// Failures over requests; 0 when there were no requests.
    pub error_rate: f64,
    /// Failures by kind.
    pub errors: BTreeMap<Failure, u64>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Bytes of all answers' bodies.
    pub body_bytes: u64,
    /// Connections that had to be opened again, the warm-up's included.
    pub reconnects: u64,
    /// From the intended start to the last byte.
    pub latency_us: Option<Spread>,
    /// From sending to the last byte: what a closed loop would have told.
    pub service_us: Option<Spread>,
    /// The thresholds.
    pub checks: Vec<Check>,
}

impl Report {
    pub(crate) fn new(plan: &Plan, record: &Record, recorded_from: Instant) -> Self {
        let answers = record.answers();
        let failures: u64 = record.failures.values().sum();
        let bad_statuses = record.failures.get(&Failure::Status).copied().unwrap_or(0);
        let requests = answers + failures - bad_statuses;
        let measured = record.last_end.map_or(Duration::ZERO, |end| {
            end.saturating_duration_since(recorded_from)
        });
        let seconds = match plan.window.requests {
            Some(_) => measured,
            None => measured.max(plan.window.duration),
        };
        let mut report = Self {
            url: plan.target.uri.to_string(),
            protocol: plan.protocol,
            mode: mode(plan.load),
            rate_wanted: rate_wanted(plan.load),
            rate: ratio(answers, seconds.as_secs_f64()),
            seconds: seconds.as_secs_f64(),
            requests,
            answers,
            error_rate: ratio(failures, as_f64(requests)),
            errors: record.failures.clone(),
            statuses: record.statuses.clone(),
            body_bytes: record.body_bytes,
            reconnects: record.reconnects,
            latency_us: Spread::of(&record.latency),
            service_us: Spread::of(&record.service),
            checks: Vec::new(),
        };
        report.checks = report.check(plan);
        report
    }

    /// Whether every threshold held. A run that made no request at all passes
    /// no threshold.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    fn check(&self, plan: &Plan) -> Vec<Check> {
        let thresholds = plan.thresholds;
        let spread = self.latency_us.as_ref();
        let latency = |name, limit: Option<Duration>, value: Option<u64>| {
            let limit = limit?.as_secs_f64() * 1e6;
            Some(held(name, limit, value.map(as_f64)))
        };
        let errors = (self.requests > 0).then_some(self.error_rate);
        [
            latency("max-p50", thresholds.max_p50, spread.map(|s| s.p50)),
            latency("max-p99", thresholds.max_p99, spread.map(|s| s.p99)),
            latency("max-p999", thresholds.max_p999, spread.map(|s| s.p99_9)),
            thresholds
                .max_error_rate
                .map(|limit| held("max-error-rate", limit, errors)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn held(name: &'static str, limit: f64, value: Option<f64>) -> Check {
    Check {
        name,
        limit,
        value,
        passed: value.is_some_and(|value| value <= limit),
    }
}

const fn mode(load: Load) -> &'static str {
    match load {
        Load::Open(_) => "open",
        Load::Closed => "closed",
    }
}

const fn rate_wanted(load: Load) -> Option<u32> {
    match load {
        Load::Open(rate) => Some(rate.get()),
        Load::Closed => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
const fn as_f64(count: u64) -> f64 {
    count as f64
}

fn ratio(count: u64, of: f64) -> f64 {
    if of > 0.0 { as_f64(count) / of } else { 0.0 }
}

/// `950us`, `12.3ms`, `1.20s`.
fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{:.2}ms", as_f64(micros) / 1e3),
        1_000_000.. => format!("{:.2}s", as_f64(micros) / 1e6),
    }
}

fn counts<K: fmt::Debug>(of: &BTreeMap<K, u64>) -> String {
    let mut text = String::new();
    for (name, count) in of {
        let _ = write!(text, "  {name:?} {count}");
    }
    if text.is_empty() {
        "  none".to_owned()
    } else {
        text.to_lowercase()
    }
}

fn spread_line(name: &str, spread: Option<&Spread>) -> String {
    spread.map_or_else(
        || format!("{name}  nothing was answered"),
        |s| {
            format!(
                "{name}  p50 {}  p75 {}  p90 {}  p95 {}  p99 {}  p99.9 {}  max {}",
                time(s.p50),
                time(s.p75),
                time(s.p90),
                time(s.p95),
                time(s.p99),
                time(s.p99_9),
                time(s.max),
            )
        },
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = self
            .rate_wanted
            .map_or(String::new(), |rate| format!(" of {rate} wanted"));
        writeln!(f, "{}  {:?}, {} loop", self.url, self.protocol, self.mode)?;
        writeln!(
            f,
            "rate     {:.1}/s{wanted}, {} answers to {} requests in {:.2} s, {} bytes of bodies",
            self.rate, self.answers, self.requests, self.seconds, self.body_bytes,
        )?;
        writeln!(f, "{}", spread_line("latency", self.latency_us.as_ref()))?;
        writeln!(f, "{}", spread_line("service", self.service_us.as_ref()))?;
        writeln!(f, "status {}", counts(&self.statuses))?;
        write!(
            f,
            "errors {}  (rate {:.5}, reconnects {})",
            counts(&self.errors),
            self.error_rate,
            self.reconnects
        )?;
        for check in &self.checks {
            let verdict = if check.passed { "held" } else { "FAILED" };
            let value = check
                .value
                .map_or("nothing".to_owned(), |value| value.to_string());
            write!(
                f,
                "\n{}  {verdict}: {value} against {}",
                check.name, check.limit
            )?;
        }
        Ok(())
    }
}
