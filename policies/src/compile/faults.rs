//! One set of files for each fault that no other test makes: each is told with
//! its file, line, column and frame, and where it is not plain from the words,
//! with what to do.

use std::fmt::Write as _;

use crate::Diagnostic;
use crate::testing::{faults, snapshot, source, try_compile};

/// Three regions of others, and this: what is told, and what stands where the
/// caret points.
const BESIDE_REGIONS: &[(&str, &str, &str)] = &[
    (
        "geo: { overrides: [{ cidr: 192.0.2.0/24, city: \"\\u0001\" }] }",
        "not a city's name",
        "\"",
    ),
    ("retry: { max_retries: 9 }", "too many retries", "9"),
    (
        "retry: { min_per_second: 100001 }",
        "too many free retries",
        "100001",
    ),
    (
        "retry: { statuses: [404] }",
        "only server errors can be tried again",
        "[404]",
    ),
    ("retry: { budget_percent: 101 }", "not a percentage", "101"),
    (
        "access: { requests: [{ deny: { id: a, client_certificate: ['%%'] } }] }",
        "not a pattern for certificates",
        "'%%'",
    ),
    (
        "access: { requests: [{ deny: { id: a, headers: { 'a b': x } } }] }",
        "not a header's name",
        "'a b'",
    ),
    (
        "outlier_detection: { base_ejection_time: 60s, max_ejection_time: 10s }",
        "shorter than the first",
        "10s",
    ),
    (
        "outlier_detection: { interval: 1ms }",
        "too short or too long",
        "1ms",
    ),
    (
        "latency_matrix: { us-central1: { europe-west1: 10001 } }",
        "not a latency",
        "10001",
    ),
    (
        "scoring: { tie_break: { us-central1: 1001 } }",
        "not a total",
        "1001",
    ),
    (
        "scoring: { latency_brackets: [{ below_ms: 50, score: 90 }, { below_ms: 20, score: 100 }] }",
        "the brackets make no curve",
        "[{ below_ms: 50",
    ),
    (
        "scoring: { weights: { latency: 0, load: 0, compliance: 0 } }",
        "these weights have no sum",
        "0, load",
    ),
    (
        "traffic_policy: { version_header: x-version }",
        "no effect without `version_routing`",
        "x-version",
    ),
    (
        "traffic_policy: { version_header: 'x y', version_routing: [{ version: v1, weight: 1 }] }",
        "this is no name for a header",
        "'x y'",
    ),
    (
        "traffic_policy: { version_routing: [{ version: v1, weight: 1000001 }] }",
        "a weight over 1000000",
        "{ version",
    ),
    (
        "traffic_policy: { version_routing: [{ version: v1, weight: 1 }, { version: v1, weight: 1 }] }",
        "is listed twice",
        "{ version: v1, weight: 1 }] }",
    ),
    (
        "session_affinity: { type: client_ip, spread: 101 }",
        "not a number of points",
        "101",
    ),
    (
        "session_affinity: { type: client_ip, name: x }",
        "`name` has no effect with this type",
        "x",
    ),
    (
        "session_affinity: { type: cookie, name: 'a b', key: 0123456789abcdef }",
        "this is no name for a cookie",
        "'a b'",
    ),
    (
        "session_affinity: { type: cookie }",
        "a cookie is signed, and there is no `key`",
        "session_affinity",
    ),
    (
        "session_affinity: { type: cookie, key: short }",
        "short enough to be guessed",
        "short",
    ),
    (
        "session_affinity: { type: header, name: 'a b' }",
        "this is no name for a header",
        "'a b'",
    ),
    (
        "session_affinity: { type: header }",
        "which header? there is no `name`",
        "session_affinity",
    ),
    (
        "routes: [{ id: a, path: /*, authentication: required }]",
        "no token is ever verified",
        "required",
    ),
    (
        "access: { requests: [{ deny: { id: a, token: { groups: [x] } } }] }",
        "no token is ever verified",
        "{ groups",
    ),
    (
        "jurisdictions: [{ id: a, countries: [], cross_border: allowed }, { id: r, countries: ['*'], cross_border: allowed }]\nunknown_location: r",
        "a jurisdiction of no country",
        "[]",
    ),
    (
        "jurisdictions: [{ id: r, countries: ['*'], cross_border: allowed, rights: ['two words'] }]\nunknown_location: r",
        "this is one word",
        "'two words'",
    ),
];

/// The whole set.
const ALONE: &[(&str, &str, &str)] = &[
    ("regions: [{ id: 'a b' }]", "this is no region id", "'a b'"),
    (
        "regions: [{ id: a }, { id: a }]",
        "the region `a` is defined twice",
        "a }]",
    ),
    (
        "regions: [{ id: a, weight: 101 }]",
        "a weight over 100",
        "101",
    ),
    (
        "regions: [{ id: a, location: { country: DE, lat: 1 } }]",
        "a place needs both `lat` and `lon`",
        "1",
    ),
    (
        "regions: [{ id: a, location: { country: DE, lat: 91, lon: 1 } }]",
        "not on the globe",
        "91",
    ),
    (
        "regions: [{ id: a, capacity: 0 }]",
        "this is not above 0",
        "0",
    ),
    (
        "regions: [{ id: a, endpoints: ['http://x', 'http://x'] }]",
        "this endpoint is listed twice",
        "'http://x'] ",
    ),
    (
        "regions: [{ id: a, tls: { ca: x.pem }, endpoints: ['http://x'] }]",
        "`tls` has no effect",
        "{ ca",
    ),
    (
        "regions: [{ id: a, endpoints: [{ url: 'http://x', server_name: y }] }]",
        "`server_name` has no effect",
        "y",
    ),
    (
        "regions: [{ id: a, endpoints: ['https://x'] }]",
        "nothing says who vouches for this endpoint",
        "'https://x'",
    ),
    (
        "regions: [{ id: a, tls: { ca: x.pem, server_name: 'a b' }, endpoints: ['https://x'] }]",
        "no certificate can be for this name",
        "'a b'",
    ),
];

