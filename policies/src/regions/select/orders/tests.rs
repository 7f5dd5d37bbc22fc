use proptest::prelude::*;

use crate::regions::testkit::{World, compile, located, order, shipped};
use crate::regions::{Affinity, AffinityOutcome, Removal, endpoint_tag};
use crate::state::{AttemptOutcome, Override, OverrideAction, StateEvent};
use crate::{RegionIndex, Tick};

const THREE: &str = "
regions:
  - { id: us, location: { country: US }, endpoints: ['http://a1', 'http://a2'] }
  - { id: eu, location: { country: BE }, endpoints: ['http://b1', 'http://b2'] }
  - { id: ap, location: { country: SG }, endpoints: ['http://c1', 'http://c2'] }
routes: [{ id: api, path: /v3/* }, { id: other, path: /other/* }]
";

fn three() -> World {
    World::new(compile(THREE))
}

#[test]
fn a_forced_region_serves_everybody_until_the_order_ends() {
    let mut world = three();
    world.order("ap", OverrideAction::Force, 60);
    assert_eq!((world.serves("DE"), world.serves("US")), ("ap", "ap"));
    assert_eq!(world.removal("DE", "eu"), Some(Removal::Forced));
    world.advance(60);
    assert_eq!((world.serves("DE"), world.serves("US")), ("eu", "us"));
}

#[test]
fn what_a_forced_region_cannot_serve_is_not_served() {
    let mut world = three();
    world.order("ap", OverrideAction::Force, 600);
    for nth in 0..2 {
        world.tried.add(world.endpoint("ap", nth));
    }
    assert_eq!(world.serves("DE"), "-");
    world.view.revoke(world.region("ap"), world.now).unwrap();
    assert_eq!(world.serves("DE"), "eu");
}

#[test]
fn a_request_that_may_not_go_to_the_forced_region_is_served_as_ever() {
    let world = World::new(shipped());
    world.order("us-central1", OverrideAction::Force, 60);
    assert_eq!(world.serves_class("DE", "tier_1_pii"), "europe-west1");
    assert_eq!(world.serves_class("CN", "tier_1_pii"), "451");
    assert_eq!(world.serves("DE"), "us-central1");
}

#[test]
fn a_pinned_region_serves_while_it_can_and_hands_on_what_it_cannot() {
    let mut world = three();
    world.order("ap", OverrideAction::Pin, 60);
    assert_eq!(world.serves("DE"), "ap");
    assert_eq!(world.removal("DE", "eu"), Some(Removal::Pinned));
    for nth in 0..2 {
        let endpoint = world.endpoint("ap", nth);
        for _ in 0..60 {
            world.report(endpoint, AttemptOutcome::ServerError(500), 5);
        }
    }
    assert_eq!(world.serves("DE"), "eu", "a failed region is not pinned to");
    world.advance(60);
    assert_eq!(world.serves("DE"), "eu");
}

#[test]
fn a_pin_may_be_for_one_route() {
    let world = three();
    let at = world.region("ap");
    let pin = |route: &str| Override {
        route: Some(route.to_owned()),
        ..order(OverrideAction::Pin, Tick(u64::MAX))
    };
    world.view.order(at, pin("other"));
    assert_eq!(world.serves("DE"), "eu");
    world.view.order(at, pin("api"));
    assert_eq!(world.serves("DE"), "ap");
}

#[test]
fn a_session_stays_when_its_region_is_drained_or_forced_elsewhere_only_by_order() {
    let mut world = three();
    let endpoint = world.endpoint("eu", 1);
    world.pin = Some(Affinity(endpoint_tag(world.snapshot.endpoint(endpoint))));
    let outcome = |world: &World| {
        let answer = world.ask("DE", "tier_3_operational").unwrap();
        answer.choice.unwrap().affinity()
    };
    world.order("ap", OverrideAction::Pin, 60);
    assert_eq!(
        outcome(&world),
        AffinityOutcome::Kept,
        "a pin moves no session"
    );
    world.order("ap", OverrideAction::Force, 60);
    assert_eq!(outcome(&world), AffinityOutcome::YieldedToOperator);
    world.view.revoke(world.region("ap"), world.now);
    world.order("eu", OverrideAction::Drain, 60);
    assert_eq!(outcome(&world), AffinityOutcome::YieldedToHealth);
}

#[test]
fn orders_outlive_reloads_and_say_once_that_they_ended() {
    let mut world = three();
    world.order("ap", OverrideAction::Force, 60);
    world.snapshot = compile(&THREE.replace("- { id: us,", "- { id: mid }\n  - { id: us,"));
    world.view = world.state.reconcile(&world.snapshot, world.now);
    assert_eq!(world.serves("DE"), "ap");
    let found = world.view.orders(&world.snapshot, world.now);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, world.region("ap"));
    assert_eq!(
        (found[0].1.reason.as_str(), found[0].1.set_unix_ms),
        ("a test", 7)
    );
    world.advance(60);
    assert!(world.view.orders(&world.snapshot, world.now).is_empty());
    let ended = |event: &StateEvent| matches!(event, StateEvent::Override(_));
    let count = || {
        let events = world.view.tick(&world.snapshot, world.now);
        events.iter().filter(|event| ended(event)).count()
    };
    assert_eq!((count(), count()), (1, 0));
    assert_eq!(world.serves("DE"), "eu");
}

#[test]
fn a_long_reason_is_cut_at_a_character() {
    let world = three();
    let long = Override {
        reason: "ä".repeat(300),
        ..order(OverrideAction::Drain, Tick(u64::MAX))
    };
    world.view.order(RegionIndex(0), long);
    let found = world.view.order_of(RegionIndex(0), world.now).unwrap();
    assert_eq!(found.reason, "ä".repeat(128));
}

const COUNTRIES: [&str; 8] = ["DE", "GB", "US", "BR", "SG", "JP", "CN", "ZA"];
const CLASSES: [&str; 3] = ["tier_1_pii", "tier_2_personal", "tier_3_operational"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_set_of_orders_lets_a_request_out_of_its_permit(
        orders in proptest::collection::vec((0u16..11, 0usize..3), 0..6),
        country in 0usize..8,
        class in 0usize..3,
        draw: u64,
    ) {
        thread_local! {
            static SHIPPED: std::cell::RefCell<World> = std::cell::RefCell::new(World::new(shipped()));
        }
        SHIPPED.with_borrow_mut(|world| {
            world.draw = draw;
            let (from, class) = (located(COUNTRIES[country]), CLASSES[class]);
            let plain = world.ask_from(from, class);
            let until = Tick(u64::MAX);
            for (region, action) in &orders {
                let order = order(OverrideAction::ALL[*action], until);
                world.view.order(RegionIndex(*region), order);
            }
            let ruled = world.ask_from(from, class);
            for region in 0..11 {
                world.view.revoke(RegionIndex(region), world.now);
            }
            let (Ok(plain), Ok(ruled)) = (&plain, &ruled) else {
                prop_assert_eq!(plain.is_ok(), ruled.is_ok(), "an order changes no law");
                return Ok(());
            };
            let law = |candidate: &crate::regions::Candidate| candidate.removed_by == Some(Removal::Law);
            for (before, after) in plain.candidates.iter().zip(&ruled.candidates) {
                prop_assert_eq!(law(before), law(after));
            }
            if let Ok(choice) = ruled.choice {
                prop_assert!(!law(&plain.candidates[choice.region().index()]));
            }
            Ok(())
        })?;
    }
}
