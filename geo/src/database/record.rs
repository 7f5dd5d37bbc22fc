//! One record of a database, in either of the common schemas.
//!
//! Nested (`GeoIP2`): `country.iso_code`, `city.names.en`,
//! `location.latitude`. Flat (ip-location-db): `country_code`, `city`,
//! `latitude`, where coordinates are single-precision. One visitor takes both,
//! so that a file is known by what it holds and not by what it calls itself.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// Which of the two ways a record names its country.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Schema {
    /// `country: {iso_code: DE}`
    Nested,
    /// `country_code: DE`
    Flat,
}

/// What a record says; text borrowed from the database.
#[derive(Default)]
pub(super) struct Record<'de> {
    /// Code as written, and how it was found.
    pub(super) country: Option<(Schema, &'de str)>,
    pub(super) latitude: Option<f64>,
    pub(super) longitude: Option<f64>,
    pub(super) city: Option<&'de str>,
}

impl<'de> Deserialize<'de> for Record<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RecordVisitor)
    }
}

struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = Record<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with `country` or `country_code`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record<'de>, A::Error> {
        let mut record = Record::default();
        while let Some(key) = map.next_key::<&'de str>()? {
            match key {
                "country_code" => {
                    record.country = Some((Schema::Flat, map.next_value()?));
                }
                "country" => {
                    // A flat file may have the country's name here.
                    if let Named::Nested(Names {
                        code: Some(code), ..
                    }) = map.next_value()?
                    {
                        record.country = Some((Schema::Nested, code));
                    }
                }
                "city" => record.city = map.next_value::<Named<'de>>()?.name(),
                "location" => {
                    let location = map.next_value::<Coordinates>()?;
                    record.latitude = location.latitude;
                    record.longitude = location.longitude;
                }
                "latitude" => record.latitude = Some(map.next_value::<Number>()?.0),
                "longitude" => record.longitude = Some(map.next_value::<Number>()?.0),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(record)
    }
}

/// Text in a flat record, a map in a nested one.
enum Named<'de> {
    Flat(&'de str),
    Nested(Names<'de>),
}

/// The parts of a nested name that we read.
#[derive(Default)]
struct Names<'de> {
    code: Option<&'de str>,
    english: Option<&'de str>,
}

impl<'de> Named<'de> {
    fn name(self) -> Option<&'de str> {
        match self {
            Self::Flat(name) => Some(name),
            Self::Nested(names) => names.english,
        }
    }
}

impl<'de> Deserialize<'de> for Named<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamedVisitor)
    }
}

struct NamedVisitor;

impl<'de> Visitor<'de> for NamedVisitor {
    type Value = Named<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name or a map with `names`")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Named<'de>, E> {
        Ok(Named::Flat(name))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<'de>, A::Error> {
        let mut names = Names::default();
        while let Some(key) = map.next_key::<&'de str>()? {
            match key {
                "iso_code" => names.code = Some(map.next_value()?),
                "names" => names.english = map.next_value::<English<'de>>()?.0,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Named::Nested(names))
    }
}

/// The English entry of a map of names.
struct English<'de>(Option<&'de str>);

impl<'de> Deserialize<'de> for English<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnglishVisitor)
    }
}

struct EnglishVisitor;

impl<'de> Visitor<'de> for EnglishVisitor {
    type Value = English<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from language to name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<English<'de>, A::Error> {
        let mut english = None;
        while let Some(language) = map.next_key::<&'de str>()? {
            if language == "en" {
                english = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(English(english))
    }
}

/// `location` of a nested record.
#[derive(Default)]
struct Coordinates {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl<'de> Deserialize<'de> for Coordinates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(CoordinatesVisitor)
    }
}

struct CoordinatesVisitor;

impl<'de> Visitor<'de> for CoordinatesVisitor {
    type Value = Coordinates;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with `latitude` and `longitude`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Coordinates, A::Error> {
        let mut found = Coordinates::default();
        while let Some(key) = map.next_key::<&'de str>()? {
            match key {
                "latitude" => found.latitude = Some(map.next_value::<Number>()?.0),
                "longitude" => found.longitude = Some(map.next_value::<Number>()?.0),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// A number of any width: files of the flat schema hold `float`, of the nested
/// `double`, and some writers make integers of whole degrees.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f32<E: Error>(self, value: f32) -> Result<Number, E> {
        Ok(Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
        Ok(Number(value))
    }

    fn visit_i32<E: Error>(self, value: i32) -> Result<Number, E> {
        Ok(Number(value.into()))
    }

    fn visit_u16<E: Error>(self, value: u16) -> Result<Number, E> {
        Ok(Number(value.into()))
    }

    fn visit_u32<E: Error>(self, value: u32) -> Result<Number, E> {
        Ok(Number(value.into()))
    }
}
