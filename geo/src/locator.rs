//! Asks the sources in order and never fails to answer.
//!
//! Operator overrides, then special-purpose ranges, then databases in the
//! order given, then the embedded data. Immutable once built: a reload builds
//! another, from shared databases where those have not changed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::database::{Database, DatabaseError, DatabaseInfo};
use crate::embedded::{Embedded, EmbeddedData, embedded_revision};
use crate::fingerprint::Fingerprint;
use crate::location::{Answer, Certainty, Location, Place, Source, UnknownReason};
use crate::overrides::{Duplicate, OVERRIDES_MAX, Override, OverrideTable};
use crate::special::{canonical, is_special_purpose};

/// Most databases a locator asks; more is an error at build.
pub const DATABASES_MAX: usize = 16;

/// What to make of several sources.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
pub enum Agreement {
    /// The first source that knows a country is believed.
    #[default]
    FirstAnswer,
    /// Every source that knows a country must name the same one, else the
    /// location is [`Certainty::Disputed`]. One that knows nothing does not
    /// disagree. Needs two sources.
    Required,
}

/// Address to place. Answers from any number of threads at once.
pub struct Locator {
    overrides: OverrideTable,
    databases: Vec<Arc<Database>>,
    infos: Vec<DatabaseInfo>,
    embedded: Option<EmbeddedData>,
    agreement: Agreement,
    revision: String,
}

/// Collects the sources of a [`Locator`].
#[derive(Default)]
pub struct LocatorBuilder {
    overrides: Vec<(IpNet, Override)>,
    databases: Vec<Arc<Database>>,
    embedded: Embedded,
    agreement: Agreement,
}

/// Why a locator could not be built: always the configuration's fault.
#[derive(Debug, Clone, Eq, PartialEq, thiserror::Error)]
pub enum BuildError {
    /// The same network twice, after host bits are cleared.
    #[error("override for {0} given twice")]
    DuplicateOverride(IpNet),
    /// More than [`OVERRIDES_MAX`].
    #[error("{0} overrides, more than {OVERRIDES_MAX}")]
    TooManyOverrides(usize),
    /// Two databases of one name.
    #[error("database name \"{0}\" used twice")]
    DuplicateDatabase(String),
    /// More than [`DATABASES_MAX`].
    #[error("{0} databases, more than {DATABASES_MAX}")]
    TooManyDatabases(usize),
    /// The binary was built without the feature `embedded`.
    #[error("this binary has no embedded geo data")]
    NoEmbeddedData,
    /// Agreement of one source with itself would be no safeguard.
    #[error("agreement needs two sources, {0} configured")]
    AgreementNeedsTwoSources(usize),
}

impl Locator {
    /// Starts with no overrides, no databases, and the embedded data where the
    /// binary has it.
    pub fn builder() -> LocatorBuilder {
        LocatorBuilder::default()
    }

    /// Where the address is. Never fails, allocates or waits.
    pub fn locate(&self, ip: IpAddr) -> Location {
        let ip = canonical(ip);
        if let Some(place) = self.overrides.find(ip) {
            return of_override(place);
        }
        if is_special_purpose(ip) {
            return Location::unknown(UnknownReason::SpecialPurpose);
        }
        match self.agreement {
            Agreement::FirstAnswer => self.first_answer(ip),
            Agreement::Required => self.agreed_answer(ip),
        }
    }

    /// What each database, and last the embedded data, says on its own: for an
    /// operator who asks why. Overrides and special ranges are passed over.
    pub fn survey(&self, ip: IpAddr) -> Vec<(Source, Location)> {
        let ip = canonical(ip);
        self.answers(ip)
            .map(|(source, answer)| {
                let location = match answer {
                    Ok(place) => of_place(source, &place),
                    Err(reason) => Location {
                        source,
                        ..Location::unknown(reason)
                    },
                };
                (source, location)
            })
            .collect()
    }

    /// Names the configuration and data: 16 hexadecimal digits. Locators of
    /// one revision give the same answers.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The databases, in the order in which they are asked.
    pub fn databases(&self) -> &[DatabaseInfo] {
        &self.infos
    }

    /// The databases to build the next generation from.
    pub fn shared_databases(&self) -> &[Arc<Database>] {
        &self.databases
    }

    /// The name of the source of a location of this locator: a database's own,
    /// else [`Source::as_str`].
    pub fn source_name(&self, source: Source) -> &str {
        match source {
            Source::Database(index) => self
                .infos
                .get(usize::from(index))
                .map_or(source.as_str(), |info| &info.name),
            Source::Override | Source::Embedded | Source::None => source.as_str(),
        }
    }

    fn first_answer(&self, ip: IpAddr) -> Location {
        let mut worst = UnknownReason::NotFound;
        for (source, answer) in self.answers(ip) {
            match answer {
                Ok(place) => return of_place(source, &place),
                Err(reason) => worst = worst.max(reason),
            }
        }
        Location::unknown(worst)
    }

