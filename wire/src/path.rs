//! The path, in the one form that is decided on and sent.
//!
//! Promises: percent-encoded unreserved characters are decoded, other escapes
//! get upper-case digits, dot segments go (encoded ones too), slashes that
//! repeat become one, nothing climbs above the root. Doing it twice changes
//! nothing. What was found on the way is noted.
//!
//! Refuses literal backslashes, control characters, 8-bit bytes and the other
//! characters that RFC 3986 has no place for, bad escapes and encoded NUL.
//! Encoded slashes and backslashes stay encoded: decoding them would change
//! what the segments are.

use wide::u8x16;

use crate::bytes::{hex_digit, hex_value};
use crate::malformed::Malformed;

/// May stand in a path.
const PATH: u8 = 1;
const SLASH: u8 = 2;
/// A slash or a dot: after a slash, the path is not plain.
const MARK: u8 = 4;
const PERCENT: u8 = 8;
/// May stand in a query.
const QUERY: u8 = 16;

const CLASS: [u8; 256] = classes();

#[expect(
    clippy::indexing_slicing,
    reason = "constant evaluation: out of bounds fails the build"
)]
#[expect(clippy::cast_possible_truncation, reason = "the index stays below 256")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0x21;
    while at < 0x7f {
        let byte = at as u8;
        table[at] = match byte {
            b'"' | b'#' | b'<' | b'>' | b'\\' => 0,
            // Browsers send these unescaped in a query.
            b'?' | b'^' | b'`' | b'{' | b'|' | b'}' => QUERY,
            b'/' => PATH | QUERY | SLASH | MARK,
            b'.' => PATH | QUERY | MARK,
            b'%' => PATH | QUERY | PERCENT,
            _ => PATH | QUERY,
        };
        at += 1;
    }
    table
}

#[inline]
fn class(byte: u8) -> u8 {
    CLASS.get(usize::from(byte)).copied().unwrap_or(0)
}

/// What normalisation met: a set of flags.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct PathNotes(u16);

impl PathNotes {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// `.` or `..` as a segment, literal or encoded, also with parameters
    /// (`/..;x/`, which stays).
    pub const DOT_SEGMENTS: Self = Self(1);
    /// `..` with nothing left to remove.
    pub const ABOVE_ROOT: Self = Self(1 << 1);
    /// `%2e`.
    pub const ENCODED_DOT: Self = Self(1 << 2);
    /// `%2f`, kept.
    pub const ENCODED_SLASH: Self = Self(1 << 3);
    /// `%5c`, kept.
    pub const ENCODED_BACKSLASH: Self = Self(1 << 4);
    /// `//`, made one.
    pub const REPEATED_SLASH: Self = Self(1 << 5);
    /// `%25` before two hex digits, kept: decoded twice it would be another path.
    pub const DOUBLE_ENCODED: Self = Self(1 << 6);
    /// `%01` to `%1f` or `%7f`, kept.
    pub const ENCODED_CONTROL: Self = Self(1 << 7);
    /// `%c0`, `%c1` or `%f5` to `%ff`, kept: never part of UTF-8.
    pub const OVERLONG: Self = Self(1 << 8);

    /// Every flag with its name.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::DOT_SEGMENTS, "dot-segments"),
        (Self::ABOVE_ROOT, "above-root"),
        (Self::ENCODED_DOT, "encoded-dot"),
        (Self::ENCODED_SLASH, "encoded-slash"),
        (Self::ENCODED_BACKSLASH, "encoded-backslash"),
        (Self::REPEATED_SLASH, "repeated-slash"),
        (Self::DOUBLE_ENCODED, "double-encoded"),
        (Self::ENCODED_CONTROL, "encoded-control"),
        (Self::OVERLONG, "overlong"),
    ];

    /// Whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no flag is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Names of the flags that are set, in kebab case.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::ALL
            .into_iter()
            .filter(move |(flag, _)| self.contains(*flag))
            .map(|(_, name)| name)
    }

    fn add(&mut self, other: Self) {
        *self = self.with(other);
    }
}

/// Lengths of a target's parts.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Scan {
    /// Bytes of the path at the front.
    pub(crate) path: usize,
    /// Bytes of path, question mark and query.
    pub(crate) all: usize,
    /// The path is already in its one form.
    pub(crate) plain: bool,
}

/// Reads path and query up to the first byte that may not stand there.
#[inline]
pub(crate) fn scan(text: &[u8]) -> Scan {
    let (mut path, mut plain) = scan_common(text);
    let mut before = path
        .checked_sub(1)
        .and_then(|at| text.get(at))
        .map_or(0, |&byte| class(byte));
    for &byte in text.get(path..).unwrap_or(&[]) {
        let class = class(byte);
        if class & PATH == 0 {
            break;
        }
        plain &= ((before << 1) & class & MARK) | (class & PERCENT) == 0;
        before = class;
        path += 1;
    }
    let query = match text.get(path..) {
        Some([b'?', query @ ..]) => {
            1 + query
                .iter()
                .take_while(|&&byte| class(byte) & QUERY != 0)
                .count()
        }
        Some(_) | None => 0,
    };
    Scan {
        path,
        all: path + query,
        plain,
    }
}

