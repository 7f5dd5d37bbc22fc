use mmdb_writer::{IpVersion, Value};
use proptest::prelude::*;

use super::fixtures::{BUILT, flat_city, flat_country, mmdb, nested_city, nested_country};
use super::*;

fn open(bytes: Vec<u8>) -> Result<Database, DatabaseError> {
    Database::open("fixture", bytes, BUILT, None)
}

fn found(database: &Database, ip: &str) -> Option<Place> {
    database.lookup(ip.parse().unwrap()).ok()
}

fn code(database: &Database, ip: &str) -> Option<&'static str> {
    found(database, ip).map(|place| place.country.as_str())
}

#[test]
fn a_flat_country_file_is_read_and_not_silently_unknown() {
    let database = open(mmdb(IpVersion::V6, &[("91.64.0.0/10", flat_country("DE"))])).unwrap();
    assert_eq!(code(&database, "91.64.0.1"), Some("DE"));
    assert_eq!(database.info().schema, Schema::Flat);
    assert_eq!(database.info().detail, Detail::Country);
    assert_eq!(database.info().families, Families::V4AndV6);
    assert_eq!(database.info().kind, "Fixture");
}

#[test]
fn a_nested_country_file_is_read_by_country_and_not_by_registration() {
    let database = open(mmdb(IpVersion::V6, &[("2a00::/16", nested_country("DE"))])).unwrap();
    assert_eq!(code(&database, "2a00::1"), Some("DE"));
    assert_eq!(database.info().schema, Schema::Nested);
}

#[test]
fn single_precision_coordinates_of_a_flat_city_file_are_read() {
    let record = flat_city("DE", "Berlin", (52.52, 13.4));
    let database = open(mmdb(IpVersion::V4, &[("91.64.0.0/10", record)])).unwrap();
    let place = found(&database, "91.64.0.1").unwrap();
    assert_eq!(place.point, Point::new(52.52, 13.4));
    assert_eq!(place.city.unwrap().as_str(), "Berlin");
    assert_eq!(database.info().detail, Detail::City);
}

#[test]
fn double_precision_coordinates_of_a_nested_city_file_are_read() {
    let record = nested_city("DE", "Berlin", (52.52, 13.4));
    let database = open(mmdb(IpVersion::V6, &[("91.64.0.0/10", record)])).unwrap();
    let place = found(&database, "91.64.0.1").unwrap();
    assert_eq!(place.point, Point::new(52.52, 13.4));
    assert_eq!(place.city.unwrap().as_str(), "Berlin");
    assert_eq!(database.info().schema, Schema::Nested);
}

#[test]
fn whole_degrees_written_as_integers_are_coordinates() {
    let record = Value::map([
        ("country_code", Value::from("BR")),
        ("latitude", Value::from(-23_i32)),
        ("longitude", Value::from(46_u16)),
    ]);
    let database = open(mmdb(IpVersion::V4, &[("200.0.0.0/8", record)])).unwrap();
    assert_eq!(
        found(&database, "200.1.1.1").unwrap().point,
        Point::new(-23.0, 46.0)
    );
}

#[test]
fn coordinates_off_the_globe_are_no_point() {
    for (lat, lon) in [(f32::NAN, 0.0), (91.0, 0.0), (0.0, 1.0e30)] {
        let record = flat_city("DE", "Berlin", (lat, lon));
        let database = open(mmdb(IpVersion::V4, &[("91.64.0.0/10", record)])).unwrap();
        let place = found(&database, "91.64.0.1").unwrap();
        assert_eq!((place.country.as_str(), place.point), ("DE", None));
    }
}

#[test]
fn our_probe_accepts_files_that_the_librarys_verifier_refuses() {
    let bytes = mmdb(IpVersion::V6, &[("91.64.0.0/10", flat_country("DE"))]);
    let verdict = Reader::from_source(bytes.clone()).unwrap().verify();
    assert!(verdict.unwrap_err().to_string().contains("description"));
    assert!(open(bytes).is_ok());
}

#[test]
fn an_ipv6_address_in_an_ipv4_file_is_not_found_rather_than_an_error() {
    let database = open(mmdb(IpVersion::V4, &[("91.64.0.0/10", flat_country("DE"))])).unwrap();
    assert_eq!(database.info().families, Families::V4);
    let answer = database.lookup("2a00::1".parse().unwrap());
    assert_eq!(answer, Err(UnknownReason::NotFound));
}

/// A truncated file under a memory map kills the process (SIGBUS): the library
/// must be built without it.
#[test]
fn no_file_is_mapped_into_memory() {
    let lock = include_str!("../../../Cargo.lock").replace("\r\n", "\n");
    let package = lock
        .split("\n\n")
        .find(|package| package.contains("name = \"maxminddb\""))
        .unwrap();
    assert!(package.contains("ipnetwork"), "{package}");
    assert!(!package.contains("memmap"), "{package}");
}

