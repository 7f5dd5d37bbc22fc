use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::time::Instant;

use meridian_policies::audit::{Context, Fault, Operation, Verifier};
use serde_json::Value;
use tempfile::TempDir;

use super::*;

/// A disk with so many bytes left.
struct Filling(Arc<AtomicI64>);

impl Disk for Filling {
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let wanted = i64::try_from(bytes.len()).unwrap();
        let left = self.0.fetch_sub(wanted, Ordering::SeqCst).max(0);
        if left >= wanted {
            return file.write_all(bytes);
        }
        // A full disk takes what it can.
        file.write_all(&bytes[..usize::try_from(left).unwrap()])?;
        Err(io::ErrorKind::StorageFull.into())
    }
}

struct World {
    folder: TempDir,
    settings: AuditSettings,
    left: Arc<AtomicI64>,
}

fn world(mode: Mode) -> World {
    let folder = tempfile::tempdir().unwrap();
    let settings = AuditSettings {
        path: folder.path().join("audit"),
        mode,
        refusals: Refusals::All,
        transfers_from: DataClass::Tier4Public,
        rotate_size: 1 << 30,
        keep: Keep::All,
        fsync: Fsync::Always,
        on_failure: OnFailure::Refuse,
    };
    let left = Arc::new(AtomicI64::new(i64::MAX));
    World {
        folder,
        settings,
        left,
    }
}

impl World {
    fn open(&self) -> Audit {
        let disk = Box::new(Filling(Arc::clone(&self.left)));
        Audit::on(&self.settings, "us-central1", disk).unwrap()
    }

    fn fill(&self) {
        self.left.store(10, Ordering::SeqCst);
    }

    fn empty(&self) {
        self.left.store(i64::MAX, Ordering::SeqCst);
    }

    fn names(&self) -> Vec<String> {
        super::folder::names(&self.settings.path).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.settings.path.join(name)
    }

    /// Every record, once the chain was verified.
    fn records(&self) -> Vec<Value> {
        let (records, faults) = read(&self.settings.path);
        assert_eq!(faults, [], "the chain is broken");
        records
    }

    fn kinds(&self) -> Vec<String> {
        let kind = |record: &Value| record["kind"].as_str().unwrap().to_owned();
        self.records().iter().map(kind).collect()
    }
}

fn read(path: &Path) -> (Vec<Value>, Vec<Fault>) {
    let (mut verifier, mut records, mut faults) = (Verifier::new(), Vec::new(), Vec::new());
    for file in files(path).unwrap() {
        let text = std::fs::read(file).unwrap();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            match verifier.line(line) {
                Ok(line) => records.push(line.record),
                Err(found) => faults.extend(found),
            }
        }
    }
    (records, faults)
}

fn record(action: &str) -> String {
    let operation = Operation {
        action,
        region: None,
        reason: None,
        until_unix_ms: None,
    };
    operation.record(&Context {
        at_unix_ms: 5,
        edge: "us-central1",
        generation: 0,
        snapshot: None,
        request_id: "",
    })
}

fn flushed(audit: &Audit) {
    assert!(audit.flush(Duration::from_secs(10)));
}

fn until(what: &str, mut look: impl FnMut() -> bool) {
    let start = Instant::now();
    while !look() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn crossing(audit: &Audit, action: &str) -> Result<(), Unrecorded> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(audit.crossing(Kind::Transfer, record(action)))
}

#[test]
fn records_are_chained_in_the_order_in_which_they_came() {
    let world = world(Mode::Relaxed);
    let audit = world.open();
    for at in 0..600 {
        audit.operation(record(&format!("a{at}")));
    }
    flushed(&audit);
    let records = world.records();
    assert_eq!(records.len(), 601);
    assert_eq!(records[0]["why"], "start");
    for (at, record) in records.iter().skip(1).enumerate() {
        assert_eq!(record["action"], format!("a{at}"));
    }
    let standing = audit.standing();
    assert_eq!(standing.head.unwrap().seq, 601);
    assert_eq!(
        standing.written[Kind::Operator as usize],
        (Kind::Operator, 600)
    );
}

#[test]
fn the_chain_goes_on_after_a_restart() {
    let world = world(Mode::Relaxed);
    for _ in 0..3 {
        let audit = world.open();
        audit.operation(record("one"));
        flushed(&audit);
    }
    let kinds = world.kinds();
    assert_eq!(kinds, ["opened", "operator"].repeat(3));
    assert_eq!(world.names(), ["audit-000000000001.jsonl"]);
}

