//! Undoing what hides an attack: percent-encoding (nested), HTML entities,
//! JSON escapes, SQL comments.
//!
//! Promises: works in place, never grows a text, linear time, at most
//! [`ROUNDS`] rounds. Refuses to reject: what cannot be decoded stays as it
//! is, and the rules see that.

/// Rounds of percent-decoding. Nested redirects legitimately need two.
const ROUNDS: usize = 3;

/// What `+` means.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Plus {
    /// Itself: paths.
    Plus,
    /// A blank: queries and forms. Only in the first round.
    Blank,
}

/// A text that is rewritten in place: the written part never passes the read
/// part.
struct Rewrite<'a> {
    text: &'a mut [u8],
    read: usize,
    written: usize,
}

impl<'a> Rewrite<'a> {
    fn new(text: &'a mut [u8]) -> Self {
        Self {
            text,
            read: 0,
            written: 0,
        }
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.read..).unwrap_or(&[])
    }

    /// Replaces the next `taken` bytes, at least one, by `byte`.
    fn put(&mut self, byte: u8, taken: usize) {
        self.read += taken;
        if let Some(slot) = self.text.get_mut(self.written) {
            *slot = byte;
        }
        self.written += 1;
    }
}

/// Decodes percent-encoding until nothing changes, at most [`ROUNDS`] times,
/// then HTML entities once. Returns the new length.
pub(crate) fn decode_value(text: &mut [u8], plus: Plus) -> usize {
    let mut length = text.len();
    let mut plus = plus;
    for _ in 0..ROUNDS {
        let Some(part) = text.get_mut(..length) else {
            break;
        };
        if plus == Plus::Plus && memchr::memchr(b'%', part).is_none() {
            break;
        }
        let shorter = decode_percent(part, plus);
        plus = Plus::Plus;
        if shorter == length {
            break;
        }
        length = shorter;
    }
    text.get_mut(..length)
        .map_or(0, |part| decode_entities(fold_overlong(part)))
}

fn decode_percent(text: &mut [u8], plus: Plus) -> usize {
    let mut rewrite = Rewrite::new(text);
    loop {
        match *rewrite.rest() {
            [] => return rewrite.written,
            [b'%', high, low, ..] if hex(high).is_some() && hex(low).is_some() => {
                rewrite.put(pair(high, low), 3);
            }
            [b'%', b'u' | b'U', b'0', b'0', high, low, ..]
                if hex(high).is_some() && hex(low).is_some() =>
            {
                rewrite.put(pair(high, low), 6);
            }
            [b'+', ..] if plus == Plus::Blank => rewrite.put(b' ', 1),
            [byte, ..] => rewrite.put(byte, 1),
        }
    }
}

/// Over-long UTF-8 of `.`, `/` and `\`, and a lone no-break blank of Latin-1
/// (a blank to some databases), become what sloppy decoders make of them.
fn fold_overlong(text: &mut [u8]) -> &mut [u8] {
    if text.is_ascii() {
        return text;
    }
    let mut rewrite = Rewrite::new(text);
    let mut before = 0_u8;
    loop {
        let (byte, taken) = match *rewrite.rest() {
            [] => break,
            [0xc0, 0xae, ..] => (b'.', 2),
            [0xc0, 0xaf, ..] => (b'/', 2),
            [0xc1, 0x9c, ..] => (b'\\', 2),
            [0xa0, ..] if before.is_ascii() => (b' ', 1),
            [byte, ..] => (byte, 1),
        };
        before = byte;
        rewrite.put(byte, taken);
    }
    let Rewrite { text, written, .. } = rewrite;
    text.get_mut(..written).unwrap_or(&mut [])
}

/// Named entities that attacks use; all end with a semicolon, so that a
/// parameter called `lt` stays one.
const ENTITIES: [(&[u8], u8); 12] = [
    (b"&lt;", b'<'),
    (b"&gt;", b'>'),
    (b"&quot;", b'"'),
    (b"&apos;", b'\''),
    (b"&amp;", b'&'),
    (b"&colon;", b':'),
    (b"&tab;", b'\t'),
    (b"&newline;", b'\n'),
    (b"&lpar;", b'('),
    (b"&rpar;", b')'),
    (b"&sol;", b'/'),
    (b"&equals;", b'='),
];

fn decode_entities(text: &mut [u8]) -> usize {
    if memchr::memchr2(b'&', b';', text).is_none() {
        return text.len();
    }
    let mut rewrite = Rewrite::new(text);
    loop {
        match *rewrite.rest() {
            [] => return rewrite.written,
            [b'&', ..] => {
                let (byte, taken) = entity(rewrite.rest()).unwrap_or((b'&', 1));
                rewrite.put(byte, taken);
            }
            [byte, ..] => rewrite.put(byte, 1),
        }
    }
}

/// The byte that the entity at the beginning of `text` stands for, and the
/// entity's length. Numbers above 255 and over-long ones are left alone.
fn entity(text: &[u8]) -> Option<(u8, usize)> {
    if let [b'&', b'#', ..] = text {
        return numeric_entity(text);
    }
    ENTITIES
        .iter()
        .find(|(name, _)| {
            text.get(..name.len())
                .is_some_and(|at| at.eq_ignore_ascii_case(name))
        })
        .map(|(name, byte)| (*byte, name.len()))
}

