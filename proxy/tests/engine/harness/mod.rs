//! An edge from a few lines of settings, and what the tests ask it.

pub(crate) mod client;
pub(crate) mod frames;
pub(crate) mod h2client;
pub(crate) mod h3client;
pub(crate) mod pki;
pub(crate) mod secure;
pub(crate) mod tls;
pub(crate) mod tokens;
pub(crate) mod upstream;
pub(crate) mod websocket;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use meridian::edge::{Clock, Edge, Lifecycle};
use meridian::reload;
use meridian::server::{self, BoundSockets, Connections, Tls};
use meridian::settings::Settings;
use meridian::telemetry::Telemetry;
use meridian_policies::State;
use meridian_policies::limits::LimitState;
use meridian_policies::retry::Budget;
use tempfile::TempDir;

pub(crate) use self::client::{Client, End};
pub(crate) use self::upstream::{Call, Upstream};

/// A wait that takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Looks until the answer is there.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// What differs from an edge that forwards everything to one upstream and
/// denies `/deny*`.
pub(crate) struct Setup {
    regions: String,
    timeouts: String,
    limits: String,
    trusted: &'static str,
    carriers: &'static str,
    http2: &'static str,
    routes: &'static str,
    policies: String,
    threads: usize,
    tls: Option<String>,
    protocols: &'static str,
    folder: Option<TempDir>,
    audit: String,
    recording: String,
    geo: String,
    listener: String,
    log: bool,
    files: Vec<(&'static str, String)>,
}

/// Where the access log is, below the edge's folder.
const LOG: &str = "access.json";

const ROUTES: &str = r#"
  - { id: denied, path: "/deny*", action: { deny: {} } }
  - { id: health, path: /edge-health, action: health }
  - { id: small, path: "/small*", body_limit: 1KiB }
  - { id: no-socket, path: "/no-socket", websocket: off }
  - { id: everything, path: "/*", websocket: on, body_limit: 1GiB }
"#;

impl Setup {
    /// One region with these endpoints.
    pub(crate) fn to(endpoints: &[SocketAddr]) -> Self {
        Self {
            regions: region("local", "", endpoints),
            timeouts: String::new(),
            limits: String::new(),
            trusted: "",
            carriers: "",
            http2: "",
            routes: ROUTES,
            policies: "residency: off\n".to_owned(),
            threads: 1,
            tls: None,
            protocols: "",
            folder: None,
            audit: String::new(),
            recording: String::new(),
            geo: "embedded: off".to_owned(),
            listener: String::new(),
            log: false,
            files: Vec::new(),
        }
    }

    /// Protocols of the second listener.
    pub(crate) fn protocols(mut self, protocols: &'static str) -> Self {
        self.protocols = protocols;
        self
    }

    /// Lines below `tls:` of the second listener. Files are those of `folder`,
    /// which are watched.
    pub(crate) fn tls(mut self, tls: &str, folder: TempDir) -> Self {
        self.tls = Some(tls.replace('\n', "\n      "));
        self.folder = Some(folder);
        self
    }

    /// Files that policies name as `../NAME`; they are watched, and so are the
    /// policies.
    pub(crate) fn files(mut self, folder: TempDir) -> Self {
        self.folder = Some(folder);
        self
    }

    /// Several regions; each with more of its YAML.
    pub(crate) fn regions(regions: &[(&str, &str, SocketAddr)]) -> Self {
        let mut setup = Self::to(&[]);
        setup.regions = regions
            .iter()
            .map(|(id, more, endpoint)| region(id, more, &[*endpoint]))
            .collect();
        setup
    }

    /// Regions as lines of YAML.
    pub(crate) fn written(regions: &str) -> Self {
        let mut setup = Self::to(&[]);
        regions.clone_into(&mut setup.regions);
        setup
    }

    /// For example `head: 300ms, idle: 1s`.
    pub(crate) fn timeouts(mut self, timeouts: &str) -> Self {
        timeouts.clone_into(&mut self.timeouts);
        self
    }

    /// For example `connections: 4`.
    pub(crate) fn limits(mut self, limits: &str) -> Self {
        limits.clone_into(&mut self.limits);
        self
    }

    /// For example `127.0.0.0/8`.
    pub(crate) fn trusting(mut self, hops: &'static str) -> Self {
        self.trusted = hops;
        self
    }

    /// For example `max_concurrent_streams: 3`.
    pub(crate) fn http2(mut self, http2: &'static str) -> Self {
        self.http2 = http2;
        self
    }

    /// Listeners that believe PROXY protocol headers from there.
    pub(crate) fn carried_from(mut self, carriers: &'static str) -> Self {
        self.carriers = carriers;
        self
    }

    /// Lines below `routes:`.
    pub(crate) fn routes(mut self, routes: &'static str) -> Self {
        self.routes = routes;
        self
    }

