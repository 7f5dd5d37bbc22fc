//! Whether a request may be sent once more.
//!
//! Promises: a retry happens only when nothing irreversible can have happened:
//! nothing was sent, or the method is idempotent, or the MCP method only reads,
//! or the tool is listed as safe. Refuses beyond the number of retries, beyond
//! the budget, and when the request cannot be sent again. Where a retry may go
//! is not decided here: [`crate::regions::select`] chooses again, within the
//! same permit.

mod budget;
mod raw;

use serde::Serialize;

pub use budget::Budget;
use budget::Withdrawal;
pub(crate) use raw::RawRetry;

use crate::compile::CompileContext;
use crate::yaml::Spanned;
use crate::{Facts, HeaderBody, McpFacts, Route, Snapshot, Tick};

/// MCP methods that only read. `initialize` is not among them: it makes a
/// session.
const READING: [&str; 6] = [
    "ping",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "server/discover",
    "tools/list",
];

/// Most retries a file may ask for.
const RETRIES_MAX: u8 = 8;

/// Most tools that may be listed as safe.
const SAFE_TOOLS_MAX: usize = 1_024;

/// When a request may be sent again (`retry`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RetryPolicy {
    /// Retries after the first attempt. Default 2, at most 8; 0: none.
    pub max_retries: u8,
    /// Retries in percent of requests over ten seconds. Default 20.
    pub budget_percent: u32,
    /// Retries a second that are free of the percentage. Default 10.
    pub min_per_second: u32,
    /// Statuses that are tried again. Default 502, 503, 504.
    pub statuses: Vec<u16>,
    /// MCP tools whose calls may be repeated, sorted. Default none.
    pub safe_tools: Vec<String>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 2,
            budget_percent: 20,
            min_per_second: 10,
            statuses: vec![502, 503, 504],
            safe_tools: Vec::new(),
        }
    }
}

impl RetryPolicy {
    /// For `/snapshot`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self)
    }

    fn is_safe_tool(&self, tool: &str) -> bool {
        self.safe_tools
            .binary_search_by(|safe| safe.as_str().cmp(tool))
            .is_ok()
    }
}

/// Compiles `retry`; what is absent has its default.
pub(crate) fn compile(raw: Option<Spanned<RawRetry>>, ctx: &mut CompileContext<'_>) -> RetryPolicy {
    let shipped = RetryPolicy::default();
    let Some(Spanned { value: raw, .. }) = raw else {
        return shipped;
    };
    let mut policy = RetryPolicy {
        max_retries: raw
            .max_retries
            .map_or(shipped.max_retries, |retries| retries.value),
        budget_percent: raw
            .budget_percent
            .map_or(shipped.budget_percent, |p| p.value),
        min_per_second: raw
            .min_per_second
            .map_or(shipped.min_per_second, |p| p.value),
        statuses: raw
            .statuses
            .as_ref()
            .map_or(shipped.statuses, |s| s.value.clone()),
        safe_tools: raw
            .safe_tools
            .iter()
            .map(|tool| tool.value.clone())
            .collect(),
    };
    policy.safe_tools.sort_unstable();
    policy.safe_tools.dedup();
    if let Some(given) = raw
        .max_retries
        .filter(|retries| retries.value > RETRIES_MAX)
    {
        ctx.error_help(given.at, "too many retries", "write 0 to 8");
    }
    if let Some(given) = raw.budget_percent.filter(|percent| percent.value > 100) {
        ctx.error_help(given.at, "not a percentage", "write 0 to 100");
    }
    if let Some(given) = raw.min_per_second.filter(|rate| rate.value > 100_000) {
        ctx.error_help(
            given.at,
            "too many free retries",
            "write 0 to 100000 a second",
        );
    }
    let server = |status: &u16| (500..=599).contains(status);
    if let Some(given) = raw.statuses.filter(|given| !given.value.iter().all(server)) {
        ctx.error_help(
            given.at,
            "only server errors can be tried again",
            "write 500 to 599",
        );
    }
    if let Some(over) = raw.safe_tools.get(SAFE_TOOLS_MAX) {
        ctx.error_help(
            over.at,
            "more than 1,024 safe tools",
            "list only those worth a retry",
        );
    }
    policy
}

