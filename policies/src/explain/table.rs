//! An explanation as text.

use std::fmt::Write as _;

use serde_json::Value;

use super::{ExplainedCandidate, Explanation};

pub(super) fn render(of: &Explanation) -> String {
    let mut out = String::new();
    let verdict = match (&of.region, of.status, of.reason) {
        (Some(region), _, _) => format!("{} to {region}", of.verdict),
        (None, Some(status), Some(reason)) => format!("{} with {status} {reason}", of.verdict),
        (None, Some(status), None) => format!("{} with {status}", of.verdict),
        (None, None, _) => of.verdict.to_owned(),
    };
    line(&mut out, "verdict", &verdict);
    line(&mut out, "why", of.detail.as_deref().unwrap_or_default());
    let retry = of.retry_after_s.map(|seconds| format!("in {seconds} s"));
    line(&mut out, "try again", &retry.unwrap_or_default());
    line(&mut out, "client in", &place(&of.location));
    line(&mut out, "route", of.route.as_deref().unwrap_or_default());
    let class = of
        .data_class
        .map(|class| format!("{class}, said by: {}", of.data_class_by.unwrap_or("nobody")));
    line(&mut out, "data class", &class.unwrap_or_default());
    line(
        &mut out,
        "token of",
        of.token_of.as_deref().unwrap_or_default(),
    );
    line(
        &mut out,
        "jurisdiction",
        of.jurisdiction.as_deref().unwrap_or_default(),
    );
    line(
        &mut out,
        "regulation",
        of.regulation.as_deref().unwrap_or_default(),
    );
    line(&mut out, "rights", &of.rights.join(", "));
    line(
        &mut out,
        "audited",
        of.audit_frequency.as_deref().unwrap_or_default(),
    );
    line(&mut out, "law allows", &listed(of));
    line(&mut out, "obligations", &of.obligations.join(", "));
    line(
        &mut out,
        "endpoint",
        of.endpoint.as_deref().unwrap_or_default(),
    );
    line(&mut out, "session", of.session.unwrap_or_default());
    if !of.candidates.is_empty() {
        candidates(&mut out, of);
    }
    out
}

fn listed(of: &Explanation) -> String {
    match (of.permitted.is_empty(), of.candidates.is_empty()) {
        (true, false) => "no region".to_owned(),
        (true, true) => String::new(),
        (false, _) => of.permitted.join(", "),
    }
}

/// Lines without a value are left out. Writing to a string cannot fail.
fn line(out: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        let _ = writeln!(out, "{name:<13} {value}");
    }
}

fn place(location: &Value) -> String {
    let text = |key: &str| {
        location
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let named = [text("city"), text("country")];
    let named: Vec<&str> = named.into_iter().filter(|part| !part.is_empty()).collect();
    let named = if named.is_empty() {
        "an unknown place".to_owned()
    } else {
        named.join(", ")
    };
    format!(
        "{named} (source: {}, certainty: {})",
        text("source"),
        text("certainty")
    )
}

/// The chosen one first, then by score, then by what took them out.
fn candidates(out: &mut String, of: &Explanation) {
    let width = of
        .candidates
        .iter()
        .map(|one| one.region.len())
        .max()
        .unwrap_or(0)
        .max(6);
    let mut sorted: Vec<&ExplainedCandidate> = of.candidates.iter().collect();
    let chosen = |one: &ExplainedCandidate| of.region.as_deref() == Some(one.region.as_str());
    sorted.sort_by(|a, b| {
        chosen(b)
            .cmp(&chosen(a))
            .then(a.removed_by.is_some().cmp(&b.removed_by.is_some()))
            .then(b.score.total_cmp(&a.score))
            .then(a.region.cmp(&b.region))
    });
    let _ = writeln!(
        out,
        "\n  {:<width$}  {:>6}  {:>7}  {:>6}  {:>10}  {:>6}  removed by",
        "region", "score", "latency", "load", "compliance", "cost"
    );
    for one in sorted {
        let mark = if chosen(one) { '>' } else { ' ' };
        let terms = &one.terms;
        let _ = writeln!(
            out,
            "{mark} {:<width$}  {:>6.2}  {:>7.0}  {:>6.1}  {:>10.0}  {:>6.1}  {}",
            one.region,
            one.score,
            terms.latency,
            terms.load,
            terms.compliance,
            terms.cost,
            one.removed_by.unwrap_or("-"),
        );
    }
}
