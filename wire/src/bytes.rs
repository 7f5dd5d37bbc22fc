//! Classes of bytes, and decimal and hexadecimal numbers.

/// Lower-cased token characters (RFC 9110 5.6.2); 0 for every other byte.
const TOKEN: [u8; 256] = table(TokenClass::Token);
/// Lower-cased characters of a host label; 0 for every other byte.
const HOST: [u8; 256] = table(TokenClass::Host);

#[derive(Copy, Clone)]
enum TokenClass {
    Token,
    Host,
}

#[expect(
    clippy::indexing_slicing,
    reason = "constant evaluation: out of bounds fails the build"
)]
#[expect(clippy::cast_possible_truncation, reason = "the index stays below 256")]
const fn table(class: TokenClass) -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let fits = match class {
            TokenClass::Token => {
                byte.is_ascii_alphanumeric()
                    || matches!(
                        byte,
                        b'!' | b'#'
                            | b'$'
                            | b'%'
                            | b'&'
                            | b'\''
                            | b'*'
                            | b'+'
                            | b'-'
                            | b'.'
                            | b'^'
                            | b'_'
                            | b'`'
                            | b'|'
                            | b'~'
                    )
            }
            TokenClass::Host => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
        };
        if fits {
            table[at] = byte.to_ascii_lowercase();
        }
        at += 1;
    }
    table
}

/// The token character in lower case, 0 when it is none.
#[inline]
pub(crate) fn token_lower(byte: u8) -> u8 {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(0)
}

/// The host label character in lower case, 0 when it is none.
#[inline]
pub(crate) fn host_lower(byte: u8) -> u8 {
    HOST.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Whether the text is a token: not empty, token characters only.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| token_lower(byte) != 0)
}

/// How many bytes at the front are field content: no control character but
/// tab (RFC 9110 5.5). Eight bytes a step.
#[inline]
pub(crate) fn content_len(text: &[u8]) -> usize {
    let mut len = 0;
    loop {
        len += plain_len(text.get(len..).unwrap_or(&[]));
        if text.get(len) != Some(&b'\t') {
            return len;
        }
        len += 1;
    }
}

/// How many bytes at the front are neither control characters nor tabs.
#[inline]
fn plain_len(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (words, tail) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let below = word.wrapping_sub(ONES * 0x20) & !word;
        let delete = word ^ (ONES * 0x7f);
        let delete = delete.wrapping_sub(ONES) & !delete;
        // A borrow can only mark lanes above a true one: the lowest is right.
        let odd = (below | delete) & HIGH;
        if odd != 0 {
            return at * 8 + (odd.trailing_zeros() / 8) as usize;
        }
    }
    let plain = |byte: &u8| *byte >= 0x20 && *byte != 0x7f;
    text.len() - tail.len() + tail.iter().take_while(|byte| plain(byte)).count()
}

/// The text without spaces and tabs around it.
#[inline]
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The elements of a comma-separated list, trimmed, empty ones left out.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trim)
        .filter(|element| !element.is_empty())
}

/// The text of bytes that are ASCII by construction; empty if they were not.
#[inline]
pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("")
}

/// The value of one hexadecimal digit.
#[inline]
pub(crate) const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The upper-case digit of the low four bits.
#[inline]
pub(crate) const fn hex_digit(value: u8) -> u8 {
    match value & 15 {
        low @ 0..=9 => b'0' + low,
        low => b'A' + low - 10,
    }
}

/// Appends a number in decimal.
pub(crate) fn push_decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut len = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        len += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - len..).unwrap_or(&[]));
}

/// Appends a number in lower-case hexadecimal.
pub(crate) fn push_hex(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 16];
    let mut len = 0;
    for digit in digits.iter_mut().rev() {
        *digit = hex_digit(u8::try_from(number & 15).unwrap_or(0)).to_ascii_lowercase();
        number >>= 4;
        len += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - len..).unwrap_or(&[]));
}
