//! Addresses that have no place.
//!
//! The IANA special-purpose registries (RFC 6890 and what was added since):
//! private, shared, link-local, documentation, benchmarking, multicast and
//! reserved ranges, and anycast services whose address says nothing about
//! where a packet came from. Databases answer for some of them (`192.168/16`
//! in Australia), so they are decided before any lookup.
//!
//! Tunnelled addresses: IPv4-mapped (`::ffff:0:0/96`) and NAT64
//! (`64:ff9b::/96`, RFC 6052: a translator in front of an IPv6-only edge puts
//! the client's whole address there) are folded to the IPv4 address inside.
//! 6to4 (`2002::/16`) and Teredo (`2001::/32`) embed an address that the
//! client chose or a relay it used: they are unknown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The well-known NAT64 prefix, upper 96 bits.
const NAT64: u128 = 0x0064_ff9b << 96;

/// The one form of an address that is looked up: an IPv4-mapped or NAT64
/// address becomes the IPv4 address inside.
#[inline]
pub fn canonical(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => match u32::try_from(v6.to_bits() ^ NAT64) {
            Ok(inner) => IpAddr::V4(Ipv4Addr::from_bits(inner)),
            Err(_) => IpAddr::V6(v6),
        },
    }
}

/// Whether the address (folded by [`canonical`] first) is in a range that no
/// database can place.
#[inline]
pub fn is_special_purpose(ip: IpAddr) -> bool {
    match canonical(ip) {
        IpAddr::V4(v4) => is_special_v4(v4),
        IpAddr::V6(v6) => is_special_v6(v6),
    }
}

/// IANA IPv4 special-purpose registry, multicast and class E, by first octet:
/// this network, private and loopback (0, 10, 127), shared (100.64, RFC 6598),
/// link-local (169.254), private (172.16, 192.168), IETF protocols and
/// documentation (192.0.0, 192.0.2, 198.51.100, 203.0.113), AS112 and AMT
/// anycast (192.31.196, 192.175.48, 192.52.193), the retired 6to4 relays
/// (192.88.99), benchmarking (198.18), multicast and above (224).
fn is_special_v4(ip: Ipv4Addr) -> bool {
    matches!(
        ip.octets(),
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 31, 196, _]
            | [192, 52, 193, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [192, 175, 48, _]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

/// Everything outside the allocated global unicast block `2000::/3`, and within
/// it: IETF protocols with Teredo and ORCHID (`2001::/23`), documentation
/// (2001:db8, `3fff::/20`), 6to4 (2002), AS112 anycast (2620:4f:8000).
fn is_special_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        [0x2001, 0..=0x1ff | 0xdb8, ..]
        | [0x2002, ..]
        | [0x2620, 0x4f, 0x8000, ..]
        | [0x3fff, 0..=0xfff, ..] => true,
        [first, ..] => first >> 13 != 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn special_ranges_are_special_from_first_to_last_address() {
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.31.196.0", "192.31.196.255"),
            ("192.52.193.0", "192.52.193.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("192.175.48.0", "192.175.48.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "255.255.255.255"),
            ("::", "::fffe:ffff:ffff"),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
            ("100::", "100::ffff:ffff:ffff:ffff"),
            ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff"),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert!(is_special_purpose(ip(first)), "{first}");
            assert!(is_special_purpose(ip(last)), "{last}");
        }
    }

    #[test]
    fn the_neighbours_of_special_ranges_are_ordinary() {
        for address in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2001:200::",
            "2001:db7:ffff::",
            "2001:db9::",
            "2003::",
            "2000::",
            "2620:4f:7fff::",
            "2620:4f:8001::",
            "3ffe::",
            "3fff:1000::",
        ] {
            assert!(!is_special_purpose(ip(address)), "{address}");
        }
    }

    #[test]
    fn mapped_and_nat64_addresses_are_the_address_inside() {
        assert_eq!(canonical(ip("::ffff:8.8.8.8")), ip("8.8.8.8"));
        assert_eq!(canonical(ip("64:ff9b::8.8.8.8")), ip("8.8.8.8"));
        assert!(is_special_purpose(ip("::ffff:192.168.1.1")));
        assert!(is_special_purpose(ip("64:ff9b::10.0.0.1")));
        assert!(!is_special_purpose(ip("64:ff9b::8.8.8.8")));
    }

    #[test]
    fn addresses_that_only_look_tunnelled_are_left_alone() {
        for address in [
            "64:ff9b:1::8.8.8.8",
            "64:ff9b::1:0:0",
            "::8.8.8.8",
            "::fffe:8.8.8.8",
            "2001:db8::1",
        ] {
            assert_eq!(canonical(ip(address)), ip(address));
        }
    }

    #[test]
    fn six_to_four_and_teredo_are_not_placed_by_the_address_they_embed() {
        assert!(is_special_purpose(ip("2002:808:808::1")));
        assert!(is_special_purpose(ip(
            "2001:0:4136:e378:8000:63bf:f7f7:f7f7"
        )));
    }
}
