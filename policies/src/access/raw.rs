//! serde mirror of `access`.

use serde::Deserialize;

use crate::identity::RawTokenRule;
use crate::nets::RawNet;
use crate::yaml::{Pairs, Spanned};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAccess {
    pub(super) default: Option<RawVerdict>,
    #[serde(default)]
    pub(super) connections: Vec<Spanned<RawConnectionRule>>,
    #[serde(default)]
    pub(super) requests: Vec<Spanned<RawRequestRule>>,
}

#[derive(Copy, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawVerdict {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawConnectionRule {
    Allow(RawAddresses),
    Deny(RawAddresses),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAddresses {
    pub(super) id: Spanned<String>,
    pub(super) addresses: Vec<RawNet>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawRequestRule {
    Allow(RawConditions),
    Deny(RawConditions),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConditions {
    pub(super) id: Spanned<String>,
    pub(super) addresses: Option<Vec<RawNet>>,
    pub(super) countries: Option<Vec<Spanned<String>>>,
    pub(super) methods: Option<Vec<Spanned<String>>>,
    pub(super) hosts: Option<Vec<Spanned<String>>>,
    pub(super) paths: Option<Vec<Spanned<String>>>,
    pub(super) headers: Option<Pairs<String, Spanned<String>>>,
    pub(super) client_certificate: Option<Vec<Spanned<String>>>,
    pub(super) token: Option<Spanned<RawTokenRule>>,
}
