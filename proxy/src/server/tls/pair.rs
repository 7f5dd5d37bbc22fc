//! A certificate chain and its key, read from files and checked.
//!
//! Promises: chain and key belong together, and what is stapled is what the
//! file holds. Refuses: files over 1 MiB, chains over 16 certificates.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::settings::TlsFiles;

/// Largest file of a pair.
const FILE_MAX: u64 = 1024 * 1024;
/// Longest chain, the leaf included.
const CHAIN_MAX: usize = 16;

/// SHA-256 of what was read.
pub(super) type Print = [u8; 32];

/// A pair that can serve.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    /// Names and addresses in the certificate.
    pub(super) names: Vec<String>,
    pub(super) validity: Validity,
}

/// Seconds since 1970.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) struct Validity {
    pub(super) from: i64,
    pub(super) until: i64,
}

/// How a certificate stands at a moment.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// Valid, and for some time.
    Good,
    /// Less than two weeks and less than a fifth of its life are left.
    Expiring,
    /// No client believes it any more.
    Expired,
    /// No client believes it yet.
    Early,
}

impl Standing {
    /// For logs and `/readyz`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Early => "not-yet-valid",
        }
    }
}

impl Validity {
    /// How it stands at `now`, seconds since 1970.
    pub(super) fn standing(self, now: i64) -> Standing {
        const SOON: i64 = 14 * 24 * 3_600;
        let left = self.until.saturating_sub(now);
        let life = self.until.saturating_sub(self.from);
        if left < 0 {
            Standing::Expired
        } else if now < self.from {
            Standing::Early
        } else if left < SOON && left < life / 5 {
            Standing::Expiring
        } else {
            Standing::Good
        }
    }
}

/// The bytes of a pair's files, before anything is made of them.
pub(super) struct Source {
    cert: Vec<u8>,
    key: Vec<u8>,
    ocsp: Option<Vec<u8>>,
}

impl Source {
    /// Reads the files.
    pub(super) fn read(files: &TlsFiles) -> Result<Self, String> {
        Ok(Self {
            cert: read(&files.cert)?,
            key: read(&files.key)?,
            ocsp: files.ocsp.as_deref().map(read).transpose()?,
        })
    }

    /// Tells contents apart.
    pub(super) fn print(&self) -> Print {
        let mut context = Context::new(&SHA256);
        for part in [
            &self.cert,
            &self.key,
            self.ocsp.as_ref().unwrap_or(&self.cert),
        ] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        print(context)
    }

    /// Makes a pair of them. The fault names no content.
    pub(super) fn pair(&self, provider: &CryptoProvider) -> Result<Pair, String> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<_, _>>()
            .map_err(|fault| format!("the certificate is no PEM: {fault}"))?;
        let leaf = match chain.first() {
            Some(leaf) if chain.len() <= CHAIN_MAX => leaf,
            Some(_) => return Err(format!("more than {CHAIN_MAX} certificates in the chain")),
            None => return Err("no certificate in it".to_owned()),
        };
        let (names, validity) = describe(leaf)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|fault| format!("the key is no PEM: {fault}"))?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|fault| format!("the key can't be used: {fault}"))?;
        let mut certified = CertifiedKey::new(chain, key);
        certified
            .keys_match()
            .map_err(|_| "certificate and key do not fit together".to_owned())?;
        if let Some(ocsp) = &self.ocsp {
            // OCSPResponse is a SEQUENCE (RFC 6960, 4.2.1).
            if ocsp.first() != Some(&0x30) {
                return Err("the OCSP answer is not in DER".to_owned());
            }
            certified.ocsp = Some(ocsp.clone());
        }
        Ok(Pair {
            key: Arc::new(certified),
            names,
            validity,
        })
    }
}

/// The digest of what was fed.
pub(super) fn print(context: Context) -> Print {
    let mut print = [0; 32];
    print.copy_from_slice(context.finish().as_ref());
    print
}

/// A whole file, within its bound.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let named = |fault: String| format!("{}: {fault}", path.display());
    let file = File::open(path).map_err(|fault| named(fault.to_string()))?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|fault| named(fault.to_string()))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(named(format!("is larger than {FILE_MAX} bytes")));
    }
    Ok(bytes)
}

/// Names and dates of a certificate.
fn describe(leaf: &CertificateDer<'_>) -> Result<(Vec<String>, Validity), String> {
    let (_, certificate) = X509Certificate::from_der(leaf)
        .map_err(|fault| format!("the certificate can't be read: {fault}"))?;
    let validity = Validity {
        from: certificate.validity().not_before.timestamp(),
        until: certificate.validity().not_after.timestamp(),
    };
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else {
        return Ok((Vec::new(), validity));
    };
    let names = alternatives.value.general_names.iter().filter_map(name);
    Ok((names.collect(), validity))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "no other kind names a host")]
fn name(general: &GeneralName<'_>) -> Option<String> {
    match general {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            long => <[u8; 16]>::try_from(long)
                .ok()
                .map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3_600;

    #[test]
    fn a_certificate_expires_soon_when_little_of_its_life_is_left() {
        let year = Validity {
            from: 0,
            until: 365 * DAY,
        };
        assert_eq!(year.standing(-1), Standing::Early);
        assert_eq!(year.standing(300 * DAY), Standing::Good);
        assert_eq!(year.standing(352 * DAY), Standing::Expiring);
        assert_eq!(year.standing(365 * DAY + 1), Standing::Expired);
        let day = Validity {
            from: 0,
            until: DAY,
        };
        assert_eq!(day.standing(DAY / 2), Standing::Good);
        assert_eq!(day.standing(DAY - DAY / 6), Standing::Expiring);
    }

    fn source(cert: &str, key: &str, ocsp: Option<&[u8]>) -> Source {
        Source {
            cert: cert.into(),
            key: key.into(),
            ocsp: ocsp.map(<[u8]>::to_vec),
        }
    }

    #[test]
    fn a_pair_has_the_names_of_its_certificate_and_what_does_not_fit_is_told() {
        let names = ["Shop.example", "*.shop.example", "192.0.2.1", "2001:db8::1"];
        let made = rcgen::generate_simple_self_signed(names.map(str::to_owned)).unwrap();
        let other = rcgen::generate_simple_self_signed(["b.example".to_owned()]).unwrap();
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let provider = rustls::crypto::ring::default_provider();
        let pair = source(&cert, &key, Some(&[0x30, 3]))
            .pair(&provider)
            .unwrap();
        assert_eq!(
            pair.names,
            ["shop.example", "*.shop.example", "192.0.2.1", "2001:db8::1"]
        );
        assert_eq!(pair.key.ocsp.as_deref(), Some(&[0x30, 3][..]));
        let wrong = other.signing_key.serialize_pem();
        for (source, told) in [
            (source(&cert, &wrong, None), "do not fit"),
            (source(&cert, "", None), "no PEM"),
            (source("", &key, None), "no certificate"),
            (source(&cert, &key, Some(b"-----BEGIN")), "DER"),
        ] {
            let fault = source.pair(&provider).unwrap_err();
            assert!(fault.contains(told), "{fault}");
        }
    }
}
