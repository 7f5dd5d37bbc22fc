//! The head of a request, whatever version it came in.
//!
//! Promises: one buffer, ranges over it, no allocation in steady state; host
//! and path exist in one form only, the one that is decided on and sent.

use crate::authority::settle;
use crate::bytes::text;
use crate::fields::{Field, Fields, Only, Span};
use crate::known::{Known, KnownSet};
use crate::malformed::Malformed;
use crate::method::Method;
use crate::path::{PathNotes, normalize};
use crate::rules::{
    BodyFraming, Upgrade, expects_continue, keep_alive, names_websocket, request_framing,
};
use crate::version::Version;

/// As for the buffer of fields: above this it does not stay, in bytes.
const PATH_KEPT: usize = 16_384;

/// Where the path in its one form stands.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum PathPlace {
    /// As received.
    Received,
    /// In the buffer of its own.
    Normalized,
    /// Absolute form without a path: `/`.
    Root,
    /// `*`.
    Asterisk,
}

/// One request head: bytes in one reused buffer, ranges over it.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub(crate) fields: Fields,
    pub(crate) version: Version,
    pub(crate) method: Method,
    pub(crate) method_text: Span,
    pub(crate) scheme: Option<&'static str>,
    pub(crate) authority: Span,
    pub(crate) host_len: usize,
    pub(crate) target: Span,
    pub(crate) raw_path: Span,
    pub(crate) query: Option<Span>,
    pub(crate) place: PathPlace,
    pub(crate) normalized: Vec<u8>,
    pub(crate) notes: PathNotes,
    pub(crate) framing: BodyFraming,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
    pub(crate) upgrade: Upgrade,
    pub(crate) head_bytes: usize,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestHead {
    /// An empty head; nothing is allocated.
    pub fn new() -> Self {
        Self {
            fields: Fields::default(),
            version: Version::Http11,
            method: Method::Get,
            method_text: Span::default(),
            scheme: None,
            authority: Span::default(),
            host_len: 0,
            target: Span::default(),
            raw_path: Span::default(),
            query: None,
            place: PathPlace::Root,
            normalized: Vec::new(),
            notes: PathNotes::NONE,
            framing: BodyFraming::None,
            keep_alive: false,
            expects_continue: false,
            upgrade: Upgrade::None,
            head_bytes: 0,
        }
    }

    /// Empties the head. Buffers stay, up to 16 KiB each.
    pub fn clear(&mut self) {
        self.fields.clear();
        self.normalized.clear();
        if self.normalized.capacity() > PATH_KEPT {
            self.normalized.shrink_to(PATH_KEPT);
        }
        self.version = Version::Http11;
        self.method = Method::Get;
        self.method_text = Span::default();
        self.scheme = None;
        self.authority = Span::default();
        self.host_len = 0;
        self.target = Span::default();
        self.raw_path = Span::default();
        self.query = None;
        self.place = PathPlace::Root;
        self.notes = PathNotes::NONE;
        self.framing = BodyFraming::None;
        self.keep_alive = false;
        self.expects_continue = false;
        self.upgrade = Upgrade::None;
        self.head_bytes = 0;
    }

    /// The version it came in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method as received; never empty after a parse.
    pub fn method_str(&self) -> &str {
        self.method
            .text()
            .unwrap_or_else(|| text(self.method_text.of(&self.fields.raw)))
    }

    /// `http` or `https` where the message says it: HTTP/2, HTTP/3 and the
    /// absolute form. It is the client's word, not the connection's.
    pub fn scheme(&self) -> Option<&str> {
        self.scheme
    }

    /// Host and optional port, lower case, without trailing dot. Empty only
    /// for HTTP/1.0 without Host.
    pub fn authority(&self) -> &str {
        text(self.authority.of(&self.fields.raw))
    }

    /// The same as bytes: always ASCII.
    pub fn authority_bytes(&self) -> &[u8] {
        self.authority.of(&self.fields.raw)
    }

    /// The host of [`RequestHead::authority`]; an IPv6 address keeps brackets.
    pub fn host(&self) -> &str {
        text(self.authority.first(self.host_len).of(&self.fields.raw))
    }

    /// Path and query as received; empty for an absolute form without either.
    pub fn raw_target(&self) -> &str {
        text(self.raw_target_bytes())
    }

    /// The same as bytes: always ASCII.
    pub fn raw_target_bytes(&self) -> &[u8] {
        self.target.of(&self.fields.raw)
    }

    /// The path as received, as [`RequestHead::raw_target`].
    pub fn raw_path(&self) -> &str {
        text(self.raw_path.of(&self.fields.raw))
    }

    /// The path in its one form: begins with `/`, or is `*`.
    pub fn path(&self) -> &str {
        text(self.path_bytes())
    }

    /// The query as received, without its question mark. An empty one is `Some`.
    pub fn query(&self) -> Option<&str> {
        self.query.map(|query| text(query.of(&self.fields.raw)))
    }

    /// What normalisation of the path met.
    pub fn path_notes(&self) -> PathNotes {
        self.notes
    }

    /// Every field in the order received; `host` is there for every version
    /// when there is an authority (HTTP/1.0 in absolute form excepted).
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.fields.iter()
    }

    /// The first value of this name. A miss costs one bit test;
    /// [`Known::Other`] finds nothing of use.
    pub fn first(&self, known: Known) -> Option<&[u8]> {
        self.fields.first(known)
    }

    /// The first value of a name in lower case, also one that is not listed.
    pub fn first_named(&self, name: &str) -> Option<&[u8]> {
        self.fields.first_named(name)
    }

    /// How many field lines have this name.
    pub fn count(&self, known: Known) -> usize {
        self.fields.count(known)
    }

    /// Whether a field has this name: one bit test.
    pub fn has(&self, known: Known) -> bool {
        self.fields.has(known)
    }

    /// Every name that is present.
    pub fn present(&self) -> KnownSet {
        self.fields.present()
    }

    /// Every value of this name, in the order received.
    pub fn all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        self.fields.all(known)
    }

    /// How the body ends; never [`BodyFraming::UntilClose`].
    pub fn framing(&self) -> BodyFraming {
        self.framing
    }

    /// Whether the client may send another request on the connection, by
    /// version and `Connection`; always so over HTTP/2 and HTTP/3.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the client waits for a 100 before it sends the body. Never for
    /// HTTP/1.0 and never without a body.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// What the client wants the connection to become.
    pub fn upgrade(&self) -> Upgrade {
        self.upgrade
    }

    /// Whether the wish to upgrade came as an extended CONNECT (RFC 8441, RFC
    /// 9220): its stream has nothing else to become, any answer with 2xx means
    /// that it has, and there is no `Sec-WebSocket-Key`.
    pub fn is_extended_connect(&self) -> bool {
        match (self.upgrade, self.version) {
            (Upgrade::WebSocket, Version::Http2 | Version::Http3) => true,
            (Upgrade::WebSocket, Version::Http10 | Version::Http11) | (Upgrade::None, _) => false,
        }
    }

    /// Bytes of the head as received, its empty line included; over HTTP/2 and
    /// HTTP/3 the bytes it would have as field lines.
    pub fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// [`RequestHead::path`] as bytes: always ASCII.
    pub fn path_bytes(&self) -> &[u8] {
        match self.place {
            PathPlace::Received => self.raw_path.of(&self.fields.raw),
            PathPlace::Normalized => &self.normalized,
            PathPlace::Root => b"/",
            PathPlace::Asterisk => b"*",
        }
    }

    pub(crate) fn query_bytes(&self) -> Option<&[u8]> {
        self.query.map(|query| query.of(&self.fields.raw))
    }

    pub(crate) fn method_bytes(&self) -> &[u8] {
        self.method_text.of(&self.fields.raw)
    }

    /// Brings the path that was received into its one form.
    pub(crate) fn normalize_path(&mut self) -> Result<(), Malformed> {
        self.notes = normalize(
            text(self.raw_path.of(&self.fields.raw)),
            &mut self.normalized,
        )?;
        self.place = PathPlace::Normalized;
        Ok(())
    }

    /// Rules of the whole head, once target and fields are there. `authority`
    /// is that of the target, if it has one.
    pub(crate) fn settle_h1(&mut self, authority: Option<Span>) -> Result<(), Malformed> {
        self.settle_host(authority)?;
        self.framing = request_framing(&self.fields, self.version)?;
        let options = self.fields.connection()?;
        self.keep_alive = keep_alive(self.version, options);
        self.settle_expectation()?;
        let websocket = options.upgrade
            && self.version == Version::Http11
            && self.method == Method::Get
            && matches!(self.framing, BodyFraming::None | BodyFraming::Length(0))
            && names_websocket(&self.fields);
        self.upgrade = if websocket {
            Upgrade::WebSocket
        } else {
            Upgrade::None
        };
        Ok(())
    }

    pub(crate) fn settle_expectation(&mut self) -> Result<(), Malformed> {
        let body = match self.framing {
            BodyFraming::None | BodyFraming::Length(0) => false,
            BodyFraming::Length(_) | BodyFraming::Chunked | BodyFraming::UntilClose => true,
        };
        self.expects_continue =
            expects_continue(&self.fields)? && body && self.version != Version::Http10;
        Ok(())
    }

    /// The stream ended without data: what was said about a body falls away.
    pub(crate) fn no_body_came(&mut self) {
        if self.framing == BodyFraming::Chunked {
            self.framing = BodyFraming::None;
        }
        self.expects_continue = false;
    }

    /// Exactly one Host (none only in HTTP/1.0), which agrees with the target.
    pub(crate) fn settle_host(&mut self, target: Option<Span>) -> Result<(), Malformed> {
        let named = match target {
            Some(span) => {
                let settled = settle(span.of_mut(&mut self.fields.raw))?;
                self.authority = span.first(settled.all);
                self.host_len = settled.host;
                Some(self.authority)
            }
            None => None,
        };
        match (self.fields.only(Known::Host), self.version) {
            (Only::One(_), _) => {}
            (Only::More, _) => return Err(Malformed::HostRepeated),
            (Only::None, Version::Http10) => return Ok(()),
            (Only::None, Version::Http11 | Version::Http2 | Version::Http3) => {
                return Err(Malformed::HostMissing);
            }
        }
        let Fields { raw, entries, .. } = &mut self.fields;
        let Some(host) = entries.iter_mut().find(|entry| entry.known == Known::Host) else {
            return Err(Malformed::HostMissing);
        };
        let settled = settle(host.value.of_mut(raw))?;
        host.value = host.value.first(settled.all);
        if named.is_some_and(|named| named.of(raw) != host.value.of(raw)) {
            return Err(Malformed::HostConflict);
        }
        self.authority = host.value;
        self.host_len = settled.host;
        Ok(())
    }
}
