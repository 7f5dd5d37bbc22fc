//! serde's error, with a place and a remedy.

use std::fmt;

use serde::de;

use super::super::{Mark, nearest};

/// serde's error with a place, which the innermost value gives it.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) at: Option<Mark>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Problem {
    pub(super) fn at(mut self, at: Mark) -> Self {
        self.at.get_or_insert(at);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            at: None,
            message: message.to_string(),
            help: None,
        }
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!("expected {expected}, found {unexpected}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self {
            at: None,
            message: format!("`{variant}` is not known here"),
            help: Some(one_of(variant, expected)),
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self {
            at: None,
            message: format!("unknown key `{field}`"),
            help: Some(one_of(field, expected)),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format_args!("the key `{field}` is missing"))
    }
}

fn one_of(word: &str, expected: &'static [&'static str]) -> String {
    if let Some(meant) = nearest(word, expected.iter().copied()) {
        return format!("did you mean `{meant}`?");
    }
    match expected {
        [] => "no key is known here".to_owned(),
        [only] => format!("known here: `{only}`"),
        [..] => format!("known here: `{}`", expected.join("`, `")),
    }
}
