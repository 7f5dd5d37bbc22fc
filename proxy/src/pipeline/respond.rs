//! The head of an answer, as the client gets it.

use std::cell::RefCell;

use meridian_policies::limits::Quota;
use meridian_wire::{Added, Known, KnownSet, ResponseHead};

use super::extra::decimal;
use super::ids::RequestId;
use super::refuse::{Body, Refusal};
use super::session;
use crate::edge::Generation;
use crate::engine::connection::ConnectionInfo;

/// Fields of a backend's answer that only the edge may write.
pub const DROPPED: KnownSet = KnownSet::of(&[
    Known::XRequestId,
    Known::XMeridianRegion,
    Known::RateLimit,
    Known::RateLimitPolicy,
    Known::AltSvc,
]);

/// [`DROPPED`], and the session's id, which is told sealed.
pub const DROPPED_WITH_SESSION: KnownSet = DROPPED.with(Known::McpSessionId);

/// Fields that every answer has.
pub fn common(extra: &mut Added, id: &RequestId, quota: Option<&Quota>, generation: &Generation) {
    extra.push("x-request-id", id);
    if let Some(quota) = quota {
        extra.add("ratelimit", |text| quota.write_rate_limit(text));
        extra.push(
            "ratelimit-policy",
            generation.snapshot.limits().policy_field().as_bytes(),
        );
    }
}

/// Where the same is served over HTTP/3, if it is (RFC 7838).
pub fn alternative(extra: &mut Added, info: &ConnectionInfo) {
    if let Some(alternative) = &info.alt_svc {
        extra.push("alt-svc", alternative.as_bytes());
    }
}

/// Fields of an answer that a region gave.
pub fn from_region(extra: &mut Added, region: &str, session: Option<(u64, &[u8])>) {
    extra.push("x-meridian-region", region.as_bytes());
    if let Some((tag, id)) = session {
        extra.add("mcp-session-id", |text| session::seal(tag, id, text));
    }
}

/// Fields of an answer that the edge gives. An answer without its body (to
/// HEAD) still states its length, unless there is none.
pub fn from_edge(extra: &mut Added, length: usize, silent: bool) {
    if silent && length > 0 {
        extra.add("content-length", |text| decimal(text, length as u64));
    }
    DATE.with_borrow_mut(|date| extra.push("date", date.now()));
}

/// Fills the head of a refusal and returns its body.
pub fn refusal(head: &mut ResponseHead, extra: &mut Added, refusal: &Refusal, body: &Body) {
    head.clear();
    head.begin(refusal.status);
    extra.push("proxy-status", refusal.proxy_status().as_bytes());
    extra.push("content-type", body.kind.as_bytes());
    extra.push("cache-control", b"no-store");
    if let Some(seconds) = refusal.retry_after_seconds() {
        extra.add("retry-after", |text| decimal(text, seconds));
    }
    if let Some(methods) = &refusal.allow {
        extra.push("allow", methods.as_bytes());
    }
    if let Some(challenge) = &refusal.challenge {
        extra.push("www-authenticate", challenge.as_bytes());
    }
}

/// Fills the head of an answer that is no refusal.
pub fn own(head: &mut ResponseHead, extra: &mut Added, status: u16, kind: &str) {
    head.clear();
    head.begin(status);
    extra.push("proxy-status", b"meridian");
    extra.push("content-type", kind.as_bytes());
    extra.push("cache-control", b"no-store");
}

struct Date {
    second: u64,
    text: String,
}

thread_local! {
    static DATE: RefCell<Date> = const { RefCell::new(Date { second: 0, text: String::new() }) };
}

impl Date {
    /// IMF-fixdate (RFC 9110, 5.6.7), made anew once a second.
    fn now(&mut self) -> &[u8] {
        let now = std::time::SystemTime::now();
        let second = now
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text = httpdate::fmt_http_date(now);
        }
        self.text.as_bytes()
    }
}
