use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;
use crate::regions::testkit::{World, compile, facts, head, located, shipped};
use crate::state::{AttemptOutcome, ProbeFailure, ProbeOutcome};
use crate::{EndpointIndex, Receipt, RuleFamily, ShortId};

fn explained_for(world: &World, country: &str, path: &str, class: Option<&str>) -> Explanation {
    let fields: Vec<(&str, &str)> = class.iter().map(|class| ("x-data-class", *class)).collect();
    let head = head("GET", path, &fields);
    explain(
        &world.snapshot,
        &world.view,
        &facts(&head, located(country)),
        &Moment {
            now: world.now,
            ..Moment::default()
        },
    )
}

#[test]
fn a_german_request_is_explained() {
    let world = World::new(shipped());
    let found = explained_for(&world, "DE", "/mcp", Some("tier_1_pii"));
    assert_eq!(
        (found.verdict, found.region.as_deref()),
        ("forward", Some("europe-west1"))
    );
    assert_eq!((found.status, found.reason), (None, None));
    assert_eq!(found.permitted, ["europe-west1", "europe-west4"]);
    assert_eq!(found.data_class, Some("tier_1_pii"));
    assert_eq!(found.jurisdiction.as_deref(), Some("eu"));
    assert_eq!(found.route.as_deref(), Some("mcp"));
    assert_eq!(found.candidates.len(), 11);
    let us = found
        .candidates
        .iter()
        .find(|one| one.region == "us-central1")
        .unwrap();
    assert_eq!(us.removed_by, Some("law"));
}

#[test]
fn refusals_name_status_reason_and_what_is_needed() {
    let world = World::new(shipped());
    let law = explained_for(&world, "CN", "/mcp", Some("tier_1_pii"));
    assert_eq!(
        (law.verdict, law.status, law.reason),
        ("refuse", Some(451), Some("residency"))
    );
    assert!(law.detail.as_ref().unwrap().contains("needed"), "{law:?}");
    assert!(
        law.permitted.is_empty()
            && law
                .candidates
                .iter()
                .all(|one| one.removed_by == Some("law"))
    );
    let lost = explained_for(&world, "DE", "/nowhere", None);
    assert_eq!((lost.status, lost.reason), (Some(404), Some("no-route")));
}

#[test]
fn a_region_that_is_down_is_a_503_and_the_law_still_lists_it() {
    let world = World::new(shipped());
    for region in ["europe-west1", "europe-west4"] {
        for _ in 0..3 {
            let outcome = ProbeOutcome::Down(ProbeFailure::Connect);
            world.view.record_probe(
                &world.snapshot,
                world.endpoint(region, 0),
                outcome,
                world.now,
            );
        }
    }
    let found = explained_for(&world, "DE", "/mcp", Some("tier_1_pii"));
    assert_eq!(
        (found.status, found.reason),
        (Some(503), Some("no-healthy-region"))
    );
    assert_eq!(found.permitted, ["europe-west1", "europe-west4"]);
    assert_eq!(found.retry_after_s, Some(20));
}

#[test]
fn the_edges_own_answers_are_neither_forwarded_nor_refused() {
    let world = World::new(shipped());
    let found = explained_for(&world, "DE", "/v3/health", None);
    assert_eq!(
        (found.verdict, found.status, found.region),
        ("answer", Some(200), None)
    );
}

#[test]
fn the_json_has_the_keys_that_users_rely_on() {
    let world = World::new(shipped());
    let found = explained_for(&world, "DE", "/mcp", None);
    let json = serde_json::to_value(&found).unwrap();
    for key in [
        "verdict",
        "region",
        "status",
        "reason",
        "location",
        "data_class",
        "permitted",
        "candidates",
    ] {
        assert!(json.get(key).is_some(), "{key}");
    }
    let candidate = &json["candidates"][1];
    for key in ["region", "removed_by", "score", "terms"] {
        assert!(candidate.get(key).is_some(), "{key}");
    }
    for term in ["latency", "load", "compliance", "cost"] {
        assert!(candidate["terms"][term].is_number(), "{term}");
    }
    assert_eq!(json["location"]["country"], "DE");
}

#[test]
fn the_table_puts_the_chosen_region_first() {
    let world = World::new(shipped());
    let table = explained_for(&world, "DE", "/mcp", Some("tier_2_personal")).to_table();
    assert!(
        table.starts_with("verdict       forward to europe-west1\n"),
        "{table}"
    );
    assert!(
        table.contains("client in     DE (source: embedded, certainty: country)"),
        "{table}"
    );
    let rows: Vec<&str> = table
        .lines()
        .skip_while(|row| !row.contains("removed by"))
        .skip(1)
        .collect();
    assert_eq!(rows.len(), 11, "{table}");
    assert!(
        rows[0].starts_with("> europe-west1") && rows[0].ends_with('-'),
        "{table}"
    );
    assert!(
        rows[1].starts_with("  europe-west4") && rows[10].ends_with("law"),
        "{table}"
    );
    assert!(
        table.lines().all(|row| row.chars().count() <= 100),
        "{table}"
    );
}

