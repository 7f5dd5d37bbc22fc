//! JSON that has one spelling only: keys in ascending order, no white space,
//! whole numbers, and of the escapes the shortest (RFC 8785, without its
//! numbers: there are no fractions here).

use std::fmt::Write as _;

use serde_json::Value;

/// Writes one object, key by key. The keys must come in ascending order.
pub(super) struct Object<'a> {
    out: &'a mut String,
    last: &'static str,
}

impl<'a> Object<'a> {
    /// Begins an object.
    pub(super) fn begin(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, last: "" }
    }

    fn key(&mut self, key: &'static str) {
        debug_assert!(self.last < key, "{key} after {}", self.last);
        if !self.last.is_empty() {
            self.out.push(',');
        }
        self.last = key;
        text(key, self.out);
        self.out.push(':');
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str, value: &str) {
        self.key(key);
        text(value, self.out);
    }

    /// A text, if there is one.
    pub(super) fn maybe(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    /// A whole number.
    pub(super) fn number(&mut self, key: &'static str, value: u64) {
        self.key(key);
        // Writing to a string cannot fail.
        let _ = write!(self.out, "{value}");
    }

    /// A list of texts.
    pub(super) fn list<'b>(
        &mut self,
        key: &'static str,
        values: impl IntoIterator<Item = &'b str>,
    ) {
        self.key(key);
        self.out.push('[');
        for (at, value) in values.into_iter().enumerate() {
            if at > 0 {
                self.out.push(',');
            }
            text(value, self.out);
        }
        self.out.push(']');
    }

    /// JSON that is canonical already.
    pub(super) fn raw(&mut self, key: &'static str, value: &str) {
        self.key(key);
        self.out.push_str(value);
    }

    /// Ends it.
    pub(super) fn end(self) {
        self.out.push('}');
    }
}

/// A text in quotes.
fn text(value: &str, out: &mut String) {
    out.push('"');
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
}

/// Deepest nesting of a record; deeper ones are not canonical.
const DEPTH_MAX: u32 = 16;

/// Writes any value canonically. `None`: it has a fraction, or is nested too
/// deeply.
pub(super) fn write(value: &Value, out: &mut String) -> Option<()> {
    write_at(value, out, 0)
}

fn write_at(value: &Value, out: &mut String, depth: u32) -> Option<()> {
    if depth > DEPTH_MAX {
        return None;
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
        Value::Number(number) => {
            let whole = number.as_u64()?;
            let _ = write!(out, "{whole}");
        }
        Value::String(value) => text(value, out),
        Value::Array(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_at(value, out, depth + 1)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (at, (key, value)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                text(key, out);
                out.push(':');
                write_at(value, out, depth + 1)?;
            }
            out.push('}');
        }
    }
    Some(())
}
