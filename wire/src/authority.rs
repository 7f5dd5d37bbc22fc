//! Host and authority: a registered name, IPv4 or IPv6 address and an optional
//! port.
//!
//! Promises: one form (lower case, no trailing dot). Refuses user information,
//! lists, white space, escapes, empty labels, empty, odd or zero ports, names
//! over 255 bytes, anything in brackets that is not an IPv6 address.

use std::net::Ipv6Addr;

use crate::bytes::{host_lower, text};
use crate::malformed::Malformed;

/// Longest host name (RFC 1035 3.1), in bytes.
const HOST_MAX: usize = 255;

/// Lengths of a settled authority, in bytes from its start.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Settled {
    /// Host with brackets, without port.
    pub(crate) host: usize,
    /// Host and port.
    pub(crate) all: usize,
}

/// Checks an authority and brings it into its one form in place; bytes after
/// the settled length mean nothing any more.
pub(crate) fn settle(text: &mut [u8]) -> Result<Settled, Malformed> {
    let host = match text {
        [] => return Err(Malformed::HostMissing),
        [b'[', ..] => literal(text)?,
        [..] => name(text)?,
    };
    let port = text.get(host..).unwrap_or(&[]);
    if !port.is_empty() && !is_port(port) {
        return Err(if text.contains(&b'@') {
            Malformed::Userinfo
        } else {
            Malformed::HostSyntax
        });
    }
    if host > HOST_MAX {
        return Err(Malformed::HostSyntax);
    }
    if host > 1 && text.get(host - 1) == Some(&b'.') {
        text.copy_within(host.., host - 1);
        return Ok(Settled {
            host: host - 1,
            all: text.len() - 1,
        });
    }
    Ok(Settled {
        host,
        all: text.len(),
    })
}

/// Lower-cases the name at the front; its length. Only the last label may be
/// empty, and not alone.
#[inline]
fn name(text: &mut [u8]) -> Result<usize, Malformed> {
    let mut len = 0;
    loop {
        let start = len;
        for byte in text.get_mut(start..).unwrap_or(&mut []) {
            let low = host_lower(*byte);
            if low == 0 {
                break;
            }
            *byte = low;
            len += 1;
        }
        match text.get(len) {
            Some(b'.') if len > start => len += 1,
            None | Some(b':') if len > 0 => return Ok(len),
            Some(_) if text.contains(&b'@') => return Err(Malformed::Userinfo),
            Some(_) | None => return Err(Malformed::HostSyntax),
        }
    }
}

/// Lower-cases the address in brackets at the front; its length with brackets.
fn literal(text_: &mut [u8]) -> Result<usize, Malformed> {
    text_.make_ascii_lowercase();
    let close = text_
        .iter()
        .position(|&byte| byte == b']')
        .ok_or(Malformed::HostSyntax)?;
    let address = text_.get(1..close).unwrap_or(&[]);
    text(address)
        .parse::<Ipv6Addr>()
        .map_err(|_| Malformed::HostSyntax)?;
    Ok(close + 1)
}

/// `:` and 1 to 65535 without leading zeros.
fn is_port(text: &[u8]) -> bool {
    let [b':', first @ b'1'..=b'9', rest @ ..] = text else {
        return false;
    };
    rest.len() <= 4
        && rest.iter().all(u8::is_ascii_digit)
        && rest.iter().fold(u32::from(first - b'0'), |port, digit| {
            port * 10 + u32::from(digit - b'0')
        }) <= 65_535
}

#[cfg(test)]
mod tests;
