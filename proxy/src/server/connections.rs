//! How many client connections there are, and who has them.
//!
//! Promises: every connection, over TCP and QUIC, counts from its admission to
//! its end, whichever way that comes; never more entries than connections.
//! Refuses: what is over a bound, in all, from one address, or in a second.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::rate::Rate;
use crate::edge::{Clock, Edge};
use crate::settings::ProcessLimits;
use crate::telemetry::CloseReason;

/// Client connections, in all and by address. Never more entries than
/// connections.
pub struct Connections {
    rate: Rate,
    total: AtomicUsize,
    by_address: DashMap<IpAddr, usize>,
}

/// Why a connection is not taken.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Refused {
    /// The process has as many as it may.
    Process,
    /// The address has as many as it may.
    Address,
    /// More came in the last second than may.
    Rate,
}

impl Refused {
    pub(super) fn reason(self) -> CloseReason {
        match self {
            Self::Process => CloseReason::ProcessLimit,
            Self::Address => CloseReason::AddressLimit,
            Self::Rate => CloseReason::ConnectionRate,
        }
    }
}

impl Connections {
    /// None yet. The rates are those of the limits; the numbers are given each
    /// time.
    pub fn new(limits: &ProcessLimits) -> Self {
        let total = limits.connections_per_second;
        let each = limits.connections_per_second_per_address;
        Self {
            rate: Rate::new(total, each),
            total: AtomicUsize::new(0),
            by_address: DashMap::new(),
        }
    }

    /// Whether one more may come now.
    fn admits(&self, ip: IpAddr, clock: &Clock) -> Result<(), Refused> {
        if !self.rate.is_some() || self.rate.admits(key(ip), clock.tick()) {
            return Ok(());
        }
        Err(Refused::Rate)
    }

    /// Open connections.
    pub fn open(&self) -> usize {
        self.total.load(Ordering::Acquire)
    }

    /// Counts one more, unless that is one too many.
    pub fn enter(&self, ip: IpAddr, total: usize, each: usize) -> Result<(), Refused> {
        self.begin(total)?;
        self.assign(ip, each).inspect_err(|_| self.end())
    }

    /// Counts one more whose client is not known yet.
    fn begin(&self, total: usize) -> Result<(), Refused> {
        if self.total.fetch_add(1, Ordering::AcqRel) >= total {
            self.end();
            return Err(Refused::Process);
        }
        Ok(())
    }

    /// Counts one that has begun as this client's.
    fn assign(&self, ip: IpAddr, each: usize) -> Result<(), Refused> {
        let mut count = self.by_address.entry(key(ip)).or_insert(0);
        if *count >= each {
            return Err(Refused::Address);
        }
        *count += 1;
        Ok(())
    }

    fn end(&self) {
        self.total.fetch_sub(1, Ordering::AcqRel);
    }

    /// Counts one less.
    pub fn leave(&self, ip: IpAddr) {
        self.end();
        if let Entry::Occupied(mut entry) = self.by_address.entry(key(ip)) {
            if *entry.get() <= 1 {
                entry.remove();
            } else {
                *entry.get_mut() -= 1;
            }
        }
    }
}

/// One client of IPv6 has a /64.
pub(super) fn key(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

/// One counted connection.
pub(super) struct Open<'a> {
    edge: &'a Edge,
    /// `None`: its client is not known yet.
    ip: Option<IpAddr>,
}

impl<'a> Open<'a> {
    pub(super) fn admit(edge: &'a Edge, ip: IpAddr) -> Result<Self, Refused> {
        let limits = &edge.settings.limits;
        edge.connections.admits(ip, &edge.clock)?;
        edge.connections
            .enter(ip, limits.connections, limits.connections_per_address)?;
        edge.lifecycle.opened();
        let ip = Some(ip);
        Ok(Self { edge, ip })
    }

    /// One whose client is still to be named.
    pub(super) fn unnamed(edge: &'a Edge) -> Result<Self, Refused> {
        edge.connections.begin(edge.settings.limits.connections)?;
        edge.lifecycle.opened();
        Ok(Self { edge, ip: None })
    }

    /// From here on it is this client's.
    pub(super) fn name(&mut self, ip: IpAddr) -> Result<(), Refused> {
        let each = self.edge.settings.limits.connections_per_address;
        self.edge.connections.admits(ip, &self.edge.clock)?;
        self.edge.connections.assign(ip, each)?;
        self.ip = Some(ip);
        Ok(())
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        match self.ip {
            Some(ip) => self.edge.connections.leave(ip),
            None => self.edge.connections.end(),
        }
        self.edge.lifecycle.closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_own_bound_below_that_of_the_process() {
        let connections = Connections::new(&ProcessLimits::default());
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert_eq!(connections.enter(a, 3, 2), Ok(()));
        assert_eq!(connections.enter(a, 3, 2), Ok(()));
        assert_eq!(connections.enter(a, 3, 2), Err(Refused::Address));
        assert_eq!(connections.enter(b, 3, 2), Ok(()));
        assert_eq!(connections.enter(b, 3, 2), Err(Refused::Process));
        connections.leave(a);
        assert_eq!(connections.enter(b, 3, 2), Ok(()));
        assert_eq!(connections.open(), 3);
    }

    #[test]
    fn a_client_of_ipv6_counts_by_its_network() {
        let connections = Connections::new(&ProcessLimits::default());
        let (a, b): (IpAddr, IpAddr) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::ffff:1".parse().unwrap(),
        );
        assert_eq!(connections.enter(a, 9, 1), Ok(()));
        assert_eq!(connections.enter(b, 9, 1), Err(Refused::Address));
    }

    #[test]
    fn an_address_without_connections_is_forgotten() {
        let connections = Connections::new(&ProcessLimits::default());
        let ip = IpAddr::from([192, 0, 2, 1]);
        connections.enter(ip, 9, 9).unwrap();
        connections.leave(ip);
        assert!(connections.by_address.is_empty());
    }
}
