//! Huffman coded strings (RFC 7541 5.2 and appendix B).
//!
//! Promises: linear time, at most eight fifths of the input. The code is
//! canonical, so the lengths below are all that is known about it; the tables
//! are computed from them.

/// Bits of the code of each byte; the last is the end of the string, which
/// never comes.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
/// Symbols: all bytes and the end.
const SYMBOLS: usize = LENGTHS.len();
const END: u16 = 256;
/// The longest code, in bits.
const LONGEST: usize = 30;
/// Codes up to so many bits are found in one step.
const SHORT: u32 = 8;

/// Everything that follows from the lengths.
struct Tables {
    /// By the next eight bits: the byte and the bits of its code; no bits:
    /// the code is longer.
    short: [(u8, u8); 256],
    /// Symbols by their codes.
    symbols: [u16; SYMBOLS],
    /// By length: one above the last code, moved to the left of 32 bits.
    limits: [u64; LONGEST + 1],
    /// By length: the first code.
    first: [u32; LONGEST + 1],
    /// By length: where its symbols begin.
    place: [u16; LONGEST + 1],
}

static TABLES: Tables = tables();

#[expect(
    clippy::indexing_slicing,
    reason = "constant evaluation: out of bounds fails the build"
)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "symbols are below 257 and short codes below 256"
)]
const fn tables() -> Tables {
    let mut tables = Tables {
        short: [(0, 0); 256],
        symbols: [0; SYMBOLS],
        limits: [0; LONGEST + 1],
        first: [0; LONGEST + 1],
        place: [0; LONGEST + 1],
    };
    let (mut code, mut placed, mut len) = (0_u32, 0, 1);
    while len <= LONGEST {
        tables.first[len] = code;
        tables.place[len] = placed as u16;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == len {
                tables.symbols[placed] = symbol as u16;
                placed += 1;
                if len <= SHORT as usize {
                    let spread = 1 << (SHORT as usize - len);
                    let mut at = code as usize * spread;
                    while at < (code as usize + 1) * spread {
                        tables.short[at] = (symbol as u8, len as u8);
                        at += 1;
                    }
                }
                code += 1;
            }
            symbol += 1;
        }
        tables.limits[len] = (code as u64) << (32 - len);
        code <<= 1;
        len += 1;
    }
    tables
}

/// Appends what the coded string says. `false`: it has the end in it, or its
/// last bits are no padding.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> bool {
    out.reserve(input.len() * 8 / 5);
    // The next bits stand at the left.
    let (mut bits, mut have, mut rest) = (0_u64, 0_u32, input);
    loop {
        refill(&mut bits, &mut have, &mut rest);
        while have >= 4 * SHORT {
            let Some((four, len)) = four(bits) else {
                break;
            };
            out.extend_from_slice(&four);
            bits <<= len;
            have -= len;
            refill(&mut bits, &mut have, &mut rest);
        }
        let Some((symbol, len)) = one(bits) else {
            return false;
        };
        if len > have {
            break;
        }
        let Ok(byte) = u8::try_from(symbol) else {
            return false;
        };
        out.push(byte);
        bits <<= len;
        have -= len;
    }
    // Less than a byte of ones.
    have < 8 && bits == !(u64::MAX >> have)
}

/// The next four bytes and their bits, when all of their codes are short.
#[inline]
fn four(mut bits: u64) -> Option<([u8; 4], u32)> {
    let (mut bytes, mut all, mut short_ones) = ([0; 4], 0, true);
    for place in &mut bytes {
        let (byte, len) = short(bits);
        *place = byte;
        short_ones &= len != 0;
        all += u32::from(len);
        bits <<= len;
    }
    short_ones.then_some((bytes, all))
}

/// The next symbol and its bits.
#[inline]
fn one(bits: u64) -> Option<(u16, u32)> {
    match short(bits) {
        (_, 0) => long(bits),
        (byte, len) => Some((u16::from(byte), u32::from(len))),
    }
}

/// Fills up to at least 32 bits while there is input.
#[inline]
fn refill(bits: &mut u64, have: &mut u32, rest: &mut &[u8]) {
    if *have >= 32 {
        return;
    }
    if let Some((word, after)) = rest.split_first_chunk::<4>() {
        *bits |= u64::from(u32::from_be_bytes(*word)) << (32 - *have);
        *have += 32;
        *rest = after;
        return;
    }
    while let [byte, after @ ..] = *rest {
        *bits |= u64::from(*byte) << (56 - *have);
        *have += 8;
        *rest = after;
    }
}

