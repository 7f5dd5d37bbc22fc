use std::time::Duration;

use super::*;
use crate::regions::RegionHealth;
use crate::regions::testkit::{World, compile, drain};
use crate::{EndpointIndex, RegionIndex};

const TWO: &str = "
regions:
  - { id: a, endpoints: ['http://a1', 'http://a2'] }
  - { id: b, endpoints: ['http://b1'] }
";

fn world() -> World {
    World::new(compile(TWO))
}

fn reload(world: &mut World, text: &str) {
    let snapshot = compile(text);
    world.view = world.state.reconcile(&snapshot, world.now);
    world.snapshot = snapshot;
}

#[test]
fn five_failures_in_a_row_eject_and_thirty_seconds_bring_back() {
    let mut world = world();
    let endpoint = world.endpoint("b", 0);
    for _ in 0..4 {
        assert_eq!(
            world.report(endpoint, AttemptOutcome::ServerError(500), 5),
            None
        );
    }
    let until = world.now + Duration::from_secs(30);
    assert_eq!(
        world.report(endpoint, AttemptOutcome::Reset, 0),
        Some(EndpointEvent::Ejected {
            endpoint,
            count: 1,
            until
        })
    );
    world.advance(30);
    let returned = StateEvent::Endpoint(EndpointEvent::Returned { endpoint });
    assert_eq!(world.view.tick(&world.snapshot, world.now), [returned]);
    assert_eq!(world.view.tick(&world.snapshot, world.now), []);
}

#[test]
fn a_success_between_failures_ends_the_row() {
    let world = world();
    let endpoint = world.endpoint("b", 0);
    for _ in 0..20 {
        for _ in 0..4 {
            assert_eq!(world.report(endpoint, AttemptOutcome::TimedOut, 0), None);
        }
        world.report(endpoint, AttemptOutcome::Success, 5);
    }
}

#[test]
fn a_client_that_left_says_nothing_about_the_endpoint() {
    let world = world();
    let endpoint = world.endpoint("b", 0);
    for _ in 0..100 {
        assert_eq!(world.report(endpoint, AttemptOutcome::ClientGone, 0), None);
    }
    let status = world.view.status(&world.snapshot, world.now);
    assert!(status[1].endpoints[0].usable && status[1].error_share.abs() < f32::EPSILON);
}

#[test]
fn at_most_half_of_a_region_is_ejected() {
    let world = world();
    assert!(world.eject(world.endpoint("a", 0)).is_some());
    assert_eq!(
        world.eject(world.endpoint("a", 1)),
        None,
        "one of two is half"
    );
    assert!(
        world.eject(world.endpoint("b", 0)).is_some(),
        "but one always may"
    );
}

#[test]
fn ejections_latencies_and_requests_in_flight_survive_a_reload() {
    let mut world = world();
    let (a1, b1) = (world.endpoint("a", 0), world.endpoint("b", 0));
    world.eject(b1).unwrap();
    world.report(a1, AttemptOutcome::Success, 42);
    world.view.begin(a1, world.now);
    let old = std::mem::replace(
        &mut world.view,
        State::new().reconcile(&world.snapshot, world.now),
    );
    let next = compile(
        "
regions:
  - { id: new, endpoints: ['http://n'] }
  - { id: b, endpoints: ['http://b1'] }
  - { id: a, endpoints: ['http://a3', 'http://a1'] }
",
    );
    world.view = world.state.reconcile(&next, world.now);
    world.snapshot = next;
    let status = world.view.status(&world.snapshot, world.now);
    assert_eq!(
        (
            status[1].endpoints[0].ejections,
            status[1].endpoints[0].usable
        ),
        (1, false)
    );
    assert_eq!(
        (status[2].in_flight, status[2].endpoints[1].in_flight),
        (1, 1)
    );
    assert!((status[2].endpoints[1].latency_ms.unwrap() - 42.0).abs() < 0.001);
    assert_eq!(
        (
            status[0].endpoints[0].in_flight,
            status[2].endpoints[0].in_flight
        ),
        (0, 0)
    );
    old.end(a1);
    let status = world.view.status(&world.snapshot, world.now);
    assert_eq!(
        status[2].in_flight, 0,
        "what began under the old generation ends in the new one"
    );
}

#[test]
fn what_no_generation_names_is_forgotten() {
    let mut world = world();
    world.eject(world.endpoint("b", 0)).unwrap();
    reload(&mut world, "regions: [{ id: a, endpoints: ['http://a1'] }]");
    reload(&mut world, TWO);
    let status = world.view.status(&world.snapshot, world.now);
    assert!(status[1].endpoints[0].usable);
}

