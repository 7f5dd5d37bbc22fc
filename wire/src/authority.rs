//! Host and authority: a registered name, IPv4 or IPv6 address and an optional
//! port.
//!
//! Promises: one form (lower case, no trailing dot). Refuses user information,
//! lists, white space, escapes, empty labels, empty, odd or zero ports, names
//! over 255 bytes, anything in brackets that is not an IPv6 address.

use std::net::Ipv6Addr;

use wide::u8x16;

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
    match settled_name(text) {
        Some(len) => Ok(len),
        None => any_name(text),
    }
}

/// The length of a name that is in its one form already, 16 bytes a step;
/// `None` for any other.
#[inline]
fn settled_name(text: &[u8]) -> Option<usize> {
    // A dot may not come first.
    let (mut len, mut after_dot) = (0, 1);
    loop {
        let rest = text.get(len..)?;
        let step = u8x16::new(rest.first_chunk().copied().unwrap_or_else(|| padded(rest)));
        let letter = step - u8x16::splat(b'a');
        let letter = letter.min(u8x16::splat(25)).simd_eq(letter);
        let digit = step - u8x16::splat(b'0');
        let digit = digit.min(u8x16::splat(9)).simd_eq(digit);
        let dot = step.simd_eq(u8x16::splat(b'.'));
        let mark = step.simd_eq(u8x16::splat(b'-')) | step.simd_eq(u8x16::splat(b'_'));
        let taken = (letter | digit | dot | mark).to_bitmask().trailing_ones();
        let dots = dot.to_bitmask();
        if dots & (dots << 1 | after_dot) & ((1 << taken) - 1) != 0 {
            return None;
        }
        len += taken as usize;
        if taken < 16 {
            let ends = matches!(text.get(len), None | Some(b':'));
            return (ends && len > 0).then_some(len);
        }
        after_dot = dots >> 15;
    }
}

/// Fewer than 16 bytes, and a colon after them.
#[inline]
fn padded(rest: &[u8]) -> [u8; 16] {
    let mut block = [b':'; 16];
    if let Some(front) = block.get_mut(..rest.len()) {
        front.copy_from_slice(rest);
    }
    block
}

/// The same as [`name`], byte by byte.
fn any_name(text: &mut [u8]) -> Result<usize, Malformed> {
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
    let [b':', digits @ ..] = text else {
        return false;
    };
    if digits.len() > 5 || digits.first() == Some(&b'0') {
        return false;
    }
    let mut port = 0;
    for digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return false;
        }
        port = port * 10 + u32::from(value);
    }
    (1..=65_535).contains(&port)
}

#[cfg(test)]
mod tests;
