//! Why TLS with an endpoint did not come about.

/// The reason. Each has one stable name and one sentence.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum TlsFault {
    /// No configured authority vouches for its certificate.
    UnknownCa,
    /// Its certificate is for another name or address.
    NameMismatch,
    /// Its certificate, or one that vouches for it, has expired.
    Expired,
    /// Its certificate, or one that vouches for it, is not valid yet.
    NotYetValid,
    /// Its certificate can't be used for another reason.
    BadCertificate,
    /// It does not believe the edge's certificate, or misses one.
    ClientCertificate,
    /// It refused with an alert about something else.
    Alert,
    /// No version, cipher or protocol in common.
    NoAgreement,
    /// What it answered is not TLS, or breaks its rules.
    Protocol,
    /// It closed within the handshake.
    Closed,
    /// The handshake was not done in time.
    TimedOut,
}

impl TlsFault {
    /// Every fault, in the order of the enum.
    pub const ALL: [Self; 11] = [
        Self::UnknownCa,
        Self::NameMismatch,
        Self::Expired,
        Self::NotYetValid,
        Self::BadCertificate,
        Self::ClientCertificate,
        Self::Alert,
        Self::NoAgreement,
        Self::Protocol,
        Self::Closed,
        Self::TimedOut,
    ];

    /// Stable name for metrics, logs and receipts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownCa => "tls-unknown-ca",
            Self::NameMismatch => "tls-name-mismatch",
            Self::Expired => "tls-expired",
            Self::NotYetValid => "tls-not-yet-valid",
            Self::BadCertificate => "tls-bad-certificate",
            Self::ClientCertificate => "tls-client-certificate",
            Self::Alert => "tls-alert",
            Self::NoAgreement => "tls-no-agreement",
            Self::Protocol => "tls-protocol",
            Self::Closed => "tls-closed",
            Self::TimedOut => "tls-timed-out",
        }
    }

    /// One sentence for people. It names no host and no certificate.
    pub const fn text(self) -> &'static str {
        match self {
            Self::UnknownCa => "no configured authority vouches for the backend's certificate",
            Self::NameMismatch => "the backend's certificate is for another name",
            Self::Expired => "the backend's certificate has expired",
            Self::NotYetValid => "the backend's certificate is not valid yet",
            Self::BadCertificate => "the backend's certificate cannot be used",
            Self::ClientCertificate => "the backend does not accept the edge's certificate",
            Self::Alert => "the backend refused the TLS handshake",
            Self::NoAgreement => "backend and edge have no TLS version or cipher in common",
            Self::Protocol => "the backend does not speak TLS as it should",
            Self::Closed => "the backend closed within the TLS handshake",
            Self::TimedOut => "the TLS handshake with the backend took too long",
        }
    }

    /// The proxy error type of RFC 9209, section 2.3, that fits best.
    pub const fn proxy_error(self) -> &'static str {
        match self {
            Self::UnknownCa
            | Self::NameMismatch
            | Self::Expired
            | Self::NotYetValid
            | Self::BadCertificate => "tls_certificate_error",
            Self::ClientCertificate | Self::Alert => "tls_alert_received",
            Self::NoAgreement | Self::Protocol => "tls_protocol_error",
            Self::Closed => "connection_terminated",
            Self::TimedOut => "connection_timeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_listed_once_with_its_own_name_and_sentence() {
        let names: std::collections::BTreeSet<_> =
            TlsFault::ALL.iter().map(|fault| fault.as_str()).collect();
        let texts: std::collections::BTreeSet<_> =
            TlsFault::ALL.iter().map(|fault| fault.text()).collect();
        assert_eq!((names.len(), texts.len()), (11, 11));
        for (at, fault) in TlsFault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, at, "in the order of the enum");
            assert!(fault.as_str().starts_with("tls-"));
        }
    }
}
