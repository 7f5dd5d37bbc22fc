use std::time::Duration;

use crate::regions::testkit::{World, compile, facts, head, located, located_at, shipped};
use crate::regions::{
    Affinity, AffinityOutcome, Ask, Candidate, NoRegion, Removal, complete, endpoint_tag, select,
};
use crate::residency::{classify, eligible};
use crate::state::{
    AlarmEvent, AttemptOutcome, OverrideAction, ProbeFailure, ProbeOutcome, StateEvent,
};

/// Three regions of two endpoints each and a standby.
const THREE: &str = "
regions:
  - { id: us-central1, location: { country: US, lat: 41.26, lon: -95.86 }, capacity: 100,
      endpoints: ['http://a1', 'http://a2'] }
  - { id: europe-west1, location: { country: BE, lat: 50.45, lon: 3.82 }, capacity: 100,
      endpoints: ['http://b1', 'http://b2'] }
  - { id: asia-southeast1, location: { country: SG, lat: 1.35, lon: 103.70 }, capacity: 100,
      endpoints: ['http://c1', 'http://c2'] }
  - { id: us-east1, location: { country: US, lat: 33.20, lon: -80.01 }, role: standby,
      endpoints: ['http://d1'] }
scoring: { tie_break: { us-central1: 9.35, europe-west1: 9.20, asia-southeast1: 8.35 } }
";

fn three() -> World {
    World::new(compile(THREE))
}

fn down(world: &World, region: &str, nth: usize) {
    let endpoint = world.endpoint(region, nth);
    for _ in 0..3 {
        let outcome = ProbeOutcome::Down(ProbeFailure::Connect);
        world
            .view
            .record_probe(&world.snapshot, endpoint, outcome, world.now);
    }
}

fn up(world: &World, region: &str, nth: usize) {
    let endpoint = world.endpoint(region, nth);
    for _ in 0..2 {
        let outcome = ProbeOutcome::Up { load: None };
        world
            .view
            .record_probe(&world.snapshot, endpoint, outcome, world.now);
    }
}

#[test]
fn clients_go_to_the_region_near_them() {
    let world = World::new(shipped());
    for (country, region) in [
        ("DE", "europe-west1"),
        ("US", "us-central1"),
        ("SG", "asia-southeast1"),
        ("BR", "southamerica-east1"),
        ("JP", "asia-northeast1"),
        ("AU", "australia-southeast1"),
        ("IN", "asia-south1"),
        ("IL", "me-west1"),
        ("", "us-central1"),
    ] {
        assert_eq!(world.serves(country), region, "{country}");
    }
}

#[test]
fn law_comes_before_all_else() {
    let world = World::new(shipped());
    for (country, class, region) in [
        ("DE", "tier_1_pii", "europe-west1"),
        ("IN", "tier_1_pii", "asia-south1"),
        ("CN", "tier_1_pii", "451"),
        ("GB", "tier_1_pii", "europe-west2"),
    ] {
        assert_eq!(
            world.serves_class(country, class),
            region,
            "{country} {class}"
        );
    }
    let german = world.ask("DE", "tier_1_pii").unwrap();
    let allowed: Vec<&str> = german
        .candidates
        .iter()
        .filter(|candidate| candidate.removed_by != Some(Removal::Law))
        .map(|candidate| world.snapshot.region(candidate.region).id.as_str())
        .collect();
    assert_eq!(allowed, ["europe-west1", "europe-west4"]);
}

#[test]
fn a_tie_goes_to_the_decision_matrix_whatever_the_draw() {
    let mut world = World::new(shipped());
    let german = world.ask("DE", "tier_1_pii").unwrap();
    let scores: Vec<f32> = german
        .candidates
        .iter()
        .filter(|c| c.removed_by.is_none())
        .map(|c| c.score)
        .collect();
    assert!(
        scores.len() == 2 && (scores[0] - scores[1]).abs() < 0.001,
        "{scores:?}"
    );
    assert_eq!(world.shares("DE", 200), [("europe-west1".to_owned(), 200)]);
}

