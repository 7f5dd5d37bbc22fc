//! serde mirror of `authentication`.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor, value::SeqAccessDeserializer};

use super::Need;
use crate::yaml::{OnOff, Span, Spanned};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAuthentication {
    pub(super) default: Option<Need>,
    pub(super) forward: Option<OnOff>,
    pub(super) resource_metadata: Option<Spanned<String>>,
    pub(super) providers: Spanned<Vec<Spanned<RawProvider>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProvider {
    pub(super) id: Spanned<String>,
    pub(super) issuer: Spanned<String>,
    pub(super) audiences: Spanned<Vec<Spanned<String>>>,
    pub(super) keys: Spanned<String>,
    pub(super) algorithms: Spanned<Vec<Spanned<String>>>,
    pub(super) leeway: Option<Spanned<Span>>,
    #[serde(default)]
    pub(super) claims: RawClaims,
}

/// Which claim says what. Nothing but `subject` has a default.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawClaims {
    pub(super) subject: Option<Spanned<RawPath>>,
    pub(super) groups: Option<Spanned<RawPath>>,
    pub(super) class: Option<Spanned<RawPath>>,
    pub(super) consent: Option<Spanned<RawPath>>,
    pub(super) safeguards: Option<Spanned<RawPath>>,
    pub(super) purpose: Option<Spanned<RawPath>>,
}

/// A claim's name, or the names on the way to one inside of objects.
pub(super) struct RawPath(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for RawPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PathVisitor)
    }
}

struct PathVisitor;

impl<'de> Visitor<'de> for PathVisitor {
    type Value = RawPath;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a claim's name, or a list of names that leads to it")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawPath, E> {
        Ok(RawPath(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<RawPath, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(RawPath)
    }
}
