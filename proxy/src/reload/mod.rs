//! From a folder of policy files to a live generation.
//!
//! Promises: a set with a fault changes nothing and is reported with file,
//! line and column; a good one is live within a second, in one swap; buckets,
//! ejections and latencies survive. Refuses: half of a set, and a geo database
//! that is worse than the one in use (the last good one is kept).

mod compile;
mod databases;
#[cfg(test)]
mod examples;
mod gather;
mod log;
mod watch;

use std::sync::Arc;

use meridian_geo::Freshness;
use meridian_policies::{Diagnostic, State};

pub use self::compile::{Candidate, candidate};
use self::compile::{Frame, attempt};
use self::databases::InUse;
use self::log::Turn;
pub use self::log::{Accepted, GeoAge, Rejected, ReloadLog};
pub use self::watch::{News, Pace, Report, Watcher};
use crate::edge::{Clock, Edge, Generation};
use crate::settings::Settings;

/// How a reload ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// What is on disk is what was tried last.
    Unchanged,
    /// What is on disk is what is live, after a rejected set in between.
    Mended,
    /// A new generation is live.
    Live {
        /// Its number.
        generation: u64,
        /// Databases that were not taken; their predecessors stay in use.
        kept: Vec<Diagnostic>,
    },
    /// Nothing changed.
    Rejected(Vec<Diagnostic>),
}

/// Reads, compiles and lines up a generation; nothing becomes live.
pub fn load(
    settings: &Settings,
    number: u64,
    state: &State,
    clock: &Clock,
) -> Result<Generation, Vec<Diagnostic>> {
    let frame = Frame {
        settings,
        state,
        clock,
        before: &[],
        live: None,
    };
    attempt(&frame, number)
        .map(|loaded| loaded.generation)
        .map_err(|failed| failed.faults)
}

/// The first generation, and the log that knows what it came from.
pub fn first(
    settings: &Settings,
    state: &State,
    clock: &Clock,
) -> Result<(Generation, ReloadLog), Vec<Diagnostic>> {
    let frame = Frame {
        settings,
        state,
        clock,
        before: &[],
        live: None,
    };
    let loaded = attempt(&frame, 1).map_err(|failed| failed.faults)?;
    let aged = ages(&loaded.databases);
    let turn = Turn {
        tried: loaded.seen.clone(),
        live: loaded.seen,
        databases: loaded.databases,
    };
    let log = ReloadLog::started((turn, aged), loaded.generation.loaded_unix_ms);
    Ok((loaded.generation, log))
}

/// Reads the files again and makes them live if they are good and new. Waits
/// for files and compiles: not for a thread that serves.
pub fn reload(edge: &Edge) -> Outcome {
    let mut turn = edge.reloads.turn();
    let aged = turn.databases.iter().any(InUse::has_aged);
    if !aged && turn.tried.still(&edge.settings) {
        return Outcome::Unchanged;
    }
    let live = edge.generation();
    let before = std::mem::take(&mut turn.databases);
    let frame = Frame {
        settings: &edge.settings,
        state: &edge.state,
        clock: &edge.clock,
        before: &before,
        live: Some(&live),
    };
    match attempt(&frame, live.number + 1) {
        Ok(loaded) if turn.live.same_files(&loaded.seen) && same(&before, &loaded.databases) => {
            let kept = loaded.complaints();
            turn.tried = loaded.seen;
            turn.databases = loaded.databases;
            edge.reloads.left_as_is(&kept);
            if kept.is_empty() {
                Outcome::Mended
            } else {
                Outcome::Rejected(kept)
            }
        }
        Ok(loaded) if let Some(fault) = objection(edge, &loaded.generation) => {
            turn.tried = loaded.seen;
            turn.databases = before;
            let faults = vec![fault];
            edge.reloads.rejected(&faults);
            Outcome::Rejected(faults)
        }
        Ok(loaded) => {
            let kept = loaded.complaints();
            let generation = loaded.generation.number;
            let at_unix_ms = loaded.generation.loaded_unix_ms;
            edge.reloads.accepted(
                Accepted {
                    generation,
                    at_unix_ms,
                },
                (&kept, ages(&loaded.databases)),
            );
            *turn = Turn {
                tried: loaded.seen.clone(),
                live: loaded.seen,
                databases: loaded.databases,
            };
            edge.live.store(Arc::new(loaded.generation));
            Outcome::Live { generation, kept }
        }
        Err(failed) => {
            turn.tried = failed.seen;
            turn.databases = before;
            edge.reloads.rejected(&failed.faults);
            Outcome::Rejected(failed.faults)
        }
    }
}

fn ages(databases: &[InUse]) -> Vec<GeoAge> {
    let one = |database: &InUse| GeoAge {
        name: database.database.info().name.clone(),
        built: database.database.info().built,
        stale: database.freshness == Freshness::Stale,
    };
    databases.iter().map(one).collect()
}

/// What the guard has against a generation.
fn objection(edge: &Edge, generation: &Generation) -> Option<Diagnostic> {
    let recorder = edge.telemetry.recorder()?;
    let said = recorder.objection(&generation.snapshot)?;
    Some(Diagnostic {
        path: edge.settings.policies.display().to_string(),
        line: 0,
        column: 0,
        message: format!("recording.guard refuses the change: {said}"),
        help: Some(
            "see it whole with `meridian diff`; if it is meant, change less at once, or raise the share and restart"
                .to_owned(),
        ),
        frame: String::new(),
    })
}

/// Whether the databases in use are still the very same.
fn same(before: &[InUse], after: &[InUse]) -> bool {
    let identity = |database: &InUse| (database.address(), database.freshness);
    before.iter().map(identity).eq(after.iter().map(identity))
}

#[cfg(test)]
mod tests;
