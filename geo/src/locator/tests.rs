use mmdb_writer::IpVersion;

use super::*;
use crate::database::fixtures::{BUILT, flat_city, flat_country, mmdb};
use crate::{CityName, Country, Point};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn in_country(code: &str) -> Override {
    Override {
        country: Some(Country::parse(code).unwrap()),
        ..Override::default()
    }
}

/// Databases named `0`, `1`, ... of the given networks and codes.
fn with_databases(databases: &[&[(&str, &str)]]) -> LocatorBuilder {
    let mut builder = Locator::builder().embedded(Embedded::Off);
    for (index, records) in databases.iter().enumerate() {
        let records: Vec<_> = records
            .iter()
            .map(|(net, code)| (*net, flat_country(code)))
            .collect();
        let bytes = mmdb(IpVersion::V6, &records);
        builder = builder
            .database(&index.to_string(), bytes, BUILT, None)
            .unwrap();
    }
    builder
}

fn code(locator: &Locator, address: &str) -> Option<&'static str> {
    locator
        .locate(ip(address))
        .country
        .map(|country| country.as_str())
}

#[test]
fn a_locator_is_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Locator>();
    shared::<Arc<Database>>();
}

#[test]
fn an_override_outweighs_databases_and_special_ranges() {
    let city = CityName::new("Frankfurt am Main");
    let point = Point::new(50.1, 8.7);
    let office = Override {
        country: Country::parse("DE"),
        point,
        city,
    };
    let locator = with_databases(&[&[("8.0.0.0/8", "US")]])
        .overrides([
            (ip_net("127.0.0.0/8"), office),
            (ip_net("8.8.8.0/24"), in_country("CH")),
        ])
        .build()
        .unwrap();
    let loopback = locator.locate(ip("127.0.0.1"));
    assert_eq!(loopback.country, Country::parse("DE"));
    assert_eq!((loopback.point, loopback.city), (point, city));
    assert_eq!(
        (loopback.source, loopback.certainty),
        (Source::Override, Certainty::Operator)
    );
    assert_eq!(code(&locator, "::ffff:127.0.0.1"), Some("DE"));
    assert_eq!(code(&locator, "8.8.8.8"), Some("CH"));
    assert_eq!(code(&locator, "8.8.9.8"), Some("US"));
}

