//! The verbs that end by themselves, as a user runs them.

#[cfg(test)]
#[path = "support/mod.rs"]
mod support;

use serde_json::json;
use support::{Around, copy, meridian, ran, repository, run};

fn shipped() -> String {
    repository()
        .join("conf/meridian.yaml")
        .display()
        .to_string()
}

#[test]
fn every_example_is_good_and_says_what_it_shows() {
    let around = Around::new();
    let mut seen = 0;
    for entry in std::fs::read_dir(repository().join("conf/examples")).unwrap() {
        let file = entry.unwrap().path().join("meridian.yaml");
        let checked = around.around(meridian().args(["check", "--json", "--config"]).arg(&file));
        assert_eq!(
            checked.code,
            Some(0),
            "{}\n{}{}",
            file.display(),
            checked.out,
            checked.err
        );
        let result = checked.json();
        assert_eq!(result["valid"], true);
        assert_eq!(result["warnings"], json!([]), "{}", file.display());
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with("# "),
            "{} does not say what it shows",
            file.display()
        );
        seen += 1;
    }
    assert!(seen >= 10, "{seen} examples");
}

#[test]
fn the_gke_example_is_good_and_drains_within_its_grace_period() {
    let folder = tempfile::tempdir().unwrap();
    copy(&repository().join("deploy/gke"), folder.path());
    copy(
        &repository().join("conf/policies"),
        &folder.path().join("policies"),
    );
    let (around, at) = (Around::new(), |name: &str| folder.path().join(name));
    for (folder, file, from) in [("tls", "tls.crt", "tls.pem"), ("tls", "tls.key", "tls.key")] {
        std::fs::create_dir_all(at(folder)).unwrap();
        std::fs::copy(around.path(from), at(folder).join(file)).unwrap();
    }
    std::fs::create_dir(at("tickets")).unwrap();
    std::fs::write(at("tickets/1"), "5a".repeat(32)).unwrap();
    let file = at("meridian.yaml").display().to_string();
    let checked = run(&["check", "--json", "--config", &file]);
    assert_eq!(checked.code, Some(0), "{}{}", checked.out, checked.err);

    let settings = std::fs::read_to_string(&file).unwrap();
    let pods = std::fs::read_to_string(at("edge.yaml")).unwrap();
    let number = |text: &str, key: &str| -> u32 {
        let (_, value) = text.split_once(&format!("\n{key}: ")).unwrap();
        let digits = value.split(|c: char| !c.is_ascii_digit()).next();
        digits.unwrap().parse().unwrap()
    };
    let (delay, drain) = (
        number(&settings, "  drain_delay"),
        number(&settings, "  drain"),
    );
    let grace = number(&pods, "      terminationGracePeriodSeconds");
    assert!(grace > delay + drain, "{grace} {delay} {drain}");
    let period = number(&pods, "            periodSeconds");
    let noticed = period * number(&pods, "            failureThreshold");
    assert!(delay > noticed, "{delay} {noticed}");
}

#[test]
fn the_tls_example_shows_every_key_of_tls() {
    let manual = std::fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let (_, after) = manual.split_once("### `listeners[].tls`").unwrap();
    let (table, _) = after.split_once("\n### ").unwrap();
    let file = repository().join("conf/examples/tls/meridian.yaml");
    let example = std::fs::read_to_string(file).unwrap();
    let mut seen = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let first = row.split('|').nth(1).unwrap();
        for key in first.split('`').skip(1).step_by(2) {
            let key = key.rsplit('.').next().unwrap();
            assert!(
                example.contains(&format!("{key}: ")) || example.contains(&format!("{key}:\n")),
                "{key}"
            );
            seen += 1;
        }
    }
    assert!(seen >= 9, "{seen}");
}

#[test]
fn an_example_without_its_environment_is_not_good() {
    let file = repository().join("conf/examples/minimal/meridian.yaml");
    let checked = ran(meridian()
        .arg("check")
        .arg("--config")
        .arg(file)
        .env_clear()
        .output()
        .unwrap());
    assert_eq!(checked.code, Some(1));
    assert!(checked.err.contains("HTTP_PORT"), "{}", checked.err);
}

#[test]
fn the_shipped_files_are_good_and_have_eleven_regions() {
    let checked = run(&["check", "--json", "--config", &shipped()]);
    assert_eq!(checked.code, Some(0), "{}{}", checked.out, checked.err);
    assert_eq!(checked.json()["regions"], 11);
}

