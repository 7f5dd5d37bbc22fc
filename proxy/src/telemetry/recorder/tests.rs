use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use meridian_policies::replay::{Recorded, Thresholds, replay};
use meridian_policies::{Receipt, RegionIndex, RouteIndex, ShortId, Verdict};

use super::Recorder;
use crate::edge::Generation;
use crate::settings::{GuardSettings, RecordingSettings, TelemetrySettings};
use crate::telemetry::Telemetry;
use crate::telemetry::testing::{TWO_REGIONS, generation, head, outcome, settings};

const PATIENCE: Duration = Duration::from_secs(20);

fn recording(file: Option<&Path>) -> RecordingSettings {
    RecordingSettings {
        one_in: NonZeroU32::MIN,
        file: file.map(Path::to_path_buf),
        rotate: 64 << 20,
        keep: 2,
        guard: None,
        shadow: None,
    }
}

fn telemetry(recording: RecordingSettings) -> Telemetry {
    let settings = TelemetrySettings {
        recording: Some(recording),
        ..settings()
    };
    Telemetry::new(&settings, "us-central1").unwrap()
}

/// As if the live policies had sent so many requests to `europe-west1`.
fn serve(telemetry: &Telemetry, generation: &Generation, requests: usize) {
    let head = head("/v3/echo", &[]);
    for number in 0..requests {
        let outcome = outcome(generation, &head);
        let mut receipt = Receipt::new();
        receipt.request_id = ShortId::new(&format!("request-{number}"));
        receipt.client = outcome.client;
        receipt.location = outcome.location;
        receipt.route = Some(RouteIndex(0));
        receipt.verdict = Verdict::Forward {
            region: RegionIndex(1),
        };
        telemetry.finish(&outcome, Box::new(receipt));
    }
    assert!(telemetry.recorder().unwrap().flush(PATIENCE));
}

fn lines(path: &Path) -> Vec<Recorded> {
    let text = fs::read_to_string(path).unwrap();
    let parsed = text.lines().map(|line| Recorded::parse(line).unwrap());
    parsed.collect()
}

#[test]
fn every_decision_becomes_a_line_that_can_be_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("decisions.jsonl");
    let (live, telemetry) = (
        generation(1, TWO_REGIONS),
        telemetry(recording(Some(&file))),
    );
    serve(&telemetry, &live, 3);
    let records = lines(&file);
    assert_eq!(records.len(), 3);
    assert_eq!(records[2].request_id, "request-2");
    assert_eq!(records[0].digest, live.snapshot.digest());
    assert!(replay(&live.snapshot, &records[0]).is_ok());
    assert_eq!(telemetry.recorder().unwrap().counts().written, 3);
}

#[test]
fn one_in_three_is_every_third() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("decisions.jsonl");
    let settings = RecordingSettings {
        one_in: NonZeroU32::new(3).unwrap(),
        ..recording(Some(&file))
    };
    serve(&telemetry(settings), &generation(1, TWO_REGIONS), 9);
    assert_eq!(lines(&file).len(), 3);
}

#[test]
fn a_full_file_is_put_aside_and_the_oldest_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("decisions.jsonl");
    let settings = RecordingSettings {
        rotate: 2_000,
        ..recording(Some(&file))
    };
    serve(&telemetry(settings), &generation(1, TWO_REGIONS), 40);
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["decisions.jsonl", "decisions.jsonl.1", "decisions.jsonl.2"]
    );
    assert_eq!(lines(&file).last().unwrap().request_id, "request-39");
    for name in names {
        let size = fs::metadata(folder.path().join(name)).unwrap().len();
        assert!(size <= 2_000, "{size} bytes");
    }
}

#[test]
fn a_disk_that_takes_nothing_costs_records_and_is_counted() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let telemetry = telemetry(recording(Some(full)));
    serve(&telemetry, &generation(1, TWO_REGIONS), 5);
    assert!(telemetry.recorder().unwrap().counts().disk > 0);
}

#[test]
fn a_guard_refuses_what_moves_too_many() {
    let guard = GuardSettings {
        requests: 10,
        thresholds: Thresholds {
            newly_refused: Some(0.1),
            ..Thresholds::default()
        },
    };
    let settings = RecordingSettings {
        guard: Some(guard),
        ..recording(None)
    };
    let (live, telemetry) = (generation(1, TWO_REGIONS), telemetry(settings));
    let denying = generation(
        2,
        &format!(
            "{TWO_REGIONS}access: {{ requests: [{{ deny: {{ id: all, paths: ['/v3/*'] }} }}] }}\n"
        ),
    );
    let recorder: &Recorder = telemetry.recorder().unwrap();
    assert_eq!(
        recorder.objection(&denying.snapshot),
        None,
        "nothing was recorded yet"
    );
    serve(&telemetry, &live, 30);
    let said = recorder.objection(&denying.snapshot).unwrap();
    assert!(
        said.contains("newly_refused: 10 of 10 recent requests, allowed 10%"),
        "{said}"
    );
    assert_eq!(recorder.objection(&live.snapshot), None);
}

#[test]
fn a_shadow_decides_beside_and_a_faulty_one_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies.yaml");
    let denying = "access: { requests: [{ deny: { id: all, paths: ['/v3/*'] } }] }\n";
    fs::write(&policies, format!("{TWO_REGIONS}{denying}")).unwrap();
    let settings = RecordingSettings {
        shadow: Some(folder.path().to_path_buf()),
        ..recording(None)
    };
    let (live, telemetry) = (generation(1, TWO_REGIONS), telemetry(settings));
    serve(&telemetry, &live, 4);
    let recorder = telemetry.recorder().unwrap();
    let count = |name: &str| {
        let agreement = recorder.agreement().unwrap();
        let mut decisions = agreement.decisions.into_iter();
        decisions.find(|(known, _)| *known == name).unwrap().1
    };
    assert_eq!((count("newly_refused"), count("same")), (4, 0));

    fs::write(&policies, "regions: [").unwrap();
    serve(&telemetry, &live, 1);
    assert!(recorder.agreement().unwrap().faulty);
    fs::write(&policies, TWO_REGIONS).unwrap();
    serve(&telemetry, &live, 1);
    serve(&telemetry, &live, 3);
    assert!(!recorder.agreement().unwrap().faulty);
    let same_or_moved = count("same") + count("moved");
    assert!(same_or_moved >= 3, "{same_or_moved}");
}

#[test]
fn a_shadow_that_does_not_compile_is_a_fault_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policies.yaml"), "regions: [").unwrap();
    let settings = TelemetrySettings {
        recording: Some(RecordingSettings {
            shadow: Some(folder.path().to_path_buf()),
            ..recording(None)
        }),
        ..settings()
    };
    let fault = Telemetry::new(&settings, "us-central1").err().unwrap();
    assert!(fault.to_string().contains("recording.shadow"), "{fault}");
}

#[test]
fn a_record_file_that_cannot_be_opened_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let settings = TelemetrySettings {
        recording: Some(recording(Some(&folder.path().join("none/records.jsonl")))),
        ..settings()
    };
    let fault = Telemetry::new(&settings, "us-central1").err().unwrap();
    let told = fault.to_string();
    assert!(
        told.starts_with("recording ") && told.contains("none/records.jsonl"),
        "{told}"
    );
}
