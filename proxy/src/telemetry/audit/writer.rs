//! The thread that writes.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use meridian_policies::audit::{Kind, Lost, Opened, OpenedWhy};
use tokio::sync::oneshot;

use super::{Durable, Folder, Fsync, QUEUE, Shared, Told, Unrecorded};
use crate::edge::Clock;

/// Records written at once.
const BATCH: usize = 256;

/// Records that have to find space before writing counts as possible again,
/// as far as so many wait.
const PROOF: usize = 64;

/// How often it is tried again while writing fails, and how often the disk is
/// told to keep what was written where that is done at intervals.
const AGAIN: Duration = Duration::from_secs(1);

/// What is sent to the thread.
pub(super) enum Message {
    /// A record; whoever waits for it hears what became of it.
    Record {
        kind: Kind,
        record: String,
        done: Option<oneshot::Sender<Result<(), Unrecorded>>>,
    },
    /// Write all there is, make it durable, then answer.
    Flush(SyncSender<()>),
}

/// The thread's side.
pub(super) struct Writer {
    folder: Folder,
    shared: Arc<Shared>,
    fsync: Fsync,
    kinds: Vec<Kind>,
    records: Vec<String>,
    waiters: Vec<Option<oneshot::Sender<Result<(), Unrecorded>>>>,
    /// Since when something is written and not durable.
    dirty: Option<Instant>,
    failing: Failing,
}

/// Whether the last attempt to write has failed, and when it was made.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Failing {
    Since(Instant),
    No,
}

impl Writer {
    pub(super) fn new(folder: Folder, shared: Arc<Shared>, fsync: Fsync) -> Self {
        let writer = Self {
            folder,
            shared,
            fsync,
            kinds: Vec::new(),
            records: Vec::new(),
            waiters: Vec::new(),
            dirty: None,
            failing: Failing::No,
        };
        writer.count(Kind::Opened);
        writer.tell(None);
        writer
    }

