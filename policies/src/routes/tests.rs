use std::time::Duration;

use super::*;
use crate::testing::{brief, faults, head, snapshot};

fn route_of(snapshot: &Snapshot, request: &str, host: &str) -> String {
    let head = head(request, &[("host", host)]);
    snapshot
        .route(&head)
        .map_or_else(|| "none".to_owned(), |(_, route)| route.id.clone())
}

#[test]
fn the_most_specific_route_wins_whatever_the_order() {
    let snapshot = snapshot(
        "routes:
  - { id: rest, path: /* }
  - { id: v3, path: /v3/* }
  - { id: ws, path: /v3/ws/* }
  - { id: echo, path: /v3/echo }
  - { id: echo-post, path: /v3/echo, methods: [POST, PUT] }
  - { id: deny, path: /deny*, action: { deny: {} } }
  - { id: host, hosts: [api.example], path: /v3/* }
  - { id: below, hosts: ['*.example'], path: /v3/echo }
  - { id: deeper, hosts: ['*.eu.example'], path: /v3/echo }
",
    );
    for (request, host, expected) in [
        ("GET /", "x", "rest"),
        ("GET /v3/", "x", "v3"),
        ("GET /v3", "x", "rest"),
        ("GET /v3/ws/echo", "x", "ws"),
        ("GET /v3/wsx", "x", "v3"),
        ("GET /v3/echo", "x", "echo"),
        ("POST /v3/echo", "x", "echo-post"),
        ("GET /v3/echo/", "x", "v3"),
        ("GET /v3/../deny", "x", "deny"),
        ("GET /%64eny/x", "x", "deny"),
        ("GET /den", "x", "rest"),
        ("GET /v3/echo?x=/deny", "x", "echo"),
        ("GET /v3/echo", "api.example", "host"),
        ("GET /v3/echo", "API.EXAMPLE:8443", "host"),
        ("GET /other", "api.example", "rest"),
        ("GET /v3/echo", "b.example", "below"),
        ("GET /v3/echo", "example", "echo"),
        ("GET /v3/echo", "a.eu.example", "deeper"),
        ("GET /v3/x", "a.eu.example", "v3"),
    ] {
        assert_eq!(
            route_of(&snapshot, request, host),
            expected,
            "{request} at {host}"
        );
    }
}

#[test]
fn a_path_that_is_known_but_for_the_method_names_its_methods() {
    let snapshot = snapshot("routes:\n  - { id: a, path: /a, methods: [POST, GET] }\n");
    let wrong = head("DELETE /a", &[]);
    assert!(snapshot.route(&wrong).is_none());
    assert_eq!(snapshot.methods_elsewhere(&wrong), ["GET", "POST"]);
    assert!(
        snapshot
            .methods_elsewhere(&head("DELETE /b", &[]))
            .is_empty()
    );
}

#[test]
fn a_method_falls_through_to_a_shorter_prefix_that_takes_it() {
    let snapshot = snapshot(
        "routes:\n  - { id: a, path: /a/*, methods: [POST] }\n  - { id: rest, path: /* }\n",
    );
    assert_eq!(route_of(&snapshot, "POST /a/b", "x"), "a");
    assert_eq!(route_of(&snapshot, "GET /a/b", "x"), "rest");
}

#[test]
fn without_the_key_everything_is_forwarded() {
    let snapshot = snapshot("");
    let head = head("GET /anything", &[]);
    let (index, route) = snapshot.route(&head).unwrap();
    assert_eq!(
        (index, route.id.as_str(), &route.action),
        (RouteIndex(0), "default", &RouteAction::Forward)
    );
    assert_eq!(
        (route.body_limit, route.websocket),
        (10 << 20, WebSocket::On(WebSocketBounds::default()))
    );
    assert_eq!(route.timeouts, RouteTimeouts::default());
}

#[test]
fn every_key_of_a_route_has_its_effect() {
    let snapshot = snapshot(
        "routes:
  - id: all
    path: /all
    data_class: tier_2_personal
    mcp: on
    body_limit: 1KiB
    timeouts: { first_byte: 5s, total: 1m, idle: 300ms }
    regions: [europe-west1]
    waf: off
    limits: off
    websocket: on
  - { id: health, path: /health, action: health }
  - { id: text, path: /text, action: { respond: { status: 200, body: hello } } }
  - { id: gone, path: /gone, action: { deny: { status: 410 } } }
  - { id: deny, path: /deny, action: { deny: {} } }
  - { id: plain, path: /plain, action: forward }
",
    );
    let all = &snapshot.routes()[0];
    assert_eq!(all.data_class, Some(DataClass::Tier2Personal));
    assert_eq!(
        (all.mcp, all.waf, all.limits),
        (McpRoute::On, RouteWaf::Off, RouteLimits::Off)
    );
    let secs = Duration::from_secs;
    assert_eq!(all.body_limit, 1_024);
    assert!(matches!(all.websocket, WebSocket::On(_)));
    let timeouts = RouteTimeouts {
        first_byte: Some(secs(5)),
        total: Some(secs(60)),
        idle: Some(Duration::from_millis(300)),
    };
    assert_eq!(all.timeouts, timeouts);
    assert_eq!(
        all.regions.unwrap().names(&snapshot.regions),
        ["europe-west1"]
    );
    let actions: Vec<_> = snapshot.routes()[1..]
        .iter()
        .map(|route| route.action.clone())
        .collect();
    assert_eq!(
        actions,
        [
            RouteAction::Health,
            RouteAction::Respond {
                status: 200,
                body: "hello".to_owned(),
                content_type: "text/plain; charset=utf-8".to_owned(),
            },
            RouteAction::Deny { status: 410 },
            RouteAction::Deny { status: 403 },
            RouteAction::Forward,
        ]
    );
    let plain = &snapshot.routes()[5];
    assert_eq!(
        (plain.waf, plain.limits, plain.mcp),
        (RouteWaf::On, RouteLimits::On, McpRoute::Off)
    );
    assert_eq!(
        (plain.websocket, plain.regions, plain.data_class),
        (WebSocket::Off, None, None)
    );
    assert_eq!(snapshot.route_at(RouteIndex(5)).id, "plain");
}

#[test]
fn a_websocket_has_its_own_bounds() {
    let snapshot = snapshot(
        "routes:
  - { id: a, path: /a, websocket: { idle: 5m, max_lifetime: 1h }, timeouts: { idle: 1s } }
  - { id: b, path: /b, websocket: {}, timeouts: { idle: 1s } }
  - { id: c, path: /c, websocket: true }
  - { id: d, path: /d, websocket: false, timeouts: { idle: 1s } }
",
    );
    let bounds = |idle, max_lifetime| {
        WebSocket::On(WebSocketBounds {
            idle: (idle > 0).then(|| Duration::from_secs(idle)),
            max_lifetime: (max_lifetime > 0).then(|| Duration::from_secs(max_lifetime)),
        })
    };
    let found: Vec<_> = snapshot.routes().iter().map(|r| r.websocket).collect();
    assert_eq!(
        found,
        [
            bounds(300, 3_600),
            bounds(1, 0),
            bounds(0, 0),
            WebSocket::Off
        ]
    );
}

#[test]
fn faults_of_a_websocket_have_their_places() {
    for (route, expected) in [
        (
            "path: /, methods: [GET, CONNECT]",
            "CONNECT is never served",
        ),
        ("path: /, websocket: { idle: 0 }", "a deadline of nothing"),
        (
            "path: /, websocket: { max_lifetime: 0 }",
            "a deadline of nothing",
        ),
        (
            "path: /, websocket: maybe",
            "expected `on`, `off` or a mapping",
        ),
        ("path: /, websocket: { ping: 1s }", "unknown key `ping`"),
    ] {
        let faults = faults(&format!("routes:\n  - {{ id: a, {route} }}\n"));
        let found: Vec<_> = faults
            .iter()
            .map(|f| (f.line, f.message.as_str()))
            .collect();
        assert_eq!(found, [(2, expected)], "{route}");
    }
}

#[test]
fn faults_of_routes_have_their_places() {
    for (route, expected) in [
        ("path: a", "`a` is not a path pattern"),
        ("path: /a/../b", "`/a/../b` is not a path pattern"),
        ("path: /a*b", "`/a*b` is not a path pattern"),
        ("path: '/a?b'", "`/a?b` is not a path pattern"),
        ("path: /, methods: [FETCH]", "unknown method `FETCH`"),
        ("path: /, methods: []", "a route for no method"),
        ("path: /, hosts: []", "a route for no host"),
        ("path: /, hosts: ['a:80']", "`a:80` is not a host"),
        ("path: /, regions: []", "a route for no region"),
        (
            "path: /, regions: [europe-west3]",
            "unknown region `europe-west3`",
        ),
        ("path: /, timeouts: { total: 0 }", "a deadline of nothing"),
        (
            "path: /, timeouts: { total: soon }",
            "`soon` is not a duration: write a number with ms, s, m, h or d, as in `300ms` or `10s`",
        ),
        (
            "path: /, body_limit: 1MB",
            "`1MB` is not a size: write a whole number with B, KiB, MiB or GiB, as in `10MiB`",
        ),
        (
            "path: /, action: { respond: { status: 101 } }",
            "101 is not a final status: 200 to 599",
        ),
        (
            "path: /, action: { respond: { status: 200, content_type: json } }",
            "`json` is no media type",
        ),
        (
            "path: /, action: { respond: { status: 204, body: x } }",
            "an answer with status 204 has no body",
        ),
        (
            "path: /, action: { deny: { status: 200 } }",
            "200 does not deny: 400 to 599",
        ),
        ("path: /, action: reply", "`reply` is not known here"),
        ("path: /, data_class: tier_5", "`tier_5` is not known here"),
        ("path: /, mcp: maybe", "`maybe` is not known here"),
        ("methods: [GET]", "the key `path` is missing"),
    ] {
        let faults = faults(&format!("routes:\n  - {{ id: a, {route} }}\n"));
        assert_eq!(
            faults
                .iter()
                .map(|f| f.message.as_str())
                .collect::<Vec<_>>(),
            [expected],
            "{route}"
        );
        assert_eq!(faults[0].line, 2);
    }
    let same = faults(
        "routes:\n  - { id: a, path: /x, methods: [GET, POST] }\n  - { id: b, path: /x, methods: [POST] }\n  - { id: c, path: /x }\n",
    );
    assert_eq!(
        same.iter().map(brief).collect::<Vec<_>>(),
        ["test.yaml:3:20 the routes `a` and `b` match the same requests"]
    );
}

#[test]
fn over_a_thousand_routes_are_refused() {
    let routes = (0..1_025)
        .map(|i| format!("  - {{ id: r{i}, path: /r{i} }}\n"))
        .collect::<Vec<_>>()
        .concat();
    let found = faults(&format!("routes:\n{routes}"));
    assert_eq!(
        found.iter().map(brief).collect::<Vec<_>>(),
        ["test.yaml:1026:5 over 1024 routes"]
    );
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the rule read aloud: exact path first, then the longest
        /// prefix.
        #[test]
        fn a_lookup_agrees_with_a_search_of_all(
            patterns in proptest::collection::btree_set("/[ab]{0,3}\\*?", 1..12),
            path in "/[abc]{0,4}",
        ) {
            let routes = patterns.iter().map(|p| format!("  - {{ id: '{p}', path: '{p}' }}\n")).collect::<Vec<_>>().concat();
            let snapshot = snapshot(&format!("routes:\n{routes}"));
            let prefix = |p: &&String| p.strip_suffix('*').is_some_and(|p| path.starts_with(p));
            let expected = patterns.get(&path).or_else(|| patterns.iter().filter(prefix).max_by_key(|p| p.len()));
            let got = route_of(&snapshot, &format!("GET {path}"), "x");
            prop_assert_eq!(got, expected.map_or("none", String::as_str));
        }
    }
}
