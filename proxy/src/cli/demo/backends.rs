//! The demo's regional backends: child processes of this binary.
//!
//! Promises: none outlives this process (each stops when its standard input
//! ends), and one that is killed stays down, which is what people kill it for.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::cli::output::{self, Severity};

/// The demo's regions; the edge stands in the first.
pub(super) const REGIONS: [&str; 3] = ["us-central1", "europe-west1", "asia-southeast1"];

/// How long a backend may take to say that it is ready.
const READY_MAX: Duration = Duration::from_secs(20);
/// How long a backend may take to stop before it is killed: longer than its
/// own drain of 10 s.
const STOP_MAX: Duration = Duration::from_secs(12);
/// Longest ready line that is read.
const LINE_MAX: u64 = 4_096;

/// One backend that is ready.
pub(super) struct Backend {
    pub(super) region: &'static str,
    /// `http://127.0.0.1:PORT`.
    pub(super) url: String,
    pub(super) pid: u32,
    /// Held open: its end is the order to stop.
    stdin: Option<ChildStdin>,
}

/// All of them; dropping it stops them.
pub(super) struct Backends {
    all: Vec<Backend>,
    stopping: Arc<AtomicBool>,
    ended: Receiver<u32>,
}

/// What a backend says when it is ready.
#[derive(Deserialize)]
struct ReadyLine {
    listening: String,
}

/// A child from its birth on; killed if it is dropped before it is ready.
struct Born {
    region: &'static str,
    child: Option<Child>,
    ready: Receiver<std::io::Result<String>>,
}

impl Drop for Born {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Already dead is fine.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Backends {
    /// Starts all, then waits until each is ready. `latencies` is a file with
    /// the latency matrix.
    pub(super) fn spawn(latencies: &Path) -> anyhow::Result<Self> {
        let born = REGIONS.map(|region| bear(region, latencies));
        let (tell, ended) = channel();
        let mut backends = Self {
            all: Vec::new(),
            stopping: Arc::default(),
            ended,
        };
        let deadline = Instant::now() + READY_MAX;
        for child in born {
            backends
                .all
                .push(settle(child?, deadline, &backends.watch(&tell))?);
        }
        Ok(backends)
    }

    pub(super) fn all(&self) -> &[Backend] {
        &self.all
    }

    fn watch(&self, tell: &Sender<u32>) -> Watch {
        Watch {
            stopping: self.stopping.clone(),
            tell: tell.clone(),
        }
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let mut running: Vec<u32> = self.all.iter().map(|backend| backend.pid).collect();
        for backend in &mut self.all {
            drop(backend.stdin.take());
        }
        let deadline = Instant::now() + STOP_MAX;
        while !running.is_empty() {
            match self
                .ended
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(pid) => running.retain(|other| *other != pid),
                Err(_) => break,
            }
        }
        for pid in running {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            if let Some(pid) = pid {
                // Ended between the deadline and now: fine.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Tells of a backend's end.
struct Watch {
    stopping: Arc<AtomicBool>,
    tell: Sender<u32>,
}

fn bear(region: &'static str, latencies: &Path) -> anyhow::Result<Born> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    command.args([
        "backend",
        "--exit-with-stdin",
        "--faults",
        "--listen",
        "127.0.0.1:0",
    ]);
    command
        .args(["--region", region, "--from", REGIONS[0], "--latency-matrix"])
        .arg(latencies);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start backend {region}"))?;
    let stdout = child
        .stdout
        .take()
        .context("a child without standard output")?;
    let ready = read_line(stdout);
    Ok(Born {
        region,
        child: Some(child),
        ready,
    })
}

/// The first line, read on a thread: a read can't be given up.
fn read_line(stdout: ChildStdout) -> Receiver<std::io::Result<String>> {
    let (tell, ready) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let mut reader = BufReader::new(stdout);
        let read = reader.by_ref().take(LINE_MAX).read_line(&mut line);
        // Nobody waits any more: fine.
        let _ = tell.send(read.map(|_| line));
        // Whatever else it says: nobody is told, and it never blocks.
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    });
    ready
}

fn settle(mut born: Born, deadline: Instant, watch: &Watch) -> anyhow::Result<Backend> {
    let region = born.region;
    let left = deadline.saturating_duration_since(Instant::now());
    let line = match born.ready.recv_timeout(left) {
        Ok(line) => line.with_context(|| format!("cannot read from backend {region}"))?,
        Err(_) => bail!(
            "backend {region} was not ready within {} s",
            READY_MAX.as_secs()
        ),
    };
    let ready: ReadyLine = serde_json::from_str(&line)
        .map_err(|_| anyhow!("backend {region} did not start: see its line above"))?;
    let mut child = born.child.take().context("a child is settled once")?;
    let (pid, stdin) = (child.id(), child.stdin.take());
    let watch = Watch {
        stopping: watch.stopping.clone(),
        tell: watch.tell.clone(),
    };
    std::thread::spawn(move || tell_of_end(region, child, &watch));
    Ok(Backend {
        region,
        url: ready.listening,
        pid,
        stdin,
    })
}

fn tell_of_end(region: &str, mut child: Child, watch: &Watch) {
    let pid = child.id();
    let status = child.wait();
    if !watch.stopping.load(Ordering::Acquire) {
        let how = status.map_or_else(|fault| fault.to_string(), |status| status.to_string());
        let text = format!("backend {region} has ended ({how}) and stays down");
        output::notice(Severity::Warning, &text);
    }
    // The demo may be gone already.
    let _ = watch.tell.send(pid);
}
