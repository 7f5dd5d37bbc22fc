//! Where a QUIC connection arrives: bounds, Retry, access, handshake.
//!
//! Promises: the same bounds as for TCP; an address counts against them once
//! it has proved itself, so that nobody can use up another's share. Refuses:
//! early data, and connections while the process drains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use meridian_policies::access;
use meridian_wire::h3::Code;
use quinn::{Connection, ConnectionError, Endpoint, Incoming};

use super::super::app::Open;
use crate::edge::Edge;
use crate::engine::connection::{ConnectionInfo, serve_h3, trust};
use crate::engine::downstream::h3::code;
use crate::telemetry::{CloseReason, HandshakeFailure, Protocol, Transport};

/// What the QUIC listeners of a process share.
pub(super) struct Front {
    pub(super) edge: Arc<Edge>,
    handshakes: AtomicUsize,
}

impl Front {
    pub(super) fn new(edge: Arc<Edge>) -> Self {
        Self {
            edge,
            handshakes: AtomicUsize::new(0),
        }
    }

    /// Meets clients until the endpoint closes.
    pub(super) async fn serve(self: Arc<Self>, endpoint: Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            self.meet(incoming);
        }
    }

    fn meet(self: &Arc<Self>, incoming: Incoming) {
        let (edge, peer) = (&self.edge, canonical(incoming.remote_address()));
        if edge.lifecycle.handed_over() {
            // It asks again, and the successor answers.
            return incoming.ignore();
        }
        if edge.lifecycle.draining() {
            return incoming.refuse();
        }
        let denied = access::connection(&edge.generation().snapshot, peer.ip()).is_err();
        if denied {
            edge.telemetry.connection_closed(CloseReason::Denied);
            return incoming.refuse();
        }
        let (limits, pending) = (
            &edge.settings.limits,
            self.handshakes.load(Ordering::Acquire),
        );
        if edge.connections.open() + pending >= limits.connections {
            edge.telemetry.connection_closed(CloseReason::ProcessLimit);
            return incoming.refuse();
        }
        if pending >= limits.quic_handshakes && !incoming.remote_address_validated() {
            // The client comes back with a token that proves its address;
            // nothing is kept until then.
            let _ = incoming.retry();
            return;
        }
        let begun = Handshake::begin(self);
        tokio::spawn(async move { begun.front.clone().handshake(begun, incoming).await });
    }

    async fn handshake(self: Arc<Self>, begun: Handshake, incoming: Incoming) {
        let edge = &self.edge;
        let bound = edge.settings.timeouts.handshake;
        let connection = match incoming.accept() {
            Ok(connecting) => tokio::time::timeout(bound, connecting).await,
            Err(error) => Ok(Err(error)),
        };
        drop(begun);
        let failure = match connection {
            Ok(Ok(connection)) => return self.admitted(connection).await,
            Ok(Err(error)) => classify(&error),
            Err(_) => HandshakeFailure::TimedOut,
        };
        edge.telemetry.handshake_failed(failure);
        edge.telemetry.connection_closed(CloseReason::Handshake);
    }

    async fn admitted(&self, connection: Connection) {
        let (edge, peer) = (&self.edge, canonical(connection.remote_address()));
        let _open = match Open::admit(edge, peer.ip()) {
            Ok(open) => open,
            Err(refused) => {
                connection.close(code(Code::ExcessiveLoad), b"");
                return edge.telemetry.connection_closed(refused.reason());
            }
        };
        let trust = trust(edge, peer.ip());
        let info = ConnectionInfo::new(peer, trust, Transport::Tls, Protocol::H3);
        let _gauge = edge.telemetry.connection(Protocol::H3);
        let reason = serve_h3(edge, Arc::new(info), &connection).await;
        edge.telemetry.connection_closed(reason);
    }
}

/// One handshake in progress.
struct Handshake {
    front: Arc<Front>,
}

impl Handshake {
    fn begin(front: &Arc<Front>) -> Self {
        front.handshakes.fetch_add(1, Ordering::AcqRel);
        Self {
            front: Arc::clone(front),
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.front.handshakes.fetch_sub(1, Ordering::AcqRel);
    }
}

/// IPv4 addresses come as IPv6 through a socket for both.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Crypto alerts are error codes from 0x100 on (RFC 9001, 4.8).
const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;

fn classify(error: &ConnectionError) -> HandshakeFailure {
    match error {
        ConnectionError::VersionMismatch => HandshakeFailure::NoAgreement,
        ConnectionError::TransportError(error)
            if u64::from(error.code) == NO_APPLICATION_PROTOCOL =>
        {
            HandshakeFailure::NoAgreement
        }
        ConnectionError::TransportError(_) => HandshakeFailure::Protocol,
        ConnectionError::ConnectionClosed(_) => HandshakeFailure::Alert,
        ConnectionError::ApplicationClosed(_) | ConnectionError::Reset => {
            HandshakeFailure::ClientGone
        }
        ConnectionError::TimedOut => HandshakeFailure::TimedOut,
        ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => {
            HandshakeFailure::Internal
        }
    }
}
