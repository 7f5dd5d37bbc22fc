//! One process takes over from another.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::edge::{Files, Process, admin, answer, backend, connect, listening, policies};
use crate::load::Load;
use crate::support::{Around, alive, meridian, ran, until};

/// A running edge that can be replaced, whoever it is by now.
struct Line {
    first: Process,
    certificate: Around,
}

const LISTENERS: &str = "listeners:\n  - { address: \"127.0.0.1:0\", protocols: [h1] }\n";

fn more(patience: &str) -> String {
    format!("upgrade: {{ socket: control.sock, patience: {patience} }}\npid_file: pid\n")
}

fn with_tls(certificate: &Around) -> String {
    let mut text = LISTENERS.to_owned();
    write!(
        text,
        "  - address: \"127.0.0.1:0\"\n    protocols: [h1, h2, h3]\n\
         \x20   tls: {{ certificates: [{{ cert: {}, key: {} }}] }}\n",
        certificate.path("tls.pem").display(),
        certificate.path("tls.key").display()
    )
    .unwrap();
    text
}

impl Line {
    fn start(patience: &str) -> Self {
        Self::start_with(patience, |_| {})
    }

    fn start_with(patience: &str, change: impl FnOnce(&mut std::process::Command)) -> Self {
        let certificate = Around::new();
        let files = Files::new(backend(), "");
        files.write_static(&with_tls(&certificate), &more(patience));
        let first = Process::start_with(files, change);
        until("it owns its sockets", || first.files.pid());
        Self { first, certificate }
    }

    fn files(&self) -> &Files {
        &self.first.files
    }

    /// Where the first one listens: plain, then TLS.
    fn ports(&self) -> Vec<SocketAddr> {
        until("it says where it listens", || {
            let ports = listening(&self.files().stderr());
            (ports.len() == 2).then_some(ports)
        })
    }

    /// Ends whoever serves by now; a successor may still be about to.
    fn end(&self) {
        while let Some((_, ready)) = self.files().readyz() {
            let pid = ready["pid"]
                .as_i64()
                .and_then(|pid| i32::try_from(pid).ok());
            if let Some(pid) = pid.and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.end();
    }
}

/// Asks readiness again and again; true if somebody ready has always answered.
fn watched<T>(socket: &Path, run: impl FnOnce() -> T) -> (T, bool) {
    let (over, good) = (AtomicBool::new(false), AtomicBool::new(true));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                let ready = admin(socket, "GET", "/readyz");
                if !matches!(ready, Some((200, _))) {
                    eprintln!("not ready: {ready:?}");
                    good.store(false, Ordering::Release);
                }
            }
        });
        let done = run();
        over.store(true, Ordering::Release);
        (done, good.load(Ordering::Acquire))
    })
}

#[test]
fn the_new_process_has_every_socket_and_the_old_one_ends() {
    let mut line = Line::start("60s");
    let ports = line.ports();
    let old = line.files().pid().unwrap();
    let mut kept = connect(ports[0]);
    kept_is_served(&mut kept, false);
    let socket = line.files().path("admin.sock");
    let (upgraded, always_ready) = watched(&socket, || line.files().verb("upgrade", &[]));
    assert_eq!(
        upgraded.code,
        Some(0),
        "{}{}",
        upgraded.err,
        line.files().stderr()
    );
    assert!(always_ready, "readiness had a gap");
    let new = until("the pid file names the new one", || {
        line.files().pid().filter(|pid| *pid != old)
    });
    assert!(
        upgraded.out.contains(&format!("process {new} serves")),
        "{}",
        upgraded.out
    );
    assert_eq!(line.files().readyz().unwrap().1["pid"], new);
    // The old one has an idle connection, which is answered once more.
    assert!(alive(old));
    kept_is_served(&mut kept, true);
    assert_eq!(line.first.exit(), Some(0));
    let both = [ports.clone(), ports.clone()].concat();
    until("the new one says where it listens", || {
        (listening(&line.files().stderr()).len() == both.len()).then_some(())
    });
    let said = line.files().stderr();
    assert_eq!(listening(&said), both, "{said}");
    kept_is_served(&mut connect(ports[0]), false);
    // And the line goes on.
    upgrades(&line);
    until("the second one ends", || (!alive(new)).then_some(()));
    kept_is_served(&mut connect(ports[0]), false);
    let drained = line.files().verb("drain", &["--wait"]);
    assert_eq!(drained.code, Some(0), "{}", drained.err);
    until("the pid file is gone", || {
        (line.files().pid().is_none()).then_some(())
    });
}

