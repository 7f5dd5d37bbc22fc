//! City names that are safe in a header field.
//!
//! A name is stored inline, so that a [`crate::Location`] is `Copy`; what does
//! not fit is cut, what cannot be seen is dropped.

use std::fmt;

/// Longest name kept, bytes of UTF-8. The longest in use (Bangkok's
/// ceremonial name aside) have about 40.
const CITY_BYTES_MAX: usize = 48;

/// A city name as a database spells it: 1 to 48 bytes of UTF-8, visible
/// characters and single inner spaces only.
#[derive(Copy, Clone, Eq, PartialEq, Hash)]
pub struct CityName {
    bytes: [u8; CITY_BYTES_MAX],
    len: u8,
}

/// A city name in visible ASCII, percent-encoded (RFC 3986) where it was not:
/// at most 144 bytes.
#[derive(Copy, Clone, Eq, PartialEq)]
pub struct AsciiName {
    bytes: [u8; CITY_BYTES_MAX * 3],
    len: u8,
}

impl CityName {
    /// Keeps visible characters, folds white space to single spaces, and cuts
    /// at a character boundary after 48 bytes. `None` when nothing is left.
    pub fn new(name: &str) -> Option<Self> {
        let mut kept = Self {
            bytes: [0; CITY_BYTES_MAX],
            len: 0,
        };
        let mut gap = Gap::None;
        for character in name.chars() {
            if character.is_whitespace() {
                gap = Gap::Pending;
            } else if is_visible(character) {
                if gap == Gap::Pending && kept.len > 0 && !kept.push(' ') {
                    break;
                }
                gap = Gap::None;
                if !kept.push(character) {
                    break;
                }
            }
        }
        kept.trimmed()
    }

    /// The name, UTF-8.
    pub fn as_str(&self) -> &str {
        let used = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(used).unwrap_or_default()
    }

    /// The name for a place where only ASCII is safe, such as a header field:
    /// letters, digits and `-._~'` stay, every other byte (the space and `%`
    /// too) is percent-encoded, so that decoding gives the name back.
    pub fn ascii(&self) -> AsciiName {
        let mut name = AsciiName {
            bytes: [0; CITY_BYTES_MAX * 3],
            len: 0,
        };
        for &byte in self.as_str().as_bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~'".contains(&byte) {
                name.push(byte);
            } else {
                name.push(b'%');
                name.push(hex_digit(byte >> 4));
                name.push(hex_digit(byte & 0xf));
            }
        }
        name
    }

    /// Appends if it fits, and says whether it did.
    fn push(&mut self, character: char) -> bool {
        let start = usize::from(self.len);
        let end = start + character.len_utf8();
        let Some(room) = self.bytes.get_mut(start..end) else {
            return false;
        };
        character.encode_utf8(room);
        self.len = u8::try_from(end).unwrap_or(self.len);
        true
    }

    /// Drops the space that a cut may leave at the end.
    fn trimmed(mut self) -> Option<Self> {
        let len = self.as_str().trim_end().len();
        self.bytes.get_mut(len..)?.fill(0);
        self.len = u8::try_from(len).ok()?;
        (len > 0).then_some(self)
    }
}

/// White space seen but not yet written.
#[derive(Copy, Clone, Eq, PartialEq)]
enum Gap {
    None,
    Pending,
}

/// Neither a control character nor one that hides, joins or turns text round.
fn is_visible(character: char) -> bool {
    let hidden = matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}'
    );
    !hidden && !character.is_control()
}

fn hex_digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'A' + (nibble & 0xf) - 10,
    }
}

impl AsciiName {
    /// Visible ASCII without spaces.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The same as bytes, a valid field value (RFC 9110, 5.5).
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(room) = self.bytes.get_mut(usize::from(self.len)) {
            *room = byte;
            self.len += 1;
        }
    }
}

impl fmt::Display for CityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for AsciiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AsciiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(name: &str) -> Option<String> {
        CityName::new(name).map(|city| city.as_str().to_owned())
    }

    #[test]
    fn a_plain_name_is_kept_as_it_is() {
        assert_eq!(
            kept("Frankfurt am Main").as_deref(),
            Some("Frankfurt am Main")
        );
        assert_eq!(kept("São Paulo").as_deref(), Some("São Paulo"));
        assert_eq!(kept("東京").as_deref(), Some("東京"));
    }

    #[test]
    fn line_breaks_and_hidden_characters_cannot_enter_a_header() {
        assert_eq!(
            kept("Berlin\r\nx-admin: 1").as_deref(),
            Some("Berlin x-admin: 1")
        );
        assert_eq!(kept("Ber\u{0}\u{7f}\u{202e}lin").as_deref(), Some("Berlin"));
        assert_eq!(kept("  \t Bonn \u{a0} "), Some("Bonn".to_owned()));
    }

    #[test]
    fn a_name_with_nothing_visible_is_no_name() {
        for name in ["", "   ", "\u{200b}\u{feff}", "\r\n\0"] {
            assert_eq!(kept(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_at_a_character_boundary() {
        assert_eq!(kept(&"ü".repeat(40)), Some("ü".repeat(24)));
        assert_eq!(kept(&"東".repeat(40)), Some("東".repeat(16)));
        assert_eq!(kept(&format!("{}ü", "a".repeat(47))), Some("a".repeat(47)));
        assert_eq!(kept(&format!("{} b", "a".repeat(47))), Some("a".repeat(47)));
    }

    #[test]
    fn the_ascii_form_percent_encodes_all_that_is_not_plain() {
        let ascii = |name| CityName::new(name).unwrap().ascii().as_str().to_owned();
        assert_eq!(ascii("São Paulo"), "S%C3%A3o%20Paulo");
        assert_eq!(ascii("N'Djamena"), "N'Djamena");
        assert_eq!(ascii("100%, \"x\""), "100%25%2C%20%22x%22");
        assert_eq!(ascii(&"東".repeat(40)).len(), 144);
    }

    /// Undoes the percent encoding.
    fn decoded(ascii: &str) -> Vec<u8> {
        let mut bytes = ascii.bytes();
        let mut out = Vec::new();
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap();
                out.push(u8::from_str_radix(digits, 16).unwrap());
            } else {
                out.push(byte);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_bounded_name_that_survives_the_ascii_form(text in any::<String>()) {
            if let Some(city) = CityName::new(&text) {
                let name = city.as_str();
                prop_assert!((1..=CITY_BYTES_MAX).contains(&name.len()));
                prop_assert!(!name.contains(char::is_control));
                prop_assert_eq!(name, name.trim());
                prop_assert_eq!(CityName::new(name), Some(city), "cleaning twice changes nothing");
                let ascii = city.ascii();
                prop_assert!(ascii.as_bytes().iter().all(u8::is_ascii_graphic));
                prop_assert_eq!(decoded(ascii.as_str()), name.as_bytes());
            }
        }
    }
}
