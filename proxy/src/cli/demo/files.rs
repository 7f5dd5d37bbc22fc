//! The demo's folder.
//!
//! Promises: files that are there are kept, so that a demo can be continued
//! with one's own changes; only the backends' addresses, which change with
//! every start, are replaced where they stand. Refuses a folder that can't be
//! written, in one line.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::backends::{Backend, REGIONS};
use super::certificate;

/// Files as they are shipped or made for the demo, by name in the folder.
const TEXTS: [(&str, &str); 10] = [
    (
        "meridian.yaml",
        include_str!("../../../../conf/demo/meridian.yaml"),
    ),
    (
        "policies/regions.yaml",
        include_str!("../../../../conf/demo/policies/regions.yaml"),
    ),
    (
        "policies/latency.yaml",
        include_str!("../../../../conf/demo/policies/latency.yaml"),
    ),
    (
        "policies/geo.yaml",
        include_str!("../../../../conf/demo/policies/geo.yaml"),
    ),
    (
        "policies/limits.yaml",
        include_str!("../../../../conf/demo/policies/limits.yaml"),
    ),
    (
        "policies/residency.yaml",
        include_str!("../../../../conf/policies/residency.yaml"),
    ),
    (
        "policies/routes.yaml",
        include_str!("../../../../conf/policies/routes.yaml"),
    ),
    (
        "policies/traffic.yaml",
        include_str!("../../../../conf/policies/traffic.yaml"),
    ),
    (
        "policies/access.yaml",
        include_str!("../../../../conf/policies/access.yaml"),
    ),
    (
        "policies/waf.yaml",
        include_str!("../../../../conf/policies/waf.yaml"),
    ),
];

/// Remembers which address each backend had when the files were written.
const ADDRESSES: &str = "backends.json";

/// A folder that is ready to be loaded once [`Files::point_at`] was called.
pub(super) struct Files {
    dir: PathBuf,
}

