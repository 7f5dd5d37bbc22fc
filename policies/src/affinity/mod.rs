//! Which session a request belongs to, and where that session is.
//!
//! Promises: pure functions of a request's facts, the policies and the time; a
//! session only chooses among what the law permits, so that a made-up one
//! gains nothing. Refuses to keep a table: a place is either written in what
//! the client sends back, or computed from what stays the same about it.

mod cookie;
mod mac;
mod raw;

use std::net::IpAddr;
use std::time::Duration;

use meridian_wire::{Known, RequestHead};
use serde_json::{Value, json};

pub use cookie::CookieSeen;
pub(crate) use raw::{RawSessionAffinity, compile};

use self::mac::MacKey;
use crate::Facts;
use crate::regions::{Affinity, tag_of};
use crate::state::mix;

/// What makes requests a session (`session_affinity`).
#[derive(Clone)]
pub struct SessionAffinity {
    by: By,
    /// Points of score within which regions share the sessions.
    pub(crate) spread: f32,
}

/// What stays the same in a session.
#[derive(Clone)]
enum By {
    /// Nothing but an MCP session's own pin.
    Nothing,
    /// The client's address: all of IPv4's, the first 64 bits of IPv6's.
    ClientIp,
    /// A cookie that the edge sets.
    Cookie(Cookie),
    /// A header of this name.
    Header(String),
    /// MCP's session id.
    McpSession,
}

#[derive(Clone)]
struct Cookie {
    name: String,
    ttl: Duration,
    /// The first one signs; all are believed. Never empty.
    keys: Vec<MacKey>,
}

impl std::fmt::Debug for SessionAffinity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionAffinity({})", self.kind())
    }
}

/// What stays the same in a session, hashed. Two sessions may share one; they
/// then share a place.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct SessionKey(pub u64);

/// What is known of a request's session.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Session {
    /// The endpoint that holds it.
    pub pin: Option<Affinity>,
    /// What its place is computed from, where no endpoint holds it.
    pub key: Option<SessionKey>,
    /// What its cookie said.
    pub cookie: CookieSeen,
}

/// Whether a cookie may travel in plain text.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Secure {
    /// The client's connection is encrypted: only over such ones.
    Yes,
    /// It is not.
    No,
}

/// Salts of the kinds of sessions, so that an address is never a header.
const SALT_V4: u64 = 1;
const SALT_V6: u64 = 2;
const SALT_HEADER: u64 = 3;
const SALT_MCP: u64 = 4;

impl SessionAffinity {
    /// No sessions but those of MCP.
    pub(crate) fn none() -> Self {
        Self {
            by: By::Nothing,
            spread: 0.0,
        }
    }

    /// The session of a request. `mcp` is the endpoint that its MCP session
    /// id names; it goes before all else. `now_s`: seconds since 1970, asked for
    /// only where a cookie is read.
    #[inline]
    pub fn session(
        &self,
        facts: &Facts<'_>,
        mcp: Option<Affinity>,
        now_s: impl FnOnce() -> u64,
    ) -> Session {
        let mut session = Session {
            pin: mcp,
            key: None,
            cookie: CookieSeen::NotUsed,
        };
        match &self.by {
            By::Nothing => {}
            By::ClientIp => session.key = Some(address_key(facts.client)),
            By::Header(name) => {
                session.key = facts
                    .head
                    .first_named(name)
                    .and_then(|value| text_key(value, SALT_HEADER));
            }
            By::McpSession => {
                let id = facts.head.first(Known::McpSessionId);
                session.key = id.and_then(|id| text_key(id, SALT_MCP));
            }
            By::Cookie(cookie) => {
                let (seen, pin) = cookie.seen(facts, now_s());
                session.cookie = seen;
                session.pin = mcp.or(pin);
            }
        }
        session
    }

