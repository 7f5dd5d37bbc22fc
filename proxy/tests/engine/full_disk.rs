//! The audit log on a file system that is full: a real one, small, in a mount
//! namespace of its own. Where no such can be had the tests say so.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::audit::{AMERICAN, CHINESE, World, about, world};
use crate::harness::{Upstream, until};
use crate::support::skipped;

/// Runs a test with a file system of 8 MiB, more than all records that wait; `name` is its path in this
/// binary. The process sees it in a namespace that ends with it.
fn on_a_small_disk(name: &str, body: impl FnOnce(&Path)) {
    const MARK: &str = "MERIDIAN_TEST_SMALL_DISK";
    const MOUNT: &str = "mount -t tmpfs -o size=8m meridian \"$1\" || exit 77; shift; exec \"$@\"";
    if let Some(disk) = std::env::var_os(MARK) {
        return body(Path::new(&disk));
    }
    let folder = tempfile::tempdir().unwrap();
    let ran = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", MOUNT, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(MARK, folder.path())
        .output();
    let Ok(output) = ran else {
        return skipped(name, "no `unshare` for a file system of its own");
    };
    let (ran, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    if output.status.code() == Some(77) || said.starts_with("unshare:") {
        return skipped(name, "no file system can be mounted here");
    }
    assert!(output.status.success(), "{ran}{said}");
    assert!(ran.contains("1 passed"), "{name} is no test: {ran}");
}

/// Writes until not a byte more fits.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("ballast");
    let mut file = std::fs::File::create(&path).unwrap();
    for size in [4_096, 1] {
        let full = loop {
            if let Err(error) = file.write_all(&vec![b'x'; size]) {
                break error;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    }
    path
}

/// Asks until the answer has this status; how many had the other.
fn browse_until(world: &World, status: u16) -> u64 {
    let mut others = 0;
    until("another status", || {
        let answer = world.browse(CHINESE);
        if answer.status == status {
            return Some(());
        }
        others += 1;
        None
    });
    others
}

fn lost(world: &World) -> u64 {
    let lost = "meridian_audit_lost_total{kind=\"transfer\"} ";
    world.edge.metric(lost)
}

fn transfers(world: &World) -> u64 {
    about(&world.records(), "transfer").len() as u64
}

#[test]
fn what_crosses_a_border_is_refused_while_the_disk_is_full_and_none_goes_unrecorded() {
    let name = "full_disk::what_crosses_a_border_is_refused_while_the_disk_is_full_and_none_goes_unrecorded";
    on_a_small_disk(name, |disk| {
        for mode in ["relaxed", "strict"] {
            let (us, eu) = (Upstream::echo(), Upstream::echo());
            let folder = TempDir::new_in(disk).unwrap();
            let more = format!(", mode: {mode}, refusals: law, fsync: always");
            let world = world(us, &eu, (folder, &more));
            assert_eq!(world.browse(CHINESE).status, 200);
            let mut served = 1;

            let ballast = fill(disk);
            // What is left of the file's last page takes a few records.
            served += browse_until(&world, 503);
            let audit = world.edge.edge.telemetry.audit().unwrap();
            let standing = audit.standing();
            let fault = standing.fault.unwrap();
            assert!(fault.contains("No space left"), "{mode}: {fault}");
            assert!(standing.errors > 0);
            for _ in 0..20 {
                let answer = world.browse(CHINESE);
                assert_eq!(answer.status, 503, "{mode}: {}", answer.text());
                assert!(answer.text().contains("audit-unavailable"));
            }
            assert_eq!(world.edge.metric("meridian_audit_refused_total "), 21);
            assert_eq!(world.ask(AMERICAN, "tier_1_pii").status, 200, "at home");
            assert_eq!(world.ask(CHINESE, "tier_1_pii").status, 451);

            std::fs::remove_file(ballast).unwrap();
            browse_until(&world, 200);
            served += 1;
            assert_eq!(transfers(&world), served, "{mode}: one record each");
            assert_eq!(lost(&world), 0, "{mode}");
            let records = world.records();
            let recovered = |record: &&serde_json::Value| record["why"] == "recovered";
            assert_eq!(
                about(&records, "opened")
                    .into_iter()
                    .filter(recovered)
                    .count(),
                1
            );
            // Refusals of the time in between stood all the same, and are told.
            let reasons = about(&records, "refusal").len();
            assert!(reasons >= 22, "{mode}: {reasons}");
        }
    });
}

#[test]
fn where_service_comes_first_a_full_disk_makes_holes_that_are_counted_and_said() {
    let name =
        "full_disk::where_service_comes_first_a_full_disk_makes_holes_that_are_counted_and_said";
    on_a_small_disk(name, |disk| {
        let (us, eu) = (Upstream::echo(), Upstream::echo());
        let folder = TempDir::new_in(disk).unwrap();
        let world = world(us, &eu, (folder, ", on_failure: serve"));
        let ballast = fill(disk);
        let mut served = 0;
        until("records are lost", || {
            assert_eq!(world.browse(CHINESE).status, 200);
            served += 1;
            (lost(&world) >= 10).then_some(())
        });
        std::fs::remove_file(ballast).unwrap();
        let audit = world.edge.edge.telemetry.audit().unwrap();
        until("it is written again", || {
            audit.standing().fault.is_none().then_some(())
        });
        assert_eq!(transfers(&world) + lost(&world), served);
        let records = world.records();
        let said: u64 = about(&records, "lost")
            .iter()
            .filter_map(|record| record["lost_transfers"].as_u64())
            .sum();
        assert_eq!(said, lost(&world), "the log itself tells of its holes");
    });
}
