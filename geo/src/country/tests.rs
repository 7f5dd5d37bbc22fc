use std::collections::BTreeMap;

use super::*;

fn country(code: &str) -> Country {
    Country::parse(code).unwrap()
}

#[test]
fn every_row_is_found_by_its_code_in_either_case() {
    for (country, row) in Country::all().zip(&TABLE) {
        assert_eq!(Country::parse(row.code), Some(country));
        assert_eq!(Country::parse(&row.code.to_lowercase()), Some(country));
        assert_eq!(country.as_str(), row.code);
        assert!(!country.name().is_empty());
    }
    assert_eq!(
        Country::all().count(),
        250,
        "ISO 3166-1 has 249 codes, and XK"
    );
}

#[test]
fn the_order_of_countries_is_the_order_of_codes() {
    assert!(TABLE.is_sorted_by(|a, b| a.code < b.code));
    assert!(country("DE") < country("US"));
}

#[test]
fn pseudo_codes_and_mistakes_are_not_countries() {
    for code in [
        "EU", "AP", "T1", "XX", "ZZ", "A1", "A2", "O1", "??", "AN", "UK", "SU", "YU", "CS", "TP",
        "ZR", "QZ", "AA", "", "D", "DEU", "D ", " DE", "D\0", "é", "ßß", "@@", "[[", "``", "{{",
    ] {
        assert_eq!(Country::parse(code), None, "{code:?}");
    }
}

#[test]
fn the_union_is_its_27_states_and_its_territories_with_codes_of_their_own() {
    let states = [
        "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE",
        "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
    ];
    let territories = ["AX", "GF", "GP", "MF", "MQ", "RE", "YT"];
    let mut expected: Vec<&str> = states.into_iter().chain(territories).collect();
    expected.sort_unstable();
    let members: Vec<&str> = Group::Eu
        .members()
        .map(|country| country.as_str())
        .collect();
    assert_eq!(members, expected);
}

#[test]
fn the_economic_area_is_the_union_and_three_more() {
    let more: Vec<Country> = Group::Eea
        .members()
        .filter(|country| !country.in_group(Group::Eu))
        .collect();
    assert_eq!(more, [country("IS"), country("LI"), country("NO")]);
    assert!(
        Group::Eu
            .members()
            .all(|country| country.in_group(Group::Eea))
    );
}

#[test]
fn who_left_or_never_joined_is_outside() {
    for code in [
        "GB", "CH", "TR", "UA", "GL", "FO", "NC", "SJ", "GI", "JE", "MC", "SM", "VA",
    ] {
        assert!(!country(code).in_group(Group::Eu), "{code}");
        assert!(!country(code).in_group(Group::Eea), "{code}");
    }
}

#[test]
fn groups_and_continents_are_read_as_they_are_written() {
    for group in [Group::Eu, Group::Eea] {
        assert_eq!(Group::parse(group.as_str()), Some(group));
    }
    for continent in Continent::ALL {
        assert_eq!(Continent::parse(continent.as_str()), Some(continent));
    }
    assert_eq!(Group::parse("eu"), None);
    assert_eq!(Continent::parse("atlantis"), None);
}

#[test]
fn every_centroid_is_on_the_globe_and_on_its_continent() {
    for country in Country::all() {
        let point = country.centroid();
        assert_eq!(
            Point::new(point.lat(), point.lon()),
            Some(point),
            "{country}"
        );
        let (lat, lon) = match country.continent() {
            Continent::Africa => (-40.0..=38.0, -26.0..=73.0),
            Continent::Antarctica => (-90.0..=-45.0, -180.0..=180.0),
            Continent::Asia => (-13.0..=56.0, 26.0..=150.0),
            Continent::Europe => (35.0..=80.0, -25.0..=60.0),
            Continent::NorthAmerica => (7.0..=84.0, -170.0..=-10.0),
            Continent::Oceania => (-50.0..=20.0, -180.0..=180.0),
            Continent::SouthAmerica => (-56.0..=13.0, -92.0..=-34.0),
        };
        assert!(
            lat.contains(&point.lat()) && lon.contains(&point.lon()),
            "{country} {point:?}"
        );
    }
}

/// A slip of sign or digit moves a centroid away from its neighbours.
#[test]
fn neighbours_are_near_each_other() {
    for (a, b, km) in [
        ("DE", "FR", 900.0),
        ("DE", "PL", 900.0),
        ("DE", "CH", 600.0),
        ("ES", "PT", 600.0),
        ("GB", "IE", 600.0),
        ("NO", "SE", 600.0),
        ("FI", "EE", 600.0),
        ("US", "CA", 1_500.0),
        ("US", "MX", 2_200.0),
        ("BR", "UY", 2_200.0),
        ("AR", "CL", 1_200.0),
        ("CO", "VE", 1_200.0),
        ("PE", "EC", 1_300.0),
        ("IN", "PK", 1_500.0),
        ("IN", "NP", 1_100.0),
        ("IN", "LK", 1_900.0),
        ("CN", "KR", 1_500.0),
        ("KR", "JP", 1_100.0),
        ("SG", "MY", 500.0),
        ("SG", "ID", 1_200.0),
        ("TH", "VN", 900.0),
        ("AU", "NZ", 3_000.0),
        ("ZA", "ZW", 1_300.0),
        ("KE", "TZ", 900.0),
        ("NG", "GH", 1_100.0),
        ("EG", "IL", 700.0),
        ("MA", "ES", 1_100.0),
        ("RU", "UA", 1_700.0),
        ("FJ", "TO", 1_000.0),
    ] {
        let distance = country(a).centroid().distance_km(country(b).centroid());
        assert!(distance < km, "{a} and {b} are {distance} km apart");
    }
}

#[test]
fn clients_known_by_country_are_nearest_to_the_region_one_expects() {
    let regions = BTreeMap::from([
        ("us-central1", (41.3, -95.9)),
        ("europe-west1", (50.5, 3.8)),
        ("asia-southeast1", (1.4, 103.8)),
        ("asia-south1", (19.1, 72.9)),
        ("australia-southeast1", (-33.9, 151.2)),
        ("southamerica-east1", (-23.5, -46.6)),
    ]);
    let points: Vec<(&str, Point)> = regions
        .into_iter()
        .map(|(region, (lat, lon))| (region, Point::new(lat, lon).unwrap()))
        .collect();
    for (code, region) in [
        ("DE", "europe-west1"),
        ("GB", "europe-west1"),
        ("RU", "europe-west1"),
        ("MA", "europe-west1"),
        ("US", "us-central1"),
        ("CA", "us-central1"),
        ("MX", "us-central1"),
        ("SG", "asia-southeast1"),
        ("ID", "asia-southeast1"),
        ("IN", "asia-south1"),
        ("AE", "asia-south1"),
        ("NZ", "australia-southeast1"),
        ("BR", "southamerica-east1"),
        ("AR", "southamerica-east1"),
    ] {
        let nearest = country(code).centroid().nearest(points.iter().copied());
        assert_eq!(nearest.map(|(region, _)| region), Some(region), "{code}");
    }
}
