//! Reads the heads of answers, as strictly as requests.

use crate::bytes::content_len;
use crate::h1::scan::{Found, Scan};
use crate::limits::HeadLimits;
use crate::malformed::Malformed;
use crate::method::Method;
use crate::response::ResponseHead;
use crate::rules::Answer;
use crate::version::Version;

/// Reads one answer's head after another; remembers how far it looked.
#[derive(Clone, Debug, Default)]
pub struct ResponseParser {
    scan: Scan,
}

impl ResponseParser {
    /// Ready for the first head.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ready for the next head, as [`crate::h1::RequestParser::reset`].
    pub fn reset(&mut self) {
        self.scan = Scan::default();
    }

    /// Reads the head at the front of `buf`, as
    /// [`crate::h1::RequestParser::parse`]; no empty line is skipped. `to` is
    /// the method of the request. Interim answers and 101 come out as heads
    /// without a body.
    ///
    /// # Errors
    /// The first rule that the head breaks, the same however it was cut.
    #[expect(
        clippy::too_many_arguments,
        reason = "the request parser's, and the method"
    )]
    pub fn parse(
        &mut self,
        buf: &[u8],
        limits: &HeadLimits,
        to: Method,
        head: &mut ResponseHead,
    ) -> Result<Option<usize>, Malformed> {
        if buf.first().is_some_and(|&first| first != b'H') {
            return Err(Malformed::StatusLine);
        }
        let limit = limits.head_bytes();
        let (lines, broken) = match self.scan.run(buf.get(..limit).unwrap_or(buf)) {
            Found::More { .. } if buf.len() < limit => return Ok(None),
            Found::More { lines } => (lines, Some(Malformed::HeadTooLarge)),
            Found::End { lines } => (lines, None),
            Found::BareLf { lines } => (lines, Some(Malformed::BareLf)),
        };
        let text = buf.get(..lines).unwrap_or(&[]);
        if let Some(broken) = broken
            && text.is_empty()
        {
            return Err(broken);
        }
        head.clear();
        head.fields.raw.extend_from_slice(text);
        let fields = head.read_status_line()?;
        head.fields.read_lines(fields, limits.fields)?;
        if let Some(broken) = broken {
            return Err(broken);
        }
        head.settle_h1(Answer {
            to,
            status: head.status,
            version: head.version,
        })?;
        head.head_bytes = lines + 2;
        self.reset();
        Ok(Some(lines + 2))
    }
}

impl ResponseHead {
    /// Version, status and reason; where the field lines begin.
    #[inline]
    fn read_status_line(&mut self) -> Result<usize, Malformed> {
        let raw = self.fields.raw.as_slice();
        let (version, rest) = match raw.split_at_checked(8) {
            Some((b"HTTP/1.1", rest)) => (Version::Http11, rest),
            Some((b"HTTP/1.0", rest)) => (Version::Http10, rest),
            Some(_) | None => return Err(version_fault(raw)),
        };
        let [b' ', hundreds, tens, ones, reason @ ..] = rest else {
            return Err(Malformed::StatusLine);
        };
        let digits = [*hundreds, *tens, *ones];
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(Malformed::StatusLine);
        }
        let status = digits
            .iter()
            .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        if !(100..=599).contains(&status) {
            return Err(Malformed::StatusCode);
        }
        self.version = version;
        self.status = status;
        let content = match reason {
            [b'\r', ..] => 0,
            [b' ', ..] => content_len(reason),
            [..] => return Err(Malformed::StatusLine),
        };
        match reason.get(content..) {
            Some([b'\r', b'\n', ..]) => Ok(12 + content + 2),
            Some([b'\r', ..]) => Err(Malformed::BareCr),
            Some(_) | None => Err(Malformed::ControlCharacter),
        }
    }
}

/// Another version, or no status line at all.
#[cold]
fn version_fault(raw: &[u8]) -> Malformed {
    match raw {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'0'..=b'9',
            b'.',
            b'0'..=b'9',
            b' ',
            ..,
        ] => Malformed::VersionUnsupported,
        [..] => Malformed::StatusLine,
    }
}

#[cfg(test)]
mod tests;
