//! Laws, compiled: country to jurisdiction, jurisdiction and class to sets of
//! regions.

use std::sync::Arc;

use meridian_geo::Country;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::class::DataClass;
use super::countries::Entry;
use super::obligations::{Obligation, Obligations};
use super::raw::{RawClassRule, RawClassification, RawJurisdiction, RawResidencySet, RawTier};
use super::set::RegionSet;
use crate::JurisdictionIndex;
use crate::compile::CompileContext;
use crate::regions::CompiledRegions;
use crate::yaml::{OnOff, Spanned};

/// Most jurisdictions: as many as countries and some.
const JURISDICTIONS_MAX: usize = 512;

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
    pub(super) cells: [Cell; 4],
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

/// One data class.
#[derive(Clone, Debug)]
struct Tier {
    description: Option<String>,
    storage: Storage,
    encryption: Encryption,
    retention: Option<String>,
    cross_border: RawClassRule,
}

/// The gate's table.
#[derive(Debug)]
pub(crate) struct CompiledResidency {
    pub(super) jurisdictions: Vec<Arc<Jurisdiction>>,
    /// By country, in the order of codes.
    by_country: Vec<(Country, JurisdictionIndex)>,
    pub(super) unknown: JurisdictionIndex,
    tiers: [Tier; 4],
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

    pub(super) fn retention(&self, class: DataClass) -> Option<&str> {
        self.tier(class).retention.as_deref()
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
        "classes": cells,
    })
}

pub(crate) fn compile(
    raw: RawResidencySet,
    regions: &CompiledRegions,
    ctx: &mut CompileContext<'_>,
) -> CompiledResidency {
    let switch = match raw.residency.map(|switch| switch.value) {
        Some(OnOff::Off) => Switch::Off,
        Some(OnOff::On) | None => Switch::On,
    };
    let tiers = tiers(raw.data_classification, ctx);
    let every_region = RegionSet::first(regions.all.len());
    let mut out = CompiledResidency {
        jurisdictions: Vec::new(),
        by_country: Vec::new(),
        unknown: JurisdictionIndex(0),
        tiers,
        switch,
        every_region,
    };
    let Some(laws) = raw.jurisdictions else {
        if switch == Switch::On {
            let at = raw.residency.map(|switch| switch.at).unwrap_or_default();
            ctx.error_help(
                at,
                "no `jurisdictions`: nothing says where data may go",
                "add them, or say `residency: off` if no law is to be kept here",
            );
        }
        return out;
    };
    if switch == Switch::Off {
        ctx.warn(
            laws.at,
            "`residency: off`: these jurisdictions are not enforced",
        );
    }
    if let Some(over) = laws.value.get(JURISDICTIONS_MAX) {
        ctx.error(over.at, format!("over {JURISDICTIONS_MAX} jurisdictions"));
    }
    let known = raw
        .known_regions
        .map(|known| known.value)
        .unwrap_or_default();
    let with = Laws {
        regions,
        known: &known,
        tiers: &out.tiers,
        every_region,
    };
    for law in laws.value.iter().take(JURISDICTIONS_MAX) {
        let law = with.law(law, ctx);
        out.jurisdictions.push(Arc::new(law));
    }
    out.assign(&laws, ctx);
    if let Some(unknown) = raw.unknown_location {
        out.place_unknown(&unknown.value, ctx);
    }
    out
}

/// How closely an entry names a country: a code beats the Union, the Union
/// beats the Economic Area. What is left is the rest of the world.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd)]
enum Closeness {
    Rest,
    Area,
    Union,
    Code,
}

