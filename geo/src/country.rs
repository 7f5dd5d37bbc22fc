//! Countries, continents and the groups that policies name.
//!
//! A [`Country`] is a row of one table: to hold one is to know it exists.

mod table;

use std::fmt;

use self::table::{Facts, Membership, TABLE};
use crate::Point;

/// ISO 3166-1 alpha-2 country, or `XK` (Kosovo).
///
/// Pseudo-codes of address databases (`EU`, `AP`, `T1`, `XX`, `ZZ`, `A1`,
/// `A2`, `O1`, `??`), retired codes (`AN`) and common mistakes (`UK`) are not
/// countries. Ordered by code.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Ord, PartialOrd)]
pub struct Country(u8);

/// Continent by the usual count of seven. Türkiye, the Caucasus and Cyprus
/// are counted to Asia, Russia to Europe.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Ord, PartialOrd, Debug)]
pub enum Continent {
    /// Africa.
    Africa,
    /// Antarctica and the islands around it.
    Antarctica,
    /// Asia.
    Asia,
    /// Europe.
    Europe,
    /// North and Central America and the Caribbean.
    NorthAmerica,
    /// Australia, New Zealand and the Pacific islands.
    Oceania,
    /// South America.
    SouthAmerica,
}

/// A set of countries that law treats as one.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Ord, PartialOrd, Debug)]
pub enum Group {
    /// European Union: the 27 states, and the territories with codes of their
    /// own where the treaties apply (Åland, the outermost regions).
    Eu,
    /// European Economic Area: the Union, Iceland, Liechtenstein, Norway.
    Eea,
}

/// Marks the codes that are no row of the table.
const NO_ROW: u8 = u8::MAX;

/// Two letters to a row: 26 x 26 entries, so that parsing is one load.
static ROWS: [u8; 26 * 26] = rows();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler: a bad index or code fails the build"
)]
const fn rows() -> [u8; 26 * 26] {
    let mut rows = [NO_ROW; 26 * 26];
    let mut row = 0;
    while row < TABLE.len() {
        let code = TABLE[row].code.as_bytes();
        assert!(code.len() == 2 && row < NO_ROW as usize);
        let slot = (code[0] - b'A') as usize * 26 + (code[1] - b'A') as usize;
        assert!(rows[slot] == NO_ROW);
        rows[slot] = row as u8;
        row += 1;
    }
    rows
}

impl Country {
    /// Reads two ASCII letters of either case. Anything else, and any code
    /// that names no country, is `None`.
    pub fn parse(code: &str) -> Option<Self> {
        let &[first, second] = code.as_bytes() else {
            return None;
        };
        let letter = |byte: u8| {
            let upper = byte.to_ascii_uppercase();
            upper
                .is_ascii_uppercase()
                .then(|| usize::from(upper - b'A'))
        };
        let row = *ROWS.get(letter(first)? * 26 + letter(second)?)?;
        (row != NO_ROW).then_some(Self(row))
    }

    /// Every country, in the order of codes.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..NO_ROW).take(TABLE.len()).map(Self)
    }

    /// Two capital letters.
    pub fn as_str(&self) -> &'static str {
        self.facts().code
    }

    /// Short English name.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Continent of the larger part of its people.
    pub fn continent(self) -> Continent {
        self.facts().continent
    }

    /// Rough middle of where its people live (good to about one degree): what
    /// stands in for a client of whom only the country is known.
    pub fn centroid(self) -> Point {
        let (lat, lon) = self.facts().centre;
        Point::of_table(lat, lon)
    }

    /// Whether the law of the group applies there.
    pub fn in_group(self, group: Group) -> bool {
        match (group, self.facts().membership) {
            (Group::Eu | Group::Eea, Membership::Eu) | (Group::Eea, Membership::Eea) => true,
            (Group::Eu, Membership::Eea) | (Group::Eu | Group::Eea, Membership::Outside) => false,
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "made only by `parse` and `all`, from rows"
    )]
    fn facts(self) -> &'static Facts {
        &TABLE[usize::from(self.0)]
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Continent {
    /// All seven.
    pub const ALL: [Self; 7] = [
        Self::Africa,
        Self::Antarctica,
        Self::Asia,
        Self::Europe,
        Self::NorthAmerica,
        Self::Oceania,
        Self::SouthAmerica,
    ];

    /// Stable name for logs and files, e.g. `north-america`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Africa => "africa",
            Self::Antarctica => "antarctica",
            Self::Asia => "asia",
            Self::Europe => "europe",
            Self::NorthAmerica => "north-america",
            Self::Oceania => "oceania",
            Self::SouthAmerica => "south-america",
        }
    }

    /// Reads what [`Continent::as_str`] writes.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|continent| continent.as_str() == name)
    }
}

impl Group {
    /// Reads `EU` or `EEA`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "EU" => Some(Self::Eu),
            "EEA" => Some(Self::Eea),
            _ => None,
        }
    }

    /// What [`Group::parse`] reads.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eu => "EU",
            Self::Eea => "EEA",
        }
    }

    /// Its countries, in the order of codes.
    pub fn members(self) -> impl Iterator<Item = Country> {
        Country::all().filter(move |country| country.in_group(self))
    }
}

#[cfg(test)]
mod tests;
