//! Faults, and how they are shown.

use std::fmt::{self, Write as _};

use super::{Mark, SourceFile};

/// Widest piece of a line that a frame shows, in characters.
const FRAME_WIDTH: usize = 120;

/// A fault before its file's name and text are at hand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    pub(crate) at: Mark,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    pub(crate) fn new(at: Mark, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
            help: None,
        }
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// One fault: what, where, what to do.
///
/// `Display` prints `path:line:column: message`, the lines with a caret, and
/// the help.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Diagnostic {
    /// The file, as it was named by the caller.
    pub path: String,
    /// Line, from 1; 0 when the fault belongs to no line.
    pub line: u32,
    /// Column in characters, from 1; 0 as for `line`.
    pub column: u32,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The line with its predecessor and a caret; empty when there is no line.
    pub frame: String,
}

impl Diagnostic {
    /// A fault of meaning at a value's place, for those who check more than
    /// types. `source` is the file that the value was parsed from.
    pub fn at(source: &SourceFile, at: Mark, message: impl Into<String>) -> Self {
        let fault = Fault::new(Mark { file: 0, ..at }, message);
        render_one(std::slice::from_ref(source), fault)
    }

    /// The first of several on one line, with its place, what to do, and how
    /// many more there are.
    pub fn in_one_line(faults: &[Self]) -> String {
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
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 if self.path.is_empty() => write!(f, "{}", self.message)?,
            0 => write!(f, "{}: {}", self.path, self.message)?,
            line => write!(
                f,
                "{}:{}:{}: {}",
                self.path, line, self.column, self.message
            )?,
        }
        if !self.frame.is_empty() {
            write!(f, "\n{}", self.frame)?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  = help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// Turns faults into diagnostics, in the order of files and lines, each once.
pub(crate) fn render(sources: &[SourceFile], mut faults: Vec<Fault>) -> Vec<Diagnostic> {
    faults.sort_by_key(|fault| fault.at);
    faults.dedup();
    faults
        .into_iter()
        .map(|fault| render_one(sources, fault))
        .collect()
}

fn render_one(sources: &[SourceFile], fault: Fault) -> Diagnostic {
    let source = usize::try_from(fault.at.file)
        .ok()
        .and_then(|file| sources.get(file));
    Diagnostic {
        path: source.map(|s| s.path.clone()).unwrap_or_default(),
        line: fault.at.line,
        column: if fault.at.line == 0 {
            0
        } else {
            fault.at.column
        },
        frame: source.map(|s| frame(&s.text, fault.at)).unwrap_or_default(),
        message: fault.message,
        help: fault.help,
    }
}

fn frame(text: &str, at: Mark) -> String {
    let Some(index) = usize::try_from(at.line)
        .ok()
        .and_then(|line| line.checked_sub(1))
    else {
        return String::new();
    };
    let Some(line) = text.lines().nth(index) else {
        return String::new();
    };
    let line = line.trim_start_matches('\u{feff}');
    let column = usize::try_from(at.column).unwrap_or(1).saturating_sub(1);
    let cut = column.saturating_sub(FRAME_WIDTH / 2);
    let shown = printable(line, cut);
    let before = column.saturating_sub(cut).min(shown.chars().count());
    let carets = usize::try_from(at.len)
        .unwrap_or(1)
        .clamp(1, shown.chars().count().saturating_sub(before).max(1));
    let width = at.line.to_string().len();
    let mut out = format!("{:width$} |\n", "");
    if let Some(previous) = index.checked_sub(1).and_then(|i| text.lines().nth(i)) {
        let _ = writeln!(out, "{:width$} | {}", index, printable(previous, 0));
    }
    let _ = writeln!(out, "{:width$} | {shown}", at.line);
    let _ = write!(out, "{:width$} | {:before$}{}", "", "", "^".repeat(carets));
    out
}

fn printable(line: &str, skip: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    line.trim_end()
        .chars()
        .skip(skip)
        .take(FRAME_WIDTH)
        .map(clean)
        .collect()
}

/// The candidate that was probably meant: at most a third of the letters
/// differ.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(3)) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap two neighbours) from `a` to `b`; words
/// over 64 letters are as far apart as they are long.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 || b.len() > 64 {
        return a.len().max(b.len());
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let replaced = at(&row, j) + usize::from(!x.eq_ignore_ascii_case(y));
            let mut least = replaced.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let earlier =
                |chars: &[char], k: usize| k.checked_sub(1).and_then(|k| chars.get(k).copied());
            if earlier(&a, i) == Some(*y) && earlier(&b, j) == Some(*x) {
                least = least.min(j.checked_sub(1).map_or(usize::MAX, |j| at(&before, j) + 1));
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
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
            Diagnostic::in_one_line(&[diagnostic(3), diagnostic(9)]),
            "conf/policies/regions.yaml:3:5: unknown field `idd` (did you mean `id`?); and 1 more"
        );
        assert!(
            Diagnostic::in_one_line(&[diagnostic(0)])
                .starts_with("conf/policies/regions.yaml: unknown")
        );
    }
}
