//! Decisions in full: to a file, beside other policies, and for the guard of
//! reloads.
//!
//! Promises: a request pays for its record only where `recording` is written,
//! and never waits: a full queue costs records, which are counted. Files are
//! bounded in size and number. Refuses: to say of a request what its receipt
//! does not hold.

mod file;
mod shadow;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use meridian_policies::replay::{Asked, Diff, DiffReport, Recorded};
use meridian_policies::{Receipt, Snapshot};

use self::file::RecordFile;
pub use self::shadow::Agreement;
use self::shadow::Shadow;
use crate::settings::{GuardSettings, RecordingSettings};

/// Records that wait for the thread.
const QUEUE_MAX: usize = 4_096;

/// How often the shadow's folder is looked at.
const LOOK: Duration = Duration::from_millis(500);

enum Message {
    Record(Box<Recorded>),
    Flush(SyncSender<()>),
}

/// Takes records and hands them to its thread.
#[derive(Debug)]
pub struct Recorder {
    settings: RecordingSettings,
    sender: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    turn: AtomicU64,
    shared: Arc<Shared>,
}

/// What thread and process both see.
#[derive(Debug)]
struct Shared {
    written: AtomicU64,
    /// The queue was full.
    queue: AtomicU64,
    /// The file could not be written.
    disk: AtomicU64,
    recent: Mutex<VecDeque<Recorded>>,
    shadow: Shadow,
}

/// Records so far.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Written to the file.
    pub written: u64,
    /// Lost to a full queue.
    pub queue: u64,
    /// Lost to the disk.
    pub disk: u64,
}

impl Recorder {
    /// Opens the file, loads the shadow and starts the thread.
    ///
    /// # Errors
    /// The file can't be opened, or the shadow's policies have a fault.
    pub fn start(settings: &RecordingSettings, region: &str) -> std::io::Result<Self> {
        let file = match &settings.file {
            Some(path) => Some(
                RecordFile::open(path, settings.rotate, settings.keep).map_err(|error| {
                    let text = format!("recording {}: {error}", path.display());
                    std::io::Error::new(error.kind(), text)
                })?,
            ),
            None => None,
        };
        let shared = Arc::new(Shared {
            written: AtomicU64::new(0),
            queue: AtomicU64::new(0),
            disk: AtomicU64::new(0),
            recent: Mutex::default(),
            shadow: Shadow::new(settings.shadow.as_deref(), region)?,
        });
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let work = Work {
            file,
            shared: Arc::clone(&shared),
            recent: settings.guard.map_or(0, |guard| guard.requests),
        };
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || work.run(&receiver))?;
        Ok(Self {
            settings: settings.clone(),
            sender: Some(sender),
            thread: Some(thread),
            turn: AtomicU64::new(0),
            shared,
        })
    }

    /// Records one request, if it is its turn.
    pub(super) fn take(&self, snapshot: &Snapshot, receipt: &Receipt, asked: Asked<'_>) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if !turn.is_multiple_of(u64::from(self.settings.one_in.get())) {
            return;
        }
        let record = Box::new(Recorded::new(snapshot, receipt, asked));
        let sent = match &self.sender {
            Some(sender) => sender.try_send(Message::Record(record)),
            None => return,
        };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = sent {
            self.shared.queue.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was taken so far has been dealt with, at most for
    /// `bound`.
    pub(super) fn flush(&self, bound: Duration) -> bool {
        let (done, waits) = sync_channel(1);
        let Some(sender) = &self.sender else {
            return true;
        };
        sender.send(Message::Flush(done)).is_ok() && waits.recv_timeout(bound).is_ok()
    }

    /// Counts so far.
    pub fn counts(&self) -> RecordCounts {
        RecordCounts {
            written: self.shared.written.load(Ordering::Relaxed),
            queue: self.shared.queue.load(Ordering::Relaxed),
            disk: self.shared.disk.load(Ordering::Relaxed),
        }
    }

    /// How the shadow's decisions compare; `None`: there is no shadow.
    pub fn agreement(&self) -> Option<Agreement> {
        self.shared.shadow.agreement()
    }

    /// What keeps a set of policies from going live: the shares that it
    /// exceeds, in words. `None`: nothing does, or nothing was recorded yet.
    pub fn objection(&self, snapshot: &Snapshot) -> Option<String> {
        let guard = self.settings.guard?;
        self.flush(Duration::from_secs(1));
        let recent = self.shared.recent();
        let mut diff = Diff::new(snapshot);
        for record in &recent {
            diff.add(record);
        }
        object(&diff.report(), &guard)
    }
}

fn object(report: &DiffReport, guard: &GuardSettings) -> Option<String> {
    let exceeded = report.exceeded(&guard.thresholds);
    if exceeded.is_empty() {
        return None;
    }
    let mut said: Vec<String> = exceeded
        .iter()
        .map(|one| {
            let allowed = one.allowed * 100.0;
            format!(
                "{}: {} of {} recent requests, allowed {allowed}%",
                one.threshold, one.count, one.of
            )
        })
        .collect();
    said.extend(
        report
            .examples
            .first()
            .map(|example| format!("for example {example}")),
    );
    Some(said.join("; "))
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was printed there.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn recent(&self) -> Vec<Recorded> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().cloned().collect()
    }
}

/// The thread's side.
struct Work {
    file: Option<RecordFile>,
    shared: Arc<Shared>,
    recent: usize,
}

impl Work {
    fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            match inbox.recv_timeout(LOOK) {
                Ok(Message::Record(record)) => {
                    self.record(*record);
                    // What else is there, before the disk is asked.
                    while let Ok(next) = inbox.try_recv() {
                        match next {
                            Message::Record(record) => self.record(*record),
                            Message::Flush(done) => self.flush(&done),
                        }
                    }
                    self.settle();
                }
                Ok(Message::Flush(done)) => self.flush(&done),
                Err(RecvTimeoutError::Timeout) => self.shared.shadow.look(),
                Err(RecvTimeoutError::Disconnected) => return self.settle(),
            }
        }
    }

    fn record(&mut self, record: Recorded) {
        if let Some(file) = &mut self.file {
            let count = match file.write(&record) {
                Ok(()) => &self.shared.written,
                Err(_) => &self.shared.disk,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.shadow.compare(&record);
        if self.recent > 0 {
            let recent = &self.shared.recent;
            let mut recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
            if recent.len() >= self.recent {
                recent.pop_front();
            }
            recent.push_back(record);
        }
    }

    fn flush(&mut self, done: &SyncSender<()>) {
        self.settle();
        self.shared.shadow.look();
        // Whoever asked may have stopped waiting.
        let _ = done.try_send(());
    }

    fn settle(&mut self) {
        if let Some(file) = &mut self.file
            && file.flush().is_err()
        {
            self.shared.disk.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
