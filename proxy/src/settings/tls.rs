//! TLS of a listener, as it is meant.

use std::path::PathBuf;
use std::time::Duration;

/// How a listener does TLS.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// At least one, at most 256; the first one serves clients that name no
    /// host, or an unknown one.
    pub certificates: Vec<TlsFiles>,
    /// Older versions are refused.
    pub min_version: TlsVersion,
    /// Whether clients are asked for a certificate; hosts may differ.
    pub client_auth: ClientAuth,
    /// How sessions are resumed.
    pub tickets: Tickets,
}

/// PEM files of one certificate chain and its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// Chain, leaf first.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// OCSP answer in DER, stapled as it is.
    pub ocsp: Option<PathBuf>,
    /// Host names it is chosen for, lower case, `*.` for one label; empty: the
    /// names in the certificate. At most 256.
    pub names: Vec<String>,
    /// For these hosts, in place of the listener's.
    pub client_auth: Option<ClientAuth>,
}

/// A floor of protocol versions.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    V12,
    /// TLS 1.3 alone.
    V13,
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum ClientAuth {
    /// They are not.
    #[default]
    Off,
    /// They are; without one they are served all the same.
    Optional {
        /// PEM file of the authorities that vouch for clients.
        ca: PathBuf,
    },
    /// They are; without one there is no connection.
    Required {
        /// PEM file of the authorities that vouch for clients.
        ca: PathBuf,
    },
}

impl ClientAuth {
    /// The file of authorities.
    pub fn ca(&self) -> Option<&PathBuf> {
        match self {
            Self::Off => None,
            Self::Optional { ca } | Self::Required { ca } => Some(ca),
        }
    }
}

/// How sessions are resumed. Always without state of the process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Tickets {
    /// They are not.
    Off,
    /// By tickets.
    On {
        /// A file of keys, or a folder of such files, shared by replicas;
        /// `None`: keys of the process's own.
        keys: Option<PathBuf>,
        /// Oldest ticket that is taken; 1 minute to 7 days. Without `keys`
        /// also how often a new key is made.
        rotate: Duration,
    },
}

impl Default for Tickets {
    fn default() -> Self {
        Self::On {
            keys: None,
            rotate: Duration::from_hours(12),
        }
    }
}
