//! From files to topology, and the estimates of latency.

use super::latency::by_distance;
use super::testkit::{compile, located, located_at, shipped, try_compile};
use crate::{RegionIndex, Snapshot};

const SEED: &str = "
regions:
  - { id: us-central1, location: { country: US, lat: 41.26, lon: -95.86 } }
  - { id: europe-west1, location: { country: BE, lat: 50.45, lon: 3.82 } }
  - { id: asia-southeast1, location: { country: SG, lat: 1.35, lon: 103.70 } }
  - { id: us-east1, location: { country: US, lat: 33.20, lon: -80.01 } }
  - { id: southamerica-east1, location: { country: BR, lat: -23.53, lon: -46.79 } }
  - { id: australia-southeast1, location: { country: AU, lat: -33.87, lon: 151.21 } }
";

/// The seed's latency matrix without its diagonal: from, to, milliseconds.
const SEED_MATRIX: [(&str, &str, f32); 14] = [
    ("us-central1", "europe-west1", 120.0),
    ("us-central1", "asia-southeast1", 180.0),
    ("us-central1", "us-east1", 25.0),
    ("europe-west1", "asia-southeast1", 160.0),
    ("europe-west1", "us-east1", 90.0),
    ("asia-southeast1", "us-east1", 200.0),
    ("southamerica-east1", "us-central1", 100.0),
    ("southamerica-east1", "europe-west1", 180.0),
    ("southamerica-east1", "asia-southeast1", 280.0),
    ("southamerica-east1", "us-east1", 80.0),
    ("australia-southeast1", "us-central1", 140.0),
    ("australia-southeast1", "europe-west1", 240.0),
    ("australia-southeast1", "asia-southeast1", 80.0),
    ("australia-southeast1", "us-east1", 180.0),
];

fn distance(snapshot: &Snapshot, from: &str, to: &str) -> f32 {
    let place = |id| {
        snapshot
            .region(snapshot.region_by_id(id).unwrap())
            .place
            .unwrap()
    };
    place(from).distance_km(place(to))
}

fn estimate(snapshot: &Snapshot, from: &meridian_geo::Location, to: &str) -> f32 {
    let origin = snapshot.regions.latency.origin(from);
    origin
        .estimate(snapshot.region_by_id(to).unwrap())
        .unwrap()
        .corrected(0.0)
}

#[test]
fn the_distance_formula_is_the_line_through_the_seeds_matrix() {
    let snapshot = compile(SEED);
    let (mut product, mut square) = (0.0, 0.0);
    for (from, to, ms) in SEED_MATRIX {
        let km = distance(&snapshot, from, to);
        product += km * (ms - by_distance(0.0));
        square += km * km;
    }
    let slope = product / square;
    let ours = (by_distance(1_000.0) - by_distance(0.0)) / 1_000.0;
    assert!(
        (slope - ours).abs() < 0.0005,
        "least squares: {slope}, used: {ours}"
    );
}

#[test]
fn without_a_matrix_latency_is_distance() {
    let snapshot = compile(SEED);
    let km = located("DE")
        .distance_km(snapshot.region(RegionIndex(1)).place.unwrap())
        .unwrap();
    let found = estimate(&snapshot, &located("DE"), "europe-west1");
    // The client's nearest region is this one: its own 5 ms and the way there.
    assert!((found - by_distance(km)).abs() < 0.2, "{found}");
}

#[test]
fn a_client_gets_the_row_of_its_nearest_listed_region_and_the_way_there() {
    let snapshot = compile(&format!(
        "{SEED}latency_matrix: {{ europe-west1: {{ us-central1: 120, asia-southeast1: 160 }} }}"
    ));
    let way = estimate(&snapshot, &located("DE"), "europe-west1") - 5.0;
    assert!((estimate(&snapshot, &located("DE"), "us-central1") - 120.0 - way).abs() < 0.1);
    assert!((estimate(&snapshot, &located("DE"), "asia-southeast1") - 160.0 - way).abs() < 0.1);
    // Not listed: by distance between the regions.
    let derived = by_distance(distance(&snapshot, "europe-west1", "us-east1"));
    assert!((estimate(&snapshot, &located("DE"), "us-east1") - derived - way).abs() < 0.1);
}

