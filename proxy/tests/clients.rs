//! Foreign clients against the demo: the official MCP clients in both eras and
//! h2spec. `scripts/test` installs them under `.test`; a test whose client is
//! not there says so and is counted as skipped.

#[cfg(test)]
#[path = "support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::Command;

use support::{Demo, repository, skipped};

fn tool(path: &str) -> Option<PathBuf> {
    let path = repository().join(".test").join(path);
    path.exists().then_some(path)
}

fn script(name: &str) -> PathBuf {
    repository().join("tests-clients").join(name)
}

fn url(demo: &Demo) -> String {
    format!("https://localhost:{}/mcp", demo.address("https").port())
}

/// The processes of all backends.
fn backends(demo: &Demo) -> String {
    let regions = ["us-central1", "europe-west1", "asia-southeast1"];
    regions
        .map(|region| demo.backend_pid(region).to_string())
        .join(",")
}

/// Runs a client to its end and shows what it said if it was not content.
fn content(command: &mut Command, demo: &Demo) {
    let done = command.output().expect("the client starts");
    assert!(
        done.status.success(),
        "{command:?}: {}\n{}{}\n{}",
        done.status,
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
        demo.stderr(),
    );
}

fn python(test: &str, mode: &str) {
    let Some(python) = tool("python/bin/python") else {
        return skipped(test, "no Python client (pip install mcp)");
    };
    let demo = Demo::start();
    let mut command = Command::new(python);
    command
        .arg(script("mcp_python.py"))
        .arg(url(&demo))
        .arg(demo.dir.join("tls.pem"))
        .arg(mode)
        .env("MERIDIAN_BACKENDS", backends(&demo));
    content(&mut command, &demo);
}

#[test]
fn the_python_client_works_in_the_era_of_sessions() {
    python("the_python_client_works_in_the_era_of_sessions", "legacy");
}

#[test]
fn the_python_client_works_in_the_era_without_sessions() {
    python(
        "the_python_client_works_in_the_era_without_sessions",
        "2026-07-28",
    );
}

#[test]
fn the_python_client_finds_the_era_by_itself() {
    python("the_python_client_finds_the_era_by_itself", "auto");
}

fn npm(test: &str, mode: &str) {
    let Some(modules) = tool("node") else {
        return skipped(
            test,
            "no npm client (npm install @modelcontextprotocol/client)",
        );
    };
    let demo = Demo::start();
    let mut command = Command::new("node");
    command.arg(script("mcp_npm.mjs")).arg(url(&demo)).arg(mode);
    command
        .env("NODE_EXTRA_CA_CERTS", demo.dir.join("tls.pem"))
        .env("MERIDIAN_NODE", modules)
        .env("MERIDIAN_BACKENDS", backends(&demo));
    content(&mut command, &demo);
}

#[test]
fn the_npm_client_finds_the_era_by_itself() {
    npm("the_npm_client_finds_the_era_by_itself", "v2-auto");
}

#[test]
fn the_npm_client_works_in_the_era_of_sessions() {
    npm("the_npm_client_works_in_the_era_of_sessions", "v2-legacy");
}

#[test]
fn the_npm_client_before_it_works() {
    npm("the_npm_client_before_it_works", "v1");
}

#[test]
fn h2spec_passes_all_of_its_tests() {
    let Some(h2spec) = tool("bin/h2spec") else {
        return skipped("h2spec_passes_all_of_its_tests", "no h2spec (go install)");
    };
    let demo = Demo::start();
    let port = demo.address("https").port().to_string();
    let mut command = Command::new(h2spec);
    command.args([
        "--tls",
        "--insecure",
        "--strict",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
    ]);
    command.args(["--path", "/v3/echo", "--timeout", "10"]);
    let done = command.output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    let summary = text
        .lines()
        .rev()
        .find(|line| line.contains(" tests, "))
        .unwrap_or_default();
    assert!(
        summary.starts_with("146 tests, 146 passed, 0 skipped, 0 failed"),
        "{summary}\n{}",
        text.lines()
            .filter(|line| line.contains('×'))
            .collect::<Vec<_>>()
            .join("\n"),
    );
}
