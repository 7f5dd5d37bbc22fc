//! Records as lines of a file that is put aside when it is full.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use meridian_policies::replay::Recorded;

/// The file now, and its size.
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    rotate: u64,
    keep: u32,
    out: Option<BufWriter<File>>,
    size: u64,
    line: Vec<u8>,
}

impl RecordFile {
    /// Appends to what is there.
    pub(super) fn open(path: &Path, rotate: u64, keep: u32) -> io::Result<Self> {
        let mut file = Self {
            path: path.to_path_buf(),
            rotate,
            keep,
            out: None,
            size: 0,
            line: Vec::new(),
        };
        file.reopen()?;
        Ok(file)
    }

    /// Writes one line. After an error the next line tries to open the file
    /// anew.
    pub(super) fn write(&mut self, record: &Recorded) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record)?;
        self.line.push(b'\n');
        let length = u64::try_from(self.line.len()).unwrap_or(u64::MAX);
        if self.size > 0 && self.size.saturating_add(length) > self.rotate {
            self.put_aside()?;
        }
        if self.out.is_none() {
            self.reopen()?;
        }
        let Some(out) = &mut self.out else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let written = out.write_all(&self.line);
        if written.is_err() {
            self.out = None;
        } else {
            self.size += length;
        }
        written
    }

    /// Hands what is buffered to the system.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.as_mut().map_or(Ok(()), BufWriter::flush);
        if flushed.is_err() {
            self.out = None;
        }
        flushed
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)?;
        self.size = file.metadata()?.len();
        self.out = Some(BufWriter::with_capacity(64 * 1024, file));
        Ok(())
    }

    /// `decisions.jsonl` becomes `decisions.jsonl.1`, and so on up to `keep`.
    fn put_aside(&mut self) -> io::Result<()> {
        self.flush()?;
        self.out = None;
        if self.keep == 0 {
            std::fs::remove_file(&self.path)?;
            return self.reopen();
        }
        for number in (1..self.keep).rev() {
            // A gap in the row is no fault.
            let _ = std::fs::rename(self.aside(number), self.aside(number + 1));
        }
        std::fs::rename(&self.path, self.aside(1))?;
        self.reopen()
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}
