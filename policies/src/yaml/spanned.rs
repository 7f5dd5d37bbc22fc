//! Where in which file a value stands.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// The name by which the front door's deserializer knows [`Spanned`].
pub(super) const SPANNED: &str = "$meridian::Spanned";

/// A place in a set of source files. Line and column count from 1, in
/// characters; line 0 means the place is not known.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
pub struct Mark {
    pub(crate) file: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    pub(crate) len: u32,
}

/// A value with the place where it was written.
#[derive(Copy, Clone, Debug)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub at: Mark,
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> AsRef<T> for Spanned<T> {
    fn as_ref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple_struct(SPANNED, 5, SpannedVisitor(PhantomData))
    }
}

struct SpannedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for SpannedVisitor<T> {
    type Value = Spanned<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value read by the YAML front door")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut next = || {
            seq.next_element::<u32>()?
                .ok_or_else(|| A::Error::custom("a place has four numbers"))
        };
        let at = Mark {
            file: next()?,
            line: next()?,
            column: next()?,
            len: next()?,
        };
        let value = seq
            .next_element()?
            .ok_or_else(|| A::Error::custom("a place has a value"))?;
        Ok(Spanned { value, at })
    }
}
