//! Moments as people write them.

use std::fmt::Write as _;

/// RFC 3339 in UTC, milliseconds.
pub fn rfc3339(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let mut out = String::with_capacity(24);
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
    );
    out
}

/// Year, month and day of a day counted from 1970-01-01 (Hinnant,
/// "chrono-compatible low-level date algorithms": eras of 400 years that begin
/// in March).
pub fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// Milliseconds since 1970 of a date (`2026-11-22`: its first moment) or a
/// moment in UTC (`2026-11-22T18:30:00Z`, with a fraction or without seconds).
/// `None`: it is neither, or lies outside of the years 1970 to 9999.
pub fn parse_moment(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time.strip_suffix('Z')?)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) = (
        digits(parts.next()?, 4)?,
        digits(parts.next()?, 2)?,
        digits(parts.next()?, 2)?,
    );
    if parts.next().is_some() || year < 1970 || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let days = days(year, month, day);
    // A day that the month does not have comes back as another date.
    if civil(days) != (year, month, day) {
        return None;
    }
    Some(days * 86_400_000 + time.map_or(Some(0), of_day)?)
}

/// Milliseconds since midnight.
fn of_day(time: &str) -> Option<u64> {
    let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = whole.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |second| digits(second, 2))?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: String = fraction.chars().chain("00".chars()).take(3).collect();
    let ms: u64 = thousandths.parse().ok()?;
    Some(((hour * 60 + minute) * 60 + second) * 1_000 + ms)
}

fn digits(text: &str, count: usize) -> Option<u64> {
    let plain = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// The inverse of [`civil`], of the same source; `year` is 1970 or later.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let of_era = year - era * 400;
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    (era * 146_097 + of_era).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_out_as_dates_and_are_read_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
            assert_eq!(parse_moment(text), Some(ms));
        }
    }

    #[test]
    fn a_date_is_its_first_moment_and_seconds_may_be_missing() {
        let day = parse_moment("2026-11-22").unwrap();
        assert_eq!(rfc3339(day), "2026-11-22T00:00:00.000Z");
        for text in [
            "2026-11-22T18:30Z",
            "2026-11-22 18:30:00Z",
            "2026-11-22T18:30:00.0Z",
        ] {
            assert_eq!(
                parse_moment(text),
                Some(day + (18 * 60 + 30) * 60_000),
                "{text}"
            );
        }
        assert_eq!(parse_moment("2026-11-22T00:00:00.5Z"), Some(day + 500));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-02-30",
            "2025-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "1969-12-31",
            "26-01-01",
            "2026-1-1",
            "2026-01-01T00:00:00",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+01:00",
            "2026-01-01-01",
            "+026-01-01",
        ] {
            assert_eq!(parse_moment(text), None, "{text}");
        }
    }
}
