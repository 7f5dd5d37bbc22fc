//! Text to a tree in which every value knows its place.
//!
//! The YAML library reads the text under a budget; what is kept of a scalar is
//! its own spelling, so that nothing is lost before the wanted type is known.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned as Raw;

use super::{Fault, MAX_BYTES, Mark, SourceFile};

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Mark,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Scalar(Scalar),
    Seq(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A mapping's key: always text.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) at: Mark,
    pub(crate) text: String,
}

/// A scalar in its own spelling.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) style: Style,
}

/// How a scalar came to be, which decides what it may become.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Style {
    /// Looks like a number or a boolean and is not quoted.
    Plain,
    /// Text.
    Text,
    /// Came out of a reference: may become anything, is never quoted in a
    /// message.
    Resolved,
}

/// Parses `source`; `file` is its index in the set, for marks.
pub(crate) fn read(source: &SourceFile, file: u32) -> Result<Node, Fault> {
    let start = Mark {
        file,
        line: 0,
        column: 0,
        len: 0,
    };
    if source.text.len() > MAX_BYTES {
        return Err(Fault::new(start, "the file is over 4 MiB").help("split it into several files"));
    }
    if only_comments(&source.text) {
        let at = Mark {
            file,
            line: 1,
            column: 1,
            len: 1,
        };
        return Ok(Node {
            at,
            value: Value::Map(Vec::new()),
        });
    }
    let parsed: Result<Raw<Loose>, _> =
        serde_saphyr::from_str_with_options(&source.text, options());
    match parsed {
        Ok(raw) => {
            let lines = Lines::of(&source.text);
            Ok(settle(
                raw,
                &Settling {
                    file,
                    lines: &lines,
                },
            ))
        }
        Err(error) => Err(syntax_fault(&error, start)),
    }
}

fn only_comments(text: &str) -> bool {
    text.trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .all(|line| line.is_empty() || line == "---" || line.starts_with('#'))
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_events: 1_000_000,
            max_nodes: 400_000,
            max_depth: 32,
            flow_nesting_limit: 32,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_documents: 1,
            max_merge_keys: 1_000,
            max_total_scalar_bytes: MAX_BYTES,
            max_recorded_anchor_events: 100_000,
            max_recorded_anchor_bytes: MAX_BYTES
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16
        }
    }
}

fn syntax_fault(error: &serde_saphyr::Error, start: Mark) -> Fault {
    let error = error.without_snippet();
    let at = error
        .location()
        .map_or(start, |location| mark(location, start.file));
    let text = error.render();
    let first = text.lines().next().unwrap_or("not YAML");
    // The position has its own place in a diagnostic.
    let message = first.split(" at line ").next().unwrap_or(first);
    let message = message.strip_prefix("error: ").unwrap_or(message);
    Fault::new(at, message)
}

fn mark(location: serde_saphyr::Location, file: u32) -> Mark {
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Mark {
        file,
        line: small(location.line()),
        column: small(location.column()),
        len: small(location.span().len()).max(1),
    }
}

/// What the library hands over, before spellings are looked up.
enum Loose {
    Null,
    Text(String),
    /// A number or boolean, with a spelling of it.
    Typed(String),
    Seq(Vec<Raw<Loose>>),
    Map(Vec<(Raw<String>, Raw<Loose>)>),
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Loose, E> {
        Ok(Loose::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Loose, E> {
        Ok(Loose::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Loose, E> {
        Ok(Loose::Typed(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Loose, E> {
        Ok(Loose::Typed(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Loose, E> {
        Ok(Loose::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Loose, E> {
        Ok(Loose::Typed(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Loose, E> {
        Ok(Loose::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Loose, E> {
        Ok(Loose::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Loose, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Loose::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Loose, A::Error> {
        let mut entries: Vec<(Raw<String>, Raw<Loose>)> = Vec::new();
        while let Some(key) = map.next_key::<Raw<String>>()? {
            entries.push((key, map.next_value()?));
        }
        if entries.len() > 400_000 {
            return Err(A::Error::custom("a mapping of over 400,000 keys"));
        }
        Ok(Loose::Map(entries))
    }
}

/// Byte offsets at which lines begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0)
            .chain(
                text.bytes()
                    .enumerate()
                    .filter(|(_, b)| *b == b'\n')
                    .map(|(i, _)| i + 1),
            )
            .collect();
        Self { text, starts }
    }

    /// The `len` characters at a place.
    fn slice(&self, location: serde_saphyr::Location) -> Option<&'a str> {
        let line = usize::try_from(location.line()).ok()?.checked_sub(1)?;
        let rest = self
            .text
            .get(*self.starts.get(line)?..)?
            .trim_start_matches('\u{feff}');
        let skip = usize::try_from(location.column()).ok()?.checked_sub(1)?;
        let len = usize::try_from(location.span().len()).ok()?;
        let start = rest.char_indices().nth(skip)?.0;
        let rest = rest.get(start..)?;
        let end = rest.char_indices().nth(len).map_or(rest.len(), |(i, _)| i);
        rest.get(..end)
    }
}

struct Settling<'a> {
    file: u32,
    lines: &'a Lines<'a>,
}

fn settle(raw: Raw<Loose>, with: &Settling<'_>) -> Node {
    let at = mark(raw.referenced, with.file);
    let value = match raw.value {
        Loose::Null => Value::Null,
        Loose::Text(text) => Value::Scalar(Scalar {
            text,
            style: Style::Text,
        }),
        Loose::Typed(canonical) => {
            let spelled = with.lines.slice(raw.defined).map(str::trim);
            let text = spelled
                .filter(|s| is_plain(s))
                .map_or(canonical, str::to_owned);
            Value::Scalar(Scalar {
                text,
                style: Style::Plain,
            })
        }
        Loose::Seq(items) => Value::Seq(items.into_iter().map(|item| settle(item, with)).collect()),
        Loose::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let at = mark(key.referenced, with.file);
                    (
                        Key {
                            at,
                            text: key.value,
                        },
                        settle(value, with),
                    )
                })
                .collect(),
        ),
    };
    Node { at, value }
}

/// Whether what was found at a scalar's place is a plain scalar: the guard
/// against a place that is off (an anchor, a tag).
fn is_plain(spelled: &str) -> bool {
    !spelled.is_empty()
        && !spelled.contains(|c: char| c.is_whitespace() || "&*!|>'\"%@`,[]{}#".contains(c))
}
