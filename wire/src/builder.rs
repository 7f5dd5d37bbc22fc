//! Heads that come as pseudo-headers and fields: HTTP/2 now, HTTP/3 later.
//!
//! Promises: the same rules as over HTTP/1.1, and the ones of RFC 9113 8.2 and
//! 8.3 on top. Refuses upper-case names, connection-specific fields, `te`
//! other than `trailers`, pseudo-headers that are missing, repeated or late,
//! an authority that differs from Host, a `#` in the path, and a length above
//! zero on a stream that has ended.

use crate::authority::settle;
use crate::bytes::{content_len, is_token, token_lower, trim};
use crate::fields::Span;
use crate::known::{Known, KnownSet};
use crate::limits::HeadLimits;
use crate::malformed::Malformed;
use crate::method::Method;
use crate::path::{fault, scan};
use crate::request::{PathPlace, RequestHead};
use crate::response::ResponseHead;
use crate::rules::{BodyFraming, Upgrade, content_length};
use crate::version::Version;

/// Longest method.
pub(crate) const METHOD_MAX: usize = 32;
/// RFC 9113 8.2.2.
const CONNECTION_SPECIFIC: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::TransferEncoding,
    Known::Upgrade,
    Known::Http2Settings,
]);

/// Whether the stream ended with the head.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum EndStream {
    /// No body follows.
    Yes,
    /// A body follows, or trailers.
    No,
}

/// Builds a [`RequestHead`] from pseudo-headers and fields. After an error the
/// head is not to be used.
#[derive(Debug)]
pub struct RequestBuilder<'a> {
    head: &'a mut RequestHead,
    limits: HeadLimits,
    /// What came already, one bit each.
    seen: u8,
}

/// What may come once. After a field no pseudo-header may follow.
#[derive(Copy, Clone, Debug)]
#[repr(u8)]
enum Once {
    Method = 1,
    Scheme = 2,
    Authority = 4,
    Path = 8,
    Protocol = 16,
    Field = 32,
    /// A Host field beside `:authority`.
    Host = 64,
}

impl<'a> RequestBuilder<'a> {
    /// Clears the head and begins.
    pub fn new(head: &'a mut RequestHead, version: Version, limits: HeadLimits) -> Self {
        head.clear();
        head.version = version;
        Self {
            head,
            limits,
            seen: 0,
        }
    }

    fn has(&self, what: Once) -> bool {
        self.seen & what as u8 != 0
    }

    fn pseudo(&mut self, what: Once) -> Result<(), Malformed> {
        if self.has(Once::Field) {
            return Err(Malformed::PseudoMisplaced);
        }
        if self.has(what) {
            return Err(Malformed::PseudoRepeated);
        }
        self.seen |= what as u8;
        Ok(())
    }

    /// `:method`.
    pub fn method(&mut self, method: &str) -> Result<&mut Self, Malformed> {
        self.pseudo(Once::Method)?;
        if !is_token(method.as_bytes()) {
            return Err(Malformed::MethodName);
        }
        if method.len() > METHOD_MAX {
            return Err(Malformed::MethodTooLong);
        }
        self.head.method = Method::of(method.as_bytes());
        self.head.method_text = self.keep(method.as_bytes())?;
        Ok(self)
    }

    /// `:scheme`.
    pub fn scheme(&mut self, scheme: &str) -> Result<&mut Self, Malformed> {
        self.pseudo(Once::Scheme)?;
        let scheme = known_scheme(scheme.as_bytes())?;
        // QUIC is never without TLS: another scheme names another server.
        if self.head.version == Version::Http3 && scheme != "https" {
            return Err(Malformed::SchemeUnsupported);
        }
        self.head.scheme = Some(scheme);
        Ok(self)
    }

    /// `:authority`.
    pub fn authority(&mut self, authority: &str) -> Result<&mut Self, Malformed> {
        self.pseudo(Once::Authority)?;
        self.room(authority.len() + 8)?;
        self.head
            .fields
            .push(Known::Host.as_str().as_bytes(), authority.as_bytes());
        self.head.settle_host(None)?;
        Ok(self)
    }

    /// `:path`: path and query, or `*`.
    pub fn path(&mut self, target: &str) -> Result<&mut Self, Malformed> {
        self.pseudo(Once::Path)?;
        if target.len() > self.limits.target_bytes {
            return Err(Malformed::TargetTooLong);
        }
        self.head.target = self.keep(target.as_bytes())?;
        if target == "*" {
            self.head.raw_path = self.head.target;
            self.head.place = PathPlace::Asterisk;
            return Ok(self);
        }
        let parts = scan(target.as_bytes());
        if let Some(byte) = target.as_bytes().get(parts.all) {
            return Err(fault(*byte));
        }
        if !target.starts_with('/') {
            return Err(Malformed::TargetForm);
        }
        self.head.take_target(self.head.target, parts)?;
        Ok(self)
    }

