//! Keys, and how values and keys tell their places.

use serde::de::value::{StrDeserializer, U32Deserializer};
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, SeqAccess, Visitor};

use super::super::Mark;
use super::super::spanned::SPANNED;
use super::{At, Problem};

/// A key, which can be asked for its place as values can.
#[derive(Copy, Clone)]
pub(super) struct KeyText<'a> {
    pub(super) text: &'a str,
    pub(super) at: Mark,
}

impl<'de> Deserializer<'de> for KeyText<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_str(self.text)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        if name == SPANNED {
            visitor.visit_seq(KeyPlace { step: 0, of: self })
        } else {
            self.deserialize_any(visitor)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let name: StrDeserializer<'_, Problem> = self.text.into_deserializer();
        visitor.visit_enum(name)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        option unit unit_struct seq tuple map struct identifier ignored_any
    }
}

fn place_part(at: Mark, step: u8) -> Option<u32> {
    match step {
        0 => Some(at.file),
        1 => Some(at.line),
        2 => Some(at.column),
        3 => Some(at.len),
        4.. => None,
    }
}

/// Hands a place and then the value to [`super::Spanned`].
pub(super) struct Place<'a> {
    pub(super) step: u8,
    pub(super) of: At<'a>,
}

impl<'de> SeqAccess<'de> for Place<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let part = place_part(self.of.node.at, self.step);
        self.step = self.step.saturating_add(1);
        match part {
            Some(number) => seed.deserialize(U32Deserializer::new(number)).map(Some),
            None => seed.deserialize(self.of).map(Some),
        }
    }
}

pub(super) struct KeyPlace<'a> {
    pub(super) step: u8,
    pub(super) of: KeyText<'a>,
}

impl<'de> SeqAccess<'de> for KeyPlace<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let part = place_part(self.of.at, self.step);
        self.step = self.step.saturating_add(1);
        match part {
            Some(number) => seed.deserialize(U32Deserializer::new(number)).map(Some),
            None => seed.deserialize(self.of).map(Some),
        }
    }
}
