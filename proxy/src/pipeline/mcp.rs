//! What an MCP request says about itself, from headers and from its body.
//!
//! Promises: a bounded look at one JSON-RPC message, with the id kept as it
//! was written; where headers and body are both there they are compared, as
//! the protocol asks of whoever reads the body (2026-07-28, "Server
//! Validation"). Refuses: batches (removed from the protocol) as a basis for
//! decisions.

use std::borrow::Cow;

use meridian_policies::{Era, HeaderBody, McpFacts, RejectReason};
use meridian_wire::{Known, RequestHead};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::refuse::Refusal;

/// First protocol version without sessions.
const MODERN: &[u8] = b"2026-07-28";
/// JSON-RPC code for headers that contradict the body.
pub const HEADER_MISMATCH: i32 = -32_020;

/// One JSON-RPC message, as far as the edge looks.
#[derive(Deserialize)]
pub struct Message<'a> {
    /// As written: a number or a string.
    #[serde(borrow, default)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    uri: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "taskId")]
    task: Option<Cow<'a, str>>,
}

/// What was found out.
pub enum Read<'a> {
    /// One message.
    Message(Message<'a>),
    /// Not (yet) one message: too long, not JSON, a batch.
    Unread,
}

impl<'a> Read<'a> {
    /// The JSON-RPC id of a request; none for a notification.
    pub fn id(&self) -> Option<&'a RawValue> {
        match self {
            Self::Message(message) => message.id,
            Self::Unread => None,
        }
    }
}

impl Mismatch {
    /// What the protocol answers (2026-07-28): 400 with a code of its own.
    pub fn refusal(self) -> Refusal {
        let detail = format!(
            "{} says something else than the message itself",
            self.header
        );
        let mut refusal = Refusal::new(RejectReason::Malformed, detail).by("header-mismatch");
        refusal.code = Some(HEADER_MISMATCH);
        refusal
    }
}

/// Reads a body that was held back whole; `None` for one that was not.
pub fn read(body: Option<&[u8]>) -> Read<'_> {
    // A batch begins with a bracket; serde would take it for the fields of one
    // message in order.
    body.filter(|body| body.trim_ascii_start().starts_with(b"{"))
        .and_then(|body| serde_json::from_slice(body).ok())
        .map_or(Read::Unread, Read::Message)
}

/// Headers that say something else than the body.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Mismatch {
    /// Which header.
    pub header: &'static str,
}

/// Facts of an MCP request. Header values that need decoding are compared by
/// the backend; the edge then relies on the body.
pub fn facts<'a>(head: &'a RequestHead, read: &'a Read<'a>) -> Result<McpFacts<'a>, Mismatch> {
    let version = head.first(Known::McpProtocolVersion);
    let era = if version.is_some_and(|version| version >= MODERN) {
        Era::Modern
    } else {
        Era::Legacy
    };
    let said = |known| {
        head.first(known)
            .and_then(|value| std::str::from_utf8(value).ok())
    };
    let (method, name) = (said(Known::McpMethod), said(Known::McpName));
    let session = head.first(Known::McpSessionId);
    let Read::Message(message) = read else {
        return Ok(McpFacts {
            era,
            method,
            tool: name,
            verified: HeaderBody::Unchecked,
            session,
        });
    };
    let written = message.method.as_deref();
    let called = message.params.as_ref().and_then(|params| {
        params
            .name
            .as_deref()
            .or(params.uri.as_deref())
            .or(params.task.as_deref())
    });
    differ("mcp-method", method, written)?;
    if !name.is_some_and(|name| name.starts_with("=?base64?")) {
        differ("mcp-name", name, called)?;
    }
    Ok(McpFacts {
        era,
        method: written,
        tool: called,
        verified: HeaderBody::Agree,
        session,
    })
}

fn differ(header: &'static str, said: Option<&str>, written: Option<&str>) -> Result<(), Mismatch> {
    match said {
        Some(said) if Some(said) != written => Err(Mismatch { header }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_wire::HeadLimits;
    use meridian_wire::h1::RequestParser;

    fn head(fields: &str) -> RequestHead {
        let text = format!("POST /mcp HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = RequestHead::new();
        let parsed = RequestParser::new().parse(text.as_bytes(), &HeadLimits::default(), &mut head);
        assert!(parsed.unwrap().is_some());
        head
    }

    const CALL: &[u8] =
        br#"{"jsonrpc":"2.0","id":"a\"b","method":"tools/call","params":{"name":"echo","x":[1]}}"#;

    #[test]
    fn a_legacy_call_speaks_through_its_body() {
        let head = head("MCP-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: s\r\n");
        let read = read(Some(CALL));
        let facts = facts(&head, &read).unwrap();
        assert_eq!(facts.era, Era::Legacy);
        assert_eq!(
            (facts.method, facts.tool),
            (Some("tools/call"), Some("echo"))
        );
        assert_eq!(facts.session, Some(&b"s"[..]));
    }

    #[test]
    fn the_id_is_kept_as_it_was_written() {
        let Read::Message(message) = read(Some(CALL)) else {
            panic!("one message")
        };
        assert_eq!(message.id.unwrap().get(), r#""a\"b""#);
    }

    #[test]
    fn headers_that_contradict_the_body_are_refused() {
        let fields = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: ";
        let read = read(Some(CALL));
        assert!(facts(&head(&format!("{fields}echo\r\n")), &read).is_ok());
        let mismatch = facts(&head(&format!("{fields}other\r\n")), &read).err();
        assert_eq!(mismatch, Some(Mismatch { header: "mcp-name" }));
    }

    #[test]
    fn what_is_not_one_message_leaves_the_headers_unchecked() {
        for body in [
            None,
            Some(&b"[]"[..]),
            Some(b"{"),
            Some(b"7"),
            Some(b"\xff"),
        ] {
            let read = read(body);
            let head = head("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\n");
            let facts = facts(&head, &read).unwrap();
            assert_eq!(facts.verified, HeaderBody::Unchecked);
            assert_eq!(facts.method, Some("tools/list"));
        }
    }

    #[test]
    fn deep_nesting_is_skipped_not_followed() {
        let deep = [
            b"{\"id\":7,\"params\":".to_vec(),
            b"{\"x\":".repeat(100_000),
            b"1".to_vec(),
            b"}".repeat(100_001),
        ]
        .concat();
        assert_eq!(read(Some(&deep)).id().map(RawValue::get), Some("7"));
    }
}
