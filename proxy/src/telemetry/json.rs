//! JSON by hand, for the one place where a request pays for it.
//!
//! Promises: whatever bytes come in, what comes out is valid JSON on one line:
//! quotes, backslashes and control characters are escaped, bytes that are not
//! UTF-8 become U+FFFD, long values are cut at a stated bound. Refuses:
//! numbers that are not whole.

use std::net::IpAddr;

/// Members of an object, appended to a buffer. [`Object::end`] closes it.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: First,
}

#[derive(Copy, Clone, Eq, PartialEq)]
enum First {
    Yes,
    No,
}

impl<'a> Object<'a> {
    /// Opens an object.
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            first: First::Yes,
        }
    }

    /// A member whose value is an object; close it before going on.
    pub(super) fn object(&mut self, name: &'static str) -> Object<'_> {
        self.name(name);
        Object::begin(self.out)
    }

    /// A string from anywhere, at most `bound` bytes of it.
    pub(super) fn text(&mut self, name: &'static str, value: &[u8], bound: usize) {
        self.parts(name, &[value], bound);
    }

    /// The same from pieces, with one bound over all.
    pub(super) fn parts(&mut self, name: &'static str, pieces: &[&[u8]], bound: usize) {
        self.name(name);
        self.out.push(b'"');
        let mut room = bound;
        for piece in pieces {
            let kept = piece.get(..room).unwrap_or(piece);
            escape(kept, self.out);
            room -= kept.len();
            if kept.len() < piece.len() {
                self.out.extend_from_slice("…".as_bytes());
                break;
            }
        }
        self.out.push(b'"');
    }

    /// A string of the edge's own that needs no escaping.
    pub(super) fn plain(&mut self, name: &'static str, value: &str) {
        debug_assert!(!value.bytes().any(needs_care), "{value}");
        self.name(name);
        self.out.push(b'"');
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(b'"');
    }

    /// A number.
    pub(super) fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        decimal(value, 1, self.out);
    }

    /// A number as a string: how protobuf's JSON writes 64-bit integers.
    pub(super) fn number_text(&mut self, name: &'static str, value: u64) {
        self.name(name);
        self.out.push(b'"');
        decimal(value, 1, self.out);
        self.out.push(b'"');
    }

    /// An address.
    pub(super) fn address(&mut self, name: &'static str, value: IpAddr) {
        self.name(name);
        self.out.push(b'"');
        address(value, self.out);
        self.out.push(b'"');
    }

    /// A string whose inside `write` appends, already escaped.
    pub(super) fn with(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        self.name(name);
        self.out.push(b'"');
        write(self.out);
        self.out.push(b'"');
    }

    /// Closes the object.
    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    fn name(&mut self, name: &'static str) {
        if self.first == First::No {
            self.out.push(b',');
        }
        self.first = First::No;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

/// Bytes that cannot stand in a JSON string as they are. DEL is legal there
/// but kept out of terminals.
const fn needs_care(byte: u8) -> bool {
    byte < 0x20 || byte >= 0x7f || byte == b'"' || byte == b'\\'
}

/// Appends bytes as the inside of a JSON string.
pub(super) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    let Some(odd) = bytes.iter().position(|byte| needs_care(*byte)) else {
        out.extend_from_slice(bytes);
        return;
    };
    let (plain, rest) = bytes.split_at(odd);
    out.extend_from_slice(plain);
    for chunk in rest.utf8_chunks() {
        chunk
            .valid()
            .bytes()
            .for_each(|byte| escape_byte(byte, out));
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0..0x20 | 0x7f => {
            out.extend_from_slice(b"\\u00");
            out.extend([byte >> 4, byte & 0xf].map(hex));
        }
        _ => out.push(byte),
    }
}

const fn hex(digit: u8) -> u8 {
    if digit < 10 {
        b'0' + digit
    } else {
        b'a' + digit - 10
    }
}

