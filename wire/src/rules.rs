//! Rules of a whole head, the same for every version: body framing,
//! expectation, upgrade.

use crate::bytes::list;
use crate::fields::{ConnectionOptions, Fields, Only};
use crate::known::{Known, KnownSet};
use crate::malformed::Malformed;
use crate::method::Method;
use crate::version::Version;

/// How the end of a body is found.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum BodyFraming {
    /// There is no body.
    None,
    /// So many bytes; zero is a body of no bytes that was announced.
    Length(u64),
    /// In chunks; over HTTP/2 and HTTP/3: of unknown length.
    Chunked,
    /// Until the connection closes; answers only.
    UntilClose,
}

impl BodyFraming {
    /// Counts `len` bytes that are about to be sent.
    ///
    /// # Errors
    /// [`Malformed::BodyTooLong`] when that is more than was announced;
    /// nothing is counted then.
    #[inline]
    pub(crate) fn count(&mut self, len: u64) -> Result<(), Malformed> {
        match self {
            Self::None => return Err(Malformed::BodyTooLong),
            Self::Length(left) => *left = left.checked_sub(len).ok_or(Malformed::BodyTooLong)?,
            Self::Chunked | Self::UntilClose => {}
        }
        Ok(())
    }

    /// Whether the body may end here.
    ///
    /// # Errors
    /// [`Malformed::BodyTooShort`] when less was counted than was announced.
    #[inline]
    pub(crate) fn check_end(self) -> Result<(), Malformed> {
        match self {
            Self::Length(left) if left > 0 => Err(Malformed::BodyTooShort),
            Self::None | Self::Length(_) | Self::Chunked | Self::UntilClose => Ok(()),
        }
    }
}

/// What the connection becomes after the answer.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Upgrade {
    /// It stays HTTP; any other `Upgrade` ends at the edge.
    None,
    /// RFC 6455 over HTTP/1.1, RFC 8441 over HTTP/2.
    WebSocket,
}

/// Fields that say where a body ends.
const FRAMING: KnownSet = KnownSet::of(&[Known::ContentLength, Known::TransferEncoding]);
/// Signed 64-bit readers are common: nothing above is passed on.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// The one Content-Length, if any.
pub(crate) fn content_length(fields: &Fields) -> Result<Option<u64>, Malformed> {
    let value = match fields.only(Known::ContentLength) {
        Only::None => return Ok(None),
        Only::More => return Err(Malformed::ContentLengthRepeated),
        Only::One(value) => value,
    };
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::ContentLengthSyntax);
    }
    value
        .iter()
        .try_fold(0_u64, |length, digit| {
            length.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        })
        .filter(|&length| length <= LENGTH_MAX)
        .map(Some)
        .ok_or(Malformed::ContentLengthOverflow)
}

/// Checks a Transfer-Encoding that is present: exactly one `chunked`, not in
/// HTTP/1.0, not beside a Content-Length.
fn chunked(fields: &Fields, version: Version) -> Result<(), Malformed> {
    if version == Version::Http10 {
        return Err(Malformed::TransferEncodingVersion);
    }
    if fields.has(Known::ContentLength) {
        return Err(Malformed::FramingConflict);
    }
    match fields.only(Known::TransferEncoding) {
        Only::One(value) if value.eq_ignore_ascii_case(b"chunked") => Ok(()),
        Only::One(value) if !value.contains(&b',') => Err(Malformed::TransferCoding),
        Only::One(_) | Only::More | Only::None => Err(Malformed::TransferEncodingRepeated),
    }
}

/// Framing of a request over HTTP/1 (RFC 9112 6.3, without its repairs).
pub(crate) fn request_framing(fields: &Fields, version: Version) -> Result<BodyFraming, Malformed> {
    if !fields.present().meets(FRAMING) {
        return Ok(BodyFraming::None);
    }
    if fields.has(Known::TransferEncoding) {
        return chunked(fields, version).map(|()| BodyFraming::Chunked);
    }
    Ok(content_length(fields)?.map_or(BodyFraming::None, BodyFraming::Length))
}

/// What decides the framing of an answer beside its fields.
#[derive(Copy, Clone)]
pub(crate) struct Answer {
    pub(crate) to: Method,
    pub(crate) status: u16,
    pub(crate) version: Version,
}

/// Framing of an answer over HTTP/1 (RFC 9112 6.3, without its repairs).
pub(crate) fn response_framing(fields: &Fields, of: Answer) -> Result<BodyFraming, Malformed> {
    let length = content_length(fields)?;
    let coded = fields.has(Known::TransferEncoding);
    if coded {
        chunked(fields, of.version)?;
    }
    match of.status {
        100..=199 if coded || length.is_some() => Err(Malformed::BodyForbidden),
        204 if coded || length.is_some_and(|length| length > 0) => Err(Malformed::BodyForbidden),
        100..=199 | 204 | 304 => Ok(BodyFraming::None),
        _ if of.to == Method::Head => Ok(BodyFraming::None),
        _ if coded => Ok(BodyFraming::Chunked),
        _ => Ok(length.map_or(BodyFraming::UntilClose, BodyFraming::Length)),
    }
}

/// Whether the client waits for a 100. Anything else it expects is refused
/// (RFC 9110 10.1.1).
pub(crate) fn expects_continue(fields: &Fields) -> Result<bool, Malformed> {
    match fields.only(Known::Expect) {
        Only::None => Ok(false),
        Only::One(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Only::One(_) | Only::More => Err(Malformed::Expectation),
    }
}

/// Whether the connection may carry another message after this one.
pub(crate) fn keep_alive(version: Version, options: ConnectionOptions) -> bool {
    match version {
        Version::Http10 => options.keep_alive && !options.close,
        Version::Http11 => !options.close,
        Version::Http2 | Version::Http3 => true,
    }
}

/// Whether `Upgrade` lists websocket.
pub(crate) fn names_websocket(fields: &Fields) -> bool {
    fields
        .all(Known::Upgrade)
        .any(|value| list(value).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket")))
}
