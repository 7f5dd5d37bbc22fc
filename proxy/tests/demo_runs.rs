//! The demo, as a user runs it: real processes, free ports, no sleeps.

#[cfg(test)]
#[path = "support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use support::{Demo, alive, ask, copy, meridian, ran, repository, run, until};

const SECRET: &str = "x-data-class: tier_1_pii";

fn from(address: &str) -> String {
    format!("X-Forwarded-For: {address}")
}

#[test]
fn clients_are_served_where_the_policy_says() {
    let demo = Demo::start();
    for (address, region) in [
        ("91.64.0.1", "europe-west1"),
        ("8.8.8.8", "us-central1"),
        ("203.116.1.1", "asia-southeast1"),
    ] {
        let reply = demo.get("/v3/echo?a=b", &[&from(address)]);
        assert_eq!(reply.status, 200, "{address}: {}", reply.body);
        assert_eq!(reply.field("x-meridian-region"), Some(region), "{address}");
        let echo = reply.json();
        assert_eq!(echo["region"], region);
        assert_eq!(echo["method"], "GET");
        assert!(
            echo["path"].as_str().unwrap().starts_with("/v3/echo"),
            "{echo}"
        );
    }
    // This machine itself counts as a German client.
    let bare = demo.get("/v3/echo", &[SECRET]);
    assert_eq!(
        bare.field("x-meridian-region"),
        Some("europe-west1"),
        "{}",
        bare.head
    );
    // The demo has no Indian region.
    let refused = demo.get("/v3/echo", &[&from("49.36.0.1"), SECRET]);
    assert_eq!(refused.status, 451, "{}", refused.body);
    assert_eq!(
        refused.field("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(refused.json()["reason"], "residency");
    let decisions = demo.admin("/decisions").body;
    assert!(
        decisions.contains(refused.field("x-request-id").unwrap()),
        "{decisions}"
    );
}

#[test]
fn what_crossed_a_border_and_what_was_refused_is_audited_from_the_first_start() {
    let demo = Demo::start();
    assert_eq!(
        demo.get("/v3/echo", &[&from("49.36.0.1"), SECRET]).status,
        451
    );
    // Operational data of an Indian client goes abroad: there is no region at home.
    assert_eq!(demo.get("/v3/echo", &[&from("49.36.0.1")]).status, 200);
    let log = demo.dir.join("audit").display().to_string();
    let period = [
        "audit",
        "report",
        "--json",
        "--from",
        "2020-01-01",
        "--to",
        "2100-01-01",
    ];
    let report = until("both are in the log", || {
        let told = run(&[&period[..], &[&log]].concat());
        let report = (told.code == Some(0)).then(|| told.json())?;
        let text = report.to_string();
        (text.contains("not_protected") && text.contains("residency")).then_some(report)
    });
    let verified = run(&["audit", "verify", &log]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);
    assert!(verified.out.starts_with("intact: "), "{}", verified.out);
    assert!(report.is_object());
}

#[test]
fn the_edge_protects_itself() {
    let demo = Demo::start();
    for path in [
        "/v3/echo?q=1%27%20OR%20%271%27=%271",
        "/v3/echo/../../etc/passwd",
        "/v3/echo/%2e%2e/%2e%2e/etc/passwd",
    ] {
        assert_eq!(demo.get(path, &[]).status, 403, "{path}");
    }
    let mut refused = None;
    for _ in 0..1_500 {
        let reply = demo.get("/v3/nothing", &[&from("198.51.100.7")]);
        if reply.status == 429 {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("a thousand requests in a minute are too many");
    for field in ["ratelimit", "ratelimit-policy", "retry-after"] {
        assert!(
            refused.field(field).is_some(),
            "no {field}: {}",
            refused.head
        );
    }
    // The demo exempts this machine itself.
    assert_eq!(demo.get("/v3/echo", &[]).status, 200);
}

#[test]
fn an_edit_is_live_within_a_second_a_slip_changes_nothing_and_is_named() {
    let demo = Demo::start();
    assert_eq!(demo.get("/v3/echo", &[]).status, 200);
    let good = "  - id: api\n    path: /v3/*\n";
    let closed = "  - id: api\n    path: /v3/*\n    action: { deny: { status: 403 } }\n";

    let start = Instant::now();
    demo.edit("routes.yaml", |text| {
        assert!(text.contains(good));
        text.replace(good, closed)
    });
    until("the edit is live", || {
        (demo.get("/v3/echo", &[]).status == 403).then_some(())
    });
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );

    demo.edit("routes.yaml", |text| {
        text.replace("action: { deny", "acton: { deny")
    });
    let told = until("the slip is told", || {
        let ready = demo.admin("/readyz").json();
        ready["rejected_reload"]["diagnostics"][0]
            .is_object()
            .then_some(ready)
    });
    let fault = &told["rejected_reload"]["diagnostics"][0];
    assert!(
        fault["path"].as_str().unwrap().ends_with("routes.yaml"),
        "{fault}"
    );
    let text = std::fs::read_to_string(demo.dir.join("policies/routes.yaml")).unwrap();
    let line = 1 + text
        .lines()
        .position(|line| line.contains("acton"))
        .unwrap();
    assert_eq!(fault["line"], line);
    assert!(fault["column"].as_u64().unwrap() > 0);
    assert_eq!(told["generation"], 2);
    assert_eq!(demo.get("/v3/echo", &[]).status, 403);
    assert!(
        demo.stderr().contains(&format!("routes.yaml:{line}:")),
        "{}",
        demo.stderr()
    );

    demo.edit("routes.yaml", |text| {
        text.replace(closed.replace("action", "acton").as_str(), good)
    });
    until("the mended file is live", || {
        (demo.get("/v3/echo", &[]).status == 200).then_some(())
    });
    assert!(demo.admin("/readyz").json()["rejected_reload"].is_null());
}

#[test]
fn a_killed_backend_stays_down_and_its_clients_never_leave_the_law() {
    let demo = Demo::start();
    let pid = demo.backend_pid("europe-west1");
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    until("the loss is told", || {
        demo.stderr()
            .contains("backend europe-west1 has ended")
            .then_some(())
    });
    for _ in 0..20 {
        let refused = demo.get("/v3/echo", &[&from("91.64.0.1"), SECRET]);
        assert!([502, 503].contains(&refused.status), "{}", refused.head);
        let region = refused.field("x-meridian-region");
        assert!(
            matches!(region, None | Some("europe-west1")),
            "{}",
            refused.head
        );
    }
    // Data that may travel is served elsewhere.
    until("others serve what may travel", || {
        let reply = demo.get("/v3/echo", &[&from("91.64.0.1")]);
        (reply.status == 200).then_some(())
    });
    assert!(!alive(pid));
}

#[test]
fn a_signal_to_stop_ends_everything_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let demo = Demo::start();
        let pids = ["us-central1", "europe-west1", "asia-southeast1"].map(|r| demo.backend_pid(r));
        demo.signal(signal);
        let (code, printed) = demo.ended();
        assert_eq!(code, Some(0));
        assert_eq!(printed, "", "one line of JSON and nothing else");
        for pid in pids {
            until("the backends are gone", || (!alive(pid)).then_some(()));
        }
    }
}

#[test]
fn backends_do_not_outlive_a_demo_that_is_killed() {
    let mut demo = Demo::start();
    let pids = ["us-central1", "europe-west1", "asia-southeast1"].map(|r| demo.backend_pid(r));
    demo.child.kill().unwrap();
    for pid in pids {
        until("the backends are gone", || (!alive(pid)).then_some(()));
    }
}

#[test]
fn what_goes_wrong_is_one_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let broken = folder.path().join("broken");
    std::fs::create_dir_all(broken.join("policies")).unwrap();
    std::fs::write(broken.join("policies/waf.yaml"), "waf: { mode: blok }\n").unwrap();
    let fresh = folder.path().join("fresh");
    for (args, dir, word) in [
        (["--http", port.as_str()], &fresh, "in use"),
        (["--http", "0"], &file, "cannot"),
        (["--http", "0"], &broken, "waf.yaml:1:"),
    ] {
        let failed = ran(meridian()
            .args(["demo", "--https", "0", "--admin", "0", "--json"])
            .args(args)
            .arg("--dir")
            .arg(dir)
            .output()
            .unwrap());
        assert_eq!(failed.code, Some(1), "{word}: {}", failed.err);
        assert_eq!(failed.out, "");
        assert_eq!(failed.err.lines().count(), 1, "{}", failed.err);
        assert!(failed.err.contains(word), "{}", failed.err);
    }
}

