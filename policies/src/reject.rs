//! Why the edge refused: one list for every stage.

use serde::Serialize;

/// The reason of a refusal. Each has one status, one stable name (for
/// `Proxy-Status`, problem types and metric labels) and one title.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectReason {
    /// The request's head or framing is malformed.
    Malformed,
    /// No route matches.
    NoRoute,
    /// The connection was opened for another host.
    Misdirected,
    /// The route does not take this method.
    MethodNotAllowed,
    /// An `Origin` that the MCP endpoint does not serve.
    OriginNotAllowed,
    /// No or bad credentials.
    Unauthorized,
    /// An access rule or a route denies it.
    AccessDenied,
    /// Over a rate limit.
    RateLimited,
    /// Banned after going over the window limit.
    Banned,
    /// A WAF rule matched.
    WafDenied,
    /// The body is over the route's bound.
    BodyTooLarge,
    /// The law allows no configured region.
    Residency,
    /// What must be audited cannot be recorded.
    AuditUnavailable,
    /// Regions are allowed, none is able to serve.
    NoHealthyRegion,
    /// The endpoint could not be reached.
    UpstreamRefused,
    /// The endpoint is not who it has to be, or does not speak TLS.
    UpstreamTls,
    /// The endpoint broke its answer off or answered nonsense.
    UpstreamBroken,
    /// The endpoint did not answer in time.
    UpstreamTimeout,
    /// The edge is full.
    Overloaded,
    /// The edge is going away.
    Draining,
    /// The client was too slow to send its request.
    RequestTimeout,
    /// A fault of the edge itself.
    Internal,
}

impl RejectReason {
    /// Every reason.
    pub const ALL: [Self; 22] = [
        Self::Malformed,
        Self::NoRoute,
        Self::Misdirected,
        Self::MethodNotAllowed,
        Self::OriginNotAllowed,
        Self::Unauthorized,
        Self::AccessDenied,
        Self::RateLimited,
        Self::Banned,
        Self::WafDenied,
        Self::BodyTooLarge,
        Self::Residency,
        Self::AuditUnavailable,
        Self::NoHealthyRegion,
        Self::UpstreamRefused,
        Self::UpstreamTls,
        Self::UpstreamBroken,
        Self::UpstreamTimeout,
        Self::Overloaded,
        Self::Draining,
        Self::RequestTimeout,
        Self::Internal,
    ];

    /// HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unauthorized => 401,
            Self::AccessDenied | Self::WafDenied | Self::OriginNotAllowed => 403,
            Self::NoRoute => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::Misdirected => 421,
            Self::BodyTooLarge => 413,
            Self::RateLimited | Self::Banned => 429,
            Self::Residency => 451,
            Self::Internal => 500,
            Self::UpstreamRefused | Self::UpstreamTls | Self::UpstreamBroken => 502,
            Self::AuditUnavailable | Self::NoHealthyRegion | Self::Overloaded | Self::Draining => {
                503
            }
            Self::UpstreamTimeout => 504,
        }
    }

    /// Stable name, kebab-case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NoRoute => "no-route",
            Self::Misdirected => "misdirected",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::OriginNotAllowed => "origin-not-allowed",
            Self::Unauthorized => "unauthorized",
            Self::AccessDenied => "access-denied",
            Self::RateLimited => "rate-limited",
            Self::Banned => "banned",
            Self::WafDenied => "waf-denied",
            Self::BodyTooLarge => "body-too-large",
            Self::Residency => "residency",
            Self::AuditUnavailable => "audit-unavailable",
            Self::NoHealthyRegion => "no-healthy-region",
            Self::UpstreamRefused => "upstream-refused",
            Self::UpstreamTls => "upstream-tls",
            Self::UpstreamBroken => "upstream-broken",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::RequestTimeout => "request-timeout",
            Self::Internal => "internal",
        }
    }

    /// One plain phrase for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request is malformed",
            Self::NoRoute => "No route matches",
            Self::Misdirected => "The connection was opened for another host",
            Self::MethodNotAllowed => "The route does not take this method",
            Self::OriginNotAllowed => "The origin is not allowed",
            Self::Unauthorized => "Credentials are missing or not valid",
            Self::AccessDenied => "Access is denied",
            Self::RateLimited => "Too many requests",
            Self::Banned => "Banned for a time after too many requests",
            Self::WafDenied => "Refused by the web application firewall",
            Self::BodyTooLarge => "The body is too large",
            Self::Residency => "No region may process this data",
            Self::AuditUnavailable => "What must be audited cannot be recorded",
            Self::NoHealthyRegion => "No permitted region is able to serve",
            Self::UpstreamRefused => "The backend cannot be reached",
            Self::UpstreamTls => "The backend cannot be trusted",
            Self::UpstreamBroken => "The backend's answer is broken",
            Self::UpstreamTimeout => "The backend did not answer in time",
            Self::Overloaded => "The edge is full",
            Self::Draining => "The edge is going away",
            Self::RequestTimeout => "The request did not arrive in time",
            Self::Internal => "A fault of the edge",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once_with_its_own_name_and_a_refusing_status() {
        for (i, reason) in RejectReason::ALL.into_iter().enumerate() {
            assert_eq!(
                RejectReason::ALL.iter().filter(|r| **r == reason).count(),
                1
            );
            assert_eq!(reason as usize, i, "in the order of the enum");
            assert!((400..600).contains(&reason.status()));
            let json = serde_json::to_value(reason).unwrap();
            assert_eq!(json, reason.name(), "serde and name() agree");
        }
        assert_eq!(RejectReason::ALL.len(), RejectReason::Internal as usize + 1);
    }
}
