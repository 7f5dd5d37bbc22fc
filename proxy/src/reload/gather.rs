//! Reads what a generation is made of, and tells whether it changed.
//!
//! Promises: one consistent set (read until two readings agree), bounded in
//! files and bytes. Refuses: hidden files, which are editors' and mounts' own.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use meridian_policies::{Diagnostic, SourceFile};

use crate::settings::{Settings, read_text, unreadable};

/// Most policy files, and most bytes in all of them: 32 MiB.
const FILES_MAX: usize = 256;
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Readings until a folder that keeps changing is taken as it is.
const READINGS_MAX: usize = 5;

/// Tells whether what was read before would be read again.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Seen {
    /// Names and texts of the policy files; 0 when they could not be read.
    pub(super) policies: u64,
    /// Files that values refer to (`file:PATH`), with their contents.
    pub(super) references: Vec<(PathBuf, u64)>,
    /// Geo databases, in order.
    pub(super) databases: Vec<Stamp>,
}

impl Seen {
    /// Whether policies and what they refer to are the same in both.
    pub(super) fn same_files(&self, other: &Self) -> bool {
        self.policies == other.policies && self.references == other.references
    }

    /// Whether the files are what they were.
    pub(super) fn still(&self, settings: &Settings) -> bool {
        let now = policies(&settings.policies).map_or(0, |sources| fingerprint_all(&sources));
        now == self.policies
            && self
                .references
                .iter()
                .all(|(path, print)| fingerprint_of(path) == *print)
            && stamps(settings) == self.databases
    }
}

/// A large file's identity, without reading it. A missing file has none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Stamp(Option<(u64, u64, u64, i64, i64)>);

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        let meta = std::fs::metadata(path).ok();
        Self(meta.map(|m| (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec())))
    }
}

/// The stamps of all databases, in order.
pub(super) fn stamps(settings: &Settings) -> Vec<Stamp> {
    settings
        .geo
        .databases
        .iter()
        .map(|path| Stamp::of(path))
        .collect()
}

/// A hash that tells texts apart within this process; nothing is kept of it.
pub(super) fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The same of a file's text; unreadable files have their fault's.
pub(super) fn fingerprint_of(path: &Path) -> u64 {
    fingerprint(&read_text(path).unwrap_or_else(|fault| fault))
}

/// The same of a whole set.
pub(super) fn fingerprint_all(sources: &[SourceFile]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for source in sources {
        (&source.path, &source.text).hash(&mut hasher);
    }
    hasher.finish()
}

/// All policy files of a folder by name, as one consistent reading.
pub(super) fn policies(folder: &Path) -> Result<Vec<SourceFile>, Vec<Diagnostic>> {
    let mut reading = read_folder(folder)?;
    for _ in 1..READINGS_MAX {
        let again = read_folder(folder)?;
        let settled = fingerprint_all(&again) == fingerprint_all(&reading);
        reading = again;
        if settled {
            break;
        }
    }
    Ok(reading)
}

fn read_folder(folder: &Path) -> Result<Vec<SourceFile>, Vec<Diagnostic>> {
    let names = names(folder).map_err(|fault| vec![unreadable(folder, &fault)])?;
    let mut sources = Vec::with_capacity(names.len());
    let mut faults = Vec::new();
    let mut bytes = 0;
    for path in names {
        match read_text(&path) {
            Ok(text) => {
                bytes += text.len();
                sources.push(SourceFile {
                    path: path.display().to_string(),
                    text,
                });
            }
            Err(fault) => faults.push(unreadable(&path, &fault)),
        }
        if bytes > BYTES_MAX {
            let fault = format!("its policy files have more than {BYTES_MAX} bytes");
            return Err(vec![unreadable(folder, &fault)]);
        }
    }
    if faults.is_empty() {
        Ok(sources)
    } else {
        Err(faults)
    }
}

/// Paths of `*.yaml` and `*.yml`, sorted.
fn names(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|fault| fault.to_string())? {
        let path = entry.map_err(|fault| fault.to_string())?.path();
        if is_policy_file(&path) {
            names.push(path);
        }
        if names.len() > FILES_MAX {
            return Err(format!("more than {FILES_MAX} policy files"));
        }
    }
    names.sort();
    Ok(names)
}

fn is_policy_file(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let kind = path
        .extension()
        .and_then(|kind| kind.to_str())
        .unwrap_or_default();
    !name.starts_with('.') && matches!(kind, "yaml" | "yml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_files_are_read_in_order_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "b.yaml",
            "a.yaml",
            "c.yml",
            ".hidden.yaml",
            "a.yaml~",
            "notes.txt",
        ] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let texts: Vec<String> = policies(folder.path())
            .unwrap()
            .into_iter()
            .map(|source| source.text)
            .collect();
        assert_eq!(texts, ["a.yaml", "b.yaml", "c.yml"]);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let faults = policies(Path::new("/nowhere/policies")).err().unwrap();
        assert_eq!(faults[0].path, "/nowhere/policies");
    }

    #[test]
    fn too_many_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=FILES_MAX {
            std::fs::write(folder.path().join(format!("{number}.yaml")), "").unwrap();
        }
        assert!(policies(folder.path()).is_err());
    }

    #[test]
    fn a_file_that_dangles_is_a_fault_and_not_a_shorter_set() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("regions.yaml")).unwrap();
        assert!(policies(folder.path()).is_err());
    }

    #[test]
    fn a_stamp_changes_with_rename_over_and_with_loss() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("geo.mmdb"), folder.path().join("new"));
        std::fs::write(&path, "same").unwrap();
        std::fs::write(&other, "same").unwrap();
        let before = Stamp::of(&path);
        assert_eq!(before, Stamp::of(&path));
        std::fs::rename(&other, &path).unwrap();
        assert_ne!(before, Stamp::of(&path));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Stamp::of(&path), Stamp(None));
    }
}