#[test]
fn a_pseudo_code_in_a_record_is_not_a_country() {
    let records = [
        ("91.64.0.0/10", flat_country("DE")),
        ("5.0.0.0/8", flat_country("EU")),
    ];
    let database = open(mmdb(IpVersion::V4, &records)).unwrap();
    let answer = database.lookup("5.1.1.1".parse().unwrap());
    assert_eq!(answer, Err(UnknownReason::NotACountry));
}

#[test]
fn a_database_that_names_no_country_is_refused() {
    let networks = Value::map([("autonomous_system_number", Value::from(64_512_u32))]);
    let pseudo = flat_country("ZZ");
    let unplaced = Value::map([("continent", Value::map([("code", "EU")]))]);
    for record in [networks, pseudo, unplaced] {
        let error = open(mmdb(IpVersion::V4, &[("91.64.0.0/10", record)])).unwrap_err();
        let counted = matches!(&error, DatabaseError::NoCountry { records, .. } if *records > 0);
        assert!(counted, "{error}");
        assert!(error.to_string().contains("\"Fixture\""), "{error}");
    }
    let empty = open(mmdb(IpVersion::V4, &[])).unwrap_err();
    assert!(
        matches!(empty, DatabaseError::NoCountry { records: 0, .. }),
        "{empty}"
    );
}

#[test]
fn a_field_of_the_wrong_type_is_refused_at_open() {
    let wrong = Value::map([("country_code", Value::from(49_u32))]);
    let records = [("91.64.0.0/10", flat_country("DE")), ("5.0.0.0/8", wrong)];
    let error = open(mmdb(IpVersion::V4, &records)).unwrap_err();
    assert!(matches!(error, DatabaseError::Malformed(_)), "{error}");
}

#[test]
fn a_name_must_be_short_and_visible() {
    let bytes = mmdb(IpVersion::V4, &[("91.64.0.0/10", flat_country("DE"))]);
    for name in ["", "a b", "a\n", "ü", &"x".repeat(65)] {
        let refused = Database::open(name, bytes.clone(), BUILT, None).unwrap_err();
        assert!(matches!(refused, DatabaseError::Name), "{name:?}");
    }
    assert!(Database::open(&"x".repeat(64), bytes, BUILT, None).is_ok());
}

#[test]
fn an_old_database_is_stale_but_still_used() {
    let bytes = mmdb(IpVersion::V4, &[("91.64.0.0/10", flat_country("DE"))]);
    let max_age = Some(Duration::from_secs(100));
    let database = Database::open("old", bytes, BUILT + 1_000, max_age).unwrap();
    assert_eq!(code(&database, "91.64.0.1"), Some("DE"));
    let info = database.info();
    assert_eq!(info.freshness(BUILT + 100), Freshness::Fresh);
    assert_eq!(info.freshness(BUILT + 101), Freshness::Stale);
    assert_eq!(info.age(BUILT - 1), 0);
    assert_eq!(
        DatabaseInfo {
            max_age: None,
            ..info.clone()
        }
        .freshness(u64::MAX),
        Freshness::Fresh
    );
}

#[test]
fn a_build_in_the_future_is_refused_past_a_days_skew() {
    let bytes = mmdb(IpVersion::V4, &[("91.64.0.0/10", flat_country("DE"))]);
    let day = 24 * 60 * 60;
    assert!(Database::open("skewed", bytes.clone(), BUILT - day, None).is_ok());
    let refused = Database::open("wrong", bytes, BUILT - day - 1, None).unwrap_err();
    assert!(matches!(refused, DatabaseError::FromTheFuture(ahead) if ahead == day + 1));
}

#[test]
fn the_fingerprint_tells_contents_apart() {
    let of = |code| open(mmdb(IpVersion::V4, &[("91.64.0.0/10", flat_country(code))])).unwrap();
    assert_eq!(of("DE").info().fingerprint, of("DE").info().fingerprint);
    assert_ne!(of("DE").info().fingerprint, of("AT").info().fingerprint);
}

#[test]
fn what_is_not_a_database_is_refused_without_a_panic() {
    for bytes in [
        &b""[..],
        b"hello",
        b"\xab\xcd\xefMaxMind.com",
        &[0xff; 4096],
    ] {
        assert!(matches!(
            open(bytes.to_vec()),
            Err(DatabaseError::Malformed(_))
        ));
    }
}

#[test]
fn a_file_cut_at_any_length_is_refused() {
    let bytes = mmdb(
        IpVersion::V6,
        &[("91.64.0.0/10", nested_city("DE", "Berlin", (1.0, 2.0)))],
    );
    for length in 0..bytes.len() {
        assert!(
            open(bytes[..length].to_vec()).is_err(),
            "{length} of {}",
            bytes.len()
        );
    }
}