    /// `:protocol` of an extended CONNECT (RFC 8441).
    pub fn protocol(&mut self, protocol: &str) -> Result<&mut Self, Malformed> {
        self.pseudo(Once::Protocol)?;
        if protocol != "websocket" {
            return Err(Malformed::ProtocolUnsupported);
        }
        Ok(self)
    }

    /// A field; a name that begins with a colon is an unknown pseudo-header.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<&mut Self, Malformed> {
        self.seen |= Once::Field as u8;
        let known = check_field(name, value)?;
        if known == Known::Host && self.has(Once::Authority) {
            if self.has(Once::Host) {
                return Err(Malformed::HostRepeated);
            }
            self.seen |= Once::Host as u8;
            return self.same_host(value);
        }
        if self.head.fields.entries.len() >= self.limits.fields {
            return Err(Malformed::TooManyFields);
        }
        self.room(name.len() + value.len() + 4)?;
        self.head.fields.push(name, value);
        Ok(self)
    }

    /// The end of the head: the rules that need all of it. An extended CONNECT
    /// is the GET that it would be over HTTP/1.1; what follows on its stream
    /// is no body.
    pub fn finish(&mut self, end: EndStream) -> Result<(), Malformed> {
        // A plain CONNECT has neither scheme nor path (RFC 9114 4.4).
        if self.head.method == Method::Connect && !self.has(Once::Protocol) {
            return Err(Malformed::ConnectMethod);
        }
        if !self.has(Once::Method) || !self.has(Once::Path) || !self.has(Once::Scheme) {
            return Err(Malformed::PseudoMissing);
        }
        self.settle_method()?;
        self.head.settle_host(None)?;
        self.head.fields.join_cookies();
        let length = content_length(&self.head.fields)?;
        self.head.framing = match (self.head.upgrade, length) {
            (Upgrade::None, length) => stream_framing(length, end)?,
            (Upgrade::WebSocket, None) => BodyFraming::None,
            (Upgrade::WebSocket, Some(_)) => return Err(Malformed::BodyForbidden),
        };
        self.head.keep_alive = true;
        self.head.settle_expectation()?;
        self.head.head_bytes = self.head.fields.raw.len();
        Ok(())
    }

    fn settle_method(&mut self) -> Result<(), Malformed> {
        match (self.head.method, self.has(Once::Protocol)) {
            (Method::Connect, true) => {
                self.head.upgrade = Upgrade::WebSocket;
                self.head.method = Method::Get;
                self.head.method_text = self.keep(b"GET")?;
            }
            (_, true) => return Err(Malformed::PseudoMisplaced),
            (_, false) => {}
        }
        if self.head.place == PathPlace::Asterisk && self.head.method != Method::Options {
            return Err(Malformed::TargetForm);
        }
        Ok(())
    }

    /// A Host beside the authority: the same, or the message is refused.
    fn same_host(&mut self, value: &[u8]) -> Result<&mut Self, Malformed> {
        self.room(value.len())?;
        let raw = &mut self.head.fields.raw;
        let start = raw.len();
        raw.extend_from_slice(value);
        let settled = settle(raw.get_mut(start..).unwrap_or(&mut []))?;
        let named = Span::new(start, start + settled.all);
        if named.of(raw) != self.head.authority.of(raw) {
            return Err(Malformed::HostConflict);
        }
        raw.truncate(start);
        Ok(self)
    }

    fn room(&self, more: usize) -> Result<(), Malformed> {
        if self.head.fields.raw.len().saturating_add(more) > self.limits.head_bytes() {
            return Err(Malformed::HeadTooLarge);
        }
        Ok(())
    }

    fn keep(&mut self, text: &[u8]) -> Result<Span, Malformed> {
        self.room(text.len())?;
        let raw = &mut self.head.fields.raw;
        let start = raw.len();
        raw.extend_from_slice(text);
        Ok(Span::new(start, raw.len()))
    }
}

/// Builds a [`ResponseHead`] from a status and fields that came over HTTP/2 or
/// HTTP/3. After an error the head is not to be used.
#[derive(Debug)]
pub struct ResponseBuilder<'a> {
    head: &'a mut ResponseHead,
    limits: HeadLimits,
}

