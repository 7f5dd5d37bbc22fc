//! The one front door for YAML: policy files and the static file.
//!
//! Promises: a fault names its file, line and column, shows the lines and says
//! what to do; unknown fields and doubled keys are refused; a value never
//! changes type by its looks (`NO` is Norway, `1.10` stays `1.10`); references
//! are resolved after parsing, one string at a time, so that no value can
//! inject YAML. Refuses: files over [`MAX_BYTES`], nesting over 32, several
//! documents, and anything whose aliases multiply.

mod de;
mod diagnostic;
mod node;
mod onoff;
mod pairs;
mod references;
mod spanned;
mod units;

use serde::de::DeserializeOwned;

pub(crate) use de::from_node;
pub use diagnostic::Diagnostic;
pub(crate) use diagnostic::{Fault, nearest, render};
pub(crate) use node::{Key, Node, Value, read};
pub use onoff::OnOff;
pub use pairs::Pairs;
pub use references::References;
pub(crate) use references::expand;
pub use spanned::{Mark, Spanned};
pub use units::{ByteSize, Span};

/// Largest file that is read: 4 MiB.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// One file's name and text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceFile {
    /// Shown in diagnostics as it is.
    pub path: String,
    /// The whole text; a byte order mark and CRLF are fine.
    pub text: String,
}

/// Reads `source` as a `T`.
///
/// An empty file is an empty mapping. Every reference is resolved through
/// `refs` before `T` is built.
///
/// # Errors
/// All faults that could be told apart in one pass: every unknown field, every
/// broken reference, and the first fault of type or value.
pub fn parse<T: DeserializeOwned>(
    source: &SourceFile,
    refs: &References<'_>,
) -> Result<T, Vec<Diagnostic>> {
    let mut faults = Vec::new();
    let parsed = read(source, 0).map(|mut node| {
        expand(&mut node, refs, &mut faults);
        from_node(&node, &mut faults)
    });
    match parsed {
        Ok(Some(value)) if faults.is_empty() => Ok(value),
        Ok(Some(_) | None) => Err(render(std::slice::from_ref(source), faults)),
        Err(fault) => Err(render(std::slice::from_ref(source), vec![fault])),
    }
}

#[cfg(test)]
mod tests;
