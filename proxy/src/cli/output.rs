//! What people and programs read.
//!
//! Promises never to panic because a reader went away, and one line a notice:
//! plain on a terminal, JSON with a severity elsewhere.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};

use meridian_policies::Diagnostic;
use serde::Serialize;
use serde_json::json;

/// How urgent a notice is, in Cloud Logging's words.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Severity {
    Info,
    Warning,
    Error,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// A line of data. A reader that went away is no fault.
pub(super) fn line(text: impl fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Text as it is, without a line end of its own.
pub(super) fn raw(text: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text).and_then(|()| out.flush());
}

/// Data as JSON.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Why the verb failed: one line on standard error.
pub(super) fn fault(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "meridian: {text}");
}

/// Something that happened while running: one line on standard error.
pub(super) fn notice(severity: Severity, text: &str) {
    let mut err = std::io::stderr().lock();
    let line = if err.is_terminal() {
        format!("meridian: {text}\n")
    } else {
        let line = json!({ "severity": severity.as_str(), "message": text });
        format!("{line}\n")
    };
    // In one write: another process may write to the same file.
    let _ = err.write_all(line.as_bytes());
}

/// `1 fault`, `2 faults`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// All faults of a set with their frames, for a person.
pub(super) fn diagnostics(faults: &[Diagnostic]) {
    let mut err = std::io::stderr().lock();
    for fault in faults {
        let _ = writeln!(err, "{fault}");
    }
}
