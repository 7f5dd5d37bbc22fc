//! QUIC beside the TCP listeners: one endpoint a thread, on one port.
//!
//! Promises: a connection stays on the thread, and in the process, that
//! accepted it, wherever its datagrams arrive; its streams use that thread's
//! upstream connections. Refuses: datagrams of connections that it does not
//! know (a stateless reset tells their clients), 0-RTT, QUIC datagrams.

mod accept;
mod bind;
mod by_host;
mod cid;
mod config;
mod lineage;
mod link;
mod mailbox;
mod socket;
mod threads;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use anyhow::Context as _;
use quinn::{Endpoint, Runtime as _, ServerConfig, TokioRuntime};
use tokio::runtime::Handle;

pub(super) use self::lineage::Lineage;

use self::accept::Front;
use self::by_host::ByHost;
use self::cid::Identity;
use self::socket::{Router, Socket, Ways};
use super::tls::ListenerTls;
use crate::edge::Edge;
use crate::settings::Settings;

/// How often another port is tried where any is fine and TCP's is taken.
const TRIES: usize = 16;

/// The sockets of one listener.
pub(super) struct Sockets {
    address: SocketAddr,
    sockets: Vec<UdpSocket>,
}

impl Sockets {
    /// The port that clients are told.
    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }
}

/// Binds TCP, and UDP with the same port number: one socket a thread. Where
/// any port will do, another one is tried when only TCP has it free.
pub(super) fn bind_both(wanted: SocketAddr, threads: usize) -> io::Result<(TcpListener, Sockets)> {
    let mut tries = if wanted.port() == 0 { TRIES } else { 1 };
    loop {
        let tcp = TcpListener::bind(wanted)?;
        let address = tcp.local_addr()?;
        tries -= 1;
        match bind::bind(address, threads) {
            Ok(sockets) => return Ok((tcp, Sockets { address, sockets })),
            Err(error) if error.kind() != io::ErrorKind::AddrInUse || tries == 0 => {
                return Err(error);
            }
            Err(_) => {}
        }
    }
}

/// One listener, ready to start.
pub(super) struct Quic {
    sockets: Sockets,
    config: ServerConfig,
    tls: Arc<ListenerTls>,
}

impl Lineage {
    /// A listener of this process.
    pub(super) fn listener(
        &self,
        sockets: Sockets,
        tls: &Arc<ListenerTls>,
        settings: &Settings,
    ) -> anyhow::Result<Quic> {
        let server = Arc::new(ByHost::new(tls)?);
        let config = config::server(server, &self.identity, settings.timeouts.idle);
        Ok(Quic {
            sockets,
            config,
            tls: Arc::clone(tls),
        })
    }
}

/// Starts every listener on every thread of the calling service; returns when
/// they accept.
pub(super) async fn start(
    edge: &Arc<Edge>,
    lineage: Lineage,
    listeners: Vec<Quic>,
) -> anyhow::Result<()> {
    if listeners.is_empty() {
        return Ok(());
    }
    let Lineage { identity, links } = lineage;
    let receivers: Vec<_> = links.receivers().collect();
    let ways = Arc::new(Ways {
        cids: Arc::new(identity.cids()),
        links,
        edge: Arc::clone(edge),
    });
    let start = Start {
        front: Arc::new(Front::new(Arc::clone(edge))),
        handles: threads::handles(edge.settings.threads),
        identity,
        ways,
    };
    let mut routers = Vec::new();
    for quic in listeners {
        let address = quic.sockets.address;
        let router = start.listener(quic).await;
        routers.push(router.with_context(|| format!("cannot serve QUIC on {address}"))?);
    }
    let routers: Arc<[_]> = routers.into();
    for link in receivers {
        tokio::spawn(link::receive(link, Arc::clone(&routers)));
    }
    Ok(())
}

struct Start {
    front: Arc<Front>,
    handles: Vec<Handle>,
    identity: Identity,
    ways: Arc<Ways>,
}

impl Start {
    async fn listener(&self, quic: Quic) -> anyhow::Result<Arc<Router>> {
        let Quic {
            sockets: of,
            config,
            tls,
        } = quic;
        let threads = self.handles.len();
        let ways = Arc::clone(&self.ways);
        let router = Arc::new(Router::new(ways, of.address, threads));
        let mut sockets = of.sockets.into_iter();
        for (thread, handle) in (0..=u8::MAX).zip(&self.handles) {
            let Some(socket) = sockets.next() else { break };
            let endpoint = config::endpoint(&self.identity, &self.ways.cids, thread);
            let (config, router) = (config.clone(), Arc::clone(&router));
            // An endpoint belongs to the runtime on which it is made.
            let made = handle.spawn(async move {
                let inner = TokioRuntime.wrap_udp_socket(socket)?;
                let socket = Arc::new(Socket::new(inner, router, thread));
                let runtime = Arc::new(TokioRuntime);
                Endpoint::new_with_abstract_socket(endpoint, Some(config), socket, runtime)
            });
            let made = made.await.context("the thread has ended")??;
            handle.spawn(Arc::clone(&self.front).serve(made, Arc::clone(&tls)));
        }
        // The process before may have had more threads.
        for (socket, (thread, handle)) in sockets.zip((0..=u8::MAX).zip(&self.handles).cycle()) {
            let router = Arc::clone(&router);
            handle.spawn(async move {
                if let Ok(inner) = TokioRuntime.wrap_udp_socket(socket) {
                    socket::feed(inner, router, thread).await;
                }
            });
        }
        Ok(router)
    }
}
