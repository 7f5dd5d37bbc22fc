//! Field names: text to [`Known`].
//!
//! Promises: the names that come with every request are found in one look at
//! the first 16 bytes of their line, in any case of letters; the others by
//! length and bytes. Nothing is hashed that a client could make collide: a
//! look ends after one comparison.

use crate::known::Known;

/// Bytes of a line that one look takes in.
pub(crate) const LOOK: usize = 16;
/// Spreads the names over the slots without a collision; the build fails if a
/// new name needs another one.
const SPREAD: u64 = 0x7218_88ff_4a3a_df99;
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
const SPACES: u64 = 0x2020_2020_2020_2020;

/// A name of at most 15 bytes.
#[derive(Copy, Clone)]
struct Slot {
    /// The name, first byte lowest.
    name: u128,
    /// The bit that tells the cases of letters apart, where a letter is.
    case: u128,
    /// All bits of the name's bytes.
    kept: u128,
    known: Known,
    len: u8,
}

const EMPTY: Slot = Slot {
    name: 0,
    case: 0,
    // No text is empty: an empty slot equals nothing.
    kept: u128::MAX,
    known: Known::Other,
    len: 0,
};
static SLOTS: [Slot; 256] = slots();

/// What a look at the front of a line found.
pub(crate) struct Looked {
    pub(crate) known: Known,
    /// Bytes of the name; a colon follows.
    pub(crate) len: usize,
    /// The first 16 bytes with the name in lower case.
    pub(crate) lower: [u8; LOOK],
}

/// Finds a listed name of at most 15 bytes at the front of a line.
#[inline]
pub(crate) fn look(line: &[u8]) -> Option<Looked> {
    let (front, _) = line.split_first_chunk::<LOOK>()?;
    let text = u128::from_le_bytes(*front);
    let (low, high) = halves(text);
    let colon = match (colon(low), colon(high)) {
        (0, 0) => return None,
        (0, high) => 64 + high.trailing_zeros(),
        (low, _) => low.trailing_zeros(),
    };
    let len = colon / 8;
    let slot = SLOTS.get(place(low, len))?;
    let lower = text | slot.case;
    let other = (lower ^ slot.name) & slot.kept;
    if u32::from(slot.len) != len || other != 0 {
        return None;
    }
    Some(Looked {
        known: slot.known,
        len: len as usize,
        lower: lower.to_le_bytes(),
    })
}

/// The lower and the upper eight bytes.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves are what is wanted"
)]
const fn halves(text: u128) -> (u64, u64) {
    (text as u64, (text >> 64) as u64)
}

/// A bit in the first lane that holds a colon (and perhaps in later ones).
#[inline]
const fn colon(word: u64) -> u64 {
    let zero_at = word ^ (ONES * b':' as u64);
    zero_at.wrapping_sub(ONES) & !zero_at & HIGH
}

/// The slot of a name by its first eight bytes, in any case, and its length.
#[inline]
const fn place(first: u64, len: u32) -> usize {
    // Nothing has no name: what is kept of it does not matter.
    let bytes = if len < 8 { len } else { 8 };
    let kept = u64::MAX.wrapping_shr(64 - 8 * bytes);
    let mixed = ((first | SPACES) & kept)
        .wrapping_add(len as u64)
        .wrapping_mul(SPREAD);
    (mixed >> 56) as usize
}

#[expect(
    clippy::indexing_slicing,
    reason = "constant evaluation: out of bounds fails the build"
)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "names have at most 15 bytes here"
)]
const fn slots() -> [Slot; 256] {
    let mut slots = [EMPTY; 256];
    let mut at = 0;
    while at < Known::ALL.len() {
        let known = Known::ALL[at];
        let text = known.as_str().as_bytes();
        at += 1;
        if text.len() >= LOOK {
            continue;
        }
        let (mut name, mut case, mut kept, mut index) = (0_u128, 0_u128, 0_u128, text.len());
        while index > 0 {
            index -= 1;
            kept = kept << 8 | 0xff;
            name = name << 8 | text[index] as u128;
            case = case << 8
                | if text[index].is_ascii_lowercase() {
                    0x20
                } else {
                    0
                };
        }
        let slot = place(halves(name).0, text.len() as u32);
        assert!(
            slots[slot].len == 0,
            "two names in one slot: another spread is needed"
        );
        slots[slot] = Slot {
            name,
            case,
            kept,
            known,
            len: text.len() as u8,
        };
    }
    slots
}

