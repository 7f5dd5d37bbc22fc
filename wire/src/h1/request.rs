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
        let window = buf.get(..limit).unwrap_or(buf);
        let fresh = self.scan.is_fresh();
        let (found, line) = self.read_lines(window, limits, head)?;
        let (used, line) = match (found, line) {
            (Found::First | Found::More, _) if buf.len() < limit => return Ok(None),
            (Found::First, _) => return Err(Malformed::TargetTooLong),
            (Found::More, _) => return Err(Malformed::HeadTooLarge),
            (Found::End(used), line) if fresh => (used, line),
            // It came in pieces, and is whole now: once more in one go.
            (Found::End(used), _) => {
                self.reset();
                (used, self.read_lines(window, limits, head)?.1)
            }
        };
        head.settle_h1(line.ok_or(Malformed::RequestLine)?.authority)?;
        head.head_bytes = used;
        self.reset();
        Ok(Some(used))
    }

    /// Reads the lines that are new into a cleared head.
    #[inline]
    fn read_lines(
        &mut self,
        window: &[u8],
        limits: &HeadLimits,
        head: &mut RequestHead,
    ) -> Result<(Found, Option<RequestLine>), Malformed> {
        head.clear();
        let mut first = self.scan.lines == 0;
        let most = limits
            .fields
            .saturating_sub(self.scan.lines.saturating_sub(1));
        let mut line = None;
        let found = self.scan.run(window, |text| {
            if first {
                first = false;
                line = Some(head.read_request_line(text, limits)?);
                return Ok(());
            }
            head.fields.push_line(text, most)
        })?;
        Ok((found, line))
    }
}

/// What the request line says beside method, target and version.
#[derive(Copy, Clone)]
struct RequestLine {
    /// The authority of an absolute form.
    authority: Option<Span>,
}

/// A target's place.
struct Target {
    authority: Option<Span>,
    len: usize,
}

impl RequestHead {
    #[inline]
    fn read_request_line(
        &mut self,
        text: &[u8],
        limits: &HeadLimits,
    ) -> Result<RequestLine, Malformed> {
        self.fields.raw.extend_from_slice(text);
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
        Ok(RequestLine {
            authority: target.authority,
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
    match rest {
        b"HTTP/1.1\r\n" => Ok(Version::Http11),
        b"HTTP/1.0\r\n" => Ok(Version::Http10),
        _ => Err(version_fault(rest)),
    }
}

/// Which rule the rest of a request line breaks.
#[cold]
fn version_fault(rest: &[u8]) -> Malformed {
    let line = rest.strip_suffix(b"\r\n").unwrap_or(rest);
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
        [b'\r' | b' ' | b'\t', ..] | [] => Malformed::RequestLine,
        [b'\n', ..] => Malformed::BareLf,
        [0..=0x1f | 0x7f, ..] => Malformed::ControlCharacter,
        [..] => Malformed::MethodName,
    }
}

/// Which rule the byte after a target breaks.
#[cold]
fn target_fault(rest: &[u8]) -> Malformed {
    match rest {
        [b'\r', ..] | [] => Malformed::RequestLine,
        [byte, ..] => fault(*byte),
    }
}

#[cfg(test)]
mod tests;
