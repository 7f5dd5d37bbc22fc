//! Which endpoint holds an MCP session (up to 2025-11-25): written into the
//! session's id on its way to the client, taken out again on its way back.
//!
//! Promises: no table, no bound to reach, the same on every edge. The tag only
//! chooses among what the law permits, so that a made-up one gains nothing.

use meridian_policies::regions::Affinity;

use super::ids::hex;

/// Hex digits of the tag, and the dash.
const PREFIX: usize = 17;

/// The endpoint that an id names, and the id as the backend knows it. An id
/// without a tag is passed as it is.
pub fn open(id: &[u8]) -> (Option<Affinity>, Option<&[u8]>) {
    let Some((prefix, rest)) = id.split_at_checked(PREFIX) else {
        return (None, Some(id));
    };
    let tag = match prefix {
        [digits @ .., b'-'] if !rest.is_empty() => std::str::from_utf8(digits)
            .ok()
            .filter(|text| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
            .and_then(|text| u64::from_str_radix(text, 16).ok()),
        _ => None,
    };
    match tag {
        Some(tag) => (Some(Affinity(tag)), Some(rest)),
        None => (None, Some(id)),
    }
}

/// Appends the id that the client is told.
pub fn seal(tag: u64, id: &[u8], text: &mut Vec<u8>) {
    text.extend_from_slice(&hex(tag));
    text.push(b'-');
    text.extend_from_slice(id);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_to_the_same_endpoint_and_id() {
        for tag in [0, 1, u64::MAX] {
            let mut text = Vec::new();
            seal(tag, b"abc-def", &mut text);
            let (affinity, id) = open(&text);
            assert_eq!(affinity.map(|affinity| affinity.0), Some(tag));
            assert_eq!(id, Some(&b"abc-def"[..]));
        }
    }

    #[test]
    fn an_id_that_was_not_sealed_passes_as_it_is() {
        for id in [
            &b"x"[..],
            b"0123456789abcdeg-x",
            b"0123456789abcdef-",
            b"+123456789abcdef-x",
        ] {
            let (affinity, passed) = open(id);
            assert!(affinity.is_none());
            assert_eq!(passed, Some(id));
        }
    }
}