#[test]
fn a_demo_in_the_same_folder_keeps_what_was_edited() {
    let first = Demo::start();
    first.edit("waf.yaml", |text| text.replace("mode: block", "mode: off"));
    first.edit("regions.yaml", |text| {
        text.replace("capacity: 3000", "capacity: 1234")
    });
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(&first.dir)
        .arg(&kept)
        .status()
        .unwrap();
    assert!(copied.success());
    drop(first);

    let second = Demo::start_in(|dir| {
        let all = kept.join(".");
        assert!(
            Command::new("cp")
                .arg("-r")
                .arg(all)
                .arg(dir)
                .status()
                .unwrap()
                .success()
        );
    });
    assert_eq!(
        second
            .get("/v3/echo?q=1%27%20OR%20%271%27=%271", &[])
            .status,
        200
    );
    let regions = std::fs::read_to_string(second.dir.join("policies/regions.yaml")).unwrap();
    assert!(regions.contains("capacity: 1234"), "{regions}");
    for region in ["us-central1", "europe-west1", "asia-southeast1"] {
        let url = second.ready["backends"][region]["url"].as_str().unwrap();
        assert!(regions.contains(url), "{region} at {url}: {regions}");
    }
}

#[test]
fn the_printed_commands_work_when_pasted() {
    if Command::new("curl").arg("--version").output().is_err() {
        return support::skipped("the_printed_commands_work_when_pasted", "no curl");
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut child = meridian()
        .args([
            "demo", "--http", "0", "--https", "0", "--admin", "0", "--dir",
        ])
        .arg(folder.path().join("demo"))
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let printed = until("the commands are printed", || {
        let text = std::fs::read_to_string(&out).unwrap();
        (text.matches("curl ").count() == 3 && text.ends_with('\n')).then_some(text)
    });
    let mut answers = Vec::new();
    for command in printed.lines().filter(|line| line.starts_with("curl ")) {
        let done = Command::new("sh").arg("-c").arg(command).output().unwrap();
        answers.push(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(answers.len(), 3, "{printed}");
    let mut all = String::new();
    for answer in &answers {
        let _ = writeln!(all, "---\n{answer}");
    }
    assert!(
        answers[0].contains("x-meridian-region: europe-west1"),
        "{all}"
    );
    assert!(answers[1].contains(" 451 "), "{all}");
    assert!(answers[2].contains("region_info"), "{all}");
}

#[test]
fn explain_agrees_with_the_running_demo() {
    let demo = Demo::start();
    let config = demo.dir.join("meridian.yaml").display().to_string();
    for (address, class) in [
        ("91.64.0.1", "tier_1_pii"),
        ("8.8.8.8", "tier_3_operational"),
    ] {
        let explained = support::run(&[
            "explain", "--config", &config, "--ip", address, "--path", "/v3/echo", "--class",
            class, "--json",
        ]);
        let field = format!("x-data-class: {class}");
        let reply = demo.get("/v3/echo", &[&from(address), &field]);
        assert_eq!(
            explained.json()["region"],
            json!(reply.field("x-meridian-region")),
            "{address}"
        );
    }
    // The running edge knows what an idle one does not: an operator's order.
    let admin = demo.address("admin").to_string();
    let told = run(&[
        "region",
        "drain",
        "us-central1",
        "--for",
        "1h",
        "--reason",
        "a test",
        "--config",
        &config,
        "--admin",
        &admin,
    ]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    let question = [
        "explain", "--config", &config, "--ip", "8.8.8.8", "--path", "/v3/echo",
    ];
    let class = ["--class", "tier_1_pii"];
    let idle = run(&[&question[..], &class[..]].concat());
    assert_eq!(idle.code, Some(0), "{}{}", idle.out, idle.err);
    let live = [
        &question[..],
        &class[..],
        &["--live", "--admin", &admin][..],
    ]
    .concat();
    let told = run(&live);
    assert_eq!(told.code, Some(1), "{}{}", told.out, told.err);
    assert!(told.out.contains("draining"), "{}", told.out);
    let told = run(&[&live[..], &["--json"][..]].concat()).json();
    assert_eq!(told["reason"], "no-healthy-region");
    assert_eq!(told["permitted"], json!(["us-central1"]));

    let checked = support::run(&["check", "--config", &config]);
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    assert_eq!(ask(demo.address("admin"), "GET", "/livez", &[]).status, 200);
}

#[test]
fn recorded_decisions_are_replayed_and_held_against_other_policies() {
    let demo = Demo::start_in(|dir| {
        let shipped = repository().join("conf/demo/meridian.yaml");
        let text = std::fs::read_to_string(shipped).unwrap();
        let recording = "recording: { file: decisions.jsonl }\n";
        std::fs::write(dir.join("meridian.yaml"), format!("{text}{recording}")).unwrap();
    });
    for address in [
        "91.64.0.1",
        "8.8.8.8",
        "203.116.1.1",
        "49.36.0.1",
        "177.0.0.1",
    ] {
        for class in ["tier_1_pii", "tier_2_personal", "tier_4_public"] {
            let class = format!("x-data-class: {class}");
            demo.get("/v3/echo?a=b", &[&from(address), &class]);
        }
    }
    demo.get("/v3/echo?q=1%27%20OR%20%271%27=%271", &[]);
    let file = demo.dir.join("decisions.jsonl");
    until("16 decisions are on disk", || {
        let text = std::fs::read_to_string(&file).ok()?;
        (text.lines().count() == 16).then_some(())
    });
    let config = demo.dir.join("meridian.yaml").display().to_string();
    let receipts = file.display().to_string();

    let replayed = run(&["replay", &receipts, "--config", &config, "--json"]);
    assert_eq!(replayed.code, Some(0), "{}{}", replayed.out, replayed.err);
    assert_eq!(replayed.json()["same"], 15, "{}", replayed.out);
    assert_eq!(replayed.json()["different"], 0);

    compared_with_others(&demo, &config, &receipts);

    // A forged record is found.
    let text = std::fs::read_to_string(&file).unwrap();
    let forged = demo.dir.join("forged.jsonl");
    let moved = text.replacen(
        "\"region\":\"europe-west1\"",
        "\"region\":\"us-central1\"",
        1,
    );
    std::fs::write(&forged, moved).unwrap();
    let replayed = run(&["replay", &forged.display().to_string(), "--config", &config]);
    assert_eq!(replayed.code, Some(1), "{}", replayed.out);
    assert!(
        replayed.out.contains("first difference: "),
        "{}",
        replayed.out
    );
}

fn compared_with_others(demo: &Demo, config: &str, receipts: &str) {
    // Without the European backend its clients move, or are refused.
    let other = demo.dir.join("other");
    copy(&demo.dir.join("policies"), &other);
    let regions = std::fs::read_to_string(other.join("regions.yaml")).expect("a copy");
    let europe = regions.find("- id: europe-west1").expect("a region");
    let endpoints = europe + regions[europe..].find("endpoints:").expect("endpoints");
    let end = endpoints + regions[endpoints..].find('\n').expect("a line");
    let without = format!("{}endpoints: []{}", &regions[..endpoints], &regions[end..]);
    std::fs::write(other.join("regions.yaml"), without).expect("written");
    let folder = other.display().to_string();
    let diff = |more: &[&str]| {
        let common = [
            "diff",
            &folder,
            "--receipts",
            receipts,
            "--config",
            config,
            "--json",
        ];
        run(&[&common, more].concat())
    };
    let told = diff(&[]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    let told = told.json();
    let report = told.get("report").expect("a report");
    let count = |name: &str| report.get(name).and_then(serde_json::Value::as_u64);
    assert_eq!(count("compared"), Some(15));
    assert!(count("newly_refused") >= Some(1), "{report}");
    assert!(count("moved") >= Some(1), "{report}");
    assert_eq!(diff(&["--newly-refused", "0%"]).code, Some(1));
    assert_eq!(diff(&["--newly-refused", "nonsense"]).code, Some(2));
}
