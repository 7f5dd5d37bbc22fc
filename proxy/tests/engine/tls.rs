//! TLS toward clients: which certificate, which version, which session.

use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, DigitallySignedStruct, ProtocolVersion, RootCertStore, SignatureScheme,
};

use crate::harness::pki::{Authority, Visit, client, replace};
use crate::harness::{Setup, TestEdge, Upstream, h3client, until};

const PAIRS: &str = "certificates:\n- { cert: a.pem, key: a.key }\n- { cert: b.pem, key: b.key }\n\
    - { cert: c.pem, key: c.key, names: [c.example] }";

/// Versions that a client offers.
fn only(authority: &Authority, version: &'static rustls::SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[test]
fn the_certificate_is_that_of_the_host_that_the_client_names() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    let a = authority.host(&["a.example", "127.0.0.1"]);
    let b = authority.host(&["*.b.example", "b.example"]);
    let c = authority.host(&["c.example", "d.example"]);
    a.write(folder.path(), "a");
    b.write(folder.path(), "b");
    c.write(folder.path(), "c");
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).tls(PAIRS, folder).start();
    let config = Arc::new(client(&authority, None));
    for (host, leaf) in [
        (Some("a.example"), &a),
        (Some("b.example"), &b),
        (Some("www.b.example"), &b),
        (Some("c.example"), &c),
        (None, &a),
    ] {
        let mut visit = Visit::to(edge.tls, host, &config).unwrap();
        assert_eq!(visit.shown(), leaf.der, "{host:?}");
        assert!(visit.get("edge").unwrap().starts_with("HTTP/1.1 200"));
    }
    // Its certificate says d.example too, its `names` do not: the default.
    for host in ["d.example", "x.y.b.example"] {
        let refused = Visit::to(edge.tls, Some(host), &config).err().unwrap();
        assert!(
            refused.to_string().contains("not valid for name"),
            "{refused}"
        );
    }
}

#[test]
fn a_replaced_pair_is_live_and_a_bad_one_is_told_and_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    let first = authority.host(&["a.example"]);
    first.write(folder.path(), "a");
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .tls("certificates: [{ cert: a.pem, key: a.key }]", folder)
        .start();
    // A new client each time: a resumed session shows what it began with.
    let visit = || {
        let config = Arc::new(client(&authority, None));
        Visit::to(edge.tls, Some("a.example"), &config).unwrap()
    };
    let mut old = visit();
    assert_eq!(old.shown(), first.der);

    let second = authority.host(&["a.example"]);
    replace(&edge.folder().join("a.pem"), &second.cert);
    let rejected = "meridian_tls_reloads_total{result=\"rejected\"}";
    until("half of a pair is told", || {
        (edge.metric(rejected) == 1).then_some(())
    });
    assert_eq!(visit().shown(), first.der, "the last good one serves");
    let fault = edge.edge.tls.certificates()[0].fault.clone().unwrap();
    assert!(fault.contains("do not fit"), "{fault}");

    replace(&edge.folder().join("a.key"), &second.key);
    until("the new pair is live", || {
        (visit().shown() == second.der).then_some(())
    });
    assert_eq!(edge.edge.tls.certificates()[0].fault, None);
    assert_eq!(
        edge.metric("meridian_tls_reloads_total{result=\"accepted\"}"),
        1
    );
    assert!(old.get("a.example").unwrap().starts_with("HTTP/1.1 200"));

    let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    authority.sign(&params).write(edge.folder(), "a");
    until("an expired pair is told", || {
        let fault = edge.edge.tls.certificates()[0].fault.clone()?;
        fault.contains("expired").then_some(())
    });
    assert_eq!(visit().shown(), second.der);
}

#[test]
fn a_mount_that_swaps_its_data_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    let (first, second) = (
        authority.host(&["a.example"]),
        authority.host(&["a.example"]),
    );
    for (name, leaf) in [("..1", &first), ("..2", &second)] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        leaf.write(&folder.path().join(name), "a");
    }
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, folder.path().join(at)).unwrap();
    link("..1", "..data");
    link("..data/a.pem", "a.pem");
    link("..data/a.key", "a.key");
    link("..2", "..data_tmp");
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .tls("certificates: [{ cert: a.pem, key: a.key }]", folder)
        .start();
    let config = Arc::new(client(&authority, None));
    let shown = || {
        Visit::to(edge.tls, Some("a.example"), &config)
            .unwrap()
            .shown()
    };
    assert_eq!(shown(), first.der);
    let at = |name: &str| edge.folder().join(name);
    std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
    until("the swapped pair is live", || {
        (shown() == second.der).then_some(())
    });
}

