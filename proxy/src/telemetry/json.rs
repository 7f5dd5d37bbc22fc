//! JSON by hand, for the one place where a request pays for it.
//!
//! Promises: whatever bytes come in, the inside of a JSON string on one line
//! comes out: quotes, backslashes and control characters are escaped, bytes
//! that are not UTF-8 become U+FFFD, long values are cut at a stated bound.
//! No call through `std::fmt`, which costs more than all the rest.

use std::net::IpAddr;

use meridian_policies::audit::civil;

/// Appends at most `bound` bytes of a value, and `…` where that cut it.
#[inline]
pub(super) fn text(value: &[u8], bound: usize, out: &mut Vec<u8>) {
    match value.get(..bound) {
        Some(kept) if kept.len() < value.len() => {
            escape(kept, out);
            out.extend_from_slice("…".as_bytes());
        }
        Some(_) | None => escape(value, out),
    }
}

/// Bytes that cannot stand in a JSON string as they are. DEL is legal there
/// but kept out of terminals.
const fn needs_care(byte: u8) -> bool {
    byte < 0x20 || byte >= 0x7f || byte == b'"' || byte == b'\\'
}

/// Appends bytes as the inside of a JSON string.
#[inline]
pub(super) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
    } else {
        escape_odd(bytes, out);
    }
}

/// True when no byte needs care. Eight at a time; the last eight may overlap
/// those before.
fn is_plain(bytes: &[u8]) -> bool {
    let (words, _) = bytes.as_chunks::<8>();
    match bytes.last_chunk::<8>() {
        Some(last) => !words.iter().chain([last]).any(|word| any_needs_care(*word)),
        None => !bytes.iter().any(|byte| needs_care(*byte)),
    }
}

/// Whether any of eight bytes needs care, by the usual tests of a word for a
/// byte that is zero, or less than a bound ("Bit Twiddling Hacks").
const fn any_needs_care(bytes: [u8; 8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let word = u64::from_le_bytes(bytes);
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let delete = word ^ (ONES * 0x7f);
    let found = (word.wrapping_sub(ONES * 0x20) & !word)
        | (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (delete.wrapping_sub(ONES) & !delete)
        | word;
    found & HIGH != 0
}

#[cold]
fn escape_odd(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
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

/// Appends a number.
pub(super) fn decimal(value: u64, out: &mut Vec<u8>) {
    let mut text = [b'0'; 20];
    let mut left = value;
    let mut used = 0;
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
        used += 1;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(text.get(text.len() - used..).unwrap_or_default());
}

/// The last `N` digits of a number.
#[inline]
fn digits<const N: usize>(value: u64) -> [u8; N] {
    let mut text = [b'0'; N];
    let mut left = value;
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
    text
}

/// Appends an address.
pub(super) fn address(value: IpAddr, out: &mut Vec<u8>) {
    match value {
        IpAddr::V4(v4) => {
            let [first, rest @ ..] = v4.octets();
            octet(first, out);
            for part in rest {
                out.push(b'.');
                octet(part, out);
            }
        }
        // The shortening of RFC 5952 is the library's; it costs more and is rarer.
        IpAddr::V6(v6) => out.extend_from_slice(v6.to_string().as_bytes()),
    }
}

#[inline]
fn octet(value: u8, out: &mut Vec<u8>) {
    let [hundreds, tens, ones] = [value / 100, value / 10 % 10, value % 10].map(|n| b'0' + n);
    match value {
        100.. => out.extend_from_slice(&[hundreds, tens, ones]),
        10.. => out.extend_from_slice(&[tens, ones]),
        _ => out.push(ones),
    }
}

/// Appends a moment as RFC 3339 in UTC with milliseconds.
pub(super) fn moment(unix_ms: u64, out: &mut Vec<u8>) {
    let seconds = unix_ms / 1_000;
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    let [y1, y2, y3, y4] = digits(year);
    let ([o1, o2], [d1, d2]) = (digits(month), digits(day));
    let ([h1, h2], [m1, m2], [s1, s2]) = (
        digits(of_day / 3_600),
        digits(of_day / 60 % 60),
        digits(of_day % 60),
    );
    let [f1, f2, f3] = digits(unix_ms % 1_000);
    out.extend_from_slice(&[
        y1, y2, y3, y4, b'-', o1, o2, b'-', d1, d2, b'T', h1, h2, b':', m1, m2, b':', s1, s2, b'.',
        f1, f2, f3, b'Z',
    ]);
}

/// Appends seconds with microseconds and an `s`: protobuf's JSON duration.
pub(super) fn seconds(micros: u64, out: &mut Vec<u8>) {
    let whole = micros / 1_000_000;
    if whole >= 10 {
        decimal(whole / 10, out);
    }
    let ([ones], [d1, d2, d3, d4, d5, d6]) = (digits(whole), digits(micros % 1_000_000));
    out.extend_from_slice(&[ones, b'.', d1, d2, d3, d4, d5, d6, b's']);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_whole() {
        for value in [0, 7, 10, 99, 1_234_567_890, u64::MAX] {
            assert_eq!(written(|out| decimal(value, out)), value.to_string());
        }
        assert_eq!(digits::<3>(7), *b"007");
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
            assert_eq!(written(|out| moment(unix_ms, out)), expected);
        }
    }

    #[test]
    fn durations_are_seconds() {
        assert_eq!(written(|out| seconds(0, out)), "0.000000s");
        assert_eq!(written(|out| seconds(9_000_001, out)), "9.000001s");
        assert_eq!(written(|out| seconds(12_345_678, out)), "12.345678s");
        assert_eq!(written(|out| seconds(3_600_000_000, out)), "3600.000000s");
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
            assert_eq!(written(|out| address(value, out)), address_text);
        }
    }

    #[test]
    fn a_long_value_is_cut_and_says_so() {
        assert_eq!(written(|out| text(b"12345", 4, out)), "1234…");
        assert_eq!(written(|out| text(b"1234", 4, out)), "1234");
        assert_eq!(written(|out| text("aä".as_bytes(), 2, out)), "a\u{fffd}…");
    }

    #[test]
    fn a_byte_that_needs_care_is_found_wherever_it_stands() {
        for (length, place) in (1..=20).flat_map(|length| (0..length).map(move |at| (length, at))) {
            for byte in 0..=u8::MAX {
                let mut bytes = vec![b'a'; length];
                bytes[place] = byte;
                assert_eq!(
                    is_plain(&bytes),
                    !needs_care(byte),
                    "{byte} at {place} of {length}"
                );
            }
        }
        assert!(is_plain(b""));
    }

    proptest! {
        #[test]
        fn any_bytes_become_one_line_of_valid_json(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            bound in 0_usize..400,
        ) {
            let inside = written(|out| text(&bytes, bound, out));
            prop_assert!(!inside.bytes().any(|byte| byte < 0x20 || byte == 0x7f));
            let value: String = serde_json::from_str(&format!("\"{inside}\"")).unwrap();
            let kept = bytes.get(..bound).unwrap_or(&bytes);
            let mut expected = String::from_utf8_lossy(kept).into_owned();
            if kept.len() < bytes.len() {
                expected.push('…');
            }
            prop_assert_eq!(value, expected);
        }
    }
}