#[test]
fn one_direction_stands_for_both_and_two_are_kept_apart() {
    let snapshot = compile(&format!(
        "{SEED}latency_matrix: {{ europe-west1: {{ us-central1: 120, us-east1: 90 }}, us-east1: {{ europe-west1: 95 }} }}"
    ));
    let between = |from: &str, to: &str| {
        let at = |id| snapshot.region_by_id(id).unwrap();
        snapshot.regions.latency.between(at(from), at(to)).unwrap()
    };
    for (from, to, ms) in [
        ("europe-west1", "us-central1", 120.0),
        ("us-central1", "europe-west1", 120.0),
        ("europe-west1", "us-east1", 90.0),
        ("us-east1", "europe-west1", 95.0),
        ("us-east1", "us-east1", 5.0),
    ] {
        assert!(
            (between(from, to) - ms).abs() < f32::EPSILON,
            "{from} to {to}"
        );
    }
}

#[test]
fn a_point_at_the_middle_of_a_country_is_that_country() {
    let snapshot = shipped();
    for code in ["DE", "US", "BR", "SG", "AU", "IN", "ZA", "NO"] {
        let middle = located(code).place().unwrap();
        let point = located_at(code, middle.lat(), middle.lon());
        for region in snapshot.regions() {
            let (by_country, by_point) = (
                estimate(&snapshot, &located(code), &region.id),
                estimate(&snapshot, &point, &region.id),
            );
            assert!(
                (by_country - by_point).abs() < 0.01,
                "{code} to {}",
                region.id
            );
        }
    }
}

#[test]
fn a_client_from_nowhere_stands_at_the_edge() {
    let snapshot = shipped();
    assert!((estimate(&snapshot, &located(""), "us-central1") - 5.0).abs() < f32::EPSILON);
    assert!((estimate(&snapshot, &located(""), "europe-west1") - 120.0).abs() < f32::EPSILON);
}

#[test]
fn nothing_is_faster_than_light_in_fibre() {
    let snapshot = shipped();
    let origin = snapshot.regions.latency.origin(&located("DE"));
    let at = |id| snapshot.region_by_id(id).unwrap();
    let far = origin
        .estimate(at("us-central1"))
        .unwrap()
        .corrected(-1_000.0);
    let near = origin
        .estimate(at("europe-west1"))
        .unwrap()
        .corrected(-1_000.0);
    assert!((70.0..80.0).contains(&far), "7,500 km: {far}");
    assert!((3.0..7.0).contains(&near), "460 km: {near}");
}

#[test]
fn regions_without_a_place_or_a_row_have_no_estimate() {
    let snapshot = compile("regions: [{ id: here }, { id: there }]");
    let origin = snapshot.regions.latency.origin(&located("DE"));
    assert_eq!(origin.estimate(RegionIndex(0)), None);
}

#[test]
fn a_country_without_coordinates_stands_in_its_middle() {
    let snapshot = compile("regions: [{ id: here, location: { country: DE } }]");
    let place = snapshot.region(RegionIndex(0)).place.unwrap();
    assert!(located("DE").distance_km(place).unwrap() < 1.0);
}

#[test]
fn weight_zero_is_a_standby() {
    let snapshot = compile("regions: [{ id: a, weight: 0 }, { id: b, role: standby }, { id: c }]");
    let roles: Vec<_> = snapshot
        .regions()
        .iter()
        .map(|region| region.role)
        .collect();
    assert_eq!(
        roles,
        [
            super::Role::Standby,
            super::Role::Standby,
            super::Role::Active
        ]
    );
}

#[test]
fn endpoints_stand_by_region_and_are_found_by_their_tag() {
    let snapshot = compile(
        "regions:
  - { id: a, endpoints: ['http://10.0.0.1:80', { url: 'http://10.0.0.2', version: v3.1.0 }] }
  - { id: b, endpoints: ['http://10.0.0.1:80'] }",
    );
    let ids: Vec<_> = snapshot
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.id.as_str())
        .collect();
    assert_eq!(
        ids,
        [
            "a/http://10.0.0.1:80",
            "a/http://10.0.0.2:80",
            "b/http://10.0.0.1:80"
        ]
    );
    assert_eq!(snapshot.endpoints()[1].version.as_deref(), Some("v3.1.0"));
    for (index, endpoint) in (0u32..).zip(snapshot.endpoints()) {
        let found = snapshot
            .regions
            .endpoint_by_tag(super::endpoint_tag(endpoint));
        assert_eq!(found, Some(crate::EndpointIndex(index)));
    }
    assert_eq!(snapshot.regions.endpoint_by_tag(1), None);
}

