//! From many threads' buffers to one file.
//!
//! Promises: a request never waits for the disk. It appends to its thread's
//! buffer; full buffers go through a bounded queue to one thread that writes
//! them, and that thread empties the others 100 ms after their first line.
//! When the queue is full or the file refuses, lines are dropped and counted.
//! A file that was renamed or removed (logrotate) is opened anew within a
//! second, without a signal.
//!
//! Refuses: to grow. At most 32 buffers wait; each is a little over 128 KiB.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::settings::AccessLog;
use crate::telemetry::labels::DropReason;

/// A buffer goes to the writer when it holds more than this, bytes.
const BATCH_BYTES: usize = 128 * 1024;

/// Full buffers that may wait for the writer.
const QUEUE: usize = 32;

/// How long a line may lie in a buffer.
const LINGER: Duration = Duration::from_millis(100);

/// How often the writer looks whether its file is still the one at the path.
const RENAME_CHECK: Duration = Duration::from_secs(1);

/// Where lines are collected. Cheap to share; the last owner ends the thread.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
}

#[derive(Debug)]
struct Shared {
    /// One a shard of threads.
    buffers: Box<[Mutex<Batch>]>,
    /// Emptied buffers, for reuse.
    spare: Mutex<Vec<Vec<u8>>>,
    /// The writer sleeps until something is sent.
    idle: AtomicBool,
    dropped: [AtomicU64; DropReason::COUNT],
}

#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
}

enum Message {
    /// A full buffer.
    Full(Batch),
    /// The first line after a quiet time has been written to some buffer.
    Wake,
    /// Write all there is, then answer.
    Flush(SyncSender<()>),
}

/// What the lines go to.
trait Target: Send {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Called now and then, never for each line.
    fn look_after(&mut self);
}

impl Writer {
    /// Opens the target and starts the thread. `None`: the log is off.
    /// `shards` is how many buffers there are, at least one.
    pub(super) fn start(target: &AccessLog, shards: usize) -> io::Result<Option<Self>> {
        let target: Box<dyn Target> = match target {
            AccessLog::Off => return Ok(None),
            AccessLog::Stdout => Box::new(Stdout),
            AccessLog::File(path) => Box::new(Rotated::open(path)?),
        };
        Self::run(target, shards).map(Some)
    }

    fn run(target: Box<dyn Target>, shards: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            buffers: (0..shards.max(1)).map(|_| Mutex::default()).collect(),
            spare: Mutex::default(),
            idle: AtomicBool::new(false),
            dropped: std::array::from_fn(|_| AtomicU64::new(0)),
        });
        let (queue, messages) = mpsc::sync_channel(QUEUE);
        let mut drain = Drain {
            shared: Arc::clone(&shared),
            target,
            torn: Torn::No,
        };
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || drain.run(&messages))?;
        Ok(Self { shared, queue })
    }

    /// Appends one line through `write`, which must end it with a line feed.
    pub(super) fn line(&self, shard: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let buffers = &self.shared.buffers;
        let Some(buffer) = shard
            .checked_rem(buffers.len())
            .and_then(|at| buffers.get(at))
        else {
            return;
        };
        let full = {
            let mut batch = locked(buffer);
            write(&mut batch.bytes);
            batch.lines += 1;
            (batch.bytes.len() > BATCH_BYTES).then(|| self.shared.take(&mut batch))
        };
        if let Some(batch) = full {
            self.send(batch);
        } else if self.shared.idle.load(Ordering::Relaxed)
            && self.shared.idle.swap(false, Ordering::Relaxed)
        {
            // A full queue means that the writer is awake anyway.
            let _ = self.queue.try_send(Message::Wake);
        }
    }

    /// Waits until everything written so far is out, at most for `bound`.
    /// True when it is.
    pub(super) fn flush(&self, bound: Duration) -> bool {
        let (done, wait) = mpsc::sync_channel(1);
        self.queue.try_send(Message::Flush(done)).is_ok() && wait.recv_timeout(bound).is_ok()
    }

    /// Lines lost so far.
    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        self.shared
            .dropped
            .get(reason.index())
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn send(&self, batch: Batch) {
        let refused = match self.queue.try_send(Message::Full(batch)) {
            Ok(()) => return,
            Err(mpsc::TrySendError::Full(message) | mpsc::TrySendError::Disconnected(message)) => {
                message
            }
        };
        match refused {
            Message::Full(batch) => {
                self.shared.lost(DropReason::QueueFull, batch.lines);
                self.shared.recycle(batch.bytes);
            }
            // Not what was sent.
            Message::Wake | Message::Flush(_) => {}
        }
    }
}

impl Shared {
    /// Takes what a buffer holds and leaves it an empty one.
    fn take(&self, batch: &mut Batch) -> Batch {
        // A little more than a full one: the last line makes it so.
        let bytes = locked(&self.spare).pop();
        let bytes = bytes.unwrap_or_else(|| Vec::with_capacity(BATCH_BYTES + BATCH_BYTES / 8));
        std::mem::replace(batch, Batch { bytes, lines: 0 })
    }

