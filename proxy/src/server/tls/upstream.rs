//! TLS toward endpoints: whom the edge believes, and how it shows itself.
//!
//! Promises: every connection to an `https` endpoint is made with a verified
//! certificate of the name or address that the policies say, resumed sessions
//! included; files are read again while running, and what can't be used stays
//! out. Refuses: any connection without a name to verify (a name is made when
//! the policies are read, or they are not taken), early data, and everything
//! but HTTP/1.1 inside.

mod fault;
mod profile;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use meridian_policies::{
    Diagnostic, EndpointIndex, EndpointTls, Snapshot, TlsFault, UpstreamTls, UpstreamTlsVersion,
};
use ring::digest::{SHA256, digest};
use rustls::HandshakeKind;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use self::fault::refused_afterwards;
use self::fault::{of_certificate, of_handshake};
use self::profile::{Files, Profile};
use super::reload::{CertificateStatus, TlsChange, now};
use crate::settings::{TlsFiles, TlsVersion, unreadable};

/// How the endpoints of one generation are spoken to over TLS.
#[derive(Default)]
pub struct Upstreams {
    /// By place in [`Snapshot::upstream_tls`].
    profiles: Vec<Arc<Profile>>,
    /// By endpoint; empty where none is spoken to over TLS.
    secured: Vec<Option<Secured>>,
}

/// One endpoint, as TLS sees it.
pub struct Secured {
    profile: Arc<Profile>,
    name: ServerName<'static>,
    /// Of the name.
    salt: u64,
}

/// A connection whose other end is who it has to be.
pub struct Verified {
    /// The connection.
    pub stream: TlsStream<TcpStream>,
    /// [`Secured::print`] of the settings it was made with.
    pub print: u64,
}

impl Upstreams {
    /// Reads what the endpoints of a snapshot need. What `before` has read
    /// already stays as it is there. Paths are relative to `folder`.
    ///
    /// # Errors
    /// One for each file that can't be used.
    pub fn load(
        snapshot: &Snapshot,
        folder: &Path,
        before: Option<&Self>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let (mut profiles, mut faults) = (Vec::new(), Vec::new());
        for settings in snapshot.upstream_tls() {
            let files = files(settings, folder);
            let known = before.and_then(|before| before.profile(&files));
            match known.map_or_else(|| Profile::load(files).map(Arc::new), Ok) {
                Ok(profile) => profiles.push(profile),
                Err((path, told)) => faults.push(unreadable(&path, &told)),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut secured = Vec::new();
        if !profiles.is_empty() {
            for endpoint in snapshot.endpoints() {
                let tls = endpoint.tls.as_ref();
                match tls.map(|tls| Secured::new(tls, &profiles)).transpose() {
                    Ok(one) => secured.push(one),
                    Err(told) => faults.push(unreadable(folder, &told)),
                }
            }
        }
        if faults.is_empty() {
            Ok(Self { profiles, secured })
        } else {
            Err(faults)
        }
    }

    /// Files that a snapshot names, for noticing when a set that could not be
    /// used may be usable.
    pub fn named(snapshot: &Snapshot, folder: &Path) -> Vec<PathBuf> {
        let all = snapshot.upstream_tls().iter();
        all.flat_map(|settings| files(settings, folder).paths())
            .collect()
    }

    fn profile(&self, files: &Files) -> Option<Arc<Profile>> {
        self.profiles
            .iter()
            .find(|profile| profile.files() == files)
            .cloned()
    }

    /// How this endpoint is spoken to; `None`: in plain text.
    #[inline]
    pub fn secured(&self, endpoint: EndpointIndex) -> Option<&Secured> {
        self.secured.get(endpoint.index())?.as_ref()
    }

    /// Reads all files again.
    pub(super) fn reload(&self, now: i64, changes: &mut Vec<TlsChange>) {
        for profile in &self.profiles {
            profile.reload(now, changes);
        }
    }

    /// Every file that is read.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.profiles.iter().flat_map(|p| p.files().paths())
    }

    /// How the edge's own certificates stand.
    pub fn certificates(&self) -> impl Iterator<Item = CertificateStatus> {
        let now = now();
        self.profiles.iter().filter_map(move |p| p.status(now))
    }
}

fn files(settings: &UpstreamTls, folder: &Path) -> Files {
    Files {
        ca: folder.join(&settings.ca),
        client: settings.client.as_ref().map(|client| TlsFiles {
            cert: folder.join(&client.cert),
            key: folder.join(&client.key),
            ocsp: None,
            names: Vec::new(),
            client_auth: None,
        }),
        floor: match settings.min_version {
            UpstreamTlsVersion::V12 => TlsVersion::V12,
            UpstreamTlsVersion::V13 => TlsVersion::V13,
        },
    }
}

impl Secured {
    fn new(tls: &EndpointTls, profiles: &[Arc<Profile>]) -> Result<Self, String> {
        let name = ServerName::try_from(tls.server_name.clone())
            .map_err(|_| format!("`{}` is no name of a certificate", tls.server_name))?;
        let profile = profiles
            .get(tls.settings)
            .ok_or("no such settings of TLS")?;
        Ok(Self {
            profile: Arc::clone(profile),
            name,
            salt: short(digest(&SHA256, tls.server_name.as_bytes()).as_ref()),
        })
    }

