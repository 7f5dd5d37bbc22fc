//! Enums: `name`, or `name: content`.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, VariantAccess, Visitor,
};

use super::super::Mark;
use super::super::node::Node;
use super::{At, Problem};

/// `name`, or `name: content`.
pub(super) struct Choice<'a> {
    pub(super) name: &'a str,
    pub(super) at: Mark,
    pub(super) inner: Option<&'a Node>,
    pub(super) of: At<'a>,
}

impl<'de> EnumAccess<'de> for Choice<'_> {
    type Error = Problem;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Problem> {
        let name: StrDeserializer<'_, Problem> = self.name.into_deserializer();
        let variant = seed.deserialize(name).map_err(|e| e.at(self.at))?;
        Ok((variant, self))
    }
}

impl<'a> Choice<'a> {
    fn content(&self) -> Result<At<'a>, Problem> {
        match self.inner {
            Some(node) => Ok(self.of.child(node)),
            None => Err(Problem::custom(format_args!("`{}` needs a value", self.name)).at(self.at)),
        }
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        match self.inner {
            None => Ok(()),
            Some(_) => {
                Err(Problem::custom(format_args!("`{}` takes no value", self.name)).at(self.at))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Problem> {
        let content = self.content()?;
        seed.deserialize(content).map_err(|e| e.at(content.node.at))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        self.content()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.content()?.deserialize_struct("", fields, visitor)
    }
}
