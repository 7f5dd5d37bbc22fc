//! The answer: a place, where it came from and how far to trust it.

use crate::{CityName, Country, Point};

/// Where an address is. Always a value: what is not known says so.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct Location {
    /// The country, if one is known and undisputed.
    pub country: Option<Country>,
    /// Coordinates, if the source has them; see [`Location::place`].
    pub point: Option<Point>,
    /// City, if the source has one.
    pub city: Option<CityName>,
    /// Who said so.
    pub source: Source,
    /// How far to trust it, or why it is unknown.
    pub certainty: Certainty,
}

/// Who placed the address.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Source {
    /// An operator's CIDR override.
    Override,
    /// A database, by its position in [`crate::Locator::databases`].
    Database(u8),
    /// The data in the binary.
    Embedded,
    /// Nobody.
    None,
}

/// How far a location may be trusted.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Certainty {
    /// The operator said so (even where that is "no country").
    Operator,
    /// A database names the city.
    City,
    /// A source knows the country.
    Country,
    /// Sources name different countries, so none is believed.
    Disputed,
    /// No source placed it.
    Unknown(UnknownReason),
}

/// Why an address has no place. Later ones outweigh earlier ones when
/// several sources fail in different ways.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum UnknownReason {
    /// No source has an entry.
    NotFound,
    /// An entry without a country, or with a code that names none.
    NotACountry,
    /// An entry that cannot be decoded.
    Broken,
    /// In a special-purpose range: never looked up.
    SpecialPurpose,
}

/// What one source says of one address.
pub(crate) type Answer = Result<Place, UnknownReason>;

/// A place whose country is known.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) country: Country,
    pub(crate) point: Option<Point>,
    pub(crate) city: Option<CityName>,
}

impl Location {
    /// A location that says why there is none.
    pub const fn unknown(reason: UnknownReason) -> Self {
        Self {
            country: None,
            point: None,
            city: None,
            source: Source::None,
            certainty: Certainty::Unknown(reason),
        }
    }

    /// A location that no source is believed about.
    pub(crate) const fn disputed() -> Self {
        Self {
            country: None,
            point: None,
            city: None,
            source: Source::None,
            certainty: Certainty::Disputed,
        }
    }

    /// The best known point: the address's own, else the country's.
    pub fn place(&self) -> Option<Point> {
        self.point.or_else(|| self.country.map(Country::centroid))
    }

    /// Kilometres from [`Location::place`] to a point; `None` if unknown.
    pub fn distance_km(&self, to: Point) -> Option<f32> {
        self.place().map(|place| place.distance_km(to))
    }
}

impl Source {
    /// Stable name for logs and metrics: `override`, `database`, `embedded`,
    /// `none`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::Database(_) => "database",
            Self::Embedded => "embedded",
            Self::None => "none",
        }
    }
}

impl Certainty {
    /// Stable name for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::City => "city",
            Self::Country => "country",
            Self::Disputed => "disputed",
            Self::Unknown(reason) => reason.as_str(),
        }
    }
}

impl UnknownReason {
    /// Stable name for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::NotACountry => "not-a-country",
            Self::Broken => "broken-data",
            Self::SpecialPurpose => "special-purpose",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_is_measured_from_the_point_and_else_from_the_country() {
        let belgium = Point::new(50.45, 3.82).unwrap();
        let mut germany = Location {
            country: Country::parse("DE"),
            certainty: Certainty::Country,
            source: Source::Embedded,
            ..Location::unknown(UnknownReason::NotFound)
        };
        let from_middle = germany.distance_km(belgium).unwrap();
        assert!((300.0..600.0).contains(&from_middle), "{from_middle}");
        germany.point = Point::new(50.45, 3.82);
        assert!(germany.distance_km(belgium).unwrap() < 0.1);
        assert_eq!(
            Location::unknown(UnknownReason::NotFound).distance_km(belgium),
            None
        );
    }

    #[test]
    fn a_location_fits_in_two_cache_lines() {
        assert!(size_of::<Location>() <= 128, "{}", size_of::<Location>());
    }
}