#[inline]
fn short(bits: u64) -> (u8, u8) {
    let [front, ..] = bits.to_be_bytes();
    TABLES
        .short
        .get(usize::from(front))
        .copied()
        .unwrap_or_default()
}

/// The symbol of a longer code, and the bits of that.
fn long(bits: u64) -> Option<(u16, u32)> {
    let window = bits >> 32;
    let len = (SHORT as usize + 1..=LONGEST)
        .find(|&len| TABLES.limits.get(len).is_some_and(|&limit| window < limit))
        // What is above every limit is the end, or padding.
        .unwrap_or(LONGEST);
    let code = u32::try_from(window >> (32 - len)).ok()?;
    let nth = code.checked_sub(*TABLES.first.get(len)?)?;
    let at = usize::from(*TABLES.place.get(len)?) + usize::try_from(nth).ok()?;
    let symbol = TABLES.symbols.get(at).copied().unwrap_or(END);
    Some((symbol, u32::try_from(len).ok()?))
}

/// Appends the string in this code: for tests, what goes out is plain.
#[cfg(test)]
pub(super) fn encode(input: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut have) = (0_u64, 0_u32);
    let mut push = |value: u64, len: u32| {
        bits = bits << len | value;
        have += len;
        while have >= 8 {
            have -= 8;
            out.push((bits >> have).to_le_bytes()[0]);
        }
        bits &= (1 << have) - 1;
        have
    };
    let mut last = 0;
    for &byte in input {
        let len = LENGTHS[usize::from(byte)];
        let nth = (0..byte)
            .filter(|&other| LENGTHS[usize::from(other)] == len)
            .count();
        let code = u64::from(TABLES.first[usize::from(len)]) + nth as u64;
        last = push(code, u32::from(len));
    }
    if last > 0 {
        push((1 << (8 - last)) - 1, 8 - last);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(input: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(input, &mut out).then_some(out)
    }

    #[test]
    fn the_code_is_complete() {
        let filled: u64 = LENGTHS.iter().map(|&len| 1 << (30 - u32::from(len))).sum();
        assert_eq!(filled, 1 << 30);
        assert_eq!(TABLES.symbols[SYMBOLS - 1], END);
        assert_eq!(TABLES.limits[LONGEST], 1 << 32);
    }

    /// RFC 7541 C.4 and C.6.
    #[test]
    fn the_examples_of_the_rfc_read_and_write_as_stated() {
        for (coded, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("6402", "302"),
            ("640eff", "307"),
            ("aec3771a4b", "private"),
            (
                "d07abe941054d444a8200595040b8166e082a62d1bff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (
                "9d29ad171863c78f0b97c8e9ae82ae43d3",
                "https://www.example.com",
            ),
            ("9bd9ab", "gzip"),
            (
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
        ] {
            let coded: Vec<u8> = coded
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
            assert_eq!(read(&coded).as_deref(), Some(text.as_bytes()));
            let mut out = Vec::new();
            encode(text.as_bytes(), &mut out);
            assert_eq!(out, coded);
        }
    }

    #[test]
    fn padding_is_less_than_a_byte_of_ones() {
        assert_eq!(read(b""), Some(vec![]));
        assert_eq!(read(&[0x07]).as_deref(), Some(b"0".as_slice()));
        assert_eq!(read(&[0x00]), None, "zeros");
        assert_eq!(read(&[0x06]), None, "not only ones");
        assert_eq!(read(&[0x07, 0xff]), None, "more than a byte");
        assert_eq!(read(&[0xff]), None, "a byte of ones");
        assert_eq!(read(&[0xff; 4]), None, "the end");
        assert_eq!(read(&[0xff; 9]), None);
    }

    proptest! {
        #[test]
        fn strings_read_as_written(text: Vec<u8>) {
            let mut out = Vec::new();
            encode(&text, &mut out);
            prop_assert_eq!(read(&out), Some(text));
        }

        #[test]
        fn what_reads_is_written_so(coded: Vec<u8>) {
            if let Some(text) = read(&coded) {
                let mut out = Vec::new();
                encode(&text, &mut out);
                prop_assert_eq!(out, coded);
            }
        }
    }
}