impl CompiledResidency {
    /// Gives every country its law.
    fn assign(
        &mut self,
        laws: &Spanned<Vec<Spanned<RawJurisdiction>>>,
        ctx: &mut CompileContext<'_>,
    ) {
        let mut best: Vec<(Country, Option<(Closeness, JurisdictionIndex)>)> =
            Country::all().map(|country| (country, None)).collect();
        let mut rest: Option<JurisdictionIndex> = None;
        let mut ids = std::collections::BTreeSet::new();
        for (index, law) in (0_u16..).zip(&laws.value) {
            let index = JurisdictionIndex(index);
            if !ids.insert(law.id.value.as_str()) {
                ctx.error(
                    law.id.at,
                    format!("two jurisdictions are called `{}`", law.id.value),
                );
            }
            for name in &law.countries.value {
                let Some((closeness, members)) = members(name, ctx) else {
                    continue;
                };
                if closeness == Closeness::Rest {
                    if rest.replace(index).is_some() {
                        ctx.error(
                            name.at,
                            "two jurisdictions are for the rest of the world (`*`)",
                        );
                    }
                    continue;
                }
                for (country, law_of) in &mut best {
                    if !members.contains(country) {
                        continue;
                    }
                    match law_of {
                        Some((other, by)) if *other == closeness && *by != index => ctx.error(
                            name.at,
                            format!(
                                "`{country}` is already in the jurisdiction `{}`",
                                law_id(laws, *by)
                            ),
                        ),
                        Some((other, _)) if *other >= closeness => {}
                        Some(_) | None => *law_of = Some((closeness, index)),
                    }
                }
            }
        }
        match rest {
            Some(rest) => self.unknown = rest,
            None => ctx.error_help(
                laws.at,
                "no jurisdiction for the rest of the world",
                "add one with `countries: [\"*\"]`: countries that no other names, and clients whose place is not known",
            ),
        }
        let rest = self.unknown;
        self.by_country = best
            .into_iter()
            .map(|(c, law)| (c, law.map_or(rest, |(_, law)| law)))
            .collect();
    }

    fn place_unknown(&mut self, name: &Spanned<String>, ctx: &mut CompileContext<'_>) {
        let found = (0_u16..)
            .zip(&self.jurisdictions)
            .find(|(_, law)| law.id == name.value);
        match found {
            Some((index, _)) => self.unknown = JurisdictionIndex(index),
            None => ctx.unknown(
                name.at,
                ("jurisdiction", &name.value),
                self.jurisdictions.iter().map(|law| law.id.as_str()),
            ),
        }
    }
}

fn law_id(laws: &Spanned<Vec<Spanned<RawJurisdiction>>>, index: JurisdictionIndex) -> &str {
    laws.value
        .get(usize::from(index.0))
        .map_or("", |law| law.id.value.as_str())
}

fn members(
    name: &Spanned<String>,
    ctx: &mut CompileContext<'_>,
) -> Option<(Closeness, Vec<Country>)> {
    match Entry::parse(&name.value) {
        Some(Entry::One(country)) => Some((Closeness::Code, vec![country])),
        Some(Entry::Many(group)) => {
            let closeness = match group {
                meridian_geo::Group::Eu => Closeness::Union,
                meridian_geo::Group::Eea => Closeness::Area,
            };
            Some((closeness, group.members().collect()))
        }
        Some(Entry::Everywhere) => Some((Closeness::Rest, Country::all().collect())),
        Some(Entry::Unknown) => {
            ctx.error_help(
                name.at,
                "a jurisdiction cannot list `unknown`",
                "name it in `unknown_location`",
            );
            None
        }
        None => {
            crate::geo::not_a_country(&name.value, name.at, ctx);
            None
        }
    }
}

/// What laws are compiled with.
struct Laws<'a> {
    regions: &'a CompiledRegions,
    known: &'a [Spanned<String>],
    tiers: &'a [Tier; 4],
    every_region: RegionSet,
}

