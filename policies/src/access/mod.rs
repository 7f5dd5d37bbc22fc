//! Who is let in: ordered rules, the first match decides.
//!
//! Promises: the same answer for the same facts; address lists of any size
//! cost one binary search each. Refuses: nothing by default; a `default: deny`
//! turns that round.

mod certificate;
mod compiled;
mod raw;

use std::net::IpAddr;

pub(crate) use certificate::CertificatePattern;
pub use certificate::ClientCertificate;
pub(crate) use compiled::{CompiledAccess, compile};
pub(crate) use raw::RawAccess;

use crate::{Facts, Snapshot};

/// A rule of one snapshot, or the default.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub struct AccessRule(pub(crate) u16);

/// The default, where no rule matches.
pub(crate) const DEFAULT_RULE: AccessRule = AccessRule(u16::MAX);

/// Why access was denied.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub struct AccessDenied {
    /// The rule that matched; its id is behind [`Snapshot::access_rule_id`].
    pub rule: AccessRule,
}

/// Decides on a new connection by the address of its other end, before a byte
/// is read. `ip` is canonical.
///
/// # Errors
/// The rule that denies it.
#[inline]
pub fn connection(snapshot: &Snapshot, ip: IpAddr) -> Result<(), AccessRule> {
    snapshot.access.connection(ip)
}

/// Decides on a request.
///
/// # Errors
/// The rule that denies it.
#[inline]
pub fn check(snapshot: &Snapshot, facts: &Facts<'_>) -> Result<(), AccessDenied> {
    snapshot
        .access
        .request(facts)
        .map_err(|rule| AccessDenied { rule })
}

impl Snapshot {
    /// The id of an access rule; `default` where no rule matched.
    pub fn access_rule_id(&self, rule: AccessRule) -> &str {
        self.access.rule_id(rule)
    }
}

#[cfg(test)]
mod tests;
