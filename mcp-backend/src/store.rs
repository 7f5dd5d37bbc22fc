//! The record store. Promises that a record that was put is found again, also
//! after a restart when a file is given, and that a record never becomes less
//! strict. Refuses what would pass its bounds; forgets nothing to make room.
//!
//! The file is JSON lines, appended to. A last line that was cut short by a
//! crash is dropped at the next start; a broken line elsewhere is an error.
//! Appends reach the operating system before the answer, not the disk.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data_class::DataClass;

/// Most records that are kept.
pub(crate) const RECORDS_MAX: usize = 10_000;
/// Longest key, in bytes.
pub(crate) const KEY_MAX: usize = 128;
/// Longest value, in bytes.
pub(crate) const VALUE_MAX: usize = 16 * 1024;
/// Most bytes of keys and values together (64 MiB).
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Size at which the file is written anew with only what is current (512 MiB:
/// above what `BYTES_MAX` can take when JSON escapes every byte in six).
const FILE_MAX: u64 = 512 * 1024 * 1024;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// 1 to 128 bytes.
    pub key: String,
    /// At most 16 KiB.
    pub value: String,
    /// How sensitive it is.
    pub class: DataClass,
}

impl Record {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// Why the store said no.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Caller: the key is empty or too long.
    #[error("key: expected 1 to 128 bytes")]
    Key,
    /// Caller: the value is too long.
    #[error("value: expected at most 16384 bytes")]
    Value,
    /// Caller: the record exists with a stricter class.
    #[error("class: the record is {0} and may not become less strict")]
    Looser(DataClass),
    /// No room for another record.
    #[error("store full")]
    Full,
    /// The file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// The store's file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A line of the file is not a record.
    #[error("{path}:{line}: {reason}")]
    Line {
        /// The store's file.
        path: PathBuf,
        /// Counted from one.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// Where records survive a restart.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Shelf {
    records: BTreeMap<String, Record>,
    bytes: usize,
    log: Option<Log>,
}

/// Records by key, in memory, with an optional file behind them. At most
/// 10,000 records and 64 MiB. Its calls may wait for the file, never long.
#[derive(Debug, Default)]
pub(crate) struct Store(Mutex<Shelf>);

impl Store {
    /// An empty store that forgets everything at its end.
    pub(crate) fn in_memory() -> Self {
        Self::default()
    }

