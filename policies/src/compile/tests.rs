use serde_json::json;

use super::*;
use crate::testing::*;

fn found(text: &str) -> Vec<String> {
    faults(text).iter().map(brief).collect()
}

#[test]
fn the_shipped_set_compiles_without_a_warning() {
    let snapshot = shipped();
    assert!(
        snapshot.warnings().is_empty(),
        "{}",
        listed(snapshot.warnings())
    );
    assert_eq!(snapshot.regions().len(), 11);
    assert_eq!(snapshot.endpoints().len(), 11);
    let echo = head("GET /v3/echo", &[]);
    assert_eq!(
        snapshot.route(&echo).map(|(_, route)| route.id.as_str()),
        Some("api")
    );
}

/// The compiled set, defaults and all. After a wanted change, replace the file
/// by what the failure prints.
#[test]
fn the_shipped_set_means_what_its_golden_says() {
    let mut meaning = shipped().to_redacted_json();
    meaning["digest"] = json!("(of the files)");
    let meaning = serde_json::to_string_pretty(&meaning).unwrap() + "\n";
    let golden = include_str!("../../tests/golden/shipped.json");
    assert!(
        meaning == golden,
        "tests/golden/shipped.json should be:\n{meaning}"
    );
}

#[test]
fn every_top_level_key_is_documented() {
    let docs = include_str!("../../../docs/policies.md");
    for key in merge::KEYS.iter().chain(merge::NOT_YET) {
        assert!(
            docs.contains(&format!("`{key}`")) || docs.contains(&format!("`{key}.")),
            "{key}"
        );
    }
}

#[test]
fn files_merge_by_key_and_a_key_in_two_files_names_both() {
    let sources = [
        source("a.yaml", THREE_REGIONS),
        source("b.yaml", "residency: off\nwaf: { mode: off }\n"),
        source("c.yaml", "# twice\nwaf: { mode: block }\n"),
    ];
    let faults = try_compile(&sources).unwrap_err();
    assert_eq!(
        faults.iter().map(brief).collect::<Vec<_>>(),
        ["c.yaml:2:1 the key `waf` is already in b.yaml:2:1"]
    );
}

#[test]
fn unknown_keys_and_keys_without_effect_are_refused() {
    let faults = faults("wafs: {}\nslo: {}\ncache: {}\ntraffic_policy: { region_weights: [] }\n");
    let shown: Vec<_> = faults
        .iter()
        .map(|f| (f.line, f.message.as_str(), f.help.as_deref().unwrap_or("")))
        .collect();
    assert_eq!(shown[0], (1, "unknown key `wafs`", "did you mean `waf`?"));
    assert_eq!(shown[1].1, "`slo` has no effect in this version");
    assert_eq!(shown[2].1, "`cache` has no effect in this version");
    assert_eq!(shown[3].1, "unknown key `region_weights`");
    assert_eq!(shown.len(), 4);
}

#[test]
fn all_faults_of_a_set_come_at_once_in_order() {
    let sources = [
        source(
            "z.yaml",
            "regions: []\nroutes:\n  - { id: a, path: x }\n  - { id: a, path: /a, regions: [mars] }\n",
        ),
        source(
            "a.yaml",
            "residency: off\nwaf: { mod: off }\naccess: { requests: [deny: { id: x, addresses: [10.0.0.1/8] }] }\n",
        ),
    ];
    let faults = try_compile(&sources).unwrap_err();
    let shown: Vec<_> = faults.iter().map(brief).collect();
    assert_eq!(
        shown,
        [
            "z.yaml:3:20 `x` is not a path pattern",
            "z.yaml:4:11 two routes are called `a`",
            "z.yaml:4:34 unknown region `mars`",
            "a.yaml:2:8 unknown key `mod`",
            "a.yaml:3:49 `10.0.0.1/8` has bits set beyond its prefix",
        ]
    );
    assert!(listed(&faults).contains("did you mean `10.0.0.0/8`?"));
}

#[test]
fn a_key_that_cannot_be_read_gives_no_follow_up_faults() {
    assert_eq!(
        found("jurisdictions: { a: b }\nroutes: [{ id: a, path: /, regions: [mars] }]\n"),
        ["test.yaml:1:16 expected a list, found a mapping"]
    );
    assert_eq!(
        found("routes:\n"),
        ["test.yaml:1:1 the key `routes` has no value"]
    );
    assert_eq!(
        found("- a\n"),
        ["test.yaml:1:1 a policy file is a mapping of keys"]
    );
}

#[test]
fn references_work_in_policy_files() {
    let refs = References {
        env: &|name| (name == "COUNTRY").then(|| "FR".to_owned()),
        file: &|_| Err("no".to_owned()),
    };
    let sources = [
        source("a.yaml", THREE_REGIONS),
        source(
            "b.yaml",
            "residency: off\ngeo: { overrides: [{ cidr: '${NET:-10.0.0.0/8}', country: '${COUNTRY}' }] }\n",
        ),
    ];
    let snapshot = Snapshot::compile(
        &sources,
        &refs,
        &EdgePlace {
            region: "us-central1",
        },
    )
    .unwrap();
    let (net, place) = snapshot.locator_overrides()[0];
    assert_eq!(
        (net.to_string().as_str(), place.country.unwrap().as_str()),
        ("10.0.0.0/8", "FR")
    );
}

