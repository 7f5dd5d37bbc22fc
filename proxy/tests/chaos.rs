//! Residency under faults: three regions are killed, stopped, slowed and made
//! to flap, two at a time, while clients from everywhere ask with every class.
//! The backends' own logs say what reached them.
//!
//! `MERIDIAN_CHAOS_REQUESTS` sets the number of requests in all.

#[cfg(test)]
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{copy, meridian, repository, until};

const REGIONS: [&str; 3] = ["us-central1", "europe-west1", "asia-southeast1"];
const CLASSES: [&str; 4] = [
    "tier_1_pii",
    "tier_2_personal",
    "tier_3_operational",
    "tier_4_public",
];

/// Clients: an address, and for each class that they write in `x-data-class` the regions that may hold it, as
/// bits in the order of `REGIONS`. Written down from the residency table, not
/// from the code. The field can't make a request laxer than `tier_3_operational`,
/// the default.
const CLIENTS: [(&str, [u8; 4]); 6] = [
    ("91.64.0.1", [0b010, 0b010, 0b111, 0b111]),   // Germany
    ("8.8.8.8", [0b001, 0b001, 0b111, 0b111]),     // USA
    ("203.116.1.1", [0b100, 0b100, 0b111, 0b111]), // Singapore
    ("49.36.0.1", [0b000, 0b111, 0b111, 0b111]),   // India: a local copy elsewhere
    ("114.114.114.114", [0b000, 0b000, 0b000, 0b000]), // China
    ("105.160.0.1", [0b000, 0b000, 0b111, 0b111]), // Kenya
];

/// What happens to a region.
#[derive(Copy, Clone, Debug, PartialEq)]
enum Trouble {
    Killed,
    Stopped,
    Slowed,
    Flapping,
}

const TROUBLES: [Trouble; 4] = [
    Trouble::Killed,
    Trouble::Stopped,
    Trouble::Slowed,
    Trouble::Flapping,
];

/// One regional backend that can be hurt.
struct Backend {
    region: &'static str,
    address: SocketAddr,
    log: PathBuf,
    child: Child,
}