fn ip_net(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[test]
fn an_override_may_say_that_a_network_is_nowhere() {
    let locator = with_databases(&[&[("8.0.0.0/8", "US")]])
        .overrides([(ip_net("8.8.8.0/24"), Override::default())])
        .build()
        .unwrap();
    let location = locator.locate(ip("8.8.8.8"));
    assert_eq!(
        (location.country, location.certainty),
        (None, Certainty::Operator)
    );
}

#[test]
fn special_ranges_are_not_placed_even_where_a_database_places_them() {
    let locator = with_databases(&[&[
        ("192.168.0.0/16", "AU"),
        ("203.0.113.0/24", "AU"),
        ("2001:db8::/32", "JP"),
        ("100.64.0.0/10", "US"),
        ("8.0.0.0/8", "US"),
    ]])
    .build()
    .unwrap();
    for address in [
        "192.168.1.1",
        "203.0.113.9",
        "2001:db8::1",
        "100.64.0.1",
        "::1",
        "fe80::1",
    ] {
        assert_eq!(
            locator.locate(ip(address)),
            Location::unknown(UnknownReason::SpecialPurpose),
            "{address}"
        );
    }
    assert_eq!(code(&locator, "8.8.8.8"), Some("US"));
}

#[test]
fn a_mapped_address_is_placed_like_the_one_inside() {
    let locator = with_databases(&[&[("8.0.0.0/8", "US")]]).build().unwrap();
    let plain = locator.locate(ip("8.8.8.8"));
    assert_eq!(plain.country, Country::parse("US"));
    assert_eq!(locator.locate(ip("::ffff:8.8.8.8")), plain);
    assert_eq!(locator.locate(ip("64:ff9b::8.8.8.8")), plain);
}

#[test]
fn databases_are_asked_in_order_until_one_knows_the_country() {
    let locator = with_databases(&[
        &[("8.0.0.0/8", "US"), ("9.0.0.0/8", "EU")],
        &[
            ("8.0.0.0/8", "DE"),
            ("9.0.0.0/8", "FR"),
            ("5.0.0.0/8", "IT"),
        ],
    ])
    .build()
    .unwrap();
    for (address, code, index) in [
        ("8.8.8.8", "US", 0),
        ("9.9.9.9", "FR", 1),
        ("5.5.5.5", "IT", 1),
    ] {
        let location = locator.locate(ip(address));
        assert_eq!(location.country, Country::parse(code), "{address}");
        assert_eq!(location.source, Source::Database(index));
        assert_eq!(location.certainty, Certainty::Country);
        assert_eq!(locator.source_name(location.source), index.to_string());
    }
    assert_eq!(
        locator.locate(ip("4.4.4.4")),
        Location::unknown(UnknownReason::NotFound)
    );
}

#[test]
fn a_pseudo_code_that_nobody_resolves_says_so() {
    let records: &[(&str, &str)] = &[("9.0.0.0/8", "EU"), ("8.0.0.0/8", "US")];
    let locator = with_databases(&[records, &[("8.0.0.0/8", "US")]])
        .build()
        .unwrap();
    assert_eq!(
        locator.locate(ip("9.9.9.9")),
        Location::unknown(UnknownReason::NotACountry)
    );
}

#[test]
fn a_city_database_gives_point_and_city() {
    let bytes = mmdb(
        IpVersion::V4,
        &[
            ("91.64.0.0/10", flat_city("DE", "Köln", (50.9, 6.9))),
            ("8.0.0.0/8", flat_country("US")),
        ],
    );
    let locator = Locator::builder()
        .embedded(Embedded::Off)
        .database("city", bytes, BUILT, None)
        .unwrap()
        .build()
        .unwrap();
    let cologne = locator.locate(ip("91.64.0.1"));
    assert_eq!(cologne.certainty, Certainty::City);
    assert_eq!(cologne.point, Point::new(50.9, 6.9));
    assert_eq!(cologne.city.unwrap().ascii().as_str(), "K%C3%B6ln");
    let somewhere = locator.locate(ip("8.8.8.8"));
    assert_eq!(
        (somewhere.certainty, somewhere.point),
        (Certainty::Country, None)
    );
    assert_eq!(
        somewhere.place(),
        Country::parse("US").map(Country::centroid)
    );
}

#[test]
fn sources_that_disagree_about_the_country_are_disputed_where_agreement_is_required() {
    let databases: &[&[(&str, &str)]] = &[
        &[
            ("8.0.0.0/8", "US"),
            ("9.0.0.0/8", "CA"),
            ("6.0.0.0/8", "EU"),
        ],
        &[
            ("8.0.0.0/8", "US"),
            ("9.0.0.0/8", "DE"),
            ("5.0.0.0/8", "IT"),
            ("6.0.0.0/8", "NL"),
        ],
    ];
    let strict = with_databases(databases)
        .require_agreement(Agreement::Required)
        .build()
        .unwrap();
    let disputed = strict.locate(ip("9.9.9.9"));
    assert_eq!(disputed.certainty, Certainty::Disputed);
    assert_eq!((disputed.country, disputed.place()), (None, None));
    assert_eq!(code(&strict, "8.8.8.8"), Some("US"), "both say so");
    assert_eq!(
        code(&strict, "5.5.5.5"),
        Some("IT"),
        "who knows nothing does not disagree"
    );
    assert_eq!(
        code(&strict, "6.6.6.6"),
        Some("NL"),
        "a pseudo-code does not disagree"
    );
    assert_eq!(
        strict.locate(ip("4.4.4.4")),
        Location::unknown(UnknownReason::NotFound)
    );
    let lenient = with_databases(databases).build().unwrap();
    assert_eq!(code(&lenient, "9.9.9.9"), Some("CA"));
}

#[test]
fn a_survey_names_what_each_source_says() {
    let locator = with_databases(&[
        &[("8.0.0.0/8", "US")],
        &[("8.0.0.0/8", "DE"), ("9.0.0.0/8", "FR")],
    ])
    .build()
    .unwrap();
    let said: Vec<_> = locator
        .survey(ip("9.9.9.9"))
        .into_iter()
        .map(|(source, location)| (source, location.country, location.certainty.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            (Source::Database(0), None, "not-found"),
            (Source::Database(1), Country::parse("FR"), "country"),
        ]
    );
}

#[test]
fn agreement_of_one_source_with_itself_is_refused() {
    let alone = with_databases(&[&[("8.0.0.0/8", "US")]]).require_agreement(Agreement::Required);
    assert_eq!(
        alone.build().unwrap_err(),
        BuildError::AgreementNeedsTwoSources(1)
    );
}

#[test]
fn duplicates_are_refused_by_name() {
    let net = ip_net("10.0.0.0/8");
    let twice = Locator::builder().overrides([(net, in_country("DE")), (net, in_country("FR"))]);
    assert_eq!(
        twice.build().unwrap_err(),
        BuildError::DuplicateOverride(net)
    );
    let bytes = || mmdb(IpVersion::V4, &[("8.0.0.0/8", flat_country("US"))]);
    let named_alike = Locator::builder()
        .database("country", bytes(), BUILT, None)
        .unwrap()
        .database("country", bytes(), BUILT, None)
        .unwrap();
    let refused = named_alike.build().unwrap_err();
    assert_eq!(refused, BuildError::DuplicateDatabase("country".to_owned()));
}

#[test]
fn more_than_the_bounds_is_refused() {
    let too_many = OVERRIDES_MAX + 1;
    let nets = (0_u32..)
        .take(too_many)
        .map(|bits| (host(bits), in_country("DE")));
    let refused = Locator::builder().overrides(nets).build().unwrap_err();
    assert_eq!(refused, BuildError::TooManyOverrides(too_many));
    let one = with_databases(&[&[("8.0.0.0/8", "US")]]);
    let shared = Arc::clone(&one.databases[0]);
    let crowd = (0..DATABASES_MAX).fold(one, |all, _| all.shared_database(Arc::clone(&shared)));
    assert_eq!(
        crowd.build().unwrap_err(),
        BuildError::TooManyDatabases(DATABASES_MAX + 1)
    );
}

fn host(bits: u32) -> IpNet {
    IpNet::from(IpAddr::from(bits.to_be_bytes()))
}

#[test]
fn the_revision_changes_with_everything_that_changes_answers() {
    let base = || with_databases(&[&[("8.0.0.0/8", "US")], &[("8.0.0.0/8", "DE")]]);
    let of = |builder: LocatorBuilder| builder.build().unwrap().revision().to_owned();
    let other_data = with_databases(&[&[("8.0.0.0/8", "US")], &[("8.0.0.0/8", "AT")]]);
    let other_order = with_databases(&[&[("8.0.0.0/8", "DE")], &[("8.0.0.0/8", "US")]]);
    let revisions = [
        of(base()),
        of(other_data),
        of(other_order),
        of(base().require_agreement(Agreement::Required)),
        of(base().overrides([(ip_net("10.0.0.0/8"), in_country("DE"))])),
        of(base().overrides([(ip_net("10.0.0.0/8"), in_country("FR"))])),
    ];
    let distinct: std::collections::BTreeSet<_> = revisions.iter().collect();
    assert_eq!(distinct.len(), revisions.len(), "{revisions:?}");
    assert_eq!(of(base()), revisions[0]);
    assert_eq!(revisions[0].len(), 16);
}

#[test]
fn the_next_generation_is_built_from_shared_databases() {
    let first = with_databases(&[&[("8.0.0.0/8", "US")]]).build().unwrap();
    let next = first
        .shared_databases()
        .iter()
        .fold(
            Locator::builder().embedded(Embedded::Off),
            |builder, database| builder.shared_database(Arc::clone(database)),
        )
        .build()
        .unwrap();
    assert_eq!(next.revision(), first.revision());
    assert_eq!(next.databases(), first.databases());
    assert_eq!(code(&next, "8.8.8.8"), Some("US"));
}

#[test]
fn without_any_source_everything_is_unknown() {
    let locator = Locator::builder().embedded(Embedded::Off).build().unwrap();
    assert_eq!(
        locator.locate(ip("8.8.8.8")),
        Location::unknown(UnknownReason::NotFound)
    );
}

#[cfg(not(feature = "embedded"))]
#[test]
fn embedded_data_that_is_not_in_the_binary_is_refused() {
    let refused = Locator::builder()
        .embedded(Embedded::On)
        .build()
        .unwrap_err();
    assert_eq!(refused, BuildError::NoEmbeddedData);
    assert!(Locator::builder().build().is_ok());
    assert_eq!((crate::attribution(), embedded_revision()), (None, None));
}

#[cfg(feature = "embedded")]
mod embedded {
    use super::*;

    fn default_locator() -> Locator {
        Locator::builder().build().unwrap()
    }

    #[test]
    fn the_embedded_data_places_addresses_of_five_continents() {
        let locator = default_locator();
        for (address, expected) in [
            ("91.64.0.1", "DE"),
            ("8.8.8.8", "US"),
            ("165.21.83.88", "SG"),
            ("200.160.2.3", "BR"),
            ("49.36.0.1", "IN"),
            ("1.128.0.1", "AU"),
            ("196.25.1.1", "ZA"),
            ("2003::1", "DE"),
            ("2001:4860:4860::8888", "US"),
            ("::ffff:91.64.0.1", "DE"),
        ] {
            let location = locator.locate(ip(address));
            assert_eq!(location.country, Country::parse(expected), "{address}");
            assert_eq!(location.source, Source::Embedded);
            assert_eq!(location.certainty, Certainty::Country);
        }
    }

    #[test]
    fn databases_are_asked_before_the_embedded_data() {
        let locator = with_databases(&[&[("8.0.0.0/8", "CA")]])
            .embedded(Embedded::On)
            .build()
            .unwrap();
        assert_eq!(code(&locator, "8.8.8.8"), Some("CA"));
        assert_eq!(code(&locator, "91.64.0.1"), Some("DE"));
    }

    #[test]
    fn a_database_and_the_embedded_data_can_be_made_to_agree() {
        let locator = with_databases(&[&[("8.0.0.0/8", "CA"), ("91.64.0.0/10", "DE")]])
            .embedded(Embedded::On)
            .require_agreement(Agreement::Required)
            .build()
            .unwrap();
        assert_eq!(locator.locate(ip("8.8.8.8")).certainty, Certainty::Disputed);
        assert_eq!(code(&locator, "91.64.0.1"), Some("DE"));
    }

    /// Whoever updates the data must update the date and the NOTICE.
    #[test]
    fn the_notice_and_the_revision_name_the_export_in_the_binary() {
        let lock = include_str!("../../../Cargo.lock").replace("\r\n", "\n");
        assert!(
            lock.contains("name = \"tor-geoip-db\"\nversion = \"0.1.1\"\n"),
            "new embedded data: update `embedded_revision`, NOTICE and this test"
        );
        let notice = include_str!("../../../NOTICE");
        assert_eq!(embedded_revision(), Some("ipfire-2026-09-23"));
        for phrase in ["23 Sep 2026", "IPFire", "CC BY-SA 4.0"] {
            assert!(notice.contains(phrase), "{phrase}");
        }
        let attribution = crate::attribution().unwrap();
        assert!(attribution.contains("IPFire") && attribution.contains("CC BY-SA 4.0"));
    }

    #[test]
    fn no_address_of_a_special_range_has_a_place() {
        let locator = default_locator();
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "198.18.0.1",
            "2002:808:808::1",
            "ff02::1",
        ] {
            let location = locator.locate(ip(address));
            assert_eq!(
                location.certainty,
                Certainty::Unknown(UnknownReason::SpecialPurpose)
            );
        }
    }
}
