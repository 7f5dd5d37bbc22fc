//! Who vouches for clients: authorities from a file that may be replaced.
//!
//! Promises: every new handshake is judged by the newest good file. Refuses:
//! an empty or unreadable file (the last good one stays), and to tell clients
//! the authorities' names, which would have to be those of the start.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ring::digest::{Context, SHA256};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
};

use super::pair::{self, Print};

/// Whether a client without a certificate is served.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Demand {
    Optional,
    Required,
}

/// Judges clients' certificates.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) ca: PathBuf,
    pub(super) demand: Demand,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<Authorities>,
}

#[derive(Debug)]
struct Authorities {
    judge: Arc<dyn ClientCertVerifier>,
    print: Print,
}

impl Verifier {
    /// Reads the authorities.
    pub(super) fn new(
        ca: PathBuf,
        demand: Demand,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let authorities = authorities(&pair::read(&ca)?, demand, provider)?;
        Ok(Self {
            ca,
            demand,
            provider: Arc::clone(provider),
            current: ArcSwap::from_pointee(authorities),
        })
    }

    /// Tells sets of authorities apart.
    pub(super) fn print(&self) -> Print {
        self.current.load().print
    }

    /// Whether the authorities of this moment vouch for a chain. A resumed
    /// session shows the chain of its beginning, unjudged.
    pub(super) fn vouches(&self, chain: &[CertificateDer<'_>]) -> bool {
        chain.split_first().is_some_and(|(leaf, others)| {
            let current = self.current.load();
            let judged = current
                .judge
                .verify_client_cert(leaf, others, UnixTime::now());
            judged.is_ok()
        })
    }

    /// Takes `bytes` over when they hold other authorities than those in use.
    /// True when something changed.
    pub(super) fn renew(&self, bytes: &[u8]) -> Result<bool, String> {
        let authorities = authorities(bytes, self.demand, &self.provider)?;
        if authorities.print == self.print() {
            return Ok(false);
        }
        self.current.store(Arc::new(authorities));
        Ok(true)
    }
}

fn authorities(
    bytes: &[u8],
    demand: Demand,
    provider: &Arc<CryptoProvider>,
) -> Result<Authorities, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let certificate = certificate.map_err(|fault| format!("no PEM: {fault}"))?;
        roots
            .add(certificate)
            .map_err(|fault| format!("an authority can't be used: {fault}"))?;
    }
    if roots.is_empty() {
        return Err("no authority in it".to_owned());
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match demand {
        Demand::Optional => builder.allow_unauthenticated(),
        Demand::Required => builder,
    };
    let judge = builder.build().map_err(|fault| fault.to_string())?;
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    Ok(Authorities {
        judge,
        print: pair::print(context),
    })
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        match self.demand {
            Demand::Optional => false,
            Demand::Required => true,
        }
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let current = self.current.load();
        current
            .judge
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let current = self.current.load();
        current.judge.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let current = self.current.load();
        current.judge.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current.load().judge.supported_verify_schemes()
    }
}
