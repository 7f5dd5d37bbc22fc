//! A bounded look at a database before it is believed.

use std::net::{IpAddr, Ipv4Addr};

use maxminddb::{MaxMindDbError, Reader, WithinOptions};

use super::record::Record;
use super::{DatabaseError, Detail, Schema, kind, place};

/// Networks walked from the start of the tree, empty ones and aliases counted:
/// they are what a hostile tree would have without end.
const PROBE_NETWORKS: usize = 100_000;

/// IPv4 addresses looked up besides, spread over the whole space, so that
/// damage further in is met, too.
const PROBE_ADDRESSES: u32 = 16_384;

/// Step between them: odd, so that the addresses differ, and near the golden
/// ratio of 2^32, so that they lie evenly.
const PROBE_STRIDE: u32 = 0x9e37_79b1;

/// What the probe found.
pub(super) struct Findings {
    pub(super) schema: Schema,
    pub(super) detail: Detail,
}

/// Counts over the sample.
#[derive(Default)]
struct Tally {
    records: usize,
    schema: Option<Schema>,
    detail: Option<Detail>,
}

impl Tally {
    fn count(&mut self, record: &Record<'_>) {
        self.records += 1;
        if let (Some(place), Some((schema, _))) = (place(record), record.country) {
            self.schema.get_or_insert(schema);
            let detail = if place.city.is_some() {
                Detail::City
            } else {
                Detail::Country
            };
            self.detail = self.detail.max(Some(detail));
        }
    }
}

/// Any record of the sample that does not decode refuses the file: a whole one
/// has none.
pub(super) fn probe(reader: &Reader<Vec<u8>>) -> Result<Findings, DatabaseError> {
    let mut tally = Tally::default();
    walk(reader, &mut tally)?;
    spread(reader, &mut tally)?;
    match (tally.schema, tally.detail) {
        (Some(schema), Some(detail)) => Ok(Findings { schema, detail }),
        (None, _) | (_, None) => Err(DatabaseError::NoCountry {
            records: tally.records,
            kind: kind(reader),
        }),
    }
}

/// The first networks in order. Empty and aliased ones are asked for, so that
/// the walk pays with its budget for all it passes.
fn walk(reader: &Reader<Vec<u8>>, tally: &mut Tally) -> Result<(), MaxMindDbError> {
    let everything = WithinOptions::default()
        .include_networks_without_data()
        .include_aliased_networks();
    for network in reader.networks(everything)?.take(PROBE_NETWORKS) {
        if let Some(record) = network?.decode::<Record<'_>>()? {
            tally.count(&record);
        }
    }
    Ok(())
}

fn spread(reader: &Reader<Vec<u8>>, tally: &mut Tally) -> Result<(), MaxMindDbError> {
    for step in 0..PROBE_ADDRESSES {
        let ip = IpAddr::V4(Ipv4Addr::from_bits(step.wrapping_mul(PROBE_STRIDE)));
        if let Some(record) = reader.lookup(ip)?.decode::<Record<'_>>()? {
            tally.count(&record);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mmdb_writer::{IpVersion, Value};

    use super::super::fixtures::{flat_city, flat_country, mmdb};
    use super::*;

    fn reader(records: &[(&str, Value)]) -> Reader<Vec<u8>> {
        Reader::from_source(mmdb(IpVersion::V4, records)).unwrap()
    }

    #[test]
    fn each_half_of_the_probe_meets_a_record_that_does_not_decode() {
        let wrong = Value::map([("country_code", Value::from(49_u32))]);
        let damaged = reader(&[("8.0.0.0/8", flat_country("US")), ("217.0.0.0/12", wrong)]);
        assert!(walk(&damaged, &mut Tally::default()).is_err());
        assert!(spread(&damaged, &mut Tally::default()).is_err());
    }

    #[test]
    fn the_spread_addresses_leave_no_gap_of_a_slash_13() {
        let mut met = vec![0_u32; 1 << 16];
        for index in 0..PROBE_ADDRESSES {
            let [first, second, ..] = index.wrapping_mul(PROBE_STRIDE).to_be_bytes();
            met[usize::from(u16::from_be_bytes([first, second]))] += 1;
        }
        let longest_gap = met
            .split(|count| *count > 0)
            .map(<[u32]>::len)
            .max()
            .unwrap();
        assert!(longest_gap < 8, "of /16: {longest_gap}");
    }

    #[test]
    fn the_finest_detail_of_the_sample_is_the_databases() {
        let city = flat_city("DE", "Berlin", (52.5, 13.4));
        let mixed = reader(&[("8.0.0.0/8", flat_country("US")), ("91.0.0.0/8", city)]);
        assert_eq!(probe(&mixed).unwrap().detail, Detail::City);
    }
}