    /// A store with `path` behind it, filled with what is there. Creates the
    /// file when it is missing, never its folder.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error| StoreError::File {
            path: path.to_owned(),
            error,
        };
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(failed)?;
        let text = std::fs::read(path).map_err(failed)?;
        let whole = text
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |at| at + 1);
        let mut shelf = Shelf::default();
        for (at, line) in text
            .get(..whole)
            .unwrap_or_default()
            .split(|&b| b == b'\n')
            .enumerate()
        {
            if line.is_empty() {
                continue;
            }
            let broken = |reason| StoreError::Line {
                path: path.to_owned(),
                line: at + 1,
                reason,
            };
            let record = serde_json::from_slice(line).map_err(|error| broken(error.to_string()))?;
            shelf
                .check(&record)
                .map_err(|error| broken(error.to_string()))?;
            shelf.insert(record);
        }
        let bytes = whole as u64;
        file.set_len(bytes).map_err(failed)?;
        shelf.log = Some(Log {
            path: path.to_owned(),
            file,
            bytes,
        });
        Ok(Self(Mutex::new(shelf)))
    }

    /// Puts a record, replacing one of the same key. Returns whether the key
    /// was there before. Nothing changes on an error.
    pub(crate) fn put(&self, record: Record) -> Result<bool, StoreError> {
        let mut held = self.shelf();
        held.check(&record)?;
        if let Some(mut log) = held.log.take() {
            let written = log.append(&record, held.records.values());
            held.log = Some(log);
            written?;
        }
        Ok(held.insert(record))
    }

    /// The record of that key.
    pub(crate) fn find(&self, key: &str) -> Option<Record> {
        self.shelf().records.get(key).cloned()
    }

    /// Records whose key or value contains `text`, in order of their keys,
    /// of class `admitted` or less strict, at most `limit`.
    pub(crate) fn search(&self, text: &str, admitted: DataClass, limit: usize) -> Vec<Record> {
        let held = self.shelf();
        let fits = |record: &&Record| {
            record.class.fits(admitted)
                && (record.key.contains(text) || record.value.contains(text))
        };
        held.records
            .values()
            .filter(fits)
            .take(limit)
            .cloned()
            .collect()
    }

    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.shelf().records.len()
    }

    /// The shelf is whole between calls even if one of them panicked: every
    /// change to it is one insertion.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn check(&self, record: &Record) -> Result<(), StoreError> {
        if !(1..=KEY_MAX).contains(&record.key.len()) {
            return Err(StoreError::Key);
        }
        if record.value.len() > VALUE_MAX {
            return Err(StoreError::Value);
        }
        let old = self.records.get(&record.key);
        match old {
            Some(old) if old.class < record.class => return Err(StoreError::Looser(old.class)),
            None if self.records.len() >= RECORDS_MAX => return Err(StoreError::Full),
            Some(_) | None => {}
        }
        let rest = self.bytes - old.map_or(0, Record::bytes);
        if rest + record.bytes() > BYTES_MAX {
            Err(StoreError::Full)
        } else {
            Ok(())
        }
    }

    fn insert(&mut self, record: Record) -> bool {
        self.bytes += record.bytes();
        let old = self.records.insert(record.key.clone(), record);
        self.bytes -= old.as_ref().map_or(0, Record::bytes);
        old.is_some()
    }
}

impl Log {
    fn append<'a>(
        &mut self,
        record: &Record,
        current: impl Iterator<Item = &'a Record>,
    ) -> Result<(), StoreError> {
        let line = line_of(record);
        let written = if self.bytes + line.len() as u64 > FILE_MAX {
            self.rewrite(current).and_then(|()| self.write(&line))
        } else {
            self.write(&line)
        };
        written.map_err(|error| StoreError::File {
            path: self.path.clone(),
            error,
        })
    }

    /// A line that was written in part is taken back, so that the next one
    /// does not end up behind its remains.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match self.file.write_all(line) {
            Ok(()) => {
                self.bytes += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.file.set_len(self.bytes)?;
                Err(error)
            }
        }
    }

    /// Writes what is current to a second file and puts it in place of the
    /// first: whoever starts in between finds one or the other, whole.
    fn rewrite<'a>(&mut self, current: impl Iterator<Item = &'a Record>) -> io::Result<()> {
        let mut text = Vec::new();
        current.for_each(|record| text.extend(line_of(record)));
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        std::fs::write(&beside, &text)?;
        std::fs::rename(&beside, &self.path)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.bytes = text.len() as u64;
        Ok(())
    }
}