#[test]
fn a_torn_last_line_is_set_aside_recorded_and_told() {
    let world = world(Mode::Relaxed);
    drop_after(world.open(), "one");
    let path = world.path("audit-000000000001.jsonl");
    let whole = std::fs::read(&path).unwrap();
    let mut torn = File::options().append(true).open(&path).unwrap();
    torn.write_all(b"{\"hash\":\"aa").unwrap();
    let (_, faults) = read(&world.settings.path);
    assert_eq!(faults, [Fault::Torn { bytes: 11 }]);
    let audit = world.open();
    let records = world.records();
    assert_eq!(records.last().unwrap()["torn_bytes"], 11);
    assert_eq!(audit.standing().torn_bytes, 11);
    let aside = world.path(&format!("audit-000000000001.torn-{}", whole.len()));
    assert_eq!(std::fs::read(aside).unwrap(), b"{\"hash\":\"aa");
    assert!(std::fs::read(&path).unwrap().starts_with(&whole));
}

fn drop_after(audit: Audit, action: &str) {
    audit.operation(record(action));
    flushed(&audit);
    drop(audit);
}

#[test]
fn a_last_line_that_was_changed_stops_the_start() {
    let world = world(Mode::Relaxed);
    drop_after(world.open(), "one");
    let path = world.path("audit-000000000001.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"one\"", "\"two\"")).unwrap();
    let fault = Audit::start(&world.settings, "us-central1").unwrap_err();
    assert!(fault.to_string().contains("audit verify"), "{fault}");
}

#[test]
fn a_full_file_is_followed_by_one_that_names_its_last_hash() {
    let mut world = world(Mode::Relaxed);
    world.settings.rotate_size = 4_096;
    let audit = world.open();
    for at in 0..100 {
        audit.operation(record(&format!("a{at}")));
    }
    flushed(&audit);
    let names = world.names();
    assert!(names.len() > 5, "{names:?}");
    for pair in names.windows(2) {
        let last = |name: &str| {
            let text = std::fs::read_to_string(world.path(name)).unwrap();
            serde_json::from_str::<Value>(text.lines().next_back().unwrap()).unwrap()
        };
        let text = std::fs::read_to_string(world.path(&pair[1])).unwrap();
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["prev"], last(&pair[0])["hash"]);
        assert_eq!(first["record"]["previous"], pair[0]);
        assert_eq!(first["record"]["why"], "rotation");
        assert!(text.len() < 8_192, "{}", text.len());
    }
    let told: Vec<Value> = world
        .records()
        .into_iter()
        .filter(|record| record["kind"] == "operator")
        .collect();
    assert_eq!(told.len(), 100);
    assert_eq!(audit.standing().rotations, names.len() as u64 - 1);
}

#[test]
fn only_so_many_files_are_kept() {
    let mut world = world(Mode::Relaxed);
    world.settings.rotate_size = 2_048;
    world.settings.keep = Keep::Files(NonZeroUsize::new(3).unwrap());
    let audit = world.open();
    for at in 0..100 {
        audit.operation(record(&format!("a{at}")));
    }
    flushed(&audit);
    assert_eq!(world.names().len(), 3);
    assert_eq!(world.records().last().unwrap()["action"], "a99");
}

#[test]
fn in_strict_mode_a_record_is_on_the_disk_when_its_request_goes_on() {
    let world = world(Mode::Strict);
    let audit = world.open();
    for at in 0..5 {
        assert_eq!(crossing(&audit, &format!("a{at}")), Ok(()));
        let last = world.records().pop().unwrap();
        assert_eq!(last["action"], format!("a{at}"));
    }
}

#[test]
fn on_a_full_disk_what_must_be_recorded_is_refused_until_there_is_space() {
    for mode in [Mode::Strict, Mode::Relaxed] {
        let world = world(mode);
        let audit = world.open();
        assert_eq!(crossing(&audit, "before"), Ok(()));
        flushed(&audit);
        world.fill();
        // Relaxed: the first failure is found by a record that nobody awaits.
        audit.refusal(RejectReason::Residency, record("refused"));
        until("the log is failing", || audit.standing().fault.is_some());
        assert_eq!(crossing(&audit, "while-full"), Err(Unrecorded));
        let standing = audit.standing();
        assert!(
            standing.refused >= 1 && standing.errors >= 1,
            "{standing:?}"
        );
        assert_eq!(read(&world.settings.path).1, [], "no half line stays");
        world.empty();
        until("the log is written again", || {
            audit.standing().fault.is_none()
        });
        assert_eq!(crossing(&audit, "after"), Ok(()));
        flushed(&audit);
        let records = world.records();
        let actions: Vec<&str> = records
            .iter()
            .filter_map(|record| record["action"].as_str())
            .collect();
        assert_eq!(actions, ["before", "refused", "after"], "{mode:?}");
        let recovered = records.iter().any(|record| record["why"] == "recovered");
        assert!(recovered);
        assert_eq!(audit.standing().lost, Lost::default());
    }
}

