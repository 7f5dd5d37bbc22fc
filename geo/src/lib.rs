//! Address to place.
//!
//! Promises: [`Locator::locate`] answers for every address, at once, without
//! allocating, and never panics; the answer says where it came from and how
//! far it may be trusted. Bytes and the time are arguments: nothing here reads
//! a file or a clock.
//!
//! Refuses: to guess. Special-purpose addresses have no place unless the
//! operator gives them one, codes that name no country (`EU`, `AP`, `T1`,
//! `XX`, `??`) are not countries, a damaged record is "unknown", and sources
//! that disagree can be made to say so ([`Agreement::Required`]).
//!
//! ```
//! use meridian_geo::{Country, Embedded, Locator, Override};
//!
//! let office = Override { country: Country::parse("DE"), ..Override::default() };
//! let locator = Locator::builder()
//!     .overrides([("127.0.0.0/8".parse().unwrap(), office)])
//!     .embedded(Embedded::Off)
//!     .build()
//!     .unwrap();
//! let place = locator.locate("127.0.0.1".parse().unwrap());
//! assert_eq!(place.country, Country::parse("DE"));
//! ```

mod city;
mod country;
mod database;
mod embedded;
mod fingerprint;
mod location;
mod locator;
mod overrides;
mod point;
mod special;

pub use ipnet::IpNet;

pub use crate::city::{AsciiName, CityName};
pub use crate::country::{Continent, Country, Group};
pub use crate::database::{
    DATABASE_BYTES_MAX, Database, DatabaseError, DatabaseInfo, Detail, Families, Freshness,
    ReplacementError, Schema, accept_replacement,
};
pub use crate::embedded::{Embedded, attribution, embedded_revision};
pub use crate::location::{Certainty, Location, Source, UnknownReason};
pub use crate::locator::{Agreement, BuildError, DATABASES_MAX, Locator, LocatorBuilder};
pub use crate::overrides::{OVERRIDES_MAX, Override};
pub use crate::point::Point;
pub use crate::special::{canonical, is_special_purpose};
