//! What becomes of a request whose place is unknown, disputed, or known from
//! stale data only: databases on disk, the shipped law, recording backends.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use meridian_geo::IpNet;

use crate::harness::{Setup, TestEdge, Upstream};

const LAW: &str = include_str!("../../../conf/policies/residency.yaml");

/// In Germany by every database that knows it.
const AGREED: &str = "9.1.1.1";
/// In Germany by the first database, in the United States by the second.
const DISPUTED: &str = "9.2.2.2";
/// In Germany by the first database; the second knows nothing.
const KNOWN_TO_ONE: &str = "9.3.3.3";
/// In no database.
const UNKNOWN: &str = "9.4.4.4";

/// A database of networks and countries, built so long ago.
fn database(networks: &[(&str, &str)], age: Duration) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut writer = mmdb_writer::Writer::builder("Test")
        .build_epoch(UNIX_EPOCH + now.checked_sub(age).unwrap())
        .build();
    for (network, country) in networks {
        let record = mmdb_writer::Value::map([("country_code", *country)]);
        let network: IpNet = network.parse().unwrap();
        writer.insert_value(network, record).unwrap();
    }
    writer.to_bytes().unwrap()
}

const DAY: Duration = Duration::from_hours(24);

struct World {
    us: Upstream,
    eu: Upstream,
    edge: TestEdge,
}

/// An edge with two databases of some age, `geo` members and more policies.
fn world((geo, age): (&str, Duration), law: &str) -> World {
    let folder = tempfile::tempdir().unwrap();
    let first = [
        ("9.1.0.0/16", "DE"),
        ("9.2.0.0/16", "DE"),
        ("9.3.0.0/16", "DE"),
    ];
    let second = [("9.1.0.0/16", "DE"), ("9.2.0.0/16", "US")];
    std::fs::write(folder.path().join("first.mmdb"), database(&first, age)).unwrap();
    std::fs::write(folder.path().join("second.mmdb"), database(&second, age)).unwrap();
    let geo = format!("embedded: off, databases: [first.mmdb, second.mmdb]{geo}");
    let (us, eu) = (Upstream::echo(), Upstream::echo());
    let edge = Setup::regions(&[
        ("us-central1", "location: { country: US },", us.address),
        ("europe-west1", "location: { country: BE },", eu.address),
    ])
    .policies(law)
    .located(&geo, folder)
    .trusting("127.0.0.0/8")
    .start();
    World { us, eu, edge }
}

impl World {
    /// Status, and the region that served.
    fn ask(&self, client: &str, class: &str, fields: &str) -> (u16, String) {
        let answer = self.edge.plain().ask(format!(
            "GET /data HTTP/1.1\r\nHost: edge\r\nX-Forwarded-For: {client}\r\n\
             X-Data-Class: {class}\r\n{fields}\r\n"
        ));
        let region = answer.field("x-meridian-region").unwrap_or("-").to_owned();
        (answer.status, region)
    }

    fn refuses(&self, client: &str, class: &str) {
        let before = (self.us.bytes(), self.eu.bytes());
        assert_eq!(self.ask(client, class, ""), (451, "-".to_owned()));
        let after = (self.us.bytes(), self.eu.bytes());
        assert_eq!(before, after, "no backend has seen anything of it");
    }

    fn serves(&self, client: &str, class: &str, region: &str) {
        assert_eq!(self.ask(client, class, ""), (200, region.to_owned()));
    }

    /// As the last row of the table: personal data is refused.
    fn is_nowhere(&self, client: &str) {
        self.refuses(client, "tier_1_pii");
        self.refuses(client, "tier_2_personal");
        let (status, _) = self.ask(client, "tier_3_operational", "");
        assert_eq!(status, 200);
        let (status, _) = self.ask(client, "tier_4_public", "");
        assert_eq!(status, 200);
    }

    fn is_german(&self, client: &str) {
        self.serves(client, "tier_1_pii", "europe-west1");
        self.serves(client, "tier_2_personal", "europe-west1");
    }
}

#[test]
fn an_unknown_place_has_the_law_that_unknown_location_names() {
    let shipped = world(("", DAY), LAW);
    shipped.is_german(AGREED);
    shipped.is_nowhere(UNKNOWN);

    let lenient = LAW.replacen("unknown_location: elsewhere", "unknown_location: us", 1);
    assert_ne!(lenient, LAW);
    let world = world(("", DAY), &lenient);
    world.serves(UNKNOWN, "tier_1_pii", "us-central1");
    world.is_german(AGREED);
}

#[test]
fn consent_opens_what_an_unknown_place_waits_for_and_no_more() {
    let law = LAW.replacen(
        "classify:\n",
        "classify:\n  from_trusted_hops: [consent]\n",
        1,
    );
    let world = world(("", DAY), &law);
    let consent = "X-Consent: granted\r\n";
    assert_eq!(world.ask(UNKNOWN, "tier_1_pii", consent).0, 451);
    assert_eq!(world.ask(UNKNOWN, "tier_2_personal", consent).0, 200);
}

#[test]
fn a_disputed_place_is_an_unknown_one_where_agreement_is_required() {
    let strict = format!("{LAW}\ngeo: {{ require_agreement: true }}\n");
    let world_strict = world(("", DAY), &strict);
    world_strict.is_german(AGREED);
    world_strict.is_german(KNOWN_TO_ONE);
    world_strict.is_nowhere(DISPUTED);

    let first_answer = world(("", DAY), LAW);
    first_answer.is_german(DISPUTED);
}

#[test]
fn stale_data_places_or_not_as_the_settings_say() {
    let old = DAY * 100;
    let told = world((", max_age: 30d, stale: warn", old), LAW);
    told.is_german(AGREED);

    let unknown = world((", max_age: 30d, stale: unknown", old), LAW);
    unknown.is_nowhere(AGREED);

    let young = world((", max_age: 30d, stale: unknown", DAY), LAW);
    young.is_german(AGREED);
}
