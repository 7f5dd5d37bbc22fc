//! Laws, compiled: country to jurisdiction, jurisdiction and class to sets of
//! regions.

use std::sync::Arc;

use meridian_geo::Country;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::class::DataClass;
use super::obligations::{Obligation, Obligations};
use super::set::RegionSet;
use super::tiers::Tier;
use crate::JurisdictionIndex;
use crate::regions::CompiledRegions;

/// When data may leave a jurisdiction; the seed's rules.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrossBorder {
    /// Never.
    Prohibited,
    /// To the listed regions, whose law was found adequate.
    WithAdequacy,
    /// With the person's consent.
    WithConsent,
    /// With contract clauses or the like: an obligation.
    WithSafeguards,
    /// With a copy kept at home: an obligation.
    RequiresLocalCopy,
    /// Freely, as far as the data class goes.
    Allowed,
}

/// How far copies of a class may lie apart.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// In one region.
    RegionSpecific,
    /// In one super-region.
    SuperRegion,
    /// Anywhere.
    Global,
    /// Anywhere, caches included.
    GlobalCdn,
}

/// How a class is encrypted.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// In transit and at rest, without exception.
    Always,
    /// In transit and at rest.
    InTransitAtRest,
    /// In transit.
    InTransit,
}

/// One law and where it holds.
#[derive(Clone, Debug)]
pub struct Jurisdiction {
    /// Its id, e.g. `eu`.
    pub id: String,
    /// What the law is called, e.g. `GDPR`.
    pub regulation: Option<String>,
    /// When data may leave it.
    pub cross_border: CrossBorder,
    /// The laxest class that the law speaks of; it speaks of all stricter
    /// ones too.
    pub protects: DataClass,
    /// Its own regions by name, configured or not.
    pub own_names: Vec<String>,
    /// What people may ask for, e.g. `erasure`; for explanations.
    pub rights: Vec<String>,
    /// How often compliance is audited, e.g. `quarterly`; for explanations
    /// and reports.
    pub audit_frequency: Option<String>,
    pub(super) cells: [Cell; 4],
    pub(super) duties: [Duties; 4],
}

/// What goes to the backend along with one class, written beforehand: of the
/// regions without a burden, and of those with one.
#[derive(Clone, Debug)]
pub(super) struct Duties {
    /// As in [`Tier`].
    retention: Option<String>,
    light: (Obligations, Box<[u8]>),
    heavy: (Obligations, Box<[u8]>),
}

impl Duties {
    /// `id` is the jurisdiction's.
    pub(super) fn new(id: &str, cell: &Cell, retention: Option<&str>) -> Self {
        let written = |obligations: Obligations| {
            let mut text = Vec::new();
            write(id, (obligations, retention), &mut text);
            (obligations, text.into_boxed_slice())
        };
        Self {
            retention: retention.map(str::to_owned),
            light: written(cell.always),
            heavy: written(cell.always.and(cell.burden)),
        }
    }
}

/// Names were checked for quotes when they were compiled.
fn write(id: &str, (obligations, retention): (Obligations, Option<&str>), out: &mut Vec<u8>) {
    let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
    put("jurisdiction=\"");
    put(id);
    put("\"");
    for obligation in obligations.iter() {
        put(", ");
        put(obligation.as_str());
    }
    if let Some(retention) = retention {
        put(", retention=\"");
        put(retention);
        put("\"");
    }
}

impl Jurisdiction {
    /// Appends the value of `x-residency-obligations`. A text that was written
    /// beforehand, unless the request fulfils some of it already.
    #[inline]
    pub(super) fn write_duties(
        &self,
        class: DataClass,
        obligations: Obligations,
        out: &mut Vec<u8>,
    ) {
        let Some(duties) = self.duties.get(class.index()) else {
            return;
        };
        if obligations == duties.light.0 {
            out.extend_from_slice(&duties.light.1);
        } else if obligations == duties.heavy.0 {
            out.extend_from_slice(&duties.heavy.1);
        } else {
            write(&self.id, (obligations, duties.retention.as_deref()), out);
        }
    }
}