    /// Keeps an emptied buffer, unless there are enough or it grew odd.
    fn recycle(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        let mut spare = locked(&self.spare);
        if spare.len() < self.buffers.len() * 2 && bytes.capacity() <= BATCH_BYTES * 4 {
            spare.push(bytes);
        }
    }

    fn lost(&self, reason: DropReason, lines: u64) {
        if let Some(count) = self.dropped.get(reason.index()) {
            count.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

/// A poisoned buffer holds whole lines and perhaps a torn one: still worth it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writing thread's side.
struct Drain {
    shared: Arc<Shared>,
    target: Box<dyn Target>,
    torn: Torn,
}

/// Whether the target may end in a part of a line.
#[derive(Copy, Clone, Eq, PartialEq)]
enum Torn {
    Yes,
    No,
}

impl Drain {
    fn run(&mut self, messages: &Receiver<Message>) {
        loop {
            let ended = match self.rest(messages) {
                Ok(message) => self.gather(message, messages),
                Err(mpsc::RecvError) => Ended::Yes,
            };
            self.sweep();
            if ended == Ended::Yes {
                return;
            }
        }
    }

    /// Sleeps until there is something to do. It says so first and sweeps
    /// after: a line appended before the sweep is found by it, one appended
    /// after sees `idle` (the buffer's lock orders them) and wakes us.
    fn rest(&mut self, messages: &Receiver<Message>) -> Result<Message, mpsc::RecvError> {
        self.shared.idle.store(true, Ordering::Relaxed);
        if self.sweep() == Found::Lines {
            self.shared.idle.store(false, Ordering::Relaxed);
            return Ok(Message::Wake);
        }
        let message = messages.recv();
        self.shared.idle.store(false, Ordering::Relaxed);
        message
    }

    /// Handles a message and all that come while lines linger.
    fn gather(&mut self, first: Message, messages: &Receiver<Message>) -> Ended {
        let end = Instant::now() + LINGER;
        let mut next = first;
        loop {
            match next {
                Message::Full(batch) => self.write(batch),
                Message::Wake => {}
                Message::Flush(done) => {
                    self.sweep();
                    // Nobody waits any more: nothing to tell.
                    let _ = done.try_send(());
                }
            }
            match messages.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(message) => next = message,
                Err(RecvTimeoutError::Timeout) => return Ended::No,
                Err(RecvTimeoutError::Disconnected) => return Ended::Yes,
            }
        }
    }

    /// Writes what all buffers hold.
    fn sweep(&mut self) -> Found {
        let shared = Arc::clone(&self.shared);
        let mut found = Found::Nothing;
        for buffer in &shared.buffers {
            let batch = {
                let mut batch = locked(buffer);
                if batch.lines == 0 {
                    continue;
                }
                shared.take(&mut batch)
            };
            found = Found::Lines;
            self.write(batch);
        }
        found
    }

    fn write(&mut self, batch: Batch) {
        self.target.look_after();
        let mended = match self.torn {
            Torn::Yes => self.target.write(b"\n"),
            Torn::No => Ok(()),
        };
        let written = mended.and_then(|()| self.target.write(&batch.bytes));
        if written.is_ok() {
            self.torn = Torn::No;
        } else {
            self.torn = Torn::Yes;
            self.shared.lost(DropReason::WriteFailed, batch.lines);
        }
        self.shared.recycle(batch.bytes);
    }
}

#[derive(Copy, Clone, Eq, PartialEq)]
enum Ended {
    Yes,
    No,
}

#[derive(Copy, Clone, Eq, PartialEq)]
enum Found {
    Lines,
    Nothing,
}

struct Stdout;

impl Target for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    fn look_after(&mut self) {}
}

/// A file that somebody else may move away.
struct Rotated {
    path: PathBuf,
    file: File,
    looked: Instant,
    check: Duration,
}

impl Rotated {
    fn open(path: &Path) -> io::Result<Self> {
        let file = append(path).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("access log {}: {error}", path.display()),
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            looked: Instant::now(),
            check: RENAME_CHECK,
        })
    }

    fn is_at_its_path(&self) -> bool {
        let place = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        match (self.file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(open), Ok(named)) => place(open) == place(named),
            (Err(_), _) | (_, Err(_)) => false,
        }
    }
}

impl Target for Rotated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn look_after(&mut self) {
        if self.looked.elapsed() < self.check {
            return;
        }
        self.looked = Instant::now();
        if !self.is_at_its_path()
            && let Ok(file) = append(&self.path)
        {
            self.file = file;
        }
    }
}

/// Opens for appending; a new file is readable by its owner and group only.
fn append(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
}

#[cfg(test)]
mod tests;
