//! TLS from what is written to what is meant.

use std::path::Path;
use std::time::Duration;

use crate::settings::raw::tls::{self as raw, AuthMode, MinVersion, SessionTickets};
use crate::settings::references::beside;
use crate::settings::{ClientAuth, Tickets, TlsFiles, TlsSettings, TlsVersion};

/// What `rotate` means where it is not written.
const ROTATE: Duration = Duration::from_hours(12);

pub(super) fn settings(tls: raw::Tls, base: &Path) -> TlsSettings {
    let auth = |written: raw::ClientAuth| client_auth(&written, base);
    let files = |written: raw::Certificate| TlsFiles {
        cert: beside(base, &written.cert.0),
        key: beside(base, &written.key.0),
        ocsp: written.ocsp.map(|path| beside(base, &path.0)),
        names: written.names.0.into_iter().map(|name| name.0).collect(),
        client_auth: written.client_auth.map(auth),
    };
    TlsSettings {
        certificates: tls.certificates.0.into_iter().map(files).collect(),
        min_version: match tls.min_version {
            MinVersion::V12 => TlsVersion::V12,
            MinVersion::V13 => TlsVersion::V13,
        },
        client_auth: tls.client_auth.map(auth).unwrap_or_default(),
        tickets: match tls.session_tickets {
            SessionTickets::Off => Tickets::Off,
            SessionTickets::On { keys, rotate } => Tickets::On {
                keys: keys.map(|path| beside(base, &path)),
                rotate: rotate.unwrap_or(ROTATE),
            },
        },
    }
}

fn client_auth(written: &raw::ClientAuth, base: &Path) -> ClientAuth {
    let ca = beside(base, &written.ca);
    match written.mode {
        AuthMode::Off => ClientAuth::Off,
        AuthMode::Optional => ClientAuth::Optional { ca },
        AuthMode::Required => ClientAuth::Required { ca },
    }
}
