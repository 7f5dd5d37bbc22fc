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
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, ConnectionError, Endpoint, Incoming};
use rustls::pki_types::CertificateDer;

use super::super::connections::{Open, key};
use super::super::tls::{ConnectionTls, ListenerTls, Unusable};
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
    pub(super) async fn serve(self: Arc<Self>, endpoint: Endpoint, tls: Arc<ListenerTls>) {
        while let Some(incoming) = endpoint.accept().await {
            self.meet(incoming, &tls);
        }
    }

    fn meet(self: &Arc<Self>, incoming: Incoming, tls: &Arc<ListenerTls>) {
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
        let proved = incoming.remote_address_validated();
        if !proved && (pending >= limits.quic_handshakes || edge.tls.has_rate()) {
            // The client comes back with a token that proves its address;
            // nothing is kept until then.
            let _ = incoming.retry();
            return;
        }
        if !edge.tls.admits(key(peer.ip()), edge.clock.tick()) {
            edge.telemetry.connection_closed(CloseReason::HandshakeRate);
            return incoming.refuse();
        }
        let (begun, tls) = (Handshake::begin(self), Arc::clone(tls));
        tokio::spawn(async move { begun.front.clone().handshake(begun, (incoming, tls)).await });
    }

    async fn handshake(
        self: Arc<Self>,
        begun: Handshake,
        (incoming, tls): (Incoming, Arc<ListenerTls>),
    ) {
        let edge = &self.edge;
        let bound = edge.settings.timeouts.handshake;
        let connection = match incoming.accept() {
            Ok(connecting) => tokio::time::timeout(bound, connecting).await,
            Err(error) => Ok(Err(error)),
        };
        drop(begun);
        let failure = match connection {
            Ok(Ok(connection)) => {
                if let Ok(known) = known(&tls, &connection) {
                    return self.admitted(connection, known).await;
                }
                connection.close(code(Code::GeneralProtocolError), b"");
                HandshakeFailure::ClientCertificate
            }
            Ok(Err(error)) => classify(&error),
            Err(_) => HandshakeFailure::TimedOut,
        };
        edge.telemetry.handshake_failed(failure);
        edge.telemetry.connection_closed(CloseReason::Handshake);
    }

    async fn admitted(&self, connection: Connection, tls: Option<Arc<ConnectionTls>>) {
        let (edge, peer) = (&self.edge, canonical(connection.remote_address()));
        let _open = match Open::admit(edge, peer.ip()) {
            Ok(open) => open,
            Err(refused) => {
                connection.close(code(Code::ExcessiveLoad), b"");
                return edge.telemetry.connection_closed(refused.reason());
            }
        };
        let trust = trust(edge, peer.ip());
        let info = ConnectionInfo::new(peer, trust, Transport::Tls, Protocol::H3).with_tls(tls);
        let _gauge = edge.telemetry.connection(Protocol::H3);
        let reason = serve_h3(edge, Arc::new(info), &connection).await;
        edge.telemetry.connection_closed(reason);
    }
}

/// What TLS says of a connection.
fn known(
    tls: &Arc<ListenerTls>,
    connection: &Connection,
) -> Result<Option<Arc<ConnectionTls>>, Unusable> {
    let hello = connection.handshake_data();
    let hello = hello.and_then(|data| data.downcast::<HandshakeData>().ok());
    let host = hello.and_then(|hello| hello.server_name);
    let shown = connection.peer_identity();
    let shown = shown.and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
    let shown = shown.as_ref().map(|chain| chain.as_slice());
    tls.connection(host.as_deref(), shown)
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
