use std::net::IpAddr;

use super::*;
use crate::affinity::SessionKey;
use crate::regions::testkit::{SHIPPED, World, facts, head, located, shipped, try_compile};
use crate::regions::{Ask, Removal, Tried, select};
use crate::residency::{classify, eligible};
use crate::state::{OverrideAction, mix};
use crate::{Receipt, RejectReason, ShortId, Snapshot, Verdict, Vouched};

const CLASSES: [&str; 4] = [
    "tier_1_pii",
    "tier_2_personal",
    "tier_3_operational",
    "tier_4_public",
];

/// Decides as the request path does, and records it.
fn record(world: &World, country: &str, class: &str) -> Recorded {
    let head = head("GET", "/v3/echo", &[("x-data-class", class)]);
    let facts = facts(&head, located(country));
    let mut receipt = Receipt {
        request_id: ShortId::new(&format!("{country}-{class}")),
        generation: 7,
        at_unix_ms: 1_700_000_000_000,
        client: facts.client,
        location: facts.location,
        draw: world.draw,
        ..Receipt::new()
    };
    let (at, route) = world.snapshot.route(&head).unwrap();
    receipt.route = Some(at);
    let classified = classify(&world.snapshot, route, &facts);
    receipt.classified = Some(classified);
    receipt.verdict = match eligible(&world.snapshot, route, &facts, classified) {
        Err(_) => refused(RejectReason::Residency),
        Ok(permitted) => {
            receipt.jurisdiction = permitted.jurisdiction();
            receipt.permitted = Some(permitted);
            let tried = Tried::new();
            let ask = Ask {
                facts: &facts,
                permitted: &permitted,
                tried: &tried,
                affinity: world.pin,
                session: world.session,
                version: world.version,
                route: at,
                now: world.now,
                draw: world.session.map_or(world.draw, |key| key.0),
            };
            receipt.draw = ask.draw;
            match select(&world.snapshot, &world.view, &ask, &mut receipt.candidates) {
                Ok(choice) => {
                    receipt.affinity = choice.affinity();
                    receipt.session = choice.session();
                    Verdict::Forward {
                        region: choice.region(),
                    }
                }
                Err(_) => refused(RejectReason::NoHealthyRegion),
            }
        }
    };
    let asked = Asked {
        head: &head,
        peer: facts.client,
    };
    let recorded = Recorded::new(&world.snapshot, &receipt, asked);
    Recorded::parse(&serde_json::to_string(&recorded).unwrap()).unwrap()
}

fn refused(reason: RejectReason) -> Verdict {
    Verdict::Refuse {
        status: reason.status(),
        reason,
    }
}

/// The shipped policies with one text replaced by another.
fn changed(file: &str, from: &str, to: &str) -> Snapshot {
    let texts: Vec<(&str, String)> = SHIPPED
        .iter()
        .map(|(name, text)| {
            if *name == file {
                assert!(text.contains(from), "{file} has no {from}");
                (*name, text.replace(from, to))
            } else {
                (*name, (*text).to_owned())
            }
        })
        .collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|(n, t)| (*n, t.as_str())).collect();
    try_compile(&files).unwrap_or_else(|faults| panic!("{}", faults.join("\n")))
}

/// The shipped policies with a region that has nothing to serve with.
fn without(region: &str) -> Snapshot {
    let endpoints = format!("[\"http://mcp.{region}.svc.clusterset.local:8080\"]");
    changed("regions.yaml", &endpoints, "[]")
}

#[test]
fn every_decision_of_a_troubled_world_comes_out_again() {
    let mut world = World::new(shipped());
    let regions: Vec<String> = world
        .snapshot
        .regions()
        .iter()
        .map(|region| region.id.clone())
        .collect();
    let mut forwarded = 0;
    for step in 0..150u64 {
        let random = mix(step, 9);
        let at = usize::try_from(random % regions.len() as u64).unwrap();
        let endpoint = world.endpoint(&regions[at], 0);
        match random >> 32 & 7 {
            0 => drop(world.eject(endpoint)),
            1 => world.advance(7),
            2 => world.advance(120),
            3 => (0..900).for_each(|_| world.view.begin(endpoint, world.now)),
            4 => drop(world.report(endpoint, crate::AttemptOutcome::Success, 5 + (random >> 40))),
            5 => world.order(&regions[at], OverrideAction::ALL[at % 3], 30),
            _ => {}
        }
        world.draw = random;
        world.session = random.is_multiple_of(3).then_some(SessionKey(random));
        for country in ["DE", "GB", "US", "BR", "IN", "SG", "JP", "CN", "KE", ""] {
            for class in CLASSES {
                let recorded = record(&world, country, class);
                forwarded += usize::from(recorded.region.is_some());
                let difference = replay(&world.snapshot, &recorded).unwrap();
                assert_eq!(difference, None, "step {step}: {recorded:?}");
            }
        }
    }
    assert!(forwarded > 2_000, "{forwarded} were forwarded");
}

