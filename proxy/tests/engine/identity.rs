//! Who the client is and what the backend is told: from the connection and
//! from trusted hops, never from the client.

use crate::harness::upstream::field;
use crate::harness::{Setup, Upstream, h2client};

/// Everything a client may try to pass for something.
const FORGED: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\n\
    Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-Proto: evil\r\n\
    X-Forwarded-Host: evil\r\nX-Request-Id: evil\r\nX-Client-Region: EVIL\r\n\
    X-Client-City: evil\r\nClient-Cert: :evil:\r\nTraceparent: evil\r\nTracestate: evil=1\r\n\
    X-Data-Class: tier_4_evil\r\nX-Residency-Obligations: evil\r\nX-Meridian-Region: evil\r\n";

#[test]
fn what_an_untrusted_client_says_about_itself_ends_at_the_edge() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let request = format!("GET / HTTP/1.1\r\nHost: edge\r\n{FORGED}\r\n");
    for (answer, proto) in [
        (edge.plain().ask(&request), "http"),
        (edge.tls().ask(&request), "https"),
    ] {
        let seen = answer.text();
        assert!(
            !seen.contains("6.6.6.6") && !seen.contains("7.7.7.7"),
            "{seen}"
        );
        assert!(!seen.to_ascii_lowercase().contains("evil"), "{seen}");
        assert_eq!(field(seen, "x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(field(seen, "x-forwarded-proto"), Some(proto));
        assert_eq!(field(seen, "x-forwarded-host"), Some("edge"));
        assert_eq!(field(seen, "x-request-id"), answer.field("x-request-id"));
        assert!(field(seen, "traceparent").unwrap().starts_with("00-"));
        assert!(
            field(seen, "forwarded")
                .unwrap()
                .starts_with("for=127.0.0.1")
        );
    }
}

#[test]
fn the_same_holds_over_h2() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    h2client::with(&edge, async |mut client| {
        let mut request = h2client::request("GET", "/");
        for line in FORGED.lines() {
            let (name, value) = line.trim().split_once(": ").unwrap();
            let name = http::HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let answer = client.ask_with(request).await;
        let seen = answer.text().to_ascii_lowercase();
        assert!(
            !seen.contains("evil") && !seen.contains("6.6.6.6"),
            "{seen}"
        );
        assert_eq!(field(&seen, "x-forwarded-for"), Some("127.0.0.1"));
    });
}

#[test]
fn a_trusted_hop_is_continued() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .trusting("127.0.0.0/8")
        .start();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = edge.plain().ask(format!(
        "GET / HTTP/1.1\r\nHost: edge\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: shop.example\r\nTraceparent: {parent}\r\nTracestate: a=b\r\n\r\n"
    ));
    let seen = answer.text();
    assert_eq!(
        field(seen, "x-forwarded-for"),
        Some("203.0.113.7, 127.0.0.1")
    );
    assert_eq!(field(seen, "x-forwarded-proto"), Some("https"));
    assert_eq!(field(seen, "x-forwarded-host"), Some("shop.example"));
    assert_eq!(field(seen, "traceparent"), Some(parent));
    assert_eq!(field(seen, "tracestate"), Some("a=b"));
    assert!(
        field(seen, "forwarded")
            .unwrap()
            .starts_with("for=203.0.113.7")
    );
}

#[test]
fn spellings_that_a_backend_may_take_for_the_edges_fields_do_not_pass() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    // CGI and WSGI make `-` and `_` the same.
    let answer = edge.plain().ask(
        "GET / HTTP/1.1\r\nHost: edge\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded_For: 6.6.6.6\r\n\
         X_Client_Region: 6.6.6.6\r\nX_Data_Class: 6.6.6.6\r\nClient_Cert: 6.6.6.6\r\n\
         Content_Length: 6\r\nTransfer_Encoding: 6.6.6.6\r\nMy_Own: fine\r\n\r\n",
    );
    let seen = answer.text();
    assert!(!seen.contains("6.6.6.6"), "{seen}");
    assert_eq!(field(seen, "my_own"), Some("fine"));
}

#[test]
fn what_connection_names_and_what_belongs_to_a_hop_ends_at_the_edge() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let answer = edge.plain().ask(
        "GET / HTTP/1.1\r\nHost: edge\r\nConnection: X-Secret, keep-alive\r\nX-Secret: hop\r\n\
         Connection: x-other\r\nX-Other: hop\r\nKeep-Alive: hop\r\nProxy-Connection: hop\r\n\
         TE: trailers, hop\r\nTrailer: hop\r\nUpgrade: hop\r\nProxy-Authorization: hop\r\n\
         X-Mine: end\r\n\r\n",
    );
    let seen = answer.text();
    assert!(!seen.contains("hop"), "{seen}");
    assert_eq!(field(seen, "connection"), None);
    assert_eq!(field(seen, "x-mine"), Some("end"));
}

#[test]
fn a_client_cannot_name_the_edges_own_fields_away() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let answer = edge.plain().ask(
        "GET / HTTP/1.1\r\nHost: edge\r\nConnection: x-forwarded-for, x-data-class, x-request-id\r\n\r\n",
    );
    let seen = answer.text();
    assert_eq!(field(seen, "x-forwarded-for"), Some("127.0.0.1"));
    assert!(field(seen, "x-data-class").is_some());
    assert!(field(seen, "x-request-id").is_some());
}

#[test]
fn what_only_the_edge_may_say_is_not_the_backends_to_say() {
    let upstream = Upstream::always(
        "HTTP/1.1 200 OK\r\nX-Request-Id: forged\r\nX-Meridian-Region: forged\r\nRateLimit: forged\r\n\
         RateLimit-Policy: forged\r\nAlt-Svc: forged\r\nConnection: x-hop\r\nX-Hop: forged\r\n\
         Keep-Alive: forged\r\nX-Mine: fine\r\nContent-Length: 0\r\n\r\n",
    );
    let edge = Setup::to(&[upstream.address]).start();
    for answer in [edge.plain().get("/"), edge.tls().get("/")] {
        assert!(
            answer.fields.iter().all(|(_, value)| value != "forged"),
            "{answer:?}"
        );
        assert_eq!(answer.field("x-meridian-region"), Some("local"));
        assert_eq!(answer.field("x-mine"), Some("fine"));
    }
    h2client::with(&edge, async |mut client| {
        let answer = client.ask("GET", "/").await;
        assert!(
            answer.fields.values().all(|value| value != "forged"),
            "{:?}",
            answer.fields
        );
    });
}
