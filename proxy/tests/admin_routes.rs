//! The admin side over real sockets: an edge from files in a folder of its
//! own, the listener on port 0 or a socket file, a plain client.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use meridian::admin::{self, AdminListener};
use meridian::edge::{Clock, Edge, Lifecycle};
use meridian::overrides;
use meridian::reload;
use meridian::server::{Connections, Tls};
use meridian::settings::Settings;
use meridian::telemetry::Telemetry;
use meridian_policies::State;
use meridian_policies::limits::LimitState;
use meridian_policies::retry::Budget;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

const POLICIES: &str = r#"
regions:
  - { id: us-central1, location: { country: US, lat: 41.26, lon: -95.86 }, endpoints: ["http://127.0.0.1:9"] }
  - { id: europe-west1, location: { country: BE, lat: 50.45, lon: 3.82 }, endpoints: ["http://127.0.0.1:10"] }
residency: off
geo: { overrides: [{ cidr: 203.0.113.0/24, country: DE }] }
routes: [{ id: everything, path: "/*" }]
"#;

const TOKEN: &str = "a-token-of-some-length";

/// An admin side that runs until it is dropped.
struct Admin {
    edge: Arc<Edge>,
    folder: TempDir,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    fn start() -> Self {
        Self::with("address: \"127.0.0.1:0\"")
    }

    fn with(admin: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let edge = edge(folder.path(), admin);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, thread) = serve(&edge, AdminListener::Tcp(listener));
        Self {
            edge,
            folder,
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n"), "")
    }

    fn post(&self, target: &str, body: &str) -> Answer {
        self.ask(
            &format!("POST {target} HTTP/1.1\r\nhost: localhost\r\n"),
            body,
        )
    }

    fn ask(&self, head: &str, body: &str) -> Answer {
        exchange(TcpStream::connect(self.address).unwrap(), head, body)
    }

    fn write_policies(&self, text: &str) {
        std::fs::write(self.folder.path().join("policies/all.yaml"), text).unwrap();
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(edge: &Arc<Edge>, listener: AdminListener) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel();
    let edge = Arc::clone(edge);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(admin::serve(edge, listener, async {
            let _ = stopped.await;
        }));
    });
    (stop, thread)
}

fn edge(folder: &Path, admin: &str) -> Arc<Edge> {
    std::fs::create_dir(folder.join("policies")).unwrap();
    std::fs::write(folder.join("policies/all.yaml"), POLICIES).unwrap();
    let file = folder.join("meridian.yaml");
    let text = format!(
        "edge: {{ region: us-central1 }}\n\
         listeners: [{{ address: \"127.0.0.1:0\" }}]\n\
         admin: {{ {admin} }}\n\
         telemetry: {{ receipts: 16, audit: {{ path: audit }} }}\n"
    );
    std::fs::write(&file, text).unwrap();
    let settings = Settings::load(&file).unwrap_or_else(|faults| panic!("{}", faults[0]));
    let (clock, state) = (Clock::start(), State::new());
    let (generation, reloads) =
        reload::first(&settings, &state, &clock).unwrap_or_else(|faults| panic!("{}", faults[0]));
    let tls = Tls::load(&settings).unwrap_or_else(|faults| panic!("{faults:?}"));
    let telemetry = Telemetry::new(&settings.telemetry, &settings.edge_region).unwrap();
    let connections = Connections::new(&settings.limits);
    Arc::new(Edge {
        tls,
        settings,
        live: ArcSwap::from_pointee(generation),
        state,
        limits: LimitState::new(64),
        budget: Budget::new(),
        telemetry,
        clock,
        lifecycle: Lifecycle::new(),
        reloads,
        connections,
    })
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.body))
    }

    fn has(&self, field: &str) -> bool {
        self.head
            .lines()
            .any(|line| line.eq_ignore_ascii_case(field))
    }
}

