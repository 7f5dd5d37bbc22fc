//! Whether a chain is whole.

use std::fmt;

use serde_json::Value;

use super::canonical;
use super::chain::{GENESIS, Head, LINE_BYTES_MAX, hash};

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// It has no line feed: the writer stopped in the middle of it.
    Torn {
        /// Its bytes.
        bytes: usize,
    },
    /// It is longer than a line may be.
    TooLong,
    /// It is not a line of an audit log.
    Unreadable(String),
    /// It is not spelt as the writer spells.
    Spelling,
    /// Its hash is not that of what it says.
    Hash,
    /// It names another line than the one before it.
    Previous,
    /// Its number does not follow.
    Sequence {
        /// The number that would follow.
        expected: u64,
        /// The number it has.
        found: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torn { bytes } => write!(
                f,
                "torn: the last {bytes} bytes have no line end; the writer stopped in the middle of a line"
            ),
            Self::TooLong => write!(f, "longer than {LINE_BYTES_MAX} bytes"),
            Self::Unreadable(why) => write!(f, "not a line of an audit log: {why}"),
            Self::Spelling => f.write_str("not spelt as the writer spells: changed or reformatted"),
            Self::Hash => f.write_str("changed: its hash is not that of what it says"),
            Self::Previous => f.write_str(
                "does not follow the line before it: a line was changed, taken out or put in",
            ),
            Self::Sequence { expected, found } => write!(
                f,
                "number {found} where {expected} would follow: lines were taken out, put in or moved"
            ),
        }
    }
}

/// One line that was read.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Its number.
    pub seq: u64,
    /// What it says.
    pub record: Value,
}

/// Reads a chain from its first line on, across files.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    head: Option<Head>,
    first: Option<u64>,
    lines: u64,
}

impl Verifier {
    /// Before the first line.
    pub fn new() -> Self {
        Self::default()
    }

    /// The last line that was read.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Number of the first line; above 1, older files were not given.
    pub fn first(&self) -> Option<u64> {
        self.first
    }

    /// Lines read.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Takes the next line, with its line feed. A faulty line that still has
    /// a number and a hash is gone on from, so that the lines after it are
    /// judged by themselves.
    ///
    /// # Errors
    /// Every fault of the line.
    pub fn line(&mut self, line: &[u8]) -> Result<Verified, Vec<Fault>> {
        self.lines += 1;
        let read = read(line).map_err(|fault| vec![fault])?;
        let mut faults = Vec::new();
        if read.spelt != line {
            faults.push(Fault::Spelling);
        }
        if hash(&read.text, read.seq, &read.prev) != read.hash {
            faults.push(Fault::Hash);
        }
        match &self.head {
            Some(head) => {
                let expected = head.seq.saturating_add(1);
                if read.seq != expected {
                    let found = read.seq;
                    faults.push(Fault::Sequence { expected, found });
                } else if read.prev != head.hash {
                    faults.push(Fault::Previous);
                }
            }
            None if read.seq == 1 && read.prev != GENESIS => faults.push(Fault::Previous),
            None => {}
        }
        let Read {
            seq, hash, record, ..
        } = read;
        self.first.get_or_insert(seq);
        self.head = Some(Head { seq, hash });
        if faults.is_empty() {
            Ok(Verified { seq, record })
        } else {
            Err(faults)
        }
    }
}

struct Read {
    hash: String,
    prev: String,
    seq: u64,
    record: Value,
    /// The record, spelt canonically.
    text: String,
    /// The whole line, spelt canonically.
    spelt: Vec<u8>,
}

fn read(line: &[u8]) -> Result<Read, Fault> {
    let Some(body) = line.strip_suffix(b"\n") else {
        return Err(Fault::Torn { bytes: line.len() });
    };
    if line.len() > LINE_BYTES_MAX {
        return Err(Fault::TooLong);
    }
    let unreadable = |why: &str| Fault::Unreadable(why.to_owned());
    let whole: Value =
        serde_json::from_slice(body).map_err(|error| Fault::Unreadable(error.to_string()))?;
    let mut spelt = String::with_capacity(line.len());
    canonical::write(&whole, &mut spelt).ok_or_else(|| unreadable("a number is not whole"))?;
    spelt.push('\n');
    let Value::Object(mut members) = whole else {
        return Err(unreadable("no object"));
    };
    let mut hex = |key: &str| match members.remove(key) {
        Some(Value::String(text)) if text.len() == 64 => Ok(text),
        Some(_) | None => Err(Fault::Unreadable(format!("no `{key}`"))),
    };
    let (hash, prev) = (hex("hash")?, hex("prev")?);
    let seq = members.remove("seq").and_then(|seq| seq.as_u64());
    let seq = seq.ok_or_else(|| unreadable("no `seq`"))?;
    let record = members.remove("record");
    let record = record.ok_or_else(|| unreadable("no `record`"))?;
    if !record.is_object() || !members.is_empty() {
        return Err(unreadable("members that do not belong there"));
    }
    let mut text = String::with_capacity(line.len());
    canonical::write(&record, &mut text).ok_or_else(|| unreadable("a number is not whole"))?;
    Ok(Read {
        hash,
        prev,
        seq,
        record,
        text,
        spelt: spelt.into_bytes(),
    })
}
