//! Reads the heads of answers, as strictly as requests.

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
        let window = buf.get(..limit).unwrap_or(buf);
        let fresh = self.scan.is_fresh();
        let used = match self.read_lines(window, limits, head)? {
            Found::First | Found::More if buf.len() < limit => return Ok(None),
            Found::First | Found::More => return Err(Malformed::HeadTooLarge),
            Found::End(used) => used,
        };
        if !fresh {
            self.reset();
            self.read_lines(window, limits, head)?;
        }
        head.settle_h1(Answer {
            to,
            status: head.status,
            version: head.version,
        })?;
        head.head_bytes = used;
        self.reset();
        Ok(Some(used))
    }

    /// Reads the lines that are new into a cleared head, as for requests.
    #[inline]
    fn read_lines(
        &mut self,
        window: &[u8],
        limits: &HeadLimits,
        head: &mut ResponseHead,
    ) -> Result<Found, Malformed> {
        head.clear();
        let mut first = self.scan.lines == 0;
        let most = limits
            .fields
            .saturating_sub(self.scan.lines.saturating_sub(1));
        self.scan.run(window, |line| {
            if first {
                first = false;
                return head.read_status_line(line);
            }
            head.fields.push_line(line, most)
        })
    }
}

impl ResponseHead {
    /// Version, status and reason.
    #[inline]
    fn read_status_line(&mut self, line: &[u8]) -> Result<(), Malformed> {
        let (version, rest) = match line.split_at_checked(8) {
            Some((b"HTTP/1.1", rest)) => (Version::Http11, rest),
            Some((b"HTTP/1.0", rest)) => (Version::Http10, rest),
            Some(_) | None => return Err(version_fault(line)),
        };
        let [b' ', hundreds, tens, ones, b' ' | b'\r', ..] = rest else {
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
        Ok(())
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
