//! What a file may refer to outside itself: environment and secret files.
//!
//! Promises bounded reads of regular text. The only I/O of `settings`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use meridian_policies::{Diagnostic, References};

/// Largest file that is read whole as text: 4 MiB, as the YAML door takes.
pub const READ_MAX: u64 = meridian_policies::yaml::MAX_BYTES as u64;

/// Looks an environment variable up.
type Environment<'a> = Box<dyn Fn(&str) -> Option<String> + 'a>;
/// Reads what `file:PATH` names.
type Reader<'a> = Box<dyn Fn(&str) -> Result<String, String> + 'a>;

/// The outside, as a file sees it.
pub struct Surroundings<'a> {
    env: Environment<'a>,
    file: Reader<'a>,
    /// Threads that `threads: 0` means; at least 1.
    pub(super) cores: usize,
}

impl<'a> Surroundings<'a> {
    /// The process's own environment, and files relative to `path`'s folder.
    pub fn of(path: &Path) -> Surroundings<'static> {
        let base = folder(path).to_path_buf();
        Surroundings {
            env: Box::new(|name| std::env::var(name).ok()),
            file: Box::new(move |name| read_text(&base.join(name))),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Given ones; `cores` is raised to 1.
    pub fn given(
        env: impl Fn(&str) -> Option<String> + 'a,
        file: impl Fn(&str) -> Result<String, String> + 'a,
        cores: usize,
    ) -> Self {
        Self {
            env: Box::new(env),
            file: Box::new(file),
            cores: cores.max(1),
        }
    }

    /// As `policies` wants them.
    pub fn references(&self) -> References<'_> {
        References {
            env: &*self.env,
            file: &*self.file,
        }
    }
}

/// The folder a path lies in; `.` for a bare name.
pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// `path` from a file in `base`.
pub(super) fn beside(base: &Path, path: &str) -> PathBuf {
    base.join(path)
}

/// Text of a file of at most [`READ_MAX`] bytes.
pub fn read_text(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|fault| fault.to_string())?;
    let kind = file.metadata().map_err(|fault| fault.to_string())?;
    if kind.is_dir() {
        return Err("is a folder".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(READ_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|fault| fault.to_string())?;
    if bytes.len() as u64 > READ_MAX {
        return Err(format!("is larger than {READ_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())
}

/// The diagnostic for a file or folder that could not be read.
pub fn unreadable(path: &Path, fault: &str) -> Diagnostic {
    Diagnostic {
        path: path.display().to_string(),
        line: 0,
        column: 0,
        message: format!("cannot be read: {fault}"),
        help: Some("check the path and its permissions".to_owned()),
        frame: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_bare_name_is_the_current_one() {
        assert_eq!(folder(Path::new("meridian.yaml")), Path::new("."));
        assert_eq!(folder(Path::new("conf/meridian.yaml")), Path::new("conf"));
        assert_eq!(folder(Path::new("/meridian.yaml")), Path::new("/"));
    }

    #[test]
    fn folders_missing_files_and_bytes_that_are_not_text_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = folder.path().join("bytes");
        std::fs::write(&bytes, [0xff, 0xfe]).unwrap();
        assert!(read_text(folder.path()).unwrap_err().contains("folder"));
        assert!(read_text(&bytes).unwrap_err().contains("UTF-8"));
        assert!(read_text(&folder.path().join("none")).is_err());
    }
}
