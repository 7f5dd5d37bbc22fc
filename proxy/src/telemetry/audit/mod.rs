//! The audit log: a hash-chained record of every refusal and of everything
//! that crosses a border.
//!
//! Promises: one thread of its own writes; a request waits for it only in
//! strict mode, and then until its record is durable. What must be recorded
//! and can't be is not done: [`Audit::crossing`] says no, and the request is
//! refused. A request that needs no record costs one look at an option.
//!
//! Refuses: to grow. The queue and what waits for a full disk have bounds;
//! ordinary refusals may take no more than half of the queue, so that they
//! can't crowd out what the law asks for. What is lost is counted, and a
//! record says so as soon as one can be written.

mod folder;
mod writer;

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meridian_policies::audit::{Head, Kind, Lost};
use meridian_policies::{DataClass, RejectReason};
use tokio::sync::oneshot;

use self::folder::{Disk, Durable, Folder, Real, Rotation};
use self::writer::{Message, Writer};
use crate::edge::Clock;

/// Records that may wait for the writer.
const QUEUE: usize = 4_096;

/// How long a request waits for the disk in strict mode.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Key `telemetry.audit`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditSettings {
    /// The folder of the log.
    pub path: PathBuf,
    /// Whether requests wait for the disk.
    pub mode: Mode,
    /// Which refusals are recorded.
    pub refusals: Refusals,
    /// Transfers of this class and stricter ones are recorded.
    pub transfers_from: DataClass,
    /// Bytes after which a new file begins, 64 KiB to 16 GiB.
    pub rotate_size: u64,
    /// How many files are kept.
    pub keep: Keep,
    /// When the disk is told to keep what was written.
    pub fsync: Fsync,
    /// What becomes of a request that must be recorded and can't be.
    pub on_failure: OnFailure,
}

/// Whether requests wait for the disk.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Until their record is durable.
    Strict,
    /// Never.
    Relaxed,
}

/// Which refusals are recorded.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Refusals {
    /// All.
    All,
    /// Those by the law.
    Law,
}

/// How many files of a log are kept.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Keep {
    /// All: somebody else takes them away.
    All,
    /// So many, the one that is written included.
    Files(NonZeroUsize),
}

/// When the disk is told to keep what was written.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Fsync {
    /// After each batch.
    Always,
    /// Once a second.
    Interval,
    /// When the machine likes.
    Off,
}

/// What becomes of a request that must be recorded and can't be.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum OnFailure {
    /// It is refused, 503.
    Refuse,
    /// It is served, and counted as unrecorded.
    Serve,
}

/// What must be recorded can't be.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Unrecorded;

/// The log as requests see it. The last owner ends the thread.
pub struct Audit {
    settings: AuditSettings,
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What the writer tells everybody.
#[derive(Default)]
struct Shared {
    /// The last attempt to write has failed.
    failing: AtomicBool,
    /// Records in the queue.
    waiting: AtomicUsize,
    written: [AtomicU64; Kind::ALL.len()],
    errors: AtomicU64,
    /// Requests refused for want of a record.
    refused: AtomicU64,
    torn: AtomicU64,
    rotations: AtomicU64,
    lost: [AtomicU64; 3],
    /// Losses that no record tells of yet.
    unsaid: Mutex<Lost>,
    told: Mutex<Told>,
}

#[derive(Clone, Debug, Default)]
struct Told {
    head: Option<Head>,
    file: String,
    fault: Option<String>,
}

/// Where a log stands, for `/readyz` and metrics.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Whether records can't be written at this moment, and why.
    pub fault: Option<String>,
    /// The last line that was written.
    pub head: Option<Head>,
    /// The file it is in, without its folder.
    pub file: String,
    /// Records written since the start, by kind.
    pub written: [(Kind, u64); Kind::ALL.len()],
    /// Records lost since the start.
    pub lost: Lost,
    /// Attempts to write that failed.
    pub errors: u64,
    /// Requests refused for want of a record.
    pub refused: u64,
    /// Bytes of torn lines that were set aside.
    pub torn_bytes: u64,
    /// Files begun since the start.
    pub rotations: u64,
    /// Records that wait for the writer.
    pub waiting: usize,
}

impl Audit {
    /// Opens the log, mends a torn end, and starts the thread.
    pub fn start(settings: &AuditSettings, edge: &str) -> io::Result<Self> {
        Self::on(settings, edge, Box::new(Real))
    }

