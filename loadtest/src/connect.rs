//! From an address to something that sends requests.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::plan::{Protocol, Target, Trust};
use crate::quic;
use crate::record::Failure;
use crate::run::RunError;

/// One connection's sending half.
pub(crate) enum Sender {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
    H3(quic::Sender),
}

/// Opens connections to one target.
#[derive(Clone)]
pub(crate) struct Connector {
    target: Target,
    protocol: Protocol,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    quic: Option<quic::Connector>,
}

impl Connector {
    pub(crate) fn new(target: Target, protocol: Protocol) -> Result<Self, RunError> {
        let config = tls_config(&target.trust, protocol)?;
        let quic = match (&config, protocol) {
            (Some(config), Protocol::H3) => Some(quic::Connector::new(config, &target.host)?),
            (_, Protocol::H1 | Protocol::H2 | Protocol::H3) => None,
        };
        let tls = match config {
            None => None,
            Some(config) => {
                let name = ServerName::try_from(target.host.clone())
                    .map_err(|_| RunError::Tls(format!("{} is not a host name", target.host)))?;
                Some((TlsConnector::from(Arc::new(config)), name))
            }
        };
        Ok(Self {
            target,
            protocol,
            tls,
            quic,
        })
    }

    /// A new connection, ready to send.
    pub(crate) async fn connect(&self) -> Result<Sender, Failure> {
        if let Some(quic) = &self.quic {
            return quic.connect(&self.target.addresses).await.map(Sender::H3);
        }
        let tcp = self.tcp().await.map_err(|_| Failure::Connect)?;
        let Some((connector, name)) = &self.tls else {
            return self.handshake(TokioIo::new(tcp)).await;
        };
        let tls = connector
            .connect(name.clone(), tcp)
            .await
            .map_err(|_| Failure::Tls)?;
        if tls.get_ref().1.alpn_protocol() != Some(alpn(self.protocol)) {
            match self.protocol {
                // A server without ALPN speaks HTTP/1.1.
                Protocol::H1 if tls.get_ref().1.alpn_protocol().is_none() => {}
                Protocol::H1 | Protocol::H2 | Protocol::H3 => return Err(Failure::Tls),
            }
        }
        self.handshake(TokioIo::new(tls)).await
    }

    async fn tcp(&self) -> std::io::Result<TcpStream> {
        let tcp = TcpStream::connect(self.target.addresses.as_slice()).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    async fn handshake<T>(&self, io: T) -> Result<Sender, Failure>
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        match self.protocol {
            Protocol::H1 => {
                let (sender, driver) = http1::handshake(io).await.map_err(|_| Failure::Broken)?;
                tokio::spawn(driver);
                Ok(Sender::H1(sender))
            }
            Protocol::H2 => {
                let (sender, driver) = http2::handshake(TokioExecutor::new(), io)
                    .await
                    .map_err(|_| Failure::Broken)?;
                tokio::spawn(driver);
                Ok(Sender::H2(sender))
            }
            // It has no byte stream.
            Protocol::H3 => Err(Failure::Connect),
        }
    }
}

const fn alpn(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::H1 => b"http/1.1",
        Protocol::H2 => b"h2",
        Protocol::H3 => b"h3",
    }
}

fn tls_config(trust: &Trust, protocol: Protocol) -> Result<Option<ClientConfig>, RunError> {
    let provider = Arc::new(ring::default_provider());
    let builder = || {
        ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| RunError::Tls(error.to_string()))
    };
    let mut config = match trust {
        Trust::Plain => return Ok(None),
        Trust::Anyone => builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider.clone())))
            .with_no_client_auth(),
        Trust::Authority(file) => {
            let failed = |reason: String| RunError::Tls(format!("{}: {reason}", file.display()));
            let mut roots = RootCertStore::empty();
            let certificates =
                CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| failed(error.to_string()))?;
                roots
                    .add(certificate)
                    .map_err(|error| failed(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(failed("no certificate in it".to_owned()));
            }
            builder()?
                .with_root_certificates(roots)
                .with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![alpn(protocol).to_vec()];
    Ok(Some(config))
}

/// Believes any certificate, but still checks that the peer holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
