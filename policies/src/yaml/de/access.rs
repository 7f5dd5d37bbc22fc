//! Items of lists and entries of mappings.

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess};

use super::super::node::{Key, Node};
use super::super::{Fault, Mark};
use super::place::KeyText;
use super::{At, Problem};

pub(super) struct Items<'a> {
    pub(super) items: std::slice::Iter<'a, Node>,
    pub(super) of: At<'a>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some(node) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(self.of.child(node))
            .map(Some)
            .map_err(|e| e.at(node.at))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

pub(super) struct Entries<'a> {
    pub(super) rest: std::slice::Iter<'a, (Key, Node)>,
    pub(super) value: Option<&'a Node>,
    /// The fields of a struct; others are reported and skipped.
    pub(super) known: Option<&'static [&'static str]>,
    pub(super) of: At<'a>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        for (key, node) in self.rest.by_ref() {
            if let Some(known) = self.known
                && !known.contains(&key.text.as_str())
            {
                let problem = Problem::unknown_field(&key.text, known);
                self.of.sink.borrow_mut().push(Fault {
                    at: key.at,
                    message: problem.message,
                    help: problem.help,
                });
                continue;
            }
            self.value = Some(node);
            let at = Mark { ..key.at };
            let key = KeyText {
                text: &key.text,
                at,
            };
            return seed.deserialize(key).map(Some).map_err(|e| e.at(at));
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Problem> {
        let Some(node) = self.value.take() else {
            return Err(Problem::custom("a value was asked for before its key"));
        };
        seed.deserialize(self.of.child(node))
            .map_err(|e| e.at(node.at))
    }
}
