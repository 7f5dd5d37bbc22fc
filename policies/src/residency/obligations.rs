//! What must be done along with a permitted transfer.

use serde::{Deserialize, Serialize};

/// One thing that must be done. Those that the edge cannot do itself travel to
/// the backend in `x-residency-obligations`.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Obligation {
    /// Encrypt in transit.
    EncryptionInTransit,
    /// Encrypt at rest.
    EncryptionAtRest,
    /// Keep one copy only, in this region.
    NoReplication,
    /// Replicate within the super-region only.
    LimitedReplication,
    /// Keep a copy in the jurisdiction's own region.
    LocalCopy,
    /// Contract clauses or the like for the transfer.
    Safeguards,
    /// Consent of the person, on record.
    Consent,
    /// Process for the stated purpose only.
    Purpose,
    /// A lawful basis, on record.
    LawfulBasis,
    /// A business associate agreement (HIPAA).
    Baa,
    /// An audit trail of access.
    AuditLog,
}

impl Obligation {
    /// All, in the order in which they are written.
    pub const ALL: [Self; 11] = [
        Self::EncryptionInTransit,
        Self::EncryptionAtRest,
        Self::NoReplication,
        Self::LimitedReplication,
        Self::LocalCopy,
        Self::Safeguards,
        Self::Consent,
        Self::Purpose,
        Self::LawfulBasis,
        Self::Baa,
        Self::AuditLog,
    ];

    /// Name in files and headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EncryptionInTransit => "encryption_in_transit",
            Self::EncryptionAtRest => "encryption_at_rest",
            Self::NoReplication => "no_replication",
            Self::LimitedReplication => "limited_replication",
            Self::LocalCopy => "local_copy",
            Self::Safeguards => "safeguards",
            Self::Consent => "consent",
            Self::Purpose => "purpose",
            Self::LawfulBasis => "lawful_basis",
            Self::Baa => "baa",
            Self::AuditLog => "audit_log",
        }
    }
}

/// A set of obligations.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Hash)]
pub struct Obligations(u16);

impl Obligations {
    /// None.
    pub const NONE: Self = Self(0);

    /// With one more.
    #[must_use]
    pub const fn with(self, one: Obligation) -> Self {
        Self(self.0 | 1 << one as u8)
    }

    /// With all of another set.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without one.
    #[must_use]
    pub const fn without(self, one: Obligation) -> Self {
        Self(self.0 & !(1 << one as u8))
    }

    /// Whether one is in it.
    pub const fn contains(self, one: Obligation) -> bool {
        self.0 >> one as u8 & 1 == 1
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// In the order in which they are written.
    pub fn iter(self) -> impl Iterator<Item = Obligation> {
        Obligation::ALL
            .into_iter()
            .filter(move |one| self.contains(*one))
    }
}

impl FromIterator<Obligation> for Obligations {
    fn from_iter<I: IntoIterator<Item = Obligation>>(all: I) -> Self {
        all.into_iter().fold(Self::NONE, Self::with)
    }
}
