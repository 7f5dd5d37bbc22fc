//! One law and each class: the sets of regions that both allow.

use super::class::DataClass;
use super::compiled::{Cell, CrossBorder, Duties, Jurisdiction, Storage};
use super::obligations::{Obligation, Obligations};
use super::raw::{RawClassRule, RawJurisdiction};
use super::set::RegionSet;
use super::tiers::Tier;
use crate::compile::CompileContext;
use crate::regions::CompiledRegions;
use crate::yaml::Spanned;

/// Most rights of one law.
const RIGHTS_MAX: usize = 32;

/// What laws are compiled with.
pub(super) struct Laws<'a> {
    pub(super) regions: &'a CompiledRegions,
    pub(super) known: &'a [Spanned<String>],
    pub(super) tiers: &'a [Tier; 4],
    pub(super) every_region: RegionSet,
}

impl Laws<'_> {
    pub(super) fn law(&self, raw: &RawJurisdiction, ctx: &mut CompileContext<'_>) -> Jurisdiction {
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
        let duties = |class: DataClass| {
            let retention = self.tier(class).retention.as_deref();
            Duties::new(&raw.id.value, &cell(class), retention)
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
            rights: raw.rights.iter().map(|right| right.value.clone()).collect(),
            audit_frequency: raw
                .audit_frequency
                .as_ref()
                .map(|often| often.value.clone()),
            cells: DataClass::ALL.map(cell),
            duties: DataClass::ALL.map(duties),
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

    fn tier(&self, class: DataClass) -> &Tier {
        let [tier4, tier3, tier2, tier1] = self.tiers;
        match class {
            DataClass::Tier4Public => tier4,
            DataClass::Tier3Operational => tier3,
            DataClass::Tier2Personal => tier2,
            DataClass::Tier1Pii => tier1,
        }
    }

    fn cell(&self, class: DataClass, law: Option<Law>, own: RegionSet) -> Cell {
        let tier = self.tier(class);
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
    if let Some(over) = raw.rights.get(RIGHTS_MAX) {
        ctx.error(over.at, format!("over {RIGHTS_MAX} rights"));
    }
    let one = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    for word in raw.rights.iter().chain(&raw.audit_frequency) {
        if !(1..=64).contains(&word.value.len()) || !word.value.bytes().all(one) {
            ctx.error(
                word.at,
                "this is one word, such as `erasure` or `quarterly`",
            );
        }
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
