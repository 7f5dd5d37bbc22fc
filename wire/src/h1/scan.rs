//! Finds the end of a head in bytes that may still be arriving.
//!
//! Promises: looks at no byte twice, so a head that drips in costs linear
//! time; says the same however the bytes were cut.

use memchr::memchr;

/// How far a head was looked at.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Scan {
    looked: usize,
    /// Where the line that is being read begins.
    line: usize,
    /// Bytes of an empty line in front: 0 or 2.
    pub(crate) skipped: usize,
}

/// What was found.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    /// No end yet; complete lines reach up to here.
    More { lines: usize },
    /// The lines end here, the head two bytes later.
    End { lines: usize },
    /// A line ends in LF alone; complete lines reach up to here.
    BareLf { lines: usize },
}

impl Scan {
    /// Looks at what is new in `buf`, which begins where it began before.
    #[inline]
    pub(crate) fn run(&mut self, buf: &[u8]) -> Found {
        while let Some(rest) = buf.get(self.looked..)
            && let Some(ahead) = memchr(b'\n', rest)
        {
            let at = self.looked + ahead;
            if at == 0 || buf.get(at - 1) != Some(&b'\r') {
                return Found::BareLf { lines: self.line };
            }
            self.looked = at + 1;
            if at == self.line + 1 {
                if self.line > 0 || self.skipped > 0 {
                    return Found::End { lines: self.line };
                }
                self.skipped = 2;
            }
            self.line = at + 1;
        }
        self.looked = buf.len().max(self.looked);
        Found::More { lines: self.line }
    }
}
