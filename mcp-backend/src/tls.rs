//! TLS of the listener. Promises a certificate that fits its key, and, where
//! there are authorities for clients, no connection without a certificate that
//! one of them vouches for. Refuses to start with a file that cannot be used.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio_rustls::TlsAcceptor;

/// PEM files behind a listener with TLS.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain, leaf first.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Authorities that vouch for clients. `None`: nobody is asked.
    pub client_ca: Option<PathBuf>,
}

/// A file of TLS that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {told}")]
pub struct TlsError {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub told: String,
}

/// Reads the files once; HTTP/2 and HTTP/1.1 are offered.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(at(&files.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(at(&files.cert))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority).map_err(at(path))?;
            }
            let judge = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(judge.build().map_err(at(path))?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(at(&files.cert))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(at(path))
}

fn at<E: std::fmt::Display>(path: &std::path::Path) -> impl FnOnce(E) -> TlsError {
    let path = path.display().to_string();
    move |error| TlsError {
        path,
        told: error.to_string(),
    }
}