    /// Appends the value of `Set-Cookie`, where the client is to get one: it
    /// has none that names this endpoint, or half of its time is over.
    /// Whether there is one.
    pub fn set_cookie(
        &self,
        session: &Session,
        (endpoint, now_s, secure): (Affinity, u64, Secure),
        out: &mut Vec<u8>,
    ) -> bool {
        let By::Cookie(cookie) = &self.by else {
            return false;
        };
        let Some(key) = cookie.keys.first() else {
            return false;
        };
        let ttl = cookie.ttl.as_secs();
        if let CookieSeen::Valid { until_s } = session.cookie
            && session.pin == Some(endpoint)
            && until_s.saturating_sub(now_s) > ttl / 2
        {
            return false;
        }
        out.extend_from_slice(cookie.name.as_bytes());
        out.push(b'=');
        cookie::write((endpoint.0, now_s.saturating_add(ttl)), key, out);
        out.extend_from_slice(b"; Path=/; Max-Age=");
        out.extend_from_slice(ttl.to_string().as_bytes());
        out.extend_from_slice(b"; HttpOnly; SameSite=Lax");
        match secure {
            Secure::Yes => out.extend_from_slice(b"; Secure"),
            Secure::No => {}
        }
        true
    }

    /// Whether a request of this session brought a cookie that is the edge's
    /// own: a good one, or another of its name.
    #[inline]
    pub fn has_own_cookie(session: &Session) -> bool {
        match session.cookie {
            CookieSeen::NotUsed | CookieSeen::Absent => false,
            CookieSeen::Valid { .. } | CookieSeen::Forged | CookieSeen::Expired => true,
        }
    }

    /// Appends the request's cookies without the edge's own, as the value of
    /// one field; whether there are any. Which endpoint holds a client is for
    /// no backend to see, nor a tag to be used elsewhere.
    pub fn other_cookies(&self, head: &RequestHead, out: &mut Vec<u8>) -> bool {
        match &self.by {
            By::Cookie(own) => cookie::without(head.all(Known::Cookie), &own.name, out),
            By::Nothing | By::ClientIp | By::Header(_) | By::McpSession => false,
        }
    }

    /// The field that says of a request which session it belongs to, and its
    /// value for a session; `None` where no field does.
    pub fn field(&self, session: &str) -> Option<(&str, String)> {
        match &self.by {
            By::Nothing | By::ClientIp => None,
            By::Cookie(cookie) => Some(("cookie", format!("{}={session}", cookie.name))),
            By::Header(name) => Some((name, session.to_owned())),
            By::McpSession => Some(("mcp-session-id", session.to_owned())),
        }
    }

    /// Whether clients are given cookies.
    #[inline]
    pub fn uses_cookies(&self) -> bool {
        matches!(self.by, By::Cookie(_))
    }

    fn kind(&self) -> &'static str {
        match self.by {
            By::Nothing => "none",
            By::ClientIp => "client_ip",
            By::Cookie(_) => "cookie",
            By::Header(_) => "header",
            By::McpSession => "mcp_session",
        }
    }

    /// For `/snapshot`; keys are left out.
    pub(crate) fn to_json(&self) -> Value {
        let (name, ttl_s) = match &self.by {
            By::Cookie(cookie) => (Some(&cookie.name), Some(cookie.ttl.as_secs())),
            By::Header(name) => (Some(name), None),
            By::Nothing | By::ClientIp | By::McpSession => (None, None),
        };
        json!({ "type": self.kind(), "name": name, "ttl_s": ttl_s, "spread": self.spread })
    }
}

impl Cookie {
    fn seen(&self, facts: &Facts<'_>, now_s: u64) -> (CookieSeen, Option<Affinity>) {
        let mut fields = facts.head.all(Known::Cookie);
        match fields.find_map(|field| cookie::find(field, &self.name)) {
            Some(value) => cookie::read(value, &self.keys, now_s),
            None => (CookieSeen::Absent, None),
        }
    }
}

fn address_key(client: IpAddr) -> SessionKey {
    SessionKey(match client {
        IpAddr::V4(v4) => mix(u64::from(v4.to_bits()), SALT_V4),
        // Bits: the upper half.
        IpAddr::V6(v6) => mix((v6.to_bits() >> 64) as u64, SALT_V6),
    })
}

/// Empty text is no session.
fn text_key(text: &[u8], salt: u64) -> Option<SessionKey> {
    (!text.is_empty()).then(|| SessionKey(mix(tag_of(text), salt)))
}

#[cfg(test)]
mod tests;
