//! Which certificate a client sees.
//!
//! Promises: the newest one of the host that the client names, else the
//! listener's first; where a host has several keys, one whose signatures the
//! client can verify, RSA last; a host is never served under another host's
//! rules about client certificates.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::SignatureAlgorithm;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::names::Names;
use super::pair::Pair;

/// All certificates of a listener at one moment.
#[derive(Debug)]
pub(super) struct Table {
    names: Names,
    entries: Vec<Entry>,
}

/// One certificate in use.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) pair: Arc<Pair>,
    /// Names from the settings; empty: those of the certificate.
    pub(super) names: Vec<String>,
    /// Number of the rules about client certificates.
    pub(super) group: usize,
}

impl Entry {
    /// What it stands for.
    fn names(&self) -> &[String] {
        if self.names.is_empty() {
            &self.pair.names
        } else {
            &self.names
        }
    }

    fn is_rsa(&self) -> bool {
        self.pair.key.key.algorithm() == SignatureAlgorithm::RSA
    }

    fn fits(&self, schemes: &[SignatureScheme]) -> bool {
        self.pair.key.key.choose_scheme(schemes).is_some()
    }
}

/// Two certificates with one name under different rules about clients.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Conflict {
    /// What both stand for.
    pub(super) name: String,
    /// Their numbers, the smaller one first.
    pub(super) between: (usize, usize),
}

impl Table {
    /// Lines the names up.
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        let mut names = Names::default();
        for (at, entry) in entries.iter().enumerate() {
            for name in entry.names() {
                names.add(name, at);
            }
        }
        Self { names, entries }
    }

    /// Why nobody could say under which rules a host is.
    pub(super) fn conflict(&self) -> Option<Conflict> {
        let entries = self.entries.iter().enumerate();
        let mut all = entries.flat_map(|(at, entry)| entry.names().iter().map(move |n| (at, n)));
        all.find_map(|(at, name)| {
            let first = *self.names.named(name).first()?;
            (self.group(first) != self.group(at)).then(|| Conflict {
                name: name.clone(),
                between: (first, at),
            })
        })
    }

    /// Number of the certificate that stands for a host; the first of several.
    pub(super) fn find(&self, host: &str) -> Option<usize> {
        self.names.find(host).first().copied()
    }

    /// Number of the certificate whose rules a client is under.
    pub(super) fn choose(&self, host: Option<&str>) -> usize {
        host.and_then(|host| self.find(host)).unwrap_or(0)
    }

    /// The certificates that a client may see, of which [`Table::choose`]
    /// gives the first.
    fn candidates(&self, host: Option<&str>) -> impl Iterator<Item = &Entry> + Clone {
        let found = host.map_or(&[][..], |host| self.names.find(host));
        let all = match found {
            [] => self.beside_the_first(),
            found => found,
        };
        all.iter().filter_map(|at| self.entries.get(*at))
    }

    /// The first entry, and those that share its first name.
    fn beside_the_first(&self) -> &[usize] {
        let name = self.entries.first().and_then(|entry| entry.names().first());
        match name.map_or(&[][..], |name| self.names.named(name)) {
            [] => &[0],
            all => all,
        }
    }

    /// The certificate for a client that verifies these signatures. When it
    /// verifies none of them it sees the first, and says so.
    fn resolve(&self, host: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Entry> {
        let all = self.candidates(host);
        let fitting = all.clone().filter(|entry| entry.fits(schemes));
        let modern = fitting.clone().find(|entry| !entry.is_rsa());
        modern
            .or_else(|| fitting.clone().next())
            .or_else(|| all.clone().next())
    }

    /// The rules about client certificates of certificate number `at`.
    pub(super) fn group(&self, at: usize) -> usize {
        self.entries.get(at).map_or(0, |entry| entry.group)
    }

    /// The certificates in the order of the settings.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// Chooses among the certificates of one group.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) table: Arc<ArcSwap<Table>>,
    pub(super) group: usize,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.table.load();
        let entry = table.resolve(hello.server_name(), hello.signature_schemes())?;
        // A reload between hello and here may have moved the name.
        (entry.group == self.group).then(|| Arc::clone(&entry.pair.key))
    }
}
