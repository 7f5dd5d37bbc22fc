//! The data classes, compiled: `data_classification`.

use super::class::DataClass;
use super::compiled::{Encryption, Storage};
use super::obligations::{Obligation, Obligations};
use super::raw::{RawClassRule, RawClassification, RawTier};
use crate::compile::CompileContext;
use crate::yaml::Spanned;

/// One data class.
#[derive(Clone, Debug)]
pub(super) struct Tier {
    pub(super) description: Option<String>,
    pub(super) storage: Storage,
    pub(super) encryption: Encryption,
    pub(super) retention: Option<String>,
    pub(super) cross_border: RawClassRule,
}

impl Tier {
    pub(super) fn obligations(&self) -> Obligations {
        let encryption = match self.encryption {
            Encryption::Always | Encryption::InTransitAtRest => Obligations::NONE
                .with(Obligation::EncryptionInTransit)
                .with(Obligation::EncryptionAtRest),
            Encryption::InTransit => Obligations::NONE.with(Obligation::EncryptionInTransit),
        };
        match self.storage {
            Storage::RegionSpecific => encryption.with(Obligation::NoReplication),
            Storage::SuperRegion => encryption.with(Obligation::LimitedReplication),
            Storage::Global | Storage::GlobalCdn => encryption,
        }
    }

    /// The seed's tier.
    fn of_seed(class: DataClass) -> Self {
        let (storage, encryption, retention, cross_border) = match class {
            DataClass::Tier1Pii => (
                Storage::RegionSpecific,
                Encryption::Always,
                "policy_based",
                RawClassRule::Prohibited,
            ),
            DataClass::Tier2Personal => (
                Storage::SuperRegion,
                Encryption::Always,
                "user_controlled",
                RawClassRule::WithConsent,
            ),
            DataClass::Tier3Operational => (
                Storage::Global,
                Encryption::InTransitAtRest,
                "90_days",
                RawClassRule::Allowed,
            ),
            DataClass::Tier4Public => (
                Storage::GlobalCdn,
                Encryption::InTransit,
                "indefinite",
                RawClassRule::Allowed,
            ),
        };
        Self {
            description: None,
            storage,
            encryption,
            retention: Some(retention.to_owned()),
            cross_border,
        }
    }
}

/// Tiers that are not written are the seed's.
pub(super) fn tiers(
    raw: Option<Spanned<RawClassification>>,
    ctx: &mut CompileContext<'_>,
) -> [Tier; 4] {
    let raw = raw.map(|raw| raw.value);
    DataClass::ALL.map(|class| {
        let written = raw.as_ref().and_then(|raw| match class {
            DataClass::Tier1Pii => raw.pii.as_ref(),
            DataClass::Tier2Personal => raw.personal.as_ref(),
            DataClass::Tier3Operational => raw.operational.as_ref(),
            DataClass::Tier4Public => raw.public.as_ref(),
        });
        written.map_or_else(|| Tier::of_seed(class), |tier| self::tier(tier, ctx))
    })
}

fn tier(raw: &Spanned<RawTier>, ctx: &mut CompileContext<'_>) -> Tier {
    if raw.storage.value == Storage::RegionSpecific && raw.cross_border != RawClassRule::Prohibited
    {
        ctx.error_help(
            raw.storage.at,
            "`storage: region_specific` and a way across the border contradict each other",
            "say `cross_border: prohibited`, or widen `storage`",
        );
    }
    if let Some(retention) = &raw.retention {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if !(1..=64).contains(&retention.value.len()) || !retention.value.bytes().all(word) {
            ctx.error(retention.at, "`retention` is one word, such as `90_days`");
        }
    }
    Tier {
        description: raw.description.clone(),
        storage: raw.storage.value,
        encryption: raw.encryption,
        retention: raw
            .retention
            .as_ref()
            .map(|retention| retention.value.clone()),
        cross_border: raw.cross_border,
    }
}