    fn agreed_answer(&self, ip: IpAddr) -> Location {
        let mut worst = UnknownReason::NotFound;
        let mut first: Option<(Source, Place)> = None;
        for (source, answer) in self.answers(ip) {
            match (answer, &first) {
                (Ok(place), None) => first = Some((source, place)),
                (Ok(place), Some((_, before))) if place.country != before.country => {
                    return Location::disputed();
                }
                (Ok(_), Some(_)) => {}
                (Err(reason), _) => worst = worst.max(reason),
            }
        }
        match first {
            Some((source, place)) => of_place(source, &place),
            None => Location::unknown(worst),
        }
    }

    /// The answers in order, each looked up only when it is asked for.
    fn answers(&self, ip: IpAddr) -> impl Iterator<Item = (Source, Answer)> + '_ {
        let databases = (0_u8..).map(Source::Database).zip(&self.databases);
        let embedded = self.embedded.iter();
        databases
            .map(move |(source, database)| (source, database.lookup(ip)))
            .chain(embedded.map(move |data| (Source::Embedded, data.lookup(ip))))
    }
}

impl std::fmt::Debug for Locator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Locator")
            .field("revision", &self.revision)
            .field("databases", &self.infos)
            .finish_non_exhaustive()
    }
}

fn of_override(place: &Override) -> Location {
    Location {
        country: place.country,
        point: place.point,
        city: place.city,
        source: Source::Override,
        certainty: Certainty::Operator,
    }
}

fn of_place(source: Source, place: &Place) -> Location {
    let certainty = if place.city.is_some() {
        Certainty::City
    } else {
        Certainty::Country
    };
    Location {
        country: Some(place.country),
        point: place.point,
        city: place.city,
        source,
        certainty,
    }
}

impl LocatorBuilder {
    /// Adds the operator's word on networks; the longest prefix wins. Host
    /// bits are ignored, IPv4-mapped networks count as IPv4.
    #[must_use]
    pub fn overrides(mut self, entries: impl IntoIterator<Item = (IpNet, Override)>) -> Self {
        self.overrides.extend(entries);
        self
    }

    /// Opens a database and adds it after those already there; see
    /// [`Database::open`].
    #[expect(
        clippy::too_many_arguments,
        reason = "the four facts of a file, and the builder"
    )]
    pub fn database(
        self,
        name: &str,
        bytes: Vec<u8>,
        now: u64,
        max_age: Option<Duration>,
    ) -> Result<Self, DatabaseError> {
        let database = Database::open(name, bytes, now, max_age)?;
        Ok(self.shared_database(Arc::new(database)))
    }

    /// Adds an opened database after those already there.
    #[must_use]
    pub fn shared_database(mut self, database: Arc<Database>) -> Self {
        self.databases.push(database);
        self
    }

    /// Whether the data in the binary is asked last. Default: where it exists.
    #[must_use]
    pub fn embedded(mut self, embedded: Embedded) -> Self {
        self.embedded = embedded;
        self
    }

    /// What to make of several sources. Default: the first answer.
    #[must_use]
    pub fn require_agreement(mut self, agreement: Agreement) -> Self {
        self.agreement = agreement;
        self
    }

    /// Compiles the overrides and checks the whole.
    pub fn build(self) -> Result<Locator, BuildError> {
        self.check()?;
        let embedded = match self.embedded {
            Embedded::On => Some(EmbeddedData::open().ok_or(BuildError::NoEmbeddedData)?),
            Embedded::Off => None,
        };
        let sources = self.databases.len() + usize::from(embedded.is_some());
        if self.agreement == Agreement::Required && sources < 2 {
            return Err(BuildError::AgreementNeedsTwoSources(sources));
        }
        let overrides = OverrideTable::compile(&self.overrides)
            .map_err(|Duplicate(net)| BuildError::DuplicateOverride(net))?;
        Ok(Locator {
            overrides,
            revision: self.revision(),
            infos: self
                .databases
                .iter()
                .map(|database| database.info().clone())
                .collect(),
            databases: self.databases,
            embedded,
            agreement: self.agreement,
        })
    }

    /// Bounds and names.
    fn check(&self) -> Result<(), BuildError> {
        if self.overrides.len() > OVERRIDES_MAX {
            return Err(BuildError::TooManyOverrides(self.overrides.len()));
        }
        if self.databases.len() > DATABASES_MAX {
            return Err(BuildError::TooManyDatabases(self.databases.len()));
        }
        let mut names: Vec<&str> = self
            .databases
            .iter()
            .map(|d| d.info().name.as_str())
            .collect();
        names.sort_unstable();
        match names.array_windows().find(|[a, b]| a == b) {
            Some([name, _]) => Err(BuildError::DuplicateDatabase((*name).to_owned())),
            None => Ok(()),
        }
    }

    fn revision(&self) -> String {
        let mut fingerprint = Fingerprint::new();
        for (net, place) in &self.overrides {
            fingerprint.add(format!("{net} {place:?}").as_bytes());
        }
        for database in &self.databases {
            fingerprint.add(database.info().name.as_bytes());
            fingerprint.mix(database.info().fingerprint);
        }
        let embedded = match self.embedded {
            Embedded::On => embedded_revision().unwrap_or_default(),
            Embedded::Off => "",
        };
        fingerprint.add(embedded.as_bytes());
        fingerprint.add(match self.agreement {
            Agreement::FirstAnswer => b"first",
            Agreement::Required => b"agreed",
        });
        format!("{:016x}", fingerprint.finish())
    }
}

#[cfg(test)]
mod tests;