/// Appends a number with at least `digits` digits (at most 20).
pub(super) fn decimal(value: u64, digits: usize, out: &mut Vec<u8>) {
    let mut text = [b'0'; 20];
    let mut left = value;
    let mut used = 0;
    for digit in text.iter_mut().rev() {
        if left == 0 && used >= digits {
            break;
        }
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
        used += 1;
    }
    out.extend_from_slice(text.get(text.len() - used..).unwrap_or_default());
}

fn address(value: IpAddr, out: &mut Vec<u8>) {
    match value {
        IpAddr::V4(v4) => {
            for (place, octet) in v4.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                decimal(u64::from(octet), 1, out);
            }
        }
        // The shortening of RFC 5952 is the library's; it costs more and is rarer.
        IpAddr::V6(v6) => out.extend_from_slice(v6.to_string().as_bytes()),
    }
}

/// Appends a moment as RFC 3339 in UTC with milliseconds.
pub(super) fn moment(unix_ms: u64, out: &mut Vec<u8>) {
    let seconds = unix_ms / 1_000;
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    let fields = [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (of_day / 3_600, 2, b':'),
        (of_day / 60 % 60, 2, b':'),
        (of_day % 60, 2, b'.'),
        (unix_ms % 1_000, 3, b'Z'),
    ];
    for (value, digits, after) in fields {
        decimal(value, digits, out);
        out.push(after);
    }
}

/// Year, month and day of a day counted from 1970-01-01, by the proleptic
/// Gregorian calendar: eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Appends seconds with microseconds and an `s`: protobuf's JSON duration.
pub(super) fn seconds(micros: u64, out: &mut Vec<u8>) {
    decimal(micros / 1_000_000, 1, out);
    out.push(b'.');
    decimal(micros % 1_000_000, 6, out);
    out.push(b's');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_whole() {
        for value in [0, 7, 10, 99, 1_234_567_890, u64::MAX] {
            assert_eq!(text(|out| decimal(value, 1, out)), value.to_string());
        }
        assert_eq!(text(|out| decimal(7, 3, out)), "007");
    }

    #[test]
    fn moments_are_rfc_3339() {
        for (unix_ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_372_320_042, "2026-11-22T18:32:00.042Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(text(|out| moment(unix_ms, out)), expected);
        }
    }

    #[test]
    fn durations_are_seconds() {
        assert_eq!(text(|out| seconds(0, out)), "0.000000s");
        assert_eq!(text(|out| seconds(12_345_678, out)), "12.345678s");
    }

    #[test]
    fn addresses_read_as_the_library_writes_them() {
        for address_text in [
            "0.0.0.0",
            "203.0.113.7",
            "255.255.255.255",
            "2001:db8::1",
            "::",
        ] {
            let value: IpAddr = address_text.parse().unwrap();
            assert_eq!(text(|out| address(value, out)), address_text);
        }
    }

    #[test]
    fn a_long_value_is_cut_and_says_so() {
        let line = text(|out| {
            let mut object = Object::begin(out);
            object.parts("a", &[b"12", b"345", b"6"], 4);
            object.text("b", b"1234", 4);
            object.end();
        });
        assert_eq!(line, r#"{"a":"1234…","b":"1234"}"#);
    }

    proptest! {
        #[test]
        fn any_bytes_become_one_line_of_valid_json(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            bound in 0_usize..400,
        ) {
            let line = text(|out| {
                let mut object = Object::begin(out);
                object.text("hostile", &bytes, bound);
                object.number("after", 1);
                object.end();
            });
            prop_assert!(!line.bytes().any(|byte| byte < 0x20 || byte == 0x7f));
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let kept = bytes.get(..bound).unwrap_or(&bytes);
            let mut expected = String::from_utf8_lossy(kept).into_owned();
            if kept.len() < bytes.len() {
                expected.push('…');
            }
            prop_assert_eq!(value["hostile"].as_str().unwrap(), expected);
        }
    }
}
