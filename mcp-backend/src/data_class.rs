//! Classes of data. Promises that a class is one of four and that they are
//! ordered by strictness. Refuses any other word.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How sensitive a record is, strictest first. `Ord` follows strictness:
/// `Tier1Pii` is the smallest, so `min` picks the stricter of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DataClass {
    /// Identifying data: passport, health, financial.
    #[serde(rename = "tier_1_pii")]
    Tier1Pii,
    /// Personal data that identifies nobody alone.
    #[serde(rename = "tier_2_personal")]
    Tier2Personal,
    /// Data of operation: logs, metrics, configuration.
    #[serde(rename = "tier_3_operational")]
    Tier3Operational,
    /// What anyone may read.
    #[serde(rename = "tier_4_public")]
    Tier4Public,
}

impl DataClass {
    /// All four, strictest first.
    pub const ALL: [Self; 4] = [
        Self::Tier1Pii,
        Self::Tier2Personal,
        Self::Tier3Operational,
        Self::Tier4Public,
    ];

    /// The word that policy files, headers and tools use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tier1Pii => "tier_1_pii",
            Self::Tier2Personal => "tier_2_personal",
            Self::Tier3Operational => "tier_3_operational",
            Self::Tier4Public => "tier_4_public",
        }
    }

    /// Whether data of this class may be handled by a request that was
    /// admitted as `admitted`: never data stricter than the admission.
    pub fn fits(self, admitted: Self) -> bool {
        self >= admitted
    }
}

/// A plain string with its four values: what a parameter that is mirrored
/// into a header has to be.
impl JsonSchema for DataClass {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("DataClass")
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::ALL.map(Self::as_str) })
    }
}

impl fmt::Display for DataClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is not a data class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown data class: expected tier_1_pii, tier_2_personal, tier_3_operational or tier_4_public"
)]
pub struct UnknownDataClass;

impl FromStr for DataClass {
    type Err = UnknownDataClass;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == text)
            .ok_or(UnknownDataClass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_reads_back_and_is_spelled_the_same_in_json() {
        for class in DataClass::ALL {
            assert_eq!(class.as_str().parse(), Ok(class));
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
        }
        assert_eq!("TIER_1_PII".parse::<DataClass>(), Err(UnknownDataClass));
    }

    #[test]
    fn a_request_never_handles_data_stricter_than_its_admission() {
        assert!(!DataClass::Tier1Pii.fits(DataClass::Tier2Personal));
        assert!(DataClass::Tier2Personal.fits(DataClass::Tier2Personal));
        assert!(DataClass::Tier4Public.fits(DataClass::Tier1Pii));
    }
}
