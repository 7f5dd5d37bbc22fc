//! What each folder of `conf/examples` means, held against
//! `proxy/tests/golden`: what its static file and its policies set beside the
//! defaults, and what it decides for clients of ten countries.
//!
//! After a wanted change, or with a new example:
//! `MERIDIAN_GOLDENS=write cargo test -p meridian --lib examples`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use meridian_policies::identity::TokenCache;
use meridian_policies::{EdgePlace, Snapshot, SourceFile, State};
use serde_json::{Value, json};

use super::compile::{Frame, locator, rules};
use super::gather::policies;
use crate::admin::explain::{Question, ask};
use crate::edge::{Clock, Generation};
use crate::server::tls::Upstreams;
use crate::settings::{Settings, Surroundings};

const WRITE: &str = "MERIDIAN_GOLDENS=write cargo test -p meridian --lib examples";

/// A client of each, by the data inside the binary; the last is nowhere.
const CLIENTS: [(&str, &str); 10] = [
    ("DE", "91.64.0.1"),
    ("GB", "81.2.69.142"),
    ("CH", "130.59.31.80"),
    ("US", "8.8.8.8"),
    ("BR", "200.147.3.157"),
    ("IN", "49.36.0.1"),
    ("SG", "116.86.0.1"),
    ("JP", "126.0.0.1"),
    ("CN", "114.114.114.114"),
    ("nowhere", "10.1.2.3"),
];

const CLASSES: [&str; 4] = [
    "tier_1_pii",
    "tier_2_personal",
    "tier_3_operational",
    "tier_4_public",
];

/// Requests that show what an example is about, beside one for each class and
/// each country: members of `POST /explain`.
fn asked(example: &str) -> Vec<Value> {
    match example {
        "access" => vec![
            json!({ "ip": "8.8.8.8", "path": "/admin/users" }),
            json!({ "ip": "198.51.100.7", "path": "/admin/users" }),
            json!({ "ip": "8.8.8.8", "method": "DELETE", "host": "www.example.com" }),
            json!({ "ip": "8.8.8.8", "method": "DELETE" }),
            json!({ "ip": "175.45.176.1" }),
        ],
        "geo" => vec![json!({ "ip": "10.0.0.1" }), json!({ "ip": "192.0.2.1" })],
        "mcp" => vec![
            json!({ "ip": "8.8.8.8", "path": "/mcp", "method": "POST", "tool": "records_get" }),
            json!({ "ip": "8.8.8.8", "path": "/mcp", "method": "POST", "tool": "echo" }),
        ],
        "residency" => vec![
            json!({ "ip": "8.8.8.8", "class": "tier_2_personal", "consent": true }),
            json!({ "ip": "10.1.2.3", "class": "tier_2_personal", "consent": true }),
        ],
        "routes" => vec![
            json!({ "ip": "8.8.8.8", "path": "/v3/health" }),
            json!({ "ip": "8.8.8.8", "path": "/v1/old" }),
            json!({ "ip": "8.8.8.8", "path": "/internal" }),
            json!({ "ip": "8.8.8.8", "path": "/api/x", "host": "api.example.com" }),
            json!({ "ip": "8.8.8.8", "path": "/eu/x" }),
        ],
        "tokens" => vec![
            json!({ "ip": "126.0.0.1", "token_of": "corp", "subject": "ada" }),
            json!({ "ip": "126.0.0.1", "token_of": "corp", "subject": "ada", "consent": true }),
            json!({ "ip": "126.0.0.1", "path": "/catalogue/x" }),
            json!({ "ip": "8.8.8.8", "path": "/ops/x", "token_of": "corp", "groups": ["operators"] }),
            json!({ "ip": "8.8.8.8", "path": "/v3/health" }),
        ],
        _ => Vec::new(),
    }
}

/// What the environment gives to every example.
fn environment(name: &str) -> String {
    match name {
        "HTTP_PORT" => "8080".to_owned(),
        "HTTPS_PORT" => "8443".to_owned(),
        "ADMIN_PORT" => "9090".to_owned(),
        "UPSTREAM" => "127.0.0.1:9000".to_owned(),
        name if name.ends_with("_PORT") => "9443".to_owned(),
        name => format!("/run/given/{}", name.to_ascii_lowercase()),
    }
}

/// Files beside the policies are read; others stand for a secret.
fn around(folder: &Path) -> Surroundings<'_> {
    let file = |name: &str| {
        let beside = std::fs::read_to_string(folder.join("policies").join(name));
        Ok(beside.unwrap_or_else(|_| "a secret that the test gives, 0123456789".to_owned()))
    };
    Surroundings::given(|name| Some(environment(name)), file, 2)
}