/// What went wrong with an attempt.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Failure {
    /// No connection came about.
    Connect,
    /// A kept connection was closed before any byte of an answer.
    ReusedConnectionClosed,
    /// A connection broke before a full answer.
    Reset,
    /// An answer with this status.
    Status(u16),
    /// No answer in time.
    FirstByteTimeout,
}

/// How much of the request has left the edge.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Sent {
    /// Nothing: the backend cannot have begun.
    Nothing,
    /// At least a part of the head.
    HeadOrBody,
}

/// Whether the edge still has the whole request, and no byte of an answer has
/// gone to the client.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Replayable {
    /// It can be sent again as it was.
    Yes,
    /// Part of the body is gone, or the answer has begun.
    No,
}

/// What [`verdict`] is asked.
#[derive(Copy, Clone)]
pub struct RetryAsk<'a> {
    /// The request's route.
    pub route: &'a Route,
    /// The request's facts.
    pub facts: &'a Facts<'a>,
    /// What went wrong.
    pub failure: Failure,
    /// How much was sent.
    pub sent: Sent,
    /// Whether it can be sent again.
    pub replayable: Replayable,
    /// Attempts so far, this one included: 1 after the first.
    pub attempts: u8,
}

/// Whether to try again.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Yes; the budget has been charged.
    Retry,
    /// No.
    GiveUp(GiveUp),
}

/// Why a request is not sent again.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum GiveUp {
    /// The failure is an answer that is passed on.
    NotAFailure,
    /// The request cannot be sent again.
    NotReplayable,
    /// Sending it twice may do it twice.
    NotIdempotent,
    /// The number of retries is used up.
    Attempts,
    /// The edge's budget is used up.
    Budget,
}

impl GiveUp {
    /// Stable name for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAFailure => "not-a-failure",
            Self::NotReplayable => "not-replayable",
            Self::NotIdempotent => "not-idempotent",
            Self::Attempts => "attempts",
            Self::Budget => "budget",
        }
    }
}

/// Decides on one more attempt, and charges the budget if there is to be one.
pub fn verdict(snapshot: &Snapshot, ask: &RetryAsk<'_>, budget: &Budget, now: Tick) -> Verdict {
    let policy = snapshot.retry();
    let refusal = match ask.replayable {
        Replayable::No => Some(GiveUp::NotReplayable),
        Replayable::Yes => refuse(policy, ask),
    };
    if let Some(reason) = refusal {
        return Verdict::GiveUp(reason);
    }
    match budget.withdraw(policy, now) {
        Withdrawal::Taken => Verdict::Retry,
        Withdrawal::Empty => Verdict::GiveUp(GiveUp::Budget),
    }
}

fn refuse(policy: &RetryPolicy, ask: &RetryAsk<'_>) -> Option<GiveUp> {
    if let Failure::Status(status) = ask.failure
        && !policy.statuses.contains(&status)
    {
        return Some(GiveUp::NotAFailure);
    }
    if !is_harmless(policy, ask) {
        return Some(GiveUp::NotIdempotent);
    }
    (ask.attempts > policy.max_retries).then_some(GiveUp::Attempts)
}

/// Whether sending the request once more cannot do anything twice.
fn is_harmless(policy: &RetryPolicy, ask: &RetryAsk<'_>) -> bool {
    match (ask.failure, ask.sent) {
        (Failure::Connect, _) | (_, Sent::Nothing) => true,
        (
            Failure::ReusedConnectionClosed
            | Failure::Reset
            | Failure::Status(_)
            | Failure::FirstByteTimeout,
            Sent::HeadOrBody,
        ) => ask.facts.head.method().is_idempotent() || only_reads(policy, ask),
    }
}

/// MCP knows better than HTTP, for which every call is a POST. Headers that
/// nobody compared with the body prove nothing.
fn only_reads(policy: &RetryPolicy, ask: &RetryAsk<'_>) -> bool {
    let Some(McpFacts {
        method: Some(method),
        tool,
        verified: HeaderBody::Agree,
        ..
    }) = ask.facts.mcp
    else {
        return false;
    };
    if method == "tools/call" {
        return tool.is_some_and(|tool| policy.is_safe_tool(tool));
    }
    READING.contains(&method)
}

#[cfg(test)]
mod tests;