#[test]
fn the_digest_depends_on_names_and_texts_but_not_on_order_or_folder() {
    let a = [
        source("x/a.yaml", THREE_REGIONS),
        source("x/b.yaml", "residency: off\n"),
    ];
    let b = [
        source("y/b.yaml", "residency: off\n"),
        source("y/a.yaml", THREE_REGIONS),
    ];
    let c = [
        source("x/a.yaml", THREE_REGIONS),
        source("x/b.yaml", "residency: off # \n"),
    ];
    let [a, b, c] = [compiled(&a), compiled(&b), compiled(&c)].map(|s| s.digest().to_owned());
    assert!(a == b && a != c && a.len() == 64);
}

#[test]
fn overrides_place_networks_for_the_locator() {
    let snapshot = snapshot(
        "geo:
  require_agreement: true
  overrides:
    - { cidr: 127.0.0.0/8, country: DE, city: Berlin, lat: 52.5, lon: 13.4 }
    - { cidr: 192.0.2.7 }
",
    );
    assert_eq!(snapshot.geo_agreement(), meridian_geo::Agreement::Required);
    let [(net, place), (one, nowhere)] = snapshot.locator_overrides() else {
        panic!()
    };
    assert_eq!(
        (net.to_string(), one.to_string()),
        ("127.0.0.0/8".to_owned(), "192.0.2.7/32".to_owned())
    );
    assert_eq!(place.country.unwrap().as_str(), "DE");
    assert_eq!(place.city.as_ref().unwrap().as_str(), "Berlin");
    assert_eq!(place.point.map(|p| (p.lat(), p.lon())), Some((52.5, 13.4)));
    assert_eq!(*nowhere, meridian_geo::Override::default());
    assert_eq!(
        found(
            "geo: { overrides: [
  { cidr: 10.0.0.0/8, country: UK },
  { cidr: 10.0.0.0/8, lat: 1 },
  { cidr: 10.1.0.0/16, lat: 91, lon: 0 },
  { cidr: ten } ] }\n"
        ),
        [
            "test.yaml:2:32 `UK` is not a country",
            "test.yaml:3:11 the network `10.0.0.0/8` is placed twice",
            "test.yaml:3:28 `lat` and `lon` come together",
            "test.yaml:4:29 91, 0 is not a point on Earth",
            "test.yaml:5:11 `ten` is not a network",
        ]
    );
}

#[test]
fn the_waf_is_on_unless_it_is_switched_off() {
    assert_eq!(snapshot("").waf(), &crate::WafPolicy::default());
    let snapshot = snapshot("waf: { mode: detect, disabled_rules: [942100, sqli-1] }\n");
    assert_eq!(snapshot.waf().mode, crate::WafMode::Detect);
    assert_eq!(snapshot.waf().disabled_rules, ["942100", "sqli-1"]);
    assert_eq!(
        found("waf: { mode: loud }\n"),
        ["test.yaml:1:14 `loud` is not known here"]
    );
    assert_eq!(
        found("waf: { disabled_rules: [a, a] }\n"),
        ["test.yaml:1:28 the rule `a` is listed twice"]
    );
}

#[test]
fn mcp_endpoints_take_listed_origins_and_read_ahead_as_told() {
    let snapshot = snapshot(
        "mcp: { allowed_origins: ['https://app.example', 'http://localhost:*'], body_peek: 1KiB }\n",
    );
    assert_eq!(snapshot.mcp().body_peek, 1_024);
    assert!(snapshot.mcp().allows_origin(b"https://app.example"));
    assert!(snapshot.mcp().allows_origin(b"http://localhost:6274"));
    assert!(!snapshot.mcp().allows_origin(b"https://other.example"));
    assert_eq!(
        found(
            "mcp: { allowed_origins: ['https://App.example', 'app.example', 'https://a/b'], body_peek: 2MiB }\n"
        ),
        [
            "test.yaml:1:26 `https://App.example` is not an origin",
            "test.yaml:1:49 `app.example` is not an origin",
            "test.yaml:1:64 `https://a/b` is not an origin",
            "test.yaml:1:91 at most 1MiB of a body can be read ahead",
        ]
    );
}

#[test]
fn secrets_in_access_rules_are_not_shown() {
    let snapshot =
        snapshot("access: { requests: [allow: { id: key, headers: { x-api-key: hunter2 } }] }\n");
    let shown = snapshot.to_redacted_json().to_string();
    assert!(
        shown.contains("x-api-key") && !shown.contains("hunter2"),
        "{shown}"
    );
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn mutant() -> impl Strategy<Value = (usize, String)> {
        (
            0..SHIPPED.len(),
            any::<proptest::sample::Index>(),
            any::<proptest::sample::Index>(),
            "[-:{}\\[\\] \\n#&*a0\"]{0,4}",
        )
            .prop_map(|(file, from, len, insert)| {
                let text: Vec<char> = SHIPPED[file].1.chars().collect();
                let from = from.index(text.len());
                let len = len.index((text.len() - from).clamp(1, 40));
                let (before, after) = (&text[..from], &text[from + len..]);
                (
                    file,
                    before
                        .iter()
                        .chain(&insert.chars().collect::<Vec<_>>())
                        .chain(after)
                        .collect(),
                )
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_damaged_file_is_refused_with_places_or_still_compiles((file, text) in mutant()) {
            let mut sources = shipped_sources();
            sources[file].text = text;
            if let Err(faults) = try_compile(&sources) {
                prop_assert!(!faults.is_empty());
                for fault in faults {
                    prop_assert!(!fault.message.is_empty());
                }
            }
        }
    }
}