fn line_of(record: &Record) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).expect("a struct of strings has a JSON form");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &str, class: DataClass) -> Record {
        Record {
            key: key.into(),
            value: value.into(),
            class,
        }
    }

    #[test]
    fn records_survive_a_restart_with_their_last_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records.jsonl");
        let store = Store::open(&path).unwrap();
        assert!(!store.put(record("a", "1", DataClass::Tier4Public)).unwrap());
        assert!(
            store
                .put(record("a", "2", DataClass::Tier3Operational))
                .unwrap()
        );
        store
            .put(record("b\n", "é\u{0}", DataClass::Tier1Pii))
            .unwrap();
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!(store.len(), 2);
        assert_eq!(
            store.find("a"),
            Some(record("a", "2", DataClass::Tier3Operational))
        );
        assert_eq!(
            store.find("b\n"),
            Some(record("b\n", "é\u{0}", DataClass::Tier1Pii))
        );
    }

    #[test]
    fn a_last_line_cut_short_is_dropped_and_the_file_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let store = Store::open(&path).unwrap();
        store.put(record("a", "1", DataClass::Tier4Public)).unwrap();
        drop(store);
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"key\":\"b")
            .unwrap();
        let store = Store::open(&path).unwrap();
        store.put(record("c", "3", DataClass::Tier4Public)).unwrap();
        drop(store);
        let keys = |s: &Store| {
            s.search("", DataClass::Tier1Pii, 9)
                .into_iter()
                .map(|r| r.key)
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(&Store::open(&path).unwrap()), ["a", "c"]);
    }

    #[test]
    fn a_broken_line_elsewhere_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        std::fs::write(
            &path,
            "{\"key\":\"a\",\"value\":\"\",\"class\":\"tier_9\"}\n",
        )
        .unwrap();
        let message = Store::open(&path).unwrap_err().to_string();
        assert!(
            message.contains("r:1: unknown variant `tier_9`"),
            "{message}"
        );
    }

    #[test]
    fn a_record_never_becomes_less_strict() {
        let store = Store::in_memory();
        store
            .put(record("a", "1", DataClass::Tier2Personal))
            .unwrap();
        let looser = store.put(record("a", "2", DataClass::Tier4Public));
        assert!(matches!(
            looser,
            Err(StoreError::Looser(DataClass::Tier2Personal))
        ));
        assert_eq!(store.find("a").unwrap().value, "1");
        store.put(record("a", "3", DataClass::Tier1Pii)).unwrap();
    }

    #[test]
    fn bounds_are_kept() {
        let store = Store::in_memory();
        let class = DataClass::Tier4Public;
        assert!(matches!(
            store.put(record("", "", class)),
            Err(StoreError::Key)
        ));
        assert!(matches!(
            store.put(record(&"k".repeat(129), "", class)),
            Err(StoreError::Key)
        ));
        let long = "v".repeat(VALUE_MAX + 1);
        assert!(matches!(
            store.put(record("k", &long, class)),
            Err(StoreError::Value)
        ));
        let wide = "v".repeat(VALUE_MAX);
        let fill = |n: usize| store.put(record(&n.to_string(), &wide, class));
        let room = (0..RECORDS_MAX).take_while(|n| fill(*n).is_ok()).count();
        assert!(room < RECORDS_MAX && (room + 1) * VALUE_MAX > BYTES_MAX - room * KEY_MAX);
        assert!(
            store.put(record("0", "small again", class)).unwrap(),
            "replacing still works"
        );
    }

    #[test]
    fn search_returns_only_what_the_request_was_admitted_for() {
        let store = Store::in_memory();
        store.put(record("a", "x", DataClass::Tier1Pii)).unwrap();
        store
            .put(record("b", "x", DataClass::Tier3Operational))
            .unwrap();
        assert_eq!(store.search("x", DataClass::Tier3Operational, 9).len(), 1);
        assert_eq!(store.search("x", DataClass::Tier1Pii, 9).len(), 2);
        assert_eq!(store.search("x", DataClass::Tier1Pii, 1).len(), 1);
    }

    #[test]
    fn a_rewritten_file_holds_only_what_is_current() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let store = Store::open(&path).unwrap();
        for n in 0..50 {
            store
                .put(record("a", &n.to_string(), DataClass::Tier4Public))
                .unwrap();
        }
        let before = std::fs::metadata(&path).unwrap().len();
        let mut shelf = store.shelf();
        let mut log = shelf.log.take().unwrap();
        log.rewrite(shelf.records.values()).unwrap();
        shelf.log = Some(log);
        drop(shelf);
        assert!(std::fs::metadata(&path).unwrap().len() < before / 10);
        store.put(record("b", "1", DataClass::Tier4Public)).unwrap();
        drop(store);
        assert_eq!(Store::open(&path).unwrap().find("a").unwrap().value, "49");
        assert_eq!(Store::open(&path).unwrap().len(), 2);
    }
}