#[test]
fn a_certificates_expiry_is_a_metric_and_one_that_ends_soon_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    let soon = std::time::SystemTime::now() + std::time::Duration::from_hours(240);
    params.not_after = soon.into();
    authority.sign(&params).write(folder.path(), "a");
    let path = folder.path().join("a.pem");
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .tls("certificates: [{ cert: a.pem, key: a.key }]", folder)
        .start();
    let series = format!(
        "meridian_tls_certificate_expiry_seconds{{certificate=\"{}\"}}",
        path.display()
    );
    let left = meridian::telemetry::Telemetry::scrape(&edge.edge).unwrap();
    let left = left.lines().find_map(|line| line.strip_prefix(&series));
    let left: f64 = left.unwrap().trim().parse().unwrap();
    assert!((863_000.0..=864_000.0).contains(&left), "{left}");
    assert_eq!(edge.edge.tls.certificates()[0].standing, "expiring");
}

#[test]
fn versions_below_the_floor_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    authority.host(&["a.example"]).write(folder.path(), "a");
    let upstream = Upstream::echo();
    let floor = "certificates: [{ cert: a.pem, key: a.key }]\nmin_version: \"1.3\"";
    let edge = Setup::to(&[upstream.address]).tls(floor, folder).start();
    let new = Arc::new(only(&authority, &TLS13));
    let visit = Visit::to(edge.tls, Some("a.example"), &new).unwrap();
    let version = visit.connection().protocol_version();
    assert_eq!(version, Some(ProtocolVersion::TLSv1_3));
    let old = Arc::new(only(&authority, &TLS12));
    let refused = Visit::to(edge.tls, Some("a.example"), &old).err().unwrap();
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
    let failures = "meridian_handshake_failures_total{reason=\"no-agreement\"}";
    until("it is counted", || {
        (edge.metric(failures) == 1).then_some(())
    });
}

#[test]
fn tls_1_2_is_spoken_unless_the_floor_is_higher() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    authority.host(&["a.example"]).write(folder.path(), "a");
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .tls("certificates: [{ cert: a.pem, key: a.key }]", folder)
        .start();
    let old = Arc::new(only(&authority, &TLS12));
    let mut visit = Visit::to(edge.tls, Some("a.example"), &old).unwrap();
    assert!(visit.get("a.example").unwrap().starts_with("HTTP/1.1 200"));
}

/// Believes everything and remembers what was stapled.
#[derive(Debug)]
struct Stapled(Mutex<Vec<u8>>);

impl ServerCertVerifier for Stapled {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        ocsp_response.clone_into(&mut self.0.lock().unwrap());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

#[test]
fn the_ocsp_answer_of_the_file_is_stapled_and_follows_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    authority.host(&["a.example"]).write(folder.path(), "a");
    replace(&folder.path().join("a.der"), [0x30, 1, 7]);
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .tls(
            "certificates: [{ cert: a.pem, key: a.key, ocsp: a.der }]",
            folder,
        )
        .start();
    let stapled = || {
        let seen = Arc::new(Stapled(Mutex::default()));
        let mut config = client(&authority, None);
        config.dangerous().set_certificate_verifier(seen.clone());
        Visit::to(edge.tls, Some("a.example"), &Arc::new(config)).unwrap();
        let seen = seen.0.lock().unwrap();
        seen.clone()
    };
    assert_eq!(stapled(), [0x30, 1, 7]);
    replace(&edge.folder().join("a.der"), [0x30, 1, 9]);
    until("the new answer is stapled", || {
        (stapled() == [0x30, 1, 9]).then_some(())
    });
}

const TICKETS: &str =
    "certificates: [{ cert: a.pem, key: a.key }]\nsession_tickets: { keys: keys, rotate: 1h }";

/// An edge with a pair for `a.example` and shared ticket keys.
fn replica(authority: &Authority, keys: &str, more: &str, upstream: &Upstream) -> TestEdge {
    let folder = tempfile::tempdir().unwrap();
    authority.host(&["a.example"]).write(folder.path(), "a");
    replace(&folder.path().join("keys"), keys);
    replace(&folder.path().join("ca.pem"), &authority.pem);
    let tls = format!("{TICKETS}\n{more}");
    Setup::to(&[upstream.address]).tls(&tls, folder).start()
}

