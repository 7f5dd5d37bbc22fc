//! The program as a child process: readiness, signals, its parent's end.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Child, Command, ExitStatus, Stdio},
};

use serde_json::{Value, json};

fn backend(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meridian-backend"));
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A child that does not outlive a failed test.
struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut child = backend(args).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["region"], "us-central1");
        let address = ready["listening"]
            .as_str()
            .unwrap()
            .strip_prefix("http://")
            .unwrap();
        Self {
            address: address.to_owned(),
            child,
        }
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }

    fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    fn ask(&self, head: &str, body: &str) -> String {
        let mut stream = std::net::TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let rest =
            format!("Host: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        stream
            .write_all(format!("{head}\r\n{rest}").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn tool(&self, name: &str, arguments: &Value) -> String {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": name, "arguments": arguments, "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {} } } });
        let class = arguments["class"]
            .as_str()
            .map_or_else(String::new, |class| {
                format!("\r\nMcp-Param-Data-Class: {class}")
            });
        let head = format!(
            "POST /mcp HTTP/1.1\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\n\
             MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: {name}{class}"
        );
        self.ask(&head, &body.to_string())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone in most tests.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Stops it in the given way and checks that it was a clean stop.
    fn stops_by(mut self, how: impl FnOnce(&mut Self)) {
        how(&mut self);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

const ARGS: &[&str] = &["--region", "us-central1"];

#[test]
fn term_and_interrupt_stop_it_cleanly() {
    for signal in ["TERM", "INT"] {
        Running::start(ARGS).stops_by(|backend| backend.signal(signal));
    }
}

#[test]
fn a_child_ends_with_its_stdin_and_leaves_interrupts_to_its_parent() {
    let args = [ARGS, &["--exit-with-stdin"]].concat();
    let mut backend = Running::start(&args);
    backend.signal("INT");
    assert!(
        backend
            .ask("GET /v3/health HTTP/1.1", "")
            .starts_with("HTTP/1.1 200")
    );
    assert!(backend.child.try_wait().unwrap().is_none());
    backend.stops_by(|backend| drop(backend.child.stdin.take()));
    Running::start(&args).stops_by(|backend| backend.signal("TERM"));
}

#[test]
fn a_second_signal_ends_it_without_waiting() {
    let mut backend = Running::start(&[ARGS, &["--faults", "--drain", "600"]].concat());
    backend.ask(
        "POST /fault HTTP/1.1",
        r#"{"latency_ms":600000,"path":"/v3/echo"}"#,
    );
    let mut hanging = std::net::TcpStream::connect(&backend.address).unwrap();
    hanging
        .write_all(b"GET /v3/echo HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    while !backend
        .ask("GET /v3/health HTTP/1.1", "")
        .contains("\"in_flight\":1")
    {}
    backend.signal("TERM");
    while std::net::TcpStream::connect(&backend.address).is_ok() {}
    assert!(
        backend.child.try_wait().unwrap().is_none(),
        "it waits for the request"
    );
    backend.signal("TERM");
    assert_eq!(backend.ended().code(), Some(1));
}

#[test]
fn without_that_flag_the_end_of_stdin_means_nothing() {
    let mut backend = Running::start(ARGS);
    drop(backend.child.stdin.take());
    assert!(
        backend
            .ask("GET /v3/health HTTP/1.1", "")
            .starts_with("HTTP/1.1 200")
    );
    backend.stops_by(|backend| backend.signal("TERM"));
}

#[test]
fn records_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("records.jsonl");
    let args = [ARGS, &["--store", file.to_str().unwrap()]].concat();
    let backend = Running::start(&args);
    let record = json!({ "key": "k", "value": "kept", "class": "tier_3_operational" });
    let answer = backend.tool("records_put", &record);
    assert!(answer.contains("\"replaced\":false"), "{answer}");
    // Not even a clean stop is needed.
    backend.signal("KILL");
    assert_eq!(backend.ended().code(), None);
    let backend = Running::start(&args);
    let answer = backend.tool("records_get", &json!({ "key": "k" }));
    assert!(answer.contains("\"value\":\"kept\""), "{answer}");
}

#[test]
fn what_cannot_start_says_so_in_one_line_and_exits_with_one() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    for (args, reason) in [
        (["--listen", &address], address.as_str()),
        (["--store", folder], folder),
        (["--delay", "60001"], "at most 60000"),
    ] {
        let output = backend(&[ARGS, &args].concat()).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains(reason), "{message}");
    }
    let usage = backend(&["--region", "NOT A REGION"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn it_speaks_mcp_over_stdio() {
    let mut child = backend(&[ARGS, &["--stdio"]].concat()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ask = |message: &Value| -> Value {
        writeln!(stdin, "{message}").unwrap();
        serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap()
    };
    let reply = ask(
        &json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" } } }),
    );
    assert_eq!(reply["result"]["serverInfo"]["name"], "meridian-backend");
    let reply = ask(
        &json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "region_info", "arguments": {} } }),
    );
    assert_eq!(
        reply["result"]["structuredContent"]["region"],
        "us-central1"
    );
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
