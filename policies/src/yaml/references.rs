//! `${NAME}`, `${NAME:-default}` and `file:PATH` inside values.
//!
//! Resolved after parsing, per string: what a reference brings in is a value,
//! never structure, and is not searched for further references. `$${` writes a
//! plain `${`.

use super::node::{Node, Scalar, Style, Value};
use super::{Fault, MAX_BYTES};

/// How references are resolved. The closures do the I/O, in the caller.
#[derive(Copy, Clone)]
pub struct References<'a> {
    /// The value of an environment variable, if it is set.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file; one line end at its end is cut off.
    pub file: &'a dyn Fn(&str) -> Result<String, String>,
}

impl References<'_> {
    /// Resolves nothing: a reference without a default is a fault.
    pub const NONE: References<'static> = References {
        env: &|_| None,
        file: &|_| Err("files are not read here".to_owned()),
    };
}

impl std::fmt::Debug for References<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("References")
    }
}

/// Resolves every reference below `node`.
pub(crate) fn expand(node: &mut Node, refs: &References<'_>, faults: &mut Vec<Fault>) {
    let at = node.at;
    match &mut node.value {
        Value::Null => {}
        Value::Scalar(scalar) => {
            if let Err((message, help)) = expand_scalar(scalar, refs) {
                faults.push(Fault { at, message, help });
            }
        }
        Value::Seq(items) => {
            for item in items {
                expand(item, refs, faults);
            }
        }
        Value::Map(entries) => {
            for (_, value) in entries {
                expand(value, refs, faults);
            }
        }
    }
}

type Problem = (String, Option<String>);

fn expand_scalar(scalar: &mut Scalar, refs: &References<'_>) -> Result<(), Problem> {
    let resolved = if let Some(path) = scalar.text.strip_prefix("file:") {
        let text =
            (refs.file)(path).map_err(|why| (format!("cannot read `{path}`: {why}"), None))?;
        let text = text
            .strip_suffix('\n')
            .map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
        text.to_owned()
    } else if scalar.text.contains("${") {
        substitute(&scalar.text, refs)?
    } else {
        return Ok(());
    };
    if resolved.len() > MAX_BYTES {
        return Err((
            "what this reference brings in is over 4 MiB".to_owned(),
            None,
        ));
    }
    *scalar = Scalar {
        text: resolved,
        style: Style::Resolved,
    };
    Ok(())
}

fn substitute(text: &str, refs: &References<'_>) -> Result<String, Problem> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            out.push_str(literal);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            return Err((
                "a reference without its closing brace".to_owned(),
                Some("write `${NAME}` or `${NAME:-default}`; `$${` is a plain `${`".to_owned()),
            ));
        };
        out.push_str(&variable(name, refs)?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

fn variable(reference: &str, refs: &References<'_>) -> Result<String, Problem> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let well_formed = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !well_formed {
        return Err((
            format!("`{name}` is not a name of a variable"),
            Some("letters, digits and underscores, as in `${NAME:-default}`".to_owned()),
        ));
    }
    match ((refs.env)(name).filter(|value| !value.is_empty()), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err((
            format!("the variable `{name}` is not set"),
            Some(format!("set it, or give a default: `${{{name}:-value}}`")),
        )),
    }
}
