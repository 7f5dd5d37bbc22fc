//! serde mirror of `routes`.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::identity::Need;
use crate::residency::DataClass;
use crate::yaml::{ByteSize, OnOff, Span, Spanned};

pub(crate) type RawRoutes = Vec<Spanned<RawRoute>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRoute {
    pub(super) id: Spanned<String>,
    pub(super) path: Spanned<String>,
    pub(super) hosts: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) methods: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) action: Option<Spanned<RawAction>>,
    pub(super) data_class: Option<DataClass>,
    pub(super) mcp: Option<OnOff>,
    pub(super) body_limit: Option<ByteSize>,
    pub(super) timeouts: Option<RawTimeouts>,
    pub(super) regions: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) waf: Option<OnOff>,
    pub(super) limits: Option<OnOff>,
    pub(super) websocket: Option<RawWebSocket>,
    pub(super) authentication: Option<Spanned<Need>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawAction {
    Forward,
    Health,
    Respond(RawRespond),
    Deny(RawDeny),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRespond {
    pub(super) status: Spanned<u16>,
    pub(super) body: Option<Spanned<String>>,
    pub(super) content_type: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDeny {
    pub(super) status: Option<Spanned<u16>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTimeouts {
    pub(super) first_byte: Option<Spanned<Span>>,
    pub(super) total: Option<Spanned<Span>>,
    pub(super) idle: Option<Spanned<Span>>,
}

/// `websocket`: `on`, `off`, or the bounds of one that is on.
pub(super) enum RawWebSocket {
    Off,
    On(RawWebSocketBounds),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWebSocketBounds {
    pub(super) idle: Option<Spanned<Span>>,
    pub(super) max_lifetime: Option<Spanned<Span>>,
}

impl<'de> Deserialize<'de> for RawWebSocket {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WebSocketVisitor)
    }
}

struct WebSocketVisitor;

impl<'de> Visitor<'de> for WebSocketVisitor {
    type Value = RawWebSocket;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`on`, `off`, or a mapping with `idle` and `max_lifetime`")
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<RawWebSocket, E> {
        self.visit_str(if on { "on" } else { "off" })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawWebSocket, E> {
        match text {
            "on" => Ok(RawWebSocket::On(RawWebSocketBounds::default())),
            "off" => Ok(RawWebSocket::Off),
            _ => Err(E::custom("expected `on`, `off` or a mapping")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawWebSocket, A::Error> {
        let bounds = RawWebSocketBounds::deserialize(MapAccessDeserializer::new(map))?;
        Ok(RawWebSocket::On(bounds))
    }
}
