//! TLS where hosts differ: several keys, rules of their own over QUIC as over
//! TCP; and what reaches both carriers: reloads, and the rate of handshakes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion};

use crate::harness::pki::{Authority, Visit, client, replace};
use crate::harness::{Setup, TestEdge, Upstream, h3client, until};

const BOTH: &str =
    "certificates:\n- { cert: rsa.pem, key: rsa.key }\n- { cert: ec.pem, key: ec.key }";

fn is_rsa(scheme: SignatureScheme) -> bool {
    format!("{scheme:?}").starts_with("RSA")
}

/// A client that verifies only such signatures of servers.
fn verifying(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
    keep: impl Fn(SignatureScheme) -> bool,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der.clone()).unwrap();
    let mut provider = rustls::crypto::ring::default_provider();
    let known = provider.signature_verification_algorithms;
    let mapping = known.mapping.iter().copied();
    let mapping: Vec<_> = mapping.filter(|(scheme, _)| keep(*scheme)).collect();
    provider.signature_verification_algorithms = WebPkiSupportedAlgorithms {
        all: known.all,
        mapping: Box::leak(mapping.into_boxed_slice()),
    };
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// The certificate that a client sees over QUIC.
async fn shown(edge: &TestEdge, host: &str, config: ClientConfig) -> CertificateDer<'static> {
    let quic = h3client::call(edge.tls, host, config).await.unwrap();
    let chain = quic.peer_identity().unwrap();
    let chain = chain.downcast::<Vec<CertificateDer<'static>>>().unwrap();
    chain[0].clone()
}

#[test]
fn of_two_keys_a_client_sees_the_one_that_it_can_verify_and_ecdsa_first() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    let rsa = authority.rsa_host(&["a.example", "127.0.0.1"]);
    let ec = authority.host(&["a.example", "127.0.0.1"]);
    rsa.write(folder.path(), "rsa");
    ec.write(folder.path(), "ec");
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).tls(BOTH, folder).start();
    for (host, version) in [
        (Some("a.example"), &TLS12),
        (Some("a.example"), &TLS13),
        (None, &TLS12),
        (None, &TLS13),
    ] {
        for (keep, expected) in [
            ((|_| true) as fn(SignatureScheme) -> bool, &ec),
            (is_rsa, &rsa),
            (|scheme| !is_rsa(scheme), &ec),
        ] {
            let config = Arc::new(verifying(&authority, version, keep));
            let mut visit = Visit::to(edge.tls, host, &config).unwrap();
            assert_eq!(visit.shown(), expected.der, "{host:?} {version:?}");
            assert!(visit.get("a.example").unwrap().starts_with("HTTP/1.1 200"));
        }
    }
    h3client::run(async {
        let modern = verifying(&authority, &TLS13, |_| true);
        assert_eq!(shown(&edge, "a.example", modern).await, ec.der);
        let old = verifying(&authority, &TLS13, is_rsa);
        assert_eq!(shown(&edge, "a.example", old).await, rsa.der);
    });
}

#[test]
fn both_keys_are_watched_and_their_expiry_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    authority
        .rsa_host(&["a.example"])
        .write(folder.path(), "rsa");
    authority.host(&["a.example"]).write(folder.path(), "ec");
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).tls(BOTH, folder).start();
    let seen = |keep: fn(SignatureScheme) -> bool| {
        let config = Arc::new(verifying(&authority, &TLS13, keep));
        Visit::to(edge.tls, Some("a.example"), &config)
            .unwrap()
            .shown()
    };
    let rsa = authority.rsa_host(&["a.example"]);
    rsa.write(edge.folder(), "rsa");
    until("the new RSA pair is live", || {
        (seen(is_rsa) == rsa.der).then_some(())
    });
    let ec = authority.host(&["a.example"]);
    ec.write(edge.folder(), "ec");
    until("the new ECDSA pair is live", || {
        (seen(|_| true) == ec.der).then_some(())
    });
    assert_eq!(seen(is_rsa), rsa.der);
    let text = meridian::telemetry::Telemetry::scrape(&edge.edge).unwrap();
    for name in ["rsa.pem", "ec.pem"] {
        let path = edge.folder().join(name);
        let series = format!(
            "meridian_tls_certificate_expiry_seconds{{certificate=\"{}\"}} ",
            path.display()
        );
        let left = text.lines().find_map(|line| line.strip_prefix(&series));
        assert!(left.unwrap().parse::<f64>().unwrap() > 0.0, "{name}");
    }
}

