//! The folder of an audit log: files of one chain, named by the number of
//! their first line.
//!
//! Promises: lines are appended whole or not at all; what a crash left torn is
//! set aside, never guessed at; the first line of a file names the last hash
//! of the file before. Two processes (an upgrade) may append in turns: each
//! takes the lock and goes on from what is there. Refuses: a file whose last
//! whole line is not what was written.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use meridian_policies::audit::{Chain, Context, Head, LINE_BYTES_MAX, Opened, OpenedWhy, Verifier};

use super::Keep;

/// What bytes go through on their way to the disk.
pub(super) trait Disk: Send {
    /// Appends all of it, or a part and fails.
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    /// Returns when what was written is durable.
    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// The disk itself.
pub(super) struct Real;

impl Disk for Real {}

/// Bounds of the files.
#[derive(Copy, Clone, Debug)]
pub(super) struct Rotation {
    /// Bytes after which a file is full.
    pub(super) size: u64,
    /// How many files are kept.
    pub(super) keep: Keep,
}

/// A folder that is open for appending.
pub(super) struct Folder {
    path: PathBuf,
    lock: File,
    edge: String,
    rotation: Rotation,
    disk: Box<dyn Disk>,
    file: File,
    name: String,
    len: u64,
    chain: Chain,
    /// Bytes of torn lines that were set aside since the start.
    torn: u64,
    rotations: u64,
}

/// The end of the chain as it lies in a folder.
struct Tail {
    chain: Chain,
    /// Name and length of the newest file; `None`: there is none.
    newest: Option<(String, u64)>,
    torn: u64,
}

/// Whether what was written must be durable before it counts.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Durable {
    /// At once.
    Now,
    /// Later, or whenever the machine likes.
    Later,
}

