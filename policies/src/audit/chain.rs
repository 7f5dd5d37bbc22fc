//! Lines that name the one before them.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::canonical::Object;

/// Longest line of an audit log, bytes, its line feed included. Records are a
/// few hundred bytes long: nothing in them has a length that a client chooses.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// What the first line of a chain names as the one before it.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The last line of a chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    /// Its number; 0: there is no line yet.
    pub seq: u64,
    /// Its hash, 64 lower-case hex digits.
    pub hash: String,
}

/// Where the next line is appended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chain {
    head: Head,
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// A chain without a line.
    pub fn new() -> Self {
        Self::after(Head {
            seq: 0,
            hash: GENESIS.to_owned(),
        })
    }

    /// A chain that goes on after this line.
    pub fn after(head: Head) -> Self {
        Self { head }
    }

    /// The last line.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Appends the line of one record to `out`, with its line feed. `record`
    /// is canonical JSON, as the functions of this module write it.
    pub fn append(&mut self, record: &str, out: &mut String) {
        let seq = self.head.seq.saturating_add(1);
        let hash = hash(record, seq, &self.head.hash);
        let mut line = Object::begin(out);
        line.text("hash", &hash);
        line.text("prev", &self.head.hash);
        line.raw("record", record);
        line.number("seq", seq);
        line.end();
        out.push('\n');
        self.head = Head { seq, hash };
    }
}

/// SHA-256 over the line without its `hash`, in hex.
pub(super) fn hash(record: &str, seq: u64, prev: &str) -> String {
    let mut body = String::with_capacity(record.len() + 128);
    let mut line = Object::begin(&mut body);
    line.text("prev", prev);
    line.raw("record", record);
    line.number("seq", seq);
    line.end();
    let digest = Sha256::digest(body.as_bytes());
    digest
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}
