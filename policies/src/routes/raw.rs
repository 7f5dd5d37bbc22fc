//! serde mirror of `routes`.

use serde::Deserialize;

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
    pub(super) websocket: Option<OnOff>,
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