#[test]
fn a_tie_that_the_matrix_leaves_open_is_drawn() {
    let place = "location: { country: DE }";
    let mut world = World::new(compile(&format!(
        "regions: [{{ id: a, {place}, endpoints: ['http://a'] }}, {{ id: b, {place}, endpoints: ['http://b'] }}]"
    )));
    let shares = world.shares("DE", 1_000);
    assert!(
        shares.len() == 2 && shares.iter().all(|(_, count)| (400..600).contains(count)),
        "{shares:?}"
    );
}

#[test]
fn the_terms_are_those_of_the_seed() {
    let world = three();
    let answer = world.ask("DE", "tier_3_operational").unwrap();
    let terms = answer.terms[1];
    assert!((terms.latency - 100.0).abs() < 0.001 && (terms.load - 100.0).abs() < 0.001);
    assert!(
        (terms.compliance - 100.0).abs() < 0.001,
        "residency is off: every region is own"
    );
    assert!((answer.candidates[1].score - 100.0).abs() < 0.001);
    assert!(
        (answer.terms[0].latency - 50.0).abs() < 0.001,
        "7,500 km are 103 ms"
    );
}

#[test]
fn standing_makes_the_compliance_term() {
    let world = World::new(shipped());
    let terms = |country: &str, class: &str, region: &str| {
        let answer = world.ask(country, class).unwrap();
        answer.terms[world.region(region).index()].compliance
    };
    assert!((terms("DE", "tier_2_personal", "europe-west1") - 100.0).abs() < 0.001);
    assert!((terms("DE", "tier_2_personal", "europe-west2") - 70.0).abs() < 0.001);
    assert!((terms("BR", "tier_2_personal", "us-central1") - 40.0).abs() < 0.001);
}

#[test]
fn load_moves_traffic_before_a_region_is_full() {
    let world = three();
    for _ in 0..79 {
        world
            .view
            .begin(world.endpoint("europe-west1", 0), world.now);
    }
    let answer = world.ask("DE", "tier_3_operational").unwrap();
    assert!((answer.terms[1].load - 21.0).abs() < 0.01);
    // 100 x 0.5 + 21 x 0.3 + 20 is more than 50 x 0.5 + 30 + 20.
    assert_eq!(world.serves("DE"), "europe-west1");
    for _ in 0..21 {
        world
            .view
            .begin(world.endpoint("europe-west1", 0), world.now);
    }
    assert_eq!(world.removal("DE", "europe-west1"), Some(Removal::Full));
    assert_eq!(world.serves("DE"), "us-central1");
}

#[test]
fn spill_grows_with_the_load_and_never_refuses() {
    let by_latency = "scoring: { weights: { latency: 1, load: 0, compliance: 0 },";
    let mut world = World::new(compile(&THREE.replace("scoring: {", by_latency)));
    for _ in 0..90 {
        world
            .view
            .begin(world.endpoint("europe-west1", 0), world.now);
    }
    let shares = world.shares("DE", 1_000);
    let home = shares
        .iter()
        .find(|(region, _)| region == "europe-west1")
        .map_or(0, |(_, n)| *n);
    assert!(
        (400..600).contains(&home),
        "half of the way from 0.8 to 1: {shares:?}"
    );
    for region in ["us-central1", "europe-west1", "asia-southeast1"] {
        for _ in 0..100 {
            world.view.begin(world.endpoint(region, 0), world.now);
        }
    }
    assert_eq!(
        world.serves("DE"),
        "us-east1",
        "the standby helps before full regions are pushed"
    );
}

#[test]
fn weights_hold_traffic_back_by_draw() {
    let mut world = World::new(compile(
        "regions:
  - { id: us-central1, location: { country: US }, endpoints: ['http://a'] }
  - { id: europe-west1, location: { country: BE }, weight: 10, endpoints: ['http://b'] }",
    ));
    let shares = world.shares("DE", 2_000);
    let canary = shares
        .iter()
        .find(|(region, _)| region == "europe-west1")
        .map_or(0, |(_, n)| *n);
    assert!((150..250).contains(&canary), "10 %: {shares:?}");
}

