//! The static table (RFC 9204 appendix A).

use crate::known::Known;

/// One entry: name and value.
type Entry = (&'static str, &'static str);

/// All entries; the index is the place.
pub(super) const ENTRIES: [Entry; 99] = [
    (":authority", ""),
    (":path", "/"),
    ("age", "0"),
    ("content-disposition", ""),
    ("content-length", "0"),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("referer", ""),
    ("set-cookie", ""),
    (":method", "CONNECT"),
    (":method", "DELETE"),
    (":method", "GET"),
    (":method", "HEAD"),
    (":method", "OPTIONS"),
    (":method", "POST"),
    (":method", "PUT"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "103"),
    (":status", "200"),
    (":status", "304"),
    (":status", "404"),
    (":status", "503"),
    ("accept", "*/*"),
    ("accept", "application/dns-message"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-ranges", "bytes"),
    ("access-control-allow-headers", "cache-control"),
    ("access-control-allow-headers", "content-type"),
    ("access-control-allow-origin", "*"),
    ("cache-control", "max-age=0"),
    ("cache-control", "max-age=2592000"),
    ("cache-control", "max-age=604800"),
    ("cache-control", "no-cache"),
    ("cache-control", "no-store"),
    ("cache-control", "public, max-age=31536000"),
    ("content-encoding", "br"),
    ("content-encoding", "gzip"),
    ("content-type", "application/dns-message"),
    ("content-type", "application/javascript"),
    ("content-type", "application/json"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "image/gif"),
    ("content-type", "image/jpeg"),
    ("content-type", "image/png"),
    ("content-type", "text/css"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-type", "text/plain"),
    ("content-type", "text/plain;charset=utf-8"),
    ("range", "bytes=0-"),
    ("strict-transport-security", "max-age=31536000"),
    (
        "strict-transport-security",
        "max-age=31536000; includesubdomains",
    ),
    (
        "strict-transport-security",
        "max-age=31536000; includesubdomains; preload",
    ),
    ("vary", "accept-encoding"),
    ("vary", "origin"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    (":status", "100"),
    (":status", "204"),
    (":status", "206"),
    (":status", "302"),
    (":status", "400"),
    (":status", "403"),
    (":status", "421"),
    (":status", "425"),
    (":status", "500"),
    ("accept-language", ""),
    ("access-control-allow-credentials", "FALSE"),
    ("access-control-allow-credentials", "TRUE"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "get"),
    ("access-control-allow-methods", "get, post, options"),
    ("access-control-allow-methods", "options"),
    ("access-control-expose-headers", "content-length"),
    ("access-control-request-headers", "content-type"),
    ("access-control-request-method", "get"),
    ("access-control-request-method", "post"),
    ("alt-svc", "clear"),
    ("authorization", ""),
    (
        "content-security-policy",
        "script-src 'none'; object-src 'none'; base-uri 'none'",
    ),
    ("early-data", "1"),
    ("expect-ct", ""),
    ("forwarded", ""),
    ("if-range", ""),
    ("origin", ""),
    ("purpose", "prefetch"),
    ("server", ""),
    ("timing-allow-origin", "*"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", ""),
    ("x-forwarded-for", ""),
    ("x-frame-options", "deny"),
    ("x-frame-options", "sameorigin"),
];

/// The entry of this index.
#[inline]
pub(super) fn entry(index: u64) -> Option<Entry> {
    let index = usize::try_from(index).ok()?;
    ENTRIES.get(index).copied()
}

/// First index of each well-known name; [`NONE`] where there is none.
const NAMES: [u8; 64] = names();
const NONE: u8 = u8::MAX;

#[expect(
    clippy::indexing_slicing,
    reason = "constant evaluation: out of bounds fails the build"
)]
#[expect(clippy::cast_possible_truncation, reason = "the table has 99 entries")]
const fn names() -> [u8; 64] {
    let mut names = [NONE; 64];
    let mut at = 0;
    while at < Known::ALL.len() {
        let mut index = ENTRIES.len();
        while index > 0 {
            index -= 1;
            if same(ENTRIES[index].0, Known::ALL[at].as_str()) {
                names[Known::ALL[at] as usize] = index as u8;
            }
        }
        at += 1;
    }
    names
}

#[expect(
    clippy::indexing_slicing,
    reason = "constant evaluation: out of bounds fails the build"
)]
const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The first index whose entry has this name.
#[inline]
pub(super) fn name_index(known: Known, name: &str) -> Option<u8> {
    if known == Known::Other {
        return unlisted(name);
    }
    NAMES
        .get(known as usize)
        .copied()
        .filter(|&index| index != NONE)
}

