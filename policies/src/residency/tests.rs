use meridian_wire::RequestHead;

use super::*;
use crate::testing::{brief, facts, faults, head, shipped, snapshot};
use crate::{Claims, Era, Facts, HeaderBody, McpFacts, Snapshot, Vouched};

pub(super) fn gate(
    snapshot: &Snapshot,
    facts: &Facts<'_>,
    class: DataClass,
) -> Result<Permitted, ResidencyRefusal> {
    let (_, route) = snapshot.route(facts.head).expect("the path has a route");
    eligible(
        snapshot,
        route,
        facts,
        Classified {
            class,
            by: ClassSource::Route,
        },
    )
}

fn permitted<'a>(snapshot: &'a Snapshot, facts: &Facts<'_>, class: DataClass) -> Vec<&'a str> {
    let permitted = gate(snapshot, facts, class);
    permitted
        .map(|p| p.law().names(&snapshot.regions))
        .unwrap_or_default()
}

pub(super) fn with_consent<'a>(facts: &Facts<'a>) -> Facts<'a> {
    Facts {
        claims: Claims {
            consent: Some(Vouched::Token),
            ..facts.claims
        },
        ..*facts
    }
}

#[test]
fn obligations_travel_with_the_region_that_needs_them() {
    let snapshot = shipped();
    let head = head("GET /v3/echo", &[]);
    let region = |id| snapshot.region_by_id(id).unwrap();
    let text = |country: &str, class, id| {
        let permitted = gate(&snapshot, &facts(&head, country), class).unwrap();
        let mut out = Vec::new();
        snapshot.write_obligations(&permitted, region(id), &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        text("BR", DataClass::Tier2Personal, "southamerica-east1"),
        "jurisdiction=\"br\", encryption_in_transit, encryption_at_rest, limited_replication, consent, retention=\"user_controlled\""
    );
    assert_eq!(
        text("BR", DataClass::Tier2Personal, "us-central1"),
        "jurisdiction=\"br\", encryption_in_transit, encryption_at_rest, limited_replication, safeguards, consent, retention=\"user_controlled\""
    );
    assert!(text("IN", DataClass::Tier2Personal, "europe-west1").contains(", local_copy,"));
    assert!(!text("IN", DataClass::Tier2Personal, "asia-south1").contains("local_copy"));
    assert!(text("US", DataClass::Tier1Pii, "us-east1").contains("no_replication, baa, audit_log"));
    assert_eq!(
        text("DE", DataClass::Tier4Public, "us-central1"),
        "jurisdiction=\"eu\", encryption_in_transit, retention=\"indefinite\""
    );
}

#[test]
fn what_is_vouched_for_is_no_longer_owed() {
    let snapshot = shipped();
    let head = head("GET /v3/echo", &[]);
    let mut facts = facts(&head, "BR");
    facts.claims.safeguards = Some(Vouched::TrustedHop);
    facts.claims.consent = Some(Vouched::Token);
    let permitted = gate(&snapshot, &facts, DataClass::Tier2Personal).unwrap();
    let owed = permitted.obligations(snapshot.region_by_id("us-central1").unwrap());
    assert!(!owed.contains(Obligation::Safeguards) && !owed.contains(Obligation::Consent));
    let mut out = Vec::new();
    let region = snapshot.region_by_id("us-central1").unwrap();
    snapshot.write_obligations(&permitted, region, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "jurisdiction=\"br\", encryption_in_transit, encryption_at_rest, limited_replication, retention=\"user_controlled\""
    );
    facts.location.country = meridian_geo::Country::parse("SG");
    facts.claims.purpose = Some(crate::Purpose {
        text: "support",
        by: Vouched::TrustedHop,
    });
    let permitted = gate(&snapshot, &facts, DataClass::Tier2Personal).unwrap();
    assert!(
        !permitted
            .obligations(snapshot.region_by_id("asia-south1").unwrap())
            .contains(Obligation::Purpose)
    );
}

#[test]
fn a_region_stands_as_own_allowed_or_conditional() {
    let snapshot = shipped();
    let head = head("GET /v3/echo", &[]);
    let region = |id| snapshot.region_by_id(id).unwrap();
    let german = gate(&snapshot, &facts(&head, "DE"), DataClass::Tier2Personal).unwrap();
    assert_eq!(german.standing(region("europe-west4")), Some(Standing::Own));
    assert_eq!(
        german.standing(region("europe-west2")),
        Some(Standing::Allowed)
    );
    assert_eq!(german.standing(region("us-central1")), None);
    assert!(
        german.crosses_border(region("europe-west2"))
            && !german.crosses_border(region("europe-west1"))
    );
    let american = gate(
        &snapshot,
        &with_consent(&facts(&head, "US")),
        DataClass::Tier2Personal,
    )
    .unwrap();
    assert_eq!(
        american.standing(region("europe-west1")),
        Some(Standing::Conditional)
    );
    let brazilian = gate(&snapshot, &facts(&head, "BR"), DataClass::Tier2Personal).unwrap();
    assert_eq!(
        brazilian.standing(region("europe-west1")),
        Some(Standing::Conditional)
    );
    assert!(!american.allows(crate::RegionIndex(400)));
}

#[test]
fn a_refusal_names_law_rule_and_what_would_be_needed() {
    let snapshot = shipped();
    let head = head("GET /v3/echo", &[]);
    let refusal = |country, class| gate(&snapshot, &facts(&head, country), class).unwrap_err();
    let china = refusal("CN", DataClass::Tier3Operational);
    assert_eq!(
        china.to_string(),
        "tier_3_operational from jurisdiction `cn` (PIPL, CSL) may not be processed in any region"
    );
    assert_eq!(
        china.needed(),
        "data of a class laxer than tier_3_operational"
    );
    assert_eq!(china.regulation(), "PIPL, CSL");
    let unknown = refusal("??", DataClass::Tier2Personal);
    assert_eq!(unknown.rule, RefusalRule::ConsentMissing);
    assert_eq!(
        unknown.to_string(),
        "tier_2_personal from jurisdiction `elsewhere` may not leave it without consent"
    );
    assert_eq!(snapshot.jurisdiction_id(unknown.jurisdiction), "elsewhere");
}

#[test]
fn a_law_may_name_known_regions_that_are_not_configured() {
    let snapshot = snapshot(
        "known_regions: [asia-south1]
jurisdictions:
  - { id: in, countries: [IN], own_regions: [asia-south1], cross_border: requires_local_copy }
  - { id: rest, countries: ['*'], cross_border: with_consent }
",
    );
    let head = head("GET /", &[]);
    let facts = facts(&head, "IN");
    let refusal = gate(&snapshot, &facts, DataClass::Tier1Pii).unwrap_err();
    assert_eq!(refusal.rule, RefusalRule::NoOwnRegion);
    assert_eq!(
        refusal.to_string(),
        "tier_1_pii from jurisdiction `in` may be processed only in asia-south1, not configured here"
    );
    assert_eq!(refusal.needed(), "a configured region among asia-south1");
    assert_eq!(
        permitted(&snapshot, &facts, DataClass::Tier2Personal).len(),
        3
    );
}

#[test]
fn a_route_narrows_but_never_widens_what_the_law_allows() {
    let snapshot = snapshot(
        "jurisdictions:
  - { id: eu, countries: [EU], own_regions: [europe-west1], cross_border: with_adequacy, allowed_regions: [europe-west2] }
  - { id: rest, countries: ['*'], cross_border: with_consent }
routes:
  - { id: uk, path: /uk, regions: [europe-west2, us-central1] }
  - { id: us, path: /us, regions: [us-central1] }
",
    );
    let region = |id| snapshot.region_by_id(id).unwrap();
    let uk = head("GET /uk", &[]);
    let permitted = gate(&snapshot, &facts(&uk, "DE"), DataClass::Tier2Personal).unwrap();
    assert_eq!(
        permitted.regions().names(&snapshot.regions),
        ["europe-west2"]
    );
    assert_eq!(permitted.law().len(), 2);
    assert!(
        !permitted.in_route(region("europe-west1")) && permitted.in_route(region("us-central1"))
    );
    assert!(!permitted.allows(region("us-central1")));
    let us = head("GET /us", &[]);
    let refusal = gate(&snapshot, &facts(&us, "DE"), DataClass::Tier2Personal).unwrap_err();
    assert_eq!(refusal.rule, RefusalRule::RouteConstraint);
}

#[test]
fn residency_off_permits_every_region_and_is_said_aloud() {
    let snapshot = snapshot("residency: off\n");
    let head = head("GET /", &[]);
    let permitted = gate(&snapshot, &facts(&head, "CN"), DataClass::Tier1Pii).unwrap();
    assert_eq!(permitted.law().len(), 3);
    assert_eq!(permitted.jurisdiction(), None);
    let mut out = Vec::new();
    snapshot.write_obligations(&permitted, crate::RegionIndex(0), &mut out);
    assert!(out.is_empty());
    assert_eq!(
        faults("residency: on\n")[0].message,
        "no `jurisdictions`: nothing says where data may go"
    );
}

#[test]
fn a_code_beats_the_union_and_the_union_beats_the_area() {
    let snapshot = snapshot(
        "jurisdictions:
  - { id: area, countries: [EEA], own_regions: [europe-west1], cross_border: with_consent }
  - { id: union, countries: [EU], own_regions: [europe-west2], cross_border: with_consent }
  - { id: germany, countries: [DE], own_regions: [us-central1], cross_border: with_consent }
  - { id: rest, countries: ['*'], cross_border: with_consent }
",
    );
    let of = |country| {
        snapshot.jurisdiction_id(snapshot.residency.of(meridian_geo::Country::parse(country)))
    };
    assert_eq!(
        ["DE", "FR", "NO", "US", "??"].map(of),
        ["germany", "union", "area", "rest", "rest"]
    );
}

#[test]
fn unknown_places_come_under_the_jurisdiction_that_is_named() {
    let text = |name: &str| {
        format!(
            "unknown_location: {name}
jurisdictions:
  - {{ id: strict, countries: [CN], cross_border: prohibited, protects: tier_4_public }}
  - {{ id: rest, countries: ['*'], cross_border: with_consent }}
"
        )
    };
    let snapshot = snapshot(&text("strict"));
    let head = head("GET /", &[]);
    assert!(gate(&snapshot, &facts(&head, "??"), DataClass::Tier4Public).is_err());
    assert!(gate(&snapshot, &facts(&head, "FR"), DataClass::Tier4Public).is_ok());
    let fault = &faults(&text("strikt"))[0];
    assert_eq!(
        (fault.message.as_str(), fault.help.as_deref()),
        (
            "unknown jurisdiction `strikt`",
            Some("did you mean `strict`?")
        )
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn faults_of_a_law_have_their_places() {
    for (text, expected) in [
        (
            "- { id: a, countries: ['*'], own_regions: [europe-west3], cross_border: allowed }",
            "test.yaml:2:44 unknown region `europe-west3`",
        ),
        (
            "- { id: a, countries: ['*', UK], cross_border: allowed }",
            "test.yaml:2:29 `UK` is not a country",
        ),
        (
            "- { id: a, countries: ['*'], cross_border: with_adequacy }",
            "test.yaml:2:44 adequacy of what?",
        ),
        (
            "- { id: a, countries: ['*'], cross_border: prohibited, allowed_regions: [us-central1] }",
            "test.yaml:2:73 `allowed_regions` of a jurisdiction that lets nothing out",
        ),
        (
            "- { id: a, countries: [DE], cross_border: allowed }",
            "test.yaml:1:1 no jurisdiction for the rest of the world",
        ),
        (
            "- { id: a, countries: ['*'], cross_border: freely }",
            "test.yaml:2:44 `freely` is not known here",
        ),
        (
            "- { id: a, countries: ['*'], cross_border: allowed, obligations: [pray] }",
            "test.yaml:2:67 `pray` is not known here",
        ),
        (
            "- { id: a, countries: ['*', unknown], cross_border: allowed }",
            "test.yaml:2:29 a jurisdiction cannot list `unknown`",
        ),
        (
            "- { id: 'a\"', countries: ['*'], cross_border: allowed }",
            "test.yaml:2:9 a name is 1 to 64 letters, digits, spaces and `,.-_`",
        ),
    ] {
        let faults = faults(&format!("jurisdictions:\n{text}\n"));
        assert_eq!(
            faults.iter().map(brief).collect::<Vec<_>>(),
            [expected],
            "{text}"
        );
    }
    let twice = "jurisdictions:
- { id: a, countries: ['*'], cross_border: allowed }
- { id: a, countries: [DE, '*'], cross_border: allowed }
- { id: b, countries: [DE, DE], cross_border: allowed }
";
    let found: Vec<_> = faults(twice).iter().map(brief).collect();
    assert_eq!(
        found,
        [
            "test.yaml:3:9 two jurisdictions are called `a`",
            "test.yaml:3:28 two jurisdictions are for the rest of the world (`*`)",
            "test.yaml:4:24 `DE` is already in the jurisdiction `a`",
            "test.yaml:4:28 `DE` is already in the jurisdiction `a`",
        ]
    );
    let tier = "data_classification:
  tier_2_personal: { storage: region_specific, encryption: always, retention: 90 days, cross_border: with_consent }
";
    let found: Vec<_> = faults(tier).iter().map(brief).collect();
    assert_eq!(
        found,
        [
            "test.yaml:2:31 `storage: region_specific` and a way across the border contradict each other",
            "test.yaml:2:79 `retention` is one word, such as `90_days`",
        ]
    );
}

#[test]
fn the_tiers_of_a_file_replace_the_shipped_ones() {
    let law = "jurisdictions:
  - { id: sg, countries: ['*'], own_regions: [europe-west1], cross_border: allowed }
";
    let head = head("GET /", &[]);
    let of = |tier: &str| {
        let snapshot = snapshot(&format!("{law}{tier}"));
        let facts = facts(&head, "SG");
        let names: Vec<String> = permitted(&snapshot, &facts, DataClass::Tier2Personal)
            .into_iter()
            .map(str::to_owned)
            .collect();
        names
    };
    assert_eq!(of(""), ["europe-west1", "europe-west2"], "the super-region");
    let tier = |storage: &str, rule: &str| {
        format!(
            "data_classification:\n  tier_2_personal: {{ storage: {storage}, encryption: in_transit, cross_border: {rule} }}\n"
        )
    };
    assert_eq!(of(&tier("global", "with_consent")).len(), 3);
    assert_eq!(of(&tier("super_region", "allowed")).len(), 3);
    assert_eq!(of(&tier("region_specific", "prohibited")), ["europe-west1"]);
}

// Classification.

fn classed(snapshot: &Snapshot, facts: &Facts<'_>) -> (DataClass, ClassSource) {
    let (_, route) = snapshot.route(facts.head).expect("the path has a route");
    let Classified { class, by } = classify(snapshot, route, facts);
    (class, by)
}

const CLASSIFY: &str = "
classify:
  default: tier_3_operational
  methods: { DELETE: tier_2_personal }
  mcp:
    methods: { resources/read: tier_2_personal }
    tools: { 'records_*': tier_2_personal, records_put: tier_1_pii, ping: tier_4_public }
routes:
  - { id: public, path: /public, data_class: tier_4_public }
  - { id: health, path: /patients/*, data_class: tier_1_pii }
  - { id: mcp, path: /mcp, mcp: on }
  - { id: rest, path: /* }
";

#[test]
fn nothing_said_is_the_default_and_the_operators_word_may_be_laxer() {
    let snapshot = snapshot(CLASSIFY);
    let class = |request: &str, fields: &[(&str, &str)]| {
        let head = head(request, fields);
        classed(&snapshot, &facts(&head, "DE"))
    };
    assert_eq!(
        class("GET /", &[]),
        (DataClass::Tier3Operational, ClassSource::Default)
    );
    assert_eq!(
        class("GET /public", &[]),
        (DataClass::Tier4Public, ClassSource::Route)
    );
    assert_eq!(
        class("GET /patients/7", &[]),
        (DataClass::Tier1Pii, ClassSource::Route)
    );
    assert_eq!(
        class("DELETE /public", &[]),
        (DataClass::Tier2Personal, ClassSource::Method)
    );
}

#[test]
fn a_header_makes_it_stricter_and_never_laxer() {
    let snapshot = snapshot(CLASSIFY);
    let class = |request: &str, values: &[&str]| {
        let fields: Vec<_> = values
            .iter()
            .map(|value| ("x-data-class", *value))
            .collect();
        let head = head(request, &fields);
        classed(&snapshot, &facts(&head, "DE"))
    };
    assert_eq!(
        class("GET /", &["tier_1_pii"]),
        (DataClass::Tier1Pii, ClassSource::Header)
    );
    assert_eq!(
        class("GET /", &["tier_4_public"]),
        (DataClass::Tier3Operational, ClassSource::Default)
    );
    assert_eq!(
        class("GET /patients/7", &["tier_4_public"]),
        (DataClass::Tier1Pii, ClassSource::Route)
    );
    assert_eq!(
        class("GET /public", &["tier_3_operational"]),
        (DataClass::Tier3Operational, ClassSource::Header)
    );
    for odd in [
        "",
        "TIER_4_PUBLIC",
        "tier_4_public, tier_4_public",
        "public",
        "\u{fc}",
    ] {
        assert_eq!(
            class("GET /", &[odd]),
            (DataClass::Tier1Pii, ClassSource::Header),
            "{odd:?}"
        );
    }
    assert_eq!(
        class("GET /", &["tier_4_public", "tier_2_personal"]).0,
        DataClass::Tier2Personal
    );
}

#[test]
fn a_token_makes_it_stricter_and_never_laxer() {
    let snapshot = snapshot(CLASSIFY);
    let head = head("GET /", &[]);
    let mut facts = facts(&head, "DE");
    facts.claims.class = Some(DataClass::Tier2Personal);
    assert_eq!(
        classed(&snapshot, &facts),
        (DataClass::Tier2Personal, ClassSource::Token)
    );
    facts.claims.class = Some(DataClass::Tier4Public);
    assert_eq!(
        classed(&snapshot, &facts),
        (DataClass::Tier3Operational, ClassSource::Default)
    );
}

#[test]
fn mcp_calls_have_the_strictest_class_of_method_and_tool() {
    let snapshot = snapshot(CLASSIFY);
    let head = head("POST /mcp", &[("content-length", "1")]);
    let class = |method, tool, verified| {
        let mcp = McpFacts {
            era: Era::Modern,
            method: Some(method),
            tool,
            verified,
            session: None,
        };
        classed(
            &snapshot,
            &Facts {
                mcp: Some(mcp),
                ..facts(&head, "DE")
            },
        )
    };
    let agree = HeaderBody::Agree;
    assert_eq!(
        class("tools/list", None, agree),
        (DataClass::Tier3Operational, ClassSource::Default)
    );
    assert_eq!(
        class("resources/read", None, agree),
        (DataClass::Tier2Personal, ClassSource::Mcp)
    );
    assert_eq!(
        class("tools/call", Some("records_get"), agree).0,
        DataClass::Tier2Personal
    );
    assert_eq!(
        class("tools/call", Some("records_put"), agree).0,
        DataClass::Tier1Pii
    );
    assert_eq!(
        class("tools/call", Some("ping"), agree).0,
        DataClass::Tier4Public
    );
    assert_eq!(
        class("tools/call", Some("ping"), HeaderBody::Unchecked),
        (DataClass::Tier1Pii, ClassSource::Mcp),
        "what nobody checked could be any tool"
    );
    assert_eq!(
        classed(&snapshot, &facts(&head, "DE")).0,
        DataClass::Tier1Pii,
        "nothing was read"
    );
}

#[test]
fn faults_of_classify_have_their_places() {
    let found: Vec<_> = faults(
        "classify:\n  methods: { get: tier_1_pii }\n  mcp: { tools: { 'a*b': tier_1_pii } }\n",
    )
    .iter()
    .map(brief)
    .collect();
    assert_eq!(
        found,
        [
            "test.yaml:2:14 unknown method `get`",
            "test.yaml:3:19 `a*b` is not a name: one `*`, at the end, matches any rest"
        ]
    );
}

mod properties {
    use meridian_geo::Country;
    use proptest::prelude::*;

    use super::*;

    /// A law as it would be written, kept for an evaluation of its own.
    #[derive(Clone, Debug)]
    struct Drawn {
        countries: Vec<&'static str>,
        own: Vec<usize>,
        rule: usize,
        allowed: Option<Vec<usize>>,
        protects: usize,
    }

    const REGIONS: [&str; 3] = ["us-central1", "europe-west1", "europe-west2"];
    const SUPER: [&str; 3] = ["americas", "emea", "emea"];
    const RULES: [&str; 6] = [
        "prohibited",
        "with_adequacy",
        "with_consent",
        "with_safeguards",
        "requires_local_copy",
        "allowed",
    ];

    fn drawn() -> impl Strategy<Value = Drawn> {
        let some = proptest::sample::subsequence(vec![0, 1, 2], 0..=3);
        let countries = proptest::sample::subsequence(vec!["DE", "US", "BR", "NO"], 1..=4);
        (
            countries,
            some.clone(),
            0..6_usize,
            proptest::option::of(some),
            0..4_usize,
        )
            .prop_map(|(countries, own, rule, allowed, protects)| {
                let allowed = match rule {
                    0 => None,
                    1 => Some(allowed.unwrap_or_default()),
                    _ => allowed,
                };
                Drawn {
                    countries,
                    own,
                    rule,
                    allowed,
                    protects,
                }
            })
    }

    fn yaml(drawn: &Drawn) -> String {
        let names = |list: &[usize]| {
            list.iter()
                .map(|i| REGIONS[*i])
                .collect::<Vec<_>>()
                .join(", ")
        };
        let allowed = drawn
            .allowed
            .as_ref()
            .map(|list| format!(", allowed_regions: [{}]", names(list)));
        format!(
            "jurisdictions:
  - {{ id: drawn, countries: [{}], own_regions: [{}], cross_border: {}{}, protects: {} }}
  - {{ id: rest, countries: ['*'], cross_border: prohibited }}
",
            drawn.countries.join(", "),
            names(&drawn.own),
            RULES[drawn.rule],
            allowed.unwrap_or_default(),
            DataClass::ALL[drawn.protects],
        )
    }

    /// The law read aloud, one region at a time.
    fn lawful(
        drawn: &Drawn,
        (country, class, consent): (&str, DataClass, bool),
        region: usize,
    ) -> bool {
        let protected_by_drawn = class >= DataClass::ALL[drawn.protects];
        if !drawn.countries.contains(&country) {
            return class < DataClass::Tier2Personal;
        }
        if drawn.own.contains(&region) {
            return true;
        }
        if class == DataClass::Tier1Pii {
            return false;
        }
        let near = drawn.own.iter().any(|own| SUPER[*own] == SUPER[region]);
        if !protected_by_drawn {
            return class != DataClass::Tier2Personal || near || consent;
        }
        if drawn
            .allowed
            .as_ref()
            .is_some_and(|allowed| !allowed.contains(&region))
        {
            return false;
        }
        match RULES[drawn.rule] {
            "prohibited" => false,
            "with_consent" => consent,
            "allowed" => class != DataClass::Tier2Personal || near || consent,
            _ => true,
        }
    }

    proptest! {
        #[test]
        fn no_permit_outside_the_law_and_none_withheld(
            drawn in drawn(),
            country in proptest::sample::select(vec!["DE", "US", "BR", "NO", "JP", "??"]),
            class in proptest::sample::select(DataClass::ALL.to_vec()),
            consent: bool,
        ) {
            let snapshot = snapshot(&yaml(&drawn));
            let head: RequestHead = head("GET /", &[]);
            let mut facts = facts(&head, country);
            facts.location.country = Country::parse(country);
            if consent {
                facts.claims.consent = Some(Vouched::Token);
            }
            let permit = gate(&snapshot, &facts, class);
            for (index, _) in REGIONS.iter().enumerate() {
                let region = crate::RegionIndex(u16::try_from(index).unwrap());
                let allowed = permit.as_ref().is_ok_and(|permit| permit.allows(region));
                prop_assert_eq!(allowed, lawful(&drawn, (country, class, consent), index), "{}", REGIONS[index]);
                let standing = permit.as_ref().ok().and_then(|permit| permit.standing(region));
                prop_assert_eq!(standing.is_some(), allowed);
            }
            if let Ok(permit) = permit {
                prop_assert!(!permit.law().is_empty());
            }
        }
    }
}

const SOMEWHERE: &str = "
jurisdictions:
  - { id: eu, countries: [EU], own_regions: [europe-west1], cross_border: prohibited }
  - { id: rest, countries: ['*'], own_regions: [us-central1], cross_border: allowed }
";

/// How the endpoints of the three regions travel, by this key.
fn ways(key: &str, hosts: [&str; 3]) -> [crate::regions::Way; 3] {
    let [a, b, c] = hosts;
    let set = [crate::testing::source(
        "regions.yaml",
        &format!(
            "regions:\n  - {{ id: europe-west1, endpoints: [\"http://{a}:80\"] }}\n  - {{ id: us-central1, endpoints: [\"http://{b}:80\", \"http://{c}:80\"] }}\n{key}\nresidency: off\n"
        ),
    )];
    let snapshot = crate::testing::compiled(&set);
    let way = |host: &str| {
        let at = snapshot.endpoints().iter().position(|e| e.host == host);
        snapshot.way(crate::EndpointIndex(u32::try_from(at.unwrap()).unwrap()))
    };
    hosts.map(|host| way(host.trim_matches(['[', ']'])))
}

#[test]
fn plain_text_is_sealed_in_this_machine_and_in_a_listed_mesh_only() {
    use crate::regions::Way::{Loopback, Mesh, Plaintext};
    let hosts = ["127.0.0.9", "10.1.2.3", "a.mesh.local"];
    assert_eq!(ways("", hosts), [Loopback, Plaintext, Plaintext]);
    let listed = "plaintext_upstreams: { mesh: [10.0.0.0/8, '*.mesh.local'] }";
    assert_eq!(ways(listed, hosts), [Loopback, Mesh, Mesh]);
    let strict = "plaintext_upstreams: { loopback: refuse, mesh: [b.mesh.local] }";
    assert_eq!(ways(strict, hosts), [Plaintext, Plaintext, Plaintext]);
    assert_eq!(
        ways(listed, ["[::1]", "mesh.local", "amesh.local"]),
        [Loopback, Plaintext, Plaintext]
    );
    assert_eq!(
        ways(
            "plaintext_upstreams: { mesh: [Plain-Name, 'fd00::/8'] }",
            ["localhost", "plain-name", "[fd00::1]"]
        ),
        [Loopback, Mesh, Mesh]
    );
}

#[test]
fn a_mesh_entry_that_is_neither_network_nor_name_is_refused() {
    for entry in [
        "'*'",
        "'*mesh'",
        "'a b'",
        "10.0.0.0/99",
        "''",
        "'*.*.x'",
        "300.1.1.1",
    ] {
        let found = faults(&format!("plaintext_upstreams: {{ mesh: [{entry}] }}\n"));
        assert_eq!(found.len(), 1, "{entry}: {found:?}");
    }
}

#[test]
fn what_must_be_encrypted_does_not_go_in_plain_text() {
    let head = head("GET /v3/echo", &[]);
    let route = |snapshot: &Snapshot| snapshot.routes().first().cloned();
    let plain = snapshot(&format!(
        "{SOMEWHERE}plaintext_upstreams: {{ mesh: [] }}\nroutes: [{{ id: all, path: '/*' }}]\n"
    ));
    let warned = plain.warnings().first().unwrap().message.clone();
    assert!(
        warned.contains("europe-west1") && warned.contains("plain text"),
        "{warned}"
    );
    let classified = Classified {
        class: DataClass::Tier1Pii,
        by: ClassSource::Header,
    };
    let refused = eligible(
        &plain,
        &route(&plain).unwrap(),
        &facts(&head, "DE"),
        classified,
    )
    .unwrap_err();
    assert_eq!(refused.rule, RefusalRule::Plaintext);
    assert!(refused.to_string().contains("must be encrypted in transit"));
    assert!(refused.needed().contains("plaintext_upstreams.mesh"));
    // One region's network is listed: the others are no candidates.
    let mixed = snapshot(&format!(
        "{SOMEWHERE}plaintext_upstreams: {{ mesh: [10.0.0.3] }}\nroutes: [{{ id: all, path: '/*' }}]\n"
    ));
    let state = crate::State::new();
    let view = state.reconcile(&mixed, crate::Tick(0));
    let mut facts = facts(&head, "US");
    facts.claims.consent = Some(Vouched::Token);
    let explained =
        crate::explain::explain(&mixed, &view, &facts, &crate::explain::Moment::default());
    assert_eq!(
        explained.region.as_deref(),
        Some("europe-west2"),
        "{explained:?}"
    );
    let removed = |id: &str| {
        let one = explained.candidates.iter().find(|c| c.region == id);
        one.unwrap().removed_by
    };
    assert_eq!(removed("us-central1"), Some("plaintext"));
    assert_eq!(removed("europe-west1"), Some("plaintext"));
    assert!(
        explained.permitted.contains(&"us-central1".to_owned()),
        "the law allows it"
    );
}

#[test]
fn of_a_mixed_region_only_the_sealed_endpoints_serve() {
    let set = crate::testing::source(
        "all.yaml",
        "regions:
  - { id: us-central1, endpoints: [\"http://10.0.0.1:80\", \"http://10.9.0.1:80\", \"http://10.9.0.2:80\"] }
plaintext_upstreams: { mesh: [10.9.0.0/16] }
jurisdictions: [{ id: rest, countries: ['*'], own_regions: [us-central1], cross_border: allowed }]
routes: [{ id: all, path: '/*' }]
",
    );
    let snapshot = crate::testing::compiled(&[set]);
    assert!(snapshot.warnings().is_empty());
    let state = crate::State::new();
    let view = state.reconcile(&snapshot, crate::Tick(0));
    let head = head("GET /", &[]);
    let facts = facts(&head, "US");
    for draw in 0..200 {
        let explained = crate::explain::explain(
            &snapshot,
            &view,
            &facts,
            &crate::explain::Moment {
                draw,
                ..Default::default()
            },
        );
        let endpoint = explained.endpoint.unwrap();
        assert!(endpoint.contains("//10.9."), "{endpoint}");
    }
}

#[test]
fn only_a_trusted_hop_vouches_and_only_for_what_the_policy_names() {
    let all = snapshot(
        "residency: off\nclassify: { from_trusted_hops: [consent, safeguards, purpose] }\n",
    );
    let fields = [
        ("x-consent", "granted"),
        ("x-safeguards", "in-place"),
        ("x-purpose", "support"),
    ];
    let request = head("GET /", &fields);
    let hop = super::vouched(&all, &request, crate::Trust::Trusted);
    assert_eq!(hop.consent, Some(Vouched::TrustedHop));
    assert_eq!(hop.safeguards, Some(Vouched::TrustedHop));
    assert_eq!(hop.purpose.unwrap().text, "support");
    let client = super::vouched(&all, &request, crate::Trust::Untrusted);
    assert!(client.consent.is_none() && client.safeguards.is_none() && client.purpose.is_none());
    let none = snapshot("residency: off\n");
    let silent = super::vouched(&none, &request, crate::Trust::Trusted);
    assert!(silent.consent.is_none() && silent.safeguards.is_none() && silent.purpose.is_none());
    let one = snapshot("residency: off\nclassify: { from_trusted_hops: [purpose] }\n");
    let purpose = super::vouched(&one, &request, crate::Trust::Trusted);
    assert!(purpose.consent.is_none() && purpose.purpose.is_some());
}

#[test]
fn a_field_that_is_unclear_vouches_for_nothing() {
    let all = snapshot(
        "residency: off\nclassify: { from_trusted_hops: [consent, safeguards, purpose] }\n",
    );
    for fields in [
        &[("x-consent", "granted"), ("x-consent", "withdrawn")][..],
        &[("x-consent", "granted"), ("x-consent", "granted")],
        &[("x-consent", "GRANTED")],
        &[("x-consent", "true")],
        &[("x-consent", "")],
        &[("x-safeguards", "no")],
        &[("x-purpose", "two words")],
        &[("x-purpose", "")],
    ] {
        let request = head("GET /", fields);
        let claims = super::vouched(&all, &request, crate::Trust::Trusted);
        let nothing =
            claims.consent.is_none() && claims.safeguards.is_none() && claims.purpose.is_none();
        assert!(nothing, "{fields:?}");
    }
}