impl Folder {
    /// Opens a folder, makes it if it is not there, mends a torn end, and
    /// begins with a record of the start.
    pub(super) fn open(
        path: &Path,
        (edge, now_unix_ms): (&str, u64),
        rotation: Rotation,
        disk: Box<dyn Disk>,
    ) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o750).create(path)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o640)
            .open(path.join("lock"))?;
        lock.lock()?;
        let opened = Self::locked(path, (edge, now_unix_ms), rotation, (lock, disk))?;
        opened.lock.unlock()?;
        Ok(opened)
    }

    fn locked(
        path: &Path,
        (edge, now_unix_ms): (&str, u64),
        rotation: Rotation,
        (lock, disk): (File, Box<dyn Disk>),
    ) -> io::Result<Self> {
        let tail = tail(path)?;
        let (name, len) = tail.newest.unwrap_or_else(|| (file_name(&tail.chain), 0));
        let file = append_to(&path.join(&name))?;
        sync_folder(path)?;
        let mut folder = Self {
            path: path.to_owned(),
            lock,
            edge: edge.to_owned(),
            rotation,
            disk,
            file,
            name,
            len,
            chain: tail.chain,
            torn: tail.torn,
            rotations: 0,
        };
        let opened = Opened {
            why: OpenedWhy::Start,
            previous: None,
            torn_bytes: tail.torn,
        };
        let record = opened.record(&folder.context(now_unix_ms));
        folder.put(&[record], Durable::Now)?;
        Ok(folder)
    }

    /// The last line.
    pub(super) fn head(&self) -> &Head {
        self.chain.head()
    }

    /// The file that is appended to, without its folder.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of torn lines set aside, and files begun, since the start.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.torn, self.rotations)
    }

    /// For records of the log itself.
    pub(super) fn context(&self, at_unix_ms: u64) -> Context<'_> {
        Context {
            at_unix_ms,
            edge: &self.edge,
            generation: 0,
            snapshot: None,
            request_id: "",
        }
    }

    /// Appends records, in order. Returns how many are in the log, and why it
    /// is not all of them.
    pub(super) fn append(
        &mut self,
        records: &[String],
        (durable, now_unix_ms): (Durable, u64),
    ) -> (usize, io::Result<()>) {
        if let Err(error) = self.lock.lock() {
            return (0, Err(error));
        }
        let mut written = 0;
        let result = self
            .catch_up(now_unix_ms)
            .and_then(|()| self.chunks(records, (durable, now_unix_ms), &mut written));
        // The lock goes with the process at the latest.
        let _ = self.lock.unlock();
        (written, result)
    }

    fn chunks(
        &mut self,
        records: &[String],
        (durable, now_unix_ms): (Durable, u64),
        written: &mut usize,
    ) -> io::Result<()> {
        while let Some(rest) = records.get(*written..).filter(|rest| !rest.is_empty()) {
            if self.len >= self.rotation.size {
                self.rotate(now_unix_ms)?;
            }
            let mut room = self.rotation.size.saturating_sub(self.len);
            let fits = |record: &&String| {
                let fits = room > 0;
                // The chain's own part of a line: two hashes and a number.
                room = room.saturating_sub(record.len() as u64 + 192);
                fits
            };
            let count = rest.iter().take_while(fits).count();
            let chunk = rest.get(..count).unwrap_or_default();
            self.put(chunk, durable)?;
            *written += count;
        }
        Ok(())
    }

    /// Writes lines to the file as it is. Fails without a trace.
    fn put(&mut self, records: &[String], durable: Durable) -> io::Result<()> {
        let mut chain = self.chain.clone();
        let mut text = String::with_capacity(records.len() * 768);
        for record in records {
            chain.append(record, &mut text);
        }
        let done = self
            .disk
            .write(&mut self.file, text.as_bytes())
            .and_then(|()| match durable {
                Durable::Now => self.disk.sync(&self.file),
                Durable::Later => Ok(()),
            });
        if let Err(error) = done {
            // A part may be there. Where it can't be cut off now, the next
            // attempt finds another length and mends the end.
            let _ = self.file.set_len(self.len);
            return Err(error);
        }
        self.len += text.len() as u64;
        self.chain = chain;
        Ok(())
    }

    /// Makes what was written so far durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.disk.sync(&self.file)
    }

    /// Begins the next file.
    fn rotate(&mut self, now_unix_ms: u64) -> io::Result<()> {
        self.disk.sync(&self.file)?;
        let previous = self.name.clone();
        self.begin(now_unix_ms, (OpenedWhy::Rotation, Some(&previous)))?;
        self.rotations += 1;
        self.forget()
    }

    /// A new file, with its first line.
    fn begin(
        &mut self,
        now_unix_ms: u64,
        (why, previous): (OpenedWhy, Option<&str>),
    ) -> io::Result<()> {
        let name = file_name(&self.chain);
        let file = append_to(&self.path.join(&name))?;
        // One that a failed attempt has left behind is empty.
        if file.metadata()?.len() > 0 {
            let fault = format!("{name} is there already");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, fault));
        }
        sync_folder(&self.path)?;
        let opened = Opened {
            why,
            previous,
            torn_bytes: 0,
        };
        let record = opened.record(&self.context(now_unix_ms));
        let (old_file, old_len) = (std::mem::replace(&mut self.file, file), self.len);
        self.len = 0;
        if let Err(error) = self.put(&[record], Durable::Now) {
            self.file = old_file;
            self.len = old_len;
            return Err(error);
        }
        self.name = name;
        Ok(())
    }

    /// Deletes the oldest files over the bound.
    fn forget(&self) -> io::Result<()> {
        let Keep::Files(keep) = self.rotation.keep else {
            return Ok(());
        };
        let names = names(&self.path)?;
        let over = names.len().saturating_sub(keep.get());
        for name in names.iter().take(over) {
            std::fs::remove_file(self.path.join(name))?;
        }
        Ok(())
    }

    /// Goes on from what is in the folder, where that is not what this
    /// process left there.
    fn catch_up(&mut self, now_unix_ms: u64) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        let here = std::fs::metadata(self.path.join(&self.name));
        let same =
            here.is_ok_and(|here| here.ino() == metadata.ino() && here.dev() == metadata.dev());
        let next = self.path.join(file_name(&self.chain));
        let followed = self.name != file_name(&self.chain) && next.exists();
        if same && metadata.len() == self.len && !followed {
            return Ok(());
        }
        let tail = tail(&self.path)?;
        self.torn += tail.torn;
        let behind = tail.chain.head().seq < self.chain.head().seq;
        match tail.newest {
            Some((name, len)) if !behind => {
                self.file = append_to(&self.path.join(&name))?;
                (self.name, self.len, self.chain) = (name, len, tail.chain);
                Ok(())
            }
            // Lines that were written are gone: the chain goes on from them,
            // so that they are missed.
            Some(_) | None => self.begin(now_unix_ms, (OpenedWhy::Replaced, None)),
        }
    }
}

