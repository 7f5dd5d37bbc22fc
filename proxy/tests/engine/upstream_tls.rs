//! TLS toward backends: whom the edge believes, how it shows itself, and what
//! the client is told where neither goes.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::Request;
use rcgen::CertificateParams;
use rustls::version::TLS12;
use tempfile::TempDir;

use crate::harness::client::Broken;
use crate::harness::pki::{Authority, Leaf, replace};
use crate::harness::secure::{Backend, Secure, forgetful, server, server_of};
use crate::harness::websocket::{OVER, Socket, masked, plain};
use crate::harness::{End, Setup, TestEdge, Upstream, h2client, h3client, until};

const TEXT: u8 = 0x81;

/// A folder with `ca.pem` of the authority.
fn folder(authority: &Authority) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    replace(&folder.path().join("ca.pem"), &authority.pem);
    folder
}

/// An edge whose only endpoints are these, spoken to over TLS.
fn setup(endpoints: &[SocketAddr], tls: &str, folder: TempDir) -> Setup {
    let list: Vec<String> = endpoints
        .iter()
        .map(|at| format!("\"https://{at}\""))
        .collect();
    let regions = format!("  - {{ id: local, endpoints: [{}] }}\n", list.join(", "));
    Setup::written(&regions)
        .policies(&format!("upstream_tls: {{ ca: ../ca.pem{tls} }}\n"))
        .files(folder)
}

/// Connects to endpoints that ended so.
fn connects(edge: &TestEdge, result: &str) -> u64 {
    edge.metric(&format!(
        "meridian_upstream_connects_total{{region=\"local\",result=\"{result}\"}}"
    ))
}

fn dated(names: &[&str], from: i32, until: i32) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    params
}

#[test]
fn a_backend_that_asks_for_certificates_is_reached_over_every_protocol() {
    let (authority, clients) = (Authority::new("backends"), Authority::new("edges"));
    let folder = folder(&authority);
    authority
        .host(&["127.0.0.1"])
        .write(folder.path(), "backend");
    clients.client("spiffe://edge").write(folder.path(), "edge");
    replace(&folder.path().join("clients.pem"), &clients.pem);
    let backend = Backend::start(folder.path(), "backend");
    let own = ", client: { cert: ../edge.pem, key: ../edge.key }, min_version: 1.3";
    let edge = setup(&[backend.address], own, folder).start();

    let body = vec![b'x'; 100_000];
    let mut whole = format!(
        "POST /v3/echo/body HTTP/1.1\r\nHost: edge\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    whole.extend_from_slice(&body);
    for mut client in [edge.plain(), edge.tls()] {
        let answer = client.ask(&whole);
        assert_eq!((answer.status, answer.body), (200, body.clone()));
        assert_eq!(client.get("/v3/echo").status, 200);
    }
    let answer = h2client::with(
        &edge,
        |mut h2| async move { h2.ask("GET", "/v3/echo").await },
    );
    assert_eq!(answer.status, 200);
    let sent = Bytes::from(body.clone());
    let answer = h3client::with(&edge, |mut h3| async move {
        let request = Request::post("https://localhost/v3/echo/body");
        h3.post(request.body(()).unwrap(), sent).await
    });
    assert_eq!((answer.status, answer.body), (200, body));
    for over in OVER {
        let mut socket = Socket::ask(&edge, over, "/v3/ws/echo").unwrap();
        socket.send(masked(TEXT, b"over TLS"));
        let echo = plain(TEXT, b"over TLS");
        assert_eq!(socket.exactly(echo.len()), echo, "{over:?}");
    }
    let own = edge.edge.certificates();
    let own = own.iter().find(|c| c.certificate.ends_with("edge.pem"));
    assert_eq!(own.unwrap().standing, "good");
    let left = "meridian_tls_certificate_expiry_seconds{certificate=";
    let scraped = meridian::telemetry::Telemetry::scrape(&edge.edge).unwrap();
    let told = scraped
        .lines()
        .any(|line| line.starts_with(left) && line.contains("edge.pem"));
    assert!(told, "{scraped}");
}

/// What the client is told, and what is counted and logged.
fn is_told(edge: &TestEdge, fault: &str, error: &str) {
    let answer = edge.plain().get("/");
    assert_eq!(answer.status, 502, "{fault}: {}", answer.text());
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["reason"], "upstream-tls", "{problem}");
    assert_eq!(problem["rule"], fault, "{problem}");
    let status = format!("meridian; error={error}; details=\"upstream-tls\"");
    assert_eq!(answer.field("proxy-status"), Some(status.as_str()));
    assert_eq!(connects(edge, fault), 1, "{fault}");
    let line = until("a line of the log", || edge.log().pop());
    assert!(
        line.contains(&format!("\"upstream_tls\":\"{fault}\"")),
        "{line}"
    );
    let id = answer.field("x-request-id").unwrap();
    let receipt = until("a receipt", || edge.edge.telemetry.decision(id));
    assert_eq!(receipt["attempts"][0]["outcome"], fault, "{receipt}");
}

