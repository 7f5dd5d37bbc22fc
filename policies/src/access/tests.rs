use super::*;
use crate::testing::{brief, facts, faults, head, snapshot};

fn denied(
    snapshot: &Snapshot,
    request: &str,
    fields: &[(&str, &str)],
    (country, client): (&str, &str),
) -> String {
    let head = head(request, fields);
    let facts = Facts {
        client: client.parse().unwrap(),
        ..facts(&head, country)
    };
    match check(snapshot, &facts) {
        Ok(()) => "allowed".to_owned(),
        Err(denied) => snapshot.access_rule_id(denied.rule).to_owned(),
    }
}

#[test]
fn without_the_key_everybody_is_let_in() {
    let snapshot = snapshot("");
    assert_eq!(
        denied(&snapshot, "GET /", &[], ("DE", "192.0.2.1")),
        "allowed"
    );
    assert_eq!(connection(&snapshot, "192.0.2.1".parse().unwrap()), Ok(()));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_first_rule_that_matches_decides() {
    let snapshot = snapshot(
        "access:
  requests:
    - allow: { id: office, addresses: [192.0.2.0/24, '2001:db8::/32'] }
    - deny: { id: net, addresses: [192.0.0.0/16] }
    - deny: { id: embargo, countries: [KP, EU, unknown], paths: [/shop*, /buy] }
    - deny: { id: methods, methods: [TRACE, DELETE], hosts: ['*.example'] }
    - deny: { id: agent, headers: { User-Agent: 'bad*', x-debug: '*', x-key: exact } }
",
    );
    for (request, fields, client, expected) in [
        (
            "GET /",
            &[] as &[(&str, &str)],
            ("DE", "192.0.2.9"),
            "allowed",
        ),
        ("GET /", &[], ("DE", "2001:db8::9"), "allowed"),
        ("GET /", &[], ("DE", "192.0.3.9"), "net"),
        ("GET /shop/x", &[], ("DE", "198.51.100.1"), "embargo"),
        ("GET /buy", &[], ("??", "198.51.100.1"), "embargo"),
        ("GET /buy", &[], ("NO", "198.51.100.1"), "allowed"),
        ("GET /buys", &[], ("DE", "198.51.100.1"), "allowed"),
        (
            "DELETE /",
            &[("host", "a.example")],
            ("US", "198.51.100.1"),
            "methods",
        ),
        (
            "DELETE /",
            &[("host", "example")],
            ("US", "198.51.100.1"),
            "allowed",
        ),
        (
            "GET /",
            &[
                ("user-agent", "badbot/1"),
                ("x-debug", ""),
                ("x-key", "exact"),
            ],
            ("US", "198.51.100.1"),
            "agent",
        ),
        (
            "GET /",
            &[
                ("user-agent", "good"),
                ("user-agent", "bad"),
                ("x-debug", "1"),
                ("x-key", "exact"),
            ],
            ("US", "198.51.100.1"),
            "agent",
        ),
        (
            "GET /",
            &[
                ("user-agent", "badbot/1"),
                ("x-debug", ""),
                ("x-key", "exacto"),
            ],
            ("US", "198.51.100.1"),
            "allowed",
        ),
        (
            "GET /",
            &[("user-agent", "badbot/1"), ("x-key", "exact")],
            ("US", "198.51.100.1"),
            "allowed",
        ),
    ] {
        assert_eq!(
            denied(&snapshot, request, fields, client),
            expected,
            "{request} {fields:?} {client:?}"
        );
    }
}

#[test]
fn the_default_may_be_to_deny() {
    let snapshot = snapshot(
        "access:\n  default: deny\n  requests:\n    - allow: { id: germans, countries: [DE] }\n",
    );
    assert_eq!(
        denied(&snapshot, "GET /", &[], ("DE", "192.0.2.1")),
        "allowed"
    );
    assert_eq!(
        denied(&snapshot, "GET /", &[], ("FR", "192.0.2.1")),
        "default"
    );
    assert_eq!(
        connection(&snapshot, "192.0.2.1".parse().unwrap()),
        Ok(()),
        "clients may be behind it"
    );
}

#[test]
fn connections_are_judged_by_their_other_end() {
    let snapshot = snapshot(
        "access:
  connections:
    - allow: { id: probe, addresses: [192.0.2.7] }
    - deny: { id: bad, addresses: [192.0.2.0/24] }
",
    );
    let judge = |ip: &str| {
        connection(&snapshot, ip.parse().unwrap()).map_err(|rule| snapshot.access_rule_id(rule))
    };
    assert_eq!(judge("192.0.2.7"), Ok(()));
    assert_eq!(judge("192.0.2.8"), Err("bad"));
    assert_eq!(judge("192.0.3.8"), Ok(()));
    assert_eq!(
        denied(&snapshot, "GET /", &[], ("DE", "192.0.2.8")),
        "allowed"
    );
}

#[test]
fn a_list_that_is_given_and_empty_matches_nobody() {
    let snapshot = snapshot("access:\n  requests:\n    - deny: { id: none, addresses: [] }\n");
    assert_eq!(
        denied(&snapshot, "GET /", &[], ("DE", "192.0.2.1")),
        "allowed"
    );
}

#[test]
fn faults_of_access_have_their_places() {
    let found = faults(
        "access:
  requests:
    - deny: { id: a, countries: [Germany] }
    - deny: { id: a, addresses: [10.0.0.0/33], headers: { 'x y': z } }
    - forbid: { id: b }
",
    );
    assert_eq!(
        found.iter().map(brief).collect::<Vec<_>>(),
        ["test.yaml:5:7 `forbid` is not known here"]
    );
    let found = faults(
        "access:
  connections: [deny: { id: default, addresses: [] }]
  requests:
    - deny: { id: a, countries: [Germany], paths: [shop] }
    - deny: { id: a, addresses: [10.0.0.0/33], headers: { 'x y': z } }
",
    );
    assert_eq!(
        found.iter().map(brief).collect::<Vec<_>>(),
        [
            "test.yaml:2:29 an access rule cannot be called `default`",
            "test.yaml:4:34 `Germany` is not a country",
            "test.yaml:4:52 `shop` is not a path pattern",
            "test.yaml:5:19 two access rules are called `a`",
            "test.yaml:5:34 `10.0.0.0/33` is not a network",
            "test.yaml:5:59 `x y` is not a header's name",
        ]
    );
}

#[test]
fn a_rule_may_ask_for_a_clients_certificate() {
    let snapshot = snapshot(
        "access:
  default: deny
  requests:
    - allow: { id: mesh, client_certificate: [spiffe://example/ns/a/*], paths: [/a*] }
    - allow: { id: any, client_certificate: ['*'], paths: [/b] }
",
    );
    let certificate = |uri: &str| ClientCertificate {
        uris: vec![uri.to_owned()],
        hosts: Vec::new(),
        fingerprint: [0; 32],
    };
    let (a, b) = (
        certificate("spiffe://example/ns/a/x"),
        certificate("spiffe://example/ns/b/x"),
    );
    for (request, certificate, allowed) in [
        ("GET /a", Some(&a), true),
        ("GET /a", Some(&b), false),
        ("GET /a", None, false),
        ("GET /b", Some(&b), true),
        ("GET /b", None, false),
    ] {
        // Who merely says so is not believed.
        let head = head(request, &[("client-cert", ":c3BpZmZl:")]);
        let facts = Facts {
            certificate,
            ..facts(&head, "DE")
        };
        assert_eq!(check(&snapshot, &facts).is_ok(), allowed, "{request}");
    }
    let found =
        faults("access: { requests: [deny: { id: a, client_certificate: ['spiffe://e*'] }] }\n");
    assert!(brief(&found[0]).contains("not a pattern for certificates"));
}
