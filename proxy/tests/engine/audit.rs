//! The audit log between real sockets: what it says, and what a request may
//! not do while it can't be written.

use std::path::{Path, PathBuf};

use meridian::telemetry::audit::files;
use meridian_policies::audit::Verifier;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Setup, TestEdge, Upstream, until};

const LAW: &str = include_str!("../../../conf/policies/residency.yaml");

const PLACES: &str = "
geo:
  overrides:
    - { cidr: 192.0.2.0/24, country: DE }
    - { cidr: 198.51.100.0/24, country: US }
    - { cidr: 203.0.113.0/24, country: CN }
";

const GERMAN: &str = "192.0.2.7";
pub(crate) const AMERICAN: &str = "198.51.100.7";
pub(crate) const CHINESE: &str = "203.0.113.7";

const ROUTES: &str = r#"
  - { id: denied, path: "/deny*", action: { deny: {} } }
  - { id: catalogue, path: "/catalogue", data_class: tier_4_public }
  - { id: everything, path: "/*" }
"#;

pub(crate) struct World {
    us: Upstream,
    pub(crate) edge: TestEdge,
    folder: TempDir,
}

/// A region in the United States and one in Belgium, and a log.
pub(crate) fn world(us: Upstream, eu: &Upstream, (folder, more): (TempDir, &str)) -> World {
    let path = folder.path().join("audit");
    let edge = Setup::regions(&[
        ("us-central1", "location: { country: US },", us.address),
        ("europe-west1", "location: { country: BE },", eu.address),
    ])
    .policies(LAW)
    .policies(PLACES)
    .routes(ROUTES)
    .trusting("127.0.0.0/8")
    .audit(&format!("path: {}{more}", path.display()))
    .start();
    World { us, edge, folder }
}

impl World {
    fn path(&self) -> PathBuf {
        self.folder.path().join("audit")
    }

    pub(crate) fn ask(&self, client: &str, class: &str) -> crate::harness::client::Answer {
        self.edge.plain().ask(format!(
            "GET /data HTTP/1.1\r\nHost: edge\r\nX-Forwarded-For: {client}\r\n\
             X-Data-Class: {class}\r\nContent-Length: 0\r\n\r\n"
        ))
    }

    /// Public data: it may go anywhere, even from China.
    pub(crate) fn browse(&self, client: &str) -> crate::harness::client::Answer {
        self.edge.plain().ask(format!(
            "GET /catalogue HTTP/1.1\r\nHost: edge\r\nX-Forwarded-For: {client}\r\n\r\n"
        ))
    }

    fn until_failing(&self) {
        let audit = self.edge.edge.telemetry.audit().unwrap();
        until("the log is failing", || {
            audit.standing().fault.is_some().then_some(())
        });
    }

    pub(crate) fn records(&self) -> Vec<Value> {
        let audit = self.edge.edge.telemetry.audit().unwrap();
        assert!(audit.flush(crate::harness::PATIENCE));
        records(&self.path())
    }
}

/// Every record of a whole chain.
fn records(path: &Path) -> Vec<Value> {
    let mut verifier = Verifier::new();
    let mut records = Vec::new();
    for file in files(path).unwrap() {
        for line in std::fs::read(file)
            .unwrap()
            .split_inclusive(|b| *b == b'\n')
        {
            records.push(verifier.line(line).unwrap().record);
        }
    }
    records
}

pub(crate) fn about<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let of_kind = |record: &&Value| record["kind"] == kind;
    records.iter().filter(of_kind).collect()
}

#[test]
fn refusals_and_crossings_are_recorded_and_what_stays_home_is_not() {
    let (us, eu) = (Upstream::echo(), Upstream::echo());
    let world = world(us, &eu, (tempfile::tempdir().unwrap(), ""));
    assert_eq!(world.ask(GERMAN, "tier_1_pii").status, 200);
    let refused = world.ask(CHINESE, "tier_1_pii");
    assert_eq!(refused.status, 451);
    let crossed = world.browse("203.0.113.9");
    assert_eq!(crossed.status, 200);
    assert_eq!(
        world
            .edge
            .plain()
            .ask("GET /deny HTTP/1.1\r\nHost: a\r\n\r\n")
            .status,
        403
    );
    let records = world.records();
    let refusals = about(&records, "refusal");
    assert_eq!(refusals.len(), 2, "{records:#?}");
    let law = refusals[0];
    for (key, value) in [
        ("jurisdiction", "cn"),
        ("rule", "prohibited"),
        ("class", "tier_1_pii"),
        ("client", "203.0.113.0/24"),
        ("country", "CN"),
        ("reason", "residency"),
        ("route", "everything"),
        ("edge", "local"),
    ] {
        assert_eq!(law[key], value, "{law}");
    }
    assert_eq!(law["request_id"], refused.field("x-request-id").unwrap());
    assert_eq!(law["generation"], 1);
    assert_eq!(refusals[1]["reason"], "access-denied");
    let transfers = about(&records, "transfer");
    assert_eq!(transfers.len(), 1, "{transfers:?}");
    let transfer = transfers[0];
    assert_eq!(
        transfer["region"],
        crossed.field("x-meridian-region").unwrap()
    );
    assert_eq!(transfer["basis"], "not_protected");
    assert_eq!(transfer["transport"], "loopback");
    let now = world
        .edge
        .edge
        .clock
        .unix_ms_at(world.edge.edge.clock.tick());
    assert!(transfer["at_unix_ms"].as_u64().unwrap() <= now);
    assert_eq!(
        world
            .edge
            .metric("meridian_audit_records_total{kind=\"transfer\"} "),
        1
    );
    assert_eq!(
        world
            .edge
            .metric("meridian_audit_records_total{kind=\"refusal\"} "),
        2
    );
}

