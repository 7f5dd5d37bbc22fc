//! Reads request heads.

use crate::builder::{METHOD_MAX, known_scheme};
use crate::bytes::token_lower;
use crate::fields::Span;
use crate::h1::scan::{Found, Scan};
use crate::limits::HeadLimits;
use crate::malformed::Malformed;
use crate::method::Method;
use crate::path::{Scan as Parts, fault, scan};
use crate::request::{PathPlace, RequestHead};
use crate::version::Version;

/// Reads one request head after another; remembers how far it looked, so that
/// a head that drips in costs linear time.
#[derive(Clone, Debug, Default)]
pub struct RequestParser {
    scan: Scan,
}

impl RequestParser {
    /// Ready for the first head.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ready for the next head: call it after each head that was complete, or
    /// when `buf` no longer begins where it began.
    pub fn reset(&mut self) {
        self.scan = Scan::default();
    }

    /// Reads the head at the front of `buf`, which must begin with the same
    /// byte on every call until the head is complete or refused.
    ///
    /// `Ok(Some(n))`: complete in `n` bytes, and `head` is filled; the parser
    /// is ready for the next head. `Ok(None)`: more bytes are needed. One
    /// empty line in front is skipped (RFC 9112 2.2).
    ///
    /// # Errors
    /// The first rule that the head breaks, the same however it was cut. The
    /// connection is to be closed.
    pub fn parse(
        &mut self,
        buf: &[u8],
        limits: &HeadLimits,
        head: &mut RequestHead,
    ) -> Result<Option<usize>, Malformed> {
        if let Some(&first) = buf.first()
            && token_lower(first) == 0
            && first != b'\r'
        {
            return Err(method_fault(buf));
        }
        let limit = limits.head_bytes();
        let (lines, broken) = match self.scan.run(buf.get(..limit).unwrap_or(buf)) {
            Found::More { .. } if buf.len() < limit => return Ok(None),
            Found::More { lines } if lines <= self.scan.skipped => {
                (lines, Some(Malformed::TargetTooLong))
            }
            Found::More { lines } => (lines, Some(Malformed::HeadTooLarge)),
            Found::End { lines } => (lines, None),
            Found::BareLf { lines } => (lines, Some(Malformed::BareLf)),
        };
        let text = buf.get(self.scan.skipped..lines).unwrap_or(&[]);
        if let Some(broken) = broken
            && text.is_empty()
        {
            return Err(broken);
        }
        head.clear();
        head.fields.raw.extend_from_slice(text);
        let target = head.read_request_line(limits)?;
        head.fields.read_lines(target.fields, limits.fields)?;
        if let Some(broken) = broken {
            return Err(broken);
        }
        head.settle_h1(target.authority)?;
        head.head_bytes = lines + 2;
        self.reset();
        Ok(Some(lines + 2))
    }
}

/// What the request line says beside method, target and version.
struct RequestLine {
    /// The authority of an absolute form.
    authority: Option<Span>,
    /// Where the field lines begin.
    fields: usize,
}

/// A target's place.
struct Target {
    authority: Option<Span>,
    len: usize,
}

impl RequestHead {
    #[inline]
    fn read_request_line(&mut self, limits: &HeadLimits) -> Result<RequestLine, Malformed> {
        let raw = self.fields.raw.as_slice();
        let method = raw
            .iter()
            .take_while(|&&byte| token_lower(byte) != 0)
            .count();
        if method == 0 || raw.get(method) != Some(&b' ') {
            return Err(method_fault(raw.get(method..).unwrap_or(&[])));
        }
        if method > METHOD_MAX {
            return Err(Malformed::MethodTooLong);
        }
        self.method_text = Span::new(0, method);
        self.method = Method::of(raw.get(..method).unwrap_or(&[]));
        if self.method == Method::Connect {
            return Err(Malformed::ConnectMethod);
        }
        let start = method + 1;
        let rest = raw.get(start..).unwrap_or(&[]);
        let target = if rest.first() == Some(&b'/') {
            let parts = scan(rest);
            self.take_target(Span::new(start, start + parts.all), parts)
                .map(|()| Target {
                    authority: None,
                    len: parts.all,
                })
        } else {
            self.read_other_form(start)
        }?;
        if target.len > limits.target_bytes {
            return Err(Malformed::TargetTooLong);
        }
        let rest = self.fields.raw.get(start + target.len..).unwrap_or(&[]);
        self.version = match rest {
            [b' ', version @ ..] => read_version(version)?,
            _ => return Err(target_fault(rest)),
        };
        let fields = start + target.len + b" HTTP/1.1\r\n".len();
        Ok(RequestLine {
            authority: target.authority,
            fields,
        })
    }

