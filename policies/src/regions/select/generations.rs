//! A permit, a view and a choice hold in the generation that made them only.

use crate::affinity::SessionKey;
use crate::explain::{Moment, explain};
use crate::regions::choice::{Ask, Choice, NoRegion, Seen, Tried};
use crate::regions::testkit::{World, facts, head, located, shipped};
use crate::regions::{Again, choose_again, select, select_all};
use crate::residency::{Permitted, classify, eligible};
use crate::{RejectReason, Snapshot, View};

/// What a German client's personal data may do by one snapshot, and what
/// comes of it with another snapshot and view.
fn chosen(law: &Snapshot, (snapshot, view): (&Snapshot, &View)) -> Result<Choice, NoRegion> {
    let head = head("GET", "/v3/echo", &[("x-data-class", "tier_1_pii")]);
    let facts = facts(&head, located("DE"));
    let (route, permitted) = permit(law, &facts);
    let ask = Ask {
        facts: &facts,
        permitted: &permitted,
        route,
        tried: &Tried::new(),
        affinity: None,
        session: None,
        version: None,
        now: crate::Tick(1),
        draw: 7,
    };
    let keyed = Ask {
        session: Some(SessionKey(7)),
        ..ask
    };
    let mut candidates = Vec::new();
    let choice = select(snapshot, view, &ask, &mut candidates);
    for ask in [&ask, &keyed] {
        let all = select_all(snapshot, view, ask, &mut candidates);
        assert_eq!(all.is_ok(), choice.is_ok());
        assert_eq!(candidates.is_empty(), choice.is_err(), "nothing is weighed");
    }
    choice
}

fn permit(law: &Snapshot, facts: &crate::Facts<'_>) -> (crate::RouteIndex, Permitted) {
    let (route, of) = law.route(facts.head).unwrap();
    let permitted = eligible(law, of, facts, classify(law, of, facts)).unwrap();
    (route, permitted)
}

#[test]
fn a_permit_of_another_generation_permits_nothing_even_if_the_files_are_the_same() {
    let (old, new) = (World::new(shipped()), World::new(shipped()));
    assert_eq!(old.snapshot.digest(), new.snapshot.digest());
    assert!(chosen(&old.snapshot, (&old.snapshot, &old.view)).is_ok());
    assert!(chosen(&new.snapshot, (&new.snapshot, &new.view)).is_ok());
    for (law, snapshot, view) in [
        (&old.snapshot, &new.snapshot, &new.view),
        (&new.snapshot, &old.snapshot, &old.view),
        (&old.snapshot, &new.snapshot, &old.view),
        (&old.snapshot, &old.snapshot, &new.view),
    ] {
        let refused = chosen(law, (snapshot, view));
        assert_eq!(refused, Err(NoRegion::OtherGeneration));
    }
    let refused = NoRegion::OtherGeneration;
    assert_eq!(refused.reason(), RejectReason::Internal);
    assert_eq!(refused.retry_after(), None);
}

#[test]
fn a_peer_is_made_from_a_choice_of_the_same_generation_only() {
    let (old, new) = (World::new(shipped()), World::new(shipped()));
    let choice = chosen(&old.snapshot, (&old.snapshot, &old.view)).unwrap();
    let peer = old.snapshot.peer(&choice).unwrap();
    assert_eq!(peer.region(), choice.region());
    assert_eq!(
        peer.endpoint().id,
        old.snapshot.endpoint(choice.endpoint()).id
    );
    assert!(new.snapshot.peer(&choice).is_none());
}

#[test]
fn a_replay_takes_no_permit_of_another_generation() {
    let (old, new) = (shipped(), shipped());
    let head = head("GET", "/v3/echo", &[]);
    let facts = facts(&head, located("DE"));
    let (_, permitted) = permit(&old, &facts);
    let again = Again {
        draw: 7,
        session: None,
        pin: None,
        look: &|_| (Seen::IDLE, None),
    };
    let place = (&permitted, &facts.location);
    let mut candidates = Vec::new();
    assert!(choose_again(&old, place, &again, &mut candidates).is_some());
    assert!(choose_again(&new, place, &again, &mut candidates).is_none());
}

#[test]
fn an_explanation_with_another_generations_view_is_a_refusal() {
    let (old, new) = (World::new(shipped()), World::new(shipped()));
    let head = head("GET", "/v3/echo", &[]);
    let facts = facts(&head, located("DE"));
    let told = explain(&old.snapshot, &new.view, &facts, &Moment::default());
    assert_eq!((told.verdict, told.status), ("refuse", Some(500)));
    assert_eq!((told.region, told.retry_after_s), (None, None));
}
