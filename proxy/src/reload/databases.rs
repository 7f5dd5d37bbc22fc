//! Geo databases: opened once, replaced only by something at least as good.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meridian_geo::{DATABASE_BYTES_MAX, Database, Freshness, accept_replacement};
use meridian_policies::Diagnostic;

use super::gather::Stamp;
use crate::edge::Clock;
use crate::settings::{GeoSettings, unreadable};

/// A database in use, and why its newer file was not taken, if it was not.
#[derive(Clone)]
pub(super) struct InUse {
    pub(super) database: Arc<Database>,
    pub(super) complaint: Option<Diagnostic>,
    /// Whether it was stale when it was last looked at.
    pub(super) freshness: Freshness,
    stamp: Stamp,
}

impl InUse {
    /// Whether it has become stale, or fresh, since it was looked at.
    pub(super) fn has_aged(&self) -> bool {
        self.freshness != freshness(&self.database)
    }

    /// Tells one opened database from another.
    pub(super) fn address(&self) -> *const Database {
        Arc::as_ptr(&self.database)
    }
}

/// All databases of the settings. With nothing before, each must be good;
/// later a bad or poorer one is complained of and its predecessor kept.
pub(super) fn open(
    geo: &GeoSettings,
    before: &[InUse],
    stamps: &[Stamp],
) -> Result<Vec<InUse>, Vec<Diagnostic>> {
    let mut opened = Vec::with_capacity(geo.databases.len());
    let mut faults = Vec::new();
    for (index, (path, stamp)) in geo.databases.iter().zip(stamps).enumerate() {
        match one(path, stamp.clone(), before.get(index), geo.max_age) {
            Ok(database) => opened.push(database),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        Ok(opened)
    } else {
        Err(faults)
    }
}

fn one(
    path: &Path,
    stamp: Stamp,
    before: Option<&InUse>,
    max_age: Duration,
) -> Result<InUse, Diagnostic> {
    if let Some(before) = before
        && before.stamp == stamp
    {
        return Ok(InUse {
            freshness: freshness(&before.database),
            ..before.clone()
        });
    }
    let fresh = read(path, max_age).and_then(|database| match before {
        Some(before) => accept_replacement(before.database.info(), database.info())
            .map(|()| database)
            .map_err(|fault| fault.to_string()),
        None => Ok(database),
    });
    match (fresh, before) {
        (Ok(database), _) => Ok(InUse {
            freshness: freshness(&database),
            database: Arc::new(database),
            complaint: None,
            stamp,
        }),
        (Err(fault), Some(before)) => {
            let database = before.database.clone();
            Ok(InUse {
                freshness: freshness(&database),
                database,
                complaint: Some(not_taken(path, &fault)),
                stamp,
            })
        }
        (Err(fault), None) => Err(unreadable(path, &fault)),
    }
}

/// Now.
fn freshness(database: &Database) -> Freshness {
    database.info().freshness(Clock::unix_ms() / 1_000)
}

fn not_taken(path: &Path, fault: &str) -> Diagnostic {
    let mut diagnostic = unreadable(path, fault);
    diagnostic.message = format!("the new database is not taken: {fault}");
    diagnostic.help =
        Some("the one in use stays; replace the file by a good one (rename it over)".to_owned());
    diagnostic
}

fn read(path: &Path, max_age: Duration) -> Result<Database, String> {
    let file = File::open(path).map_err(|fault| fault.to_string())?;
    let mut bytes = Vec::new();
    let most = DATABASE_BYTES_MAX as u64 + 1;
    file.take(most)
        .read_to_end(&mut bytes)
        .map_err(|fault| fault.to_string())?;
    let max_age = (!max_age.is_zero()).then_some(max_age);
    Database::open(&name(path), bytes, Clock::unix_ms() / 1_000, max_age)
        .map_err(|fault| fault.to_string())
}

/// The path as a name for logs and metrics: its last 64 visible characters.
fn name(path: &Path) -> String {
    let text: Vec<char> = path
        .to_string_lossy()
        .chars()
        .filter(char::is_ascii_graphic)
        .collect();
    text.iter().skip(text.len().saturating_sub(64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::StaleGeo;
    use crate::settings::Switch;

    fn settings(path: &Path) -> GeoSettings {
        GeoSettings {
            embedded: Switch::Off,
            databases: vec![path.into()],
            max_age: Duration::ZERO,
            stale: StaleGeo::Warn,
        }
    }

    #[test]
    fn at_the_start_a_bad_database_is_a_fault_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("geo.mmdb");
        for text in [None, Some("not a database")] {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let faults = open(&settings(&path), &[], &[Stamp::of(&path)])
                .err()
                .unwrap();
            assert!(faults[0].path.ends_with("geo.mmdb"));
        }
    }

    #[test]
    fn a_name_is_visible_and_at_most_64_bytes() {
        assert_eq!(name(Path::new("a b/ü.mmdb")), "ab/.mmdb");
        assert_eq!(name(Path::new(&"x".repeat(100))).len(), 64);
    }
}
