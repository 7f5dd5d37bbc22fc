//! Indices into one snapshot, and time.

use std::ops::Add;
use std::time::Duration;

/// A region of one snapshot, by its position; at most 512.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct RegionIndex(pub u16);

/// An endpoint of one snapshot, by its position; at most 4,096.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct EndpointIndex(pub u32);

/// A route of one snapshot, by its position in the files; at most 1,024.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct RouteIndex(pub u16);

/// A jurisdiction of one snapshot; the name is behind
/// [`crate::Snapshot::jurisdiction_id`].
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct JurisdictionIndex(pub u16);

impl RegionIndex {
    /// As an index of a slice.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl EndpointIndex {
    /// As an index of a slice.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl RouteIndex {
    /// As an index of a slice.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Nanoseconds on a monotonic clock whose zero the caller chose (process
/// start). Ends after 584 years.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// Time since `earlier`; zero if that lies ahead.
    pub const fn saturating_sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Tick {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

/// A span in nanoseconds, at most `u64::MAX`.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
