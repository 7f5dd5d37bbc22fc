//! What rustls says, in the words of the policies.

use std::io;

use meridian_policies::TlsFault;
use rustls::{AlertDescription, CertificateError, Error};

/// Why a handshake did not come about.
pub(super) fn of_handshake(error: &io::Error) -> TlsFault {
    match inner(error) {
        Some(error) => of(error),
        None => TlsFault::Closed,
    }
}

/// With TLS 1.3 an endpoint judges the edge's certificate only after the
/// edge's side of the handshake is done: what it says of it is the first thing
/// that is read, and nothing that was sent has been handled.
pub fn refused_afterwards(error: &io::Error) -> Option<TlsFault> {
    let Some(Error::AlertReceived(alert)) = inner(error) else {
        return None;
    };
    is_about_certificates(*alert).then_some(TlsFault::ClientCertificate)
}

fn inner(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rustls adds variants")]
fn of(error: &Error) -> TlsFault {
    match error {
        Error::InvalidCertificate(_) => of_certificate(error),
        Error::AlertReceived(alert) if is_about_certificates(*alert) => TlsFault::ClientCertificate,
        Error::AlertReceived(
            AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity
            | AlertDescription::NoApplicationProtocol,
        )
        | Error::PeerIncompatible(_)
        | Error::NoApplicationProtocol => TlsFault::NoAgreement,
        Error::AlertReceived(_) => TlsFault::Alert,
        Error::NoCertificatesPresented => TlsFault::BadCertificate,
        _ => TlsFault::Protocol,
    }
}

/// Why a certificate is not believed.
#[expect(clippy::wildcard_enum_match_arm, reason = "rustls adds variants")]
pub(super) fn of_certificate(error: &Error) -> TlsFault {
    let Error::InvalidCertificate(fault) = error else {
        return TlsFault::BadCertificate;
    };
    match fault {
        CertificateError::UnknownIssuer => TlsFault::UnknownCa,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFault::NameMismatch
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsFault::NotYetValid
        }
        _ => TlsFault::BadCertificate,
    }
}

fn is_about_certificates(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(error: Error) -> TlsFault {
        of_handshake(&io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn each_way_to_fail_has_its_own_name() {
        for (error, fault) in [
            (CertificateError::UnknownIssuer, TlsFault::UnknownCa),
            (CertificateError::NotValidForName, TlsFault::NameMismatch),
            (CertificateError::Expired, TlsFault::Expired),
            (CertificateError::NotValidYet, TlsFault::NotYetValid),
            (CertificateError::BadSignature, TlsFault::BadCertificate),
            (CertificateError::Revoked, TlsFault::BadCertificate),
        ] {
            assert_eq!(handshake(Error::InvalidCertificate(error)), fault);
        }
        for (alert, fault) in [
            (
                AlertDescription::CertificateRequired,
                TlsFault::ClientCertificate,
            ),
            (AlertDescription::UnknownCA, TlsFault::ClientCertificate),
            (AlertDescription::ProtocolVersion, TlsFault::NoAgreement),
            (AlertDescription::UnrecognisedName, TlsFault::Alert),
        ] {
            assert_eq!(handshake(Error::AlertReceived(alert)), fault);
        }
        assert_eq!(handshake(Error::DecryptError), TlsFault::Protocol);
        let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(of_handshake(&cut), TlsFault::Closed);
    }

    #[test]
    fn only_a_word_about_the_certificate_undoes_a_handshake() {
        let said = |alert| {
            let error = Error::AlertReceived(alert);
            refused_afterwards(&io::Error::new(io::ErrorKind::InvalidData, error))
        };
        assert_eq!(
            said(AlertDescription::CertificateRequired),
            Some(TlsFault::ClientCertificate)
        );
        assert_eq!(said(AlertDescription::InternalError), None);
        assert_eq!(
            refused_afterwards(&io::ErrorKind::ConnectionReset.into()),
            None
        );
    }
}
