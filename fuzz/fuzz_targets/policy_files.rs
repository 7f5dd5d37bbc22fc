#![no_main]
//! Any text as a policy file: compiled or refused, never a panic, and what is
//! compiled can be shown and decided with.

use libfuzzer_sys::fuzz_target;
use meridian_policies::{EdgePlace, References, Snapshot, SourceFile, State, Tick};
use meridian_policies::residency::{TransferAsk, transfer};
use meridian_policies::DataClass;

const BASE: &str = "regions:\n  - { id: us-central1, endpoints: [\"http://127.0.0.1:1\"] }\n";

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

fn compile(sources: &[SourceFile]) {
    let place = EdgePlace {
        region: "us-central1",
    };
    match Snapshot::compile(sources, &References::NONE, &place) {
        Ok(snapshot) => decide(&snapshot),
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a reason");
            for fault in faults {
                let _ = fault.to_string();
            }
        }
    }
}

fn decide(snapshot: &Snapshot) {
    let _ = snapshot.to_redacted_json().to_string();
    let view = State::new().reconcile(snapshot, Tick(0));
    let _ = view.status(snapshot, Tick(1));
    let ids: Vec<_> = snapshot.regions().iter().take(4).collect();
    for source in &ids {
        for destination in &ids {
            let region = |id: &str| snapshot.region_by_id(id);
            if let (Some(source), Some(destination)) = (region(&source.id), region(&destination.id)) {
                let ask = TransferAsk {
                    source,
                    destination,
                    class: DataClass::Tier1Pii,
                    consent: None,
                };
                let _ = transfer(snapshot, ask);
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    compile(&[file("fuzz.yaml", text)]);
    compile(&[file("base.yaml", BASE), file("fuzz.yaml", text)]);
});