fn settings(path: &Path, text: &str) -> Settings {
    let shown = Path::new("meridian.yaml");
    let source = SourceFile {
        path: path.display().to_string(),
        text: text.to_owned(),
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    Settings::parse(&source, shown, &around(folder))
        .unwrap_or_else(|faults| panic!("{}", told(&faults)))
}

fn snapshot((folder, sources): (&Path, &[SourceFile]), region: &str) -> Snapshot {
    Snapshot::compile(sources, &around(folder).references(), &EdgePlace { region })
        .unwrap_or_else(|faults| panic!("{}", told(&faults)))
}

fn told(faults: &[meridian_policies::Diagnostic]) -> String {
    faults.iter().fold(String::new(), |mut text, fault| {
        let _ = writeln!(text, "{fault}");
        text
    })
}

/// `path = value` for every leaf of `{:#?}`.
fn leaves(debug: &str) -> Vec<String> {
    let mut within: Vec<(String, usize)> = Vec::new();
    let mut found = Vec::new();
    for line in debug.lines().map(str::trim) {
        if line.starts_with(['}', ']', ')']) {
            within.pop();
            continue;
        }
        let (key, value) = match line.split_once(": ") {
            Some((key, value)) if key.chars().all(|c| c.is_alphanumeric() || c == '_') => {
                (key.to_owned(), value)
            }
            Some(_) | None => (String::new(), line),
        };
        let key = if key.is_empty() {
            let at = within.last_mut().map_or(0, |(_, next)| {
                *next += 1;
                *next - 1
            });
            format!("[{at}]")
        } else {
            key
        };
        if value.ends_with(['{', '[', '(']) {
            within.push((key, 0));
        } else {
            let path: Vec<&str> = within.iter().skip(1).map(|(key, _)| key.as_str()).collect();
            let place = [path.join("."), key].join(".");
            found.push(format!(
                "{} = {}",
                place.trim_matches('.').replace(".[", "["),
                value.trim_end_matches(',')
            ));
        }
    }
    found
}

/// `path = value` for every leaf of JSON.
fn flat(value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                let dot = if place.is_empty() { "" } else { "." };
                flat(value, &format!("{place}{dot}{key}"), found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                flat(item, &format!("{place}[{at}]"), found);
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => found.push(format!("{place} = {value}")),
    }
}

/// The same place in any element of a list.
fn anywhere(line: &str) -> String {
    let (place, value) = line.split_once(" = ").unwrap_or((line, ""));
    let mut parts = place.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    let digits = |c: char| c.is_ascii_digit();
    let place = parts.fold(first, |place, part| {
        format!("{place}[{}", part.trim_start_matches(digits))
    });
    format!("{place} = {value}")
}

/// Lines that the defaults do not have, without those that set nothing.
fn beside(lines: Vec<String>, defaults: &[String]) -> Vec<String> {
    let known: BTreeSet<String> = defaults.iter().map(|line| anywhere(line)).collect();
    let nothing = [" = null", " = None", " = []", " = {}"];
    let new = |line: &String| {
        !known.contains(&anywhere(line)) && !nothing.iter().any(|end| line.ends_with(end))
    };
    lines.into_iter().filter(new).collect()
}

fn meaning(snapshot: &Snapshot) -> Vec<String> {
    let mut value = snapshot.to_redacted_json();
    if let Some(members) = value.as_object_mut() {
        members.remove("digest");
        // What the table below says.
        members.remove("residency");
        if let Some(regions) = members.get_mut("regions").and_then(Value::as_object_mut) {
            regions.remove("latency_ms");
        }
    }
    let mut found = Vec::new();
    flat(&value, "", &mut found);
    found
}

/// One example's folder.
struct Example {
    name: String,
    folder: PathBuf,
}

impl Example {
    fn golden(&self) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        folder.join(format!("{}.txt", self.name))
    }

    fn text(&self) -> String {
        let file = self.folder.join("meridian.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let mut out = String::new();
        for line in text.lines().take_while(|line| line.starts_with('#')) {
            let _ = writeln!(out, "{line}");
        }
        let settings = settings(&file, &text);
        let least = "edge: { region: local }\nlisteners: [{ address: \"127.0.0.1:8080\" }]\n";
        let defaults = leaves(&format!("{:#?}", self::settings(&file, least)));
        section("static, beside the defaults", &mut out);
        list(
            &beside(leaves(&format!("{settings:#?}")), &defaults),
            &mut out,
        );
        let sources = policies(&self.folder.join("policies")).unwrap();
        let snapshot = snapshot((&self.folder, &sources), &settings.edge_region);
        let least = SourceFile {
            path: "least.yaml".to_owned(),
            text:
                "regions: [{ id: local, endpoints: ['http://127.0.0.1:9000'] }]\nresidency: off\n"
                    .to_owned(),
        };
        let defaults = meaning(&self::snapshot((&self.folder, &[least]), "local"));
        section("policies, beside the defaults", &mut out);
        list(&beside(meaning(&snapshot), &defaults), &mut out);
        section("decisions", &mut out);
        self.decide(&live(&settings, snapshot), &mut out);
        out
    }

    fn decide(&self, generation: &Generation, out: &mut String) {
        let mut before: Option<(Vec<&str>, String)> = None;
        for (country, ip) in CLIENTS {
            let told = CLASSES.map(|class| {
                let answer = answer(&json!({ "ip": ip, "class": class }), generation);
                format!("  {class}: {answer}\n")
            });
            let told = told.concat();
            match &mut before {
                Some((countries, same)) if *same == told => countries.push(country),
                Some(_) | None => {
                    if let Some((countries, told)) = before.take() {
                        let _ = write!(out, "{}\n{told}", countries.join(", "));
                    }
                    before = Some((vec![country], told));
                }
            }
        }
        if let Some((countries, told)) = before {
            let _ = write!(out, "{}\n{told}", countries.join(", "));
        }
        for question in asked(&self.name) {
            let _ = writeln!(out, "{question}\n  {}", answer(&question, generation));
        }
    }
}

fn live(settings: &Settings, snapshot: Snapshot) -> Generation {
    let (clock, state) = (Clock::start(), State::new());
    let view = state.reconcile(&snapshot, clock.tick());
    let frame = Frame {
        settings,
        state: &state,
        clock: &clock,
        before: &[],
        live: None,
    };
    Generation {
        number: 1,
        view,
        tokens: TokenCache::new(),
        upstreams: Upstreams::default(),
        locator: locator(settings, &snapshot, &[]).unwrap(),
        waf: rules(&frame, &snapshot).unwrap(),
        loaded_unix_ms: 0,
        snapshot,
    }
}

/// What comes of a request, in one line.
fn answer(question: &Value, generation: &Generation) -> String {
    let question: Question = serde_json::from_value(question.clone()).unwrap();
    let tick = Clock::start().tick();
    let told = match ask(&question, generation, tick) {
        Ok(told) => told,
        Err(fault) => return fault,
    };
    let route = told.route.as_deref().unwrap_or("no route");
    let mut line = match (&told.region, told.status) {
        (Some(region), _) => format!("{region}, of {}", told.permitted.join(" ")),
        (None, status) => {
            let detail = told.detail.as_deref().unwrap_or("answered by the edge");
            format!("{} {detail}", status.unwrap_or(0))
        }
    };
    if !told.obligations.is_empty() {
        let _ = write!(line, "; to do: {}", told.obligations.join(" "));
    }
    format!("{line} ({route})")
}

fn section(name: &str, out: &mut String) {
    let _ = writeln!(out, "\n== {name}");
}

fn list(lines: &[String], out: &mut String) {
    for line in lines {
        let _ = writeln!(out, "{line}");
    }
}

fn examples() -> Vec<Example> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/examples");
    let mut found: Vec<Example> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let folder = entry.unwrap().path();
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            Example { name, folder }
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

#[test]
fn every_example_means_what_its_golden_says() {
    let write = std::env::var_os("MERIDIAN_GOLDENS").is_some_and(|value| value == "write");
    let mut differing = String::new();
    for example in examples() {
        let (text, file) = (example.text(), example.golden());
        if write {
            std::fs::write(&file, &text).unwrap();
            continue;
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        if golden == text {
            continue;
        }
        let _ = match text
            .lines()
            .zip(golden.lines())
            .find(|(now, was)| now != was)
        {
            _ if golden.is_empty() => writeln!(differing, "{}: has no golden", example.name),
            Some((now, was)) => writeln!(differing, "{}:\n  was {was}\n  now {now}", example.name),
            None => writeln!(differing, "{}: another length", example.name),
        };
    }
    assert!(
        differing.is_empty(),
        "{differing}if that is meant, write the goldens and commit them: {WRITE}"
    );
}

#[test]
fn no_golden_outlives_its_example() {
    let kept: BTreeSet<PathBuf> = examples().iter().map(Example::golden).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        assert!(kept.contains(&file), "{}: no such example", file.display());
    }
}

/// The goldens would say little if clients were where they are not.
#[test]
fn the_clients_of_the_goldens_are_where_they_are_said_to_be() {
    let least = "edge: { region: local }\nlisteners: [{ address: \"127.0.0.1:8080\" }]\n";
    let settings = settings(Path::new("meridian.yaml"), least);
    let source = SourceFile {
        path: "least.yaml".to_owned(),
        text: "regions: [{ id: local, endpoints: ['http://127.0.0.1:9000'] }]\nresidency: off\n"
            .to_owned(),
    };
    let locator = locator(
        &settings,
        &snapshot((Path::new("."), &[source]), "local"),
        &[],
    )
    .unwrap();
    for (country, ip) in CLIENTS {
        let found = locator.locate(ip.parse().unwrap()).country;
        let found = found.map_or("nowhere".to_owned(), |found| found.as_str().to_owned());
        assert_eq!(found, country, "{ip}");
    }
}
