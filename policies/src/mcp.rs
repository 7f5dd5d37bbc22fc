//! The policy of MCP endpoints: which origins may call, how much of a body is
//! read to decide.

use serde::Deserialize;

use crate::compile::CompileContext;
use crate::yaml::{ByteSize, Spanned};

/// Most origins that may be listed.
const ORIGINS_MAX: usize = 1_024;
/// How far a body is read for its method and tool: 64 KiB.
const PEEK_DEFAULT: u64 = 64 * 1024;
const PEEK_MAX: u64 = 1024 * 1024;

/// Key `mcp`.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct McpPolicy {
    /// Origins that browsers may call from, besides none at all. Default:
    /// none, so that a page of another site cannot reach an MCP endpoint by
    /// DNS rebinding.
    pub allowed_origins: Vec<OriginRule>,
    /// Most bytes of a body that are read before it is decided where it goes;
    /// default 64 KiB, at most 1 MiB. 0: bodies are never read.
    pub body_peek: u64,
}

/// One allowed origin.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OriginRule {
    /// Every origin: `*`.
    Any,
    /// This scheme, host and port, as browsers write them.
    Exact(String),
    /// Any port of a host and scheme: `http://localhost:*`.
    AnyPort(String),
}

impl Default for McpPolicy {
    fn default() -> Self {
        Self {
            allowed_origins: Vec::new(),
            body_peek: PEEK_DEFAULT,
        }
    }
}

impl McpPolicy {
    /// Whether a request with this `Origin` may pass. Compared byte for byte,
    /// as browsers write origins in lower case and without a default port.
    pub fn allows_origin(&self, origin: &[u8]) -> bool {
        self.allowed_origins.iter().any(|rule| match rule {
            OriginRule::Any => true,
            OriginRule::Exact(exact) => exact.as_bytes() == origin,
            OriginRule::AnyPort(host) => match origin.strip_prefix(host.as_bytes()) {
                Some([]) => true,
                Some([b':', port @ ..]) => {
                    (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit)
                }
                Some(_) | None => false,
            },
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMcp {
    #[serde(default)]
    allowed_origins: Vec<Spanned<String>>,
    body_peek: Option<Spanned<ByteSize>>,
}

pub(crate) fn compile(raw: Option<Spanned<RawMcp>>, ctx: &mut CompileContext<'_>) -> McpPolicy {
    let Some(raw) = raw else {
        return McpPolicy::default();
    };
    if let Some(over) = raw.allowed_origins.get(ORIGINS_MAX) {
        ctx.error(over.at, format!("over {ORIGINS_MAX} origins"));
    }
    let body_peek = match &raw.body_peek {
        Some(size) if size.value.0 > PEEK_MAX => {
            ctx.error(size.at, "at most 1MiB of a body can be read ahead");
            PEEK_DEFAULT
        }
        Some(size) => size.value.0,
        None => PEEK_DEFAULT,
    };
    let allowed_origins = raw
        .allowed_origins
        .iter()
        .filter_map(|origin| origin_rule(origin, ctx))
        .collect();
    McpPolicy {
        allowed_origins,
        body_peek,
    }
}

fn origin_rule(raw: &Spanned<String>, ctx: &mut CompileContext<'_>) -> Option<OriginRule> {
    if raw.value == "*" {
        return Some(OriginRule::Any);
    }
    let text = raw.value.as_str();
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let plain = |rest: &str| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:[]".contains(&b))
    };
    match (
        rest,
        text.strip_suffix(":*"),
        rest.and_then(|r| r.strip_suffix(":*")),
    ) {
        (_, Some(origin), Some(host)) if plain(host) => {
            Some(OriginRule::AnyPort(origin.to_owned()))
        }
        (Some(host), None, None) if plain(host) => Some(OriginRule::Exact(text.to_owned())),
        _ => {
            ctx.error_help(
                raw.at,
                format!("`{text}` is not an origin"),
                "write `https://host`, `https://host:port`, `http://localhost:*` or `*`, in lower case and without a path",
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_whole() {
        let policy = McpPolicy {
            allowed_origins: vec![
                OriginRule::Exact("https://app.example".to_owned()),
                OriginRule::AnyPort("http://localhost".to_owned()),
            ],
            ..McpPolicy::default()
        };
        for (origin, allowed) in [
            ("https://app.example", true),
            ("https://app.example.evil", false),
            ("https://app.example:8443", false),
            ("http://localhost", true),
            ("http://localhost:3000", true),
            ("http://localhost:", false),
            ("http://localhost:3000.evil", false),
            ("http://localhost.evil", false),
            ("null", false),
        ] {
            assert_eq!(policy.allows_origin(origin.as_bytes()), allowed, "{origin}");
        }
        assert!(!McpPolicy::default().allows_origin(b"https://app.example"));
    }
}
