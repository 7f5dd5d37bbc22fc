//! Raw laws to the gate's table: which law holds in which country.

use std::sync::Arc;

use meridian_geo::Country;

use super::compiled::{CompiledResidency, Switch};
use super::countries::Entry;
use super::laws::Laws;
use super::raw::{RawJurisdiction, RawResidencySet};
use super::set::RegionSet;
use super::tiers::tiers;
use crate::JurisdictionIndex;
use crate::compile::CompileContext;
use crate::regions::CompiledRegions;
use crate::yaml::{OnOff, Spanned};

/// Most jurisdictions: as many as countries and some.
const JURISDICTIONS_MAX: usize = 512;

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
    if let (Switch::On, Some(exposed)) = (switch, &regions.exposed) {
        let names = exposed.bare.names(regions).join(", ");
        ctx.warn(
            laws.at,
            format!("spoken to in plain text, so no data that must be encrypted in transit goes there: {names}; write `https://` endpoints, or list networks that encrypt by themselves in `plaintext_upstreams.mesh`"),
        );
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