impl Known {
    /// The well-known name of this text, which must be in lower case;
    /// [`Known::Other`] when it is not in the list.
    pub const fn from_lower(name: &[u8]) -> Self {
        of(name)
    }
}

/// A match on bytes: by length, then byte by byte; nothing is hashed.
const fn of(name: &[u8]) -> Known {
    match name {
        b"host" => Known::Host,
        b"connection" => Known::Connection,
        b"content-length" => Known::ContentLength,
        b"transfer-encoding" => Known::TransferEncoding,
        b"te" => Known::Te,
        b"trailer" => Known::Trailer,
        b"upgrade" => Known::Upgrade,
        b"keep-alive" => Known::KeepAlive,
        b"proxy-connection" => Known::ProxyConnection,
        b"proxy-authenticate" => Known::ProxyAuthenticate,
        b"proxy-authorization" => Known::ProxyAuthorization,
        b"expect" => Known::Expect,
        b"date" => Known::Date,
        b"server" => Known::Server,
        b"content-type" => Known::ContentType,
        b"accept" => Known::Accept,
        b"accept-encoding" => Known::AcceptEncoding,
        b"authorization" => Known::Authorization,
        b"cookie" => Known::Cookie,
        b"set-cookie" => Known::SetCookie,
        b"location" => Known::Location,
        b"retry-after" => Known::RetryAfter,
        b"cache-control" => Known::CacheControl,
        b"via" => Known::Via,
        b"range" => Known::Range,
        b"origin" => Known::Origin,
        b"referer" => Known::Referer,
        b"user-agent" => Known::UserAgent,
        b"forwarded" => Known::Forwarded,
        b"x-forwarded-for" => Known::XForwardedFor,
        b"x-forwarded-proto" => Known::XForwardedProto,
        b"x-forwarded-host" => Known::XForwardedHost,
        b"x-real-ip" => Known::XRealIp,
        b"x-request-id" => Known::XRequestId,
        b"x-client-region" => Known::XClientRegion,
        b"x-client-city" => Known::XClientCity,
        b"client-cert" => Known::ClientCert,
        b"traceparent" => Known::Traceparent,
        b"tracestate" => Known::Tracestate,
        b"x-data-class" => Known::XDataClass,
        b"x-residency-obligations" => Known::XResidencyObligations,
        b"x-consent" => Known::XConsent,
        b"x-purpose" => Known::XPurpose,
        b"x-safeguards" => Known::XSafeguards,
        b"x-meridian-region" => Known::XMeridianRegion,
        b"proxy-status" => Known::ProxyStatus,
        b"mcp-session-id" => Known::McpSessionId,
        b"mcp-protocol-version" => Known::McpProtocolVersion,
        b"mcp-method" => Known::McpMethod,
        b"mcp-name" => Known::McpName,
        b"last-event-id" => Known::LastEventId,
        b"alt-svc" => Known::AltSvc,
        b"server-timing" => Known::ServerTiming,
        b"sec-websocket-key" => Known::SecWebSocketKey,
        b"sec-websocket-version" => Known::SecWebSocketVersion,
        b"sec-websocket-accept" => Known::SecWebSocketAccept,
        b"sec-websocket-protocol" => Known::SecWebSocketProtocol,
        b"sec-websocket-extensions" => Known::SecWebSocketExtensions,
        b"http2-settings" => Known::Http2Settings,
        b"content-encoding" => Known::ContentEncoding,
        b"ratelimit" => Known::RateLimit,
        b"ratelimit-policy" => Known::RateLimitPolicy,
        _ => Known::Other,
    }
}
