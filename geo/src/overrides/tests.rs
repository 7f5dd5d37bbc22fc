use proptest::prelude::*;

use super::*;

fn in_country(code: &str) -> Override {
    Override {
        country: Some(Country::parse(code).unwrap()),
        ..Override::default()
    }
}

fn table(entries: &[(&str, &str)]) -> OverrideTable {
    let entries: Vec<(IpNet, Override)> = entries
        .iter()
        .map(|(net, code)| (net.parse().unwrap(), in_country(code)))
        .collect();
    OverrideTable::compile(&entries).unwrap()
}

fn country_of(table: &OverrideTable, ip: &str) -> Option<&'static str> {
    let place = table.find(canonical(ip.parse().unwrap()))?;
    place.country.map(|country| country.as_str())
}

#[test]
fn the_longest_prefix_wins_whatever_the_order_of_the_entries() {
    let nested = [
        ("10.0.0.0/8", "DE"),
        ("10.1.0.0/16", "FR"),
        ("10.1.2.0/24", "US"),
        ("10.1.2.3/32", "JP"),
        ("10.1.255.0/24", "IT"),
    ];
    let mut reversed = nested;
    reversed.reverse();
    for table in [table(&nested), table(&reversed)] {
        for (ip, code) in [
            ("10.0.0.0", "DE"),
            ("10.0.255.255", "DE"),
            ("10.1.0.0", "FR"),
            ("10.1.2.2", "US"),
            ("10.1.2.3", "JP"),
            ("10.1.2.4", "US"),
            ("10.1.3.0", "FR"),
            ("10.1.255.255", "IT"),
            ("10.2.0.0", "DE"),
            ("10.255.255.255", "DE"),
        ] {
            assert_eq!(country_of(&table, ip), Some(code), "{ip}");
        }
        assert_eq!(country_of(&table, "9.255.255.255"), None);
        assert_eq!(country_of(&table, "11.0.0.0"), None);
    }
}

#[test]
fn the_whole_space_and_single_addresses_at_its_ends_are_networks_too() {
    let table = table(&[
        ("0.0.0.0/0", "DE"),
        ("0.0.0.0/32", "FR"),
        ("255.255.255.255/32", "US"),
        ("::/0", "JP"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "IT"),
    ]);
    for (ip, code) in [
        ("0.0.0.0", "FR"),
        ("0.0.0.1", "DE"),
        ("255.255.255.254", "DE"),
        ("255.255.255.255", "US"),
        ("::", "JP"),
        ("2001:db8::1", "JP"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "IT"),
    ] {
        assert_eq!(country_of(&table, ip), Some(code), "{ip}");
    }
}

#[test]
fn no_overrides_find_nothing() {
    let table = table(&[]);
    assert_eq!(country_of(&table, "127.0.0.1"), None);
    assert_eq!(country_of(&table, "::1"), None);
}

#[test]
fn one_network_spelled_in_two_ways_is_a_duplicate() {
    for (first, second) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/8", "10.1.2.3/8"),
        ("10.0.0.0/8", "::ffff:10.0.0.0/104"),
        ("2001:db8::/32", "2001:db8:1::/32"),
    ] {
        let entries = [
            (first.parse().unwrap(), in_country("DE")),
            (second.parse().unwrap(), in_country("DE")),
        ];
        let refused = OverrideTable::compile(&entries).err().unwrap();
        assert_eq!(refused.0, second.parse::<IpNet>().unwrap());
    }
}

#[test]
fn the_same_start_with_another_length_is_no_duplicate() {
    let table = table(&[
        ("10.0.0.0/8", "DE"),
        ("10.0.0.0/9", "FR"),
        ("10.0.0.0/32", "US"),
    ]);
    assert_eq!(country_of(&table, "10.0.0.0"), Some("US"));
    assert_eq!(country_of(&table, "10.0.0.1"), Some("FR"));
    assert_eq!(country_of(&table, "10.128.0.0"), Some("DE"));
}

#[test]
fn mapped_networks_are_ipv4_networks() {
    let table = table(&[
        ("::ffff:198.51.100.0/120", "DE"),
        ("64:ff9b::203.0.113.0/120", "FR"),
    ]);
    assert_eq!(country_of(&table, "198.51.100.7"), Some("DE"));
    assert_eq!(country_of(&table, "::ffff:198.51.100.7"), Some("DE"));
    assert_eq!(country_of(&table, "203.0.113.7"), Some("FR"));
}

#[test]
fn a_network_wider_than_the_mapped_range_stays_ipv6() {
    let table = table(&[("::/64", "DE")]);
    assert_eq!(country_of(&table, "::1"), Some("DE"));
    assert_eq!(country_of(&table, "127.0.0.1"), None);
}

/// Few distinct bits, so that networks nest and touch.
fn crowded_net() -> impl Strategy<Value = IpNet> {
    (0_u32..64, 0_u8..=32).prop_map(|(bits, len)| {
        Ipv4Net::new((bits << 26 | bits).into(), len)
            .map(|net| IpNet::V4(net.trunc()))
            .unwrap()
    })
}

proptest! {
    #[test]
    fn lookups_agree_with_a_scan_for_the_longest_prefix(
        nets in prop::collection::btree_set(crowded_net(), 0..40),
        probes in prop::collection::vec((0_u32..64, -1_i32..=1), 1..40),
    ) {
        let nets: Vec<IpNet> = nets.into_iter().collect();
        let entries: Vec<(IpNet, Override)> = nets
            .iter()
            .enumerate()
            .map(|(index, net)| {
                let point = Point::new(0.0, f32::from(u8::try_from(index).unwrap()));
                (*net, Override { point, ..Override::default() })
            })
            .collect();
        let table = OverrideTable::compile(&entries).unwrap();
        for (bits, step) in probes {
            let ip = IpAddr::V4((bits << 26 | bits).wrapping_add_signed(step).into());
            let scanned = entries
                .iter()
                .filter(|(net, _)| net.contains(&ip))
                .max_by_key(|(net, _)| net.prefix_len())
                .map(|(_, place)| *place);
            prop_assert_eq!(table.find(ip).copied(), scanned, "{}", ip);
        }
    }

    #[test]
    fn ipv6_lookups_agree_with_a_scan_for_the_longest_prefix(
        nets in prop::collection::btree_set((0_u128..16, 0_u8..=128), 0..30),
        probes in prop::collection::vec((0_u128..16, any::<u8>()), 1..30),
    ) {
        let spread = |bits: u128| 0x2000 << 112 | bits << 60 | bits;
        let entries: std::collections::BTreeMap<IpNet, Override> = nets
            .into_iter()
            .enumerate()
            .map(|(index, (bits, len))| {
                let net = IpNet::new(std::net::Ipv6Addr::from(spread(bits)).into(), len).unwrap();
                let point = Point::new(0.0, f32::from(u8::try_from(index).unwrap()));
                (net.trunc(), Override { point, ..Override::default() })
            })
            .collect();
        let entries: Vec<(IpNet, Override)> = entries.into_iter().collect();
        let table = OverrideTable::compile(&entries).unwrap();
        for (bits, low) in probes {
            let ip = IpAddr::V6((spread(bits) ^ u128::from(low)).into());
            let scanned = entries
                .iter()
                .filter(|(net, _)| net.contains(&ip))
                .max_by_key(|(net, _)| net.prefix_len())
                .map(|(_, place)| *place);
            prop_assert_eq!(table.find(ip).copied(), scanned, "{}", ip);
        }
    }
}
