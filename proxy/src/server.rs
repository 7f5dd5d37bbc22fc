//! The process: sockets, pingora's server and services, and the way out.
//!
//! Promises: every socket is bound before anything starts, so that a port in
//! use is one clear error and port 0 can be read back; stopping waits for what
//! is open, up to the drain bound; a successor takes the sockets over without
//! a gap (`upgrade`). Refuses: pingora's own TLS, signals and
//! retries of a bind.

mod accept;
mod app;
mod carried;
mod health;
mod quic;
mod supervisor;
pub mod tls;
pub mod upgrade;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{
    ListenFds, RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch,
};
use pingora_core::services::Service;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::admin::AdminListener;
use crate::edge::{Edge, Phase};
use crate::pipeline::events::notice;
use crate::settings::{AdminBind, Listener, Settings, Switch};

use self::app::{App, ListenerContext};
pub use self::app::{Connections, Refused};
use self::quic::{Lineage, Quic};
pub use self::tls::Tls;
use self::upgrade::{Giver, Named, Predecessor};

/// Connections that may wait to be accepted; the kernel has its own bound.
const BACKLOG: i32 = 65_535;
/// How long what is cut at the end of the drain may take to say so.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A socket that could not be bound, or a certificate that could not be used.
#[derive(Debug)]
pub struct BindError {
    what: String,
    error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.what, self.error)?;
        let kind = self.error.kind();
        if kind == io::ErrorKind::AddrInUse {
            f.write_str("; stop what uses the port, or choose another")?;
        } else if kind == io::ErrorKind::PermissionDenied {
            f.write_str("; choose a port above 1023, or give the process CAP_NET_BIND_SERVICE")?;
        }
        Ok(())
    }
}

impl std::error::Error for BindError {}

/// Every socket of the process, bound and listening.
pub struct BoundSockets {
    listeners: Vec<Bound>,
    admin: Option<AdminListener>,
    control: Option<UnixListener>,
    predecessor: Option<Predecessor>,
    lineage: Lineage,
}

/// The sockets of one listener.
struct Bound {
    listener: Listener,
    tcp: TcpListener,
    /// Where it speaks HTTP/3.
    udp: Option<quic::Sockets>,
}

impl BoundSockets {
    /// Binds all or nothing.
    pub fn bind(settings: &Settings) -> Result<Self, BindError> {
        Self::bind_beside(settings, None)
    }

    /// The same; what a running process has already is taken from there.
    pub fn bind_beside(
        settings: &Settings,
        mut predecessor: Option<&mut Predecessor>,
    ) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        for (place, listener) in settings.listeners.iter().enumerate() {
            let name = name_of(settings, place);
            let failed = |error| BindError {
                what: listener.address.to_string(),
                error,
            };
            let old = predecessor.as_deref_mut();
            let (tcp, udp) = bind_listener(settings, (listener, &name), old).map_err(failed)?;
            listeners.push(Bound {
                listener: listener.clone(),
                tcp,
                udp,
            });
        }
        let lineage = Lineage::after(predecessor.as_deref_mut()).map_err(|error| BindError {
            what: "QUIC".to_owned(),
            error,
        })?;
        let admin = match &settings.admin {
            Some(admin) => Some(bind_admin(&admin.bind, predecessor.as_deref_mut())?),
            None => None,
        };
        let control = match &settings.upgrade {
            Some(upgrade) => Some(bind_control(&upgrade.socket, predecessor.as_deref_mut())?),
            None => None,
        };
        if let Some(predecessor) = predecessor {
            predecessor.let_go();
        }
        Ok(Self {
            listeners,
            admin,
            control,
            predecessor: None,
            lineage,
        })
    }

    /// The process whose sockets these were; it hears when they are served.
    #[must_use]
    pub fn after(mut self, predecessor: Option<Predecessor>) -> Self {
        self.predecessor = predecessor;
        self
    }

    /// What a successor gets; nothing without a control socket.
    fn offer(&mut self, settings: &Settings) -> io::Result<Vec<Named>> {
        let (Some(control), Some(upgrade)) = (&self.control, &settings.upgrade) else {
            return Ok(Vec::new());
        };
        let named = |name: String, fd: OwnedFd| Named { name, fd };
        let mut sockets = Vec::new();
        for (place, bound) in self.listeners.iter().enumerate() {
            let name = name_of(settings, place);
            if let Some(udp) = &bound.udp {
                udp.give(&name, &mut sockets)?;
            }
            sockets.push(named(name, bound.tcp.try_clone()?.into()));
        }
        self.lineage.give(&mut sockets)?;
        if let (Some(listener), Some(admin)) = (&self.admin, &settings.admin) {
            let fd = match listener {
                AdminListener::Tcp(socket) => socket.try_clone()?.into(),
                AdminListener::Unix(socket) => socket.try_clone()?.into(),
            };
            sockets.push(named(name_of_admin(&admin.bind), fd));
        }
        sockets.push(named(
            name_of_control(&upgrade.socket),
            control.try_clone()?.into(),
        ));
        Ok(sockets)
    }

    /// Where each public listener really listens, in the order of the file.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|bound| bound.tcp.local_addr().ok())
            .collect()
    }

    /// Where the admin side listens, if it does so on TCP.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        match &self.admin {
            Some(AdminListener::Tcp(socket)) => socket.local_addr().ok(),
            Some(AdminListener::Unix(_)) | None => None,
        }
    }
}

