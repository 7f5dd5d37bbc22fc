//! Which certificate a client sees.
//!
//! Promises: the newest one of the host that the client names, else the
//! listener's first; a host is never served under another host's rules about
//! client certificates.

use std::sync::Arc;

use arc_swap::ArcSwap;
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

impl Table {
    /// Lines the names up.
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        let mut names = Names::default();
        for (at, entry) in entries.iter().enumerate() {
            let all = if entry.names.is_empty() {
                &entry.pair.names
            } else {
                &entry.names
            };
            for name in all {
                names.add(name, at);
            }
        }
        Self { names, entries }
    }

    /// Number of the certificate that stands for a host.
    pub(super) fn find(&self, host: &str) -> Option<usize> {
        self.names.find(host)
    }

    /// Number of the certificate that a client sees.
    pub(super) fn choose(&self, host: Option<&str>) -> usize {
        host.and_then(|host| self.find(host)).unwrap_or(0)
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
        let entry = table.entries.get(table.choose(hello.server_name()))?;
        // A reload between hello and here may have moved the name.
        (entry.group == self.group).then(|| Arc::clone(&entry.pair.key))
    }
}