    /// A target that does not begin with a slash.
    fn read_other_form(&mut self, start: usize) -> Result<Target, Malformed> {
        let rest = self.fields.raw.get(start..).unwrap_or(&[]);
        if let [b'*', b' ', ..] = rest {
            if self.method != Method::Options {
                return Err(Malformed::TargetForm);
            }
            self.target = Span::new(start, start + 1);
            self.raw_path = self.target;
            self.place = PathPlace::Asterisk;
            return Ok(Target {
                authority: None,
                len: 1,
            });
        }
        let scheme = rest.iter().take_while(|&&byte| is_scheme(byte)).count();
        let after = rest.get(scheme..).unwrap_or(&[]);
        let Some(after) = after.strip_prefix(b"://") else {
            return Err(match after.first() {
                Some(b' ') if scheme == 0 => Malformed::RequestLine,
                Some(b' ' | b':' | b'/' | b'?' | b'*' | b'@') | None => Malformed::TargetForm,
                Some(_) if scan(after).all > 0 => Malformed::TargetForm,
                Some(_) => target_fault(after),
            });
        };
        self.scheme = Some(known_scheme(rest.get(..scheme).unwrap_or(&[]))?);
        let authority = after
            .iter()
            .take_while(|&&byte| !ends_authority(byte))
            .count();
        if authority == 0 {
            return Err(Malformed::HostMissing);
        }
        let parts = scan(after.get(authority..).unwrap_or(&[]));
        let from = start + scheme + 3;
        let path = from + authority;
        self.take_absolute(Span::new(path, path + parts.all), parts)?;
        Ok(Target {
            authority: Some(Span::new(from, path)),
            len: scheme + 3 + authority + parts.all,
        })
    }

    /// Path and query after the authority of an absolute form.
    fn take_absolute(&mut self, target: Span, parts: Parts) -> Result<(), Malformed> {
        self.take_target(target, parts)?;
        if parts.path == 0 {
            let whole = self.method == Method::Options && parts.all == 0;
            self.place = if whole {
                PathPlace::Asterisk
            } else {
                PathPlace::Root
            };
        }
        Ok(())
    }
}

fn is_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// What ends the authority of an absolute form, or may not stand in one.
fn ends_authority(byte: u8) -> bool {
    matches!(byte, b'/' | b'?' | b'#' | b' ' | 0x7f) || byte < 0x20
}

#[inline]
fn read_version(rest: &[u8]) -> Result<Version, Malformed> {
    if rest.starts_with(b"HTTP/1.1\r\n") {
        Ok(Version::Http11)
    } else if rest.starts_with(b"HTTP/1.0\r\n") {
        Ok(Version::Http10)
    } else {
        Err(version_fault(rest))
    }
}

/// Which rule the rest of a request line breaks.
#[cold]
fn version_fault(rest: &[u8]) -> Malformed {
    let line = rest.split(|&byte| byte == b'\n').next().unwrap_or(&[]);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.contains(&b'\r') {
        return Malformed::BareCr;
    }
    if line
        .iter()
        .any(|&byte| matches!(byte, 0..=0x1f | 0x7f) && byte != b'\t')
    {
        return Malformed::ControlCharacter;
    }
    let odd = line.iter().any(|&byte| byte == b' ' || byte == b'\t');
    match line.get(..5) {
        Some(name) if !odd && name.eq_ignore_ascii_case(b"HTTP/") => Malformed::VersionUnsupported,
        Some(_) | None => Malformed::RequestLine,
    }
}

/// Which rule the byte after a method breaks.
#[cold]
fn method_fault(rest: &[u8]) -> Malformed {
    match rest {
        [b'\r', b'\n', ..] | [b' ' | b'\t', ..] | [] => Malformed::RequestLine,
        [b'\r', ..] => Malformed::BareCr,
        [b'\n', ..] => Malformed::BareLf,
        [0..=0x1f | 0x7f, ..] => Malformed::ControlCharacter,
        [..] => Malformed::MethodName,
    }
}

/// Which rule the byte after a target breaks.
#[cold]
fn target_fault(rest: &[u8]) -> Malformed {
    match rest {
        [b'\r', b'\n', ..] | [] => Malformed::RequestLine,
        [b'\r', ..] => Malformed::BareCr,
        [byte, ..] => fault(*byte),
    }
}

#[cfg(test)]
mod tests;
