//! Databases for tests, written in memory.

use std::time::{Duration, UNIX_EPOCH};

use ipnet::IpNet;
use mmdb_writer::{IpVersion, Ipv4Aliasing, Value, Writer};

/// When the fixtures are built, seconds since 1970.
pub(crate) const BUILT: u64 = 1_790_000_000;

/// Writes records to networks; without the aliases that some writers make, as
/// the common files have none.
pub(crate) fn mmdb(ip_version: IpVersion, records: &[(&str, Value)]) -> Vec<u8> {
    let mut writer = Writer::builder("Fixture")
        .ip_version(ip_version)
        .ipv4_aliasing(Ipv4Aliasing::Disabled)
        .build_epoch(UNIX_EPOCH + Duration::from_secs(BUILT))
        .build();
    for (net, record) in records {
        writer
            .insert_value(net.parse::<IpNet>().unwrap(), record.clone())
            .unwrap();
    }
    writer.to_bytes().unwrap()
}

/// A record as ip-location-db writes countries.
pub(crate) fn flat_country(code: &str) -> Value {
    Value::map([("country_code", code)])
}

/// A record as ip-location-db writes cities: single-precision coordinates.
pub(crate) fn flat_city(code: &str, city: &str, (lat, lon): (f32, f32)) -> Value {
    Value::map([
        ("country_code", Value::from(code)),
        ("state1", Value::from("some state")),
        ("city", Value::from(city)),
        ("postcode", Value::from("12345")),
        ("latitude", Value::from(lat)),
        ("longitude", Value::from(lon)),
        ("timezone", Value::from("UTC")),
    ])
}

/// A record as `GeoIP2` writes countries, with the parts that are not the
/// client's country.
pub(crate) fn nested_country(code: &str) -> Value {
    Value::map([
        (
            "continent",
            Value::map([("code", "XX"), ("names", "ignored")]),
        ),
        (
            "country",
            named(
                Value::map([("en", "In English"), ("de", "Auf Deutsch")]),
                Some(code),
            ),
        ),
        (
            "registered_country",
            named(Value::map([("en", "Elsewhere")]), Some("NZ")),
        ),
    ])
}

/// A record as `GeoIP2` writes cities: double-precision coordinates.
pub(crate) fn nested_city(code: &str, city: &str, (lat, lon): (f64, f64)) -> Value {
    Value::map([
        (
            "city",
            named(Value::map([("de", "anders"), ("en", city)]), None),
        ),
        (
            "country",
            named(Value::map([("en", "In English")]), Some(code)),
        ),
        (
            "location",
            Value::map([
                ("accuracy_radius", Value::from(10_u16)),
                ("latitude", Value::from(lat)),
                ("longitude", Value::from(lon)),
            ]),
        ),
        (
            "subdivisions",
            Value::array([Value::map([("iso_code", "ZZ")])]),
        ),
    ])
}

fn named(names: Value, code: Option<&str>) -> Value {
    let code = code.map(|code| ("iso_code", Value::from(code)));
    Value::map(
        [("geoname_id", Value::from(7_u32)), ("names", names)]
            .into_iter()
            .chain(code),
    )
}
