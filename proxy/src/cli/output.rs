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

/// The first fault on one line, with its place and what to do.
pub(super) fn in_one_line(faults: &[Diagnostic]) -> String {
    let Some(first) = faults.first() else {
        return "unknown fault".to_owned();
    };
    let place = match first.line {
        0 => first.path.clone(),
        line => format!("{}:{line}:{}", first.path, first.column),
    };
    let help = first
        .help
        .as_ref()
        .map(|help| format!(" ({help})"))
        .unwrap_or_default();
    let more = match faults.len() {
        0 | 1 => String::new(),
        count => format!("; and {} more", count - 1),
    };
    format!("{place}: {}{help}{more}", first.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(line: u32) -> Diagnostic {
        Diagnostic {
            path: "conf/policies/regions.yaml".to_owned(),
            line,
            column: 5,
            message: "unknown field `idd`".to_owned(),
            help: Some("did you mean `id`?".to_owned()),
            frame: "3 | idd: x".to_owned(),
        }
    }

    #[test]
    fn one_line_names_the_place_the_fault_and_the_cure() {
        assert_eq!(
            in_one_line(&[diagnostic(3), diagnostic(9)]),
            "conf/policies/regions.yaml:3:5: unknown field `idd` (did you mean `id`?); and 1 more"
        );
        assert!(in_one_line(&[diagnostic(0)]).starts_with("conf/policies/regions.yaml: unknown"));
    }
}