#[test]
fn a_kept_session_is_replayed_where_it_was() {
    let mut world = World::new(shipped());
    let pinned = world.endpoint("us-east1", 0);
    let endpoint = world.snapshot.endpoint(pinned);
    world.pin = Some(crate::regions::Affinity(crate::regions::endpoint_tag(
        endpoint,
    )));
    let recorded = record(&world, "US", "tier_3_operational");
    assert_eq!(recorded.region.as_deref(), Some("us-east1"));
    assert_eq!(replay(&world.snapshot, &recorded), Ok(None));
}

#[test]
fn the_first_difference_is_named() {
    let world = World::new(shipped());
    let recorded = record(&world, "DE", "tier_3_operational");
    let mut forged = recorded.clone();
    forged.region = Some("asia-south1".to_owned());
    let found = replay(&world.snapshot, &forged).unwrap().unwrap();
    assert_eq!(
        (found.what.as_str(), found.recorded.as_str()),
        ("decision", "forward to asia-south1")
    );
    let mut loaded = recorded.clone();
    let served = loaded.region.clone().unwrap();
    let mut candidates = loaded.candidates.iter_mut();
    let candidate = candidates.find(|of| of.region == served).unwrap();
    candidate.seen.load = 0.5;
    let found = replay(&world.snapshot, &loaded).unwrap().unwrap();
    assert_eq!(found.what, format!("candidate {served}: score"));
    let mut elsewhere = recorded;
    elsewhere.location.country = Some("CN".to_owned());
    elsewhere.data_class = Some(crate::DataClass::Tier1Pii);
    let found = replay(&world.snapshot, &elsewhere).unwrap().unwrap();
    assert_eq!(found.what, "data_class");
}

#[test]
fn what_was_refused_elsewhere_is_not_decided_again() {
    let world = World::new(shipped());
    let mut recorded = record(&world, "DE", "tier_3_operational");
    recorded.verdict = "refuse".to_owned();
    recorded.reason = Some("waf-denied".to_owned());
    recorded.region = None;
    assert_eq!(
        replay(&world.snapshot, &recorded),
        Err(Unchecked::RefusedElsewhere)
    );
    recorded.request = None;
    assert_eq!(
        decide_again(&world.snapshot, &recorded),
        Err(Unchecked::NoRequest)
    );
}

#[test]
fn a_diff_of_the_same_policies_is_empty() {
    let world = World::new(shipped());
    let mut diff = Diff::new(&world.snapshot);
    for country in ["DE", "US", "CN", ""] {
        for class in CLASSES {
            diff.add(&record(&world, country, class));
        }
    }
    let report = diff.report();
    assert_eq!((report.compared, report.same), (16, 16), "{report:?}");
    assert!(report.examples.is_empty());
}

#[test]
fn a_diff_counts_what_moves_by_pair() {
    let world = World::new(shipped());
    let fewer = without("europe-west1");
    let mut diff = Diff::new(&fewer);
    diff.add(&record(&world, "DE", "tier_3_operational"));
    let report = diff.report();
    assert_eq!(report.moved, 1, "{report:?}");
    let (pair, _) = report.moved_by_pair.first_key_value().unwrap();
    assert!(pair.starts_with("europe-west1 -> "), "{pair}");
    let thresholds = Thresholds {
        moved: Some(0.5),
        ..Thresholds::default()
    };
    let exceeded = report.exceeded(&thresholds);
    assert_eq!((exceeded.len(), exceeded[0].threshold), (1, "moved"));
    assert!(report.exceeded(&Thresholds::default()).is_empty());
}

#[test]
fn a_diff_names_refusals_and_permits_that_are_new() {
    let world = World::new(shipped());
    let german = record(&world, "DE", "tier_3_operational");
    let chinese = record(&world, "CN", "tier_1_pii");
    assert_eq!(chinese.reason.as_deref(), Some("residency"));
    let deny = changed(
        "routes.yaml",
        "routes:\n",
        "access: { requests: [{ deny: { id: nobody, countries: [DE] } }] }\nroutes:\n",
    );
    let mut diff = Diff::new(&deny);
    diff.add(&german);
    let report = diff.report();
    assert_eq!(report.newly_refused, 1, "{report:?}");
    assert_eq!(report.newly_refused_by.get("access-denied"), Some(&1));
    let lawless = lawless();
    let mut diff = Diff::new(&lawless);
    diff.add(&chinese);
    assert_eq!(diff.report().newly_allowed, 1);
}