#[test]
fn an_index_of_another_snapshot_changes_nothing() {
    let world = world();
    let far = EndpointIndex(99);
    world.view.begin(far, world.now);
    world.view.end(far);
    world.view.order(RegionIndex(99), drain(world.now));
    assert_eq!(world.report(far, AttemptOutcome::Reset, 0), None);
    assert!(!world.view.probe_due(&world.snapshot, far, world.now));
}

#[test]
fn checks_are_due_once_an_interval_for_each_endpoint() {
    let mut world = world();
    let mut due = [0u32; 3];
    for _ in 0..300 {
        for (endpoint, count) in (0u32..).map(EndpointIndex).zip(&mut due) {
            *count += u32::from(world.view.probe_due(&world.snapshot, endpoint, world.now));
        }
        world.advance(1);
    }
    assert!(due.iter().all(|count| (26..=34).contains(count)), "{due:?}");
    reload(&mut world, &format!("{TWO}health_check: off"));
    world.advance(100);
    assert!(
        !world
            .view
            .probe_due(&world.snapshot, EndpointIndex(0), world.now)
    );
}

#[test]
fn a_region_is_announced_once_for_each_change() {
    let mut world = world();
    let b = world.endpoint("b", 0);
    for _ in 0..3 {
        let outcome = ProbeOutcome::Down(ProbeFailure::Timeout);
        world
            .view
            .record_probe(&world.snapshot, b, outcome, world.now);
    }
    let change = |from, to| {
        [StateEvent::Region(RegionEvent {
            region: RegionIndex(1),
            from,
            to,
        })]
    };
    let events = world.view.tick(&world.snapshot, world.now);
    assert_eq!(events, change(RegionHealth::Active, RegionHealth::Failed));
    assert_eq!(world.view.tick(&world.snapshot, world.now), []);
    for _ in 0..2 {
        world.view.record_probe(
            &world.snapshot,
            b,
            ProbeOutcome::Up { load: None },
            world.now,
        );
    }
    world.advance(301);
    let events = world.view.tick(&world.snapshot, world.now);
    assert_eq!(
        events,
        change(RegionHealth::Failed, RegionHealth::Recovering)
    );
    world.advance(61);
    let events = world.view.tick(&world.snapshot, world.now);
    assert_eq!(
        events,
        change(RegionHealth::Recovering, RegionHealth::Active)
    );
}

#[test]
fn many_errors_fail_a_region_even_if_no_endpoint_is_ejected() {
    let world = world();
    let endpoint = world.endpoint("a", 0);
    for round in 0..60 {
        let outcome = if round % 3 == 0 {
            AttemptOutcome::ServerError(503)
        } else {
            AttemptOutcome::Success
        };
        world.report(endpoint, outcome, 5);
    }
    let status = world.view.status(&world.snapshot, world.now);
    assert_eq!(status[0].state, RegionHealth::Failed);
    assert!(status[0].endpoints.iter().all(|endpoint| endpoint.usable));
}

#[test]
fn reported_loads_are_averaged_and_bounded() {
    let world = world();
    for (nth, load) in [(0, Some(0.2)), (1, Some(7.0))] {
        let endpoint = world.endpoint("a", nth);
        world.view.record_probe(
            &world.snapshot,
            endpoint,
            ProbeOutcome::Up { load },
            world.now,
        );
    }
    let status = world.view.status(&world.snapshot, world.now);
    assert!((status[0].load - 0.6).abs() < 0.001);
    let nonsense = ProbeOutcome::Up {
        load: Some(f32::NAN),
    };
    world
        .view
        .record_probe(&world.snapshot, world.endpoint("a", 1), nonsense, world.now);
    let status = world.view.status(&world.snapshot, world.now);
    assert!((status[0].load - 0.2).abs() < 0.001);
}

#[test]
fn a_repeated_ejection_makes_the_region_unhealthy() {
    let mut world = world();
    let endpoint = world.endpoint("b", 0);
    world.eject(endpoint).unwrap();
    assert_eq!(
        world.view.status(&world.snapshot, world.now)[1].state,
        RegionHealth::Active
    );
    world.advance(30);
    world.eject(endpoint).unwrap();
    assert_eq!(
        world.view.status(&world.snapshot, world.now)[1].state,
        RegionHealth::Failed
    );
}

#[test]
fn threads_that_report_together_lose_no_request() {
    let world = world();
    let endpoint = world.endpoint("a", 0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    world.view.begin(endpoint, world.now);
                    world.report(endpoint, AttemptOutcome::ServerError(500), 5);
                    world.view.end(endpoint);
                }
            });
        }
    });
    let status = world.view.status(&world.snapshot, world.now);
    assert_eq!(
        (status[0].in_flight, status[0].endpoints[0].in_flight),
        (0, 0)
    );
    assert_eq!(
        status[0].endpoints[0].ejections, 1,
        "one ejection, however many threads saw it"
    );
}
