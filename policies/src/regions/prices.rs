//! What traffic between two regions costs (`egress_prices`).
//!
//! Promises: a price for every pair as soon as the key is there, from the
//! closest statement: the pair itself, its super-region, anywhere. Without the
//! key there is no price between regions. Source of the defaults: the seed's
//! "GCP egress pricing (as of 2026)": 0.01 a GB within a continent, 0.05 to
//! 0.08 between continents.

use serde_json::{Value, json};

use super::compiled::Region;
use crate::RegionIndex;

/// Within a super-region, US dollars a GiB.
pub(super) const SAME_SUPER_REGION: f32 = 0.01;

/// Between continents: the upper end of the seed's range.
pub(super) const ELSEWHERE: f32 = 0.08;

/// Prices between regions, US dollars a GiB.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EgressPrices {
    pub(super) same_super_region: f32,
    pub(super) elsewhere: f32,
    /// From, to.
    pub(super) pairs: Vec<(RegionIndex, RegionIndex, f32)>,
}

impl EgressPrices {
    /// Price of traffic from one region to another; 0 within one.
    pub(super) fn between(&self, regions: &[Region], from: RegionIndex, to: RegionIndex) -> f32 {
        if from == to {
            return 0.0;
        }
        let listed = self
            .pairs
            .iter()
            .find(|(start, end, _)| (*start, *end) == (from, to));
        if let Some((_, _, price)) = listed {
            return *price;
        }
        let group = |at: RegionIndex| regions.get(at.index())?.super_region.as_deref();
        match (group(from), group(to)) {
            (Some(one), Some(other)) if one == other => self.same_super_region,
            (Some(_) | None, _) => self.elsewhere,
        }
    }

    /// For `/snapshot`.
    pub(super) fn to_json(&self, regions: &[Region]) -> Value {
        let id = |at: &RegionIndex| regions.get(at.index()).map(|region| &region.id);
        json!({
            "same_super_region": self.same_super_region,
            "elsewhere": self.elsewhere,
            "pairs": self.pairs.iter().map(|(from, to, price)| json!({
                "from": id(from), "to": id(to), "price": price,
            })).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests;
