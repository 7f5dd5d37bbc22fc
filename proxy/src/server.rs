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
mod connections;
mod health;
mod quic;
mod rate;
mod sockets;
mod supervisor;
pub mod tls;
pub mod upgrade;

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;
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

use self::app::{App, ListenerContext};
pub use self::connections::{Connections, Refused};
use self::quic::{Lineage, Quic};
use self::sockets::Bound;
pub use self::sockets::{BindError, BoundSockets};
pub use self::tls::Tls;
use self::upgrade::{Giver, Named, Predecessor};

/// How long what is cut at the end of the drain may take to say so.
const LAST_WORDS: Duration = Duration::from_millis(500);

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
        if let (Some(udp), Some(tls)) = (udp, edge.tls.listener(number)) {
            context.advertise(listener.h3_port.unwrap_or(udp.port()));
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