#[test]
fn one_name_under_two_rules_about_clients_is_refused_at_the_start_and_at_a_reload() {
    let authority = Authority::new("authority");
    let upstream = Upstream::echo();
    let pairs = "certificates:\n- { cert: a.pem, key: a.key }\n\
        - { cert: b.pem, key: b.key, client_auth: { mode: required, ca: ca.pem } }";
    let prepared = |first: &[&str], second: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        authority.host(first).write(folder.path(), "a");
        authority.host(second).write(folder.path(), "b");
        replace(&folder.path().join("ca.pem"), &authority.pem);
        Setup::to(&[upstream.address]).tls(pairs, folder)
    };
    let faults = prepared(&["a.example", "*.b.example"], &["*.B.example"]).tls_faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].message.contains("*.b.example"), "{faults:?}");
    assert!(faults[0].path.ends_with("b.pem"), "{faults:?}");

    let edge = prepared(&["a.example"], &["b.example"]).start();
    authority
        .host(&["a.example", "b.example"])
        .write(edge.folder(), "a");
    let fault = until("it is told", || {
        edge.edge.tls.certificates()[0].fault.clone()
    });
    let fault = if fault.contains("do not fit") {
        until("the whole pair is told", || {
            let fault = edge.edge.tls.certificates()[0].fault.clone()?;
            (!fault.contains("do not fit")).then_some(fault)
        })
    } else {
        fault
    };
    assert!(fault.contains("client_auth"), "{fault}");
    let without = Arc::new(client(&authority, None));
    let refused = Visit::to(edge.tls, Some("b.example"), &without)
        .and_then(|mut visit| visit.get("b.example"));
    assert!(refused.is_err());
}

/// Hosts with three rules about clients: none, required, optional.
fn three_rules(authority: &Authority, upstream: &Upstream) -> TestEdge {
    let folder = tempfile::tempdir().unwrap();
    authority
        .host(&["open.example", "also.example"])
        .write(folder.path(), "a");
    authority.host(&["staff.example"]).write(folder.path(), "b");
    authority.host(&["guest.example"]).write(folder.path(), "c");
    replace(&folder.path().join("ca.pem"), &authority.pem);
    Setup::to(&[upstream.address])
        .tls(
            "certificates:\n- { cert: a.pem, key: a.key }\n\
             - { cert: b.pem, key: b.key, client_auth: { mode: required, ca: ca.pem } }\n\
             - { cert: c.pem, key: c.key, client_auth: { mode: optional, ca: ca.pem } }",
            folder,
        )
        .start()
}

/// Asks a host over a connection.
async fn ask(session: &mut h3client::Session, host: &str) -> h3client::H3Answer {
    let request = http::Request::get(format!("https://{host}/"));
    session.ask_with(request.body(()).unwrap()).await
}

#[test]
fn over_quic_too_a_host_with_rules_of_its_own_is_reached_over_its_own_connection_alone() {
    let authority = Authority::new("authority");
    let upstream = Upstream::echo();
    let edge = three_rules(&authority, &upstream);
    let own = authority.client("spiffe://example/a");
    h3client::run(async {
        for (opened, asked) in [
            (
                "open.example",
                [("open.example", 200), ("also.example", 200)],
            ),
            (
                "open.example",
                [("staff.example", 421), ("STAFF.example:8443", 421)],
            ),
            (
                "open.example",
                [("guest.example", 421), ("unknown.example", 200)],
            ),
            (
                "staff.example",
                [("staff.example", 200), ("open.example", 421)],
            ),
            (
                "staff.example",
                [("guest.example", 421), ("unknown.example", 421)],
            ),
            (
                "guest.example",
                [("guest.example", 200), ("staff.example", 421)],
            ),
        ] {
            // A certificate in hand is shown to nobody who did not ask.
            let config = client(&authority, Some(&own));
            let quic = h3client::call(edge.tls, opened, config).await.unwrap();
            let mut session = h3client::Session::over(h3client::endpoint(), quic).await;
            for (host, status) in asked {
                let answer = ask(&mut session, host).await;
                assert_eq!(answer.status, status, "{opened} {host}");
                let text = answer.text().to_ascii_lowercase();
                let told = status == 200 && opened != "open.example";
                assert_eq!(text.contains("client-cert: :"), told, "{opened} {host}");
            }
        }
    });
}

