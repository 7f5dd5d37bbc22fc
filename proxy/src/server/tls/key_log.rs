//! Secrets of sessions, written to a file for whoever must read a capture.
//!
//! Promises: only who may read the process's own files reads it (mode 0600,
//! never through a symbolic link); a line is written whole. Refuses: what is
//! not a plain file, and lines beyond 256 MiB. Nothing but the command line
//! turns it on: no variable of the environment does.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::OFlags;
use serde_json::json;

use crate::pipeline::events::notice;

/// Largest file; no line is written beyond it.
const FILE_MAX: u64 = 256 * 1024 * 1024;

/// A file in the format of `SSLKEYLOGFILE`. Lines are appended.
pub struct KeyLogFile {
    path: PathBuf,
    file: File,
    bound: u64,
    written: AtomicU64,
    /// Its end has been told.
    told: AtomicBool,
}

impl KeyLogFile {
    /// Makes the file, or takes an existing one and closes it to others.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::bounded(path, FILE_MAX)
    }

    fn bounded(path: &Path, bound: u64) -> io::Result<Self> {
        // Without waiting for the reader of a pipe.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(flags.bits().cast_signed())
            .open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("it is not a plain file"));
        }
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            bound,
            written: AtomicU64::new(found.len()),
            told: AtomicBool::new(false),
        })
    }

    /// As it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        let before = self.written.fetch_add(length, Ordering::Relaxed);
        if before.saturating_add(length) > self.bound {
            self.written.fetch_sub(length, Ordering::Relaxed);
            return Err(io::Error::other("it is as large as it may be"));
        }
        (&self.file).write_all(line)
    }
}

impl rustls::KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = &data_encoding::HEXLOWER;
        let mut line = String::with_capacity(256);
        line.push_str(label);
        line.push(' ');
        hex.encode_append(client_random, &mut line);
        line.push(' ');
        hex.encode_append(secret, &mut line);
        line.push('\n');
        if let Err(fault) = self.append(line.as_bytes())
            && !self.told.swap(true, Ordering::Relaxed)
        {
            let fault = json!({ "path": self.path, "fault": fault.to_string() });
            notice("WARNING", "the TLS key log can't be written", &fault);
        }
    }
}

impl fmt::Debug for KeyLogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyLogFile").field(&self.path).finish()
    }
}

#[cfg(test)]
mod tests {
    use rustls::KeyLog as _;

    use super::*;

    #[test]
    fn lines_are_whole_and_for_the_owner_alone_whatever_the_file_was_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, "# kept\n").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let log = KeyLogFile::open(&path).unwrap();
        log.log("CLIENT_RANDOM", &[0xab; 2], &[0x01, 0xff]);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "# kept\nCLIENT_RANDOM abab 01ff\n");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn it_ends_at_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let log = KeyLogFile::bounded(&path, 10).unwrap();
        log.log("A", &[1], &[2]);
        log.log("B", &[1], &[2]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "A 01 02\n");
    }

    #[test]
    fn links_folders_and_pipes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        // A reader, so that opening it for writing succeeds.
        let reader = OpenOptions::new().read(true).write(true).open(&pipe);
        for path in [&link, folder.path(), &pipe] {
            assert!(KeyLogFile::open(path).is_err(), "{}", path.display());
        }
        drop(reader);
    }
}