fn exchange(mut stream: impl std::io::Read + std::io::Write, head: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!("{head}connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    // An answer may come, and the connection close, before all is written.
    let _ = stream.write_all(request.as_bytes());
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

#[test]
fn readiness_follows_the_phase_and_liveness_does_not() {
    let admin = Admin::start();
    assert_eq!(admin.get("/livez").status, 200);
    let starting = admin.get("/readyz");
    assert_eq!(
        (starting.status, &starting.json()["phase"]),
        (503, &json!("starting"))
    );
    admin.edge.lifecycle.serving();
    let serving = admin.get("/readyz");
    assert_eq!(
        (serving.status, &serving.json()["ready"]),
        (200, &json!(true))
    );
    assert_eq!(serving.json()["generation"], 1);
    assert_eq!(serving.json()["rejected_reload"], Value::Null);
    let drain = admin.post("/drain", "");
    assert_eq!(
        (drain.status, &drain.json()["phase"]),
        (202, &json!("draining"))
    );
    let draining = admin.get("/readyz");
    assert_eq!(
        (draining.status, &draining.json()["phase"]),
        (503, &json!("draining"))
    );
    assert_eq!(admin.get("/livez").status, 200);
}

#[test]
fn a_rejected_reload_is_told_with_its_place_and_changes_nothing() {
    let admin = Admin::start();
    admin.edge.lifecycle.serving();
    admin.write_policies(&POLICIES.replace("residency: off", "residency: of"));
    let rejected = admin.post("/reload", "");
    assert_eq!(
        (rejected.status, &rejected.json()["result"]),
        (422, &json!("rejected"))
    );
    let ready = admin.get("/readyz");
    assert_eq!(ready.status, 200, "what is live is still good");
    let ready = ready.json();
    let fault = &ready["rejected_reload"]["diagnostics"][0];
    assert!(
        fault["path"].as_str().unwrap().ends_with("all.yaml"),
        "{fault}"
    );
    assert_eq!(fault["line"], 5, "{fault}");
    assert_eq!(
        (&ready["generation"], &ready["reloads"]["rejected"]),
        (&json!(1), &json!(1))
    );

    admin.write_policies(&POLICIES.replace("everything", "all-of-it"));
    let live = admin.post("/reload", "");
    assert_eq!(
        (live.status, &live.json()["generation"]),
        (200, &json!(2)),
        "{}",
        live.body
    );
    let ready = admin.get("/readyz").json();
    assert_eq!(
        (&ready["generation"], &ready["rejected_reload"]),
        (&json!(2), &Value::Null)
    );
    assert_eq!(admin.post("/reload", "").json()["result"], "unchanged");
}

#[test]
fn metrics_are_openmetrics() {
    let admin = Admin::start();
    let metrics = admin.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.has("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(metrics.body.ends_with("# EOF\n"));
    for name in [
        "erlmcp_requests",
        "erlmcp_active_connections",
        "meridian_generation",
    ] {
        assert!(metrics.body.contains(&format!("# TYPE {name} ")), "{name}");
    }
    assert!(metrics.body.contains(
        r#"meridian_endpoint_healthy{region="us-central1",endpoint="us-central1/http://127.0.0.1:9"} 1"#
    ));
}

#[test]
fn state_and_policies_can_be_read() {
    let admin = Admin::start();
    let index = admin.get("/");
    assert_eq!(
        (index.status, &index.json()["name"]),
        (200, &json!("meridian"))
    );
    let regions = admin.get("/regions").json();
    assert_eq!(regions["regions"][1]["region"], "europe-west1");
    let snapshot = admin.get("/snapshot").json();
    assert_eq!(snapshot["generation"], 1);
    assert!(
        snapshot["digest"]
            .as_str()
            .is_some_and(|digest| !digest.is_empty())
    );
    assert!(snapshot["snapshot"].is_object());
    let decisions = admin.get("/decisions?limit=5").json();
    assert_eq!(decisions["decisions"], json!([]));
}

#[test]
fn explaining_answers_for_the_live_state() {
    let admin = Admin::start();
    let question = json!({ "ip": "203.0.113.9", "path": "/mcp", "method": "POST" });
    let answer = admin.post("/explain", &question.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = answer.json();
    assert_eq!(
        (&answer["verdict"], &answer["region"]),
        (&json!("forward"), &json!("europe-west1"))
    );
    assert_eq!(answer["location"]["country"], "DE");
    assert_eq!(answer["candidates"].as_array().map(Vec::len), Some(2));
    for bad in [
        "",
        "not json",
        "{}",
        r#"{"ip":"nowhere"}"#,
        r#"{"ip":"203.0.113.9","colour":"red"}"#,
        r#"{"ip":"203.0.113.9","path":"no-slash"}"#,
        r#"{"ip":"203.0.113.9","headers":{"bad name":"x"}}"#,
        r#"{"ip":"203.0.113.9","headers":{"x-a":"line\nbreak"}}"#,
    ] {
        let refused = admin.post("/explain", bad);
        assert_eq!(refused.status, 400, "{bad}");
        assert!(
            refused.has("content-type: application/problem+json"),
            "{bad}"
        );
    }
}

#[test]
fn what_is_not_there_is_a_problem_that_says_so() {
    let admin = Admin::start();
    for (head, status) in [
        ("GET /nothing HTTP/1.1\r\nhost: localhost\r\n", 404),
        (
            "GET /decisions/unknown HTTP/1.1\r\nhost: localhost\r\n",
            404,
        ),
        (
            "GET /decisions?limit=0 HTTP/1.1\r\nhost: localhost\r\n",
            400,
        ),
        ("GET /drain HTTP/1.1\r\nhost: localhost\r\n", 405),
        ("POST /metrics HTTP/1.1\r\nhost: localhost\r\n", 405),
    ] {
        let answer = admin.ask(head, "");
        assert_eq!(answer.status, status, "{head}");
        assert!(
            answer.has("content-type: application/problem+json"),
            "{head}"
        );
        assert_eq!(answer.json()["status"], status);
    }
    assert!(
        admin
            .ask("GET /drain HTTP/1.1\r\nhost: localhost\r\n", "")
            .has("allow: POST")
    );
    assert!(!admin.edge.lifecycle.draining());
}

#[test]
fn a_page_of_another_name_reads_and_changes_nothing() {
    let admin = Admin::start();
    let rebound = admin.ask("GET /snapshot HTTP/1.1\r\nhost: evil.example\r\n", "");
    assert_eq!(
        (rebound.status, &rebound.json()["reason"]),
        (421, &json!("host-not-allowed"))
    );
    let other = "POST /drain HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example\r\n";
    let refused = admin.ask(other, "");
    assert_eq!(
        (refused.status, &refused.json()["reason"]),
        (403, &json!("origin-not-allowed"))
    );
    assert!(!admin.edge.lifecycle.draining());
}

#[test]
fn with_a_token_only_the_probes_answer_without_it() {
    let admin = Admin::with(&format!("address: \"127.0.0.1:0\", token: {TOKEN}"));
    admin.edge.lifecycle.serving();
    let refused = admin.get("/metrics");
    assert_eq!(refused.status, 401);
    assert!(refused.has("www-authenticate: Bearer realm=\"meridian admin\""));
    assert_eq!(admin.post("/drain", "").status, 401);
    assert!(!admin.edge.lifecycle.draining());
    assert_eq!(admin.get("/readyz").json(), json!({ "phase": "serving" }));
    let with = |target: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n");
        admin.ask(&head, "")
    };
    assert_eq!(with("/metrics").status, 200);
    assert_eq!(with("/readyz").json()["generation"], 1);
}

#[test]
fn bodies_and_heads_have_bounds() {
    let admin = Admin::start();
    let body = format!(r#"{{"ip":"203.0.113.9","path":"/{}"}}"#, "x".repeat(70_000));
    assert_eq!(admin.post("/explain", &body).status, 413);
    let head = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nx-long: {}\r\n",
        "x".repeat(20_000)
    );
    assert_eq!(admin.ask(&head, "").status, 431);
}

#[test]
fn more_connections_than_slots_wait_and_are_served() {
    let admin = Admin::start();
    let idle: Vec<TcpStream> = (0..64)
        .map(|_| TcpStream::connect(admin.address).unwrap())
        .collect();
    let mut late = TcpStream::connect(admin.address).unwrap();
    late.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .unwrap();
    late.set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let mut byte = [0];
    assert!(late.read(&mut byte).is_err(), "all slots are taken");
    drop(idle);
    late.set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut text = String::new();
    late.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

#[test]
fn a_socket_file_needs_neither_host_nor_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let edge = edge(
        folder.path(),
        &format!("address: \"unix:{}\"", path.display()),
    );
    let listener = UnixListener::bind(&path).unwrap();
    let (stop, thread) = serve(&edge, AdminListener::Unix(listener));
    let stream = UnixStream::connect(&path).unwrap();
    let answer = exchange(stream, "GET /regions HTTP/1.1\r\nhost: whatever\r\n", "");
    assert_eq!(answer.status, 200);
    drop(stop);
    thread.join().unwrap();
}

fn order(admin: &Admin, region: &str, body: &Value) -> Answer {
    let path = format!("/regions/{region}/override");
    admin.post(&path, &body.to_string())
}

fn served_by(admin: &Admin) -> Value {
    let question = json!({ "ip": "203.0.113.9" }).to_string();
    admin.post("/explain", &question).json()["region"].clone()
}

#[test]
fn an_order_takes_effect_at_once_and_is_told_until_it_is_cleared() {
    let admin = Admin::start();
    assert_eq!(served_by(&admin), "europe-west1");
    let wish = json!({ "action": "drain", "for": "1h", "reason": "disks" });
    let set = order(&admin, "europe-west1", &wish);
    assert_eq!(set.status, 200, "{}", set.body);
    let set = set.json();
    assert_eq!(
        (&set["change"], &set["order"]["action"]),
        (&json!("set"), &json!("drain"))
    );
    assert_eq!(set["survives_restart"], "no-state-file");
    assert_eq!(served_by(&admin), "us-central1");
    let regions = admin.get("/regions").json();
    assert_eq!(regions["regions"][1]["order"]["reason"], "disks");
    assert_eq!(regions["regions"][0]["order"], Value::Null);
    let shown = admin.get("/regions/europe-west1/override").json();
    assert!(
        shown["order"]["left_s"]
            .as_f64()
            .is_some_and(|left| left > 3_590.0)
    );
    let metrics = admin.get("/metrics").body;
    let gauge = r#"meridian_region_override_seconds{region="europe-west1",action="drain"} 3"#;
    assert!(metrics.contains(gauge), "{metrics}");

    let cleared = order(
        &admin,
        "europe-west1",
        &json!({ "action": "clear", "reason": "done" }),
    );
    assert_eq!(cleared.json()["change"], "cleared");
    assert_eq!(served_by(&admin), "europe-west1");
    assert_eq!(admin.get("/overrides").json()["overrides"], json!([]));
}

#[test]
fn senseless_orders_are_refused_and_change_nothing() {
    let admin = Admin::start();
    for wish in [
        json!({ "action": "drain", "reason": "no end" }),
        json!({ "action": "drain", "for": "31d", "reason": "too long" }),
        json!({ "action": "drain", "for": "0s", "reason": "too short" }),
        json!({ "action": "drain", "for": "1h", "reason": " " }),
        json!({ "action": "drain", "for": "1h", "reason": "two\nlines" }),
        json!({ "action": "drain", "for": "1h" }),
        json!({ "action": "drain", "for": "1h", "reason": "x", "route": "everything" }),
        json!({ "action": "pin", "for": "1h", "reason": "x", "route": "nothing" }),
        json!({ "action": "clear", "for": "1h", "reason": "x" }),
        json!({ "action": "explode", "for": "1h", "reason": "x" }),
        json!({ "action": "pin", "for": "1h", "reason": "x", "colour": "red" }),
    ] {
        let refused = order(&admin, "europe-west1", &wish);
        assert_eq!(refused.status, 400, "{wish}");
    }
    let wish = json!({ "action": "drain", "for": "1h", "reason": "x" });
    assert_eq!(order(&admin, "mars-north1", &wish).status, 404);
    assert_eq!(admin.get("/regions/mars-north1/override").status, 404);
    assert_eq!(admin.get("/overrides").json()["overrides"], json!([]));
}

#[test]
fn the_command_orders_lists_and_clears() {
    let admin = Admin::start();
    let run = |words: &[&str]| {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_meridian"))
            .arg("region")
            .args(words)
            .arg("--config")
            .arg(admin.folder.path().join("meridian.yaml"))
            .arg("--admin")
            .arg(admin.address.to_string())
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        (out.status.code().unwrap(), text)
    };
    let pin = [
        "pin",
        "us-central1",
        "--route",
        "everything",
        "--for",
        "30m",
    ];
    let (code, _) = run(&[&pin[..], &["--reason", "warm caches"]].concat());
    assert_eq!((code, served_by(&admin)), (0, json!("us-central1")));
    let (code, text) = run(&["list"]);
    assert!(
        code == 0 && text.contains("pin (route everything) for another"),
        "{text}"
    );
    assert!(text.contains("warm caches"), "{text}");
    let (code, _) = run(&["force", "mars", "--for", "1h", "--reason", "x"]);
    assert_eq!(code, 1);
    let (code, _) = run(&["clear", "us-central1", "--reason", "done"]);
    assert_eq!((code, served_by(&admin)), (0, json!("europe-west1")));
    assert_eq!(run(&["list"]).1.trim(), "nothing is ordered");
}

#[test]
fn a_state_file_carries_orders_over_a_restart() {
    let kept = tempfile::tempdir().unwrap();
    let path = kept.path().join("state.json");
    let settings = format!(
        "address: \"127.0.0.1:0\" }}\nstate_file: \"{}\"\n#",
        path.display()
    );
    let admin = Admin::with(&settings);
    for (region, action) in [("europe-west1", "drain"), ("us-central1", "pin")] {
        let wish = json!({ "action": action, "for": "1h", "reason": "kept" });
        assert_eq!(
            order(&admin, region, &wish).json()["survives_restart"],
            "yes"
        );
    }
    drop(admin);
    let again = Admin::with(&settings);
    let generation = again.edge.generation();
    let restored = overrides::restore(Some(&path), &generation, &again.edge.clock);
    assert_eq!(restored, Ok(2));
    let shown = again.get("/overrides").json();
    assert_eq!(shown["overrides"][1]["order"]["action"], "drain");
    assert_eq!(shown["overrides"][1]["order"]["reason"], "kept");

    std::fs::write(&path, "{").unwrap();
    assert!(overrides::restore(Some(&path), &generation, &again.edge.clock).is_err());
    let none = kept.path().join("none.json");
    assert_eq!(
        overrides::restore(Some(&none), &generation, &again.edge.clock),
        Ok(0)
    );
}

const LAWS: &str = "
known_regions: [us-central1, europe-west1, southamerica-east1]
regions:
  - { id: us-central1, endpoints: [\"http://127.0.0.1:9\"] }
  - { id: us-east1, endpoints: [\"http://127.0.0.1:8\"] }
  - { id: europe-west1, endpoints: [\"http://127.0.0.1:10\"] }
  - { id: southamerica-east1 }
jurisdictions:
  - { id: us, countries: [US], own_regions: [us-central1, us-east1], cross_border: with_consent }
  - { id: eu, countries: [EU], own_regions: [europe-west1], cross_border: with_adequacy, allowed_regions: [us-east1] }
  - { id: br, countries: [BR], regulation: LGPD, own_regions: [southamerica-east1], cross_border: with_safeguards, obligations: [consent] }
  - { id: rest, countries: ['*'], cross_border: prohibited }
routes: [{ id: everything, path: \"/*\" }]
";

#[test]
fn a_backend_is_told_whether_it_may_move_data_and_the_question_is_recorded() {
    let admin = Admin::start();
    admin.write_policies(LAWS);
    assert_eq!(admin.post("/reload", "").status, 200);
    let ask = |from: &str, to: &str, more: &str| {
        let body = format!(
            "{{\"source\":\"{from}\",\"destination\":\"{to}\",\"class\":\"tier_2_personal\"{more}}}"
        );
        let answer = admin.post("/residency/check", &body);
        assert_eq!(answer.status, 200);
        answer.json()
    };
    let home = ask("us-central1", "us-east1", "");
    assert_eq!(
        (&home["outcome"], &home["cross_border"], &home["recorded"]),
        (&json!("allowed"), &json!(false), &json!(false))
    );
    let away = ask("us-central1", "europe-west1", "");
    assert_eq!(
        (&away["outcome"], &away["allowed"], &away["recorded"]),
        (
            &json!("cross_border_prohibited"),
            &json!(false),
            &json!(true)
        )
    );
    let agreed = ask(
        "us-central1",
        "europe-west1",
        ",\"consent\":true,\"request_id\":\"r-1\"",
    );
    assert_eq!(
        (&agreed["outcome"], &agreed["allowed"]),
        (&json!("allowed"), &json!(true))
    );
    assert_eq!(
        ask("europe-west1", "us-central1", "")["outcome"],
        "incompatible_regulations"
    );
    let safe = ask("southamerica-east1", "us-central1", "");
    assert_eq!(safe["outcome"], "with_safeguards");
    assert_eq!(safe["regulation"], "LGPD");
    let owed = safe["obligations"].as_array().unwrap();
    assert!(owed.contains(&json!("safeguards")) && owed.contains(&json!("consent")));
    let audit = admin.edge.telemetry.audit().unwrap();
    assert!(audit.flush(Duration::from_secs(10)));
    let log = std::fs::read_to_string(admin.folder.path().join("audit/audit-000000000001.jsonl"))
        .unwrap();
    let checks: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["record"].clone())
        .filter(|record| record["kind"] == "check")
        .collect();
    assert_eq!(checks.len(), 4, "{log}");
    assert_eq!(checks[1]["request_id"], "r-1");
    assert_eq!(checks[1]["claims"], json!(["consent:trusted_hop"]));
    assert!(log.contains("\"action\":\"reload\""), "{log}");
    let ready = admin.get("/readyz").json();
    assert_eq!(ready["audit"]["failing"], false);
    assert_eq!(ready["audit"]["seq"], log.lines().count());
}

#[test]
fn a_question_that_makes_no_sense_or_can_not_be_recorded_is_a_problem() {
    let admin = Admin::start();
    admin.write_policies(LAWS);
    assert_eq!(admin.post("/reload", "").status, 200);
    for body in [
        "",
        "{}",
        "{\"source\":\"nowhere\",\"destination\":\"us-east1\",\"class\":\"tier_1_pii\"}",
        "{\"source\":\"us-east1\",\"destination\":\"us-east1\",\"class\":\"secret\"}",
        "{\"source\":\"us-east1\",\"destination\":\"us-east1\",\"class\":\"tier_1_pii\",\"x\":1}",
        "{\"source\":\"us-east1\",\"destination\":\"us-east1\",\"class\":\"tier_1_pii\",\"request_id\":\"a b\"}",
    ] {
        let answer = admin.post("/residency/check", body);
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.json()["reason"], "bad-request");
    }
    assert_eq!(admin.get("/residency/check").status, 405);
    let folder = admin.folder.path();
    std::fs::rename(folder.join("audit"), folder.join("away")).unwrap();
    let body =
        "{\"source\":\"us-central1\",\"destination\":\"europe-west1\",\"class\":\"tier_1_pii\"}";
    // The first record after the fault finds it.
    let _ = admin.post("/residency/check", body);
    let audit = admin.edge.telemetry.audit().unwrap();
    let start = std::time::Instant::now();
    while audit.standing().fault.is_none() {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let answer = admin.post("/residency/check", body);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["reason"], "audit-unavailable");
    let ready = admin.get("/readyz");
    assert_eq!(ready.status, 503, "this edge only starts");
    assert_eq!(ready.json()["audit"]["failing"], true);
}