#[test]
fn a_receipt_is_shown_with_names() {
    let world = World::new(shipped());
    let answer = world.ask("DE", "tier_1_pii").unwrap();
    let choice = answer.choice.unwrap();
    let mut receipt = Receipt::new();
    receipt.request_id = ShortId::new("4bf92f3577b34da6a3ce929d0e0e4736");
    receipt.location = located("DE");
    receipt.candidates = answer.candidates;
    receipt.verdict = Verdict::Forward {
        region: choice.region(),
    };
    receipt
        .attempts
        .add(choice.endpoint(), AttemptOutcome::ServerError(503));
    receipt
        .attempts
        .add(choice.endpoint(), AttemptOutcome::Success);
    receipt.rules.add(RuleFamily::Waf, "sqli");
    receipt.status = 200;
    receipt.draw = u64::MAX;
    let json = receipt_json(&world.snapshot, &receipt);
    assert_eq!(json["verdict"], "forward");
    assert_eq!(json["region"], "europe-west1");
    assert_eq!(json["status"], 200);
    assert_eq!(json["request_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(
        json["draw"], "18446744073709551615",
        "as text: JSON numbers are not that wide"
    );
    assert_eq!(json["attempts"][0]["status"], 503);
    assert_eq!(json["attempts"][1]["outcome"], "success");
    assert_eq!(json["rules"][0]["id"], "sqli");
    assert_eq!(json["candidates"].as_array().unwrap().len(), 11);
    assert_eq!(json["candidates"][0]["removed_by"], "law");
}

#[test]
fn a_receipt_of_another_snapshot_loses_names_and_nothing_else() {
    let small = compile("regions: [{ id: a }]");
    let mut receipt = Receipt::new();
    receipt.verdict = Verdict::Forward {
        region: RegionIndex(9),
    };
    receipt
        .attempts
        .add(crate::EndpointIndex(9), AttemptOutcome::Reset);
    receipt.route = Some(crate::RouteIndex(99));
    receipt.jurisdiction = Some(crate::JurisdictionIndex(99));
    receipt
        .candidates
        .push(outside(RegionIndex(9), Removal::Law));
    let json = receipt_json(&small, &receipt);
    assert!(json["region"].is_null() && json["route"].is_null());
    assert_eq!(json["candidates"].as_array().unwrap().len(), 0);
}

#[test]
fn an_explanation_changes_nothing() {
    let world = World::new(shipped());
    let first = explained_for(&world, "US", "/mcp", None);
    for _ in 0..50 {
        assert_eq!(explained_for(&world, "US", "/mcp", None), first);
    }
    let status = world.view.status(&world.snapshot, world.now);
    assert!(status.iter().all(|region| region.in_flight == 0));
}

#[test]
fn a_session_is_explained_where_it_is_served() {
    let by = |affinity: &str| {
        let mut text = format!("session_affinity: {{ {affinity} }}\nregions:\n");
        for at in 0..5 {
            let _ = writeln!(text, "  - {{ id: r{at}, endpoints: ['http://r{at}'] }}");
        }
        World::new(compile(&text))
    };
    let told = |world: &World, client: &str, fields: &[(&str, &str)]| {
        let head = head("GET", "/v3/echo", fields);
        let facts = Facts {
            client: client.parse().unwrap(),
            ..facts(&head, located("DE"))
        };
        let explain = |draw| {
            let moment = Moment {
                now: world.now,
                draw,
                ..Moment::default()
            };
            explain(&world.snapshot, &world.view, &facts, &moment)
        };
        let found = explain(0);
        assert!(
            (1..20).all(|draw| explain(draw).region == found.region || found.session.is_none()),
            "a session has its own draw"
        );
        (found.region.unwrap(), found.session)
    };
    let world = by("type: client_ip, spread: 100");
    let regions: BTreeSet<String> = (1..40)
        .map(|host| told(&world, &format!("192.0.2.{host}"), &[]))
        .inspect(|(_, session)| assert_eq!(*session, Some("kept")))
        .map(|(region, _)| region)
        .collect();
    assert_eq!(regions.len(), 5, "addresses spread over all");

    let world = by("type: header, name: x-tenant, spread: 100");
    assert_eq!(told(&world, "192.0.2.1", &[]).1, None);
    for tenant in ["a", "b", "c"] {
        let (name, value) = world.snapshot.affinity().field(tenant).unwrap();
        let (region, session) = told(&world, "192.0.2.1", &[(name, &value)]);
        assert_eq!(session, Some("kept"));
        assert_eq!(told(&world, "192.0.2.9", &[(name, &value)]).0, region);
    }

    let world = by("type: cookie, key: 0123456789abcdef");
    let affinity = world.snapshot.affinity();
    let endpoint = crate::regions::endpoint_tag(world.snapshot.endpoint(EndpointIndex(3)));
    let mut cookie = Vec::new();
    let seen = affinity.session(&facts(&head("GET", "/", &[]), located("DE")), None, || 0);
    let place = (
        crate::regions::Affinity(endpoint),
        0,
        crate::affinity::Secure::No,
    );
    assert!(affinity.set_cookie(&seen, place, &mut cookie));
    let text = String::from_utf8(cookie).unwrap();
    let value = text.split(';').next().unwrap().split_once('=').unwrap().1;
    let (name, value) = affinity.field(value).unwrap();
    let kept = ("r3".to_owned(), Some("kept"));
    assert_eq!(told(&world, "192.0.2.1", &[(name, &value)]), kept);
}
