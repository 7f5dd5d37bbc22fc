//! Cost of one lookup by source. Flat from 10 to 10,000 overrides is a
//! requirement; addresses are drawn in advance, spread over the whole space,
//! so that branch prediction and caches are not flattered.

#![expect(clippy::unwrap_used, reason = "a bench over fixtures")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use meridian_geo::{Country, Embedded, IpNet, Locator, LocatorBuilder, Override};
use mmdb_writer::{IpVersion, Value, Writer};

const ADDRESSES: u32 = 4096;

fn addresses() -> Vec<IpAddr> {
    (0..ADDRESSES)
        .map(|step| IpAddr::V4(Ipv4Addr::from_bits(step.wrapping_mul(0x9e37_79b1))))
        .collect()
}

/// Networks of 256 addresses, spread evenly.
fn networks(count: u32) -> impl Iterator<Item = IpNet> {
    (0..count).map(move |index| {
        let first = (u32::MAX / count * index) & !0xff;
        IpNet::new(Ipv4Addr::from_bits(first).into(), 24).unwrap()
    })
}

fn overrides(count: u32) -> LocatorBuilder {
    let place = Override {
        country: Country::parse("DE"),
        ..Override::default()
    };
    Locator::builder().overrides(networks(count).map(|net| (net, place)))
}

fn city_database() -> Vec<u8> {
    let mut writer = Writer::builder("Bench")
        .ip_version(IpVersion::V6)
        .build_epoch(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
        .build();
    let countries: Vec<Country> = Country::all().collect();
    for (index, block) in (0_u16..).zip(networks(60_000)) {
        let country = countries.get(usize::from(index) % countries.len()).unwrap();
        let record = Value::map([
            ("country_code", Value::from(country.as_str())),
            ("city", Value::from(format!("City {index}"))),
            ("latitude", Value::from(country.centroid().lat())),
            ("longitude", Value::from(country.centroid().lon())),
        ]);
        let wide = IpNet::new(block.addr(), 16).unwrap();
        writer.insert_value(wide, record).unwrap();
    }
    writer.to_bytes().unwrap()
}

fn locate(criterion: &mut Criterion) {
    let mmdb = Locator::builder()
        .embedded(Embedded::Off)
        .database("city", city_database(), 1_800_000_000, None)
        .unwrap();
    let without_data = |count| overrides(count).embedded(Embedded::Off);
    let addresses = addresses();
    let mut group = criterion.benchmark_group("locate");
    for (name, builder) in [
        ("embedded", Locator::builder()),
        ("mmdb_city", mmdb),
        ("overrides_10", without_data(10)),
        ("overrides_10000", without_data(10_000)),
        ("overrides_10_then_embedded", overrides(10)),
        ("overrides_10000_then_embedded", overrides(10_000)),
    ] {
        let locator = builder.build().unwrap();
        let mut next = addresses.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| locator.locate(black_box(*next.next().unwrap())));
        });
    }
    group.finish();
}

criterion_group!(benches, locate);
criterion_main!(benches);