impl Files {
    /// Fills the folder; `None` is a fresh one in the temporary folder.
    pub(super) fn prepare(dir: Option<&Path>) -> anyhow::Result<Self> {
        let dir = match dir {
            Some(dir) => {
                fs::create_dir_all(dir)
                    .with_context(|| format!("cannot create {}", dir.display()))?;
                fs::canonicalize(dir)?
            }
            None => fresh()?,
        };
        let files = Self { dir };
        files
            .fill()
            .with_context(|| format!("cannot write to {}", files.dir.display()))?;
        Ok(files)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn settings(&self) -> PathBuf {
        self.dir.join("meridian.yaml")
    }

    /// The file with the latency matrix.
    pub(super) fn latencies(&self) -> PathBuf {
        self.dir.join("policies/latency.yaml")
    }

    fn fill(&self) -> anyhow::Result<()> {
        fs::create_dir_all(self.dir.join("policies"))?;
        for (name, text) in TEXTS {
            write_new(&self.dir.join(name), text, 0o644)?;
        }
        if !self.dir.join("tls.key").exists() {
            let pair = certificate::make()?;
            write_new(&self.dir.join("tls.key"), &pair.key, 0o600)?;
            fs::write(self.dir.join("tls.pem"), pair.certificate)?;
        }
        Ok(())
    }

    /// Puts the backends' addresses into the policies.
    pub(super) fn point_at(&self, backends: &[Backend]) -> anyhow::Result<()> {
        let before = self.addresses()?;
        let now: BTreeMap<&str, &str> = backends
            .iter()
            .map(|backend| (backend.region, backend.url.as_str()))
            .collect();
        for entry in fs::read_dir(self.dir.join("policies"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|kind| kind == "yaml") {
                repoint(&path, &before, &now)?;
            }
        }
        fs::write(
            self.dir.join(ADDRESSES),
            serde_json::to_string_pretty(&now)?,
        )?;
        Ok(())
    }

    /// What stands in the files now: the last start's addresses, or what the
    /// shipped text has.
    fn addresses(&self) -> anyhow::Result<BTreeMap<String, String>> {
        match fs::read_to_string(self.dir.join(ADDRESSES)) {
            Ok(text) => serde_json::from_str(&text).with_context(|| {
                format!(
                    "{} is broken; delete it",
                    self.dir.join(ADDRESSES).display()
                )
            }),
            Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(shipped()),
            Err(fault) => Err(fault.into()),
        }
    }
}

/// Placeholders in `conf/demo/policies/regions.yaml`.
fn shipped() -> BTreeMap<String, String> {
    let urls = (1..).map(|port| format!("http://127.0.0.1:{port}"));
    REGIONS
        .iter()
        .map(|region| (*region).to_owned())
        .zip(urls)
        .collect()
}

/// Replaces each region's old address by its new one, in one pass, so that an
/// address that moved from one region to another is not replaced twice.
fn repointed(text: &str, before: &BTreeMap<String, String>, now: &BTreeMap<&str, &str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("http://") {
        let (head, tail) = rest.split_at(at);
        let end = tail.find(|c: char| !c.is_ascii_alphanumeric() && !":/.-".contains(c));
        let (url, tail) = tail.split_at(end.unwrap_or(tail.len()));
        let region = before
            .iter()
            .find(|(_, old)| *old == url)
            .map(|(region, _)| region.as_str());
        out.push_str(head);
        out.push_str(
            region
                .and_then(|region| now.get(region).copied())
                .unwrap_or(url),
        );
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn repoint(
    path: &Path,
    before: &BTreeMap<String, String>,
    now: &BTreeMap<&str, &str>,
) -> anyhow::Result<()> {
    let text = fs::read_to_string(path)?;
    let new = repointed(&text, before, now);
    if new != text {
        fs::write(path, new).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Writes a file unless there is one.
fn write_new(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
    {
        Ok(mut file) => file.write_all(text.as_bytes()),
        Err(fault) if fault.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// A folder that nobody else has, readable by its owner only.
fn fresh() -> anyhow::Result<PathBuf> {
    let parent = std::env::temp_dir();
    for number in 0..1_000 {
        let dir = parent.join(format!("meridian-demo-{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return Ok(dir),
            Err(fault) if fault.kind() == ErrorKind::AlreadyExists => {}
            Err(fault) => {
                return Err(fault).with_context(|| format!("cannot create {}", dir.display()));
            }
        }
    }
    anyhow::bail!("no fresh folder in {}", parent.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_replaced_whole_and_once() {
        let before = BTreeMap::from([
            ("a".to_owned(), "http://127.0.0.1:1".to_owned()),
            ("b".to_owned(), "http://127.0.0.1:12".to_owned()),
        ]);
        let now = BTreeMap::from([("a", "http://127.0.0.1:12"), ("b", "http://127.0.0.1:1")]);
        let text = "x: [\"http://127.0.0.1:1\"]\ny: [\"http://127.0.0.1:12\", 'http://other:1']\n";
        assert_eq!(
            repointed(text, &before, &now),
            "x: [\"http://127.0.0.1:12\"]\ny: [\"http://127.0.0.1:1\", 'http://other:1']\n"
        );
    }

    #[test]
    fn files_that_are_there_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("meridian.yaml"), "mine").unwrap();
        let files = Files::prepare(Some(folder.path())).unwrap();
        assert_eq!(fs::read_to_string(files.settings()).unwrap(), "mine");
        assert!(files.latencies().exists());
        assert!(folder.path().join("tls.key").exists());
    }

    #[test]
    fn every_shipped_address_is_found_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::prepare(Some(folder.path())).unwrap();
        let text = fs::read_to_string(files.dir().join("policies/regions.yaml")).unwrap();
        for (region, url) in shipped() {
            assert!(
                text.contains(&format!("\"{url}\"")),
                "{region} has not {url}"
            );
        }
    }

    #[test]
    fn a_fresh_folder_is_new_each_time() {
        let (one, two) = (fresh().unwrap(), fresh().unwrap());
        assert_ne!(one, two);
        fs::remove_dir(one).unwrap();
        fs::remove_dir(two).unwrap();
    }
}
