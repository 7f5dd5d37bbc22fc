//! Answers: JSON, text and problems.

use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::guard::Denied;
use super::routes::Missing;

/// A body that is complete.
pub(super) type Body = http_body_util::Full<Bytes>;

/// Data.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(text) => bytes(status, "application/json", text),
        Err(error) => problem(&Problem {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            reason: "internal",
            title: "The answer could not be written",
            detail: error.to_string(),
        }),
    }
}

/// Text of a type.
pub(super) fn bytes(status: StatusCode, kind: &'static str, text: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// Why there is no other answer, after RFC 9457.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// Stable name, kebab-case.
    pub(super) reason: &'static str,
    pub(super) title: &'static str,
    pub(super) detail: String,
}

/// A problem as an answer.
pub(super) fn problem(problem: &Problem) -> Response<Body> {
    let value = serde_json::json!({
        "type": "about:blank",
        "status": problem.status.as_u16(),
        "reason": problem.reason,
        "title": problem.title,
        "detail": problem.detail,
    });
    bytes(
        problem.status,
        "application/problem+json",
        value.to_string().into_bytes(),
    )
}

/// A request that is wrong in itself.
pub(super) fn bad(detail: String) -> Response<Body> {
    let title = "The request cannot be understood";
    problem(&Problem {
        status: StatusCode::BAD_REQUEST,
        reason: "bad-request",
        title,
        detail,
    })
}

/// A request that the guard refused.
pub(super) fn denied(denied: Denied) -> Response<Body> {
    let (status, reason, title, detail) = match denied {
        Denied::Token => (
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "The token is missing or wrong",
            "send Authorization: Bearer with the token of the settings",
        ),
        Denied::Host => (
            StatusCode::MISDIRECTED_REQUEST,
            "host-not-allowed",
            "The Host is not this machine",
            "use localhost, a loopback address or the address that the admin side is bound to",
        ),
        Denied::Origin => (
            StatusCode::FORBIDDEN,
            "origin-not-allowed",
            "The Origin is another site's",
            "changes are made by the admin side's own pages, or by programs without an Origin",
        ),
    };
    let mut response = problem(&Problem {
        status,
        reason,
        title,
        detail: detail.to_owned(),
    });
    if denied == Denied::Token {
        let challenge = HeaderValue::from_static("Bearer realm=\"meridian admin\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// A request for something that is not there.
pub(super) fn missing(missing: &Missing) -> Response<Body> {
    match missing {
        Missing::Path => not_found("no such path; / lists them"),
        Missing::Method(allowed) => {
            let mut response = problem(&Problem {
                status: StatusCode::METHOD_NOT_ALLOWED,
                reason: "method-not-allowed",
                title: "The path does not take this method",
                detail: format!("it takes {allowed}"),
            });
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(allowed));
            response
        }
    }
}

/// Nothing there.
pub(super) fn not_found(detail: &str) -> Response<Body> {
    problem(&Problem {
        status: StatusCode::NOT_FOUND,
        reason: "not-found",
        title: "Nothing there",
        detail: detail.to_owned(),
    })
}