#[test]
fn a_standby_serves_only_when_no_active_region_can() {
    let mut world = three();
    assert_eq!(world.removal("US", "us-east1"), Some(Removal::Standby));
    for region in ["us-central1", "europe-west1", "asia-southeast1"] {
        down(&world, region, 0);
        down(&world, region, 1);
    }
    assert_eq!(world.serves("US"), "us-east1");
    assert_eq!(world.removal("US", "us-east1"), None);
    up(&world, "europe-west1", 0);
    up(&world, "europe-west1", 1);
    world.advance(1);
    world.view.tick(&world.snapshot, world.now);
    assert_eq!(
        world.serves("US"),
        "us-east1",
        "a failed region waits for the failback delay"
    );
    world.advance(301);
    world.view.tick(&world.snapshot, world.now);
    world.advance(61);
    world.view.tick(&world.snapshot, world.now);
    assert_eq!(world.serves("US"), "europe-west1");
}

#[test]
fn a_failed_region_still_serves_what_no_other_may() {
    let world = World::new(compile(&THREE.replace("role: standby,", "")));
    for region in ["us-central1", "europe-west1", "asia-southeast1", "us-east1"] {
        down(&world, region, 0);
    }
    assert_eq!(
        world.removal("DE", "europe-west1"),
        None,
        "half of the endpoints still answer"
    );
    assert_eq!(world.serves("DE"), "europe-west1");
}

#[test]
fn failback_needs_no_tick_to_be_seen() {
    let mut world = three();
    down(&world, "europe-west1", 0);
    down(&world, "europe-west1", 1);
    assert_eq!(world.serves("DE"), "us-central1");
    up(&world, "europe-west1", 0);
    up(&world, "europe-west1", 1);
    world.advance(299);
    assert_eq!(world.serves("DE"), "us-central1");
    assert_eq!(world.removal("DE", "europe-west1"), Some(Removal::Failed));
    world.advance(1);
    let share = |shares: Vec<(String, u64)>| {
        shares
            .into_iter()
            .find(|(region, _)| region == "europe-west1")
            .map_or(0, |(_, n)| n)
    };
    let begin = share(world.shares("DE", 1_000));
    assert!(
        (50..160).contains(&begin),
        "the ramp begins at a tenth: {begin}"
    );
    world.advance(30);
    let half = share(world.shares("DE", 1_000));
    assert!((430..570).contains(&half), "{half}");
    world.advance(31);
    assert_eq!(share(world.shares("DE", 1_000)), 1_000);
}

#[test]
fn everything_down_is_a_503_with_a_time_to_come_back() {
    let mut world = three();
    for (region, count) in [
        ("us-central1", 2),
        ("europe-west1", 2),
        ("asia-southeast1", 2),
        ("us-east1", 1),
    ] {
        for nth in 0..count {
            down(&world, region, nth);
        }
    }
    let answer = world.ask("DE", "tier_3_operational").unwrap();
    let twenty = Duration::from_secs(20);
    assert_eq!(
        answer.choice,
        Err(NoRegion::AllDown {
            retry_after: twenty
        }),
        "two checks of 10 s"
    );
    assert!(
        answer
            .candidates
            .iter()
            .all(|c| c.removed_by == Some(Removal::Unhealthy))
    );
    world.advance(1);
    up(&world, "us-east1", 0);
    assert_eq!(world.serves("DE"), "us-east1");
}

#[test]
fn an_ejection_tells_when_it_ends() {
    let mut world = World::new(compile("regions: [{ id: a, endpoints: ['http://a'] }]"));
    world.eject(world.endpoint("a", 0)).unwrap();
    world.advance(10);
    let answer = world.ask("DE", "tier_3_operational").unwrap();
    assert_eq!(
        answer.choice,
        Err(NoRegion::AllDown {
            retry_after: Duration::from_secs(20)
        })
    );
    assert_eq!(answer.candidates[0].removed_by, Some(Removal::Ejected));
    world.advance(20);
    assert_eq!(
        world.serves("DE"),
        "a",
        "one ejection is no failure of the region"
    );
}

#[test]
fn a_drained_region_gets_nothing_until_the_drain_ends() {
    let mut world = three();
    world.order("europe-west1", OverrideAction::Drain, 60);
    assert_eq!(world.removal("DE", "europe-west1"), Some(Removal::Draining));
    assert_eq!(world.serves("DE"), "us-central1");
    world.advance(60);
    assert_eq!(world.serves("DE"), "europe-west1");
}