/// What is written, the place of the fault, a part of its message.
const FAULTS: &[(&str, &str, &str)] = &[
    ("regions: [{ id: a }, { id: a }]", "1:28", "defined twice"),
    ("regions: [{ id: 'a b' }]", "1:17", "no region id"),
    (
        "regions: [{ id: a, weight: 101 }]",
        "1:28",
        "weight over 100",
    ),
    ("regions: [{ id: a, capacity: 0 }]", "1:30", "not above 0"),
    (
        "regions: [{ id: a, endpoints: ['https://x'] }]",
        "1:32",
        "nothing says who vouches",
    ),
    (
        "upstream_tls: { ca: a.pem }\nregions: [{ id: a, endpoints: ['https://a..b'] }]",
        "2:32",
        "no certificate can be for this name",
    ),
    (
        "upstream_tls: { ca: a.pem, server_name: '' }\nregions: [{ id: a, endpoints: ['https://x'] }]",
        "1:41",
        "no certificate can be for this name",
    ),
    (
        "upstream_tls: { ca: '-----BEGIN CERTIFICATE-----' }\nregions: [{ id: a, endpoints: ['https://x'] }]",
        "1:21",
        "without `file:`",
    ),
    (
        "upstream_tls: { ca: a.pem, client: { cert: '', key: k } }\nregions: [{ id: a }]",
        "1:36",
        "no path",
    ),
    (
        "upstream_tls: { ca: a.pem, client: on }\nregions: [{ id: a }]",
        "1:36",
        "`off`",
    ),
    (
        "upstream_tls: { ca: a.pem, verify: off }\nregions: [{ id: a }]",
        "1:28",
        "verify",
    ),
    (
        "upstream_tls: { ca: a.pem, min_version: 1.1 }\nregions: [{ id: a }]",
        "1:41",
        "1.2",
    ),
    (
        "regions: [{ id: a, tls: { ca: a.pem }, endpoints: ['http://x'] }]",
        "1:25",
        "no effect",
    ),
    (
        "regions: [{ id: a, endpoints: [{ url: 'http://x', server_name: y }] }]",
        "1:64",
        "no effect",
    ),
    (
        "regions: [{ id: a, endpoints: ['http://x', 'http://x:80'] }]",
        "1:44",
        "listed twice",
    ),
    (
        "regions: [{ id: a, location: { country: EU } }]",
        "1:41",
        "no such country",
    ),
    (
        "regions: [{ id: a, location: { country: DE, lat: 1 } }]",
        "1:50",
        "both `lat` and `lon`",
    ),
    (
        "regions: [{ id: a, location: { country: DE, lat: 91, lon: 0 } }]",
        "1:50",
        "not on the globe",
    ),
    (
        "regions: [{ id: a, prices: { egress_per_gib: -1 } }]",
        "1:46",
        "below 0",
    ),
    (
        "regions: [{ id: alpha }]\nlatency_matrix: { alpah: { alpha: 1 } }",
        "2:19",
        "alpha",
    ),
    (
        "regions: [{ id: a }]\nlatency_matrix: { a: { a: -1 } }",
        "2:27",
        "not a latency",
    ),
    (
        "regions: [{ id: a }]\nscoring: { weights: { latency: -1 } }",
        "2:32",
        "no sum",
    ),
    (
        "regions: [{ id: a }]\nscoring: { tie_break: { b: 1 } }",
        "2:25",
        "b",
    ),
    (
        "regions: [{ id: a }]\nscoring: { latency_brackets: [{ below_ms: 9, score: 101 }] }",
        "2:30",
        "no curve",
    ),
    (
        "regions: [{ id: a }]\ntraffic_policy: { failover: { failover_threshold: 0 } }",
        "2:51",
        "not a percentage",
    ),
    (
        "regions: [{ id: a }]\ntraffic_policy: { failover: { degraded_threshold: 60 } }",
        "2:51",
        "degraded only after failed",
    ),
    (
        "regions: [{ id: a }]\noutlier_detection: { consecutive_errors: 0 }",
        "2:42",
        "out of range",
    ),
    (
        "regions: [{ id: a }]\noutlier_detection: { interval: 0s }",
        "2:32",
        "too short",
    ),
    (
        "regions: [{ id: a }]\noutlier_detection: { base_ejection_time: 60s, max_ejection_time: 30s }",
        "2:66",
        "shorter than the first",
    ),
    ("regions: [{ id: a }]\nhealth_check: never", "2:15", "`off`"),
    (
        "regions: [{ id: a }]\nhealth_check: { path: 'v3' }",
        "2:23",
        "not a path",
    ),
    (
        "regions: [{ id: a }]\nretry: { max_retries: 9 }",
        "2:23",
        "too many retries",
    ),
    (
        "regions: [{ id: a }]\nretry: { statuses: [404] }",
        "2:20",
        "only server errors",
    ),
    (
        "regions: [{ id: a }]\ntraffic_policy: { failover: { dwel: 10s } }",
        "2:31",
        "dwell",
    ),
];

