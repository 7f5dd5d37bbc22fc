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