impl<'a> ResponseBuilder<'a> {
    /// Clears the head and begins.
    pub fn new(head: &'a mut ResponseHead, version: Version, limits: HeadLimits) -> Self {
        head.clear();
        head.version = version;
        Self { head, limits }
    }

    /// `:status`. 101 has no meaning here and is refused (RFC 9113 8.6).
    pub fn status(&mut self, status: u16) -> Result<&mut Self, Malformed> {
        if !(100..=599).contains(&status) || status == 101 {
            return Err(Malformed::StatusCode);
        }
        self.head.status = status;
        Ok(self)
    }

    /// A field; a name that begins with a colon is an unknown pseudo-header.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<&mut Self, Malformed> {
        check_field(name, value)?;
        if self.head.fields.entries.len() >= self.limits.fields {
            return Err(Malformed::TooManyFields);
        }
        let more = name.len() + value.len() + 4;
        if self.head.fields.raw.len().saturating_add(more) > self.limits.head_bytes() {
            return Err(Malformed::HeadTooLarge);
        }
        self.head.fields.push(name, value);
        Ok(self)
    }

    /// The end of the head. `to` is the method of the request.
    pub fn finish(&mut self, to: Method, end: EndStream) -> Result<(), Malformed> {
        let status = self.head.status;
        if status == 0 {
            return Err(Malformed::PseudoMissing);
        }
        let length = content_length(&self.head.fields)?;
        let bodiless = matches!(status, 100..=199 | 204 | 304) || to == Method::Head;
        if matches!(status, 100..=199 | 204) && length.is_some_and(|length| length > 0) {
            return Err(Malformed::BodyForbidden);
        }
        self.head.framing = if bodiless {
            BodyFraming::None
        } else {
            stream_framing(length, end)?
        };
        self.head.head_bytes = self.head.fields.raw.len();
        Ok(())
    }
}

/// `http` or `https`.
pub(crate) fn known_scheme(scheme: &[u8]) -> Result<&'static str, Malformed> {
    if scheme.eq_ignore_ascii_case(b"http") {
        Ok("http")
    } else if scheme.eq_ignore_ascii_case(b"https") {
        Ok("https")
    } else {
        Err(Malformed::SchemeUnsupported)
    }
}

/// Framing of a stream's body; what has no length gets chunks where it needs
/// framing.
fn stream_framing(length: Option<u64>, end: EndStream) -> Result<BodyFraming, Malformed> {
    match (length, end) {
        (None, EndStream::Yes) => Ok(BodyFraming::None),
        (None, EndStream::No) => Ok(BodyFraming::Chunked),
        (Some(0), EndStream::Yes) => Ok(BodyFraming::Length(0)),
        (Some(_), EndStream::Yes) => Err(Malformed::LengthAtEnd),
        (Some(length), EndStream::No) => Ok(BodyFraming::Length(length)),
    }
}

#[cold]
fn name_fault(name: &[u8]) -> Malformed {
    if name.iter().any(u8::is_ascii_uppercase) {
        Malformed::UppercaseName
    } else {
        Malformed::FieldName
    }
}

/// Rules of one field of RFC 9113 8.2.
pub(crate) fn check_field(name: &[u8], value: &[u8]) -> Result<Known, Malformed> {
    if name.first() == Some(&b':') {
        return Err(Malformed::PseudoMisplaced);
    }
    let plain = |&byte: &u8| byte != 0 && token_lower(byte) == byte;
    if name.is_empty() || !name.iter().all(plain) {
        return Err(name_fault(name));
    }
    if content_len(value) != value.len() {
        return Err(Malformed::ControlCharacter);
    }
    if trim(value).len() != value.len() {
        return Err(Malformed::FieldValue);
    }
    let known = Known::from_lower(name);
    if CONNECTION_SPECIFIC.contains(known) {
        return Err(Malformed::ConnectionSpecific);
    }
    if known == Known::Te && !value.eq_ignore_ascii_case(b"trailers") {
        return Err(Malformed::TeValue);
    }
    Ok(known)
}

impl RequestHead {
    /// Takes path and query, which stand at `target`.
    pub(crate) fn take_target(
        &mut self,
        target: Span,
        parts: crate::path::Scan,
    ) -> Result<(), Malformed> {
        self.target = target.first(parts.all);
        self.raw_path = target.first(parts.path);
        self.query = (parts.all > parts.path).then(|| target.range(parts.path + 1, parts.all));
        self.place = PathPlace::Received;
        if parts.plain {
            Ok(())
        } else {
            self.normalize_path()
        }
    }
}

#[cfg(test)]
mod tests;
