//! A database in the MMDB format, checked before it is believed.
//!
//! Promises: what opens answers for countries; a lookup that meets damage is
//! "broken", never a panic and never somebody else's place. The probe at open
//! is bounded ([`PROBE_NETWORKS`], [`PROBE_ADDRESSES`]), so that a hostile file
//! cannot hold the process. Refuses files that decode and yet name no country
//! (to believe one is to lose every client's place at once), and to replace a
//! database by an older, poorer or much smaller one ([`accept_replacement`]).

mod probe;
mod record;
mod replacement;

use std::net::IpAddr;
use std::time::Duration;

use maxminddb::{MaxMindDbError, Reader};

use self::record::Record;
pub use self::record::Schema;
pub use self::replacement::{ReplacementError, accept_replacement};
use crate::fingerprint::Fingerprint;
use crate::location::{Answer, Place, UnknownReason};
use crate::{CityName, Country, Point};

/// Largest database taken, bytes: twice the size of the largest known.
pub const DATABASE_BYTES_MAX: usize = 512 << 20;

/// Longest name of a database, bytes: it is a label in logs and metrics.
const NAME_BYTES_MAX: usize = 64;

/// How far ahead of `now` a build may be: clocks differ.
const CLOCK_SKEW_SECONDS: u64 = 24 * 60 * 60;

/// An opened database. Immutable; shared by the generations that use it.
pub struct Database {
    reader: Reader<Vec<u8>>,
    info: DatabaseInfo,
}

/// What is known of an opened database.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct DatabaseInfo {
    /// The operator's name for it, 1 to 64 bytes.
    pub name: String,
    /// How it names countries.
    pub schema: Schema,
    /// The finest thing it knows.
    pub detail: Detail,
    /// Which addresses it has.
    pub families: Families,
    /// When it was built, seconds since 1970.
    pub built: u64,
    /// Age after which it counts as stale; `None`: never.
    pub max_age: Option<Duration>,
    /// Nodes of its search tree: a measure of how much it knows.
    pub nodes: u32,
    /// What the file calls itself, cut to 64 bytes. Informative only.
    pub kind: String,
    /// Tells contents apart; not a signature.
    pub fingerprint: u64,
}

/// The finest thing a database knows.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Detail {
    /// Countries.
    Country,
    /// Cities, too.
    City,
}

/// Which addresses a database has.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Families {
    /// IPv4 only: every IPv6 address is "not found".
    V4,
    /// Both.
    V4AndV6,
}

/// Whether a database is older than its operator allows.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Freshness {
    /// Younger than `max_age`, or no `max_age` was given.
    Fresh,
    /// Older: still used, since old knowledge beats none, but to be reported.
    Stale,
}

/// Why a database was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The name is empty, too long, or not visible ASCII.
    #[error("the database name must be 1 to 64 visible ASCII characters")]
    Name,
    /// More bytes than [`DATABASE_BYTES_MAX`].
    #[error("the database has {0} bytes, more than {DATABASE_BYTES_MAX}")]
    TooLarge(usize),
    /// Not an MMDB file, or a damaged one.
    #[error("not a usable MMDB file: {0}")]
    Malformed(#[from] MaxMindDbError),
    /// No record of the sample names a country: another kind of database
    /// (networks, operators, ...), an unknown schema, or an empty file.
    #[error(
        "no country in {records} sampled records of \"{kind}\": not a country or city database"
    )]
    NoCountry {
        /// Records that were decoded.
        records: usize,
        /// What the file calls itself.
        kind: String,
    },
    /// Built later than now: a wrong clock here or there.
    #[error("built {0} s in the future: check the clock")]
    FromTheFuture(u64),
}

impl Database {
    /// Reads and probes a database. `now` is seconds since 1970. Age is no
    /// error (see [`DatabaseInfo::freshness`]); a build in the future is.
    pub fn open(
        name: &str,
        bytes: Vec<u8>,
        now: u64,
        max_age: Option<Duration>,
    ) -> Result<Self, DatabaseError> {
        if !(1..=NAME_BYTES_MAX).contains(&name.len())
            || !name.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(DatabaseError::Name);
        }
        if bytes.len() > DATABASE_BYTES_MAX {
            return Err(DatabaseError::TooLarge(bytes.len()));
        }
        let mut fingerprint = Fingerprint::new();
        fingerprint.add(&bytes);
        let reader = Reader::from_source(bytes)?;
        let metadata = reader.metadata();
        let ahead = metadata.build_epoch.saturating_sub(now);
        if ahead > CLOCK_SKEW_SECONDS {
            return Err(DatabaseError::FromTheFuture(ahead));
        }
        let findings = probe::probe(&reader)?;
        let info = DatabaseInfo {
            name: name.to_owned(),
            schema: findings.schema,
            detail: findings.detail,
            families: if metadata.ip_version == 4 {
                Families::V4
            } else {
                Families::V4AndV6
            },
            built: metadata.build_epoch,
            max_age,
            nodes: metadata.node_count,
            kind: kind(&reader),
            fingerprint: fingerprint.finish(),
        };
        Ok(Self { reader, info })
    }

    /// What is known of it.
    pub fn info(&self) -> &DatabaseInfo {
        &self.info
    }

    /// Looks up a canonical address.
    pub(crate) fn lookup(&self, ip: IpAddr) -> Answer {
        if ip.is_ipv6() && self.info.families == Families::V4 {
            return Err(UnknownReason::NotFound);
        }
        match self
            .reader
            .lookup(ip)
            .and_then(|result| result.decode::<Record<'_>>())
        {
            Ok(None) => Err(UnknownReason::NotFound),
            Ok(Some(record)) => place(&record).ok_or(UnknownReason::NotACountry),
            Err(_) => Err(UnknownReason::Broken),
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl DatabaseInfo {
    /// Age in seconds; 0 if built after `now` (seconds since 1970).
    pub fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.built)
    }

    /// Whether it is older than its `max_age` at `now` (seconds since 1970).
    pub fn freshness(&self, now: u64) -> Freshness {
        match self.max_age {
            Some(max_age) if self.age(now) > max_age.as_secs() => Freshness::Stale,
            Some(_) | None => Freshness::Fresh,
        }
    }
}

/// What the file calls itself, bounded and printable.
fn kind(reader: &Reader<Vec<u8>>) -> String {
    let printable = |c: &char| c.is_ascii_graphic() || *c == ' ';
    reader
        .metadata()
        .database_type
        .chars()
        .filter(printable)
        .take(NAME_BYTES_MAX)
        .collect()
}

/// The record's place, if its code names a country.
fn place(record: &Record<'_>) -> Option<Place> {
    let (_, code) = record.country?;
    Some(Place {
        country: Country::parse(code)?,
        point: record.latitude.zip(record.longitude).and_then(point),
        city: record.city.and_then(CityName::new),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "degrees in single precision: 0.5 m"
)]
fn point((latitude, longitude): (f64, f64)) -> Option<Point> {
    Point::new(latitude as f32, longitude as f32)
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