#[test]
fn an_unusable_endpoint_is_never_chosen_beside_a_usable_one() {
    let mut world = three();
    world.eject(world.endpoint("europe-west1", 0)).unwrap();
    for draw in 0..500 {
        world.draw = draw;
        let choice = world
            .ask("DE", "tier_3_operational")
            .unwrap()
            .choice
            .unwrap();
        assert_eq!(choice.endpoint(), world.endpoint("europe-west1", 1));
    }
}

#[test]
fn a_retry_goes_to_an_endpoint_that_was_not_tried() {
    let mut world = three();
    for nth in 0..2 {
        world.tried.add(world.endpoint("europe-west1", nth));
    }
    assert_eq!(world.removal("DE", "europe-west1"), Some(Removal::Tried));
    assert_eq!(world.serves("DE"), "us-central1");
    for endpoint in (0u32..7).map(crate::EndpointIndex) {
        world.tried.add(endpoint);
    }
    let answer = world.ask("DE", "tier_3_operational").unwrap();
    assert!(matches!(answer.choice, Err(NoRegion::Exhausted { .. })));
}

#[test]
fn the_less_busy_and_faster_of_two_endpoints_is_taken() {
    let mut world = three();
    for (nth, ms) in [(0, 100), (1, 10)] {
        world.report(
            world.endpoint("europe-west1", nth),
            AttemptOutcome::Success,
            ms,
        );
    }
    for draw in 0..200 {
        world.draw = draw;
        let choice = world
            .ask("DE", "tier_3_operational")
            .unwrap()
            .choice
            .unwrap();
        assert_eq!(choice.endpoint(), world.endpoint("europe-west1", 1));
    }
    for _ in 0..10 {
        world
            .view
            .begin(world.endpoint("europe-west1", 1), world.now);
    }
    let choice = world
        .ask("DE", "tier_3_operational")
        .unwrap()
        .choice
        .unwrap();
    assert_eq!(
        choice.endpoint(),
        world.endpoint("europe-west1", 0),
        "11 x 10 ms is over 100 ms"
    );
}

#[test]
fn panic_uses_bad_endpoints_of_a_permitted_region_only() {
    let mut world = World::new(compile(&format!(
        "{THREE}outlier_detection: {{ panic_threshold: 50 }}"
    )));
    down(&world, "europe-west1", 0);
    let mut seen = std::collections::BTreeSet::new();
    for draw in 0..200 {
        world.draw = draw;
        for region in ["us-central1", "asia-southeast1", "us-east1"] {
            world.order(region, OverrideAction::Drain, 1);
        }
        seen.insert(
            world
                .ask("DE", "tier_3_operational")
                .unwrap()
                .choice
                .unwrap()
                .endpoint(),
        );
    }
    assert_eq!(
        seen.len(),
        2,
        "both endpoints of the region, and no other region's"
    );
}

#[test]
fn a_session_stays_with_its_endpoint() {
    let mut world = three();
    let pinned = world.endpoint("asia-southeast1", 1);
    world.pin = Some(Affinity(endpoint_tag(world.snapshot.endpoint(pinned))));
    for draw in 0..100 {
        world.draw = draw;
        let choice = world
            .ask("DE", "tier_3_operational")
            .unwrap()
            .choice
            .unwrap();
        assert_eq!(
            (choice.endpoint(), choice.affinity()),
            (pinned, AffinityOutcome::Kept)
        );
    }
    world.eject(pinned).unwrap();
    let choice = world
        .ask("DE", "tier_3_operational")
        .unwrap()
        .choice
        .unwrap();
    assert_eq!(choice.affinity(), AffinityOutcome::YieldedToHealth);
    assert_eq!(choice.region(), world.region("europe-west1"));
    world.pin = Some(Affinity(7));
    let choice = world
        .ask("DE", "tier_3_operational")
        .unwrap()
        .choice
        .unwrap();
    assert_eq!(choice.affinity(), AffinityOutcome::Gone);
}

