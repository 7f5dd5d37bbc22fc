//! What the operator says of networks.
//!
//! Nested prefixes are flattened into sorted ranges when they are compiled, so
//! that a lookup is one binary search however many there are and however they
//! nest. The longest prefix wins; the same network twice is an error.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::special::canonical;
use crate::{CityName, Country, Point};

/// Most overrides a locator takes; more is an error at build.
pub const OVERRIDES_MAX: usize = 100_000;

/// Where the operator says a network is. All empty means "unknown, whatever
/// the databases say".
#[derive(Copy, Clone, PartialEq, Debug, Default)]
pub struct Override {
    /// Country of the network.
    pub country: Option<Country>,
    /// Coordinates.
    pub point: Option<Point>,
    /// City name.
    pub city: Option<CityName>,
}

/// Compiled overrides. Immutable.
#[derive(Default)]
pub(crate) struct OverrideTable {
    v4: RangeTable<u32>,
    v6: RangeTable<u128>,
    places: Vec<Override>,
}

/// The same network was given twice.
#[derive(Debug)]
pub(crate) struct Duplicate(pub(crate) IpNet);

impl OverrideTable {
    pub(crate) fn compile(entries: &[(IpNet, Override)]) -> Result<Self, Duplicate> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (index, (net, _)) in (0_u32..).zip(entries) {
            match folded(*net) {
                IpNet::V4(net) => v4.push(Range {
                    first: net.network().to_bits(),
                    last: net.broadcast().to_bits(),
                    index,
                }),
                IpNet::V6(net) => v6.push(Range {
                    first: net.network().to_bits(),
                    last: net.broadcast().to_bits(),
                    index,
                }),
            }
        }
        let named = |index: u32| {
            let entry = usize::try_from(index)
                .ok()
                .and_then(|index| entries.get(index));
            Duplicate(entry.map_or_else(IpNet::default, |(net, _)| *net))
        };
        Ok(Self {
            v4: RangeTable::compile(v4).map_err(named)?,
            v6: RangeTable::compile(v6).map_err(named)?,
            places: entries.iter().map(|(_, place)| *place).collect(),
        })
    }

    /// The override of the longest prefix that holds the address, which must
    /// be canonical.
    #[inline]
    pub(crate) fn find(&self, ip: IpAddr) -> Option<&Override> {
        let index = match ip {
            IpAddr::V4(v4) => self.v4.find(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.find(v6.to_bits()),
        }?;
        self.places.get(usize::try_from(index).ok()?)
    }
}

/// A network with its host bits cleared, and folded to IPv4 where its
/// addresses are.
fn folded(net: IpNet) -> IpNet {
    const TUNNEL_BITS: u8 = 96;
    let net = net.trunc();
    if let (IpNet::V6(v6), IpAddr::V4(inner)) = (net, canonical(net.network()))
        && let Some(len) = v6.prefix_len().checked_sub(TUNNEL_BITS)
        && let Ok(v4) = Ipv4Net::new(inner, len)
    {
        return IpNet::V4(v4);
    }
    net
}

/// An address as a number that can be counted up.
trait Key: Copy + Ord {
    /// The next one; `None` after the last.
    fn successor(self) -> Option<Self>;
}

impl Key for u32 {
    fn successor(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Key for u128 {
    fn successor(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// One prefix as a range of addresses, and the entry it stands for.
struct Range<K> {
    first: K,
    last: K,
    index: u32,
}

/// Disjoint ranges: `owners[i]` holds from `starts[i]` to the next start.
struct RangeTable<K> {
    starts: Vec<K>,
    owners: Vec<Option<u32>>,
}

impl<K> Default for RangeTable<K> {
    fn default() -> Self {
        Self {
            starts: Vec::new(),
            owners: Vec::new(),
        }
    }
}

impl<K: Key> RangeTable<K> {
    /// Prefixes either nest or are apart, so a stack of those still open is
    /// enough. On a duplicate, the index of the second.
    fn compile(mut ranges: Vec<Range<K>>) -> Result<Self, u32> {
        ranges.sort_by(|a, b| a.first.cmp(&b.first).then(b.last.cmp(&a.last)));
        let mut table = Self::default();
        let mut open: Vec<Range<K>> = Vec::new();
        for range in ranges {
            table.close_before(&mut open, Some(range.first));
            if open
                .last()
                .is_some_and(|top| top.first == range.first && top.last == range.last)
            {
                return Err(range.index);
            }
            table.begin(range.first, Some(range.index));
            open.push(range);
        }
        table.close_before(&mut open, None);
        Ok(table)
    }

    /// Ends the open ranges that end before `limit` (`None`: all of them).
    fn close_before(&mut self, open: &mut Vec<Range<K>>, limit: Option<K>) {
        while let Some(ended) = open.pop_if(|top| limit.is_none_or(|limit| top.last < limit)) {
            if let Some(next) = ended.last.successor() {
                self.begin(next, open.last().map(|outer| outer.index));
            }
        }
    }

    /// From `start` on the owner is another; the last word on a start counts.
    fn begin(&mut self, start: K, owner: Option<u32>) {
        match (self.starts.last(), self.owners.last_mut()) {
            (Some(last), Some(current)) if *last == start => *current = owner,
            _ => {
                self.starts.push(start);
                self.owners.push(owner);
            }
        }
    }

    #[inline]
    fn find(&self, key: K) -> Option<u32> {
        let after = self.starts.partition_point(|start| *start <= key);
        self.owners.get(after.checked_sub(1)?).copied().flatten()
    }
}

#[cfg(test)]
mod tests;