    /// More policies; those about residency replace `residency: off`.
    pub(crate) fn policies(mut self, policies: &str) -> Self {
        if policies.contains("jurisdictions:") {
            self.policies.clear();
        }
        self.policies.push_str(policies);
        self
    }

    /// For example `path: /tmp/x, mode: strict`.
    pub(crate) fn audit(mut self, audit: &str) -> Self {
        self.audit = format!(", audit: {{ {audit} }}");
        self
    }

    /// For example `file: /tmp/x`.
    pub(crate) fn recording(mut self, recording: &str) -> Self {
        recording.clone_into(&mut self.recording);
        self
    }

    /// Where clients are: members of `geo`, with files of `folder`.
    pub(crate) fn located(mut self, geo: &str, folder: TempDir) -> Self {
        geo.clone_into(&mut self.geo);
        self.folder = Some(folder);
        self
    }

    /// More keys of the listener with TLS, for example `h3_port: 443`.
    pub(crate) fn listener(mut self, keys: &str) -> Self {
        self.listener = format!("{keys}\n    ");
        self
    }

    /// One more file in the folder of policies.
    pub(crate) fn policy_file(mut self, name: &'static str, text: &str) -> Self {
        self.files.push((name, text.to_owned()));
        self
    }

    pub(crate) fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// With an access log, for [`TestEdge::log`].
    pub(crate) fn logging(mut self) -> Self {
        self.log = true;
        self
    }

    fn write(&self, dir: &Path) -> Settings {
        let (cert, key) = tls::files();
        let default = format!(
            "certificates: [{{ cert: {}, key: {} }}]",
            cert.display(),
            key.display()
        );
        let (carried, carried_too, h3) = match self.carriers {
            "" => (String::new(), String::new(), ", h3"),
            from => {
                let key = format!("proxy_protocol: {{ from: [{from}] }}");
                (format!(", {key}"), format!("    {key}\n"), "")
            }
        };
        let all = format!("h1, h2{h3}");
        let protocols = if self.protocols.is_empty() {
            &all
        } else {
            self.protocols
        };
        let mut text = format!(
            "edge: {{ region: local }}\nthreads: {}\nlisteners:\n\
             \x20 - {{ address: \"127.0.0.1:0\", protocols: [h1]{carried} }}\n\
             \x20 - address: \"127.0.0.1:0\"\n    protocols: [{protocols}]\n{carried_too}\
             \x20   {}tls:\n      {}\n\
             admin: {{ address: \"off\" }}\ngeo: {{ {} }}\n\
             telemetry: {{ access_log: {}, receipts: 64{} }}\n",
            self.threads,
            self.listener,
            self.tls.as_ref().unwrap_or(&default),
            self.geo,
            if self.log { LOG } else { "off" },
            self.audit,
        );
        for (key, value, open, close) in [
            ("timeouts", self.timeouts.as_str(), '{', '}'),
            ("limits", self.limits.as_str(), '{', '}'),
            ("trusted_hops", self.trusted, '[', ']'),
            ("http2", self.http2, '{', '}'),
            ("recording", self.recording.as_str(), '{', '}'),
        ] {
            if !value.is_empty() {
                writeln!(text, "{key}: {open} {value} {close}").unwrap();
            }
        }
        let policies = dir.join("policies");
        std::fs::create_dir(&policies).unwrap();
        for (name, text) in &self.files {
            std::fs::write(policies.join(name), text).unwrap();
        }
        let mut policy = format!("regions:\n{}routes:{}", self.regions, self.routes);
        policy.push_str("waf: { mode: off }\n");
        if !self.policies.contains("health_check:") {
            policy.push_str("health_check: off\n");
        }
        if !self.policies.contains("outlier_detection:") {
            policy.push_str("outlier_detection: { max_ejection_percent: 0 }\n");
        }
        policy.push_str(&self.policies);
        std::fs::write(policies.join("policies.yaml"), policy).unwrap();
        let path = dir.join("meridian.yaml");
        std::fs::write(&path, text).unwrap();
        Settings::load(&path).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    /// Why its certificates can't be used.
    pub(crate) fn tls_faults(mut self) -> Vec<meridian_policies::Diagnostic> {
        let dir = self.folder.take().unwrap();
        Tls::load(&self.write(dir.path())).err().unwrap_or_default()
    }

    /// Starts it; returns when it listens.
    pub(crate) fn start(mut self) -> TestEdge {
        let follow = self.folder.is_some();
        let dir = self.folder.take();
        let dir = dir.unwrap_or_else(|| tempfile::tempdir().unwrap());
        let settings = self.write(dir.path());
        let sockets = BoundSockets::bind(&settings).unwrap();
        let [plain, tls]: [SocketAddr; 2] = sockets.local_addresses().try_into().unwrap();
        let edge = edge(settings);
        let (ready, is_ready) = channel();
        let (ended, has_ended) = channel();
        let watcher = follow.then(|| {
            let pace = reload::Pace::default();
            reload::Watcher::start(Arc::clone(&edge), pace, Box::new(|_| {})).unwrap()
        });
        let running = Arc::clone(&edge);
        std::thread::spawn(move || {
            let ran = server::run(&running, sockets, move || ready.send(()).unwrap());
            ran.unwrap();
            // Nobody waits for most edges.
            let _ = ended.send(Instant::now());
        });
        is_ready
            .recv_timeout(PATIENCE)
            .expect("the edge did not become ready");
        TestEdge {
            edge,
            plain,
            tls,
            has_ended: Mutex::new(has_ended),
            dir,
            _watcher: watcher,
        }
    }
}

fn region(id: &str, more: &str, endpoints: &[SocketAddr]) -> String {
    let list: Vec<String> = endpoints
        .iter()
        .map(|at| format!("\"http://{at}\""))
        .collect();
    format!(
        "  - {{ id: {id}, {more} endpoints: [{}] }}\n",
        list.join(", ")
    )
}

fn edge(settings: Settings) -> Arc<Edge> {
    let clock = Clock::start();
    let state = State::new();
    let (generation, reloads) =
        reload::first(&settings, &state, &clock).unwrap_or_else(|faults| panic!("{faults:?}"));
    let tls = Tls::load(&settings).unwrap_or_else(|faults| panic!("{faults:?}"));
    let telemetry = Telemetry::new(&settings.telemetry, &settings.edge_region).unwrap();
    let lifecycle = Lifecycle::new().leaving_for(settings.timeouts.drain_delay);
    let connections = Connections::new(&settings.limits);
    Arc::new(Edge {
        tls,
        settings,
        live: ArcSwap::from_pointee(generation),
        state,
        limits: LimitState::new(1_024),
        budget: Budget::new(),
        connections,
        telemetry,
        clock,
        lifecycle,
        reloads,
    })
}

/// A running edge. It ends with the process: pingora's runtimes remember their
/// handles by thread ids that are used again, so that after the end of one
/// server the next one in the same process may spawn into the dead one. Tests
/// that end an edge run [`alone`].
pub(crate) struct TestEdge {
    pub(crate) edge: Arc<Edge>,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    has_ended: Mutex<Receiver<Instant>>,
    dir: TempDir,
    _watcher: Option<reload::Watcher>,
}

impl TestEdge {
    /// The folder of its files.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// A connection over plain HTTP/1.
    pub(crate) fn plain(&self) -> Client {
        Client::new(client::connect(self.plain))
    }

