//! Where pingora hands a connection over: admission, TLS, and the choice of
//! the version.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_geo::IpNet;
use meridian_policies::access;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::accept::Accepted;
use super::carried;
use super::connections::{Open, Refused, key};
use super::tls::{ConnectionTls, ListenerTls, Unusable};
use crate::edge::Edge;
use crate::engine::connection::{ConnectionInfo, serve_h1, serve_h2, trust};
use crate::engine::io::Io;
use crate::settings::{Protocols, Switch};
use crate::telemetry::{CloseReason, HandshakeFailure, Protocol, Transport};

/// What a listener's connections have in common.
pub(super) struct ListenerContext {
    tls: Option<Arc<ListenerTls>>,
    protocols: Protocols,
    handshake: Duration,
    /// Tells clients where HTTP/3 is spoken.
    alt_svc: Option<Arc<str>>,
    /// Who may carry connections here; `None`: they are the peers' own.
    carriers: Option<Vec<IpNet>>,
}

impl ListenerContext {
    /// Of the listener with this number in the settings.
    pub(super) fn new(edge: &Edge, number: usize) -> Self {
        let listener = edge.settings.listeners.get(number);
        let plain = Protocols {
            h1: Switch::On,
            h2: Switch::Off,
            h3: Switch::Off,
        };
        Self {
            tls: edge.tls.listener(number).cloned(),
            protocols: listener.map_or(plain, |listener| listener.protocols),
            handshake: edge.settings.timeouts.handshake,
            alt_svc: None,
            carriers: listener.and_then(|listener| listener.proxy_protocol.clone()),
        }
    }

    /// HTTP/3 is spoken on this port of the same host; 0: nobody is told.
    pub(super) fn advertise(&mut self, port: u16) {
        if port > 0 {
            self.alt_svc = Some(format!("h3=\":{port}\"; ma=86400").into());
        }
    }
}

/// One listener's application.
pub(super) struct App {
    edge: Arc<Edge>,
    listener: ListenerContext,
}

impl App {
    pub(super) fn new(edge: Arc<Edge>, listener: ListenerContext) -> Self {
        Self { edge, listener }
    }

    async fn serve(&self, session: Stream) {
        let Some((mut session, peer)) = Accepted::take(session) else {
            return;
        };
        let admitted = match &self.listener.carriers {
            None => Open::admit(&self.edge, peer.ip())
                .map(|open| (open, peer))
                .map_err(Refused::reason),
            Some(carriers) => Box::pin(self.carried(&mut session, peer, carriers)).await,
        };
        let (_open, peer) = match admitted {
            Ok(admitted) => admitted,
            Err(reason) => return self.edge.telemetry.connection_closed(reason),
        };
        let generation = self.edge.generation();
        if access::connection(&generation.snapshot, peer.ip()).is_err() {
            return self.edge.telemetry.connection_closed(CloseReason::Denied);
        }
        drop(generation);
        let trust = trust(&self.edge, peer.ip());
        if self.listener.tls.is_some()
            && !self.edge.tls.admits(key(peer.ip()), self.edge.clock.tick())
        {
            return self
                .edge
                .telemetry
                .connection_closed(CloseReason::HandshakeRate);
        }
        let Some(Secured { io, protocol, tls }) = self.secure(session).await else {
            return;
        };
        let transport = match io {
            Io::Tls(_) | Io::Dialled(_) => Transport::Tls,
            Io::Tcp(_) => Transport::Plain,
        };
        let mut info = ConnectionInfo::new(peer, trust, transport, protocol).with_tls(tls);
        info.alt_svc.clone_from(&self.listener.alt_svc);
        let reason = match protocol {
            Protocol::H2 => serve_h2(&self.edge, Arc::new(info), io).await,
            Protocol::H1 | Protocol::H3 | Protocol::WebSocket => {
                serve_h1(&self.edge, &info, io).await
            }
        };
        self.edge.telemetry.connection_closed(reason);
    }

    /// A connection that somebody carries, under the address of its client.
    async fn carried(
        &self,
        session: &mut TcpStream,
        peer: SocketAddr,
        carriers: &[IpNet],
    ) -> Result<(Open<'_>, SocketAddr), CloseReason> {
        if !carriers.iter().any(|net| net.contains(&peer.ip())) {
            return Err(CloseReason::ProxyProtocol);
        }
        let mut open = Open::unnamed(&self.edge).map_err(Refused::reason)?;
        let read = tokio::time::timeout(self.listener.handshake, carried::client(session, peer));
        let Ok(Ok(client)) = read.await else {
            return Err(CloseReason::ProxyProtocol);
        };
        open.name(client.ip()).map_err(Refused::reason)?;
        Ok((open, client))
    }

    /// TLS where the listener asks for it, within its deadline.
    async fn secure(&self, session: TcpStream) -> Option<Secured> {
        let Some(tls) = &self.listener.tls else {
            return Some(Secured {
                io: Io::Tcp(session),
                protocol: Protocol::H1,
                tls: None,
            });
        };
        let handshake = Box::pin(tokio::time::timeout(
            self.listener.handshake,
            handshake(tls, session),
        ));
        let done = match handshake.await {
            Ok(Ok(stream)) => self.agreed(tls, stream),
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => Err(HandshakeFailure::TimedOut),
        };
        done.map_err(|failure| self.failed(failure)).ok()
    }

    /// What the handshake has brought.
    fn agreed(
        &self,
        tls: &Arc<ListenerTls>,
        stream: TlsStream<TcpStream>,
    ) -> Result<Secured, HandshakeFailure> {
        let session = stream.get_ref().1;
        let protocol = match (session.alpn_protocol(), self.listener.protocols.h1) {
            (Some(b"h2"), _) => Protocol::H2,
            (_, Switch::On) => Protocol::H1,
            (_, Switch::Off) => return Err(HandshakeFailure::NoAgreement),
        };
        let kept = tls
            .connection(session.server_name(), session.peer_certificates())
            .map_err(|Unusable| HandshakeFailure::ClientCertificate)?;
        Ok(Secured {
            io: Io::Tls(Box::new(stream)),
            protocol,
            tls: kept,
        })
    }

    fn failed(&self, failure: HandshakeFailure) {
        self.edge.telemetry.handshake_failed(failure);
        self.edge
            .telemetry
            .connection_closed(CloseReason::Handshake);
    }
}

#[async_trait]
impl ServerApp for App {
    async fn process_new(
        self: &Arc<Self>,
        session: Stream,
        _shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        self.serve(session).await;
        None
    }
}

/// A connection on which HTTP may begin.
struct Secured {
    io: Io,
    protocol: Protocol,
    tls: Option<Arc<ConnectionTls>>,
}

/// The hello decides on the configuration, which does the rest.
async fn handshake(tls: &ListenerTls, session: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), session).await?;
    let config = tls
        .tcp_config(&start.client_hello())
        .ok_or(io::ErrorKind::NotFound)?;
    start.into_stream(config).await
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rustls adds variants")]
fn classify(error: &std::io::Error) -> HandshakeFailure {
    use rustls::Error;
    let Some(inner) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    else {
        return HandshakeFailure::ClientGone;
    };
    match inner {
        Error::InvalidMessage(_) => HandshakeFailure::NotTls,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => HandshakeFailure::NoAgreement,
        Error::AlertReceived(_) => HandshakeFailure::Alert,
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => {
            HandshakeFailure::ClientCertificate
        }
        Error::General(_) | Error::FailedToGetRandomBytes => HandshakeFailure::Internal,
        _ => HandshakeFailure::Protocol,
    }
}