#[test]
fn whoever_is_not_believed_gets_no_request_and_the_client_is_told_why() {
    let (authority, other) = (Authority::new("backends"), Authority::new("others"));
    let own = |leaf: &Leaf| forgetful(leaf);
    let alone = {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        Leaf {
            cert: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            der: made.cert.der().clone(),
        }
    };
    let good = authority.host(&["127.0.0.1"]);
    let expired = authority.sign(&dated(&["127.0.0.1"], 2019, 2020));
    let early = authority.sign(&dated(&["127.0.0.1"], 2090, 2099));
    let certificate = "tls_certificate_error";
    for (config, fault, error) in [
        (
            own(&other.host(&["127.0.0.1"])),
            "tls-unknown-ca",
            certificate,
        ),
        (own(&alone), "tls-unknown-ca", certificate),
        (
            own(&authority.host(&["127.0.0.2"])),
            "tls-name-mismatch",
            certificate,
        ),
        (
            own(&authority.host(&["localhost"])),
            "tls-name-mismatch",
            certificate,
        ),
        (own(&expired), "tls-expired", certificate),
        (own(&early), "tls-not-yet-valid", certificate),
        (
            server_of(&good, None, &[&TLS12]),
            "tls-no-agreement",
            "tls_protocol_error",
        ),
    ] {
        let backend = Secure::echo(config);
        let floor = ", min_version: 1.3";
        let edge = setup(&[backend.address], floor, folder(&authority));
        let edge = edge.logging().start();
        is_told(&edge, fault, error);
        assert_eq!(backend.requests(), 0, "{fault}");
    }
    let plain = Upstream::start(|call| {
        call.some();
        let _ = call.send("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let edge = setup(&[plain.address], "", folder(&authority))
        .logging()
        .start();
    is_told(&edge, "tls-protocol", "tls_protocol_error");
    assert_eq!(plain.count("GET"), 0, "nothing goes in plain text");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let edge = setup(&[silent.local_addr().unwrap()], "", folder(&authority))
        .timeouts("connect: 300ms")
        .logging()
        .start();
    is_told(&edge, "tls-timed-out", "connection_timeout");
}

#[test]
fn a_request_that_no_backend_can_have_handled_goes_to_the_next_one() {
    let (authority, clients) = (Authority::new("backends"), Authority::new("edges"));
    let good = authority.host(&["127.0.0.1"]);
    let strict = Secure::echo(server(&good, Some(&clients)));
    let strange = Secure::echo(forgetful(&Authority::new("others").host(&["127.0.0.1"])));
    for (refusing, fault) in [
        (&strict, "tls-client-certificate"),
        (&strange, "tls-unknown-ca"),
    ] {
        let open = Secure::echo(server(&good, None));
        let regions = format!(
            "  - {{ id: local, endpoints: [\"https://{}\"] }}\n  \
             - {{ id: other, role: standby, weight: 0, endpoints: [\"https://{}\"] }}\n",
            refusing.address, open.address
        );
        let edge = Setup::written(&regions)
            .policies("upstream_tls: { ca: ../ca.pem }\n")
            .policies("outlier_detection: { consecutive_errors: 3 }\n")
            .files(folder(&authority))
            .start();
        let mut client = edge.plain();
        let post = "POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 4\r\n\r\nbody";
        for _ in 0..3 {
            let answer = client.ask(post);
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.field("x-meridian-region"), Some("other"));
        }
        assert_eq!(connects(&edge, fault), 3);
        assert_eq!((refusing.requests(), open.requests()), (0, 3));
        // Each counted like a failure to connect: the endpoint is out.
        let ejected = "meridian_ejections_total{region=\"local\"}";
        assert_eq!(edge.metric(ejected), 1, "{fault}");
        assert_eq!(client.ask(post).status, 200);
        assert_eq!(connects(&edge, fault), 3, "it is not asked again");
    }
    // Nobody else is there to ask.
    let edge = setup(&[strict.address], "", folder(&authority))
        .logging()
        .start();
    is_told(&edge, "tls-client-certificate", "tls_alert_received");
}

#[test]
fn a_name_is_told_and_an_address_is_verified_without_being_told() {
    let authority = Authority::new("backends");
    let backend = Secure::echo(server(&authority.host(&["127.0.0.1", "b.internal"]), None));
    let port = backend.address.port();
    let regions = format!(
        "  - {{ id: address, endpoints: [\"https://127.0.0.1:{port}\"] }}\n  \
         - {{ id: name, tls: {{ server_name: b.internal }}, endpoints: [\"https://127.0.0.1:{port}\"] }}\n"
    );
    let edge = Setup::written(&regions)
        .routes("\n  - { id: a, path: /a, regions: [address] }\n  - { id: n, path: /n, regions: [name] }\n")
        .policies("upstream_tls: { ca: ../ca.pem }\n")
        .files(folder(&authority))
        .start();
    let mut client = edge.plain();
    for path in ["/a", "/n"] {
        assert_eq!(client.get(path).status, 200);
    }
    let names: Vec<_> = backend.met().into_iter().map(|met| met.name).collect();
    assert_eq!(names, [None, Some("b.internal".to_owned())]);
}

#[test]
fn new_connections_believe_the_newest_good_authorities() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let leaves = [&old, &new].map(|authority| authority.host(&["127.0.0.1"]));
    let backend = Secure::echo(forgetful(&leaves[0]));
    let edge = setup(&[backend.address], "", folder(&old)).start();
    let mut client = edge.plain();
    let ca = edge.folder().join("ca.pem");
    assert_eq!(client.get("/").status, 200);
    assert_eq!(client.get("/").status, 200);
    assert_eq!(backend.met().len(), 1, "a connection is kept");

    let result = |result: &str| {
        edge.metric(&format!(
            "meridian_tls_reloads_total{{result=\"{result}\"}}"
        ))
    };
    replace(&ca, "no certificate");
    until("it is told", || (result("rejected") == 1).then_some(()));
    assert_eq!(client.get("/").status, 200);
    assert_eq!(backend.met().len(), 1, "the last good one stays");

    replace(&ca, &new.pem);
    until("it is taken", || (result("accepted") == 1).then_some(()));
    let refused = client.get("/");
    assert_eq!(refused.status, 502, "what was made before is not used");
    assert!(
        refused.text().contains("tls-unknown-ca"),
        "{}",
        refused.text()
    );
    backend.accept_with(forgetful(&leaves[1]));
    assert_eq!(client.get("/").status, 200);
    assert_eq!(backend.requests(), 4);
}

#[test]
fn new_connections_show_the_newest_good_certificate() {
    let (authority, clients) = (Authority::new("backends"), Authority::new("edges"));
    let folder = folder(&authority);
    let [first, second] = [
        clients.client("spiffe://one"),
        clients.client("spiffe://two"),
    ];
    first.write(folder.path(), "edge");
    let good = authority.host(&["127.0.0.1"]);
    let backend = Secure::echo(server(&good, Some(&clients)));
    let own = ", client: { cert: ../edge.pem, key: ../edge.key }";
    let edge = setup(&[backend.address], own, folder).start();
    let mut client = edge.plain();
    assert_eq!(client.get("/").status, 200);
    replace(&edge.folder().join("edge.pem"), &second.cert);
    until("half of a pair is told", || {
        let fault = edge.edge.certificates().pop()?.fault?;
        fault.contains("do not fit").then_some(())
    });
    assert_eq!(client.get("/").status, 200);
    replace(&edge.folder().join("edge.key"), &second.key);
    until("the new pair is shown", || {
        assert_eq!(client.get("/").status, 200);
        (backend.met().len() == 2).then_some(())
    });
    let shown: Vec<_> = backend.met().into_iter().map(|met| met.shown).collect();
    assert_eq!(shown, [Some(first.der), Some(second.der)]);
}

#[test]
fn policies_that_change_tls_use_no_connection_of_before() {
    let authority = Authority::new("backends");
    let backend = Secure::echo(server(&authority.host(&["127.0.0.1", "b.internal"]), None));
    let edge = setup(&[backend.address], "", folder(&authority)).start();
    let mut client = edge.plain();
    assert_eq!(client.get("/").status, 200);
    let file = edge.folder().join("policies/policies.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let generation = || edge.edge.generation().number;
    let change = |to: &str, live: u64| {
        replace(&file, text.replace("ca: ../ca.pem", to));
        until("the policies are live", || {
            (generation() == live).then_some(())
        });
    };
    change("ca: ../ca.pem, server_name: b.internal", 2);
    assert_eq!(client.get("/").status, 200);
    change("ca: ../ca.pem, min_version: 1.3", 3);
    assert_eq!(client.get("/").status, 200);
    replace(&edge.folder().join("same.pem"), &authority.pem);
    change("ca: ../same.pem, min_version: 1.3", 4);
    assert_eq!(client.get("/").status, 200);
    let names: Vec<_> = backend.met().into_iter().map(|met| met.name).collect();
    assert_eq!(names, [None, Some("b.internal".to_owned()), None]);

    // The files that the newest policies name are watched.
    replace(&edge.folder().join("same.pem"), "no certificate");
    let rejected = "meridian_tls_reloads_total{result=\"rejected\"}";
    until("it is told", || (edge.metric(rejected) == 1).then_some(()));
    assert_eq!(client.get("/").status, 200);

    // A set that names what is not there changes nothing, and is tried again
    // when it is there.
    replace(&file, text.replace("ca: ../ca.pem", "ca: ../late.pem"));
    until("it is rejected", || edge.edge.reloads.standing());
    assert_eq!((client.get("/").status, generation()), (200, 4));
    replace(&edge.folder().join("late.pem"), &authority.pem);
    meridian::reload::reload(&edge.edge);
    until("it is live", || (generation() == 5).then_some(()));
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_session_is_resumed_and_its_certificate_is_judged_again() {
    let authority = Authority::new("backends");
    let good = authority.host(&["127.0.0.1"]);
    let backend = Secure::start(server(&good, None), |call| {
        while call.request().is_some() {
            call.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    });
    let edge = setup(&[backend.address], "", folder(&authority)).start();
    let mut short = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    short.not_before = std::time::SystemTime::UNIX_EPOCH.into();
    let lasts = std::time::Duration::from_secs(4);
    short.not_after = (std::time::SystemTime::now() + lasts).into();
    backend.accept_with(server(&authority.sign(&short), None));
    let mut client = edge.plain();
    assert_eq!(client.get("/").status, 200);
    assert_eq!(client.get("/").status, 200);
    let met = backend.met();
    assert!(met[1].resumed, "{met:?}");
    until("the certificate expires", || {
        let answer = client.get("/");
        (answer.status == 502).then(|| assert!(answer.text().contains("tls-expired")))
    });
    until("it was a resumed session", || {
        backend.met().last()?.resumed.then_some(())
    });
}

#[test]
fn a_body_up_to_the_end_is_whole_only_when_tls_says_so() {
    let authority = Authority::new("backends");
    let good = authority.host(&["127.0.0.1"]);
    let backend = Secure::start(server(&good, None), |call| {
        let head = call.request().unwrap();
        call.send("HTTP/1.1 200 OK\r\n\r\nhalf or whole");
        if head.contains("/whole") {
            call.say_goodbye();
        }
    });
    let edge = setup(&[backend.address], "", folder(&authority)).start();
    let ask = |path: &str| {
        let mut client = edge.plain();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: edge\r\n\r\n"));
        client.try_answer("GET")
    };
    assert_eq!(ask("/whole").unwrap().body, b"half or whole");
    match ask("/half") {
        Err(Broken::Ended(_, so_far)) => assert!(b"half or whole".starts_with(&so_far[..])),
        other => panic!("a cut body is no answer: {other:?}"),
    }
    let old = |path: &str| {
        let mut client = edge.plain();
        client.send(format!("GET {path} HTTP/1.0\r\nHost: edge\r\n\r\n"));
        client.rest().1
    };
    assert_eq!((old("/whole"), old("/half")), (End::Clean, End::Reset));
}

#[test]
fn an_idle_connection_that_ends_or_speaks_is_not_used_again() {
    let authority = Authority::new("backends");
    let good = authority.host(&["127.0.0.1"]);
    let spoke = Arc::new(AtomicBool::new(false));
    let speaks = Arc::clone(&spoke);
    let backend = Secure::start(server(&good, None), move |call| {
        while let Some(head) = call.request() {
            call.ok(&head);
            if head.contains("/speaks") {
                call.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                speaks.store(true, Ordering::Release);
            } else if head.contains("/ends") {
                return call.say_goodbye();
            }
        }
    });
    let edge = setup(&[backend.address], "", folder(&authority)).start();
    let mut client = edge.plain();
    for path in ["/", "/", "/speaks", "/", "/ends", "/"] {
        let answer = client.get(path);
        assert_eq!(answer.status, 200);
        assert!(answer.text().starts_with(&format!("GET {path} HTTP/1.1")));
        if path == "/speaks" {
            until("it speaks unasked", || {
                spoke.load(Ordering::Acquire).then_some(())
            });
        }
    }
    let heads: Vec<_> = backend.met().iter().map(|met| met.heads.len()).collect();
    assert_eq!(heads.iter().sum::<usize>(), 6, "{heads:?}");
    assert_eq!(heads.len(), 3, "{heads:?}");
    until("the edge says goodbye to what it drops", || {
        backend.met()[0].farewell.then_some(())
    });
}

#[test]
fn checks_believe_whom_requests_believe() {
    let authority = Authority::new("backends");
    let good = Secure::echo(server(&authority.host(&["127.0.0.1"]), None));
    let strange = Secure::echo(forgetful(&Authority::new("others").host(&["127.0.0.1"])));
    let edge = setup(&[good.address, strange.address], "", folder(&authority))
        .policies("health_check: { interval: 1s, timeout: 1s, unhealthy_threshold: 1 }\n")
        .start();
    let healthy = |at: SocketAddr| {
        edge.metric(&format!(
            "meridian_endpoint_healthy{{region=\"local\",endpoint=\"local/https://{at}\"}}"
        ))
    };
    until("one is up and one is down", || {
        let both = (healthy(good.address), healthy(strange.address));
        (both == (1, 0) && good.requests() > 0).then_some(())
    });
    assert_eq!(strange.requests(), 0);
    assert!(good.met()[0].heads[0].starts_with("GET /v3/health"));
}

#[test]
fn data_that_must_be_encrypted_goes_over_tls_and_not_in_plain_text() {
    let authority = Authority::new("backends");
    let sealed = Secure::echo(server(&authority.host(&["127.0.0.1"]), None));
    let bare = Upstream::echo();
    let law = include_str!("../../../conf/policies/residency.yaml");
    let place = "geo: { overrides: [{ cidr: 127.0.0.0/8, country: DE }] }\n\
        plaintext_upstreams: { loopback: refuse }\n";
    let edge = |endpoint: &str| {
        let country = "location: { country: BE, lat: 50.45, lon: 3.82 }";
        let regions =
            format!("  - {{ id: europe-west1, {country}, endpoints: [\"{endpoint}\"] }}\n");
        Setup::written(&regions)
            .policies(law)
            .policies(place)
            .policies("upstream_tls: { ca: ../ca.pem }\n")
            .files(folder(&authority))
            .start()
    };
    let personal = "GET / HTTP/1.1\r\nHost: edge\r\nX-Data-Class: tier_1_pii\r\n\r\n";
    let tls = edge(&format!("https://{}", sealed.address));
    assert_eq!(tls.plain().ask(personal).status, 200);
    assert_eq!(sealed.requests(), 1);
    let plain = edge(&format!("http://{}", bare.address));
    assert_eq!(plain.plain().ask(personal).status, 451);
    assert!(bare.bytes().is_empty());
}