/// Search tree of 24-bit records by hand, with one good record and metadata.
fn handmade(ip_version: u8, nodes: &[(u32, u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (left, right) in nodes {
        bytes.extend_from_slice(&left.to_be_bytes()[1..]);
        bytes.extend_from_slice(&right.to_be_bytes()[1..]);
    }
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(b"\xe1\x4ccountry_code\x42DE");
    bytes.extend_from_slice(b"\xab\xcd\xefMaxMind.com\xe9");
    let count = u32::try_from(nodes.len()).unwrap().to_be_bytes();
    let key = |bytes: &mut Vec<u8>, name: &str| {
        let length = u8::try_from(name.len()).unwrap();
        if length < 29 {
            bytes.push(0x40 | length);
        } else {
            bytes.extend_from_slice(&[0x5d, length - 29]);
        }
        bytes.extend_from_slice(name.as_bytes());
    };
    key(&mut bytes, "node_count");
    bytes.extend_from_slice(&[0xc4, count[0], count[1], count[2], count[3]]);
    for (name, value) in [
        ("record_size", 24),
        ("ip_version", ip_version),
        ("binary_format_major_version", 2),
        ("binary_format_minor_version", 0),
    ] {
        key(&mut bytes, name);
        bytes.extend_from_slice(&[0xa1, value]);
    }
    key(&mut bytes, "build_epoch");
    bytes.extend_from_slice(&[0x01, 0x02, 1]);
    key(&mut bytes, "database_type");
    bytes.extend_from_slice(b"\x41H");
    key(&mut bytes, "description");
    bytes.push(0xe0);
    key(&mut bytes, "languages");
    bytes.extend_from_slice(&[0x00, 0x04]);
    bytes
}

/// The record that [`handmade`] puts first in the data section.
const fn first_record(node_count: u32) -> u32 {
    node_count + 16
}

#[test]
fn a_tree_made_by_hand_is_a_database() {
    let database = open(handmade(4, &[(first_record(1), 1)])).unwrap();
    assert_eq!(code(&database, "1.1.1.1"), Some("DE"));
    assert_eq!(code(&database, "200.1.1.1"), None);
}

#[test]
fn a_search_tree_that_loops_is_refused() {
    for ip_version in [4, 6] {
        let error = open(handmade(ip_version, &[(0, 0)])).unwrap_err();
        assert!(matches!(error, DatabaseError::Malformed(_)), "{error}");
    }
}

#[test]
fn a_search_tree_with_more_paths_than_time_is_refused_in_bounded_time() {
    // Both children of each node are the next: 2^127 paths to nowhere.
    for last in [127, 95] {
        let nodes: Vec<(u32, u32)> = (1..=127)
            .map(|next| {
                if next == last {
                    (127, 127)
                } else {
                    (next, next)
                }
            })
            .collect();
        let error = open(handmade(6, &nodes)).unwrap_err();
        assert!(
            matches!(error, DatabaseError::NoCountry { records: 0, .. }),
            "{error}"
        );
    }
}

#[test]
fn a_record_damaged_after_the_probe_is_broken_and_not_a_place() {
    let good = mmdb(IpVersion::V4, &[("91.64.0.0/10", flat_country("DE"))]);
    let info = open(good.clone()).unwrap().info().clone();
    let code_at = good
        .windows(3)
        .position(|bytes| bytes == b"\x42DE")
        .unwrap();
    let mut damaged = good;
    damaged[code_at] = 0xa2; // the text becomes a number
    let database = Database {
        reader: Reader::from_source(damaged).unwrap(),
        info,
    };
    assert_eq!(
        database.lookup("91.64.0.1".parse().unwrap()),
        Err(UnknownReason::Broken)
    );
    assert_eq!(
        database.lookup("8.8.8.8".parse().unwrap()),
        Err(UnknownReason::NotFound)
    );
}

fn mixed() -> Vec<u8> {
    let records = [
        ("8.0.0.0/8", nested_country("US")),
        ("91.64.0.0/10", nested_city("DE", "Berlin", (52.52, 13.4))),
        ("103.0.0.0/8", flat_city("SG", "Singapore", (1.35, 103.8))),
        ("2a00::/16", flat_country("DE")),
    ];
    mmdb(IpVersion::V6, &records)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn flipped_bytes_never_panic_at_open_or_at_lookup(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        addresses in prop::collection::vec(any::<(u128, u32)>(), 8),
    ) {
        let mut bytes = mixed();
        for (position, mask) in flips {
            let position = position.index(bytes.len());
            bytes[position] ^= mask;
        }
        if let Ok(reader) = Reader::from_source(bytes.clone()) {
            // Damage in a place that the probe did not meet must be as harmless.
            let info = open(mixed()).unwrap().info().clone();
            let database = Database { reader, info };
            for (v6, v4) in addresses {
                let _ = database.lookup(std::net::Ipv6Addr::from(v6).into());
                let _ = database.lookup(std::net::Ipv4Addr::from(v4).into());
            }
            for ip in ["8.8.8.8", "91.64.0.1", "103.1.1.1", "2a00::1"] {
                let _ = database.lookup(ip.parse().unwrap());
            }
        }
        let _ = open(bytes);
    }

    #[test]
    fn random_bytes_with_a_metadata_marker_never_panic(
        before in prop::collection::vec(any::<u8>(), 0..200),
        after in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let marker: &[u8] = b"\xab\xcd\xefMaxMind.com";
        let _ = open([&before[..], marker, &after[..]].concat());
    }
}