/// `&#39;`, `&#x27;`, `&#0000039`: at most ten digits, the semicolon optional
/// as browsers have it.
fn numeric_entity(text: &[u8]) -> Option<(u8, usize)> {
    let (radix, start) = match text {
        [_, _, b'x' | b'X', ..] => (16, 3),
        [..] => (10, 2),
    };
    let digits = text.get(start..)?;
    let count = digits
        .iter()
        .take(10)
        .take_while(|b| char::from(**b).is_digit(radix))
        .count();
    let mut value = 0_u32;
    for digit in digits.get(..count)? {
        value = value
            .saturating_mul(radix)
            .saturating_add(char::from(*digit).to_digit(radix)?);
    }
    if count == 0 {
        return None;
    }
    let closed = usize::from(digits.get(count) == Some(&b';'));
    u8::try_from(value)
        .ok()
        .map(|byte| (byte, start + count + closed))
}

/// Undoes JSON's escapes of ASCII characters. Returns the new length.
pub(crate) fn decode_json(text: &mut [u8]) -> usize {
    let mut rewrite = Rewrite::new(text);
    loop {
        match *rewrite.rest() {
            [] => return rewrite.written,
            [b'\\', b'u', b'0', b'0', high, low, ..]
                if hex(high).is_some_and(|high| high < 8) && hex(low).is_some() =>
            {
                rewrite.put(pair(high, low), 6);
            }
            [b'\\', escaped @ (b'/' | b'\\' | b'"'), ..] => rewrite.put(escaped, 2),
            [byte, ..] => rewrite.put(byte, 1),
        }
    }
}

/// Replaces SQL comments by a blank; of the conditional ones (`/*!50000 x */`)
/// the inside stays. An open comment at the end stays. Returns the new length
/// if there was a comment.
pub(crate) fn strip_comments(text: &mut [u8]) -> Option<usize> {
    let first = memchr::memmem::find(text, b"/*")?;
    let mut rewrite = Rewrite::new(text);
    rewrite.read = first;
    rewrite.written = first;
    let mut closing = true;
    loop {
        match *rewrite.rest() {
            [] => return Some(rewrite.written),
            [b'/', b'*', b'!', ref inside @ ..] => {
                let digits = inside
                    .iter()
                    .take(6)
                    .take_while(|b| b.is_ascii_digit())
                    .count();
                rewrite.put(b' ', 3 + digits);
            }
            [b'/', b'*', ref inside @ ..] if closing => match memchr::memmem::find(inside, b"*/") {
                Some(end) => rewrite.put(b' ', end + 4),
                None => closing = false,
            },
            [b'*', b'/', ..] => rewrite.put(b' ', 2),
            [byte, ..] => rewrite.put(byte, 1),
        }
    }
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn pair(high: u8, low: u8) -> u8 {
    hex(high).unwrap_or(0) << 4 | hex(low).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, plus: Plus) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        let length = decode_value(&mut bytes, plus);
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn values_are_decoded_until_nothing_changes_or_three_times() {
        for (encoded, decoded) in [
            ("plain", &b"plain"[..]),
            ("%2e%2E%2f", b"../"),
            ("%252e", b"."),
            ("%25252e", b"."),
            ("%2525252e", b"%2e"),
            ("%", b"%"),
            ("%2", b"%2"),
            ("%zz%41", b"%zzA"),
            ("%u0027", b"'"),
            ("%c0%ae%c0%af", b"./"),
            ("%e4%b8%ad", "中".as_bytes()),
            ("1%a0or", b"1 or"),
            ("%26lt;", b"<"),
            ("&lt=5", b"&lt=5"),
            ("&#x27;&#39;&#0000039", b"'''"),
            ("&#x110;", b"&#x110;"),
            ("&#;", b"&#;"),
            ("100%25", b"100%"),
        ] {
            assert_eq!(value(encoded, Plus::Plus), decoded, "{encoded}");
        }
    }

    #[test]
    fn plus_is_a_blank_only_in_the_first_round_of_a_query() {
        assert_eq!(value("a+b", Plus::Blank), b"a b");
        assert_eq!(value("a+b%20c", Plus::Blank), b"a b c");
        assert_eq!(value("a%2bb", Plus::Blank), b"a+b");
        assert_eq!(value("a%252bb", Plus::Blank), b"a+b");
        assert_eq!(value("a+b", Plus::Plus), b"a+b");
    }

    #[test]
    fn comments_become_blanks_and_conditional_ones_lose_their_shell() {
        for (text, stripped) in [
            ("a/**/b", Some(&b"a b"[..])),
            ("a/*x*/b/*y*/c", Some(b"a b c")),
            ("/*!50000union*/ select", Some(b" union  select")),
            ("a/*b", Some(b"a/*b")),
            ("a/*b*/c/*d", Some(b"a c/*d")),
            ("no comment", None),
        ] {
            let mut bytes = text.as_bytes().to_vec();
            let length = strip_comments(&mut bytes);
            assert_eq!(
                length.and_then(|length| bytes.get(..length)),
                stripped,
                "{text}"
            );
        }
    }

    #[test]
    fn json_escapes_of_ascii_are_undone() {
        for (text, decoded) in [
            (r"\u0024\u007bjndi:", "${jndi:"),
            (r"a\/b\\c\n", r"a/b\c\n"),
            (r"\u4e2d\u00e9", r"\u4e2d\u00e9"),
            (r"\u00", r"\u00"),
        ] {
            let mut bytes = text.as_bytes().to_vec();
            let length = decode_json(&mut bytes);
            assert_eq!(bytes.get(..length), Some(decoded.as_bytes()), "{text}");
        }
    }
}
