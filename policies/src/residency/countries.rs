//! Sets of countries, and what may stand in them.

use meridian_geo::{Country, Group};

use crate::compile::CompileContext;
use crate::geo::not_a_country;
use crate::yaml::Spanned;

/// A set of countries, which may hold "unknown" too.
#[derive(Clone, Debug, Default)]
pub(crate) struct CountrySet {
    /// Sorted.
    countries: Vec<Country>,
    unknown: bool,
}

/// One entry of a list.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Entry {
    One(Country),
    Many(Group),
    Unknown,
    Everywhere,
}

impl Entry {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "*" => Some(Self::Everywhere),
            "unknown" => Some(Self::Unknown),
            _ => Group::parse(text)
                .map(Self::Many)
                .or_else(|| Country::parse(text).map(Self::One)),
        }
    }
}

impl CountrySet {
    pub(crate) fn compile(names: &[Spanned<String>], ctx: &mut CompileContext<'_>) -> Self {
        let mut set = Self::default();
        for name in names {
            match Entry::parse(&name.value) {
                Some(Entry::One(country)) => set.countries.push(country),
                Some(Entry::Many(group)) => set.countries.extend(group.members()),
                Some(Entry::Unknown) => set.unknown = true,
                Some(Entry::Everywhere) => set.countries.extend(Country::all()),
                None => not_a_country(&name.value, name.at, ctx),
            }
        }
        set.countries.sort_unstable();
        set.countries.dedup();
        set
    }

    /// Codes, and `unknown`.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let codes = self.countries.iter().map(Country::as_str);
        codes.chain(self.unknown.then_some("unknown")).collect()
    }

    /// `None` is a client whose country is not known.
    pub(crate) fn contains(&self, country: Option<Country>) -> bool {
        country.map_or(self.unknown, |country| {
            self.countries.binary_search(&country).is_ok()
        })
    }
}
