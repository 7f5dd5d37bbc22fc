//! Query strings: few keys, all known.

use crate::telemetry::{DECISIONS_MAX, Filter, Kind};

/// Decisions told when nothing else is asked for.
const LIMIT_DEFAULT: usize = 50;

/// Undoes percent-encoding. `None` for bad escapes and what is not UTF-8.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        // `from_str_radix` would take a sign.
        let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| plain)?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// What `/decisions` was asked for, or a sentence about what is wrong.
pub(super) fn filter(query: Option<&str>) -> Result<Filter, String> {
    let mut filter = Filter {
        limit: LIMIT_DEFAULT,
        region: None,
        kind: None,
    };
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value).ok_or_else(|| format!("{name}: bad percent-encoding"))?;
        match name {
            "limit" => filter.limit = limit(&value)?,
            "region" => filter.region = Some(value),
            "verdict" => filter.kind = Some(kind(&value)?),
            _ => return Err("only limit, region and verdict are known".to_owned()),
        }
    }
    Ok(filter)
}

fn limit(value: &str) -> Result<usize, String> {
    let limit = value
        .parse()
        .ok()
        .filter(|limit| (1..=DECISIONS_MAX).contains(limit));
    limit.ok_or_else(|| format!("limit is a number from 1 to {DECISIONS_MAX}"))
}

fn kind(value: &str) -> Result<Kind, String> {
    Kind::parse(value).ok_or_else(|| "verdict is forward, answer or refuse".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone_or_refused() {
        assert_eq!(decoded("a%20b%C3%A4").as_deref(), Some("a bä"));
        for bad in ["%", "%1", "%+1", "%zz", "%C3"] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_empty_query_asks_for_the_latest_fifty() {
        for query in [None, Some(""), Some("&")] {
            let filter = filter(query).unwrap();
            assert_eq!((filter.limit, filter.region, filter.kind), (50, None, None));
        }
    }

    #[test]
    fn keys_are_read_and_anything_odd_is_refused() {
        let filter = super::filter(Some("limit=3&region=a%2Db&verdict=refuse")).unwrap();
        assert_eq!(filter.limit, 3);
        assert_eq!(filter.region.as_deref(), Some("a-b"));
        assert_eq!(filter.kind, Some(Kind::Refuse));
        for odd in [
            "limit=0",
            "limit=1001",
            "limit=x",
            "verdict=maybe",
            "colour=red",
            "region=%",
        ] {
            assert!(super::filter(Some(odd)).is_err(), "{odd}");
        }
    }
}
