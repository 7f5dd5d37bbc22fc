//! Answers that the edge makes itself: refusals, health, fixed responses.
//!
//! Promises: every such answer carries `Proxy-Status` (RFC 9209) with the
//! refusal's name; a refusal is `application/problem+json` (RFC 9457), or a
//! JSON-RPC error with the request's id where that is known.

use std::time::Duration;

use meridian_policies::limits::LimitRefusal;
use meridian_policies::residency::RefusalRule;
use meridian_policies::{JurisdictionIndex, RejectReason, TlsFault};
use meridian_wire::Malformed;
use serde_json::json;
use serde_json::value::RawValue;

/// One refusal, for the client and for the record.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why.
    pub reason: RejectReason,
    /// Status; [`RejectReason::status`] unless a rule says otherwise.
    pub status: u16,
    /// One sentence: what would help.
    pub detail: String,
    /// The rule, limit or jurisdiction behind it.
    pub rule: Option<String>,
    /// When a new attempt makes sense.
    pub retry_after: Option<Duration>,
    /// The limit that refused.
    pub limit: Option<LimitRefusal>,
    /// Methods that the route takes, for `Allow`.
    pub allow: Option<String>,
    /// What would let it in, for `WWW-Authenticate`.
    pub challenge: Option<String>,
    /// JSON-RPC code, where the protocol has one of its own.
    pub code: Option<i32>,
    /// The jurisdiction and its rule, where the law refused.
    pub law: Option<(JurisdictionIndex, RefusalRule)>,
    /// What TLS with an endpoint failed by.
    pub tls: Option<TlsFault>,
}

impl Refusal {
    /// A refusal with the reason's own status.
    pub fn new(reason: RejectReason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            status: reason.status(),
            detail: detail.into(),
            rule: None,
            retry_after: None,
            limit: None,
            allow: None,
            challenge: None,
            code: None,
            law: None,
            tls: None,
        }
    }

    /// The rule behind it.
    #[must_use]
    pub fn by(mut self, rule: impl Into<String>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    /// A message that is not HTTP as the edge reads it.
    pub fn malformed(error: Malformed) -> Self {
        let mut refusal = Self::new(RejectReason::Malformed, error.text()).by(error.name());
        refusal.status = error.status();
        refusal
    }

    /// An endpoint that is not who it has to be. The rule names the fault.
    pub fn tls(fault: TlsFault) -> Self {
        let mut refusal = Self::new(RejectReason::UpstreamTls, fault.text()).by(fault.as_str());
        refusal.tls = Some(fault);
        refusal
    }

    /// The body: a problem, or a JSON-RPC error when `id` is known.
    pub fn body(&self, request_id: &str, id: Option<&RawValue>) -> Body {
        let kind = match self.limit {
            Some(_) => "https://iana.org/assignments/http-problem-types#quota-exceeded".to_owned(),
            None => format!("urn:meridian:refusal:{}", self.reason.name()),
        };
        let mut problem = json!({
            "type": kind,
            "title": self.reason.title(),
            "status": self.status,
            "reason": self.reason.name(),
            "detail": self.detail,
            "request_id": request_id,
        });
        if let (Some(rule), Some(object)) = (&self.rule, problem.as_object_mut()) {
            object.insert("rule".to_owned(), json!(rule));
        }
        if let (Some(limit), Some(object)) = (&self.limit, problem.as_object_mut()) {
            object.insert("violated-policies".to_owned(), json!([limit.quota.name]));
        }
        let Some(id) = id else {
            return Body {
                kind: "application/problem+json",
                text: problem.to_string(),
            };
        };
        let code = self.code.unwrap_or(i32::from(self.status));
        let message = format!("{}: {}", self.reason.title(), self.detail);
        let error = json!({ "code": code, "message": message, "data": problem });
        let text = format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, id.get());
        Body {
            kind: "application/json",
            text,
        }
    }

    /// The value of `Proxy-Status`.
    pub fn proxy_status(&self) -> String {
        format!(
            "meridian; error={}; details=\"{}\"",
            self.tls.map_or(error(self.reason), TlsFault::proxy_error),
            self.reason.name()
        )
    }

    /// Whole seconds for `Retry-After`, rounded up.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after
            .map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
            .map(|s| s.max(1))
    }
}

/// Content of an answer.
pub struct Body {
    /// Media type.
    pub kind: &'static str,
    /// Content.
    pub text: String,
}

/// The proxy error type of RFC 9209, section 2.3, that fits best.
fn error(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::Malformed | RejectReason::BodyTooLarge | RejectReason::RequestTimeout => {
            "http_request_error"
        }
        RejectReason::NoRoute => "destination_not_found",
        RejectReason::Misdirected
        | RejectReason::MethodNotAllowed
        | RejectReason::OriginNotAllowed
        | RejectReason::Unauthorized
        | RejectReason::AccessDenied
        | RejectReason::RateLimited
        | RejectReason::Banned
        | RejectReason::WafDenied
        | RejectReason::Residency => "http_request_denied",
        RejectReason::NoHealthyRegion | RejectReason::Draining => "destination_unavailable",
        RejectReason::UpstreamRefused => "connection_refused",
        RejectReason::UpstreamTls => "tls_protocol_error",
        RejectReason::UpstreamBroken => "http_protocol_error",
        RejectReason::UpstreamTimeout => "http_response_timeout",
        RejectReason::Overloaded => "connection_limit_reached",
        RejectReason::AuditUnavailable | RejectReason::Internal => "proxy_internal_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_problem_with_its_name_and_request() {
        let refusal = Refusal::new(RejectReason::Residency, "no region").by("IN");
        let body = refusal.body("abc", None);
        let problem: serde_json::Value = serde_json::from_str(&body.text).unwrap();
        assert_eq!(body.kind, "application/problem+json");
        assert_eq!(problem["status"], 451);
        assert_eq!(problem["reason"], "residency");
        assert_eq!(problem["request_id"], "abc");
        assert_eq!(problem["rule"], "IN");
        let status = "meridian; error=http_request_denied; details=\"residency\"";
        assert_eq!(refusal.proxy_status(), status);
    }

    #[test]
    fn a_json_rpc_error_has_the_id_as_it_was_written() {
        let id: &RawValue = serde_json::from_str("\"x-1\"").unwrap();
        let body = Refusal::new(RejectReason::RateLimited, "slow down").body("abc", Some(id));
        let error: serde_json::Value = serde_json::from_str(&body.text).unwrap();
        assert_eq!(error["id"], "x-1");
        assert_eq!(error["error"]["code"], 429);
        assert_eq!(error["error"]["data"]["reason"], "rate-limited");
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        let mut refusal = Refusal::new(RejectReason::NoHealthyRegion, "");
        assert_eq!(refusal.retry_after_seconds(), None);
        refusal.retry_after = Some(Duration::from_millis(1_001));
        assert_eq!(refusal.retry_after_seconds(), Some(2));
        refusal.retry_after = Some(Duration::ZERO);
        assert_eq!(refusal.retry_after_seconds(), Some(1));
    }
}
