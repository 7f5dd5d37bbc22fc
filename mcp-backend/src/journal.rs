//! The request log that tests read. Promises the last [`ENTRIES_MAX`] requests
//! and totals by data class since the start. Keeps no header but the few it
//! names, and no more than a bounded piece of each.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use http::{HeaderMap, request::Parts};
use serde::Serialize;

use crate::data_class::DataClass;

/// Requests that are kept; older ones are forgotten.
pub(crate) const ENTRIES_MAX: usize = 1024;
/// Bytes kept of a path.
const PATH_MAX: usize = 256;
/// Bytes kept of a header.
const FIELD_MAX: usize = 128;

/// One request as it arrived. Absent headers are `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    /// Counted from one since the start.
    pub seq: u64,
    /// Method.
    pub method: String,
    /// Path without its query, at most 256 bytes.
    pub path: String,
    /// `x-request-id`.
    pub request_id: Option<String>,
    /// `x-data-class`.
    pub data_class: Option<String>,
    /// `x-client-region`.
    pub client_region: Option<String>,
    /// `traceparent`.
    pub traceparent: Option<String>,
    /// `mcp-method`, of the modern era only.
    pub mcp_method: Option<String>,
    /// `mcp-name`, of the modern era only.
    pub mcp_name: Option<String>,
}

/// What `GET /v3/log` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// Requests since the start or the last clearing.
    pub total: u64,
    /// Those by data class: the four names, `none` and `unknown`. Unlike
    /// `entries`, nothing is ever forgotten here.
    pub classes: BTreeMap<&'static str, u64>,
    /// The last requests, oldest first.
    pub entries: Vec<Entry>,
}

/// A ring of the last requests, and their file.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    total: u64,
    classes: BTreeMap<&'static str, u64>,
    entries: VecDeque<Entry>,
    file: Option<File>,
}

impl Journal {
    /// With a file that every request is appended to.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        let append = |path| File::options().create(true).append(true).open(path);
        Ok(Self {
            file: path.map(append).transpose()?,
            ..Self::default()
        })
    }

    /// Notes a request. A file that can't be written is an error: who asked
    /// for it relies on it.
    pub(crate) fn record(&mut self, parts: &Parts) -> io::Result<()> {
        self.total += 1;
        let data_class = field(&parts.headers, "x-data-class");
        *self
            .classes
            .entry(label(data_class.as_deref()))
            .or_default() += 1;
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
        }
        let entry = Entry {
            seq: self.total,
            method: cut(parts.method.as_str(), FIELD_MAX),
            path: cut(parts.uri.path(), PATH_MAX),
            request_id: field(&parts.headers, "x-request-id"),
            data_class,
            client_region: field(&parts.headers, "x-client-region"),
            traceparent: field(&parts.headers, "traceparent"),
            mcp_method: field(&parts.headers, "mcp-method"),
            mcp_name: field(&parts.headers, "mcp-name"),
        };
        let written = self.file.as_mut().map_or(Ok(()), |file| {
            let mut line = serde_json::to_vec(&entry)?;
            line.push(b'\n');
            file.write_all(&line)
        });
        self.entries.push_back(entry);
        written
    }

    /// The totals and the last `limit` requests, oldest first.
    pub(crate) fn report(&self, limit: usize) -> Report {
        let skip = self.entries.len().saturating_sub(limit);
        Report {
            total: self.total,
            classes: self.classes.clone(),
            entries: self.entries.iter().skip(skip).cloned().collect(),
        }
    }

    /// Forgets everything, totals included.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            file: self.file.take(),
            ..Self::default()
        };
    }
}

fn label(class: Option<&str>) -> &'static str {
    match class.map(str::parse::<DataClass>) {
        None => "none",
        Some(Ok(class)) => class.as_str(),
        Some(Err(_)) => "unknown",
    }
}

fn field(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(cut(&String::from_utf8_lossy(value.as_bytes()), FIELD_MAX))
}

fn cut(text: &str, max: usize) -> String {
    text.get(..text.floor_char_boundary(max))
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(path: &str, class: Option<&str>) -> Parts {
        let mut request = Request::builder().uri(path).header("x-request-id", "r-1");
        if let Some(class) = class {
            request = request.header("x-data-class", class);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_ring_forgets_the_oldest_and_the_totals_forget_nothing() {
        let mut journal = Journal::default();
        journal
            .record(&request("/first", Some("tier_1_pii")))
            .unwrap();
        for _ in 0..ENTRIES_MAX {
            journal.record(&request("/later?q=1", None)).unwrap();
        }
        let report = journal.report(usize::MAX);
        assert_eq!(report.entries.len(), ENTRIES_MAX);
        assert!(report.entries.iter().all(|entry| entry.path == "/later"));
        assert_eq!(report.total, ENTRIES_MAX as u64 + 1);
        assert_eq!(report.classes.get("tier_1_pii"), Some(&1));
        assert_eq!(journal.report(2).entries.len(), 2);
    }

    #[test]
    fn text_of_clients_is_cut_and_never_names_a_counter() {
        let mut journal = Journal::default();
        let long = format!("/{}", "é".repeat(400));
        let encoded = format!("/{}", "a".repeat(4000));
        journal
            .record(&request(&encoded, Some(&"x".repeat(4000))))
            .unwrap();
        let report = journal.report(1);
        assert_eq!(report.entries[0].path.len(), PATH_MAX);
        assert_eq!(
            report.entries[0].data_class.as_ref().map(String::len),
            Some(FIELD_MAX)
        );
        assert_eq!(
            report.classes.keys().copied().collect::<Vec<_>>(),
            ["unknown"]
        );
        assert!(cut(&long, PATH_MAX).len() <= PATH_MAX);
    }

    #[test]
    fn a_file_has_every_request_even_those_that_the_ring_forgot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests.jsonl");
        let mut journal = Journal::open(Some(&path)).unwrap();
        for _ in 0..ENTRIES_MAX + 3 {
            journal
                .record(&request("/a", Some("tier_4_public")))
                .unwrap();
        }
        journal.clear();
        journal.record(&request("/b", None)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), ENTRIES_MAX + 4);
        assert!(text.ends_with("}\n") && text.contains("\"data_class\":\"tier_4_public\""));
    }
}
