//! rustls inside our own connections: certificate files to one configuration.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::settings::{Protocols, Switch, TlsFiles};

/// Reads the pair and offers the protocols by ALPN. TLS 1.2 and 1.3 only; no
/// early data.
pub(super) fn acceptor(files: &TlsFiles, protocols: Protocols) -> anyhow::Result<TlsAcceptor> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read the certificate chain {}", files.cert.display()))?;
    anyhow::ensure!(
        !chain.is_empty(),
        "{} holds no certificate",
        files.cert.display()
    );
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("cannot read the private key {}", files.key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| {
            format!(
                "{} and {} do not fit together",
                files.cert.display(),
                files.key.display()
            )
        })?;
    if protocols.h2 == Switch::On {
        config.alpn_protocols.push(b"h2".to_vec());
    }
    if protocols.h1 == Switch::On {
        config.alpn_protocols.push(b"http/1.1".to_vec());
    }
    config.send_half_rtt_data = false;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
