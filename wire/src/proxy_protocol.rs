//! The PROXY protocol, versions 1 and 2: whose connection a load balancer
//! carries. Bytes in, an address out; no I/O.
//!
//! Promises: a header is taken whole or not at all, and [`read`] says how many
//! bytes of it are missing at the least, so that nobody reads into what
//! follows; a checksum that is there is verified; every length has a bound.
//! Refuses: addresses of anything but TCP, headers above [`HEADER_MAX`], and
//! every form that the specification does not have
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of a header of version 2, the first sixteen included. Room for the
/// certificates that some balancers add; the specification expects 536.
pub const HEADER_MAX: usize = 4_096;

/// Bytes of a header of version 1, CR LF included.
pub const LINE_MAX: usize = 107;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const LINE: &[u8; 6] = b"PROXY ";

/// What a version 2 header begins with: signature, command, family, length.
const FIXED: usize = 16;

const TLV_CRC32C: u8 = 0x03;

/// Whose connection it is.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Carried {
    /// The sender's own (a health check), or one whose ends it does not know.
    Own,
    /// A client's.
    Client {
        /// The client.
        source: SocketAddr,
        /// What the client connected to.
        destination: SocketAddr,
    },
}

/// How far a header is.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// At least so many bytes of it are missing; never 0.
    Needs(usize),
    /// It is whole.
    Whole {
        /// What it says.
        carried: Carried,
        /// Its bytes; what follows belongs to the client.
        length: usize,
    },
}

/// Why bytes are no header.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Refused {
    /// They begin otherwise.
    Signature,
    /// Neither version 1 nor 2, or a command that version 2 does not have.
    Command,
    /// Not TCP over IPv4 or IPv6.
    Family,
    /// Longer than its bound.
    TooLong,
    /// Too short for the addresses that it announces, or for its fields.
    Truncated,
    /// The checksum is another.
    Checksum,
    /// A line of version 1 that breaks its grammar.
    Line,
}

impl Refused {
    /// Stable name, kebab-case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Command => "command",
            Self::Family => "family",
            Self::TooLong => "too-long",
            Self::Truncated => "truncated",
            Self::Checksum => "checksum",
            Self::Line => "line",
        }
    }
}

/// Reads a header at the beginning of a connection.
pub fn read(bytes: &[u8]) -> Result<Progress, Refused> {
    let known = bytes.len().min(SIGNATURE.len());
    let begins = |with: &[u8]| {
        let shared = known.min(with.len());
        bytes.get(..shared) == with.get(..shared)
    };
    if begins(SIGNATURE) {
        // Both forms are longer than the signature.
        match SIGNATURE.len() - known {
            0 => binary(bytes),
            missing => Ok(Progress::Needs(missing)),
        }
    } else if begins(LINE) {
        line(bytes)
    } else {
        Err(Refused::Signature)
    }
}

fn binary(bytes: &[u8]) -> Result<Progress, Refused> {
    let Some((fixed, _)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(Progress::Needs(FIXED - bytes.len()));
    };
    let [.., command, family, high, low] = *fixed;
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Refused::Command),
    };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > HEADER_MAX {
        return Err(Refused::TooLong);
    }
    let Some(header) = bytes.get(..length) else {
        return Ok(Progress::Needs(length - bytes.len()));
    };
    let body = header.get(FIXED..).unwrap_or_default();
    let carried = match (local, family) {
        // Whatever it holds, it is to be skipped: even its fields.
        (true, _) => {
            return Ok(Progress::Whole {
                carried: Carried::Own,
                length,
            });
        }
        (false, 0x00) => {
            let carried = Carried::Own;
            return Ok(Progress::Whole { carried, length });
        }
        (false, 0x11) => ipv4(body)?,
        (false, 0x21) => ipv6(body)?,
        (false, _) => return Err(Refused::Family),
    };
    let addresses = if family == 0x11 { 12 } else { 36 };
    fields(header, FIXED + addresses)?;
    Ok(Progress::Whole { carried, length })
}