#[test]
fn a_fault_is_shown_with_its_place_and_frame() {
    let folder = tempfile::tempdir().unwrap();
    copy(&repository().join("conf/examples/waf"), folder.path());
    let policies = folder.path().join("policies/policies.yaml");
    let text = std::fs::read_to_string(&policies).unwrap();
    std::fs::write(
        &policies,
        text.replace("waf: { mode: block }", "waf: { mood: block }"),
    )
    .unwrap();
    let config = folder.path().join("meridian.yaml").display().to_string();

    let checked = run(&["check", "--config", &config]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.err.contains("policies.yaml:5:"), "{}", checked.err);
    assert!(checked.err.contains("mood: block"), "{}", checked.err);
    assert!(checked.err.contains('^'), "{}", checked.err);

    let checked = run(&["check", "--json", "--config", &config]);
    assert_eq!(checked.code, Some(1));
    let result = checked.json();
    assert_eq!(result["valid"], false);
    assert_eq!(result["diagnostics"][0]["line"], 5);
    assert!(
        result["diagnostics"][0]["message"]
            .as_str()
            .unwrap()
            .contains("mood")
    );
}

#[test]
fn a_certificate_that_does_not_go_with_its_key_is_not_good() {
    let (around, other) = (Around::new(), Around::new());
    std::fs::copy(other.path("tls.key"), around.path("tls.key")).unwrap();
    let file = repository().join("conf/examples/tls/meridian.yaml");
    let checked = around.around(meridian().args(["check", "--config"]).arg(file));
    assert_eq!(checked.code, Some(1));
    assert!(checked.err.contains("tls.pem"), "{}", checked.err);
}

#[test]
fn missing_files_are_named_and_wrong_usage_is_2() {
    let checked = run(&["check", "--config", "/nowhere/meridian.yaml"]);
    assert_eq!(checked.code, Some(1));
    assert!(
        checked.err.contains("/nowhere/meridian.yaml"),
        "{}",
        checked.err
    );
    assert_eq!(run(&["check", "--conf"]).code, Some(2));
    assert_eq!(run(&[]).code, Some(2));
    assert_eq!(
        run(&["explain", "--ip", "nobody", "--path", "/"]).code,
        Some(2)
    );
    assert_eq!(run(&["--help"]).code, Some(0));
}

#[test]
fn explain_gives_every_candidate_its_terms_and_its_remover() {
    let config = shipped();
    let args = [
        "explain",
        "--config",
        &config,
        "--ip",
        "91.64.0.1",
        "--path",
        "/mcp",
    ];
    let explained = run(&[&args[..], &["--class", "tier_1_pii", "--json"]].concat());
    assert_eq!(
        explained.code,
        Some(0),
        "{}{}",
        explained.out,
        explained.err
    );
    let answer = explained.json();
    assert_eq!(answer["verdict"], "forward");
    assert_eq!(answer["region"], "europe-west1");
    assert_eq!(answer["data_class"], "tier_1_pii");
    assert_eq!(answer["permitted"], json!(["europe-west1", "europe-west4"]));
    let candidates = answer["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 11);
    for candidate in candidates {
        let removed = candidate["removed_by"].is_string();
        let allowed =
            ["europe-west1", "europe-west4"].contains(&candidate["region"].as_str().unwrap());
        assert_ne!(removed, allowed, "{candidate}");
        for term in ["latency", "load", "compliance", "cost"] {
            assert!(
                candidate["terms"].get(term).is_some(),
                "{candidate} has no {term}"
            );
        }
    }
    let table = run(&args);
    assert_eq!(table.code, Some(0));
    assert!(table.out.contains("europe-west1"), "{}", table.out);
}

#[test]
fn a_refused_request_is_exit_code_1_with_the_law_that_says_no() {
    let config = shipped();
    let args = [
        "explain", "--config", &config, "--path", "/mcp", "--json", "--ip",
    ];
    // China: personal data stays refused whatever is consented to.
    let refused = run(&[
        &args[..],
        &["36.112.0.1", "--class", "tier_1_pii", "--consent"],
    ]
    .concat());
    assert_eq!(refused.code, Some(1), "{}{}", refused.out, refused.err);
    let answer = refused.json();
    assert_eq!(answer["verdict"], "refuse");
    assert_eq!(answer["status"], 451);
    assert!(answer["region"].is_null());
    assert_eq!(answer["permitted"], json!([]));
}

#[test]
fn consent_counts_and_a_stricter_header_does_too() {
    let config = shipped();
    let args = [
        "explain", "--config", &config, "--path", "/mcp", "--json", "--ip", "8.8.8.8",
    ];
    let without = run(&[&args[..], &["--class", "tier_2_personal"]].concat()).json();
    let with = run(&[&args[..], &["--class", "tier_2_personal", "--consent"]].concat()).json();
    let count = |answer: &serde_json::Value| answer["permitted"].as_array().unwrap().len();
    assert!(count(&with) > count(&without), "{with}\n{without}");
    let header = run(&[&args[..], &["--header", "X-Data-Class: tier_1_pii"]].concat()).json();
    assert_eq!(header["data_class"], "tier_1_pii");
}

#[test]
fn a_request_that_no_edge_would_read_is_not_explained() {
    let config = shipped();
    let refused = run(&[
        "explain", "--config", &config, "--ip", "8.8.8.8", "--path", "no-slash",
    ]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("no edge would read"),
        "{}",
        refused.err
    );
}

#[test]
fn geo_lookup_says_who_says_so() {
    let found = run(&["geo", "lookup", "91.64.0.1", "--json"]);
    assert_eq!(found.code, Some(0), "{}", found.err);
    let place = found.json();
    assert_eq!(place["country"], "DE");
    assert_eq!(place["continent"], "europe");
    assert_eq!(place["source"], "embedded");
    assert_eq!(place["groups"], json!(["EU", "EEA"]));
    let config = repository()
        .join("conf/examples/geo/meridian.yaml")
        .display()
        .to_string();
    let place = run(&["geo", "lookup", "10.1.2.3", "--config", &config, "--json"]).json();
    assert_eq!(
        (&place["country"], &place["source"]),
        (&json!("DE"), &json!("override"))
    );
    let text = run(&["geo", "lookup", "::ffff:91.64.0.1"]).out;
    assert!(
        text.contains("91.64.0.1") && text.contains("Germany"),
        "{text}"
    );
    assert!(text.contains("CC BY-SA"), "{text}");
}

#[test]
fn completions_and_manuals_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let printed = run(&["completions", shell]);
        assert_eq!(printed.code, Some(0));
        assert!(printed.out.contains("explain"), "{shell}");
    }
    let page = run(&["man"]).out;
    assert!(
        page.starts_with(".ie") || page.contains(".TH meridian"),
        "{page}"
    );
    assert!(run(&["man", "explain"]).out.contains("tier_1_pii"));
    assert_eq!(run(&["man", "backend"]).code, Some(1));
}

