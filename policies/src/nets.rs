//! Sets of networks: one binary search however many there are.

use std::net::IpAddr;

use meridian_geo::IpNet;
use serde::Deserialize;

use crate::compile::CompileContext;
use crate::yaml::{Mark, Spanned};

/// Most networks of one policy set.
const NETS_MAX: usize = 65_536;

/// A set of networks, merged into sorted ranges. Empty contains nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct NetSet {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl NetSet {
    /// IPv4-mapped IPv6 networks are folded, as addresses are.
    pub(crate) fn new(nets: impl IntoIterator<Item = IpNet>) -> Self {
        let mut set = Self::default();
        for net in nets {
            match folded(net) {
                IpNet::V4(net) => set
                    .v4
                    .push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => set
                    .v6
                    .push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        set.v4 = merged(set.v4);
        set.v6 = merged(set.v6);
        set
    }

    /// Ranges after merging.
    pub(crate) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether a canonical address is in one of the networks.
    #[inline]
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => within(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => within(&self.v6, ip.to_bits()),
        }
    }
}

fn folded(net: IpNet) -> IpNet {
    if let IpNet::V6(v6) = net
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Some(prefix) = v6.prefix_len().checked_sub(96)
        && let Ok(net) = IpNet::new(IpAddr::V4(v4), prefix)
    {
        return net;
    }
    net
}

fn merged<T: Copy + Ord>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut out: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some(previous) if first <= previous.1 => previous.1 = previous.1.max(last),
            Some(_) | None => out.push((first, last)),
        }
    }
    out
}

#[inline]
fn within<T: Copy + Ord>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|range| range.0 <= address);
    after
        .checked_sub(1)
        .and_then(|i| ranges.get(i))
        .is_some_and(|range| address <= range.1)
}

/// A network as it is written: `10.0.0.0/8`, or one address.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct RawNet(pub(crate) Spanned<String>);

impl RawNet {
    /// Reads it, or says what is wrong with it.
    pub(crate) fn read(&self, ctx: &mut CompileContext<'_>) -> Option<IpNet> {
        let (text, at): (&str, Mark) = (&self.0.value, self.0.at);
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Some(IpNet::from(meridian_geo::canonical(ip)));
        }
        match text.parse::<IpNet>() {
            Ok(net) if net.trunc() == net => Some(net),
            Ok(net) => {
                ctx.error_help(
                    at,
                    format!("`{text}` has bits set beyond its prefix"),
                    format!("did you mean `{}`?", net.trunc()),
                );
                None
            }
            Err(_) => {
                ctx.error_help(
                    at,
                    format!("`{text}` is not a network"),
                    "write an address with a prefix length, as in `10.0.0.0/8` or `2001:db8::/32`",
                );
                None
            }
        }
    }
}

/// Reads a list of networks, within the bound.
pub(crate) fn read_all(raw: &[RawNet], ctx: &mut CompileContext<'_>) -> Vec<IpNet> {
    if let Some(first_over) = raw.get(NETS_MAX) {
        ctx.error(first_over.0.at, format!("over {NETS_MAX} networks"));
    }
    raw.iter()
        .take(NETS_MAX)
        .filter_map(|net| net.read(ctx))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nets: &[&str]) -> NetSet {
        NetSet::new(nets.iter().map(|n| n.parse::<IpNet>().unwrap()))
    }

    #[test]
    fn nested_and_touching_networks_are_one_range() {
        let set = set(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.255.255.255/32",
            "2001:db8::/32",
        ]);
        assert_eq!((set.v4.len(), set.v6.len(), set.len()), (1, 1, 2));
        for (ip, inside) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
        ] {
            assert_eq!(set.contains(ip.parse().unwrap()), inside, "{ip}");
        }
    }

    #[test]
    fn a_mapped_network_holds_the_folded_address() {
        let set = set(&["::ffff:10.0.0.0/104"]);
        assert!(set.contains("10.2.3.4".parse().unwrap()));
    }

    #[test]
    fn the_whole_space_and_nothing() {
        assert!(set(&["0.0.0.0/0"]).contains("255.255.255.255".parse().unwrap()));
        assert!(!set(&["0.0.0.0/0"]).contains("::1".parse().unwrap()));
        assert!(!NetSet::default().contains("0.0.0.0".parse().unwrap()));
    }
}