/// Begins or resumes a session, and reads what comes after the handshake.
fn resumes(edge: &TestEdge, config: &Arc<ClientConfig>) -> bool {
    let mut visit = Visit::to(edge.tls, Some("a.example"), config).unwrap();
    visit.get("a.example").unwrap();
    visit.resumed()
}

#[test]
fn a_session_is_resumed_by_a_replica_with_the_same_keys_until_they_are_taken_out() {
    let authority = Authority::new("authority");
    let upstream = Upstream::echo();
    let (old, new) = ("a".repeat(64), "b".repeat(64));
    let one = replica(&authority, &old, "", &upstream);
    let two = replica(&authority, &old, "", &upstream);
    for config in [&TLS12, &TLS13].map(|version| Arc::new(only(&authority, version))) {
        assert!(!resumes(&one, &config));
        assert!(resumes(&two, &config), "{config:?}");
    }
    let config = Arc::new(client(&authority, None));
    assert!(!resumes(&one, &config));
    for keys in [format!("{new}\n{old}"), new] {
        let before = two.metric("meridian_tls_reloads_total{result=\"accepted\"}");
        replace(&two.folder().join("keys"), &keys);
        until("the keys are taken", || {
            let taken = two.metric("meridian_tls_reloads_total{result=\"accepted\"}");
            (taken > before).then_some(())
        });
        // A ticket of the first edge, sealed with the old key.
        let fresh = Arc::new(client(&authority, None));
        resumes(&one, &fresh);
        assert_eq!(resumes(&two, &fresh), keys.contains('a'));
    }
}