/// A file is named by the number of its first line.
fn file_name(chain: &Chain) -> String {
    format!("audit-{:012}.jsonl", chain.head().seq.saturating_add(1))
}

/// The files of a log, oldest first.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let number = name
            .strip_prefix("audit-")
            .and_then(|rest| rest.strip_suffix(".jsonl"));
        if number.is_some_and(|number| {
            number.len() >= 12 && number.bytes().all(|byte| byte.is_ascii_digit())
        }) {
            names.push(name);
        }
    }
    // Numbers of more than twelve digits come last.
    names.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    Ok(names)
}

/// Opens for appending; readable by its owner and group only.
fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .mode(0o640)
        .open(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Looks for the last whole line, and sets a torn one aside.
fn tail(folder: &Path) -> io::Result<Tail> {
    let mut torn = 0;
    let mut newest = None;
    for name in names(folder)?.into_iter().rev() {
        let path = folder.join(&name);
        let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
        let (len, cut) = mend(&mut file, &path)?;
        torn += cut;
        newest.get_or_insert((name, len));
        if len > 0 {
            let chain = Chain::after(last_line(&file, len).map_err(|fault| {
                let text = format!(
                    "{}: its last line is {fault}; run `meridian audit verify` and move the folder away",
                    path.display()
                );
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?);
            return Ok(Tail {
                chain,
                newest,
                torn,
            });
        }
    }
    let chain = Chain::new();
    Ok(Tail {
        chain,
        newest,
        torn,
    })
}

/// Cuts a torn last line off and keeps it beside the file. Returns the length
/// that is left, and what was cut.
fn mend(file: &mut File, path: &Path) -> io::Result<(u64, u64)> {
    let len = file.metadata()?.len();
    // Longer than any line is torn: what wrote it was not this.
    let reach = len.min(LINE_BYTES_MAX as u64);
    let mut end = vec![0; usize::try_from(reach).unwrap_or(0)];
    file.read_exact_at(&mut end, len - reach)?;
    let whole = match end.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => len - reach + at as u64 + 1,
        None if reach == len => 0,
        None => {
            let fault = format!("{}: no line ends in its last {reach} bytes", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
        }
    };
    if whole == len {
        return Ok((len, 0));
    }
    let mut torn = Vec::new();
    file.seek(SeekFrom::Start(whole))?;
    file.read_to_end(&mut torn)?;
    let aside = path.with_extension(format!("torn-{whole}"));
    let mut kept = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o640)
        .open(aside)?;
    kept.write_all(&torn)?;
    kept.sync_all()?;
    file.set_len(whole)?;
    file.sync_all()?;
    Ok((whole, len - whole))
}

/// The last line of a file that ends with a whole one.
fn last_line(file: &File, len: u64) -> Result<Head, String> {
    let reach = len.min(LINE_BYTES_MAX as u64 + 1);
    let mut end = vec![0; usize::try_from(reach).unwrap_or(0)];
    file.read_exact_at(&mut end, len - reach)
        .map_err(|error| error.to_string())?;
    let line = end
        .split_inclusive(|byte| *byte == b'\n')
        .next_back()
        .unwrap_or_default();
    let mut verifier = Verifier::new();
    verifier
        .line(line)
        .map_err(|faults| faults.first().map_or_else(String::new, ToString::to_string))?;
    verifier.head().cloned().ok_or_else(String::new)
}
