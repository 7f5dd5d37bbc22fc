use crate::regions::testkit::{World, compile, try_compile};

const FOUR: &str = "
regions:
  - { id: us-central1, super_region: americas, endpoints: ['http://a'] }
  - { id: us-east1, super_region: americas, endpoints: ['http://b'], prices: { egress_per_gib: 0.5 } }
  - { id: europe-west1, super_region: emea, endpoints: ['http://c'], prices: { egress_per_gib: 0.25 } }
  - { id: asia-southeast1, endpoints: ['http://d'] }
scoring: { weights: { latency: 0, load: 0, compliance: 0, cost: 1 } }
";

fn costs(text: &str) -> Vec<f32> {
    let world = World::new(compile(text));
    let answer = world.ask("DE", "tier_3_operational").unwrap();
    answer
        .terms
        .iter()
        .map(|terms| terms.cost.round())
        .collect()
}

#[test]
fn between_regions_the_closest_statement_is_the_price() {
    let text = format!(
        "{FOUR}egress_prices: {{ elsewhere: 0.10, pairs: {{ us-central1: {{ europe-west1: 0.05 }} }} }}"
    );
    let snapshot = compile(&text);
    let toll = |id: &str| {
        let toll = snapshot.toll(snapshot.region_by_id(id).unwrap());
        (toll.there.unwrap(), toll.back.unwrap())
    };
    assert_eq!(toll("us-central1"), (0.0, 0.0), "the edge's own");
    assert_eq!(toll("us-east1"), (0.01, 0.01));
    assert_eq!(
        toll("europe-west1"),
        (0.05, 0.10),
        "a pair is one direction"
    );
    assert_eq!(toll("asia-southeast1"), (0.10, 0.10));
    assert_eq!(costs(&text), [100.0, 90.0, 0.0, 0.0], "by the way back");
}

#[test]
fn without_the_key_a_region_costs_what_it_takes_for_traffic_out_of_it() {
    assert_eq!(costs(FOUR), [100.0, 0.0, 50.0, 100.0]);
    let snapshot = compile(FOUR);
    let toll = snapshot.toll(snapshot.region_by_id("us-east1").unwrap());
    assert_eq!((toll.there, toll.back), (None, Some(0.5)));
}

#[test]
fn prices_of_unknown_regions_and_below_nothing_are_refused() {
    for (prices, word) in [
        ("{ elsewhere: -1 }", "this is below 0"),
        (
            "{ pairs: { mars: { us-central1: 1 } } }",
            "unknown region `mars`",
        ),
        (
            "{ pairs: { us-central1: { mars: 1 } } }",
            "unknown region `mars`",
        ),
        (
            "{ pairs: { us-central1: { us-east1: -1 } } }",
            "this is below 0",
        ),
        ("{ everywhere: 1 }", "everywhere"),
    ] {
        let text = format!("{FOUR}residency: off\negress_prices: {prices}\n");
        let faults = try_compile(&[("policies.yaml", &text)]).unwrap_err();
        assert!(faults.join("\n").contains(word), "{prices}: {faults:?}");
    }
}