    /// Tells apart with which settings, files and name a connection is made at
    /// this moment. Never 0, which stands for plain text.
    pub fn print(&self) -> u64 {
        self.mark(self.profile.terms().print)
    }

    fn mark(&self, print: u64) -> u64 {
        (print ^ self.salt) | 1
    }

    /// Makes TLS of a connection. The caller holds the deadline.
    ///
    /// # Errors
    /// Why it is no connection that may be used.
    pub async fn handshake(&self, socket: TcpStream) -> Result<Verified, TlsFault> {
        let terms = self.profile.terms();
        let connector = TlsConnector::from(Arc::clone(&terms.config));
        let stream = connector
            .connect(self.name.clone(), socket)
            .await
            .map_err(|error| of_handshake(&error))?;
        let (_, session) = stream.get_ref();
        // A resumed session brings the chain of its beginning, unjudged.
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            let chain = session.peer_certificates().unwrap_or_default();
            let (leaf, others) = chain.split_first().ok_or(TlsFault::Protocol)?;
            terms
                .judge
                .verify_server_cert(leaf, others, &self.name, &[], UnixTime::now())
                .map_err(|error| of_certificate(&error))?;
        }
        Ok(Verified {
            stream,
            print: self.mark(terms.print),
        })
    }
}

/// The first 64 bits of a digest.
fn short(digest: &[u8]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |all, byte| (all << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settings with one authority, in a folder that lives as long.
    fn profile() -> (tempfile::TempDir, Vec<Arc<Profile>>) {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let files = Files {
            ca,
            client: None,
            floor: TlsVersion::V12,
        };
        let profile = Profile::load(files).map_err(|(_, told)| told).unwrap();
        (folder, vec![Arc::new(profile)])
    }

    fn named(server_name: &str, settings: usize) -> EndpointTls {
        EndpointTls {
            settings,
            server_name: server_name.to_owned(),
        }
    }

    #[test]
    fn there_is_no_connection_without_a_name_to_verify() {
        let (_folder, profiles) = profile();
        for name in ["", " ", ".", "a b", "*.a", "[::1]"] {
            assert!(Secured::new(&named(name, 0), &profiles).is_err(), "{name}");
        }
        assert!(Secured::new(&named("a", 1), &profiles).is_err());
        let address = Secured::new(&named("127.0.0.1", 0), &profiles).unwrap();
        assert!(matches!(address.name, ServerName::IpAddress(_)));
    }

    #[test]
    fn a_print_tells_names_and_authorities_apart_and_is_never_that_of_plain_text() {
        let ((_one, first), (_two, second)) = (profile(), profile());
        let print =
            |name, profiles: &Vec<_>| Secured::new(&named(name, 0), profiles).unwrap().print();
        let prints = [print("a", &first), print("b", &first), print("a", &second)];
        let distinct: std::collections::BTreeSet<_> = prints.into_iter().collect();
        assert_eq!(distinct.len(), 3);
        assert!(!distinct.contains(&0));
        assert_eq!(print("a", &first), prints[0]);
    }
}