/// TCP, and UDP where HTTP/3 is spoken: what the process before has of them,
/// and the rest.
fn bind_listener(
    settings: &Settings,
    (listener, name): (&Listener, &str),
    mut predecessor: Option<&mut Predecessor>,
) -> io::Result<(TcpListener, Option<quic::Sockets>)> {
    let threads = settings.threads;
    let taken = predecessor.as_mut().and_then(|old| old.claim_tcp(name));
    let (tcp, udp) = match (taken, predecessor, listener.protocols.h3) {
        (Some(tcp), Some(old), Switch::On) => {
            let place = (name, tcp.local_addr()?);
            let udp = quic::Sockets::after(old, place, threads)?;
            return Ok((tcp, Some(udp)));
        }
        (Some(tcp), _, _) => return Ok((tcp, None)),
        (None, _, Switch::Off) => (TcpListener::bind(listener.address)?, None),
        (None, _, Switch::On) => {
            let (tcp, udp) = quic::bind_both(listener.address, threads)?;
            (tcp, Some(udp))
        }
    };
    tcp.set_nonblocking(true)?;
    rustix::net::listen(&tcp, BACKLOG)?;
    Ok((tcp, udp))
}

/// What a listener's socket is called between two processes: its address as
/// the file has it, and which of those with the same (port 0) it is.
fn name_of(settings: &Settings, place: usize) -> String {
    let before = settings.listeners.get(..place).unwrap_or_default();
    let Some(listener) = settings.listeners.get(place) else {
        return String::new();
    };
    let address = listener.address;
    let same = before.iter().filter(|other| other.address == address);
    format!("tcp {address} #{}", same.count())
}

fn name_of_admin(bind: &AdminBind) -> String {
    match bind {
        AdminBind::Tcp(address) => format!("admin {address}"),
        AdminBind::Unix(path) => format!("admin unix:{}", path.display()),
    }
}

fn name_of_control(path: &Path) -> String {
    format!("control {}", path.display())
}

fn bind_admin(
    bind: &AdminBind,
    predecessor: Option<&mut Predecessor>,
) -> Result<AdminListener, BindError> {
    let name = name_of_admin(bind);
    match bind {
        AdminBind::Tcp(address) => {
            if let Some(socket) = predecessor.and_then(|old| old.claim_tcp(&name)) {
                return Ok(AdminListener::Tcp(socket));
            }
            let failed = |error| BindError {
                what: format!("{address} (admin)"),
                error,
            };
            let socket = TcpListener::bind(address).map_err(failed)?;
            socket.set_nonblocking(true).map_err(failed)?;
            Ok(AdminListener::Tcp(socket))
        }
        AdminBind::Unix(path) => {
            let taken = predecessor.and_then(|old| old.claim_unix(&name));
            taken
                .map_or_else(|| bind_unix(path), Ok)
                .map(AdminListener::Unix)
        }
    }
}

