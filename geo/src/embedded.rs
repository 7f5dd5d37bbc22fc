//! The country data in the binary (cargo feature `embedded`): what answers
//! when nobody configured a database. Country only, no coordinates.

use std::net::IpAddr;

#[cfg(feature = "embedded")]
use std::sync::Arc;

#[cfg(feature = "embedded")]
use crate::Country;
use crate::location::Answer;
#[cfg(feature = "embedded")]
use crate::location::{Place, UnknownReason};

/// Whether the data in the binary is asked, after the databases.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Embedded {
    /// It is. An error at build where the feature is off.
    On,
    /// It is not.
    Off,
}

impl Default for Embedded {
    /// On where the binary has the data.
    fn default() -> Self {
        if cfg!(feature = "embedded") {
            Self::On
        } else {
            Self::Off
        }
    }
}

/// What the licence of the embedded data asks to be shown wherever its answers
/// are; `None` where the binary has no data.
pub fn attribution() -> Option<&'static str> {
    cfg!(feature = "embedded").then_some(
        "IP data: IPFire Location Database (https://location.ipfire.org/), \
         CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/), \
         converted by the Tor Project",
    )
}

/// Day of the export that is in the binary; `None` where it has no data.
pub fn embedded_revision() -> Option<&'static str> {
    cfg!(feature = "embedded").then_some("ipfire-2026-09-23")
}

/// The data, ready for lookups. Uninhabited where the binary has none.
pub(crate) struct EmbeddedData {
    #[cfg(feature = "embedded")]
    data: Arc<tor_geoip::GeoipDb>,
    #[cfg(not(feature = "embedded"))]
    nothing: std::convert::Infallible,
}

impl EmbeddedData {
    /// `None` where the binary has no data.
    #[cfg(feature = "embedded")]
    #[expect(
        clippy::unnecessary_wraps,
        reason = "without the feature there is nothing to open"
    )]
    pub(crate) fn open() -> Option<Self> {
        Some(Self {
            data: tor_geoip::GeoipDb::new_embedded(),
        })
    }

    #[cfg(not(feature = "embedded"))]
    pub(crate) fn open() -> Option<Self> {
        None
    }

    /// Looks up a canonical address.
    #[cfg(feature = "embedded")]
    pub(crate) fn lookup(&self, ip: IpAddr) -> Answer {
        let code = self
            .data
            .lookup_country_code(ip)
            .ok_or(UnknownReason::NotFound)?;
        let country = Country::parse(code.get()).ok_or(UnknownReason::NotACountry)?;
        Ok(Place {
            country,
            point: None,
            city: None,
        })
    }

    #[cfg(not(feature = "embedded"))]
    pub(crate) fn lookup(&self, _ip: IpAddr) -> Answer {
        match self.nothing {}
    }
}