#[test]
fn keys_of_the_processs_own_resume_and_off_does_not() {
    let authority = Authority::new("authority");
    let upstream = Upstream::echo();
    for (tickets, expected) in [
        ("session_tickets: { rotate: 1h }", true),
        ("session_tickets: off", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        authority.host(&["a.example"]).write(folder.path(), "a");
        let tls = format!("certificates: [{{ cert: a.pem, key: a.key }}]\n{tickets}");
        let edge = Setup::to(&[upstream.address]).tls(&tls, folder).start();
        for version in [&TLS12, &TLS13] {
            let config = Arc::new(only(&authority, version));
            assert!(!resumes(&edge, &config));
            assert_eq!(resumes(&edge, &config), expected, "{tickets} {version:?}");
        }
    }
}

#[test]
fn a_session_from_a_listener_that_asks_less_is_not_resumed_where_more_is_asked() {
    let authority = Authority::new("authority");
    let upstream = Upstream::echo();
    let keys = "a".repeat(64);
    let open = replica(&authority, &keys, "", &upstream);
    let optional = "client_auth: { mode: optional, ca: ca.pem }";
    let optional = replica(&authority, &keys, optional, &upstream);
    let required = "client_auth: { mode: required, ca: ca.pem }";
    let required = replica(&authority, &keys, required, &upstream);
    let config = Arc::new(client(&authority, None));
    assert!(!resumes(&open, &config));
    assert!(!resumes(&optional, &config), "another scope");
    let refused = Visit::to(required.tls, Some("a.example"), &config)
        .and_then(|mut visit| visit.get("a.example"));
    assert!(refused.is_err());
    let known = authority.client("spiffe://example/a");
    let config = Arc::new(client(&authority, Some(&known)));
    assert!(!resumes(&required, &config));
    assert!(resumes(&required, &config));
    // The authorities change: what they vouched for is judged again.
    let other = Authority::new("other");
    replace(&required.folder().join("ca.pem"), &other.pem);
    until("the new authorities judge", || {
        let visit = Visit::to(required.tls, Some("a.example"), &config);
        visit.and_then(|mut visit| visit.get("a.example")).err()
    });
}

#[test]
fn a_client_without_a_certificate_is_served_only_where_it_is_optional() {
    let authority = Authority::new("authority");
    let stranger = Authority::new("stranger");
    let upstream = Upstream::echo();
    let known = authority.client("spiffe://example/a");
    let unknown = stranger.client("spiffe://example/a");
    for (mode, without) in [("optional", true), ("required", false)] {
        let more = format!("client_auth: {{ mode: {mode}, ca: ca.pem }}");
        let edge = replica(&authority, &"a".repeat(64), &more, &upstream);
        for (own, served) in [
            (None, without),
            (Some(&known), true),
            (Some(&unknown), false),
        ] {
            let config = Arc::new(client(&authority, own));
            let answer = Visit::to(edge.tls, Some("a.example"), &config)
                .and_then(|mut visit| visit.get("a.example"));
            assert_eq!(answer.is_ok(), served, "{mode}: {answer:?}");
        }
    }
}

/// What arrives at the backend, by its own account.
fn field_at_backend(answer: &str, name: &str) -> Vec<String> {
    let prefix = format!("{name}: ");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.lines()
        .filter(|line| line.to_ascii_lowercase().starts_with(&prefix))
        .map(|line| line[prefix.len()..].to_owned())
        .collect()
}

#[test]
fn a_verified_certificate_reaches_backends_and_policies_and_no_claim_of_one_does() {
    let authority = Authority::new("authority");
    let upstream = Upstream::echo();
    let folder = tempfile::tempdir().unwrap();
    authority.host(&["a.example"]).write(folder.path(), "a");
    replace(&folder.path().join("ca.pem"), &authority.pem);
    let edge = Setup::to(&[upstream.address])
        .tls(
            "certificates: [{ cert: a.pem, key: a.key }]\nclient_auth: { mode: optional, ca: ca.pem }",
            folder,
        )
        .policies(
            "access:\n  requests:\n    - allow: { id: mesh, client_certificate: [\"spiffe://example/ns/a/*\"] }\n\
             \x20   - deny: { id: rest, paths: [/private*] }\n",
        )
        .start();
    let known = authority.client("spiffe://example/ns/a/web");
    let other = authority.client("spiffe://example/ns/b/web");
    let encoded = data_encoding::BASE64.encode(&known.der);
    let forged =
        format!("GET /private HTTP/1.1\r\nHost: a.example\r\nClient-Cert: :{encoded}:\r\n\r\n");
    for (own, private, shown) in [
        (Some(&known), true, vec![format!(":{encoded}:")]),
        (
            Some(&other),
            false,
            vec![format!(":{}:", data_encoding::BASE64.encode(&other.der))],
        ),
        (None, false, vec![]),
    ] {
        let config = Arc::new(client(&authority, own));
        for resumed in [false, true] {
            let mut visit = Visit::to(edge.tls, Some("a.example"), &config).unwrap();
            let answer = visit.ask(&forged).unwrap();
            let status = if private {
                "HTTP/1.1 200"
            } else {
                "HTTP/1.1 403"
            };
            assert!(answer.starts_with(status), "{answer}");
            let open = forged.replace("/private", "/open");
            let answer = visit.ask(&open).unwrap();
            assert_eq!(field_at_backend(&answer, "client-cert"), shown);
            assert_eq!(visit.resumed(), resumed);
        }
    }
}

#[test]
fn a_trusted_hops_client_certificate_is_passed_on() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .trusting("127.0.0.0/8")
        .start();
    let answer = edge
        .plain()
        .ask("GET / HTTP/1.1\r\nHost: a\r\nClient-Cert: :aG9w:\r\n\r\n");
    assert!(
        answer
            .text()
            .to_ascii_lowercase()
            .contains("client-cert: :ag9w:")
    );
}

