//! The cookie that holds a session's place.
//!
//! `1.<endpoint, 16 hex>.<end, seconds since 1970 in hex>.<tag, 32 hex>`
//!
//! Promises: what was not written with one of the keys, or has ended, chooses
//! nothing. Refuses to name regions or addresses: the endpoint is its tag.

use super::mac::{MacKey, TAG_BYTES, same};
use crate::regions::Affinity;

/// What the tag is made over, so that a key used elsewhere gives nothing here.
const CONTEXT: &[u8; 20] = b"meridian-affinity-1\0";

/// What a request's cookie says.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum CookieSeen {
    /// Cookies are not used.
    NotUsed,
    /// It brought none.
    Absent,
    /// A good one.
    Valid {
        /// Seconds since 1970 when it ends.
        until_s: u64,
    },
    /// Not written with any of the keys.
    Forged,
    /// Good once.
    Expired,
}

impl CookieSeen {
    /// Everything that is counted.
    pub const COUNTED: [&'static str; 4] = ["absent", "valid", "forged", "expired"];

    /// Position in [`Self::COUNTED`]; `None`: not counted.
    pub fn counted(self) -> Option<usize> {
        match self {
            Self::NotUsed => None,
            Self::Absent => Some(0),
            Self::Valid { .. } => Some(1),
            Self::Forged => Some(2),
            Self::Expired => Some(3),
        }
    }
}

fn message(endpoint: u64, until_s: u64) -> [u8; 36] {
    let mut text = [0; 36];
    let parts = CONTEXT
        .iter()
        .copied()
        .chain(endpoint.to_be_bytes())
        .chain(until_s.to_be_bytes());
    for (slot, byte) in text.iter_mut().zip(parts) {
        *slot = byte;
    }
    text
}

/// Reads a cookie's value at a moment.
pub(super) fn read(value: &[u8], keys: &[MacKey], now_s: u64) -> (CookieSeen, Option<Affinity>) {
    let Some((endpoint, until_s, tag)) = parse(value) else {
        return (CookieSeen::Forged, None);
    };
    let message = message(endpoint, until_s);
    if !keys.iter().any(|key| same(&key.tag(&message), &tag)) {
        return (CookieSeen::Forged, None);
    }
    if until_s <= now_s {
        return (CookieSeen::Expired, None);
    }
    (CookieSeen::Valid { until_s }, Some(Affinity(endpoint)))
}

fn parse(value: &[u8]) -> Option<(u64, u64, [u8; TAG_BYTES])> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.strip_prefix("1.")?.split('.');
    let endpoint = number(parts.next()?, 16..=16)?;
    let until_s = number(parts.next()?, 1..=16)?;
    let digits = parts
        .next()
        .filter(|digits| digits.len() == 2 * TAG_BYTES)?;
    if parts.next().is_some() {
        return None;
    }
    let mut tag = [0; TAG_BYTES];
    for (nth, slot) in tag.iter_mut().enumerate() {
        let byte = number(digits.get(2 * nth..2 * nth + 2)?, 2..=2)?;
        *slot = u8::try_from(byte).ok()?;
    }
    Some((endpoint, until_s, tag))
}

fn number(digits: &str, length: std::ops::RangeInclusive<usize>) -> Option<u64> {
    let plain = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let sane = length.contains(&digits.len()) && digits.bytes().all(plain);
    sane.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// Appends a value that holds until then.
pub(super) fn write((endpoint, until_s): (u64, u64), key: &MacKey, out: &mut Vec<u8>) {
    out.extend_from_slice(b"1.");
    hex(&endpoint.to_be_bytes(), out);
    out.push(b'.');
    let bytes = until_s.to_be_bytes();
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(7);
    hex(bytes.get(first..).unwrap_or_default(), out);
    out.push(b'.');
    hex(&key.tag(&message(endpoint, until_s)), out);
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(if digit < 10 {
                b'0' + digit
            } else {
                b'a' - 10 + digit
            });
        }
    }
}

