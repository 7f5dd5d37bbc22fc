//! The law, end to end: three regions, each a recording backend, under the
//! policy files that ship.

use crate::harness::{Carrier, Setup, TestEdge, Upstream, h2client, until};

const LAW: &str = include_str!("../../../conf/policies/residency.yaml");

const PLACES: &str = "
geo:
  overrides:
    - { cidr: 192.0.2.0/24, country: DE }
    - { cidr: 198.51.100.0/24, country: US }
    - { cidr: 203.0.113.0/24, country: SG }
outlier_detection: { consecutive_errors: 5 }
retry: { max_retries: 8, statuses: [500, 502, 503, 504], min_per_second: 1000 }
";

const GERMAN: &str = "192.0.2.7";

struct World {
    us: Upstream,
    eu: Upstream,
    asia: Upstream,
    edge: TestEdge,
}

fn world(eu: Upstream) -> World {
    let (us, asia) = (Upstream::echo(), Upstream::echo());
    let edge = Setup::regions(&[
        (
            "us-central1",
            "location: { country: US, lat: 41.26, lon: -95.86 },",
            us.address,
        ),
        (
            "europe-west1",
            "location: { country: BE, lat: 50.45, lon: 3.82 },",
            eu.address,
        ),
        (
            "asia-southeast1",
            "location: { country: SG, lat: 1.35, lon: 103.70 },",
            asia.address,
        ),
    ])
    .policies(LAW)
    .policies(PLACES)
    .trusting("127.0.0.0/8")
    .start();
    World { us, eu, asia, edge }
}

