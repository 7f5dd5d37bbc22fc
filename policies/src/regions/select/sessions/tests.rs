use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;

use crate::affinity::SessionKey;
use crate::regions::testkit::{SHIPPED, World, compile, drain, shipped, try_compile};
use crate::regions::{AffinityOutcome, VersionIndex};
use crate::state::{AttemptOutcome, OverrideAction};
use crate::{EndpointIndex, RegionIndex, state::mix};

/// Regions that are equally good for everybody, of two endpoints each.
fn alike(regions: usize) -> World {
    let mut text = String::from("session_affinity: { type: client_ip, spread: 100 }\nregions:\n");
    for at in 0..regions {
        let _ = writeln!(
            text,
            "  - {{ id: r{at}, endpoints: ['http://r{at}a', 'http://r{at}b'], capacity: 100 }}"
        );
    }
    World::new(compile(&text))
}

const SESSIONS: u64 = 4_000;

fn homes(world: &mut World) -> Vec<String> {
    let one = |session| {
        world.session = Some(SessionKey(mix(session, 3)));
        let choice = world
            .ask("DE", "tier_3_operational")
            .unwrap()
            .choice
            .unwrap();
        world.snapshot.endpoint(choice.endpoint()).id.clone()
    };
    (0..SESSIONS).map(one).collect()
}

fn moved(before: &[String], after: &[String]) -> usize {
    before.iter().zip(after).filter(|(a, b)| a != b).count()
}