/// For this user alone. Who calls is checked as well.
fn bind_control(
    path: &Path,
    predecessor: Option<&mut Predecessor>,
) -> Result<UnixListener, BindError> {
    let name = name_of_control(path);
    if let Some(socket) = predecessor.and_then(|old| old.claim_unix(&name)) {
        return Ok(socket);
    }
    let socket = bind_unix(path)?;
    let own = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, own).map_err(|error| BindError {
        what: path.display().to_string(),
        error,
    })?;
    Ok(socket)
}

/// A socket file left behind by a process that is gone is replaced; one that
/// answers is in use.
fn bind_unix(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |error| BindError {
        what: path.display().to_string(),
        error,
    };
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(failed(io::ErrorKind::AddrInUse.into()));
        }
        std::fs::remove_file(path).map_err(failed)?;
    }
    let socket = UnixListener::bind(path).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket)
}

/// Serves until SIGTERM, SIGINT or a drain, and returns when what was open is
/// done or the drain bound has passed. `ready` is called once, when the
/// listeners accept.
pub fn run(
    edge: &Arc<Edge>,
    mut sockets: BoundSockets,
    ready: impl FnOnce() + Send + 'static,
) -> anyhow::Result<()> {
    let predecessor = sockets.predecessor.take();
    // Until then the predecessor answers at the same socket, and is ready.
    let answers_from = match &predecessor {
        Some(_) => Phase::Serving,
        None => Phase::Starting,
    };
    let owned = Owned {
        sockets: sockets.offer(&edge.settings)?,
        control: sockets.control.take(),
        predecessor,
    };
    let lineage = sockets.lineage;
    let (mut listeners, mut quic) = (Vec::new(), Vec::new());
    for (number, bound) in sockets.listeners.into_iter().enumerate() {
        let Bound { listener, tcp, udp } = bound;
        let mut context = ListenerContext::new(edge, number);
        let tls = edge
            .tls
            .listener(number)
            .and_then(|tls| tls.quic_server_config());
        if let (Some(udp), Some(tls)) = (udp, tls) {
            context.advertise(udp.port());
            quic.push(lineage.listener(udp, tls, &edge.settings)?);
        }
        listeners.push((format!("{}#{number}", listener.address), tcp, context));
    }
    let admin = spawn_admin(edge, sockets.admin, answers_from)?;
    let keeper = spawn_owner(edge, owned)?;
    let conf = ServerConf {
        threads: edge.settings.threads,
        work_stealing: false,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.add_service(EdgeService {
        edge: Arc::clone(edge),
        listeners,
        quic: Some((lineage, quic)),
        ready: Mutex::new(Some(Box::new(ready))),
    });
    server.run(RunArgs {
        shutdown_signal: Box::new(Stop {
            edge: Arc::clone(edge),
        }),
    });
    edge.lifecycle.stopped();
    if let Some(admin) = admin {
        let _ = admin.join();
    }
    let kept = keeper.join();
    supervisor::gone(edge.settings.pid_file.as_deref());
    edge.telemetry.flush();
    kept.unwrap_or(Ok(()))
}

/// What belongs to the process that owns the sockets.
struct Owned {
    /// For a successor.
    sockets: Vec<Named>,
    /// Where it calls.
    control: Option<UnixListener>,
    /// Who owns them still.
    predecessor: Option<Predecessor>,
}

type Owner = std::thread::JoinHandle<anyhow::Result<()>>;

/// Becomes the owner, and later gives the sockets to another.
fn spawn_owner(edge: &Arc<Edge>, owned: Owned) -> io::Result<Owner> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let edge = Arc::clone(edge);
    std::thread::Builder::new()
        .name("owner".to_owned())
        .spawn(move || runtime.block_on(own(edge, owned)))
}

