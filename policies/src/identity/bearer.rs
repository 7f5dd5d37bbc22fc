//! The token of a request.

use meridian_wire::{Known, RequestHead};

use super::{TOKEN_MAX, TokenFault};

/// What `Authorization` shows.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Bearer<'h> {
    /// No bearer token: no field, or another scheme.
    Missing,
    /// One, not looked into.
    Token(&'h [u8]),
    /// Something that can't be one.
    Faulty(TokenFault),
}

/// Finds the bearer token of a request. Two fields are a fault, whatever is in
/// them: a backend might read the other one.
pub fn bearer(head: &RequestHead) -> Bearer<'_> {
    if !head.has(Known::Authorization) {
        return Bearer::Missing;
    }
    if head.count(Known::Authorization) > 1 {
        return Bearer::Faulty(TokenFault::Twice);
    }
    let value = head.first(Known::Authorization).unwrap_or_default();
    let end = value
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\t' | b','));
    let (scheme, rest) = value.split_at(end.unwrap_or(value.len()));
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Bearer::Missing;
    }
    let token = rest.trim_ascii();
    if token.len() > TOKEN_MAX {
        return Bearer::Faulty(TokenFault::TooLong);
    }
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    if token.is_empty() || !token.iter().all(plain) {
        return Bearer::Faulty(TokenFault::Malformed);
    }
    Bearer::Token(token)
}
