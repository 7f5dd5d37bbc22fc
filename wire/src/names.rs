//! Field names: text to [`Known`].

use crate::known::Known;

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
