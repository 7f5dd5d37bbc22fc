//! The four tiers of data.

use serde::{Deserialize, Serialize};

/// How sensitive data is; the seed's four tiers. Ordered by strictness: the
/// strictest is the greatest.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum DataClass {
    /// Product catalogue, documentation.
    #[serde(rename = "tier_4_public")]
    Tier4Public,
    /// Logs, metrics, session ids: about no person.
    #[serde(rename = "tier_3_operational")]
    Tier3Operational,
    /// Name, address, telephone number.
    #[serde(rename = "tier_2_personal")]
    Tier2Personal,
    /// Identity documents, finance, health.
    #[serde(rename = "tier_1_pii")]
    Tier1Pii,
}

impl DataClass {
    /// All four, from the laxest.
    pub const ALL: [Self; 4] = [
        Self::Tier4Public,
        Self::Tier3Operational,
        Self::Tier2Personal,
        Self::Tier1Pii,
    ];

    /// The seed's name, e.g. `tier_1_pii`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tier1Pii => "tier_1_pii",
            Self::Tier2Personal => "tier_2_personal",
            Self::Tier3Operational => "tier_3_operational",
            Self::Tier4Public => "tier_4_public",
        }
    }

    /// Reads what [`DataClass::as_str`] writes, nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == text)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl std::fmt::Display for DataClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