    /// Until nobody can send any more.
    pub(super) fn run(&mut self, messages: &Receiver<Message>) {
        loop {
            let first = match self.next(messages) {
                Ok(first) => first,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.settle();
                    continue;
                }
            };
            let mut flushed = Vec::new();
            self.take(first, &mut flushed);
            for more in messages.try_iter().take(BATCH) {
                self.take(more, &mut flushed);
            }
            self.settle();
            if !flushed.is_empty() {
                self.sync();
            }
            for done in flushed {
                // What is not written is not flushed: whoever waits hears
                // that nobody answers. Nobody waits any more: no matter.
                if self.failing == Failing::No {
                    let _ = done.try_send(());
                }
            }
        }
        self.settle();
        self.sync();
    }

    /// Sleeps until there is something to do.
    fn next(&self, messages: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        let wait = match (self.failing, self.dirty) {
            (Failing::Since(tried), _) => Some(AGAIN.saturating_sub(tried.elapsed())),
            (Failing::No, Some(since)) => Some(AGAIN.saturating_sub(since.elapsed())),
            (Failing::No, None) => None,
        };
        match wait {
            Some(wait) => messages.recv_timeout(wait),
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn take(&mut self, message: Message, flushed: &mut Vec<SyncSender<()>>) {
        match message {
            Message::Record { kind, record, done } => {
                self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
                if self.records.len() >= QUEUE {
                    self.give_up(kind, done);
                } else {
                    self.kinds.push(kind);
                    self.records.push(record);
                    self.waiters.push(done);
                }
            }
            Message::Flush(done) => flushed.push(done),
        }
    }

    /// A record that can't be kept. Whoever waits is told no and does not do
    /// what it is about; else it was done and is lost.
    fn give_up(&self, kind: Kind, done: Option<oneshot::Sender<Result<(), Unrecorded>>>) {
        match done {
            // Nobody waits any more: nothing was done either.
            Some(done) => drop(done.send(Err(Unrecorded))),
            None => self.shared.lose(kind),
        }
    }

    /// Writes what waits, and whatever else is due.
    fn settle(&mut self) {
        if let Failing::Since(tried) = self.failing {
            if tried.elapsed() < AGAIN {
                return self.refuse_waiters();
            }
            if let Err(error) = self.recover() {
                return self.failed(&error);
            }
        }
        while !self.records.is_empty() {
            let durable = match self.fsync {
                Fsync::Always => Durable::Now,
                Fsync::Interval | Fsync::Off => Durable::Later,
            };
            let next = self.records.len().min(BATCH);
            let next = self.records.get(..next).unwrap_or_default();
            let (written, result) = self.folder.append(next, (durable, Clock::unix_ms()));
            self.written(written);
            if let Err(error) = result {
                return self.failed(&error);
            }
        }
        if let Err(error) = self.tell_losses() {
            return self.failed(&error);
        }
        if self.dirty.is_some_and(|since| since.elapsed() >= AGAIN) {
            self.sync();
        }
    }

    /// The first records of the batch are in the log.
    fn written(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        if self.fsync == Fsync::Interval {
            self.dirty.get_or_insert_with(Instant::now);
        }
        for kind in self.kinds.drain(..count) {
            if let Some(counter) = self.shared.written.get(kind as usize) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.records.drain(..count);
        for done in self.waiters.drain(..count).flatten() {
            // Whoever waited may have gone.
            let _ = done.send(Ok(()));
        }
        self.tell(None);
    }

    /// Tries whether writing works again: with a record of it and some that
    /// wait, so that the last bytes of a full disk are not taken for space.
    fn recover(&mut self) -> io::Result<()> {
        let now = Clock::unix_ms();
        let opened = Opened {
            why: OpenedWhy::Recovered,
            previous: None,
            torn_bytes: 0,
        };
        let mut records = vec![opened.record(&self.folder.context(now))];
        let first = self.records.len().min(PROOF);
        records.extend(self.records.drain(..first));
        let (written, result) = self.folder.append(&records, (Durable::Now, now));
        self.records.splice(0..0, records.drain(1..));
        if written > 0 {
            self.count(Kind::Opened);
            self.written(written - 1);
        }
        result?;
        self.failing = Failing::No;
        self.tell(None);
        self.shared.failing.store(false, Ordering::Release);
        notice("INFO", "the audit log is written again", "");
        Ok(())
    }

    /// Says what is missing, once something can be written.
    fn tell_losses(&mut self) -> io::Result<()> {
        let unsaid = {
            let mut unsaid = self
                .shared
                .unsaid
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *unsaid)
        };
        if unsaid.is_none() {
            return Ok(());
        }
        let now = Clock::unix_ms();
        let record = unsaid.record(&self.folder.context(now));
        let (_, result) = self.folder.append(&[record], (Durable::Now, now));
        if result.is_err() {
            self.unsay(unsaid);
        } else {
            self.count(Kind::Lost);
            self.tell(None);
        }
        result
    }

    fn unsay(&self, lost: Lost) {
        let mut unsaid = self
            .shared
            .unsaid
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unsaid.refusals += lost.refusals;
        unsaid.transfers += lost.transfers;
        unsaid.others += lost.others;
    }

    /// The disk says no. Whoever waits is told so, and its record is dropped:
    /// what it is about is not done. The others wait for the next attempt.
    fn failed(&mut self, error: &io::Error) {
        self.shared.failing.store(true, Ordering::Release);
        self.shared.errors.fetch_add(1, Ordering::Relaxed);
        if self.failing == Failing::No {
            notice(
                "CRITICAL",
                "the audit log can't be written",
                &error.to_string(),
            );
        }
        self.failing = Failing::Since(Instant::now());
        self.tell(Some(error.to_string()));
        self.refuse_waiters();
    }

    fn refuse_waiters(&mut self) {
        if self.waiters.iter().all(Option::is_none) {
            return;
        }
        let all = self.kinds.drain(..).zip(self.records.drain(..));
        let all = all.zip(self.waiters.drain(..)).collect::<Vec<_>>();
        for ((kind, record), done) in all {
            if done.is_some() {
                self.give_up(kind, done);
            } else {
                self.kinds.push(kind);
                self.records.push(record);
                self.waiters.push(None);
            }
        }
    }

    fn sync(&mut self) {
        self.dirty = None;
        match self.fsync {
            Fsync::Off => {}
            Fsync::Always | Fsync::Interval => {
                if let Err(error) = self.folder.sync() {
                    self.failed(&error);
                }
            }
        }
    }

    fn count(&self, kind: Kind) {
        if let Some(counter) = self.shared.written.get(kind as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn tell(&self, fault: Option<String>) {
        let (torn, rotations) = self.folder.counts();
        self.shared.torn.store(torn, Ordering::Relaxed);
        self.shared.rotations.store(rotations, Ordering::Relaxed);
        let mut told = self
            .shared
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *told = Told {
            head: Some(self.folder.head().clone()),
            file: self.folder.name().to_owned(),
            fault,
        };
    }
}

fn notice(severity: &str, message: &str, error: &str) {
    let more = serde_json::json!({ "error": error });
    crate::pipeline::events::notice(severity, message, &more);
}