/// The value of a cookie among those of a `Cookie` field (RFC 6265); the
/// first, if it is there twice.
pub(super) fn find<'a>(field: &'a [u8], name: &str) -> Option<&'a [u8]> {
    field.split(|byte| *byte == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
    })
}

/// Appends what is left of a request's cookies without those of a name, as
/// one field; whether anything is.
pub(super) fn without<'a>(
    fields: impl Iterator<Item = &'a [u8]>,
    name: &str,
    out: &mut Vec<u8>,
) -> bool {
    let start = out.len();
    let pairs = fields.flat_map(|field| field.split(|byte| *byte == b';'));
    for pair in pairs.map(<[u8]>::trim_ascii) {
        let own = pair
            .strip_prefix(name.as_bytes())
            .is_some_and(|rest| rest.first() == Some(&b'='));
        if own || pair.is_empty() {
            continue;
        }
        if out.len() > start {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(pair);
    }
    out.len() > start
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> [MacKey; 2] {
        [
            MacKey::new(b"the key in use now"),
            MacKey::new(b"the one before it"),
        ]
    }

    fn written(endpoint: u64, until_s: u64, key: &MacKey) -> Vec<u8> {
        let mut out = Vec::new();
        write((endpoint, until_s), key, &mut out);
        out
    }

    #[test]
    fn what_was_written_is_read_until_it_ends() {
        let keys = keys();
        for key in &keys {
            let value = written(7, 1_000, key);
            let good = (CookieSeen::Valid { until_s: 1_000 }, Some(Affinity(7)));
            assert_eq!(read(&value, &keys, 999), good);
            assert_eq!(read(&value, &keys, 1_000), (CookieSeen::Expired, None));
        }
        let other = written(7, 1_000, &MacKey::new(b"a key of nobody"));
        assert_eq!(read(&other, &keys, 0), (CookieSeen::Forged, None));
    }

    #[test]
    fn only_the_own_cookie_is_taken_out() {
        let left = |fields: &[&str]| {
            let mut out = b"before ".to_vec();
            let fields = fields.iter().map(|field| field.as_bytes());
            let any = without(fields, "m", &mut out);
            let text = String::from_utf8(out.split_off(7)).unwrap();
            assert_eq!(any, !text.is_empty());
            text
        };
        assert_eq!(left(&["a=1; m=1.x; b=2"]), "a=1; b=2");
        assert_eq!(left(&["m=1;m=2 ; m=3"]), "");
        assert_eq!(left(&["a=\"x y\"", "m=1", "b=2;c"]), "a=\"x y\"; b=2; c");
        assert_eq!(left(&["mm=1; xm=2; m; a=m=3;; "]), "mm=1; xm=2; m; a=m=3");
        assert_eq!(left(&[]), "");
    }

    #[test]
    fn a_cookie_is_found_among_others_by_its_whole_name() {
        let field = b"a=1; xmeridian=no;meridian=yes ; meridian=later; meridianx=no";
        assert_eq!(find(field, "meridian"), Some(&b"yes"[..]));
        assert_eq!(find(field, "meridia"), None);
        assert_eq!(find(b"", "a"), None);
        assert_eq!(find(b"a=", "a"), Some(&b""[..]));
    }

    proptest! {
        #[test]
        fn every_changed_byte_is_noticed(
            endpoint: u64, until_s: u64, at in 0usize..60, to: u8,
        ) {
            let keys = keys();
            let mut value = written(endpoint, until_s, &keys[0]);
            let at = at % value.len();
            let before = value[at];
            value[at] = to;
            let (seen, pin) = read(&value, &keys, 0);
            if before == to {
                prop_assert_eq!(pin.is_some(), until_s > 0);
            } else {
                prop_assert_eq!((seen, pin), (CookieSeen::Forged, None));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(value: Vec<u8>, now: u64) {
            prop_assert_eq!(read(&value, &keys(), now).1, None);
        }
    }
}
