//! A candidate set of policies, decided with beside the live one.
//!
//! Promises: the candidate sees what the live decision has seen and changes
//! nothing; a candidate with a fault is told, and the last good one goes on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use meridian_policies::replay::{Change, Recorded, decide_again};
use meridian_policies::{Diagnostic, Snapshot};
use serde_json::json;

use crate::pipeline::events::notice;
use crate::reload::{Candidate, candidate};

/// How the candidate's decisions compare with the live ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Digest of the candidate that decides.
    pub digest: String,
    /// Whether the folder holds a newer set, with a fault.
    pub faulty: bool,
    /// Decisions by what became of them; the names are those of
    /// [`Change::as_str`], and `unchecked`.
    pub decisions: Vec<(&'static str, u64)>,
}

/// The candidate and its counts.
#[derive(Debug)]
pub(super) struct Shadow {
    place: Option<(PathBuf, String)>,
    standing: Mutex<Standing>,
    counts: [AtomicU64; 6],
}

#[derive(Default)]
struct Standing {
    /// Fingerprint of the set that was tried last.
    tried: Option<u64>,
    snapshot: Option<Snapshot>,
    faulty: bool,
}

impl std::fmt::Debug for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standing")
            .field("tried", &self.tried)
            .field("faulty", &self.faulty)
            .finish_non_exhaustive()
    }
}

const NAMES: [&str; 6] = [
    Change::Same.as_str(),
    Change::Moved.as_str(),
    Change::NewlyRefused.as_str(),
    Change::NewlyAllowed.as_str(),
    Change::Otherwise.as_str(),
    "unchecked",
];

impl Shadow {
    /// Compiles the candidate, if there is one.
    pub(super) fn new(folder: Option<&Path>, region: &str) -> io::Result<Self> {
        let shadow = Self {
            place: folder.map(|folder| (folder.to_path_buf(), region.to_owned())),
            standing: Mutex::default(),
            counts: Default::default(),
        };
        match shadow.try_folder() {
            Some(faults) => Err(io::Error::other(format!(
                "recording.shadow: {}",
                Diagnostic::in_one_line(&faults)
            ))),
            None => Ok(shadow),
        }
    }

    /// Takes a changed candidate over.
    pub(super) fn look(&self) {
        if let Some(faults) = self.try_folder() {
            let message = format!(
                "shadow policies rejected: {}",
                Diagnostic::in_one_line(&faults)
            );
            let place = json!({ "shadow": self.place.as_ref().map(|(folder, _)| folder) });
            notice("ERROR", &message, &place);
        }
    }

    /// The faults of a changed candidate, once.
    fn try_folder(&self) -> Option<Vec<Diagnostic>> {
        let (folder, region) = self.place.as_ref()?;
        let mut standing = self.standing();
        match candidate(folder, region, standing.tried) {
            Candidate::Same => None,
            Candidate::Good(print, snapshot) => {
                *standing = Standing {
                    tried: Some(print),
                    snapshot: Some(*snapshot),
                    faulty: false,
                };
                None
            }
            Candidate::Faulty(print, faults) => {
                standing.tried = Some(print);
                standing.faulty = true;
                Some(faults)
            }
        }
    }

    /// Lets the candidate decide.
    pub(super) fn compare(&self, recorded: &Recorded) {
        let standing = self.standing();
        let Some(snapshot) = &standing.snapshot else {
            return;
        };
        let name = decide_again(snapshot, recorded)
            .map_or("unchecked", |then| Change::of(recorded, &then).as_str());
        let counts = NAMES.iter().zip(&self.counts);
        for (_, count) in counts.filter(|(known, _)| **known == name) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// `None` without a candidate.
    pub(super) fn agreement(&self) -> Option<Agreement> {
        let standing = self.standing();
        let snapshot = standing.snapshot.as_ref()?;
        let counts = NAMES.iter().zip(&self.counts);
        Some(Agreement {
            digest: snapshot.digest().to_owned(),
            faulty: standing.faulty,
            decisions: counts
                .map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
                .collect(),
        })
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
