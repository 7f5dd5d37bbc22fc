//! `drain`, `reload` and `status` against a running process.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::edge::{Files, Process, answer, backend, connect, policies};
use crate::support::{alive, until};

const GET: &str = "GET / HTTP/1.1\r\nHost: edge\r\n\r\n";

#[test]
fn drain_waits_until_the_process_has_finished() {
    let mut edge = Process::start(Files::new(backend(), ""));
    let mut kept = edge.send(GET);
    assert!(answer(&mut kept).unwrap().ends_with("ok"));
    let drained = edge.files.verb("drain", &["--wait"]);
    assert_eq!(drained.code, Some(0), "{}", drained.err);
    assert_eq!(drained.out, "draining\nfinished\n");
    assert_eq!(edge.exit(), Some(0));
    assert_eq!(answer(&mut kept), None);
    let again = edge.files.verb("drain", &[]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("admin.sock"), "{}", again.err);
}

#[test]
fn during_the_delay_readiness_fails_and_requests_are_served_as_ever() {
    let files = Files::new(backend(), "timeouts: { drain_delay: 2s }\n");
    let mut edge = Process::start(files);
    assert_eq!(edge.files.readyz().unwrap().0, 200);
    let mut kept = edge.send(GET);
    assert!(answer(&mut kept).unwrap().ends_with("ok"));
    let began = Instant::now();
    edge.signal(Signal::TERM);
    let (_, ready) = until("readiness fails", || {
        edge.files.readyz().filter(|(status, _)| *status == 503)
    });
    assert_eq!(
        (&ready["ready"], &ready["phase"]),
        (&false.into(), &"leaving".into())
    );
    let mut new = edge.send(GET);
    for stream in [&mut new, &mut kept] {
        let _ = stream.write_all(b"GET /edge-health HTTP/1.1\r\nHost: edge\r\n\r\n");
    }
    assert!(answer(&mut new).unwrap().ends_with("ok"));
    for stream in [&mut new, &mut kept] {
        let health = answer(stream).unwrap();
        assert!(health.starts_with("HTTP/1.1 503"), "{health}");
        assert!(
            !health.to_lowercase().contains("connection: close"),
            "{health}"
        );
    }
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "the machine is too slow for this test"
    );
    assert_eq!(edge.exit(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert!(TcpStream::connect(edge.plain).is_err());
}

#[test]
fn reload_tells_the_new_generation_or_the_fault() {
    let backend = backend();
    let edge = Process::start(Files::new(backend, ""));
    let same = edge.files.verb("reload", &[]);
    assert_eq!(
        (same.code, same.out.as_str()),
        (Some(0), "generation 1 stays: nothing is new\n")
    );
    edge.files.write_policies(&policies(backend, 50));
    let live = edge.files.verb("reload", &[]);
    // The watch may have been faster.
    assert!(
        live.out.starts_with("generation 2 "),
        "{}{}",
        live.out,
        live.err
    );
    edge.files.write_policies("regions: [{ idd: x }]\n");
    until("the fault is told", || {
        let bad = edge.files.verb("reload", &[]);
        bad.err.contains("policies.yaml:1:").then_some(())
    });
    let status = edge.files.verb("status", &[]);
    assert_eq!(
        status.code,
        Some(0),
        "what was live still is: {}",
        status.err
    );
    assert!(
        status.out.starts_with("serving: generation 2 "),
        "{}",
        status.out
    );
    assert!(
        status.out.contains("local") && status.out.contains("1 of 1"),
        "{}",
        status.out
    );
    assert!(status.err.contains("idd"), "{}", status.err);
}

#[test]
fn status_as_json_is_what_the_admin_side_tells() {
    let mut edge = Process::start(Files::new(backend(), ""));
    let status = edge.files.verb("status", &["--json"]).json();
    assert_eq!(status["ready"]["generation"], 1);
    assert_eq!(status["ready"]["pid"], edge.child.id());
    assert_eq!(status["regions"]["regions"][0]["region"], "local");
    assert!(alive(i32::try_from(edge.child.id()).unwrap()));
    edge.signal(Signal::INT);
    assert_eq!(edge.exit(), Some(0));
    assert_eq!(edge.files.verb("status", &["--json"]).code, Some(1));
}

#[test]
fn status_says_no_while_it_drains() {
    let files = Files::new(backend(), "timeouts: { drain_delay: 60s }\n");
    let edge = Process::start(files);
    assert_eq!(edge.files.verb("drain", &[]).code, Some(0));
    let status = edge.files.verb("status", &[]);
    assert_eq!(status.code, Some(1));
    assert!(status.out.starts_with("leaving: "), "{}", status.out);
    drop(connect(edge.plain));
}