/// Plain from the words alone: there is nothing else to advise.
const WITHOUT_HELP: &[&str] = &[
    "not a city's name",
    "not a header's name",
    "a jurisdiction of no country",
    "this is one word",
];

/// What is wrong with how a fault is told; nothing when all is well.
fn amiss(found: &[Diagnostic], (text, message, marked): (&str, &str, &str)) -> Option<String> {
    let told = crate::testing::listed(found);
    let Some(fault) = found.iter().find(|fault| fault.message.contains(message)) else {
        return Some(format!("{text}\nhas no fault `{message}`:\n{told}"));
    };
    let (line, column) = (fault.line as usize, fault.column as usize);
    let there = text.lines().nth(line.wrapping_sub(1)).unwrap_or_default();
    let rest = there.get(column.wrapping_sub(1)..).unwrap_or_default();
    let plain = |text: &str| text.trim_start_matches(['\'', '"']).to_owned();
    if fault.path != "test.yaml" || !plain(rest).starts_with(&plain(marked)) {
        return Some(format!(
            "{text}\n`{message}` points at `{rest}`, not at `{marked}`"
        ));
    }
    if !fault.frame.contains('^') {
        return Some(format!("{text}\n`{message}` has no frame"));
    }
    let advised = fault.help.is_some() || WITHOUT_HELP.iter().any(|known| message.contains(known));
    (!advised).then(|| format!("{text}\n`{message}` does not say what to do"))
}

#[test]
fn every_fault_has_its_place_its_frame_and_what_to_do() {
    let beside = BESIDE_REGIONS.iter().map(|case| (faults(case.0), *case));
    let alone = ALONE.iter().map(|case| {
        let off = source("off.yaml", "residency: off\n");
        let found = try_compile(&[source("test.yaml", case.0), off]);
        (found.err().unwrap_or_default(), *case)
    });
    let amiss: Vec<String> = beside
        .chain(alone)
        .filter_map(|(found, case)| amiss(&found, case))
        .collect();
    assert!(amiss.is_empty(), "{}", amiss.join("\n\n"));
}

/// `count` items, made by `one`, between two texts.
fn many((before, after): (&str, &str), count: usize, one: impl Fn(usize) -> String) -> String {
    let mut text = before.to_owned();
    for at in 0..count {
        let _ = write!(text, "{}, ", one(at));
    }
    text + after
}

#[test]
fn every_list_says_that_it_is_too_long() {
    for (text, message) in [
        (
            many(("retry: { safe_tools: [", "] }"), 1_025, |at| {
                format!("t{at}")
            }),
            "more than 1,024 safe tools",
        ),
        (
            many(("access: { requests: [", "] }"), 4_097, |at| {
                format!("{{ deny: {{ id: r{at} }} }}")
            }),
            "access rules, at most",
        ),
        (
            many(("traffic_policy: { version_routing: [", "] }"), 17, |at| {
                format!("{{ version: v{at}, weight: 1 }}")
            }),
            "more than 16 versions",
        ),
        (
            many(("waf: { disabled_rules: [", "] }"), 4_097, |at| {
                format!("r{at}")
            }),
            "rules are switched off",
        ),
        (
            format!(
                "routes: [{{ id: a, path: /*, action: {{ respond: {{ status: 200, body: {} }} }} }}]",
                "x".repeat(65_537)
            ),
            "a body of over 64KiB",
        ),
    ] {
        let found = faults(&text);
        let told = found.iter().find(|fault| fault.message.contains(message));
        let told = told.unwrap_or_else(|| panic!("no `{message}`: {:?}", found.first()));
        assert!(told.line == 1 && told.column > 0 && told.frame.contains('^'));
    }
    for (text, message) in [
        (
            many(("regions: [", "]"), 513, |at| format!("{{ id: r{at} }}")),
            "more than 512 regions",
        ),
        (
            many(("regions: [{ id: a, endpoints: [", "] }]"), 4_097, |at| {
                format!("'http://h{at}'")
            }),
            "more than 4,096 endpoints",
        ),
    ] {
        let off = source("off.yaml", "residency: off\n");
        let found = try_compile(&[source("test.yaml", &text), off])
            .err()
            .unwrap_or_default();
        let told = found.iter().find(|fault| fault.message.contains(message));
        let told = told.unwrap_or_else(|| panic!("no `{message}`: {:?}", found.first()));
        assert!(told.line == 1 && told.column > 0 && told.frame.contains('^'));
    }
}

#[test]
fn what_is_probably_not_meant_is_warned_about_with_its_place() {
    for (text, message) in [
        (
            "rate_limiting: { exempt: [192.0.2.0/24] }",
            "exemptions without a limit",
        ),
        (
            "upstream_tls: { ca: x.pem }",
            "`upstream_tls` has no effect",
        ),
        (
            "residency: off\njurisdictions: [{ id: r, countries: ['*'], cross_border: allowed }]\nunknown_location: r",
            "not enforced",
        ),
        (
            "jurisdictions: [{ id: r, countries: ['*'], cross_border: allowed }]\nunknown_location: r\nplaintext_upstreams: { mesh: [192.0.2.0/24] }",
            "spoken to in plain text",
        ),
    ] {
        let snapshot = snapshot(text);
        let warned = snapshot.warnings();
        let told = warned.iter().find(|one| one.message.contains(message));
        let told = told.unwrap_or_else(|| panic!("{text}: {warned:?}"));
        assert!(told.line > 0 && told.column > 0 && told.frame.contains('^'));
    }
}