#[test]
fn a_session_stays_whatever_the_draw_and_the_load() {
    let mut world = alike(5);
    let before = homes(&mut world);
    for _ in 0..40 {
        world.view.begin(EndpointIndex(0), world.now);
    }
    world.draw = 99;
    assert_eq!(moved(&before, &homes(&mut world)), 0);
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for id in &before {
        *counts.entry(id).or_default() += 1;
    }
    assert_eq!(counts.len(), 10);
    assert!(
        counts.values().all(|count| (300..500).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn a_sixth_region_takes_a_sixth_and_moves_nobody_else() {
    let (mut five, mut six) = (alike(5), alike(6));
    let (before, after) = (homes(&mut five), homes(&mut six));
    let moved = before.iter().zip(&after).filter(|(a, b)| a != b);
    let mut count = 0;
    for (_, to) in moved {
        assert!(to.starts_with("r5/"), "{to}");
        count += 1;
    }
    assert!((570..770).contains(&count), "{count} of 4000");
}

#[test]
fn sessions_of_a_lost_region_spread_and_come_home() {
    let mut world = alike(5);
    let before = homes(&mut world);
    world.order("r2", OverrideAction::Drain, 60);
    let during = homes(&mut world);
    for (from, to) in before.iter().zip(&during) {
        assert!(!to.starts_with("r2/"));
        assert!(from == to || from.starts_with("r2/"), "{from} to {to}");
    }
    world.session = (0..SESSIONS)
        .map(|session| SessionKey(mix(session, 3)))
        .zip(&before)
        .find_map(|(key, home)| home.starts_with("r2/").then_some(key));
    let answer = world.ask("DE", "tier_3_operational").unwrap();
    let outcome = answer.choice.unwrap().affinity();
    assert_eq!(outcome, AffinityOutcome::YieldedToHealth);
    world.order("r2", OverrideAction::Force, 60);
    let answer = world.ask("DE", "tier_3_operational").unwrap();
    assert_eq!(answer.choice.unwrap().affinity(), AffinityOutcome::Kept);
    world.advance(60);
    assert_eq!(moved(&before, &homes(&mut world)), 0);
}

#[test]
fn a_full_region_hands_on_some_sessions_and_says_so() {
    let mut world = alike(3);
    let before = homes(&mut world);
    for _ in 0..95 {
        world.view.begin(world.endpoint("r1", 0), world.now);
    }
    let mut yielded = 0;
    for (session, home) in (0..SESSIONS).zip(&before) {
        world.session = Some(SessionKey(mix(session, 3)));
        let choice = world
            .ask("DE", "tier_3_operational")
            .unwrap()
            .choice
            .unwrap();
        if choice.affinity() == AffinityOutcome::YieldedToLoad {
            assert!(home.starts_with("r1/"));
            yielded += 1;
        }
    }
    assert!(
        (900..1_100).contains(&yielded),
        "three quarters of a third: {yielded}"
    );
}

#[test]
fn an_ejected_endpoint_moves_only_its_own_sessions_within_the_region() {
    let mut world = alike(2);
    let before = homes(&mut world);
    for _ in 0..5 {
        world.report(world.endpoint("r0", 1), AttemptOutcome::ConnectFailed, 0);
    }
    for (from, to) in before.iter().zip(&homes(&mut world)) {
        assert!(to != "r0/http://r0b:80");
        assert!(
            from == to || (from.starts_with("r0/") && to.starts_with("r0/")),
            "{from} {to}"
        );
    }
}

#[test]
fn sessions_stay_within_the_law_and_near_their_client() {
    let mut files = SHIPPED.to_vec();
    files.push(("sessions.yaml", "session_affinity: { type: client_ip }"));
    let mut world = World::new(try_compile(&files).unwrap());
    for session in 0..200 {
        world.session = Some(SessionKey(mix(session, 3)));
        let served = world.serves_class("DE", "tier_1_pii");
        assert!(served.starts_with("europe-west1") || served.starts_with("europe-west4"));
        assert!(
            world.serves("DE").starts_with("europe-"),
            "no German goes to Tokyo"
        );
    }
    let mut wide = World::new(shipped());
    wide.session = Some(SessionKey(1));
    assert_eq!(wide.serves_class("CN", "tier_1_pii"), "451");
}

const VERSIONS: &str = "
regions:
  - id: a
    endpoints: [{ url: 'http://a1', version: v1 }, { url: 'http://a2', version: v2 }, 'http://a3']
  - { id: b, role: standby, endpoints: ['http://b1'] }
traffic_policy:
  version_routing: [{ version: v1, weight: 90 }, { version: v2, weight: 10 }]
  version_header: x-version
";

fn version_of(world: &World) -> String {
    let choice = world
        .ask("DE", "tier_3_operational")
        .unwrap()
        .choice
        .unwrap();
    let endpoint = world.snapshot.endpoint(choice.endpoint());
    endpoint
        .version
        .clone()
        .unwrap_or_else(|| endpoint.id.clone())
}

#[test]
fn versions_share_the_requests_of_a_region_by_their_weights() {
    let mut world = World::new(compile(VERSIONS));
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for draw in 0..5_000 {
        world.draw = draw;
        *counts.entry(version_of(&world)).or_default() += 1;
    }
    assert_eq!(
        counts.len(),
        2,
        "what has no version waits for need: {counts:?}"
    );
    assert!((430..570).contains(&counts["v2"]), "{counts:?}");
}

#[test]
fn a_session_keeps_its_version() {
    let mut world = World::new(compile(VERSIONS));
    let mut of_v2 = 0;
    for session in 0..1_000 {
        world.session = Some(SessionKey(mix(session, 3)));
        let first = version_of(&world);
        for draw in 0..5 {
            world.draw = draw;
            assert_eq!(version_of(&world), first);
        }
        of_v2 += u32::from(first == "v2");
    }
    assert!((60..140).contains(&of_v2), "{of_v2}");
}

#[test]
fn a_tester_gets_the_version_that_was_asked_for_while_it_can_serve() {
    let mut world = World::new(compile(VERSIONS));
    world.version = Some(VersionIndex(1));
    for draw in 0..50 {
        world.draw = draw;
        assert_eq!(version_of(&world), "v2");
    }
    for _ in 0..5 {
        world.report(world.endpoint("a", 1), AttemptOutcome::ConnectFailed, 0);
    }
    assert_eq!(version_of(&world), "v1");
    world.tried.add(world.endpoint("a", 0));
    assert_eq!(
        version_of(&world),
        "a/http://a3:80",
        "then whatever is left"
    );
}

#[test]
fn version_lists_with_faults_are_refused_and_idle_ones_warned_about() {
    let base =
        "regions: [{ id: a, endpoints: [{ url: 'http://a', version: v1 }] }]\nresidency: off\n";
    let faults = |traffic: &str| {
        let text = format!("{base}traffic_policy: {{ {traffic} }}\n");
        match try_compile(&[("policies.yaml", &text)]) {
            Ok(snapshot) => snapshot
                .warnings()
                .iter()
                .map(ToString::to_string)
                .collect(),
            Err(faults) => faults.join("\n"),
        }
    };
    for (traffic, word) in [
        (
            "version_routing: [{ version: v1, weight: 0 }]",
            "no version has a weight",
        ),
        (
            "version_routing: [{ version: v1, weight: 1 }, { version: v1, weight: 2 }]",
            "twice",
        ),
        (
            "version_routing: [{ version: 'v 1', weight: 1 }]",
            "this is no version",
        ),
        ("version_header: x-version", "no effect without"),
        (
            "version_routing: [{ version: v1, weight: 1 }], version_testers: { token: {} }",
            "testers have no way to ask",
        ),
        (
            "version_routing: [{ version: v1, weight: 1 }], version_header: x-v, version_testers: {}",
            "nobody is a tester",
        ),
        (
            "version_routing: [{ version: v1, weight: 1 }], version_header: ''",
            "no name",
        ),
        (
            "version_routing: [{ version: v9, weight: 1 }]",
            "no endpoint runs `v9`",
        ),
    ] {
        let said: String = faults(traffic);
        assert!(said.contains(word), "{traffic}: {said}");
    }
}

/// The shipped regions and sixty more, over the whole globe.
fn many(spread: u32) -> World {
    let more = (0..60).fold(String::new(), |mut text, at: i32| {
        let (lat, lon) = (at * 7 % 120 - 60, at * 37 % 360 - 180);
        let _ = writeln!(
            text,
            "  - {{ id: extra-{at}, location: {{ country: DE, lat: {lat}, lon: {lon} }}, \
             capacity: 100, endpoints: ['http://extra-{at}'] }}"
        );
        text
    });
    let affinity = format!("session_affinity: {{ type: client_ip, spread: {spread} }}\n");
    let mut files: Vec<(&str, String)> = SHIPPED
        .iter()
        .map(|(path, text)| (*path, (*text).to_owned()))
        .collect();
    files[0].1.push_str(&more);
    files.push(("affinity.yaml", affinity));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, &**text)).collect();
    World::new(try_compile(&files).unwrap_or_else(|faults| panic!("{}", faults.join("\n"))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `World::ask` compares the choice with that of all regions weighed.
    #[test]
    fn a_session_is_where_it_would_be_were_every_region_weighed(
        spread in prop::sample::select(vec![0u32, 2, 10, 100]),
        key: u64,
        country in prop::sample::select(vec!["DE", "US", "JP", "BR", "ZA", "unknown"]),
        flights in prop::collection::vec((0u32..71, 1u32..120), 0..12),
        ejected in prop::collection::vec(0u32..71, 0..12),
        drained in prop::collection::vec(0u16..71, 0..3),
        measured in prop::collection::vec((0u32..71, 1u64..400), 0..6),
    ) {
        let mut world = many(spread);
        for (endpoint, count) in flights {
            for _ in 0..count {
                world.view.begin(EndpointIndex(endpoint), world.now);
            }
        }
        for endpoint in ejected {
            world.eject(EndpointIndex(endpoint));
        }
        for region in drained {
            let until = world.now + std::time::Duration::from_mins(1);
            world.view.order(RegionIndex(region), drain(until));
        }
        for (endpoint, ms) in measured {
            let took = std::time::Duration::from_millis(ms);
            for _ in 0..20 {
                world.view.record_round_trip(EndpointIndex(endpoint), took, world.now);
            }
        }
        for nth in 0..8 {
            world.session = Some(SessionKey(mix(key, nth)));
            world.ask(country, "tier_3_operational").unwrap();
        }
    }
}

#[test]
fn far_regions_are_not_looked_at_for_a_session_either() {
    let mut world = many(2);
    world.session = Some(SessionKey(1));
    let answer = world.ask("DE", "tier_3_operational").unwrap();
    assert_eq!(answer.candidates.len(), 71, "of all");
    assert!(answer.looked_at < 12, "{}", answer.looked_at);
}
