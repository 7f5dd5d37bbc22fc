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
            controls.skip();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines handed out, and what was found last, when `piece` bytes come at a
    /// time.
    fn run(text: &[u8], piece: usize) -> (Vec<Vec<u8>>, Result<Found, Malformed>) {
        let (mut scan, mut lines) = (Scan::default(), Vec::new());
        let mut have = 0;
        loop {
            have = (have + piece).min(text.len());
            let found = scan.run(&text[..have], |line| {
                lines.push(line.to_vec());
                Ok(())
            });
            match found {
                Ok(Found::First | Found::More) if have < text.len() => {}
                found => return (lines, found),
            }
        }
    }

    #[test]
    fn each_line_is_handed_out_once_however_the_bytes_arrive() {
        let head = b"\r\nGET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\nrest";
        let expected = [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"Host: a\r\n".into(),
            b"X: 1\r\n".into(),
        ];
        for piece in 1..=head.len() {
            let (lines, found) = run(head, piece);
            assert_eq!(found, Ok(Found::End(head.len() - 4)), "{piece}");
            assert_eq!(lines, expected, "{piece}");
        }
    }

    #[test]
    fn a_head_that_drips_is_looked_at_once() {
        let line = [b"X: ".as_slice(), &[b'y'; 1_000], b"\r\n"].concat();
        let head = line.repeat(64);
        let mut scan = Scan::default();
        for len in 1..=head.len() {
            let before = scan.looked;
            scan.run(&head[..len], |_| Ok(())).unwrap();
            assert!(scan.looked >= before, "never back");
            assert!(len - scan.looked <= 1, "never more than a lone CR is left");
        }
        assert_eq!(scan.lines, 64);
    }

    #[test]
    fn a_control_character_ends_the_scan() {
        for (text, rule) in [
            (b"a\nb".as_slice(), Malformed::BareLf),
            (b"a\rb", Malformed::BareCr),
            (b"a\0b", Malformed::ControlCharacter),
            (b"a\x7fb", Malformed::ControlCharacter),
        ] {
            for piece in 1..=text.len() {
                assert_eq!(run(text, piece).1, Err(rule));
            }
        }
        assert_eq!(run(b"a\tb\xff", 1).1, Ok(Found::First));
    }
}