/// Reads the letters, digits, `_`, `-`, `.` and `/` at the front, 16 bytes a
/// step while there are so many: how many, and whether no dot or slash follows
/// a slash.
#[inline]
fn scan_common(text: &[u8]) -> (usize, bool) {
    let (mut len, mut odd, mut after_slash) = (0, 0, 0);
    while let Some(step) = text.get(len..).and_then(|rest| rest.first_chunk::<16>()) {
        let step = u8x16::new(*step);
        let letter = (step | u8x16::splat(0x20)) - u8x16::splat(b'a');
        let letter = letter.min(u8x16::splat(25)).simd_eq(letter);
        // From `-` to `9`: `-`, `.`, `/` and the digits.
        let other = step - u8x16::splat(b'-');
        let other = other.min(u8x16::splat(12)).simd_eq(other);
        let common = (letter | other | step.simd_eq(u8x16::splat(b'_'))).to_bitmask();
        let slash = step.simd_eq(u8x16::splat(b'/'));
        let mark = slash | step.simd_eq(u8x16::splat(b'.'));
        let taken = common.trailing_ones();
        let slashes = slash.to_bitmask() << 1 | after_slash;
        odd |= slashes & mark.to_bitmask() & ((1 << taken) - 1);
        len += taken as usize;
        if taken < 16 {
            break;
        }
        after_slash = slashes >> 16;
    }
    (len, odd == 0)
}

/// Writes the one form of the path into `out`, which is cleared first.
///
/// `raw` is a path without query and begins with a slash.
///
/// # Errors
/// [`Malformed::TargetForm`] without a leading slash,
/// [`Malformed::TargetCharacter`], [`Malformed::ControlCharacter`],
/// [`Malformed::PercentEscape`], [`Malformed::EncodedNul`].
pub fn normalize(raw: &str, out: &mut Vec<u8>) -> Result<PathNotes, Malformed> {
    out.clear();
    let mut notes = PathNotes::NONE;
    if !raw.starts_with('/') {
        return Err(Malformed::TargetForm);
    }
    decode(raw.as_bytes(), out, &mut notes)?;
    drop_segments(out, &mut notes);
    Ok(notes)
}

fn decode(raw: &[u8], out: &mut Vec<u8>, notes: &mut PathNotes) -> Result<(), Malformed> {
    let mut rest = raw;
    while let [byte, after @ ..] = rest {
        if *byte == b'%' {
            let [high, low, after @ ..] = after else {
                return Err(Malformed::PercentEscape);
            };
            let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low)) else {
                return Err(Malformed::PercentEscape);
            };
            push_escape(high << 4 | low, after, out, notes)?;
            rest = after;
            continue;
        }
        if class(*byte) & PATH == 0 {
            return Err(fault(*byte));
        }
        out.push(*byte);
        rest = after;
    }
    Ok(())
}

/// The rule a byte breaks that may not stand in a target.
pub(crate) fn fault(byte: u8) -> Malformed {
    match byte {
        0..=0x1f | 0x7f => Malformed::ControlCharacter,
        _ => Malformed::TargetCharacter,
    }
}

fn push_escape(
    value: u8,
    after: &[u8],
    out: &mut Vec<u8>,
    notes: &mut PathNotes,
) -> Result<(), Malformed> {
    match value {
        0 => return Err(Malformed::EncodedNul),
        b'.' => notes.add(PathNotes::ENCODED_DOT),
        b'/' => notes.add(PathNotes::ENCODED_SLASH),
        b'\\' => notes.add(PathNotes::ENCODED_BACKSLASH),
        b'%' => {
            if let [high, low, ..] = after
                && hex_value(*high).is_some()
                && hex_value(*low).is_some()
            {
                notes.add(PathNotes::DOUBLE_ENCODED);
            }
        }
        1..=0x1f | 0x7f => notes.add(PathNotes::ENCODED_CONTROL),
        0xc0 | 0xc1 | 0xf5..=0xff => notes.add(PathNotes::OVERLONG),
        _ => {}
    }
    if value.is_ascii_alphanumeric() || matches!(value, b'-' | b'.' | b'_' | b'~') {
        out.push(value);
    } else {
        out.extend_from_slice(&[b'%', hex_digit(value >> 4), hex_digit(value)]);
    }
    Ok(())
}

/// Removes dot segments and repeated slashes in place. The part before `write`
/// is done: segments, each with its slash in front.
fn drop_segments(path: &mut Vec<u8>, notes: &mut PathNotes) {
    let (mut read, mut write) = (1, 0);
    let ends_open = loop {
        let rest = path.get(read..).unwrap_or(&[]);
        let len = rest.iter().position(|&byte| byte == b'/');
        let segment = len.and_then(|len| rest.get(..len)).unwrap_or(rest);
        let end = read + segment.len();
        let open = match segment {
            b"" => {
                if len.is_some() {
                    notes.add(PathNotes::REPEATED_SLASH);
                }
                true
            }
            b"." => {
                notes.add(PathNotes::DOT_SEGMENTS);
                true
            }
            b".." => {
                notes.add(PathNotes::DOT_SEGMENTS);
                if write == 0 {
                    notes.add(PathNotes::ABOVE_ROOT);
                }
                let done = path.get(..write).unwrap_or(&[]);
                write = done.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                true
            }
            _ => {
                if segment.starts_with(b".;") || segment.starts_with(b"..;") {
                    notes.add(PathNotes::DOT_SEGMENTS);
                }
                path.copy_within(read - 1..end, write);
                write += end + 1 - read;
                false
            }
        };
        if len.is_none() {
            break open;
        }
        read = end + 1;
    };
    path.truncate(write);
    if ends_open {
        path.push(b'/');
    }
}

#[cfg(test)]
mod tests;