#[test]
fn a_called_tool_has_its_own_data_class() {
    let config = shipped();
    let args = [
        "explain",
        "--config",
        &config,
        "--ip",
        "91.64.0.1",
        "--path",
        "/mcp",
    ];
    let call = ["--method", "POST", "--json", "--tool"];
    let stored = run(&[&args[..], &call, &["records_get"]].concat()).json();
    assert_eq!(stored["data_class"], "tier_2_personal", "{stored}");
    let echoed = run(&[&args[..], &call, &["echo"]].concat()).json();
    assert_eq!(echoed["data_class"], "tier_3_operational", "{echoed}");
    let lie = ["--header", "Mcp-Name: echo"];
    assert_eq!(
        run(&[&args[..], &call, &["records_get"], &lie].concat()).code,
        Some(1)
    );
}

/// A folder with a log of so many lines in two files.
#[cfg(test)]
fn logged(folder: &std::path::Path) -> [std::path::PathBuf; 2] {
    use meridian_policies::audit::{Chain, Context, Lost};
    let mut chain = Chain::new();
    let files = [1, 4].map(|first| folder.join(format!("audit-{first:012}.jsonl")));
    for (file, count) in files.iter().zip([3, 2]) {
        let mut text = String::new();
        for _ in 0..count {
            let context = Context {
                at_unix_ms: 1_795_372_320_042,
                edge: "us-central1",
                generation: 0,
                snapshot: None,
                request_id: "",
            };
            let lost = Lost {
                transfers: 1,
                ..Lost::default()
            };
            chain.append(&lost.record(&context), &mut text);
        }
        std::fs::write(file, text).unwrap();
    }
    files
}

#[cfg(test)]
fn ask(command: &mut std::process::Command) -> support::Ran {
    ran(command.output().unwrap())
}

#[test]
fn an_audit_log_is_verified_across_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let files = logged(folder.path());
    let whole = ask(meridian().args(["audit", "verify"]).arg(folder.path()));
    assert_eq!(whole.code, Some(0), "{}", whole.err);
    assert!(
        whole.out.starts_with("intact: 5 lines in 2 files"),
        "{}",
        whole.out
    );
    let json = ask(meridian().args(["audit", "verify", "--json"]).args(&files)).json();
    assert_eq!(
        (&json["intact"], &json["head_seq"]),
        (&json!(true), &json!(5))
    );
    let hash = json["head_hash"].as_str().unwrap().to_owned();
    let expecting = |hash: &str| {
        ask(meridian()
            .args(["audit", "verify", "--expect", hash])
            .arg(folder.path()))
        .code
    };
    assert_eq!(expecting(&hash), Some(0));
    assert_eq!(expecting(&"0".repeat(64)), Some(1));
    let later = ask(meridian().args(["audit", "verify"]).arg(&files[1]));
    assert_eq!(later.code, Some(0));
    assert!(later.out.contains("begins at line 4"), "{}", later.out);
}