    /// A connection over TLS that agreed on HTTP/1.1.
    pub(crate) fn tls(&self) -> Client {
        Client::new(tls::connect(self.tls, b"http/1.1"))
    }

    /// A connection by its kind.
    pub(crate) fn over(&self, carrier: Carrier) -> Client {
        match carrier {
            Carrier::Plain => self.plain(),
            Carrier::Tls => self.tls(),
        }
    }

    /// A metric's value; 0 when it is not there.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let text = Telemetry::scrape(&self.edge).unwrap();
        text.lines()
            .find_map(|line| {
                let value = line.strip_prefix(series)?.trim();
                // Gauges are written as `1.0`.
                value.strip_suffix(".0").unwrap_or(value).parse().ok()
            })
            .unwrap_or_default()
    }

    /// The lines of the access log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.edge.telemetry.flush();
        let text = std::fs::read_to_string(self.dir.path().join(LOG)).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Connections closed for this reason.
    pub(crate) fn closed(&self, reason: &str) -> u64 {
        self.metric(&format!(
            "meridian_connections_closed_total{{reason=\"{reason}\"}}"
        ))
    }

    /// Waits until a connection was closed for this reason.
    pub(crate) fn until_closed(&self, reason: &str) {
        until(reason, || (self.closed(reason) > 0).then_some(()));
    }

    /// Waits until `run` has returned; says when it did.
    pub(crate) fn until_ended(&self) -> Instant {
        self.has_ended
            .lock()
            .unwrap()
            .recv_timeout(PATIENCE)
            .expect("run() did not return")
    }
}

/// Runs a test in a process of its own; `name` is its path in this binary.
pub(crate) fn alone(name: &str, body: impl FnOnce()) {
    const MARK: &str = "MERIDIAN_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let ran = String::from_utf8_lossy(&output.stdout);
    assert!(
        ran.contains("1 passed"),
        "{name} is not the name of a test: {ran}"
    );
}

/// What carries HTTP/1.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Carrier {
    Plain,
    Tls,
}

pub(crate) const CARRIERS: [Carrier; 2] = [Carrier::Plain, Carrier::Tls];

/// Bytes that are not all alike, the same each time.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            u8::try_from(state >> 56).unwrap()
        })
        .collect()
}
