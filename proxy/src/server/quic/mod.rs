//! QUIC beside the TCP listeners: one endpoint a thread, on one port.
//!
//! Promises: a connection stays on the thread that accepted it, wherever its
//! datagrams arrive; its streams use that thread's upstream connections.
//! Refuses: datagrams of connections that it does not know (a stateless reset
//! tells their clients), 0-RTT, QUIC datagrams.

mod accept;
mod bind;
mod cid;
mod config;
mod mailbox;
mod socket;
mod threads;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use anyhow::Context as _;
use quinn::{Endpoint, Runtime as _, TokioRuntime};

pub use self::cid::Identity;

use self::accept::Front;
use self::socket::{Router, Socket};
use crate::edge::Edge;

/// How often another port is tried where any is fine and TCP's is taken.
const TRIES: usize = 16;

/// The sockets of one listener.
pub(super) struct Sockets {
    address: SocketAddr,
    sockets: Vec<UdpSocket>,
}

impl Sockets {
    /// Beside those of another process of ours, on the same port.
    pub(super) fn beside(address: SocketAddr, threads: usize) -> io::Result<Self> {
        let sockets = (0..threads).map(|_| bind::shared(address));
        let sockets = sockets.collect::<io::Result<_>>()?;
        Ok(Self { address, sockets })
    }

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
    pub(super) sockets: Sockets,
    pub(super) tls: Arc<rustls::ServerConfig>,
}

/// Starts every listener on every thread of the calling service; returns when
/// they accept.
pub(super) async fn start(
    edge: &Arc<Edge>,
    identity: &Identity,
    listeners: Vec<Quic>,
) -> anyhow::Result<()> {
    if listeners.is_empty() {
        return Ok(());
    }
    let front = Arc::new(Front::new(Arc::clone(edge)));
    let handles = threads::handles(edge.settings.threads);
    let cids = Arc::new(identity.cids());
    for Quic { sockets, tls } in listeners {
        let config = config::server(tls, identity, edge.settings.timeouts.idle)?;
        let router = Arc::new(Router::new(Arc::clone(&cids), sockets.sockets.len()));
        let places = (0..=u8::MAX).zip(handles.iter().cycle());
        for (socket, (thread, handle)) in sockets.sockets.into_iter().zip(places) {
            let endpoint = config::endpoint(identity, &cids, thread);
            let (config, router) = (config.clone(), Arc::clone(&router));
            // An endpoint belongs to the runtime on which it is made.
            let made = handle.spawn(async move {
                let inner = TokioRuntime.wrap_udp_socket(socket)?;
                let socket = Arc::new(Socket::new(inner, router, thread));
                Endpoint::new_with_abstract_socket(
                    endpoint,
                    Some(config),
                    socket,
                    Arc::new(TokioRuntime),
                )
            });
            let made = made.await.context("the thread has ended")?;
            let made = made.with_context(|| format!("cannot serve QUIC on {}", sockets.address))?;
            handle.spawn(Arc::clone(&front).serve(made));
        }
    }
    Ok(())
}