impl Laws<'_> {
    fn law(&self, raw: &RawJurisdiction, ctx: &mut CompileContext<'_>) -> Jurisdiction {
        let own = self.named(&raw.own_regions, ctx);
        let reach = match &raw.allowed_regions {
            Some(names) => self.named(&names.value, ctx).without(&own),
            None => self.every_region.without(&own),
        };
        contradictions(raw, ctx);
        let protects = raw.protects.unwrap_or(DataClass::Tier2Personal);
        let obligations: Obligations = raw.obligations.iter().copied().collect();
        let cell = |class: DataClass| {
            let law = Law {
                reach,
                rule: raw.cross_border.value,
                obligations,
            };
            self.cell(class, (class >= protects).then_some(law), own)
        };
        Jurisdiction {
            id: raw.id.value.clone(),
            regulation: raw.regulation.as_ref().map(|name| name.value.clone()),
            cross_border: raw.cross_border.value,
            protects,
            own_names: raw
                .own_regions
                .iter()
                .map(|name| name.value.clone())
                .collect(),
            cells: DataClass::ALL.map(cell),
        }
    }

    /// Configured regions of these names. A name that is neither configured
    /// nor listed as known is a slip of the pen.
    fn named(&self, names: &[Spanned<String>], ctx: &mut CompileContext<'_>) -> RegionSet {
        let mut set = RegionSet::EMPTY;
        for name in names {
            match self.regions.index_of(&name.value) {
                Some(region) => set.insert(region),
                None if self.known.iter().any(|known| known.value == name.value) => {}
                None => {
                    let known = self.known.iter().map(|known| known.value.as_str());
                    ctx.unknown(
                        name.at,
                        ("region", &name.value),
                        self.regions.ids().chain(known),
                    );
                }
            }
        }
        set
    }

    fn cell(&self, class: DataClass, law: Option<Law>, own: RegionSet) -> Cell {
        let [tier4, tier3, tier2, tier1] = self.tiers;
        let tier = match class {
            DataClass::Tier4Public => tier4,
            DataClass::Tier3Operational => tier3,
            DataClass::Tier2Personal => tier2,
            DataClass::Tier1Pii => tier1,
        };
        let law = law.unwrap_or(Law {
            reach: self.every_region.without(&own),
            rule: CrossBorder::Allowed,
            obligations: Obligations::NONE,
        });
        let mut cell = Cell {
            own,
            always: law.obligations.and(tier.obligations()),
            ..Cell::default()
        };
        match (tier.cross_border, law.rule) {
            (RawClassRule::Prohibited, _) | (_, CrossBorder::Prohibited) => {}
            (RawClassRule::Allowed, CrossBorder::Allowed) | (_, CrossBorder::WithAdequacy) => {
                cell.free = law.reach;
            }
            (RawClassRule::WithConsent, CrossBorder::Allowed) => {
                let near = self.neighbours(&own, tier.storage);
                cell.free = law.reach.and(&near);
                cell.consent = law.reach.without(&near);
            }
            (_, CrossBorder::WithConsent) => cell.consent = law.reach,
            (_, CrossBorder::WithSafeguards) => {
                cell.burdened = law.reach;
                cell.burden = Obligations::NONE.with(Obligation::Safeguards);
            }
            (_, CrossBorder::RequiresLocalCopy) => {
                cell.burdened = law.reach;
                cell.burden = Obligations::NONE.with(Obligation::LocalCopy);
            }
        }
        cell
    }

    /// Regions that share a super-region with the jurisdiction's own, where
    /// the class may be stored there.
    fn neighbours(&self, own: &RegionSet, storage: Storage) -> RegionSet {
        match storage {
            Storage::RegionSpecific => RegionSet::EMPTY,
            Storage::Global | Storage::GlobalCdn => self.every_region,
            Storage::SuperRegion => {
                let super_region = |region: crate::RegionIndex| {
                    self.regions
                        .all
                        .get(region.index())
                        .and_then(|r| r.super_region.as_deref())
                };
                let homes: Vec<&str> = own.iter().filter_map(super_region).collect();
                self.every_region
                    .iter()
                    .filter(|region| super_region(*region).is_some_and(|s| homes.contains(&s)))
                    .collect()
            }
        }
    }
}

fn contradictions(raw: &RawJurisdiction, ctx: &mut CompileContext<'_>) {
    match (raw.cross_border.value, &raw.allowed_regions) {
        (CrossBorder::WithAdequacy, None) => ctx.error_help(
            raw.cross_border.at,
            "adequacy of what?",
            "list the regions in `allowed_regions`",
        ),
        (CrossBorder::Prohibited, Some(names)) if !names.value.is_empty() => ctx.error(
            names.at,
            "`allowed_regions` of a jurisdiction that lets nothing out",
        ),
        (
            CrossBorder::Prohibited
            | CrossBorder::WithAdequacy
            | CrossBorder::WithConsent
            | CrossBorder::WithSafeguards
            | CrossBorder::RequiresLocalCopy
            | CrossBorder::Allowed,
            _,
        ) => {}
    }
    if raw.countries.value.is_empty() {
        ctx.error(raw.countries.at, "a jurisdiction of no country");
    }
    let word = |b: u8| b.is_ascii_alphanumeric() || b" ,.-_".contains(&b);
    let sane = |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(word);
    for name in [Some(&raw.id), raw.regulation.as_ref()]
        .into_iter()
        .flatten()
    {
        if !sane(&name.value) {
            ctx.error(
                name.at,
                "a name is 1 to 64 letters, digits, spaces and `,.-_`",
            );
        }
    }
}

/// The part of a law that a class comes under.
#[derive(Copy, Clone)]
struct Law {
    reach: RegionSet,
    rule: CrossBorder,
    obligations: Obligations,
}

impl Tier {
    fn obligations(&self) -> Obligations {
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
fn tiers(raw: Option<Spanned<RawClassification>>, ctx: &mut CompileContext<'_>) -> [Tier; 4] {
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