async fn own(edge: Arc<Edge>, owned: Owned) -> anyhow::Result<()> {
    edge.lifecycle.wait_for(Phase::Serving).await;
    if edge.lifecycle.phase() == Phase::Stopped {
        return Ok(());
    }
    if let Some(predecessor) = owned.predecessor
        && let Err(reason) = predecessor.serving(edge.generation().number)
    {
        edge.lifecycle.stop_accepting();
        anyhow::bail!("did not take over: {reason}");
    }
    supervisor::serves(edge.settings.pid_file.as_deref());
    if let (Some(control), Some(upgrade)) = (owned.control, &edge.settings.upgrade) {
        let giver = Giver::new(Arc::clone(&edge), owned.sockets, upgrade.patience);
        Arc::new(giver).serve(control).await?;
    } else {
        edge.lifecycle.wait_drain().await;
    }
    if !edge.lifecycle.handed_over() {
        supervisor::stops();
    }
    Ok(())
}

fn spawn_admin(
    edge: &Arc<Edge>,
    listener: Option<AdminListener>,
    answers_from: Phase,
) -> anyhow::Result<Option<std::thread::JoinHandle<()>>> {
    let Some(listener) = listener else {
        return Ok(None);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let edge = Arc::clone(edge);
    let thread = std::thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || {
            let of = Arc::clone(&edge);
            let stop = async move { of.lifecycle.wait_stopped_or_succeeded().await };
            runtime.block_on(async {
                edge.lifecycle.wait_for(answers_from).await;
                crate::admin::serve(edge, listener, stop).await;
            });
        })?;
    Ok(Some(thread))
}

/// Decides when pingora stops: never by itself.
struct Stop {
    edge: Arc<Edge>,
}

#[async_trait]
impl ShutdownSignalWatch for Stop {
    async fn recv(&self) -> ShutdownSignal {
        self.edge.lifecycle.wait_drain().await;
        let bound = self.edge.settings.timeouts.drain;
        if !self.edge.lifecycle.wait_idle(bound).await {
            self.edge.lifecycle.cut();
            self.edge.lifecycle.wait_idle(LAST_WORDS).await;
        }
        ShutdownSignal::FastShutdown
    }
}

/// Begins the drain at SIGTERM or SIGINT. From its return on, neither ends the
/// process by itself.
fn drain_on_signals(edge: &Arc<Edge>) {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return;
    };
    let edge = Arc::clone(edge);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        edge.lifecycle.drain();
    });
}

/// One composite service: all listeners, and what runs beside them, share its
/// runtimes and so the pools of upstream connections.
struct EdgeService {
    edge: Arc<Edge>,
    listeners: Vec<(String, TcpListener, ListenerContext)>,
    quic: Option<(Lineage, Vec<Quic>)>,
    ready: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

#[async_trait]
impl Service for EdgeService {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
    ) {
        let Some(fds) = fds else { return };
        // Accepting ends with the drain, not with pingora's shutdown: by then
        // everything is over.
        let (stop_accepting, accepting) = watch::channel(false);
        let mut tasks = Vec::new();
        for (key, socket, context) in self.listeners.drain(..) {
            // The table knows it by number; it closes when accepting ends.
            fds.lock().add(key, socket.as_raw_fd());
            let app = Arc::new(App::new(Arc::clone(&self.edge), context));
            let until = (accepting.clone(), shutdown.clone());
            tasks.push(tokio::spawn(accept::accept(socket, app, until)));
        }
        drain_on_signals(&self.edge);
        if let Some((lineage, listeners)) = self.quic.take()
            && let Err(fault) = quic::start(&self.edge, lineage, listeners).await
        {
            // Nobody is told of a port that nobody serves.
            let fault = json!({ "fault": format!("{fault:#}") });
            notice("ERROR", "HTTP/3 can't be served; this process ends", &fault);
            return self.edge.lifecycle.stop_accepting();
        }
        let prober = tokio::spawn(health::probe(Arc::clone(&self.edge)));
        self.edge.lifecycle.serving();
        let ready = self.ready.get_mut().ok().and_then(Option::take);
        if let Some(ready) = ready {
            ready();
        }
        self.edge.lifecycle.wait_drain().await;
        stop_accepting.send_replace(true);
        for task in tasks {
            let _ = task.await;
        }
        prober.abort();
    }

    #[expect(clippy::unnecessary_literal_bound, reason = "the trait's signature")]
    fn name(&self) -> &str {
        "edge"
    }
}
