//! TLS of a QUIC connection by the host that its client names.
//!
//! Promises: as over TCP, the client's hello decides which rules about client
//! certificates its handshake is under; a hello that comes in pieces is
//! waited for. Refuses: to judge hellos itself: what is no hello, or a longer
//! one than there are, is left to rustls, whose error the client gets.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::crypto::{
    ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
    UnsupportedVersion,
};
use quinn::{ConnectionId, Side};
use quinn_proto::TransportError;
use quinn_proto::transport_parameters::TransportParameters;
use rustls::server::Acceptor;

use super::super::tls::ListenerTls;

/// Longest hello that is waited for.
const HELLO_MAX: usize = 64 * 1024;
/// Bytes of a hello that are read at once.
const PIECE: usize = 1_024;

/// One configuration a set of rules.
pub(super) struct ByHost {
    listener: Arc<ListenerTls>,
    first: Arc<QuicServerConfig>,
    others: Vec<Arc<QuicServerConfig>>,
}

impl ByHost {
    /// Of a listener.
    pub(super) fn new(listener: &Arc<ListenerTls>) -> anyhow::Result<Self> {
        let mut configs = Vec::new();
        for config in listener.quic_configs() {
            let config = QuicServerConfig::try_from(Arc::clone(config));
            configs.push(Arc::new(config.context("QUIC needs TLS 1.3")?));
        }
        let mut configs = configs.into_iter();
        Ok(Self {
            listener: Arc::clone(listener),
            first: configs.next().context("the listener has no TLS")?,
            others: configs.collect(),
        })
    }

    fn config(&self, number: usize) -> Arc<QuicServerConfig> {
        let other = number.checked_sub(1).and_then(|at| self.others.get(at));
        Arc::clone(other.unwrap_or(&self.first))
    }
}

impl ServerConfig for ByHost {
    fn initial_keys(
        &self,
        version: u32,
        dst_cid: &ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        self.first.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.first.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn Session> {
        if self.others.is_empty() {
            return Arc::clone(&self.first).start_session(version, params);
        }
        Box::new(Hosted {
            of: self,
            version,
            params: *params,
            state: State::Waiting(Box::default()),
        })
    }
}

/// A session whose host is not known until its client has said hello.
struct Hosted {
    of: Arc<ByHost>,
    version: u32,
    params: TransportParameters,
    state: State,
}

enum State {
    Waiting(Box<Hello>),
    Begun(Box<dyn Session>),
}

/// What there is of a hello.
#[derive(Default)]
struct Hello {
    bytes: Vec<u8>,
    /// Reads it as TCP would carry it. The lock is never waited for: it makes
    /// the reader one that threads may share.
    reader: Mutex<Acceptor>,
}

impl Hello {
    /// Takes more bytes; the number of the configuration once it is known.
    fn read(&mut self, bytes: &[u8], listener: &ListenerTls) -> Option<usize> {
        self.bytes.extend_from_slice(bytes);
        let reader = self
            .reader
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.chunks(PIECE) {
            if let Some(found) = read_piece(reader, piece, listener) {
                return Some(found);
            }
        }
        (self.bytes.len() > HELLO_MAX).then_some(0)
    }
}

/// Puts a piece into a record (RFC 8446, 5.1) and looks. What can't be read
/// is the first configuration's to refuse.
fn read_piece(reader: &mut Acceptor, piece: &[u8], listener: &ListenerTls) -> Option<usize> {
    let length = u16::try_from(piece.len()).unwrap_or(u16::MAX).to_be_bytes();
    let record = [&[22, 3, 1], &length[..], piece].concat();
    let mut rest = record.as_slice();
    while !rest.is_empty() {
        if reader.read_tls(&mut rest).is_err() {
            return Some(0);
        }
    }
    match reader.accept() {
        Ok(None) => None,
        Ok(Some(hello)) => Some(listener.quic_config_of(&hello.client_hello())),
        Err(_) => Some(0),
    }
}

impl Hosted {
    fn begin(&self, number: usize) -> Box<dyn Session> {
        self.of
            .config(number)
            .start_session(self.version, &self.params)
    }