#[test]
fn a_session_yields_to_the_law() {
    let mut world = World::new(shipped());
    let pinned = world.endpoint("us-central1", 0);
    world.pin = Some(Affinity(endpoint_tag(world.snapshot.endpoint(pinned))));
    let choice = world
        .ask("DE", "tier_3_operational")
        .unwrap()
        .choice
        .unwrap();
    assert_eq!(choice.affinity(), AffinityOutcome::Kept);
    let choice = world.ask("DE", "tier_1_pii").unwrap().choice.unwrap();
    assert_eq!(choice.affinity(), AffinityOutcome::YieldedToLaw);
    assert_eq!(choice.region(), world.region("europe-west1"));
}

#[test]
fn what_this_edge_measures_corrects_the_matrix() {
    let mut world = World::new(shipped());
    assert_eq!(world.serves("DE"), "europe-west1");
    // The edge's own way to Belgium is 120 ms by the matrix; now 400.
    for _ in 0..3 {
        for _ in 0..30 {
            let endpoint = world.endpoint("europe-west1", 0);
            world.report(endpoint, AttemptOutcome::Success, 400);
        }
        world.advance(10);
    }
    let answer = world.ask("DE", "tier_3_operational").unwrap();
    let belgium = answer.terms[world.region("europe-west1").index()];
    assert!((belgium.latency - 20.0).abs() < 0.001, "{belgium:?}");
    assert_eq!(world.serves("DE"), "europe-west4");
}

#[test]
fn backends_next_to_the_edge_do_not_move_the_world() {
    let mut world = World::new(shipped());
    for _ in 0..3 {
        for region in ["us-central1", "europe-west1", "asia-southeast1"] {
            for _ in 0..30 {
                world.report(world.endpoint(region, 0), AttemptOutcome::Success, 1);
            }
        }
        world.advance(10);
    }
    assert_eq!(world.serves("DE"), "europe-west1");
    assert_eq!(world.serves("US"), "us-central1");
    assert_eq!(world.serves("SG"), "asia-southeast1");
}

#[test]
fn a_route_keeps_its_requests_in_its_regions() {
    let text = format!(
        "{THREE}routes: [{{ id: all, path: /*, regions: [us-central1, asia-southeast1] }}]"
    );
    let world = World::new(compile(&text));
    assert_eq!(
        world.removal("DE", "europe-west1"),
        Some(Removal::RouteConstraint)
    );
    assert_eq!(world.serves("DE"), "us-central1");
}

#[test]
fn a_city_decides_where_a_country_is_wide() {
    let world = World::new(compile(&THREE.replace("role: standby,", "")));
    let place = |lat, lon| {
        let answer = world
            .ask_from(located_at("US", lat, lon), "tier_3_operational")
            .unwrap();
        let choice = answer.choice.unwrap();
        world.snapshot.region(choice.region()).id.clone()
    };
    assert_eq!(place(41.9, -93.6), "us-central1", "Des Moines");
    assert_eq!(place(25.8, -80.2), "us-east1", "Miami");
}

#[test]
fn the_same_question_has_the_same_answer() {
    let mut world = World::new(shipped());
    world.eject(world.endpoint("europe-west4", 0)).unwrap();
    for draw in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
        world.draw = draw;
        for country in ["DE", "US", "BR", ""] {
            let first = world.ask(country, "tier_3_operational").unwrap();
            for _ in 0..5 {
                assert_eq!(world.ask(country, "tier_3_operational").unwrap(), first);
            }
        }
    }
}

#[test]
fn every_region_is_in_the_receipt_in_order() {
    let world = World::new(shipped());
    for class in ["tier_1_pii", "tier_3_operational"] {
        let answer = world.ask("DE", class).unwrap();
        let indices: Vec<usize> = answer.candidates.iter().map(|c| c.region.index()).collect();
        assert_eq!(indices, (0..11).collect::<Vec<_>>());
    }
}

