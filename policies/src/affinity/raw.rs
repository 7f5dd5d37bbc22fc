//! `session_affinity`, from written to meant. Seed: "Session affinity"
//! (`affinityType: CLIENT_IP`, `affinityCookieTtlSec: 3600`).

use std::time::Duration;

use serde::Deserialize;

use super::mac::MacKey;
use super::{By, Cookie, SessionAffinity};
use crate::compile::CompileContext;
use crate::yaml::{Mark, Span, Spanned};

/// The seed's time to live.
const TTL: Duration = Duration::from_hours(1);

/// Longest time to live: 30 days.
const TTL_MAX: Duration = Duration::from_hours(30 * 24);

/// Points within which regions count as equally good for a session: half of
/// the step between the first two latency brackets at the shipped weights.
const SPREAD: f32 = 2.5;

/// Shortest key, in bytes.
const KEY_MIN: usize = 16;

const COOKIE_NAME: &str = "meridian_affinity";

/// Mirror of `session_affinity`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSessionAffinity {
    #[serde(rename = "type")]
    kind: RawKind,
    ttl: Option<Spanned<Span>>,
    name: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
    previous_key: Option<Spanned<String>>,
    spread: Option<Spanned<f32>>,
}

#[derive(Copy, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawKind {
    ClientIp,
    Cookie,
    Header,
    McpSession,
}

pub(crate) fn compile(
    raw: Option<Spanned<RawSessionAffinity>>,
    ctx: &mut CompileContext<'_>,
) -> SessionAffinity {
    let Some(raw) = raw else {
        return SessionAffinity::none();
    };
    let (at, raw) = (raw.at, raw.value);
    let by = match raw.kind {
        RawKind::Cookie => {
            no_effect(ctx, raw.spread.as_ref().map(|given| given.at), "spread");
            cookie(&raw, at, ctx)
        }
        RawKind::Header => {
            only_for_cookies(&raw, ctx);
            header(&raw, at, ctx)
        }
        RawKind::ClientIp => {
            only_for_cookies(&raw, ctx);
            no_effect(ctx, raw.name.as_ref().map(|given| given.at), "name");
            By::ClientIp
        }
        RawKind::McpSession => {
            only_for_cookies(&raw, ctx);
            no_effect(ctx, raw.name.as_ref().map(|given| given.at), "name");
            By::McpSession
        }
    };
    let spread = raw.spread.map_or(SPREAD, |given| {
        if !(0.0..=100.0).contains(&given.value) {
            ctx.error_help(given.at, "not a number of points", "write 0 to 100");
        }
        given.value
    });
    SessionAffinity { by, spread }
}

fn no_effect(ctx: &mut CompileContext<'_>, given: Option<Mark>, key: &str) {
    if let Some(at) = given {
        let message = format!("`{key}` has no effect with this type");
        ctx.error_help(at, message, "take it out");
    }
}

fn only_for_cookies(raw: &RawSessionAffinity, ctx: &mut CompileContext<'_>) {
    let keys = [
        (raw.ttl.as_ref().map(|given| given.at), "ttl"),
        (raw.key.as_ref().map(|given| given.at), "key"),
        (
            raw.previous_key.as_ref().map(|given| given.at),
            "previous_key",
        ),
    ];
    for (given, key) in keys {
        if let Some(at) = given {
            let message = format!("`{key}` is for cookies");
            let help = "a place that is computed lasts as long as what it is computed from";
            ctx.error_help(at, message, help);
        }
    }
}

fn is_token(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

fn cookie(raw: &RawSessionAffinity, at: Mark, ctx: &mut CompileContext<'_>) -> By {
    let name = raw
        .name
        .as_ref()
        .map_or(COOKIE_NAME, |given| given.value.as_str());
    if let Some(given) = raw.name.as_ref().filter(|given| !is_token(&given.value)) {
        ctx.error_help(
            given.at,
            "this is no name for a cookie",
            "use 1 to 64 letters, digits, `-` and `_`",
        );
    }
    let ttl = raw.ttl.as_ref().map_or(TTL, |given| given.value.0);
    if let Some(given) = raw.ttl.as_ref()
        && !(Duration::from_secs(1)..=TTL_MAX).contains(&ttl)
    {
        ctx.error_help(given.at, "not a time to live", "write 1s to 30d");
    }
    let mut keys = Vec::new();
    match &raw.key {
        Some(given) => keys.push(key(given, ctx)),
        None => ctx.error_help(
            at,
            "a cookie is signed, and there is no `key`",
            "write `key: file:affinity.key`, with at least 16 random bytes of text in that file",
        ),
    }
    keys.extend(raw.previous_key.iter().map(|given| key(given, ctx)));
    By::Cookie(Cookie {
        name: name.to_owned(),
        ttl,
        keys,
    })
}

fn key(given: &Spanned<String>, ctx: &mut CompileContext<'_>) -> MacKey {
    if given.value.len() < KEY_MIN {
        ctx.error_help(
            given.at,
            "this key is short enough to be guessed",
            "make it at least 16 bytes, as from `openssl rand -hex 32`",
        );
    }
    MacKey::new(given.value.as_bytes())
}

fn header(raw: &RawSessionAffinity, at: Mark, ctx: &mut CompileContext<'_>) -> By {
    match &raw.name {
        Some(given) if is_token(&given.value) => By::Header(given.value.to_ascii_lowercase()),
        Some(given) => {
            ctx.error_help(
                given.at,
                "this is no name for a header",
                "use 1 to 64 letters, digits, `-` and `_`",
            );
            By::Nothing
        }
        None => {
            ctx.error_help(
                at,
                "which header? there is no `name`",
                "write `name: x-session-id`",
            );
            By::Nothing
        }
    }
}