/// What one law says of one class.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Cell {
    /// The jurisdiction's own regions.
    pub(super) own: RegionSet,
    /// Others, without a condition.
    pub(super) free: RegionSet,
    /// Others, given consent.
    pub(super) consent: RegionSet,
    /// Others, with `burden`.
    pub(super) burdened: RegionSet,
    pub(super) burden: Obligations,
    /// Whatever the region.
    pub(super) always: Obligations,
}

/// The gate's table.
#[derive(Debug)]
pub(crate) struct CompiledResidency {
    pub(super) jurisdictions: Vec<Arc<Jurisdiction>>,
    /// By country, in the order of codes.
    pub(super) by_country: Vec<(Country, JurisdictionIndex)>,
    pub(super) unknown: JurisdictionIndex,
    pub(super) tiers: [Tier; 4],
    pub(super) switch: Switch,
    pub(super) every_region: RegionSet,
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Switch {
    On,
    /// The file says `residency: off`.
    Off,
}

impl CompiledResidency {
    pub(crate) fn jurisdiction(&self, index: JurisdictionIndex) -> Option<&Arc<Jurisdiction>> {
        self.jurisdictions.get(usize::from(index.0))
    }

    /// The law that holds for a client; unknown places have one too.
    #[inline]
    pub(super) fn of(&self, country: Option<Country>) -> JurisdictionIndex {
        let Some(country) = country else {
            return self.unknown;
        };
        let found = self
            .by_country
            .binary_search_by_key(&country, |(country, _)| *country);
        found
            .ok()
            .and_then(|i| self.by_country.get(i))
            .map_or(self.unknown, |(_, law)| *law)
    }

    #[expect(clippy::indexing_slicing, reason = "four classes, four tiers")]
    fn tier(&self, class: DataClass) -> &Tier {
        &self.tiers[class.index()]
    }

    pub(crate) fn to_json(&self, regions: &CompiledRegions) -> Value {
        let switch = match self.switch {
            Switch::On => "on",
            Switch::Off => "off",
        };
        let laws = self.jurisdictions.iter().enumerate().map(|(index, law)| {
            let countries: Vec<&str> = self
                .by_country
                .iter()
                .filter(|(_, of)| usize::from(of.0) == index)
                .map(|(country, _)| country.as_str())
                .collect();
            let rest = usize::from(self.unknown.0) == index;
            law_json(law, (countries, rest), regions)
        });
        json!({
            "switch": switch,
            "unknown_location": self.jurisdiction(self.unknown).map(|law| law.id.as_str()),
            "jurisdictions": laws.collect::<Vec<_>>(),
            "data_classification": DataClass::ALL.into_iter().map(|class| {
                let tier = self.tier(class);
                (class.as_str().to_owned(), json!({
                    "description": tier.description,
                    "storage": tier.storage,
                    "encryption": tier.encryption,
                    "retention": tier.retention,
                    "cross_border": tier.cross_border,
                }))
            }).collect::<serde_json::Map<_, _>>(),
        })
    }
}

fn law_json(
    law: &Jurisdiction,
    (countries, unknown): (Vec<&str>, bool),
    regions: &CompiledRegions,
) -> Value {
    let cells: serde_json::Map<String, Value> = DataClass::ALL
        .into_iter()
        .zip(&law.cells)
        .map(|(class, cell)| {
            let names = |set: &RegionSet| set.names(regions);
            (class.as_str().to_owned(), json!({
                "own": names(&cell.own),
                "allowed": names(&cell.free),
                "with_consent": names(&cell.consent),
                "with_obligation": names(&cell.burdened),
                "cross_border_obligations": cell.burden.iter().map(Obligation::as_str).collect::<Vec<_>>(),
                "obligations": cell.always.iter().map(Obligation::as_str).collect::<Vec<_>>(),
            }))
        })
        .collect();
    let shown = if countries.len() > 100 {
        vec!["*"]
    } else {
        countries
    };
    json!({
        "id": law.id,
        "regulation": law.regulation,
        "countries": shown,
        "unknown_location": unknown,
        "cross_border": law.cross_border,
        "protects": law.protects,
        "rights": law.rights,
        "audit_frequency": law.audit_frequency,
        "classes": cells,
    })
}