#[test]
fn every_fault_has_its_place_and_its_remedy() {
    for (text, place, part) in FAULTS {
        let text = format!("{text}\nresidency: off\n");
        let faults = try_compile(&[("p.yaml", &text)]).expect_err(&text);
        let hit = faults
            .iter()
            .any(|fault| fault.starts_with(&format!("p.yaml:{place}: ")) && fault.contains(part));
        assert!(
            hit,
            "{text}\nwanted {place} {part}, got:\n{}",
            faults.join("\n")
        );
        let tells = |fault: &String| fault.contains("help: ") || fault.contains("expected ");
        assert!(faults.iter().all(tells), "{}", faults.join("\n"));
    }
}

#[test]
fn settings_of_tls_are_the_regions_own_key_by_key_over_those_of_all() {
    let snapshot = compile(
        "
upstream_tls: { ca: all.pem, client: { cert: e.pem, key: e.key }, server_name: Backend.Internal }
regions:
  - id: a
    endpoints: ['https://10.0.0.1:8443', { url: 'https://10.0.0.2:8443', server_name: 10.0.0.2 }]
  - id: b
    tls: { ca: b.pem, min_version: 1.3 }
    endpoints: ['https://10.0.0.1:8443', 'http://10.0.0.1:8443']
  - { id: c, tls: { client: off }, endpoints: ['https://c'] }
",
    );
    let identity = || {
        Some(super::UpstreamIdentity {
            cert: "e.pem".to_owned(),
            key: "e.key".to_owned(),
        })
    };
    let all: Vec<_> = snapshot
        .upstream_tls()
        .iter()
        .map(|tls| (tls.ca.as_str(), tls.client.clone(), tls.min_version))
        .collect();
    let (old, new) = (
        super::UpstreamTlsVersion::V12,
        super::UpstreamTlsVersion::V13,
    );
    assert_eq!(
        all,
        [
            ("all.pem", identity(), old),
            ("b.pem", identity(), new),
            ("all.pem", None, old),
        ]
    );
    let ends: Vec<_> = snapshot
        .endpoints()
        .iter()
        .map(|e| {
            e.tls
                .as_ref()
                .map(|tls| (tls.settings, tls.server_name.as_str()))
        })
        .collect();
    assert_eq!(
        ends,
        [
            Some((0, "backend.internal")),
            Some((0, "10.0.0.2")),
            Some((1, "backend.internal")),
            None,
            Some((2, "backend.internal")),
        ]
    );
    let tags: std::collections::BTreeSet<_> = snapshot
        .endpoints()
        .iter()
        .map(super::endpoint_tag)
        .collect();
    assert_eq!(tags.len(), 5, "TLS and plain text are different endpoints");
}

#[test]
fn a_certificate_is_for_the_host_of_the_address_where_nothing_else_is_written() {
    let snapshot = compile(
        "
upstream_tls: { ca: all.pem }
regions: [{ id: a, endpoints: ['https://Backend.example', 'https://[::1]:8443', 'https://10.0.0.1'] }]
",
    );
    let names: Vec<_> = snapshot
        .endpoints()
        .iter()
        .filter_map(|e| Some((e.tls.as_ref()?.server_name.as_str(), e.port)))
        .collect();
    assert_eq!(
        names,
        [("backend.example", 443), ("::1", 8443), ("10.0.0.1", 443)]
    );
}

#[test]
fn bounds_on_regions_and_endpoints_hold() {
    let many = |count: usize| {
        let list: Vec<String> = (0..count).map(|at| format!("{{ id: r{at} }}")).collect();
        format!("regions: [{}]\nresidency: off\n", list.join(", "))
    };
    assert!(try_compile(&[("p.yaml", &many(super::REGIONS_MAX))]).is_ok());
    let faults = try_compile(&[("p.yaml", &many(super::REGIONS_MAX + 1))]).unwrap_err();
    assert!(faults[0].contains("more than 512"), "{}", faults[0]);
    let urls: Vec<String> = (0..=super::ENDPOINTS_MAX)
        .map(|at| format!("'http://h{at}'"))
        .collect();
    let text = format!(
        "regions: [{{ id: a, endpoints: [{}] }}]\nresidency: off\n",
        urls.join(", ")
    );
    assert!(try_compile(&[("p.yaml", &text)]).unwrap_err()[0].contains("more than 4,096"));
}
