//! The first look: is there any byte that an attack needs?
//!
//! Promises: a few instructions a byte, no memory. A `false` means that no
//! rule can be hit; a `true` means nothing yet.

/// Bytes without which no rule on a path can be hit.
const IN_PATH: u8 = 1;
/// Bytes without which no rule on a query or a form can be hit. Blanks arrive
/// as `+` or `%20`; `/` begins a file name or a comment.
const IN_QUERY: u8 = 2;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0_u8; 256];
    let mut byte = 0_u8;
    let mut rest: &mut [u8] = &mut table;
    while let [first, tail @ ..] = rest {
        *first = class(byte);
        byte = byte.wrapping_add(1);
        rest = tail;
    }
    table
}

const fn class(byte: u8) -> u8 {
    match byte {
        b'%'
        | b'\''
        | b'"'
        | b'<'
        | b'>'
        | b';'
        | b'('
        | b')'
        | b'`'
        | b'|'
        | b'$'
        | b'\\'
        | b'{'
        | b'}'
        | b'*'
        | b'#'
        | 0..=b' '
        | 0x7f => IN_PATH | IN_QUERY,
        b'+' | b'/' => IN_QUERY,
        _ => 0,
    }
}

/// Whether a path, as received, deserves a closer look.
pub(crate) fn path_is_suspicious(path: &[u8]) -> bool {
    has_class_or_dots(path, IN_PATH) || names_system_folder(path)
}

/// Whether a query or a form body, as received, deserves a closer look.
pub(crate) fn query_is_suspicious(query: &[u8]) -> bool {
    has_class_or_dots(query, IN_QUERY)
}

/// Whether a field value deserves a closer look. Fields are long and harmless
/// as a rule, so the rules on them all need one of two bytes.
pub(crate) fn field_is_suspicious(value: &[u8]) -> bool {
    memchr::memchr2(b'<', b'{', value).is_some()
}

/// Whether a text body (JSON, XML) deserves a closer look.
pub(crate) fn text_is_suspicious(text: &[u8]) -> bool {
    memchr::memchr2(b'$', b'\\', text).is_some()
}

/// A dot counts after a dot (a segment that climbs) or a slash (a hidden file).
fn has_class_or_dots(text: &[u8], class: u8) -> bool {
    let mut before = 0_u8;
    for &byte in text {
        let of_class = CLASS
            .get(usize::from(byte))
            .is_some_and(|found| found & class != 0);
        if of_class || (byte == b'.' && (before == b'.' || before == b'/')) {
            return true;
        }
        before = byte;
    }
    false
}

/// Files of the operating system at the root need no odd byte at all.
fn names_system_folder(path: &[u8]) -> bool {
    [&b"/etc/"[..], b"/proc/", b"/windows/"]
        .iter()
        .any(|folder| {
            path.get(..folder.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(folder))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_targets_need_no_closer_look() {
        for path in [
            "/",
            "/mcp",
            "/v3/echo",
            "/v3/ws/echo",
            "/a/b.c/d-e_f~g",
            "/x.tar.gz",
        ] {
            assert!(!path_is_suspicious(path.as_bytes()), "{path}");
        }
        for query in [
            "",
            "a=1",
            "page=2&sort=name",
            "q=seat&from=2026-01-02",
            "v=1.2.3&e=a@b.c",
        ] {
            assert!(!query_is_suspicious(query.as_bytes()), "{query}");
        }
        for value in [
            "*/*",
            "Mozilla/5.0 (X11; Linux x86_64)",
            "text/html;q=0.9",
            "a=b; c=d",
        ] {
            assert!(!field_is_suspicious(value.as_bytes()), "{value}");
        }
        assert!(!text_is_suspicious(br#"{"jsonrpc":"2.0","id":1}"#));
    }

    #[test]
    fn anything_an_attack_needs_gets_a_closer_look() {
        for path in [
            "/..",
            "/a/../b",
            "/.env",
            "/%2e",
            "/a;b",
            "/a\\b",
            "/etc/passwd",
            "/PROC/1",
        ] {
            assert!(path_is_suspicious(path.as_bytes()), "{path}");
        }
        for query in [
            "a='", "a=1+or+1", "f=/etc", "a=%00", "a=${", "a=1;b", "a=..", "a=`id`",
        ] {
            assert!(query_is_suspicious(query.as_bytes()), "{query}");
        }
    }
}