/// Names of answers that are not well-known here.
fn unlisted(name: &str) -> Option<u8> {
    Some(match name {
        "age" => 2,
        "content-disposition" => 3,
        "etag" => 7,
        "last-modified" => 10,
        "link" => 11,
        "accept-ranges" => 32,
        "access-control-allow-headers" => 33,
        "access-control-allow-origin" => 35,
        "strict-transport-security" => 56,
        "vary" => 59,
        "x-content-type-options" => 61,
        "x-xss-protection" => 62,
        "access-control-allow-credentials" => 73,
        "access-control-allow-methods" => 76,
        "access-control-expose-headers" => 79,
        "content-security-policy" => 85,
        "expect-ct" => 87,
        "timing-allow-origin" => 93,
        "x-frame-options" => 97,
        _ => return None,
    })
}

/// The index whose entry is this name, which stands first at `first`, and this
/// value.
#[inline]
pub(super) fn field_index(first: u8, value: &[u8]) -> Option<u8> {
    let (name, _) = entry(u64::from(first))?;
    (first..)
        .zip(ENTRIES.get(usize::from(first)..)?)
        .take_while(|(_, entry)| entry.0 == name)
        .find(|(_, entry)| entry.1.as_bytes() == value)
        .map(|(index, _)| index)
}

/// The entry of `:status` with this value.
pub(super) const fn status_index(status: u16) -> Option<u8> {
    Some(match status {
        103 => 24,
        200 => 25,
        304 => 26,
        404 => 27,
        503 => 28,
        100 => 63,
        204 => 64,
        206 => 65,
        302 => 66,
        400 => 67,
        403 => 68,
        421 => 69,
        425 => 70,
        500 => 71,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_at_its_first_index() {
        for (index, (name, _)) in ENTRIES.iter().enumerate() {
            let found = name_index(Known::from_lower(name.as_bytes()), name);
            let Some(found) = found else {
                let never_answered = [
                    ":",
                    "if-",
                    "accept-language",
                    "access-control-request-",
                    "early-data",
                    "purpose",
                    "upgrade-insecure-requests",
                ];
                assert!(
                    never_answered.iter().any(|front| name.starts_with(front)),
                    "{name}"
                );
                continue;
            };
            assert!(usize::from(found) <= index);
            assert_eq!(entry(u64::from(found)).unwrap().0, *name);
        }
        assert_eq!(name_index(Known::Other, "x-else"), None);
        assert_eq!(name_index(Known::XRequestId, "x-request-id"), None);
        assert_eq!(entry(99), None);
    }

    #[test]
    fn an_index_found_by_value_has_that_value() {
        for (name, value) in ENTRIES {
            let Some(first) = name_index(Known::from_lower(name.as_bytes()), name) else {
                continue;
            };
            if let Some(index) = field_index(first, value.as_bytes()) {
                assert_eq!(entry(u64::from(index)), Some((name, value)));
            }
            assert_eq!(field_index(first, b"another"), None);
        }
        assert_eq!(field_index(44, b"application/json"), Some(46));
        for status in 100..=599 {
            if let Some(index) = status_index(status) {
                let expected = status.to_string();
                assert_eq!(
                    entry(u64::from(index)),
                    Some((":status", expected.as_str()))
                );
            }
        }
    }
}
