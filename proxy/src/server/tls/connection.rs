//! What TLS says of a connection, for as long as it lives.
//!
//! Promises: an identity is that of a verified certificate; a request for a
//! host with other rules about client certificates than the one that the
//! connection was opened for is told apart. Refuses: certificates that can't
//! be read or are larger than 8 KiB, and resumed sessions of clients for whom
//! nobody vouches any more.

use std::sync::Arc;

use meridian_policies::access::ClientCertificate;
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::ListenerTls;
use super::client_auth::{Demand, Verifier};

/// Largest certificate whose holder is served: it goes to backends in a field.
const CERTIFICATE_MAX: usize = 8 * 1024;
/// Most names that are remembered.
const NAMES_MAX: usize = 64;

/// Kept only where there is an identity or a rule about hosts.
pub struct ConnectionTls {
    identity: Option<Identity>,
    listener: Arc<ListenerTls>,
    /// Number of the certificate that was shown.
    certificate: usize,
}

struct Identity {
    certificate: ClientCertificate,
    /// Value of `Client-Cert` (RFC 9440).
    field: Vec<u8>,
}

/// The client's certificate was verified, and yet nobody can be named by it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Unusable;

impl ListenerTls {
    /// What is kept of a connection whose handshake is done: `host` is the
    /// name in the client's hello, `shown` its verified chain. `None`: there
    /// is nothing to keep.
    pub fn connection(
        self: &Arc<Self>,
        host: Option<&str>,
        shown: Option<&[CertificateDer<'_>]>,
    ) -> Result<Option<Arc<ConnectionTls>>, Unusable> {
        let table = self.table.load();
        let certificate = table.choose(host);
        let group = self.groups.get(table.group(certificate));
        let verifier = group.and_then(|group| group.verifier.as_deref());
        let identity = match (verifier, shown) {
            (Some(verifier), Some(chain)) => Some(identified(verifier, chain)?),
            (Some(verifier), None) if verifier.demand == Demand::Required => return Err(Unusable),
            // Nobody asked for one.
            (None, Some(_)) => return Err(Unusable),
            (Some(_) | None, None) => None,
        };
        if self.groups.len() == 1 && verifier.is_none() {
            return Ok(None);
        }
        Ok(Some(Arc::new(ConnectionTls {
            identity,
            listener: Arc::clone(self),
            certificate,
        })))
    }

    /// Whether clients of a group are asked for a certificate.
    fn asks(&self, group: usize) -> bool {
        self.groups
            .get(group)
            .is_some_and(|group| group.verifier.is_some())
    }
}

impl ConnectionTls {
    /// The client's verified certificate.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.identity.as_ref().map(|identity| &identity.certificate)
    }

    /// The value of `Client-Cert`.
    pub fn client_cert(&self) -> Option<&[u8]> {
        self.identity
            .as_ref()
            .map(|identity| identity.field.as_slice())
    }

    /// Whether a request for `host` may use this connection: where clients are
    /// asked for certificates, only one for the certificate that was shown;
    /// else one for any host that asks for nothing either.
    pub fn covers(&self, host: &str) -> bool {
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let table = self.listener.table.load();
        let group = table.group(self.certificate);
        let found = table.find(host);
        if self.listener.asks(group) {
            found == Some(self.certificate)
        } else {
            table.group(found.unwrap_or(0)) == group
        }
    }
}

/// Judges the chain again: a resumed session brings the one of its beginning,
/// which may have expired, or whose authority may be gone.
fn identified(verifier: &Verifier, chain: &[CertificateDer<'_>]) -> Result<Identity, Unusable> {
    if !verifier.vouches(chain) {
        return Err(Unusable);
    }
    chain.first().and_then(identify).ok_or(Unusable)
}

fn identify(leaf: &CertificateDer<'_>) -> Option<Identity> {
    if leaf.len() > CERTIFICATE_MAX {
        return None;
    }
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let (mut uris, mut hosts) = (Vec::new(), Vec::new());
    if let Some(names) = parsed.subject_alternative_name().ok()? {
        for name in names.value.general_names.iter().take(NAMES_MAX) {
            if let GeneralName::URI(uri) = name {
                uris.push((*uri).to_owned());
            } else if let GeneralName::DNSName(host) = name {
                hosts.push(host.to_ascii_lowercase());
            }
        }
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, leaf).as_ref());
    let mut field = String::with_capacity(leaf.len() * 4 / 3 + 8);
    field.push(':');
    data_encoding::BASE64.encode_append(leaf, &mut field);
    field.push(':');
    Some(Identity {
        certificate: ClientCertificate {
            uris,
            hosts,
            fingerprint,
        },
        field: field.into_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::new(["Web.example".to_owned()]).unwrap();
        let uri = "spiffe://example/a".try_into().unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn an_identity_has_names_fingerprint_and_the_field_for_backends() {
        let leaf = made();
        let identity = identify(&leaf).unwrap();
        assert_eq!(identity.certificate.uris, ["spiffe://example/a"]);
        assert_eq!(identity.certificate.hosts, ["web.example"]);
        let text = std::str::from_utf8(&identity.field).unwrap();
        let inner = text.strip_prefix(':').unwrap().strip_suffix(':').unwrap();
        assert_eq!(
            data_encoding::BASE64.decode(inner.as_bytes()).unwrap(),
            *leaf
        );
        let print = digest(&SHA256, &leaf);
        assert_eq!(identity.certificate.fingerprint, *print.as_ref());
    }

    #[test]
    fn what_no_certificate_is_names_nobody_and_panics_nowhere() {
        let leaf = made();
        for cut in 0..leaf.len() {
            assert!(identify(&leaf[..cut].to_vec().into()).is_none(), "{cut}");
            let mut broken = leaf.to_vec();
            broken[cut] ^= 0xff;
            // Whatever it says now: no panic.
            let _ = identify(&broken.into());
        }
        assert!(identify(&vec![0x30; CERTIFICATE_MAX + 1].into()).is_none());
    }
}
