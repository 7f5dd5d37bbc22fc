//! Fields that the edge adds to a message, kept as the lines that are written.
//!
//! Promises: over HTTP/1 they go out in one copy; no allocation in steady
//! state. Refuses more than [`FIELDS_MAX`] fields.

use crate::bytes::{content_len, is_token};
use crate::known::{HOP, Known};

/// Fields added to one message at most.
const FIELDS_MAX: usize = 16;
/// A buffer above this does not stay, in bytes.
const TEXT_KEPT: usize = 4_096;

/// What stands between a name and its value.
const COLON: &[u8] = b": ";
const CRLF: &[u8] = b"\r\n";

/// Added fields, in order: trusted, well-formed, end-to-end, names in lower
/// case.
#[derive(Clone, Debug)]
pub struct Added {
    text: Vec<u8>,
    fields: [Place; FIELDS_MAX],
    count: usize,
}

/// One line's name, and where the line ends.
#[derive(Copy, Clone, Debug)]
struct Place {
    name: &'static str,
    end: usize,
}

/// A message to which nothing is added.
pub static NOTHING_ADDED: Added = Added::new();

impl Default for Added {
    fn default() -> Self {
        Self::new()
    }
}

impl Added {
    /// No field; nothing is allocated.
    pub const fn new() -> Self {
        Self {
            text: Vec::new(),
            fields: [Place { name: "", end: 0 }; FIELDS_MAX],
            count: 0,
        }
    }

    /// Forgets all fields; keeps the buffer up to 4 KiB.
    #[inline]
    pub fn clear(&mut self) {
        self.count = 0;
        self.text.clear();
        if self.text.capacity() > TEXT_KEPT {
            self.text.shrink_to(TEXT_KEPT);
        }
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Bytes of all names and values, and a few beside them.
    pub(crate) fn text_len(&self) -> usize {
        self.text.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a field whose value `write` appends. One over the bound is left
    /// out.
    #[inline]
    pub fn add(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(place) = self.fields.get_mut(self.count) else {
            return;
        };
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(COLON);
        write(&mut self.text);
        self.text.extend_from_slice(CRLF);
        let end = self.text.len();
        *place = Place { name, end };
        self.count += 1;
        debug_assert!(self.last_is_well_formed(), "an added field: {name}");
    }

    /// The same, if `write` says that there is one; then it appends nothing
    /// else.
    pub fn add_if(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let start = self.text.len();
        let mut there = false;
        self.add(name, |text| there = write(text));
        if !there && self.text.len() > start {
            self.text.truncate(start);
            self.count -= 1;
        }
    }

    /// Adds a field with this value.
    #[inline]
    pub fn push(&mut self, name: &'static str, value: &[u8]) {
        self.add(name, |text| text.extend_from_slice(value));
    }

    /// Adds all fields of another.
    #[inline]
    pub fn extend(&mut self, other: &Self) {
        let start = self.text.len();
        let from = other.fields.iter().take(other.count);
        let to = self.fields.get_mut(self.count..).unwrap_or_default();
        let mut copied = 0;
        for (to, from) in to.iter_mut().zip(from) {
            to.name = from.name;
            to.end = start + from.end;
            copied = from.end;
            self.count += 1;
        }
        let lines = other.text.get(..copied).unwrap_or_default();
        self.text.extend_from_slice(lines);
    }

    /// The lines, each with its CRLF.
    #[inline]
    pub fn lines(&self) -> &[u8] {
        &self.text
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let mut start = 0;
        self.fields.iter().take(self.count).map(move |place| {
            let value = start + place.name.len() + COLON.len();
            start = place.end;
            let value = self.text.get(value..place.end - CRLF.len());
            (place.name, value.unwrap_or_default())
        })
    }

    fn last_is_well_formed(&self) -> bool {
        self.iter().last().is_none_or(|(name, value)| {
            is_token(name.as_bytes())
                && content_len(value) == value.len()
                && !HOP.contains(Known::from_lower(name.as_bytes()))
        })
    }
}

impl<'a> FromIterator<(&'static str, &'a [u8])> for Added {
    fn from_iter<I: IntoIterator<Item = (&'static str, &'a [u8])>>(fields: I) -> Self {
        let mut added = Self::new();
        for (name, value) in fields {
            added.push(name, value);
        }
        added
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(added: &Added) -> Vec<(&'static str, &[u8])> {
        added.iter().collect()
    }

    #[test]
    fn fields_come_back_in_order_and_as_lines() {
        let mut added = Added::new();
        added.push("a", b"1");
        added.push("b", b"");
        added.add("c", |text| text.extend_from_slice(b"22"));
        let expected: [(&str, &[u8]); 3] = [("a", b"1"), ("b", b""), ("c", b"22")];
        assert_eq!(fields(&added), expected);
        assert_eq!(added.lines(), b"a: 1\r\nb: \r\nc: 22\r\n");
        added.clear();
        assert!(added.is_empty() && added.lines().is_empty());
    }

    #[test]
    fn a_field_that_is_not_there_leaves_nothing_behind() {
        let mut added = Added::from_iter([("a", b"1".as_slice())]);
        added.add_if("b", |_| false);
        added.add_if("c", |text| {
            text.push(b'3');
            true
        });
        (added.len()..FIELDS_MAX).for_each(|_| added.push("d", b"4"));
        added.add_if("e", |_| false);
        assert_eq!(added.len(), FIELDS_MAX);
        assert!(added.lines().starts_with(b"a: 1\r\nc: 3\r\nd: 4\r\n"));
        assert!(added.lines().ends_with(b"d: 4\r\n"));
    }

    #[test]
    fn the_fields_of_another_follow_its_own() {
        let mut added = Added::from_iter([("a", b"1".as_slice())]);
        added.extend(&Added::from_iter([("b", b"2".as_slice()), ("c", b"33")]));
        added.push("d", b"4");
        let expected: [(&str, &[u8]); 4] = [("a", b"1"), ("b", b"2"), ("c", b"33"), ("d", b"4")];
        assert_eq!(fields(&added), expected);
        assert_eq!(added.lines(), b"a: 1\r\nb: 2\r\nc: 33\r\nd: 4\r\n");
    }

    #[test]
    fn more_than_the_bound_is_left_out() {
        let mut added = Added::new();
        (0..=FIELDS_MAX).for_each(|_| added.push("a", b"1"));
        assert_eq!(added.len(), FIELDS_MAX);
        let mut other = Added::from_iter([("b", b"2".as_slice())]);
        other.extend(&added);
        assert_eq!(other.len(), FIELDS_MAX);
        assert_eq!(other.lines().len(), FIELDS_MAX * 6);
    }
}