    fn on(settings: &AuditSettings, edge: &str, disk: Box<dyn Disk>) -> io::Result<Self> {
        let rotation = Rotation {
            size: settings.rotate_size,
            keep: settings.keep,
        };
        let folder = Folder::open(&settings.path, (edge, Clock::unix_ms()), rotation, disk)
            .map_err(|error| named(&settings.path, &error))?;
        let shared = Arc::new(Shared::default());
        let (queue, messages) = mpsc::sync_channel(QUEUE);
        let mut writer = Writer::new(folder, Arc::clone(&shared), settings.fsync);
        std::thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || writer.run(&messages))?;
        Ok(Self {
            settings: settings.clone(),
            shared,
            queue,
        })
    }

    /// What it was started with.
    pub fn settings(&self) -> &AuditSettings {
        &self.settings
    }

    /// Whether a refusal of this reason is recorded.
    pub fn wants_refusal(&self, reason: RejectReason) -> bool {
        match self.settings.refusals {
            Refusals::All => true,
            Refusals::Law => {
                matches!(
                    reason,
                    RejectReason::Residency | RejectReason::AuditUnavailable
                )
            }
        }
    }

    /// Whether a transfer of this class is recorded.
    pub fn wants_transfer(&self, class: DataClass) -> bool {
        class >= self.settings.transfers_from
    }

    /// A refusal. It stands whether or not it can be recorded; what is lost is
    /// counted.
    pub fn refusal(&self, reason: RejectReason, record: String) {
        let bound = if reason == RejectReason::Residency {
            QUEUE
        } else {
            QUEUE / 2
        };
        if self.shared.waiting.load(Ordering::Relaxed) >= bound
            || self.send(Kind::Refusal, record, None).is_err()
        {
            self.shared.lose(Kind::Refusal);
        }
    }

    /// Something an operator did. Like a refusal, it is done either way.
    pub fn operation(&self, record: String) {
        if self.send(Kind::Operator, record, None).is_err() {
            self.shared.lose(Kind::Operator);
        }
    }

    /// Something that may be done only if it is recorded: a transfer, or the
    /// answer to a check. In strict mode this returns when the record is
    /// durable, after five seconds at the latest.
    ///
    /// # Errors
    /// It can't be recorded: it must not be done.
    pub async fn crossing(&self, kind: Kind, record: String) -> Result<(), Unrecorded> {
        let recorded = match self.settings.mode {
            Mode::Relaxed => self.hand_over(kind, record),
            Mode::Strict => self.wait_for(kind, record).await,
        };
        match (recorded, self.settings.on_failure) {
            (Ok(()), _) => Ok(()),
            (Err(Unrecorded), OnFailure::Serve) => {
                self.shared.lose(kind);
                Ok(())
            }
            (Err(Unrecorded), OnFailure::Refuse) => {
                self.shared.refused.fetch_add(1, Ordering::Relaxed);
                Err(Unrecorded)
            }
        }
    }

    fn hand_over(&self, kind: Kind, record: String) -> Result<(), Unrecorded> {
        if self.shared.failing.load(Ordering::Acquire) {
            return Err(Unrecorded);
        }
        self.send(kind, record, None)
    }

    async fn wait_for(&self, kind: Kind, record: String) -> Result<(), Unrecorded> {
        if self.shared.failing.load(Ordering::Acquire) {
            return Err(Unrecorded);
        }
        let (done, is_done) = oneshot::channel();
        self.send(kind, record, Some(done))?;
        match tokio::time::timeout(WAIT_MAX, is_done).await {
            Ok(Ok(written)) => written,
            // The writer is gone, or the disk stands still.
            Ok(Err(_)) | Err(_) => Err(Unrecorded),
        }
    }

    fn send(
        &self,
        kind: Kind,
        record: String,
        done: Option<oneshot::Sender<Result<(), Unrecorded>>>,
    ) -> Result<(), Unrecorded> {
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        let message = Message::Record { kind, record, done };
        self.queue.try_send(message).map_err(|_| {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            Unrecorded
        })
    }

    /// Waits until all that was handed over is written, at most for `bound`.
    /// True when it is.
    pub fn flush(&self, bound: Duration) -> bool {
        let (done, wait) = mpsc::sync_channel(1);
        self.queue.try_send(Message::Flush(done)).is_ok() && wait.recv_timeout(bound).is_ok()
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        let shared = &self.shared;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let told = shared
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut kinds = Kind::ALL.into_iter().zip(&shared.written);
        let written = std::array::from_fn(|_| {
            kinds
                .next()
                .map_or((Kind::Opened, 0), |(kind, count)| (kind, load(count)))
        });
        let [refusals, transfers, others] = &shared.lost;
        Standing {
            fault: told.fault,
            head: told.head,
            file: told.file,
            written,
            lost: Lost {
                refusals: load(refusals),
                transfers: load(transfers),
                others: load(others),
            },
            errors: load(&shared.errors),
            refused: load(&shared.refused),
            torn_bytes: load(&shared.torn),
            rotations: load(&shared.rotations),
            waiting: shared.waiting.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    /// One record that will never be written.
    fn lose(&self, kind: Kind) {
        let mut unsaid = self.unsaid.lock().unwrap_or_else(PoisonError::into_inner);
        let [refusals, transfers, others] = &self.lost;
        let (count, say) = match kind {
            Kind::Refusal => (refusals, &mut unsaid.refusals),
            Kind::Transfer => (transfers, &mut unsaid.transfers),
            Kind::Opened | Kind::Check | Kind::Operator | Kind::Lost => {
                (others, &mut unsaid.others)
            }
        };
        *say += 1;
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("audit log {}: {error}", path.display()),
    )
}

/// The files of a log's folder, oldest first; a file stands for itself.
pub fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let names = folder::names(path)?;
    Ok(names.into_iter().map(|name| path.join(name)).collect())
}

#[cfg(test)]
mod tests;