fn kept_is_served(stream: &mut std::net::TcpStream, last: bool) {
    use std::io::Write as _;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n")
        .unwrap();
    let told = answer(stream).unwrap();
    assert!(told.ends_with("\r\nok"), "{told}");
    assert_eq!(
        told.to_lowercase().contains("connection: close"),
        last,
        "{told}"
    );
}

/// An upgrade that succeeds.
fn upgrades(line: &Line) {
    let upgraded = line.files().verb("upgrade", &[]);
    let log = line.files().stderr();
    assert_eq!(upgraded.code, Some(0), "{}{log}", upgraded.err);
}

/// An upgrade that fails, with a reason that has these words; the edge serves
/// as before.
fn fails(line: &Line, more: &[&str], words: &str) {
    let pid = line.files().pid().unwrap();
    let socket = line.files().path("admin.sock");
    let (failed, always_ready) = watched(&socket, || line.files().verb("upgrade", more));
    assert_eq!(failed.code, Some(1), "{}", failed.out);
    assert!(
        failed.err.contains("the running process goes on"),
        "{}",
        failed.err
    );
    assert!(failed.err.contains(words), "{}", failed.err);
    assert!(always_ready, "readiness had a gap");
    assert_eq!(line.files().pid(), Some(pid));
    assert_eq!(line.files().readyz().unwrap().1["pid"], pid);
    kept_is_served(&mut connect(line.first.plain), false);
}

#[test]
fn a_new_process_that_can_not_serve_leaves_the_old_one_serving() {
    let line = Line::start("60s");
    let good = std::fs::read_to_string(line.files().path("policies/policies.yaml")).unwrap();
    line.files().write_policies("regions: [{ idd: x }]\n");
    fails(&line, &[], "policies.yaml:1:");
    line.files().write_policies(&good);
    fails(
        &line,
        &["--binary", "/nowhere/meridian"],
        "can't be started",
    );
    fails(&line, &["--binary", "/bin/true"], "ended before it served");
    // A port that somebody else has.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners = format!(
        "{}  - {{ address: \"{}\" }}\n",
        with_tls(&line.certificate),
        taken.local_addr().unwrap()
    );
    line.files().write_static(&listeners, &more("60s"));
    fails(&line, &[], "cannot listen on");
    line.files()
        .write_static(&with_tls(&line.certificate), &more("60s"));
    upgrades(&line);
}

/// A program that does nothing, whatever it is asked.
fn hangs(folder: &Path) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("hangs");
    std::fs::write(&path, "#!/bin/sh\n: >\"$0.begun\"\nexec sleep 600\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn a_new_process_that_stays_silent_is_given_up_and_only_one_is_tried_at_a_time() {
    let line = Line::start("3s");
    let hangs = hangs(&line.files().path(""));
    let began = Instant::now();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| fails(&line, &["--binary", &hangs], "did not serve within 3 s"));
        let marker = line.files().path("hangs.begun");
        until("the first is under way", || marker.exists().then_some(()));
        let second = line.files().verb("upgrade", &[]);
        assert_eq!(second.code, Some(1));
        assert!(
            second.err.contains("another upgrade is under way"),
            "{}",
            second.err
        );
        first.join().unwrap();
    });
    assert!(began.elapsed() < Duration::from_secs(20));
    upgrades(&line);
}

#[test]
fn a_process_that_a_supervisor_starts_may_take_over_too() {
    let mut line = Line::start("60s");
    let socket = line.files().path("control.sock").display().to_string();
    let mut command = line.files().verb_command("run", &["--take-over", &socket]);
    command.stderr(std::fs::File::create(line.files().path("stderr-2")).unwrap());
    let mut next = command.spawn().unwrap();
    assert_eq!(line.first.exit(), Some(0));
    until("it owns the sockets", || {
        (line.files().pid() == i32::try_from(next.id()).ok()).then_some(())
    });
    kept_is_served(&mut connect(line.first.plain), false);
    kill_process(Pid::from_child(&next), Signal::TERM).unwrap();
    assert_eq!(next.wait().unwrap().code(), Some(0));
}

