//! Which claim says what.
//!
//! Promises: a claim counts only where the policies name it. A class that
//! can't be read is the strictest one, consent and safeguards that can't be
//! read are none, and a subject or groups of another type are no token at all,
//! since a rule that denies by them must not be slipped past.

use serde_json::{Map, Value, json};

use super::raw::{RawClaims, RawPath};
use super::{Identity, ProviderIndex, TokenFault};
use crate::compile::CompileContext;
use crate::residency::DataClass;
use crate::yaml::Spanned;

/// Most names on the way to a claim.
const PATH_MAX: usize = 8;
/// Longest purpose, bytes; the same as of a trusted hop.
const PURPOSE_MAX: usize = 64;

/// Key `claims` of a provider, compiled.
#[derive(Debug)]
pub(super) struct ClaimNames {
    subject: ClaimPath,
    groups: Option<ClaimPath>,
    class: Option<ClaimPath>,
    consent: Option<ClaimPath>,
    safeguards: Option<ClaimPath>,
    purpose: Option<ClaimPath>,
}

/// Names from the outermost object inward. Never empty.
#[derive(Debug)]
struct ClaimPath(Vec<String>);

impl ClaimNames {
    pub(super) fn compile(raw: &RawClaims, ctx: &mut CompileContext<'_>) -> Self {
        let mut path = |raw: &Option<Spanned<RawPath>>| {
            let raw = raw.as_ref()?;
            let names = &raw.value.0;
            if names.is_empty() || names.len() > PATH_MAX || names.iter().any(String::is_empty) {
                ctx.error_help(
                    raw.at,
                    "this leads to no claim",
                    format!("write a claim's name, or a list of 1 to {PATH_MAX} names"),
                );
            }
            Some(ClaimPath(names.clone()))
        };
        Self {
            subject: path(&raw.subject).unwrap_or_else(|| ClaimPath(vec!["sub".to_owned()])),
            groups: path(&raw.groups),
            class: path(&raw.class),
            consent: path(&raw.consent),
            safeguards: path(&raw.safeguards),
            purpose: path(&raw.purpose),
        }
    }

    /// What a token of these claims says; provider and times are still to be
    /// filled in.
    pub(super) fn read(&self, claims: &Map<String, Value>) -> Result<Identity, TokenFault> {
        let at = |path: &Option<ClaimPath>| path.as_ref().and_then(|path| path.find(claims));
        let subject = match self.subject.find(claims) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => return Err(TokenFault::Malformed),
            None => None,
        };
        Ok(Identity {
            provider: ProviderIndex(u8::MAX),
            subject,
            groups: at(&self.groups).map_or(Ok(Vec::new()), groups)?,
            class: at(&self.class).map(|value| {
                let named = value.as_str().and_then(DataClass::parse);
                named.unwrap_or(DataClass::Tier1Pii)
            }),
            consent: at(&self.consent).is_some_and(|value| says(value, "granted")),
            safeguards: at(&self.safeguards).is_some_and(|value| says(value, "in-place")),
            purpose: at(&self.purpose)
                .and_then(Value::as_str)
                .filter(|text| is_word(text))
                .map(str::to_owned),
            from_s: 0,
            until_s: 0,
        })
    }

    /// For `/snapshot`.
    pub(super) fn to_json(&self) -> Value {
        let path = |path: &Option<ClaimPath>| path.as_ref().map(|path| json!(path.0));
        json!({
            "subject": self.subject.0,
            "groups": path(&self.groups),
            "class": path(&self.class),
            "consent": path(&self.consent),
            "safeguards": path(&self.safeguards),
            "purpose": path(&self.purpose),
        })
    }

    /// Whether consent, safeguards and class of tokens are read.
    pub(super) fn believes(&self) -> [bool; 3] {
        [&self.consent, &self.safeguards, &self.class].map(Option::is_some)
    }
}

impl ClaimPath {
    fn find<'v>(&self, claims: &'v Map<String, Value>) -> Option<&'v Value> {
        let (first, rest) = self.0.split_first()?;
        let mut value = claims.get(first)?;
        for name in rest {
            value = value.as_object()?.get(name)?;
        }
        Some(value)
    }
}

/// `true`, or the word that trusted hops use.
fn says(value: &Value, word: &str) -> bool {
    value == &Value::Bool(true) || value.as_str() == Some(word)
}

/// A list of texts, or one text with spaces in between, as `scope` has it.
fn groups(value: &Value) -> Result<Vec<String>, TokenFault> {
    match value {
        Value::String(text) => Ok(text.split_ascii_whitespace().map(str::to_owned).collect()),
        Value::Array(list) => list
            .iter()
            .map(|one| one.as_str().map(str::to_owned))
            .collect::<Option<Vec<String>>>()
            .ok_or(TokenFault::Malformed),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            Err(TokenFault::Malformed)
        }
    }
}

/// A purpose is one word.
fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=PURPOSE_MAX).contains(&text.len()) && text.bytes().all(plain)
}