#[test]
fn a_host_with_rules_of_its_own_is_not_reached_over_another_hosts_connection() {
    let authority = Authority::new("authority");
    let upstream = Upstream::echo();
    let folder = tempfile::tempdir().unwrap();
    authority
        .host(&["open.example", "also.example"])
        .write(folder.path(), "a");
    authority.host(&["staff.example"]).write(folder.path(), "b");
    authority.host(&["guest.example"]).write(folder.path(), "c");
    replace(&folder.path().join("ca.pem"), &authority.pem);
    let edge = Setup::to(&[upstream.address])
        .tls(
            "certificates:\n- { cert: a.pem, key: a.key }\n\
             - { cert: b.pem, key: b.key, client_auth: { mode: required, ca: ca.pem } }\n\
             - { cert: c.pem, key: c.key, client_auth: { mode: required, ca: ca.pem } }",
            folder,
        )
        .protocols("h1, h2")
        .start();
    let own = authority.client("spiffe://example/a");
    let config = Arc::new(client(&authority, Some(&own)));
    for (opened, asked, status) in [
        ("open.example", "open.example", 200),
        ("open.example", "also.example", 200),
        ("open.example", "unknown.example", 200),
        ("open.example", "staff.example", 421),
        ("open.example", "STAFF.example:8443", 421),
        ("staff.example", "staff.example:8443", 200),
        ("staff.example", "open.example", 421),
        ("staff.example", "guest.example", 421),
        ("staff.example", "unknown.example", 421),
    ] {
        let mut visit = Visit::to(edge.tls, Some(opened), &config).unwrap();
        let answer = visit.get(asked).unwrap();
        let line = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&line), "{opened} {asked}: {answer}");
    }
    let without = Arc::new(client(&authority, None));
    assert!(
        Visit::to(edge.tls, Some("open.example"), &without)
            .unwrap()
            .get("open.example")
            .is_ok()
    );
    let refused = Visit::to(edge.tls, Some("staff.example"), &without)
        .and_then(|mut visit| visit.get("staff.example"));
    assert!(refused.is_err());
    let counted = "meridian_handshake_failures_total{reason=\"client-certificate\"}";
    until("it is counted", || {
        (edge.metric(counted) == 1).then_some(())
    });
}

#[test]
fn handshakes_over_the_rate_are_closed_before_any_cryptography() {
    let authority = Authority::new("authority");
    let upstream = Upstream::echo();
    for limit in [
        "handshakes_per_second: 2",
        "handshakes_per_second_per_address: 2",
    ] {
        let folder = tempfile::tempdir().unwrap();
        authority.host(&["a.example"]).write(folder.path(), "a");
        let edge = Setup::to(&[upstream.address])
            .tls("certificates: [{ cert: a.pem, key: a.key }]", folder)
            .limits(limit)
            .start();
        let config = Arc::new(client(&authority, None));
        let done = (0..20).filter(|_| Visit::to(edge.tls, Some("a.example"), &config).is_ok());
        assert!(done.count() < 20);
        assert!(edge.closed("handshake-rate") > 0);
        assert_eq!(
            edge.plain().get("/").status,
            200,
            "plain listeners do not count"
        );
    }
}

#[test]
fn over_quic_certificates_of_both_sides_are_the_same_as_over_tcp() {
    let authority = Authority::new("authority");
    let upstream = Upstream::echo();
    let folder = tempfile::tempdir().unwrap();
    let shown = authority.host(&["a.example"]);
    authority.host(&["first.example"]).write(folder.path(), "a");
    shown.write(folder.path(), "b");
    replace(&folder.path().join("ca.pem"), &authority.pem);
    let edge = Setup::to(&[upstream.address])
        .tls(
            "certificates:\n- { cert: a.pem, key: a.key }\n- { cert: b.pem, key: b.key }\n\
             client_auth: { mode: required, ca: ca.pem }",
            folder,
        )
        .start();
    let own = authority.client("spiffe://example/a");
    h3client::run(async {
        let quic = h3client::call(edge.tls, "a.example", client(&authority, Some(&own)))
            .await
            .unwrap();
        let chain = quic.peer_identity().unwrap();
        let chain = chain.downcast::<Vec<CertificateDer<'static>>>().unwrap();
        assert_eq!(chain[0], shown.der);
        let mut session = h3client::Session::over(h3client::endpoint(), quic).await;
        for (host, status) in [("a.example", 200), ("first.example", 421), ("edge", 421)] {
            let request = http::Request::get(format!("https://{host}/"))
                .body(())
                .unwrap();
            let answer = session.ask_with(request).await;
            assert_eq!(answer.status, status, "{host}");
            let encoded = format!("client-cert: :{}:", data_encoding::BASE64.encode(&own.der));
            let told = answer.text().to_ascii_lowercase();
            assert_eq!(told.contains(&encoded.to_ascii_lowercase()), status == 200);
        }
        // In TLS 1.3 the client is done before it is judged.
        let refused = h3client::call(edge.tls, "a.example", client(&authority, None))
            .await
            .unwrap();
        refused.closed().await;
    });
    let counted = "meridian_handshake_failures_total{reason=\"client-certificate\"}";
    let other = "meridian_handshake_failures_total{reason=\"alert\"}";
    until("it is counted", || {
        (edge.metric(counted)
            + edge.metric(other)
            + edge.metric(&other.replace("alert", "protocol"))
            == 1)
            .then_some(())
    });
}
