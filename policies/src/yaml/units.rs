//! Units as they are written: `10s`, `300ms`, `5m`, `10MiB`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A span of time: `300ms`, `10s`, `5m`, `1h`, `90d`, or a plain number of
/// seconds. At most 10 years.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Span(pub Duration);

const SPAN_MAX: Duration = Duration::from_hours(10 * 366 * 24);

impl Span {
    /// Reads a span of time.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = || {
            format!(
                "`{text}` is not a duration: write a number with ms, s, m, h or d, as in `300ms` or `10s`"
            )
        };
        let (number, unit) = split_unit(text);
        let scale = match unit {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return Err(wanted()),
        };
        let seconds = decimal(number).ok_or_else(wanted)? * scale;
        let span = Duration::try_from_secs_f64(seconds).map_err(|_| wanted())?;
        // Fractions of a millisecond are noise of the multiplication.
        let span = Duration::from_micros(
            u64::try_from((span.as_nanos() + 500) / 1_000).map_err(|_| wanted())?,
        );
        if span > SPAN_MAX {
            return Err(format!("`{text}` is over ten years"));
        }
        Ok(Self(span))
    }
}

/// A number of bytes: `64KiB`, `10MiB`, `1GiB`, or a plain number.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// Reads a number of bytes.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = || {
            format!(
                "`{text}` is not a size: write a whole number with B, KiB, MiB or GiB, as in `10MiB`"
            )
        };
        let (number, unit) = split_unit(text);
        let scale: u64 = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(wanted()),
        };
        let number: u64 = number.parse().map_err(|_| wanted())?;
        number.checked_mul(scale).map(Self).ok_or_else(wanted)
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number.trim_end(), unit)
}

/// Digits with at most one point; no sign, no exponent.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if !plain || !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

struct TextVisitor<T>(fn(&str) -> Result<T, String>, &'static str);

impl<T> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor(Self::parse, "a duration such as `10s`"))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor(Self::parse, "a size such as `10MiB`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_with_a_unit_and_seconds_without() {
        for (text, millis) in [
            ("300ms", 300),
            ("10s", 10_000),
            ("300", 300_000),
            ("1.5s", 1_500),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("90d", 7_776_000_000),
            ("0", 0),
        ] {
            assert_eq!(
                Span::parse(text),
                Ok(Span(Duration::from_millis(millis))),
                "{text}"
            );
        }
        for text in [
            "",
            "s",
            "-1s",
            "1e3s",
            "10 fortnights",
            "nan",
            "inf",
            ".5s",
            "1.2.3s",
            "4000d",
        ] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_is_a_whole_number_with_a_binary_unit() {
        assert_eq!(ByteSize::parse("10MiB"), Ok(ByteSize(10 << 20)));
        assert_eq!(ByteSize::parse("512"), Ok(ByteSize(512)));
        assert_eq!(ByteSize::parse("64 KiB"), Ok(ByteSize(64 << 10)));
        for text in ["", "10MB", "1.5MiB", "-1", "99999999999GiB"] {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }
}
