//! Well-known field names and sets of them.
//!
//! Promises: at most 64 names, so that a set of them is one `u64` and a field
//! that is absent costs one bit test.

macro_rules! known {
    ($($variant:ident $text:literal,)*) => {
        /// Well-known field names. [`Known::Other`] stands for all others.
        #[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
        #[repr(u8)]
        pub enum Known {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// A name that is not in the list.
            Other,
        }

        impl Known {
            /// Every listed name, without [`Known::Other`].
            pub const ALL: &'static [Known] = &[$(Known::$variant,)*];

            /// The name in lower case; `None` for [`Known::Other`].
            pub(crate) const fn listed(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($text),)*
                    Self::Other => None,
                }
            }

            /// The name in lower case; empty for [`Known::Other`].
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other => "",
                }
            }
        }
    };
}

known! {
    Host "host",
    Connection "connection",
    ContentLength "content-length",
    TransferEncoding "transfer-encoding",
    Te "te",
    Trailer "trailer",
    Upgrade "upgrade",
    KeepAlive "keep-alive",
    ProxyConnection "proxy-connection",
    ProxyAuthenticate "proxy-authenticate",
    ProxyAuthorization "proxy-authorization",
    Expect "expect",
    Date "date",
    Server "server",
    ContentType "content-type",
    Accept "accept",
    AcceptEncoding "accept-encoding",
    Authorization "authorization",
    Cookie "cookie",
    SetCookie "set-cookie",
    Location "location",
    RetryAfter "retry-after",
    CacheControl "cache-control",
    Via "via",
    Range "range",
    Origin "origin",
    Referer "referer",
    UserAgent "user-agent",
    Forwarded "forwarded",
    XForwardedFor "x-forwarded-for",
    XForwardedProto "x-forwarded-proto",
    XForwardedHost "x-forwarded-host",
    XRealIp "x-real-ip",
    XRequestId "x-request-id",
    XClientRegion "x-client-region",
    XClientCity "x-client-city",
    ClientCert "client-cert",
    Traceparent "traceparent",
    Tracestate "tracestate",
    XDataClass "x-data-class",
    XResidencyObligations "x-residency-obligations",
    XConsent "x-consent",
    XPurpose "x-purpose",
    XSafeguards "x-safeguards",
    XMeridianRegion "x-meridian-region",
    ProxyStatus "proxy-status",
    McpSessionId "mcp-session-id",
    McpProtocolVersion "mcp-protocol-version",
    McpMethod "mcp-method",
    McpName "mcp-name",
    LastEventId "last-event-id",
    AltSvc "alt-svc",
    ServerTiming "server-timing",
    SecWebSocketKey "sec-websocket-key",
    SecWebSocketVersion "sec-websocket-version",
    SecWebSocketAccept "sec-websocket-accept",
    SecWebSocketProtocol "sec-websocket-protocol",
    SecWebSocketExtensions "sec-websocket-extensions",
    Http2Settings "http2-settings",
    ContentEncoding "content-encoding",
    RateLimit "ratelimit",
    RateLimitPolicy "ratelimit-policy",
}

const _: () = assert!(Known::ALL.len() < 64, "a set of names is one u64");

/// A set of well-known names: one `u64`.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct KnownSet(u64);

impl KnownSet {
    /// No name.
    pub const EMPTY: Self = Self(0);

    /// The set of these names.
    pub const fn of(names: &[Known]) -> Self {
        let mut set = Self::EMPTY;
        let mut rest = names;
        while let [first, others @ ..] = rest {
            set = set.with(*first);
            rest = others;
        }
        set
    }

    /// This set and one name more.
    #[must_use]
    pub const fn with(self, name: Known) -> Self {
        Self(self.0 | (1 << (name as u8)))
    }

    /// The names of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names that both sets have.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the name is in the set.
    pub const fn contains(self, name: Known) -> bool {
        self.0 & (1 << (name as u8)) != 0
    }

    /// Whether the two sets have a name in common.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Fields that end at this hop whatever `Connection` says (RFC 9110 7.6.1,
/// and the older list of RFC 2616 13.5.1).
pub(crate) const HOP: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::TransferEncoding,
    Known::Te,
    Known::Trailer,
    Known::Upgrade,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::ProxyAuthenticate,
    Known::ProxyAuthorization,
    Known::Http2Settings,
]);

#[cfg(test)]
mod tests;