#[test]
fn only_the_law_and_only_strict_classes_where_the_settings_say_so() {
    let (us, eu) = (Upstream::echo(), Upstream::echo());
    let more = ", refusals: law, transfers_from: tier_2_personal";
    let world = world(us, &eu, (tempfile::tempdir().unwrap(), more));
    world
        .edge
        .plain()
        .ask("GET /deny HTTP/1.1\r\nHost: a\r\n\r\n");
    world.browse(CHINESE);
    world.ask(CHINESE, "tier_1_pii");
    let records = world.records();
    assert_eq!(about(&records, "transfer").len(), 0);
    let refusals = about(&records, "refusal");
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0]["reason"], "residency");
}

#[test]
fn in_strict_mode_the_record_is_on_the_disk_before_the_backend_hears_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let (saw, seen) = std::sync::mpsc::channel();
    let us = Upstream::start(move |call| {
        call.request();
        let _ = saw.send(about(&records(&path), "transfer").len());
        call.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
    });
    let eu = Upstream::echo();
    eu.stop();
    let world = world(us, &eu, (folder, ", mode: strict"));
    assert_eq!(world.browse(GERMAN).status, 200);
    let before = seen.recv_timeout(crate::harness::PATIENCE).unwrap();
    assert!(before >= 1, "the backend was first");
}

#[test]
fn what_can_not_be_recorded_does_not_cross_and_the_rest_goes_on() {
    for mode in ["relaxed", "strict"] {
        let (us, eu) = (Upstream::echo(), Upstream::echo());
        let more = format!(", mode: {mode}, refusals: law");
        let world = world(us, &eu, (tempfile::tempdir().unwrap(), &more));
        let away = world.folder.path().join("away");
        std::fs::rename(world.path(), &away).unwrap();
        // A refusal finds the fault, and is one all the same.
        assert_eq!(world.ask(CHINESE, "tier_1_pii").status, 451);
        world.until_failing();
        let answer = world.browse(CHINESE);
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.text().contains("audit-unavailable"));
        assert_eq!(answer.field("retry-after"), Some("1"));
        assert_eq!(world.us.bytes().len() + eu.bytes().len(), 0, "nothing left");
        assert_eq!(world.ask(AMERICAN, "tier_1_pii").status, 200, "at home");
        assert_eq!(world.edge.metric("meridian_audit_refused_total "), 1);
        let refused = "meridian_decisions_total{verdict=\"refuse\",reason=\"audit-unavailable\"} ";
        assert_eq!(world.edge.metric(refused), 1);
        std::fs::rename(&away, world.path()).unwrap();
        until("it is written again", || {
            (world.browse(CHINESE).status == 200).then_some(())
        });
        let records = world.records();
        let reasons: Vec<&str> = about(&records, "refusal")
            .iter()
            .filter_map(|record| record["reason"].as_str())
            .collect();
        assert_eq!(&reasons[..2], ["residency", "audit-unavailable"]);
    }
}

#[test]
fn where_service_comes_first_the_hole_is_counted() {
    let (us, eu) = (Upstream::echo(), Upstream::echo());
    let world = world(
        us,
        &eu,
        (tempfile::tempdir().unwrap(), ", on_failure: serve"),
    );
    std::fs::rename(world.path(), world.folder.path().join("away")).unwrap();
    assert_eq!(world.ask(CHINESE, "tier_1_pii").status, 451);
    world.until_failing();
    assert_eq!(world.browse(CHINESE).status, 200);
    assert_eq!(
        world
            .edge
            .metric("meridian_audit_lost_total{kind=\"transfer\"} "),
        1
    );
}