#[test]
fn two_failed_regions_are_told_of_and_the_rest_holds_still() {
    let mut world = three();
    let alarms = |world: &World| {
        let events = world.view.tick(&world.snapshot, world.now);
        let alarms = events.into_iter().filter_map(|event| match event {
            StateEvent::Alarm(alarm) => Some(alarm),
            StateEvent::Endpoint(_) | StateEvent::Region(_) | StateEvent::Override(_) => None,
        });
        alarms.collect::<Vec<_>>()
    };
    let fail = |world: &World, region: &str| {
        (0..2).for_each(|nth| down(world, region, nth));
    };
    // Degraded: it would shed what its healthy half cannot carry.
    let errors = |world: &World| {
        let endpoint = world.endpoint("europe-west1", 0);
        for nth in 0..100 {
            let outcome = if nth % 8 == 0 {
                AttemptOutcome::ServerError(500)
            } else {
                AttemptOutcome::Success
            };
            world.report(endpoint, outcome, 5);
        }
    };
    world.advance(20);
    errors(&world);
    assert!(world.shares("DE", 300).len() > 1, "a degraded region sheds");
    fail(&world, "us-central1");
    assert_eq!(alarms(&world), []);
    fail(&world, "asia-southeast1");
    assert_eq!(alarms(&world), [AlarmEvent::Raised { failed: 2 }]);
    assert_eq!(alarms(&world), [], "once");
    assert_eq!(world.shares("DE", 300), [("europe-west1".to_owned(), 300)]);
    assert_eq!(
        world.serves("US"),
        "europe-west1",
        "a failed region is the last resort"
    );
    for region in ["us-central1", "asia-southeast1"] {
        for nth in 0..2 {
            let endpoint = world.endpoint(region, nth);
            for _ in 0..2 {
                let up = ProbeOutcome::Up { load: None };
                world
                    .view
                    .record_probe(&world.snapshot, endpoint, up, world.now);
            }
        }
    }
    world.view.tick(&world.snapshot, world.now);
    world.advance(301);
    assert_eq!(alarms(&world), [AlarmEvent::Ended]);
}

#[test]
fn a_full_region_serves_only_what_no_region_with_headroom_can() {
    let mut world = three();
    let fill = |world: &World, region: &str, count: u32| {
        for _ in 0..count {
            world.view.begin(world.endpoint(region, 0), world.now);
        }
    };
    fill(&world, "europe-west1", 100);
    fill(&world, "us-central1", 95);
    fill(&world, "asia-southeast1", 95);
    world.order("us-east1", OverrideAction::Drain, 60);
    for draw in 0..300 {
        world.draw = draw;
        assert_ne!(world.serves("DE"), "europe-west1");
        let removal = world.removal("DE", "europe-west1");
        assert_eq!(removal, Some(Removal::Full));
    }
}

#[test]
fn far_regions_are_not_looked_at_while_a_near_one_is_better_than_any_could_be() {
    let world = World::new(shipped());
    let looked_at = |country: &str| {
        let head = head("GET", "/v3/echo", &[]);
        let facts = facts(&head, located(country));
        let (route, compiled) = world.snapshot.route(&head).unwrap();
        let classified = classify(&world.snapshot, compiled, &facts);
        let permitted = eligible(&world.snapshot, compiled, &facts, classified).unwrap();
        let ask = Ask {
            facts: &facts,
            permitted: &permitted,
            route,
            tried: &world.tried,
            affinity: None,
            session: None,
            version: None,
            now: world.now,
            draw: 1,
        };
        let mut candidates = Vec::new();
        select(&world.snapshot, &world.view, &ask, &mut candidates).unwrap();
        let all = complete(&world.snapshot, (&permitted, &facts.location), &candidates);
        assert_eq!(all.len(), 11, "the receipt names them all the same");
        let outscored = |of: &&Candidate| of.removed_by == Some(Removal::Outscored);
        assert_eq!(all.iter().filter(outscored).count(), 11 - candidates.len());
        candidates.len()
    };
    assert!(looked_at("DE") < 5, "{}", looked_at("DE"));
    // A measurement far below the matrix may hide anywhere.
    let far = world.endpoint("asia-northeast1", 0);
    let mut now = world.now;
    for _ in 0..2 {
        for _ in 0..20 {
            world
                .view
                .record_round_trip(far, Duration::from_millis(1), now);
        }
        now = now + Duration::from_secs(10);
    }
    assert!(looked_at("DE") >= 9, "{}", looked_at("DE"));
}

#[test]
fn brackets_that_reward_distance_are_obeyed() {
    let text = THREE.replace(
        "scoring: {",
        "scoring: { weights: { latency: 1, load: 0, compliance: 0 }, beyond: 100, \
         latency_brackets: [{ below_ms: 120, score: 10 }],",
    );
    assert_eq!(World::new(compile(&text)).serves("DE"), "asia-southeast1");
}