#[test]
fn in_strict_mode_whoever_waits_hears_that_the_disk_is_full() {
    let world = world(Mode::Strict);
    let audit = world.open();
    world.fill();
    assert_eq!(crossing(&audit, "first"), Err(Unrecorded));
    assert!(audit.standing().fault.is_some());
    world.empty();
    until("written again", || audit.standing().fault.is_none());
    flushed(&audit);
    assert!(
        !world
            .records()
            .iter()
            .any(|record| record["action"] == "first"),
        "what was not done is not recorded"
    );
}

#[test]
fn where_service_comes_first_what_went_unrecorded_is_counted_and_said() {
    let mut world = world(Mode::Relaxed);
    world.settings.on_failure = OnFailure::Serve;
    let audit = world.open();
    world.fill();
    audit.refusal(RejectReason::Residency, record("refused"));
    until("failing", || audit.standing().fault.is_some());
    for _ in 0..3 {
        assert_eq!(crossing(&audit, "unseen"), Ok(()));
    }
    assert_eq!(audit.standing().lost.transfers, 3);
    world.empty();
    until("written again", || audit.standing().fault.is_none());
    until("said", || {
        flushed(&audit);
        world
            .records()
            .iter()
            .any(|record| record["kind"] == "lost" && record["lost_transfers"] == 3)
    });
}

#[test]
fn ordinary_refusals_can_not_crowd_out_the_law() {
    let world = world(Mode::Relaxed);
    let audit = world.open();
    world.fill();
    audit.refusal(RejectReason::Residency, record("first"));
    until("failing", || audit.standing().fault.is_some());
    for _ in 0..3 * QUEUE {
        audit.refusal(RejectReason::RateLimited, record("flood"));
    }
    audit.refusal(RejectReason::Residency, record("law"));
    let lost = audit.standing().lost.refusals;
    assert!(lost > 0, "the queue has a bound");
    world.empty();
    until("written again", || audit.standing().fault.is_none());
    flushed(&audit);
    let said = world
        .records()
        .iter()
        .filter_map(|record| record["lost_refusals"].as_u64())
        .sum::<u64>();
    assert_eq!(said, audit.standing().lost.refusals);
}

#[test]
fn a_folder_that_is_gone_is_a_failure_and_its_return_ends_it() {
    let world = world(Mode::Relaxed);
    let audit = world.open();
    let away = world.folder.path().join("away");
    std::fs::rename(&world.settings.path, &away).unwrap();
    audit.operation(record("unwritten"));
    until("failing", || audit.standing().fault.is_some());
    assert_eq!(crossing(&audit, "x"), Err(Unrecorded));
    std::fs::rename(&away, &world.settings.path).unwrap();
    until("written again", || audit.standing().fault.is_none());
    flushed(&audit);
    assert!(world.records().iter().any(|r| r["action"] == "unwritten"));
}

#[test]
fn lines_that_are_taken_away_while_it_runs_are_missed() {
    let world = world(Mode::Relaxed);
    let audit = world.open();
    audit.operation(record("one"));
    flushed(&audit);
    let path = world.path("audit-000000000001.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let first = text.split_inclusive('\n').next().unwrap();
    std::fs::write(&path, first).unwrap();
    audit.operation(record("two"));
    flushed(&audit);
    let (records, faults) = read(&world.settings.path);
    let gap = Fault::Sequence {
        expected: 2,
        found: 3,
    };
    assert_eq!(faults, [gap]);
    assert_eq!(records.last().unwrap()["action"], "two");
}

#[test]
fn two_processes_append_to_one_chain_in_turns() {
    let mut world = world(Mode::Strict);
    world.settings.rotate_size = 4_096;
    let (old, new) = (world.open(), world.open());
    for at in 0..40 {
        let audit = [&old, &new][at % 2];
        assert_eq!(crossing(audit, &format!("a{at}")), Ok(()));
    }
    let records = world.records();
    let actions: Vec<&str> = records
        .iter()
        .filter_map(|record| record["action"].as_str())
        .collect();
    let expected: Vec<String> = (0..40).map(|at| format!("a{at}")).collect();
    assert_eq!(actions, expected);
    assert!(world.names().len() > 2);
}

#[test]
fn which_refusals_and_transfers_are_recorded_is_a_setting() {
    let mut world = world(Mode::Relaxed);
    let all = world.open();
    assert!(
        all.wants_refusal(RejectReason::WafDenied) && all.wants_transfer(DataClass::Tier4Public)
    );
    world.settings.refusals = Refusals::Law;
    world.settings.transfers_from = DataClass::Tier2Personal;
    let law = world.open();
    assert!(law.wants_refusal(RejectReason::Residency));
    assert!(!law.wants_refusal(RejectReason::WafDenied));
    assert!(law.wants_transfer(DataClass::Tier1Pii));
    assert!(!law.wants_transfer(DataClass::Tier3Operational));
}
