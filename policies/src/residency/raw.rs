//! serde mirror of `jurisdictions`, `data_classification`, `unknown_location`,
//! `known_regions`, `residency` and `classify`.

use serde::Deserialize;

use super::class::DataClass;
use super::compiled::{CrossBorder, Encryption, Storage};
use super::obligations::Obligation;
use super::vouched::Claim;
use crate::yaml::{OnOff, Pairs, Spanned};

pub(crate) type RawJurisdictions = Vec<Spanned<RawJurisdiction>>;
pub(crate) type RawUnknownLocation = Spanned<String>;
pub(crate) type RawKnownRegions = Vec<Spanned<String>>;
pub(crate) type RawSwitch = OnOff;

/// The keys of this family, as they come out of the merge.
pub(crate) struct RawResidencySet {
    pub(crate) jurisdictions: Option<Spanned<RawJurisdictions>>,
    pub(crate) data_classification: Option<Spanned<RawClassification>>,
    pub(crate) unknown_location: Option<Spanned<RawUnknownLocation>>,
    pub(crate) known_regions: Option<Spanned<RawKnownRegions>>,
    pub(crate) residency: Option<Spanned<RawSwitch>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawJurisdiction {
    pub(super) id: Spanned<String>,
    pub(super) countries: Spanned<Vec<Spanned<String>>>,
    pub(super) regulation: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) own_regions: Vec<Spanned<String>>,
    pub(super) cross_border: Spanned<CrossBorder>,
    pub(super) allowed_regions: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) protects: Option<DataClass>,
    #[serde(default)]
    pub(super) obligations: Vec<Obligation>,
    #[serde(default)]
    pub(super) rights: Vec<Spanned<String>>,
    pub(super) audit_frequency: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawClassification {
    #[serde(rename = "tier_1_pii")]
    pub(super) pii: Option<Spanned<RawTier>>,
    #[serde(rename = "tier_2_personal")]
    pub(super) personal: Option<Spanned<RawTier>>,
    #[serde(rename = "tier_3_operational")]
    pub(super) operational: Option<Spanned<RawTier>>,
    #[serde(rename = "tier_4_public")]
    pub(super) public: Option<Spanned<RawTier>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTier {
    pub(super) description: Option<String>,
    pub(super) storage: Spanned<Storage>,
    pub(super) encryption: Encryption,
    pub(super) retention: Option<Spanned<String>>,
    pub(super) cross_border: RawClassRule,
}

/// What a class says of borders.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawClassRule {
    Prohibited,
    WithConsent,
    Allowed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawClassify {
    pub(super) default: Option<DataClass>,
    #[serde(default)]
    pub(super) methods: Pairs<String, DataClass>,
    pub(super) mcp: Option<RawMcpClasses>,
    #[serde(default)]
    pub(super) from_trusted_hops: Vec<Claim>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMcpClasses {
    #[serde(default)]
    pub(super) methods: Pairs<String, DataClass>,
    #[serde(default)]
    pub(super) tools: Pairs<String, DataClass>,
}
