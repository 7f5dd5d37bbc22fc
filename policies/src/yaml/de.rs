//! A tree to a type, with serde.
//!
//! Unknown fields are collected, all of them; a fault of type or value ends
//! the value it is in. Types are strict: text does not become a number, a
//! number becomes text only in its own spelling, `yes` is not a boolean.

mod access;
mod choice;
mod place;
mod problem;

use std::cell::RefCell;

use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};

use self::access::{Entries, Items};
use self::choice::Choice;
use self::place::Place;
use self::problem::Problem;
use super::Fault;
use super::node::{Key, Node, Scalar, Style, Value};
use super::spanned::SPANNED;

/// Builds a `T`, adding to `faults` what is wrong. `None` if it could not be
/// built; unknown fields alone still give the value, beside their faults.
pub(crate) fn from_node<T: DeserializeOwned>(node: &Node, faults: &mut Vec<Fault>) -> Option<T> {
    let sink = RefCell::new(Vec::new());
    let built = T::deserialize(At { node, sink: &sink });
    faults.append(&mut sink.into_inner());
    match built {
        Ok(value) => Some(value),
        Err(problem) => {
            faults.push(Fault {
                at: problem.at.unwrap_or(node.at),
                message: problem.message,
                help: problem.help,
            });
            None
        }
    }
}

type Sink = RefCell<Vec<Fault>>;

/// A node about to become something.
#[derive(Copy, Clone)]
struct At<'a> {
    node: &'a Node,
    sink: &'a Sink,
}

impl<'a> At<'a> {
    fn child(self, node: &'a Node) -> Self {
        Self {
            node,
            sink: self.sink,
        }
    }

    /// Gives a problem this node's place. What came out of a reference may be
    /// a secret, so a message that could repeat it is replaced.
    fn blame(self, problem: Problem) -> Problem {
        match &self.node.value {
            Value::Scalar(Scalar {
                style: Style::Resolved,
                ..
            }) => Problem {
                at: Some(self.node.at),
                message: "what this reference brings in does not fit here".to_owned(),
                help: None,
            },
            Value::Null | Value::Scalar(_) | Value::Seq(_) | Value::Map(_) => {
                problem.at(self.node.at)
            }
        }
    }

    fn wrong<T>(self, expected: &str) -> Result<T, Problem> {
        let found = match &self.node.value {
            Value::Null => "nothing".to_owned(),
            Value::Seq(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Scalar(scalar) => match scalar.style {
                Style::Plain => format!("`{}`", scalar.text),
                Style::Text => format!("the text `{}`", shorten(&scalar.text)),
                Style::Resolved => "what this reference brings in".to_owned(),
            },
        };
        Err(Problem::custom(format_args!("expected {expected}, found {found}")).at(self.node.at))
    }

    /// A scalar that may be a number or a boolean.
    fn loose(self, expected: &str) -> Result<&'a str, Problem> {
        match &self.node.value {
            Value::Scalar(Scalar {
                text,
                style: Style::Plain | Style::Resolved,
            }) => Ok(text),
            Value::Scalar(_) | Value::Null | Value::Seq(_) | Value::Map(_) => self.wrong(expected),
        }
    }

    fn integer<T: std::str::FromStr>(self, expected: &str) -> Result<T, Problem> {
        let text = self.loose(expected)?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        let plain = !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && (digits.len() == 1 || !digits.starts_with('0'));
        match text.parse() {
            Ok(number) if plain => Ok(number),
            Ok(_) | Err(_) => self.wrong(expected),
        }
    }

    fn float(self) -> Result<f64, Problem> {
        let text = self.loose("a number")?;
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_digit() || b".-+eE".contains(&b));
        match text.parse::<f64>() {
            Ok(number) if plain && number.is_finite() => Ok(number),
            Ok(_) | Err(_) => self.wrong("a number"),
        }
    }

    fn seq(self) -> Result<Items<'a>, Problem> {
        match &self.node.value {
            Value::Seq(items) => Ok(Items {
                items: items.iter(),
                of: self,
            }),
            Value::Null | Value::Scalar(_) | Value::Map(_) => self.wrong("a list"),
        }
    }

    fn map(self) -> Result<Entries<'a>, Problem> {
        match &self.node.value {
            Value::Map(entries) => Ok(Entries {
                rest: entries.iter(),
                value: None,
                known: None,
                of: self,
            }),
            Value::Null | Value::Scalar(_) | Value::Seq(_) => self.wrong("a mapping"),
        }
    }
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty, $expected:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            let number: $type = self.integer($expected)?;
            visitor.$visit(number).map_err(|e: Problem| self.blame(e))
        }
    )*};
}

impl<'de> Deserializer<'de> for At<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.value {
            Value::Null => self.deserialize_unit(visitor),
            Value::Seq(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
            Value::Scalar(Scalar {
                text,
                style: Style::Plain,
            }) => match text.as_str() {
                "true" | "false" => self.deserialize_bool(visitor),
                text if text.parse::<u64>().is_ok() => self.deserialize_u64(visitor),
                text if text.parse::<i64>().is_ok() => self.deserialize_i64(visitor),
                _ => self.deserialize_f64(visitor),
            },
            Value::Scalar(_) => self.deserialize_str(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.loose("true or false")? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => self.wrong("true or false"),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8, "a whole number from -128 to 127";
        deserialize_i16 visit_i16 i16, "a whole number from -32768 to 32767";
        deserialize_i32 visit_i32 i32, "a whole number";
        deserialize_i64 visit_i64 i64, "a whole number";
        deserialize_u8 visit_u8 u8, "a whole number from 0 to 255";
        deserialize_u16 visit_u16 u16, "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 u32, "a whole number from 0 to 4294967295";
        deserialize_u64 visit_u64 u64, "a whole number, not negative";
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor
            .visit_f64(self.float()?)
            .map_err(|e: Problem| self.blame(e))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.value {
            Value::Scalar(scalar) => visitor
                .visit_str(&scalar.text)
                .map_err(|e: Problem| self.blame(e)),
            Value::Null | Value::Seq(_) | Value::Map(_) => self.wrong("text"),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    /// A key that is there with nothing behind it is a fault, not an absence:
    /// an indentation that slipped must not switch a default on.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Scalar(_) | Value::Seq(_) | Value::Map(_) => self.wrong("nothing"),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor
            .visit_seq(self.seq()?)
            .map_err(|e| e.at(self.node.at))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        if name == SPANNED {
            return visitor.visit_seq(Place { step: 0, of: self });
        }
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor
            .visit_map(self.map()?)
            .map_err(|e| e.at(self.node.at))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let entries = Entries {
            known: Some(fields),
            ..self.map()?
        };
        visitor.visit_map(entries).map_err(|e| e.at(self.node.at))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let choice = match &self.node.value {
            Value::Scalar(scalar) => Choice {
                name: &scalar.text,
                at: self.node.at,
                inner: None,
                of: self,
            },
            Value::Map(entries) => match entries.as_slice() {
                [(Key { at, text }, inner)] => Choice {
                    name: text,
                    at: *at,
                    inner: Some(inner),
                    of: self,
                },
                [..] => return self.wrong(&format!("one of `{}`", variants.join("`, `"))),
            },
            Value::Null | Value::Seq(_) => {
                return self.wrong(&format!("one of `{}`", variants.join("`, `")));
            }
        };
        visitor.visit_enum(choice).map_err(|e| self.blame(e))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }
}
