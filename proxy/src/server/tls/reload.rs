//! Files of TLS, read again while running.
//!
//! Promises: what can't be used is told once and its predecessor stays; a pair
//! that no client would believe does not replace one that they do; open
//! connections keep what they began with. Refuses: nothing halfway: a pair is
//! taken whole.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::pair::{self, Pair, Print, Source, Standing};
use super::resolver::{Entry, Table};
use super::{ListenerTls, Tls, Upstreams};

/// What became of one file, or is to be known about one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsChange {
    /// Certificate, authorities or ticket keys.
    pub path: PathBuf,
    /// What happened.
    pub change: Change,
}

/// What happened to a file of TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// New handshakes use it.
    Taken,
    /// It can't be used, and why; its predecessor stays.
    Kept(String),
    /// It is in use, and clients believe it no more, or not for long.
    Stands(&'static str),
}

/// How a certificate stands.
#[derive(Clone, Debug)]
pub struct CertificateStatus {
    /// Its file, as configured.
    pub certificate: String,
    /// Seconds until it expires; below 0 once it has.
    pub left: i64,
    /// `good`, `expiring`, `expired` or `not-yet-valid`.
    pub standing: &'static str,
    /// Why its file, as it is now, is not in use.
    pub fault: Option<String>,
}

/// Counts for metrics.
#[derive(Debug, Default)]
pub(super) struct Log {
    taken: AtomicU64,
    kept: AtomicU64,
}

/// What was tried last, so that it is told once.
#[derive(Debug)]
pub(super) struct Tried(Mutex<Memory>);

#[derive(Debug)]
struct Memory {
    pairs: Vec<Last>,
    /// Of authorities by group, and of the ticket keys at the end.
    others: Vec<Option<String>>,
}

#[derive(Debug)]
struct Last {
    print: Option<Print>,
    in_use: Print,
    fault: Option<String>,
    standing: Standing,
}

impl Tried {
    pub(super) fn new(prints: Vec<Print>) -> Self {
        let last = |print| Last {
            print: Some(print),
            in_use: print,
            fault: None,
            standing: Standing::Good,
        };
        Self(Mutex::new(Memory {
            pairs: prints.into_iter().map(last).collect(),
            others: Vec::new(),
        }))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tls {
    /// Reads all files again, those for endpoints too; what changed, and what
    /// is to be known. Waits for files: not for a thread that serves.
    pub fn reload(&self, upstreams: &Upstreams) -> Vec<TlsChange> {
        let mut changes = Vec::new();
        for listener in self.listeners.iter().flatten() {
            listener.reload(now(), &mut changes);
        }
        upstreams.reload(now(), &mut changes);
        for change in &changes {
            match change.change {
                Change::Taken => drop(self.reloads.taken.fetch_add(1, Ordering::Relaxed)),
                Change::Kept(_) => drop(self.reloads.kept.fetch_add(1, Ordering::Relaxed)),
                Change::Stands(_) => {}
            }
        }
        changes
    }

    /// How many files were taken, and how many could not be used.
    pub fn reloads(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.reloads.taken), read(&self.reloads.kept))
    }

    /// Every file and folder that is read.
    pub fn paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for listener in self.listeners.iter().flatten() {
            for files in &listener.settings.certificates {
                paths.extend([files.cert.clone(), files.key.clone()]);
                paths.extend(files.ocsp.clone());
            }
            let judges = listener.groups.iter().filter_map(|g| g.verifier.as_ref());
            paths.extend(judges.map(|verifier| verifier.ca.clone()));
            let keys = listener.keys.as_ref().and_then(|keys| keys.path());
            paths.extend(keys.map(Path::to_path_buf));
        }
        paths
    }

    /// How all certificates stand, each file once.
    pub fn certificates(&self) -> Vec<CertificateStatus> {
        let mut all: Vec<CertificateStatus> = Vec::new();
        for listener in self.listeners.iter().flatten() {
            for status in listener.statuses(now()) {
                if all.iter().all(|s| s.certificate != status.certificate) {
                    all.push(status);
                }
            }
        }
        all
    }
}

impl ListenerTls {
    fn reload(&self, now: i64, changes: &mut Vec<TlsChange>) {
        let mut memory = self.tried.memory();
        self.reload_pairs(now, &mut memory, changes);
        self.reload_others(&mut memory, changes);
        let table = self.table.load();
        let all = self.settings.certificates.iter().zip(table.entries());
        for ((files, entry), last) in all.zip(&mut memory.pairs) {
            let standing = entry.pair.validity.standing(now);
            stands(&files.cert, standing, &mut last.standing, changes);
        }
    }

