//! Trailer fields (RFC 9110 6.5).
//!
//! Promises: bounded; malformed ones refuse the message. What may not come
//! after the body is read and not written: framing, routing, authentication,
//! request modifiers, response control, content format, hop-by-hop fields,
//! and what the edge itself says about a request.

use crate::builder::check_field;
use crate::bytes::content_len;
use crate::fields::{Field, Fields};
use crate::known::{Known, KnownSet};
use crate::malformed::Malformed;

/// Trailer fields of one message.
const FIELDS_MAX: usize = 32;
/// Bytes of all trailer lines of one message.
const BYTES_MAX: usize = 8_192;

/// Fields that are never written as trailers.
const FORBIDDEN: KnownSet = KnownSet::of(&[
    Known::Host,
    Known::ContentLength,
    Known::Expect,
    Known::Date,
    Known::ContentType,
    Known::ContentEncoding,
    Known::Accept,
    Known::AcceptEncoding,
    Known::Authorization,
    Known::Cookie,
    Known::SetCookie,
    Known::Location,
    Known::RetryAfter,
    Known::CacheControl,
    Known::Via,
    Known::Range,
    Known::Origin,
    Known::Forwarded,
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XRealIp,
    Known::XRequestId,
    Known::XClientRegion,
    Known::XClientCity,
    Known::ClientCert,
    Known::Traceparent,
    Known::Tracestate,
    Known::XDataClass,
    Known::XResidencyObligations,
    Known::XConsent,
    Known::XPurpose,
    Known::XSafeguards,
    Known::XMeridianRegion,
    Known::ProxyStatus,
    Known::McpSessionId,
    Known::McpProtocolVersion,
    Known::McpMethod,
    Known::McpName,
    Known::LastEventId,
    Known::AltSvc,
    Known::SecWebSocketKey,
    Known::SecWebSocketVersion,
    Known::SecWebSocketAccept,
    Known::SecWebSocketProtocol,
    Known::SecWebSocketExtensions,
    Known::RateLimit,
    Known::RateLimitPolicy,
]);

/// The trailer fields of one message: at most 32 in 8 KiB.
#[derive(Clone, Debug, Default)]
pub struct Trailers {
    fields: Fields,
}

impl Trailers {
    /// None yet; nothing is allocated.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every field in the order received, also those that are not written.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.fields.iter()
    }

    /// The fields that go on.
    pub fn forwarded(&self) -> impl Iterator<Item = Field<'_>> {
        self.fields().filter(|field| !is_forbidden(field))
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.fields.entries.is_empty()
    }

    /// Adds a trailer that came over HTTP/2 or HTTP/3.
    ///
    /// # Errors
    /// As for fields of a head; [`Malformed::TrailersTooLarge`] past a bound.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        check_field(name, value)?;
        let bytes = self.fields.raw.len() + name.len() + value.len() + 4;
        if bytes > BYTES_MAX || self.fields.entries.len() >= FIELDS_MAX {
            return Err(Malformed::TrailersTooLarge);
        }
        self.fields.push(name, value);
        Ok(())
    }

    /// Whether one line of so many bytes more, as far as it came, is too much.
    pub(crate) fn is_full(&self, line: usize) -> bool {
        self.fields.raw.len() + line >= BYTES_MAX
    }

    /// Reads one complete line, its CRLF included.
    pub(crate) fn push_line(&mut self, line: &[u8]) -> Result<(), Malformed> {
        let content = line.strip_suffix(b"\r\n").unwrap_or(line);
        match content.get(content_len(content)) {
            Some(b'\r') => return Err(Malformed::BareCr),
            Some(_) => return Err(Malformed::ControlCharacter),
            None => {}
        }
        self.fields.push_line(line, FIELDS_MAX).map_err(|fault| {
            if fault == Malformed::TooManyFields {
                Malformed::TrailersTooLarge
            } else {
                fault
            }
        })
    }

    /// Appends the lines of the fields that go on.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for field in self.forwarded() {
            out.extend_from_slice(field.name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(field.value);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn is_forbidden(field: &Field<'_>) -> bool {
    field.hop
        || FORBIDDEN.contains(field.known)
        || field.name.starts_with("content-")
        || field.name.starts_with("proxy-")
        || field.name.starts_with("x-forwarded-")
        || field.name.starts_with("if-")
        || field.name == "www-authenticate"
        || field.name == "authentication-info"
        || field.name == "max-forwards"
        || field.name == "age"
        || field.name == "expires"
        || field.name == "vary"
        || field.name == "pragma"
}
