//! What became of the sets of files that were tried.
//!
//! Promises a bounded memory: the last of each kind, whole, and two counts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use meridian_policies::Diagnostic;

use super::databases::InUse;
use super::gather::Seen;
use crate::edge::Clock;

/// Most diagnostics kept of one rejected set.
const DIAGNOSTICS_MAX: usize = 64;

/// The set that is live.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Accepted {
    /// Its number, from 1.
    pub generation: u64,
    /// Milliseconds since 1970.
    pub at_unix_ms: u64,
}

/// A set that is not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejected {
    /// Milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Why; at most 64, the first ones.
    pub diagnostics: Vec<Diagnostic>,
}

/// The reloads of a process, and whose turn it is to do one.
pub struct ReloadLog {
    turn: Mutex<Turn>,
    book: Mutex<Book>,
}

/// What was tried last and what is live. Held for the time of a reload, so
/// that there is one at a time.
pub(super) struct Turn {
    pub(super) tried: Seen,
    pub(super) live: Seen,
    pub(super) databases: Vec<InUse>,
}

/// A geo database of the live generation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GeoAge {
    /// Its name.
    pub name: String,
    /// When it was built, seconds since 1970.
    pub built: u64,
    /// Older than `geo.max_age`.
    pub stale: bool,
}

struct Book {
    accepted: Accepted,
    databases: Vec<GeoAge>,
    standing: Option<Rejected>,
    accepted_count: u64,
    rejected_count: u64,
}

/// A panic while holding either lock left them whole: both are replaced in
/// single assignments.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ReloadLog {
    /// A process whose first generation is live.
    pub(super) fn started((turn, databases): (Turn, Vec<GeoAge>), at_unix_ms: u64) -> Self {
        let accepted = Accepted {
            generation: 1,
            at_unix_ms,
        };
        let book = Book {
            accepted,
            databases,
            standing: None,
            accepted_count: 1,
            rejected_count: 0,
        };
        Self {
            turn: Mutex::new(turn),
            book: Mutex::new(book),
        }
    }

    /// The geo databases of the live generation, in order.
    pub fn databases(&self) -> Vec<GeoAge> {
        locked(&self.book).databases.clone()
    }

    /// The last set that was accepted.
    pub fn accepted_last(&self) -> Accepted {
        locked(&self.book).accepted
    }

    /// The rejected set that still lies on disk; `None` when what lies there
    /// is live.
    pub fn standing(&self) -> Option<Rejected> {
        locked(&self.book).standing.clone()
    }

    /// How many sets were accepted (the first one counts) and rejected.
    pub fn counts(&self) -> (u64, u64) {
        let book = locked(&self.book);
        (book.accepted_count, book.rejected_count)
    }

    pub(super) fn turn(&self) -> MutexGuard<'_, Turn> {
        locked(&self.turn)
    }

    /// A generation is about to go live, with complaints of its databases.
    pub(super) fn accepted(
        &self,
        accepted: Accepted,
        (kept, databases): (&[Diagnostic], Vec<GeoAge>),
    ) {
        let mut book = locked(&self.book);
        book.accepted = accepted;
        book.databases = databases;
        book.accepted_count += 1;
        book.standing = (!kept.is_empty()).then(|| rejection(kept));
    }

    pub(super) fn rejected(&self, faults: &[Diagnostic]) {
        let mut book = locked(&self.book);
        book.rejected_count += 1;
        book.standing = Some(rejection(faults));
    }

    /// What lies on disk changes nothing: it is what is live again, or only
    /// databases that were not taken.
    pub(super) fn left_as_is(&self, kept: &[Diagnostic]) {
        let mut book = locked(&self.book);
        book.rejected_count += u64::from(!kept.is_empty());
        book.standing = (!kept.is_empty()).then(|| rejection(kept));
    }
}

fn rejection(faults: &[Diagnostic]) -> Rejected {
    let diagnostics = faults.iter().take(DIAGNOSTICS_MAX).cloned().collect();
    Rejected {
        at_unix_ms: Clock::unix_ms(),
        diagnostics,
    }
}