    fn reload_pairs(&self, now: i64, memory: &mut Memory, changes: &mut Vec<TlsChange>) {
        let table = self.table.load();
        let mut entries: Vec<Entry> = table.entries().to_vec();
        let mut renewed = false;
        let all = self.settings.certificates.iter().zip(table.entries());
        for (at, ((files, in_use), last)) in all.zip(&mut memory.pairs).enumerate() {
            let source = Source::read(files);
            let print = source.as_ref().ok().map(Source::print);
            if print.is_some() && print == last.print {
                continue;
            }
            last.print = print;
            if print == Some(last.in_use) {
                last.fault = None;
                continue;
            }
            let pair = source.and_then(|source| source.pair(&self.provider));
            let pair = pair.and_then(|pair| believable(pair, &in_use.pair, now));
            match pair.and_then(|pair| self.with_pair(&entries, at, pair)) {
                Ok(with_pair) => {
                    entries = with_pair;
                    last.in_use = print.unwrap_or(last.in_use);
                    last.fault = None;
                    renewed = true;
                    changes.push(TlsChange {
                        path: files.cert.clone(),
                        change: Change::Taken,
                    });
                }
                Err(fault) => {
                    // Time, or another file, may make it good.
                    last.print = None;
                    tell(&files.cert, fault, &mut last.fault, changes);
                }
            }
        }
        if renewed {
            self.table.store(Arc::new(Table::new(entries)));
        }
    }

    /// The entries with another pair at one place, unless its names are
    /// another's under other rules.
    fn with_pair(&self, entries: &[Entry], at: usize, pair: Pair) -> Result<Vec<Entry>, String> {
        let mut entries = entries.to_vec();
        if let Some(entry) = entries.get_mut(at) {
            entry.pair = Arc::new(pair);
        }
        let table = Table::new(entries);
        match table.conflict() {
            Some(conflict) => Err(self.settings.told(&conflict)),
            None => Ok(table.entries().to_vec()),
        }
    }

    fn reload_others(&self, memory: &mut Memory, changes: &mut Vec<TlsChange>) {
        memory.others.resize(self.groups.len() + 1, None);
        let mut faults = memory.others.iter_mut();
        let mut note = |path: &Path, renewed: Result<bool, String>| {
            let Some(fault) = faults.next() else { return };
            match renewed {
                Ok(other) => {
                    *fault = None;
                    if other {
                        changes.push(TlsChange {
                            path: path.to_path_buf(),
                            change: Change::Taken,
                        });
                    }
                }
                Err(told) => tell(path, told, fault, changes),
            }
        };
        for verifier in self.groups.iter().filter_map(|g| g.verifier.as_ref()) {
            let read = pair::read(&verifier.ca);
            note(&verifier.ca, read.and_then(|bytes| verifier.renew(&bytes)));
        }
        if let Some((keys, path)) = self.keys.as_ref().and_then(|k| Some((k, k.path()?))) {
            note(path, keys.renew());
        }
    }

    fn statuses(&self, now: i64) -> Vec<CertificateStatus> {
        let memory = self.tried.memory();
        let table = self.table.load();
        let all = self.settings.certificates.iter().zip(table.entries());
        all.zip(&memory.pairs)
            .map(|((files, entry), last)| CertificateStatus {
                certificate: files.cert.display().to_string(),
                left: entry.pair.validity.until.saturating_sub(now),
                standing: entry.pair.validity.standing(now).as_str(),
                fault: last.fault.clone(),
            })
            .collect()
    }
}

/// A pair that clients believe is not replaced by one that they do not.
pub(super) fn believable(pair: Pair, in_use: &Pair, now: i64) -> Result<Pair, String> {
    let good = |standing| match standing {
        Standing::Good | Standing::Expiring => true,
        Standing::Expired | Standing::Early => false,
    };
    let standing = pair.validity.standing(now);
    if !good(standing) && good(in_use.validity.standing(now)) {
        return Err(format!("the certificate is {}", standing.as_str()));
    }
    Ok(pair)
}

/// Tells once that a certificate in use has come to stand otherwise, unless
/// that is good.
pub(super) fn stands(
    path: &Path,
    standing: Standing,
    last: &mut Standing,
    changes: &mut Vec<TlsChange>,
) {
    if standing != *last && standing != Standing::Good {
        changes.push(TlsChange {
            path: path.to_path_buf(),
            change: Change::Stands(standing.as_str()),
        });
    }
    *last = standing;
}

/// A fault is told when it is another one than before.
pub(super) fn tell(
    path: &Path,
    told: String,
    last: &mut Option<String>,
    changes: &mut Vec<TlsChange>,
) {
    if last.as_ref() != Some(&told) {
        changes.push(TlsChange {
            path: path.to_path_buf(),
            change: Change::Kept(told.clone()),
        });
    }
    *last = Some(told);
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}