impl Backend {
    fn start(region: &'static str, address: &str, folder: &Path) -> Self {
        let log = folder.join(format!("{region}.jsonl"));
        let (child, address) = until("a backend is up", || spawn(region, address, &log));
        Self {
            region,
            address,
            log,
            child,
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process"), signal).expect("it is ours");
    }

    fn begin(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Killed => {
                self.child.kill().expect("it is ours");
                self.child.wait().expect("it ends");
            }
            Trouble::Stopped => self.signal(Signal::STOP),
            Trouble::Slowed => self.fault("POST", r#"{"latency_ms":120}"#),
            Trouble::Flapping => self.fault("POST", r#"{"error_rate":0.5,"status":503}"#),
        }
    }

    fn end(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Killed => {
                let address = self.address.to_string();
                let started = until("it is up again", || spawn(self.region, &address, &self.log));
                self.child = started.0;
            }
            Trouble::Stopped => self.signal(Signal::CONT),
            Trouble::Slowed | Trouble::Flapping => self.fault("DELETE", ""),
        }
    }

    fn fault(&self, method: &str, body: &str) {
        let mut link = Link::open(self.address).expect("the backend is there");
        let length = body.len();
        let request = format!(
            "{method} /fault HTTP/1.1\r\nhost: b\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let (status, _) = link.ask(&request).expect("it answers");
        assert!(status < 300, "{status} to {body}");
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(region: &str, address: &str, log: &Path) -> Option<(Child, SocketAddr)> {
    let mut child = meridian()
        .args([
            "backend", "--region", region, "--listen", address, "--faults", "--log",
        ])
        .arg(log)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut line = String::new();
    let read = BufReader::new(child.stdout.take()?).read_line(&mut line);
    let ready: Option<Value> = read.ok().and_then(|_| serde_json::from_str(&line).ok());
    let listening = ready.and_then(|ready| {
        let url = ready.get("listening")?.as_str()?;
        url.trim_start_matches("http://").parse().ok()
    });
    if listening.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    Some((child, listening?))
}

/// A keep-alive connection that reads whole answers.
struct Link {
    stream: BufReader<TcpStream>,
}

impl Link {
    fn open(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Status and the region that served.
    fn ask(&mut self, request: &str) -> Option<(u16, String)> {
        self.stream.get_mut().write_all(request.as_bytes()).ok()?;
        let (mut status, mut length, mut region) = (0, 0, String::new());
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if status == 0 {
                status = line.split(' ').nth(1)?.parse().ok()?;
            } else if let Some((name, value)) = line.split_once(':') {
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().ok()?,
                    "x-meridian-region" => value.trim().clone_into(&mut region),
                    _ => {}
                }
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        Some((status, region))
    }
}

/// The request of a client with a class; the trace says who it was.
fn request(number: u64, (client, class): (usize, usize)) -> String {
    let address = CLIENTS.get(client).expect("a client").0;
    let class_name = CLASSES.get(class).expect("a class");
    format!(
        "GET /v3/echo HTTP/1.1\r\nhost: edge\r\nx-forwarded-for: {address}\r\nx-data-class: {class_name}\r\n\
         traceparent: 00-c0{client:02x}{class:02x}{number:026x}-{number:016x}-01\r\n\r\n",
        number = number + 1
    )
}

fn lawful(client: usize, class: usize, region: usize) -> bool {
    let allowed = CLIENTS
        .get(client)
        .and_then(|(_, classes)| classes.get(class));
    allowed.is_some_and(|bits| bits & (1 << region) != 0)
}

/// Every line of a backend's log that it should not have: none.
fn foreign(log: &Path, region: usize) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let is_foreign = |line: &&str| {
        let entry: Value = serde_json::from_str(line).expect("a line of the log");
        let trace = entry.get("traceparent").and_then(Value::as_str);
        let Some(who) = trace.and_then(|trace| trace.strip_prefix("00-c0")) else {
            return true;
        };
        let number = |from: usize| usize::from_str_radix(who.get(from..from + 2)?, 16).ok();
        let (Some(client), Some(class)) = (number(0), number(2)) else {
            return true;
        };
        !lawful(client, class, region)
    };
    text.lines().filter(is_foreign).map(str::to_owned).collect()
}

/// An edge over three backends that can be hurt.
struct World {
    backends: Vec<Backend>,
    edge: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.edge.kill();
        let _ = self.edge.wait();
    }
}

const STATIC: &str = "\
edge: { region: us-central1 }
threads: 2
listeners: [{ address: \"127.0.0.1:0\" }]
trusted_hops: [127.0.0.0/8]
admin: { address: \"127.0.0.1:0\" }
telemetry: { access_log: off }
timeouts: { connect: 500ms, first_byte: 500ms }
";

/// Quick to give up on a region and to come back to it.
const TRAFFIC: &str = "\
traffic_policy: { failover: { dwell: 200ms, failback_delay: 1, ramp: 300ms } }
health_check: { path: /v3/health, interval: 200ms, timeout: 150ms, healthy_threshold: 1, unhealthy_threshold: 2 }
outlier_detection: { consecutive_errors: 5, interval: 200ms, base_ejection_time: 200ms, max_ejection_percent: 100 }
retry: { max_retries: 2, budget_percent: 20, min_per_second: 10, statuses: [502, 503, 504] }
";

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let backends: Vec<Backend> = REGIONS
            .into_iter()
            .map(|region| Backend::start(region, "127.0.0.1:0", folder.path()))
            .collect();
        let policies = folder.path().join("policies");
        copy(&repository().join("conf/policies"), &policies);
        copy(&repository().join("conf/demo/policies"), &policies);
        let regions = policies.join("regions.yaml");
        let mut text = std::fs::read_to_string(&regions).expect("a copy");
        for (number, backend) in backends.iter().enumerate() {
            let placeholder = format!("http://127.0.0.1:{}\"", number + 1);
            assert!(text.contains(&placeholder), "{text}");
            text = text.replace(&placeholder, &format!("http://{}\"", backend.address));
        }
        std::fs::write(&regions, text).expect("written");
        let limits = "rate_limiting: { exempt: [0.0.0.0/0] }\n";
        std::fs::write(policies.join("limits.yaml"), limits).expect("written");
        std::fs::write(policies.join("traffic.yaml"), TRAFFIC).expect("written");
        std::fs::write(folder.path().join("meridian.yaml"), STATIC).expect("written");
        let (edge, address) = start_edge(&folder.path().join("meridian.yaml"));
        Self {
            backends,
            edge,
            address,
            folder,
        }
    }

    fn troubled(&mut self, pair: [(usize, Trouble); 2], ask: impl FnOnce(SocketAddr)) {
        for (region, trouble) in pair {
            self.backend(region).begin(trouble);
        }
        ask(self.address);
        for (region, trouble) in pair {
            self.backend(region).end(trouble);
        }
    }

    fn backend(&mut self, region: usize) -> &mut Backend {
        self.backends.get_mut(region).expect("a region")
    }
}

fn start_edge(config: &Path) -> (Child, SocketAddr) {
    let said = config.with_file_name("stderr");
    let child = meridian()
        .args(["run", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&said).expect("a file"))
        .spawn()
        .expect("the edge starts");
    let address = until("the edge listens", || {
        let text = std::fs::read_to_string(&said).ok()?;
        let (_, rest) = text.split_once("listening on ")?;
        let end = rest.find(|next: char| next != ':' && next != '.' && !next.is_ascii_digit())?;
        rest.get(..end)?.parse().ok()
    });
    (child, address)
}

/// Counts by what came back.
#[derive(Default)]
struct Tally {
    asked: AtomicU64,
    served: AtomicU64,
    refused_by_law: AtomicU64,
    /// Answers that name a region which may not have served.
    foreign: AtomicU64,
    /// Refused by law although a region may hold it, or the other way round:
    /// client, class, status.
    wrong: Mutex<BTreeSet<(usize, usize, u16)>>,
}

impl Tally {
    /// Asks `count` times over eight connections, with every client and class.
    fn storm(&self, address: SocketAddr, count: u64) {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut link = None;
                    for _ in 0..count.div_ceil(8) {
                        self.one(address, &mut link);
                    }
                });
            }
        });
    }

    fn one(&self, address: SocketAddr, link: &mut Option<Link>) {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let at = usize::try_from(number).unwrap_or(0);
        let (client, class) = (at % CLIENTS.len(), at / CLIENTS.len() % CLASSES.len());
        let Some(open) = link.take().or_else(|| Link::open(address)) else {
            return;
        };
        let mut open = open;
        let Some((status, region)) = open.ask(&request(number, (client, class))) else {
            return;
        };
        *link = Some(open);
        let allowed = (0..REGIONS.len()).any(|region| lawful(client, class, region));
        match status {
            200 => {
                self.served.fetch_add(1, Ordering::Relaxed);
                let served = REGIONS.iter().position(|known| *known == region);
                let fine = served.is_some_and(|region| lawful(client, class, region));
                self.foreign.fetch_add(u64::from(!fine), Ordering::Relaxed);
            }
            451 => {
                self.refused_by_law.fetch_add(1, Ordering::Relaxed);
                self.expect(allowed, (client, class, status));
            }
            _ => self.expect(!allowed, (client, class, status)),
        }
    }

    fn expect(&self, is_wrong: bool, answer: (usize, usize, u16)) {
        if is_wrong {
            self.wrong.lock().expect("no panic").insert(answer);
        }
    }
}

