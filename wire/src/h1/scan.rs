//! Finds the lines of a head in bytes that may still be arriving.
//!
//! Promises: looks at no byte twice, so a head that drips in costs linear
//! time; says the same however the bytes were cut. Refuses every control
//! character but tab and the pairs of CR and LF that end lines.

use crate::h1::controls::Controls;
use crate::malformed::Malformed;

/// How far a head was looked at.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Scan {
    looked: usize,
    /// Where the line that is being read begins.
    line: usize,
    /// An empty line in front was skipped.
    skipped: bool,
    /// Complete lines, the one that was skipped not counted.
    pub(crate) lines: usize,
}

/// What was found.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    /// No end yet, in the first line.
    First,
    /// No end yet, after complete lines.
    More,
    /// The head has so many bytes, its empty line included.
    End(usize),
}

impl Scan {
    /// Whether nothing was looked at.
    pub(crate) fn is_fresh(&self) -> bool {
        self.looked == 0
    }

    /// Looks at what is new in `buf`, which begins where it began before, and
    /// hands out each line that became complete, its CRLF included. One empty
    /// line in front is skipped.
    #[inline]
    pub(crate) fn run(
        &mut self,
        buf: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Malformed>,
    ) -> Result<Found, Malformed> {
        let mut controls = Controls::new(buf, self.looked);
        while let Some(at) = controls.next() {
            self.looked = at;
            match buf.get(at..) {
                Some([b'\r', b'\n', ..]) => {}
                Some([b'\r']) => return Ok(self.unfinished()),
                Some([b'\r', ..]) => return Err(Malformed::BareCr),
                Some([b'\n', ..]) => return Err(Malformed::BareLf),
                Some(_) | None => return Err(Malformed::ControlCharacter),
            }
            controls.next();
            let end = at + 2;
            self.looked = end;
            if at > self.line {
                take(buf.get(self.line..end).unwrap_or(&[]))?;
                self.lines += 1;
            } else if at > 0 {
                return Ok(Found::End(end));
            } else {
                self.skipped = true;
            }
            self.line = end;
        }
        self.looked = buf.len();
        Ok(self.unfinished())
    }

    fn unfinished(&self) -> Found {
        if self.lines > 0 {
            Found::More
        } else {
            Found::First
        }
    }
}