fn ipv4(body: &[u8]) -> Result<Carried, Refused> {
    ends_of::<4>(body, |octets| IpAddr::V4(Ipv4Addr::from(octets)))
}

fn ipv6(body: &[u8]) -> Result<Carried, Refused> {
    ends_of::<16>(body, |octets| IpAddr::V6(Ipv6Addr::from(octets)))
}

/// Two addresses of this size, then their two ports.
fn ends_of<const SIZE: usize>(
    body: &[u8],
    address: impl Fn([u8; SIZE]) -> IpAddr,
) -> Result<Carried, Refused> {
    let split = || {
        let (source, rest) = body.split_first_chunk::<SIZE>()?;
        let (destination, rest) = rest.split_first_chunk::<SIZE>()?;
        let (from, rest) = rest.split_first_chunk::<2>()?;
        let (to, _) = rest.split_first_chunk::<2>()?;
        let at = |octets, port| SocketAddr::new(address(octets), u16::from_be_bytes(port));
        Some(Carried::Client {
            source: at(*source, *from),
            destination: at(*destination, *to),
        })
    };
    split().ok_or(Refused::Truncated)
}

/// Skips the fields behind the addresses and verifies the checksum, if one is
/// among them.
fn fields(header: &[u8], mut at: usize) -> Result<(), Refused> {
    while let Some(rest) = header.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(&[kind, high, low]) = rest.first_chunk() else {
            return Err(Refused::Truncated);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = rest.get(3..3 + length).ok_or(Refused::Truncated)?;
        if kind == TLV_CRC32C {
            let Ok(said) = <[u8; 4]>::try_from(value) else {
                return Err(Refused::Checksum);
            };
            // Computed with zeroes in its own place.
            let place = at + 3..at + 7;
            let blanked = header
                .iter()
                .enumerate()
                .map(|(index, byte)| if place.contains(&index) { 0 } else { *byte });
            if crc32c(blanked) != u32::from_be_bytes(said) {
                return Err(Refused::Checksum);
            }
        }
        at += 3 + length;
    }
    Ok(())
}

/// CRC-32C (Castagnoli), bit by bit: once a connection, over a few hundred
/// bytes.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    let crc = bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    });
    !crc
}

fn line(bytes: &[u8]) -> Result<Progress, Refused> {
    let seen = bytes.get(..LINE_MAX).unwrap_or(bytes);
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        // A CR stands right before the LF or nowhere.
        let missing = match seen.iter().position(|byte| *byte == b'\r') {
            None => 2,
            Some(place) if place + 1 == seen.len() => 1,
            Some(_) => return Err(Refused::Line),
        };
        if seen.len() == LINE_MAX {
            return Err(Refused::TooLong);
        }
        return Ok(Progress::Needs(missing.min(LINE_MAX - seen.len())));
    };
    let text = seen
        .get(LINE.len()..end)
        .and_then(|rest| rest.strip_suffix(b"\r"))
        .and_then(|rest| std::str::from_utf8(rest).ok())
        .filter(|text| !text.contains('\r'))
        .ok_or(Refused::Line)?;
    let carried = if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        Carried::Own
    } else {
        ends(text).ok_or(Refused::Line)?
    };
    Ok(Progress::Whole {
        carried,
        length: end + 1,
    })
}

/// `TCP4 192.0.2.1 198.51.100.1 56324 443`.
fn ends(text: &str) -> Option<Carried> {
    let mut words = text.split(' ');
    let family = words.next()?;
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse().ok().map(IpAddr::V4),
            "TCP6" => word.parse().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, destination) = (address()?, address()?);
    let (from, to) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then(|| Carried::Client {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
    })
}

/// Digits without a leading zero.
fn port(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit())
        && (word.len() == 1 || !word.starts_with('0'));
    word.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests;