/// Every pair of regions with every pair of troubles, in an order that mixes
/// them.
fn pairs() -> Vec<[(usize, Trouble); 2]> {
    let mut all = Vec::new();
    for (a, b) in [(0, 1), (1, 2), (2, 0)] {
        for one in TROUBLES {
            for other in TROUBLES {
                all.push([(a, one), (b, other)]);
            }
        }
    }
    all
}

#[test]
fn no_backend_ever_sees_what_it_may_not_hold() {
    let asked: u64 = std::env::var("MERIDIAN_CHAOS_REQUESTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3_600);
    let all = pairs();
    // The short run takes every fourth pair: each trouble and each region twice.
    let chosen: Vec<_> = if asked < 20_000 {
        all.into_iter().step_by(5).collect()
    } else {
        all
    };
    let each = asked.div_ceil(u64::try_from(chosen.len()).unwrap());
    let mut world = World::new();
    let tally = Tally::default();
    for pair in chosen {
        world.troubled(pair, |address| tally.storm(address, each));
        every_region_serves_its_own_again(&world);
    }
    let asked = tally.asked.load(Ordering::Relaxed);
    let served = tally.served.load(Ordering::Relaxed);
    println!(
        "{asked} asked, {served} served, {} refused by law",
        tally.refused_by_law.load(Ordering::Relaxed)
    );
    assert_eq!(tally.foreign.load(Ordering::Relaxed), 0);
    let wrong = tally.wrong.lock().unwrap();
    assert!(wrong.is_empty(), "client, class, status: {wrong:?}");
    drop(wrong);
    for (region, backend) in world.backends.iter().enumerate() {
        let found = foreign(&backend.log, region);
        assert!(found.is_empty(), "{}: {found:?}", backend.region);
    }
    assert!(served > asked / 4, "{served} of {asked} were served");
    the_check_would_have_found_a_leak(&world);
}

fn every_region_serves_its_own_again(world: &World) {
    let mut link = None;
    for (client, region) in [(1, 0), (0, 1), (2, 2)] {
        until("a region serves its own data again", || {
            let mut open = link.take().or_else(|| Link::open(world.address))?;
            let answer = open.ask(&request(u64::MAX - 1, (client, 0)))?;
            link = Some(open);
            let expected = REGIONS.get(region)?;
            (answer.0 == 200 && answer.1 == **expected).then_some(())
        });
    }
}

fn the_check_would_have_found_a_leak(world: &World) {
    let forged = world.folder.path().join("forged.jsonl");
    let line = r#"{"traceparent":"00-c0000000000000000000000000000001-0000000000000001-01"}"#;
    std::fs::write(&forged, format!("{line}\n")).expect("written");
    assert_eq!(foreign(&forged, 0).len(), 1, "German tier 1 in the USA");
    assert!(foreign(&forged, 1).is_empty());
}