#[test]
fn a_broken_audit_log_is_exit_code_1_with_file_line_and_what() {
    let folder = tempfile::tempdir().unwrap();
    let files = logged(folder.path());
    let text = std::fs::read_to_string(&files[1]).unwrap();
    std::fs::write(&files[1], text.replacen("us-central1", "us-east1", 1)).unwrap();
    let broken = ask(meridian().args(["audit", "verify"]).arg(folder.path()));
    assert_eq!(broken.code, Some(1));
    let place = format!("{}:1: changed", files[1].display());
    assert!(broken.out.contains(&place), "{}", broken.out);
    std::fs::write(&files[1], text.trim_end()).unwrap();
    let torn = ask(meridian().args(["audit", "verify"]).arg(folder.path()));
    assert!(torn.out.contains(":2: torn"), "{}", torn.out);
    std::fs::write(&files[1], format!("{}{text}", "x".repeat(70_000))).unwrap();
    let long = ask(meridian().args(["audit", "verify"]).arg(folder.path()));
    assert!(long.out.contains(":1: longer"), "{}", long.out);
    let none = ask(meridian().args(["audit", "verify", "/nothing/there"]));
    assert_eq!(none.code, Some(1));
    assert!(none.err.contains("cannot read"), "{}", none.err);
}

#[test]
fn an_audit_report_is_data_or_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let files = logged(folder.path());
    let report = |more: &[&str]| {
        ask(meridian()
            .args([
                "audit",
                "report",
                "--from",
                "2026-11-01",
                "--to",
                "2026-12-01",
            ])
            .args(more)
            .arg(folder.path()))
    };
    let json = report(&["--json"]);
    assert_eq!(json.code, Some(0), "{}", json.err);
    assert_eq!(json.json()["violations"]["total"], 5);
    assert_eq!(json.json()["audit_log_stats"]["chain"]["intact"], true);
    let page = folder.path().join("report.html");
    assert_eq!(report(&["--html", page.to_str().unwrap()]).code, Some(0));
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains("The chain is intact."));
    assert!(
        report(&[]).out.contains("violations  5"),
        "{}",
        report(&[]).out
    );
    let text = std::fs::read_to_string(&files[0]).unwrap();
    std::fs::write(&files[0], text.replacen("us-central1", "us-east1", 1)).unwrap();
    let broken = report(&["--json"]);
    assert_eq!(broken.code, Some(1));
    assert_eq!(broken.json()["audit_log_stats"]["chain"]["intact"], false);
    let wrong = ask(meridian().args([
        "audit",
        "report",
        "--from",
        "soon",
        "--to",
        "2026-12-01",
        "x",
    ]));
    assert_eq!(wrong.code, Some(2));
}

#[test]
fn an_explanation_knows_tokens_assumed_and_real() {
    let file = repository().join("conf/examples/tokens/meridian.yaml");
    let around = Around::new();
    let ask = |path: &str, more: &[&str]| {
        let mut command = meridian();
        command.args([
            "explain",
            "--json",
            "--ip",
            "126.0.0.1",
            "--path",
            path,
            "--config",
        ]);
        around.around(command.arg(&file).args(more)).json()
    };
    let none = ask("/ops/x", &[]);
    assert_eq!(
        (&none["status"], &none["reason"]),
        (&json!(401), &json!("unauthorized"))
    );
    let nowhere = ask("/v3/health", &["--method", "POST"]);
    assert_eq!(
        nowhere["status"], 200,
        "the edge's own health needs no token"
    );
    let corp = ["--token-of", "corp", "--subject", "ada"];
    let guest = ask("/ops/x", &corp);
    assert_eq!(
        (&guest["status"], &guest["reason"]),
        (&json!(403), &json!("access-denied"))
    );
    let operator = ask("/ops/x", &[&corp[..], &["--group", "operators"]].concat());
    assert_eq!(
        (&operator["verdict"], &operator["token_of"]),
        (&json!("forward"), &json!("corp"))
    );
    assert_eq!(operator["permitted"], json!(["asia-northeast1"]));
    let consenting = ask("/x", &[&corp[..], &["--consent"]].concat());
    assert_eq!(consenting["permitted"].as_array().map(Vec::len), Some(2));
    let forged = ask("/x", &["--header", "Authorization: Bearer a.b.c"]);
    assert_eq!(
        (&forged["status"], &forged["detail"]),
        (&json!(401), &json!("the token is malformed"))
    );
}