    fn begun(&self) -> Option<&dyn Session> {
        match &self.state {
            State::Waiting(_) => None,
            State::Begun(session) => Some(session.as_ref()),
        }
    }
}

impl Session for Hosted {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        match self.begun() {
            Some(session) => session.initial_keys(dst_cid, side),
            None => self.begin(0).initial_keys(dst_cid, side),
        }
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.begun()?.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.begun()?.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.begun()?.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.begun()?.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.begun().is_none_or(Session::is_handshaking)
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        let hello = match &mut self.state {
            State::Begun(session) => return session.read_handshake(buf),
            State::Waiting(hello) => hello,
        };
        let Some(number) = hello.read(buf, &self.of.listener) else {
            return Ok(false);
        };
        let bytes = std::mem::take(&mut hello.bytes);
        let mut session = self.begin(number);
        let ready = session.read_handshake(&bytes);
        self.state = State::Begun(session);
        ready
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        match self.begun() {
            Some(session) => session.transport_parameters(),
            None => Ok(None),
        }
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        match &mut self.state {
            State::Waiting(_) => None,
            State::Begun(session) => session.write_handshake(buf),
        }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        match &mut self.state {
            State::Waiting(_) => None,
            State::Begun(session) => session.next_1rtt_keys(),
        }
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        let session = self.begun();
        session.is_some_and(|session| session.is_valid_retry(orig_dst_cid, header, payload))
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        let session = self.begun().ok_or(ExportKeyingMaterialError)?;
        session.export_keying_material(output, label, context)
    }
}

#[cfg(test)]
mod tests {
    use quinn::crypto::rustls::HandshakeData;
    use rustls::quic::{ClientConnection, Version};

    use super::*;
    use crate::server::Tls;
    use crate::settings::Settings;

    const V1: u32 = 1;

    /// A listener of which one host has rules of its own.
    fn by_host() -> Arc<ByHost> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for host in ["open.example", "staff.example"] {
            let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
            std::fs::write(path(&format!("{host}.pem")), made.cert.pem()).unwrap();
            std::fs::write(
                path(&format!("{host}.key")),
                made.signing_key.serialize_pem(),
            )
            .unwrap();
        }
        let text = "edge: { region: local }\nlisteners:\n  - address: \"127.0.0.1:0\"\n\
            \x20   protocols: [h1, h3]\n    tls:\n      certificates:\n\
            \x20     - { cert: open.example.pem, key: open.example.key }\n\
            \x20     - cert: staff.example.pem\n        key: staff.example.key\n\
            \x20       client_auth: { mode: required, ca: open.example.pem }\n";
        std::fs::write(path("meridian.yaml"), text).unwrap();
        let settings = Settings::load(&path("meridian.yaml")).unwrap();
        let Ok(tls) = Tls::load(&settings) else {
            panic!("the certificates are good");
        };
        Arc::new(ByHost::new(tls.listener(0).unwrap()).unwrap())
    }

    fn params() -> TransportParameters {
        TransportParameters::read(Side::Client, &mut &[][..]).unwrap()
    }

    fn hello(host: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h3".to_vec()];
        let name = host.to_owned().try_into().unwrap();
        let mut client =
            ClientConnection::new(Arc::new(config), Version::V1, name, Vec::new()).unwrap();
        let mut hello = Vec::new();
        client.write_hs(&mut hello);
        hello
    }

    fn host_of(session: &dyn Session) -> Option<String> {
        let data = session.handshake_data()?;
        data.downcast::<HandshakeData>().ok()?.server_name
    }

    #[test]
    fn a_hello_in_pieces_is_waited_for_and_then_answered() {
        let of = by_host();
        for host in ["open.example", "staff.example", "unknown.example"] {
            let hello = hello(host);
            for size in [1, 7, hello.len() - 1, hello.len()] {
                let params = params();
                let mut session = Arc::clone(&of).start_session(V1, &params);
                let (mut read, mut out) = (0, Vec::new());
                for piece in hello.chunks(size) {
                    assert!(session.handshake_data().is_none());
                    assert!(session.transport_parameters().unwrap().is_none());
                    assert!(session.write_handshake(&mut out).is_none() && out.is_empty());
                    read += piece.len();
                    let ready = session.read_handshake(piece).unwrap();
                    assert_eq!(ready, read == hello.len(), "{host} {size}");
                }
                assert_eq!(host_of(session.as_ref()).as_deref(), Some(host));
                assert!(session.write_handshake(&mut out).is_some() && !out.is_empty());
            }
        }
    }

    #[test]
    fn what_is_no_hello_or_never_ends_is_an_error_and_no_panic() {
        let of = by_host();
        let endless = [vec![1, 0, 0xff, 0xff], vec![0; 2 * HELLO_MAX]].concat();
        let mut hello = hello("staff.example");
        let mut all = vec![vec![0xff; 100], vec![0; 100], endless];
        for at in 0..hello.len() {
            hello[at] ^= 0x55;
            all.push(hello.clone());
            hello[at] ^= 0x55;
        }
        for (number, bytes) in all.iter().enumerate() {
            let mut session = Arc::clone(&of).start_session(V1, &params());
            let read = bytes.chunks(1_200).try_for_each(|piece| {
                let _ = session.read_handshake(piece)?;
                let _ = session.write_handshake(&mut Vec::new());
                Ok::<_, TransportError>(())
            });
            // A changed random byte or key share is still a hello.
            assert!(number >= 3 || read.is_err(), "{number}");
        }
    }
}