#[test]
fn a_changed_file_has_its_new_listener_and_loses_its_old_one() {
    let line = Line::start("60s");
    let before = line.ports();
    let free = {
        let found = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        found.local_addr().unwrap()
    };
    let listeners = format!("{LISTENERS}  - {{ address: \"{free}\" }}\n");
    line.files().write_static(&listeners, &more("60s"));
    let upgraded = line.files().verb("upgrade", &[]);
    assert_eq!(upgraded.code, Some(0), "{}", upgraded.err);
    // The old one may still take a connection before it drains, and serves it.
    until("the new one serves the old address", || {
        let mut stream = connect(before[0]);
        std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n").unwrap();
        let told = answer(&mut stream).unwrap();
        assert!(told.ends_with("\r\nok"), "{told}");
        (!told.to_lowercase().contains("connection: close")).then_some(())
    });
    kept_is_served(&mut connect(free), false);
    until("nobody listens at the old one", || {
        std::net::TcpStream::connect(before[1]).err()
    });
}

#[test]
fn systemd_hears_who_the_main_process_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(crate::support::PATIENCE))
        .unwrap();
    let heard = || {
        let mut buffer = [0; 128];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    };
    let line = Line::start_with("60s", |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    let old = line.files().pid().unwrap();
    assert_eq!(heard(), format!("READY=1\nMAINPID={old}"));
    upgrades(&line);
    let said = heard();
    let new = line.files().readyz().unwrap().1["pid"].clone();
    assert_eq!(said, format!("READY=1\nMAINPID={new}"));
    assert_eq!(line.files().verb("drain", &[]).code, Some(0));
    assert_eq!(heard(), "STOPPING=1");
}

#[test]
fn without_a_control_socket_nothing_can_be_upgraded() {
    let files = Files::new(backend(), "");
    let edge = Process::start(files);
    let told = edge.files.verb("upgrade", &[]);
    assert_eq!(told.code, Some(1));
    assert!(
        told.err.contains("upgrade: { socket: PATH }"),
        "{}",
        told.err
    );
    let config = edge.files.config().display().to_string();
    let nobody = ran(meridian()
        .args(["run", "--config", &config, "--take-over", "/nowhere.sock"])
        .output()
        .unwrap());
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.err.contains("/nowhere.sock"), "{}", nobody.err);
}

/// How many; `scripts/long` asks for more.
fn rounds(variable: &str, few: usize) -> usize {
    std::env::var(variable).map_or(few, |text| text.parse().unwrap())
}

fn nothing_was_lost(load: Load) {
    let enough = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Acquire) > 100;
    until("every kind of client has done something", || {
        let tally = &load.tally;
        (enough(&tally.done) && enough(&tally.h2_done) && enough(&tally.h3_done)).then_some(())
    });
    let tally = load.finish();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Acquire);
    let lost = tally.lost.lock().unwrap();
    eprintln!(
        "{} requests over h1, {} over h2, {} over h3, {} streams, sockets and uploads; {} refused, {} races, \
         {} not processed by GOAWAY, {} lost",
        count(&tally.done),
        count(&tally.h2_done),
        count(&tally.h3_done),
        count(&tally.streams_done),
        count(&tally.refused),
        count(&tally.races),
        count(&tally.unprocessed),
        lost.len()
    );
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!((count(&tally.refused), count(&tally.races)), (0, 0));
    assert_eq!(count(&tally.unprocessed), 0);
    assert!(count(&tally.streams_done) >= 3);
}

fn load(line: &Line) -> Load {
    let ports = line.ports();
    let pem = line.certificate.path("tls.pem");
    let trust = CertificateDer::from_pem_file(pem).unwrap();
    Load::start(ports[0], ports[1], &trust)
}

#[test]
fn upgrades_under_load_lose_nothing() {
    let line = Line::start("60s");
    let load = load(&line);
    for round in 0..rounds("MERIDIAN_UPGRADES", 4) {
        let upgraded = line.files().verb("upgrade", &[]);
        assert_eq!(upgraded.code, Some(0), "{round}: {}", upgraded.err);
    }
    nothing_was_lost(load);
}

#[test]
fn reloads_under_load_lose_nothing() {
    let line = Line::start("60s");
    let backend = line.files().backend();
    let load = load(&line);
    for round in 0..rounds("MERIDIAN_RELOADS", 40) {
        let weight = u32::try_from(round % 99 + 1).unwrap();
        line.files().write_policies(&policies(backend, weight));
        let reloaded = line.files().verb("reload", &[]);
        assert_eq!(reloaded.code, Some(0), "{round}: {}", reloaded.err);
    }
    nothing_was_lost(load);
}