fn request(method: &str, client: &str, class: &str) -> String {
    format!(
        "{method} /data HTTP/1.1\r\nHost: edge\r\nX-Forwarded-For: {client}\r\n\
         X-Data-Class: {class}\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The other regions have recorded nothing at all.
fn stayed_home(world: &World) {
    assert_eq!(String::from_utf8_lossy(&world.us.bytes()), "");
    assert_eq!(String::from_utf8_lossy(&world.asia.bytes()), "");
}

#[test]
fn personal_data_of_a_european_is_served_in_europe() {
    let world = world(Upstream::echo());
    for carrier in [Carrier::Plain, Carrier::Tls] {
        let answer = world
            .edge
            .over(carrier)
            .ask(request("GET", GERMAN, "tier_1_pii"));
        assert_eq!(
            (answer.status, answer.field("x-meridian-region")),
            (200, Some("europe-west1"))
        );
    }
    stayed_home(&world);
}

#[test]
fn with_europe_down_personal_data_is_refused_and_goes_nowhere_else() {
    let world = world(Upstream::echo());
    let mut client = world.edge.plain();
    assert_eq!(client.ask(request("GET", GERMAN, "tier_1_pii")).status, 200);
    world.eu.stop();
    for round in 0..50 {
        let method = ["GET", "POST", "PUT", "DELETE", "HEAD"][round % 5];
        client.send(request(method, GERMAN, "tier_1_pii"));
        let answer = client.try_answer(method).unwrap();
        assert!(matches!(answer.status, 502 | 503), "{method}: {answer:?}");
        assert_eq!(
            answer.field("x-meridian-region").unwrap_or("europe-west1"),
            "europe-west1"
        );
    }
    // Once it is known to be down: 503, with a word on when to come back.
    until("the region counts as down", || {
        let answer = client.ask(request("GET", GERMAN, "tier_1_pii"));
        (answer.status == 503 && answer.field("retry-after").is_some()).then_some(())
    });
    h2client::with(&world.edge, async |mut client| {
        for _ in 0..10 {
            let mut request = h2client::request("GET", "/data");
            request
                .headers_mut()
                .append("x-forwarded-for", GERMAN.parse().unwrap());
            request
                .headers_mut()
                .append("x-data-class", "tier_1_pii".parse().unwrap());
            assert!(matches!(client.ask_with(request).await.status, 502 | 503));
        }
    });
    stayed_home(&world);
}

#[test]
fn a_european_backend_that_misbehaves_in_any_way_sends_nothing_abroad() {
    type Script = fn(&mut crate::harness::Call);
    let scripts: [Script; 6] = [
        |call| {
            call.request();
            call.send("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
        },
        |call| {
            call.request();
            call.send("nonsense\r\n\r\n").unwrap();
        },
        |call| {
            call.request();
            call.reset();
        },
        |call| {
            call.head();
        },
        |_| {},
        |call| {
            call.request();
            call.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
                .unwrap();
        },
    ];
    for script in scripts {
        let world = world(Upstream::start(script));
        for round in 0..20 {
            let method = ["GET", "POST"][round % 2];
            let mut client = world.edge.plain();
            client.send(request(method, GERMAN, "tier_1_pii"));
            match client.try_answer(method) {
                Ok(answer) => assert!(answer.status >= 500, "{answer:?}"),
                Err(crate::harness::client::Broken::Ended(..)) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        stayed_home(&world);
    }
}

#[test]
fn data_that_may_travel_does_when_europe_is_down() {
    let world = world(Upstream::echo());
    world.eu.stop();
    let answer = world
        .edge
        .plain()
        .ask(request("GET", GERMAN, "tier_4_public"));
    assert_eq!(answer.status, 200);
    assert_ne!(answer.field("x-meridian-region"), Some("europe-west1"));
}

#[test]
fn a_client_cannot_talk_its_data_into_a_milder_class_or_another_country() {
    let world = world(Upstream::echo());
    world.eu.stop();
    for fields in [
        "X-Data-Class: tier_1_pii\r\nX-Data-Class: tier_4_public\r\n",
        "X-Data-Class: tier_4_public\r\nX-Data-Class: tier_1_pii\r\n",
        "X-DATA-CLASS: TIER_1_PII\r\n",
        "X-Data-Class: tier_9_unknown\r\n",
        "X-Data-Class: tier_4_public, tier_1_pii\r\n",
        "X-Data-Class: \"tier_1_pii\"\r\n",
        "X-Data-Class:\r\n",
        "X-Data-Class: tier_1_pii\r\nConnection: x-data-class\r\n",
        "X-Data-Class: tier_1_pii\r\nX-Client-Region: US\r\n",
        "X-Data-Class: tier_1_pii\r\nX-HTTP-Method-Override: GET\r\n",
    ] {
        let mut client = world.edge.plain();
        let answer = client.ask(format!(
            "GET /data HTTP/1.1\r\nHost: edge\r\nX-Forwarded-For: {GERMAN}\r\n{fields}\r\n"
        ));
        assert!(answer.status >= 400, "{fields}: {answer:?}");
        stayed_home(&world);
    }
}

#[test]
fn only_the_right_most_address_that_is_no_hop_places_the_client() {
    let world = world(Upstream::echo());
    for forged in [
        format!("198.51.100.1, {GERMAN}"),
        format!("203.0.113.9, 198.51.100.1, {GERMAN}"),
        format!("junk, {GERMAN}"),
        format!("198.51.100.1, {GERMAN}, 127.0.0.9"),
    ] {
        let answer = world
            .edge
            .plain()
            .ask(request("GET", &forged, "tier_1_pii"));
        assert_eq!(
            answer.field("x-meridian-region"),
            Some("europe-west1"),
            "{forged}"
        );
    }
    stayed_home(&world);
}

#[test]
fn a_country_whose_regions_are_not_configured_is_451() {
    let world = world(Upstream::echo());
    let edge = &world.edge;
    // Nobody placed 100.64.0.1: the law for the rest of the world holds.
    let answer = edge.plain().ask(request("GET", "100.64.0.1", "tier_1_pii"));
    assert_eq!(answer.status, 451, "{}", answer.text());
    assert!(answer.field("proxy-status").unwrap().contains("residency"));
    stayed_home(&world);
    assert_eq!(world.eu.bytes(), b"");
}

/// Brazil and the United States, with what trusted hops may vouch for.
fn vouching(plaintext: &str, trusted: &'static str) -> (Upstream, TestEdge) {
    let us = Upstream::echo();
    let law = LAW.replacen(
        "classify:\n",
        "classify:\n  from_trusted_hops: [consent, safeguards, purpose]\n",
        1,
    );
    let edge = Setup::regions(&[("us-central1", "location: { country: US },", us.address)])
        .policies(&law)
        .policies(&PLACES.replace("country: SG", "country: JP"))
        .policies(plaintext)
        .trusting(trusted)
        .start();
    (us, edge)
}

fn claiming(client: &str, fields: &str) -> String {
    format!(
        "GET /data HTTP/1.1\r\nHost: edge\r\nX-Forwarded-For: {client}\r\n\
         X-Data-Class: tier_2_personal\r\n{fields}\r\n"
    )
}

const JAPANESE: &str = "203.0.113.7";

#[test]
fn consent_of_a_trusted_hop_opens_what_waits_for_it_and_nothing_else() {
    let (us, edge) = vouching("", "127.0.0.0/8");
    let ask = |client: &str, fields: &str| edge.plain().ask(claiming(client, fields)).status;
    let consent = "X-Consent: granted\r\n";
    assert_eq!(ask(JAPANESE, ""), 451);
    assert_eq!(ask(JAPANESE, "X-Consent: no\r\n"), 451);
    assert_eq!(
        ask(JAPANESE, &format!("{consent}X-Consent: withdrawn\r\n")),
        451
    );
    assert_eq!(ask(GERMAN, consent), 451, "adequacy is not consent");
    assert_eq!(us.bytes(), b"");
    assert_eq!(ask(JAPANESE, consent), 200);
    let seen = String::from_utf8_lossy(&us.bytes()).to_ascii_lowercase();
    assert!(
        seen.contains("x-consent: granted"),
        "the hop's word goes on: {seen}"
    );
    let strict = claiming(JAPANESE, consent).replace("tier_2_personal", "tier_1_pii");
    assert_eq!(edge.plain().ask(strict).status, 451);
}

#[test]
fn what_clients_say_of_consent_counts_for_nothing_and_goes_no_further() {
    let (us, edge) = vouching("", "10.0.0.0/8");
    let fields = "X-Consent: granted\r\nX-Safeguards: in-place\r\nX-Purpose: support\r\n";
    // Nobody placed loopback: the law for the rest of the world, which waits
    // for consent.
    assert_eq!(edge.plain().ask(claiming(JAPANESE, fields)).status, 451);
    assert_eq!(us.bytes(), b"");
    let harmless = format!("GET /data HTTP/1.1\r\nHost: edge\r\n{fields}\r\n");
    assert_eq!(edge.plain().ask(harmless).status, 200);
    let seen = String::from_utf8_lossy(&us.bytes()).to_ascii_lowercase();
    for name in ["x-consent", "x-safeguards", "x-purpose"] {
        assert!(!seen.contains(name), "{seen}");
    }
}

#[test]
fn data_that_must_be_encrypted_does_not_leave_in_plain_text() {
    let (us, edge) = vouching("plaintext_upstreams: { loopback: refuse }\n", "127.0.0.0/8");
    let answer = edge.plain().ask(claiming("198.51.100.7", ""));
    assert_eq!(answer.status, 451, "{}", answer.text());
    assert!(
        answer.text().contains("must be encrypted in transit"),
        "{}",
        answer.text()
    );
    assert_eq!(us.bytes(), b"");
    let (us, edge) = vouching(
        "plaintext_upstreams: { loopback: refuse, mesh: [127.0.0.0/8] }\n",
        "127.0.0.0/8",
    );
    assert_eq!(edge.plain().ask(claiming("198.51.100.7", "")).status, 200);
    assert_ne!(us.bytes(), b"");
}