#[test]
fn over_quic_a_client_without_a_certificate_is_served_where_the_host_lets_it() {
    let authority = Authority::new("authority");
    let upstream = Upstream::echo();
    let edge = three_rules(&authority, &upstream);
    let stranger = Authority::new("stranger").client("spiffe://example/a");
    h3client::run(async {
        for (own, served) in [
            (None, ["open.example", "guest.example"].as_slice()),
            (Some(&stranger), &["open.example"]),
        ] {
            for host in ["open.example", "guest.example", "staff.example"] {
                let config = client(&authority, own);
                let quic = h3client::call(edge.tls, host, config).await.unwrap();
                if !served.contains(&host) {
                    // In TLS 1.3 the client is done before it is judged.
                    quic.closed().await;
                    continue;
                }
                let mut session = h3client::Session::over(h3client::endpoint(), quic).await;
                assert_eq!(ask(&mut session, host).await.status, 200, "{host}");
            }
        }
    });
}

#[test]
fn a_hello_over_several_datagrams_finds_its_host_over_quic() {
    let authority = Authority::new("authority");
    let upstream = Upstream::echo();
    let folder = tempfile::tempdir().unwrap();
    authority.host(&["open.example"]).write(folder.path(), "a");
    let staff = authority.host(&["staff.example"]);
    staff.write(folder.path(), "b");
    replace(&folder.path().join("ca.pem"), &authority.pem);
    let edge = Setup::to(&[upstream.address])
        .tls(
            "certificates:\n- { cert: a.pem, key: a.key }\n\
             - { cert: b.pem, key: b.key, client_auth: { mode: required, ca: ca.pem } }",
            folder,
        )
        .start();
    let own = authority.client("spiffe://example/a");
    let mut config = client(&authority, Some(&own));
    config.alpn_protocols = (0..100).map(|n| vec![b'a' + n % 26; 100]).collect();
    config.alpn_protocols.push(b"h3".to_vec());
    h3client::run(async {
        let quic = h3client::call(edge.tls, "staff.example", config)
            .await
            .unwrap();
        let mut session = h3client::Session::over(h3client::endpoint(), quic).await;
        let request = http::Request::get("https://staff.example/")
            .body(())
            .unwrap();
        let answer = session.ask_with(request).await;
        assert_eq!(answer.status, 200);
        assert!(
            answer
                .text()
                .to_ascii_lowercase()
                .contains("client-cert: :")
        );
    });
}

#[test]
fn a_renewed_pair_is_seen_within_a_second_over_tcp_and_quic() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    authority.host(&["a.example"]).write(folder.path(), "a");
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .tls("certificates: [{ cert: a.pem, key: a.key }]", folder)
        .start();
    let tcp = || {
        let config = Arc::new(client(&authority, None));
        Visit::to(edge.tls, Some("a.example"), &config)
            .unwrap()
            .shown()
    };
    let quic = || h3client::run(shown(&edge, "a.example", client(&authority, None)));
    // The best of a few: a busy machine may hold one up.
    let fastest = (0..5).map(|_| {
        let leaf = authority.host(&["a.example"]);
        leaf.write(edge.folder(), "a");
        let start = Instant::now();
        until("it is seen over TCP", || (tcp() == leaf.der).then_some(()));
        until("it is seen over QUIC", || {
            (quic() == leaf.der).then_some(())
        });
        start.elapsed()
    });
    let fastest = fastest.min().unwrap();
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
}

#[test]
fn handshakes_over_the_rate_are_refused_over_quic_and_open_connections_go_on() {
    let upstream = Upstream::echo();
    for limit in [
        "handshakes_per_second: 2",
        "handshakes_per_second_per_address: 2",
    ] {
        let edge = Setup::to(&[upstream.address]).limits(limit).start();
        h3client::run(async {
            let mut session = h3client::Session::connect(edge.tls).await;
            let (mut done, mut refused) = (0, 0);
            while refused == 0 {
                assert!(done < 1_000, "{limit}: nothing is refused");
                let call =
                    h3client::call(edge.tls, "localhost", crate::harness::tls::client(b"h3"));
                match call.await {
                    Ok(_) => done += 1,
                    Err(quinn::ConnectionError::ConnectionClosed(close)) => {
                        let code = quinn::TransportErrorCode::CONNECTION_REFUSED;
                        assert_eq!(close.error_code, code, "{limit}");
                        refused += 1;
                    }
                    Err(other) => panic!("{limit}: {other}"),
                }
            }
            let failed = "meridian_handshake_failures_total";
            assert_eq!(edge.metric(failed), 0, "no handshake was begun");
            assert_eq!(session.ask("GET", "/").await.status, 200, "{limit}");
        });
        assert!(edge.closed("handshake-rate") > 0, "{limit}");
        assert_eq!(edge.plain().get("/").status, 200);
    }
}
