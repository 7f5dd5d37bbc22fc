//! Sessions, versions and what crosses regions, between real sockets.

use std::net::SocketAddr;

use meridian::telemetry::Telemetry;

use crate::harness::client::Answer;
use crate::harness::{Setup, TestEdge, Upstream, h2client, h3client, until};

/// An upstream that says who it is.
fn named(name: &str) -> Upstream {
    let length = name.len();
    Upstream::always(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}"
    ))
}

fn ask(edge: &TestEdge, fields: &str) -> Answer {
    edge.plain()
        .ask(format!("GET / HTTP/1.1\r\nHost: edge\r\n{fields}\r\n"))
}

/// An answer is there a little before it is counted.
fn counted(edge: &TestEdge, series: &str, count: u64) {
    until(series, || (edge.metric(series) == count).then_some(()));
}

const COOKIES: &str = "session_affinity: { type: cookie, key: 0123456789abcdef, ttl: 60s }\n";

#[test]
fn a_cookie_keeps_a_client_where_it_was_and_a_forged_one_does_not() {
    let upstreams = [named("a"), named("b"), named("c"), named("d")];
    let addresses: Vec<SocketAddr> = upstreams.iter().map(|upstream| upstream.address).collect();
    let edge = Setup::to(&addresses).policies(COOKIES).start();
    let first = ask(&edge, "");
    let set = first.field("set-cookie").unwrap();
    assert!(set.starts_with("meridian_affinity=1."), "{set}");
    assert!(
        set.ends_with("; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"),
        "{set}"
    );
    let pair = set.split(';').next().unwrap();
    for _ in 0..20 {
        let again = ask(&edge, &format!("Cookie: a=b; {pair}\r\n"));
        assert_eq!(again.text(), first.text());
        assert_eq!(again.field("set-cookie"), None, "it knows");
    }
    let forged = pair.replace("=1.", "=1.f");
    let answer = ask(&edge, &format!("Cookie: {forged}\r\n"));
    assert!(answer.field("set-cookie").is_some());
    for (series, count) in [
        (r#"meridian_affinity_total{outcome="kept"}"#, 20),
        (r#"meridian_affinity_cookies_total{result="absent"}"#, 1),
        (r#"meridian_affinity_cookies_total{result="valid"}"#, 20),
        (r#"meridian_affinity_cookies_total{result="forged"}"#, 1),
    ] {
        counted(&edge, series, count);
    }
    let tls = edge.tls().ask("GET / HTTP/1.1\r\nHost: edge\r\n\r\n");
    assert!(tls.field("set-cookie").unwrap().ends_with("; Secure"));
}

/// What the last request's head said of cookies, each field's value.
fn cookies(upstream: &Upstream) -> Vec<String> {
    let bytes = upstream.bytes();
    let text = String::from_utf8_lossy(&bytes);
    let last = text.rfind("HTTP/1.1\r\n").unwrap();
    let lines = text[last..].lines().map(str::to_ascii_lowercase);
    lines
        .filter_map(|line| Some(line.strip_prefix("cookie: ")?.to_owned()))
        .collect()
}

#[test]
fn the_edges_own_cookie_goes_to_no_backend_and_all_others_do() {
    let upstream = named("a");
    let edge = Setup::to(&[upstream.address]).policies(COOKIES).start();
    let first = ask(&edge, "");
    let own = first.field("set-cookie").unwrap();
    let own = own.split(';').next().unwrap().to_owned();
    let forged = own.replace("=1.", "=1.f");
    for (fields, left) in [
        (format!("Cookie: a=b; {own}; c=d\r\n"), vec!["a=b; c=d"]),
        (
            format!("Cookie: a=b\r\nCookie: {own}\r\nCookie: c=d\r\n"),
            vec!["a=b; c=d"],
        ),
        (format!("Cookie: {own}\r\n"), vec![]),
        (format!("Cookie: {forged}; {own}; a=b\r\n"), vec!["a=b"]),
        ("Cookie: a=b; c=d\r\n".to_owned(), vec!["a=b; c=d"]),
        (String::new(), vec![]),
    ] {
        assert_eq!(ask(&edge, &fields).status, 200);
        assert_eq!(cookies(&upstream), left, "{fields}");
        let over_tls = format!("GET / HTTP/1.1\r\nHost: edge\r\n{fields}\r\n");
        assert_eq!(edge.tls().ask(over_tls).status, 200);
        assert_eq!(cookies(&upstream), left, "{fields}");
    }
    // HTTP/2 and HTTP/3 clients send each cookie in a field of its own.
    h2client::with(&edge, async |mut client| {
        let mut request = h2client::request("GET", "/");
        for value in ["a=b", own.as_str(), "c=d"] {
            request
                .headers_mut()
                .append("cookie", value.parse().unwrap());
        }
        assert_eq!(client.ask_with(request).await.status, 200);
    });
    assert_eq!(cookies(&upstream), ["a=b; c=d"]);
    h3client::with(&edge, async |mut client| {
        let mut request = h3client::request("GET", "/");
        for value in ["a=b", own.as_str(), "c=d"] {
            request
                .headers_mut()
                .append("cookie", value.parse().unwrap());
        }
        assert_eq!(client.ask_with(request).await.status, 200);
    });
    assert_eq!(cookies(&upstream), ["a=b; c=d"]);
    // Without sessions by cookie it is a cookie like any other.
    let plain = Setup::to(&[upstream.address]).start();
    assert_eq!(ask(&plain, &format!("Cookie: a=b; {own}\r\n")).status, 200);
    assert_eq!(cookies(&upstream), [format!("a=b; {own}")]);
}

#[test]
fn an_address_stays_at_one_endpoint_and_moves_when_that_is_gone() {
    let upstreams = [named("a"), named("b"), named("c")];
    let addresses: Vec<SocketAddr> = upstreams.iter().map(|upstream| upstream.address).collect();
    let policies = "session_affinity: { type: client_ip }\n\
        retry: { max_retries: 2, min_per_second: 100 }\n";
    let edge = Setup::to(&addresses).policies(policies).start();
    let home = ask(&edge, "").text().to_owned();
    for _ in 0..20 {
        assert_eq!(ask(&edge, "").text(), home);
    }
    upstreams[usize::from(home.as_bytes()[0] - b'a')].stop();
    let next = ask(&edge, "").text().to_owned();
    assert_ne!(next, home);
    for _ in 0..20 {
        assert_eq!(ask(&edge, "").text(), next, "all move together");
    }
}

fn versions(trusted: &'static str) -> (TestEdge, [Upstream; 2]) {
    let upstreams = [named("old"), named("new")];
    let [old, new] = &upstreams;
    let endpoints = format!(
        "endpoints: [{{ url: \"http://{}\", version: v1 }}, {{ url: \"http://{}\", version: v2 }}]",
        old.address, new.address
    );
    let policies = "traffic_policy: { version_header: x-version, \
        version_routing: [{ version: v1, weight: 1 }, { version: v2, weight: 0 }] }\n";
    let setup = Setup::written(&format!("  - {{ id: local, {endpoints} }}\n"));
    let setup = setup.policies(policies);
    let setup = if trusted.is_empty() {
        setup
    } else {
        setup.trusting(trusted)
    };
    (setup.start(), upstreams)
}

#[test]
fn a_version_is_asked_for_by_a_trusted_hop_alone() {
    let (edge, _kept) = versions("");
    for fields in ["", "X-Version: v2\r\n"] {
        assert_eq!(ask(&edge, fields).text(), "old", "{fields}");
    }
    let (edge, _kept) = versions("127.0.0.0/8");
    assert_eq!(ask(&edge, "X-Version: v2\r\n").text(), "new");
    assert_eq!(ask(&edge, "X-Version: v9\r\n").text(), "old");
    for version in ["v1", "v2"] {
        let requests = "meridian_version_requests_total";
        counted(
            &edge,
            &format!(r#"{requests}{{version="{version}",status="2xx"}}"#),
            1,
        );
        let seconds = "meridian_version_request_duration_seconds_count";
        counted(&edge, &format!(r#"{seconds}{{version="{version}"}}"#), 1);
    }
}

#[test]
fn what_crosses_to_another_region_is_counted_and_priced() {
    let near = named("near");
    let far = Upstream::always(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}",
        "x".repeat(100_000)
    ));
    let regions = [
        ("local", "role: standby,", near.address),
        ("far", "", far.address),
    ];
    let prices = "egress_prices: { pairs: { local: { far: 10000 }, far: { local: 107374 } } }\n";
    let edge = Setup::regions(&regions).policies(prices).start();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 1000\r\n\r\n{}",
        "y".repeat(1_000)
    );
    assert_eq!(edge.plain().ask(request).body.len(), 100_000);
    let pair = r#"{source_region="local",target_region="far"}"#;
    counted(
        &edge,
        &format!("erlmcp_cross_region_bytes_total{pair}"),
        101_000,
    );
    let metrics = Telemetry::scrape(&edge.edge).unwrap();
    let cost = format!("meridian_egress_cost_dollars_total{pair} ");
    let cost = metrics
        .lines()
        .find_map(|line| line.strip_prefix(&cost))
        .unwrap();
    let cost: f64 = cost.parse().unwrap();
    // 100,000 bytes back at 107,374 a GiB, and 1,000 there at 10,000.
    assert!((cost - 10.009_296).abs() < 0.000_01, "{cost}");
}