/// The shipped regions without any law.
fn lawless() -> Snapshot {
    let files: Vec<(&str, &str)> = SHIPPED
        .iter()
        .map(|(name, text)| {
            if *name == "residency.yaml" {
                (*name, "residency: off\n")
            } else {
                (*name, *text)
            }
        })
        .collect();
    try_compile(&files).unwrap_or_else(|faults| panic!("{}", faults.join("\n")))
}

#[test]
fn a_diff_counts_what_leaves_its_jurisdiction() {
    let world = World::new(shipped());
    let recorded = record(&world, "GB", "tier_2_personal");
    assert!(!recorded.crossed_border, "{recorded:?}");
    let fewer = without("europe-west2");
    let mut diff = Diff::new(&fewer);
    diff.add(&recorded);
    let report = diff.report();
    assert_eq!(report.leaves_jurisdiction, 1, "{report:?}");
}

#[test]
fn a_diff_follows_the_limits() {
    let world = World::new(shipped());
    let strict = changed(
        "routes.yaml",
        "routes:\n",
        "rate_limiting: { per_ip_rate: 1, per_ip_burst: 2 }\nroutes:\n",
    );
    let mut diff = Diff::new(&strict);
    let mut recorded = record(&world, "US", "tier_3_operational");
    recorded.request.as_mut().unwrap().direct = false;
    recorded.client = IpAddr::from([198, 51, 100, 7]);
    for step in 0..10 {
        recorded.at_unix_ms += step;
        diff.add(&recorded);
    }
    assert_eq!(diff.report().newly_limited, 8);
}

#[test]
fn a_line_that_is_no_record_says_so() {
    assert!(Recorded::parse("{}").unwrap_err().contains("missing field"));
    assert!(Recorded::parse(&" ".repeat(RECORD_MAX + 1)).is_err());
    let world = World::new(shipped());
    let line = serde_json::to_string(&record(&world, "DE", "tier_1_pii")).unwrap();
    for end in 0..line.len() {
        assert!(Recorded::parse(&line[..end]).is_err());
    }
    assert!(Removal::Draining.is_seen() && !Removal::Law.is_seen());
}

/// The shipped policies, with tokens as `more` says.
fn with_tokens(more: &str) -> Snapshot {
    let jwks = crate::identity::testkit::set(&[crate::identity::testkit::Signer::rsa().jwk("a")]);
    let text = format!(
        "authentication:\n  providers:\n  - id: corp\n    issuer: https://login.example\n    \
         audiences: [edge]\n    keys: '{jwks}'\n    algorithms: [RS256]\n    {more}\n"
    );
    let mut files = SHIPPED.to_vec();
    files.push(("tokens.yaml", &text));
    try_compile(&files).unwrap_or_else(|faults| panic!("{}", faults.join("\n")))
}

#[test]
fn what_a_token_vouched_for_counts_again_where_its_provider_is_still_believed() {
    let world = World::new(shipped());
    let mut recorded = record(&world, "JP", "tier_2_personal");
    let claims = |recorded: &mut Recorded, consent, token| {
        let request = recorded.request.as_mut().unwrap();
        request.claims.consent = consent;
        request.token = token;
    };
    let corp = RecordedToken::Verified {
        provider: "corp".to_owned(),
    };
    claims(&mut recorded, Some(Vouched::Token), corp.clone());
    let allowed = |snapshot: &Snapshot, recorded: &Recorded| {
        decide_again(snapshot, recorded).map(|decided| (decided.permitted.len(), decided.decision))
    };
    let home = |found: Result<(usize, Decision), Unchecked>| found.unwrap().0;
    let believing = with_tokens("claims: { consent: consent }");
    assert_eq!(home(allowed(&believing, &recorded)), 11);
    // Its consent is no longer read, or tokens are no longer looked at.
    assert_eq!(home(allowed(&with_tokens("claims: {}"), &recorded)), 1);
    assert_eq!(home(allowed(&shipped(), &recorded)), 1);
    // The provider is gone.
    let gone = RecordedToken::Verified {
        provider: "other".to_owned(),
    };
    let unauthorized = Ok((0, Decision::Refuse(RejectReason::Unauthorized)));
    claims(&mut recorded, Some(Vouched::Token), gone);
    assert_eq!(allowed(&believing, &recorded), unauthorized);
    // There was none, nobody looked, or it was no good.
    claims(&mut recorded, None, RecordedToken::Missing);
    assert_eq!(allowed(&believing, &recorded), unauthorized);
    assert_eq!(home(allowed(&shipped(), &recorded)), 1);
    claims(&mut recorded, None, RecordedToken::Unread);
    assert_eq!(allowed(&believing, &recorded), Err(Unchecked::Token));
    assert_eq!(home(allowed(&shipped(), &recorded)), 1);
    claims(&mut recorded, None, RecordedToken::Refused);
    assert_eq!(
        allowed(&believing, &recorded),
        Err(Unchecked::RefusedElsewhere)
    );
}
