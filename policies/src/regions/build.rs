//! From what is written to what is meant.
//!
//! Promises: every fault is reported, each at the place where it stands; a
//! topology comes out even then, so that later checks find their own faults.

mod endpoints;
mod preferences;
mod versions;

use std::collections::HashSet;

use meridian_geo::{Country, Point};

use super::compiled::{
    CompiledRegions, Endpoint, Exposed, HotRegion, REGIONS_MAX, Region, Role, Toll, tag_of,
};
use super::latency::LatencyMap;
use super::plaintext::{self, Plaintext};
use super::prices::EgressPrices;
use super::raw::{
    RawLatencyMatrix, RawLocation, RawRegion, RawRegionList, RawRegions, RawRole, RawScoring,
};
use super::score::cost_score;
use super::tls::{RawUpstreamTls, UpstreamTls};
use crate::compile::CompileContext;
use crate::residency::RegionSet;
use crate::yaml::{Mark, Spanned};
use crate::{EndpointIndex, RegionIndex};

/// Longest way that a matrix may claim: 10 s.
const LATENCY_MAX_MS: f32 = 10_000.0;

/// Compiles regions and everything that chooses among them; faults go to
/// `ctx`.
pub(crate) fn compile(raw: RawRegions, ctx: &mut CompileContext<'_>) -> CompiledRegions {
    let edge_id = ctx.place.region;
    let plaintext = plaintext::compile(raw.plaintext_upstreams, ctx);
    let mut built = Build::new(plaintext, ctx);
    let tls_at = built.upstream_tls(raw.upstream_tls);
    let shipped = RawScoring::default();
    let raw_scoring = raw
        .scoring
        .as_ref()
        .map_or(&shipped, |scoring| &scoring.value);
    built.regions(
        raw.regions.map(|regions| regions.value).unwrap_or_default(),
        raw_scoring,
    );
    built.idle_tls(tls_at);
    let listed = raw
        .latency_matrix
        .map_or_else(Vec::new, |matrix| built.matrix(&matrix.value));
    let prices = raw.egress_prices.map(|prices| built.prices(&prices.value));
    let scoring = built.scoring(raw_scoring);
    let traffic = raw.traffic_policy.map(|policy| policy.value);
    let traffic = traffic.unwrap_or_default();
    let failover = built.failover(&traffic.failover.unwrap_or_default());
    let versions = built.versions(
        traffic.version_routing,
        (traffic.version_header, traffic.version_testers),
    );
    let Build {
        regions,
        endpoints,
        plaintext,
        tls,
        ..
    } = built;
    let edge = position(&regions, edge_id);
    let latency = LatencyMap::compile(&regions, &listed, edge);
    let tolls = tolls(&regions, edge, prices.as_ref());
    let dearest = tolls
        .iter()
        .filter_map(|toll| toll.back)
        .fold(0.0, f32::max);
    CompiledRegions {
        hot: (0u16..)
            .zip(regions.iter().zip(tolls))
            .map(|(at, (region, toll))| HotRegion {
                tag: tag_of(&region.id),
                endpoints: region.endpoints.clone(),
                sealed: region.endpoints.start..region.endpoints.start + region.sealed,
                role: region.role,
                capacity: region.capacity,
                weight: share(region.weight),
                tie_break: region.tie_break,
                cost: cost_score(toll.back, dearest),
                toll,
                from_edge_ms: edge.and_then(|edge| latency.between(edge, RegionIndex(at))),
            })
            .collect(),
        tags: tags(&endpoints),
        exposed: exposed(&regions),
        plaintext,
        tls,
        latency,
        all: regions,
        endpoints,
        edge,
        scoring,
        failover,
        versions,
        prices,
    }
}

/// The tolls of all regions.
fn tolls(
    regions: &[Region],
    edge: Option<RegionIndex>,
    prices: Option<&EgressPrices>,
) -> Vec<Toll> {
    (0u16..)
        .map(RegionIndex)
        .take(regions.len())
        .map(|at| toll(regions, (edge, at), prices))
        .collect()
}

/// What traffic between the edge and a region costs. Between two listed
/// regions it is the price of the pair; else, of the way back, what the region
/// takes for traffic out of it.
fn toll(
    regions: &[Region],
    (edge, at): (Option<RegionIndex>, RegionIndex),
    prices: Option<&EgressPrices>,
) -> Toll {
    match (prices, edge) {
        (Some(prices), Some(edge)) => Toll {
            there: Some(prices.between(regions, edge, at)),
            back: Some(prices.between(regions, at, edge)),
        },
        (Some(_) | None, _) => Toll {
            there: None,
            back: regions
                .get(at.index())
                .and_then(|region| region.egress_per_gib),
        },
    }
}

struct Build<'a, 'b> {
    plaintext: Plaintext,
    ctx: &'a mut CompileContext<'b>,
    regions: Vec<Region>,
    endpoints: Vec<Endpoint>,
    /// `upstream_tls` as it is written.
    all_tls: RawUpstreamTls,
    tls: Vec<UpstreamTls>,
}

impl<'a, 'b> Build<'a, 'b> {
    fn new(plaintext: Plaintext, ctx: &'a mut CompileContext<'b>) -> Self {
        Self {
            plaintext,
            ctx,
            regions: Vec::new(),
            endpoints: Vec::new(),
            all_tls: RawUpstreamTls::default(),
            tls: Vec::new(),
        }
    }

    fn fault(&mut self, at: Mark, message: impl Into<String>, help: impl Into<String>) {
        self.ctx.error_help(at, message, help);
    }

    fn regions(&mut self, raw: RawRegionList, scoring: &RawScoring) {
        let mut seen: HashSet<String> = HashSet::new();
        for region in raw {
            let at = region.value.id.at;
            let id = region.value.id.value.clone();
            if self.regions.len() >= REGIONS_MAX {
                return self.fault(
                    at,
                    "more than 512 regions",
                    "an edge chooses among at most 512",
                );
            }
            if !is_id(&id) {
                self.fault(
                    at,
                    "this is no region id",
                    "use letters, digits and `-`, at most 63",
                );
            }
            if !seen.insert(id.clone()) {
                self.fault(
                    at,
                    format!("the region `{id}` is defined twice"),
                    "give it another id",
                );
                continue;
            }
            self.region(region.value, scoring);
        }
    }

    fn region(&mut self, raw: RawRegion, scoring: &RawScoring) {
        let id = raw.id.value;
        let index = RegionIndex(u16::try_from(self.regions.len()).unwrap_or(u16::MAX));
        let weight = raw.weight.as_ref().map_or(100, |weight| weight.value);
        if let Some(given) = raw.weight.filter(|weight| weight.value > 100) {
            self.fault(
                given.at,
                "a weight over 100",
                "write a percentage; 0 makes it a standby",
            );
        }
        let role = match raw.role {
            RawRole::Active if weight > 0 => Role::Active,
            RawRole::Active | RawRole::Standby => Role::Standby,
        };
        let start = self.endpoints.len();
        self.endpoints((&id, index), raw.tls, raw.endpoints);
        let sealed = self.seal(start);
        let (country, city, place) = raw
            .location
            .map_or((None, None, None), |l| self.location(l));
        let capacity = self.positive(raw.capacity, "a capacity is requests per second, above 0");
        let egress = self.not_negative(raw.prices.egress_per_gib, "a price is not negative");
        let ranked = scoring
            .tie_break
            .iter()
            .flat_map(|pairs| &pairs.0)
            .find(|(name, _)| name.value == id);
        self.regions.push(Region {
            tie_break: ranked.map_or(0.0, |(_, total)| total.value),
            id,
            country,
            city,
            place,
            super_region: raw.super_region,
            role,
            weight: weight.min(100),
            capacity,
            compliance: raw.compliance,
            egress_per_gib: egress,
            endpoints: narrow(start)..narrow(self.endpoints.len()),
            sealed,
        });
    }

    /// Puts the sealed endpoints of the region that is being built first, each
    /// kind in the order of the file. Says how many there are.
    fn seal(&mut self, start: usize) -> u32 {
        let plaintext = &self.plaintext;
        let exposed = |endpoint: &Endpoint| !plaintext.way(endpoint).is_sealed();
        let own = self.endpoints.get_mut(start..).unwrap_or_default();
        own.sort_by_key(exposed);
        narrow(own.iter().filter(|endpoint| !exposed(endpoint)).count())
    }

    fn location(&mut self, raw: RawLocation) -> (Option<Country>, Option<String>, Option<Point>) {
        let country = Country::parse(&raw.country.value);
        if country.is_none() {
            self.fault(
                raw.country.at,
                "no such country",
                "write two letters, as in `BE`",
            );
        }
        let place = match (&raw.lat, &raw.lon) {
            (Some(lat), Some(lon)) => {
                let point = Point::new(lat.value, lon.value);
                if point.is_none() {
                    self.fault(
                        lat.at,
                        "not on the globe",
                        "`lat` is -90 to 90, `lon` -180 to 180",
                    );
                }
                point
            }
            (Some(one), None) | (None, Some(one)) => {
                self.fault(
                    one.at,
                    "a place needs both `lat` and `lon`",
                    "write both or neither",
                );
                None
            }
            (None, None) => country.map(Country::centroid),
        };
        (country, raw.city, place)
    }

    fn matrix(&mut self, raw: &RawLatencyMatrix) -> Vec<(RegionIndex, RegionIndex, f32)> {
        let mut listed = Vec::new();
        for (from, row) in &raw.0 {
            let start = self.named(from);
            for (to, ms) in &row.0 {
                let end = self.named(to);
                if !(0.0..=LATENCY_MAX_MS).contains(&ms.value) {
                    self.fault(ms.at, "not a latency", "write milliseconds, 0 to 10000");
                    continue;
                }
                if let (Some(start), Some(end)) = (start, end) {
                    listed.push((start, end, ms.value));
                }
            }
        }
        listed
    }

    /// The region that a key names, else a fault with what was meant.
    fn named(&mut self, id: &Spanned<String>) -> Option<RegionIndex> {
        let found = position(&self.regions, &id.value);
        if found.is_none() {
            let known = self.regions.iter().map(|region| region.id.as_str());
            self.ctx.unknown(id.at, ("region", &id.value), known);
        }
        found
    }

    fn positive(&mut self, given: Option<Spanned<f32>>, help: &str) -> Option<f32> {
        let given = given?;
        if given.value <= 0.0 {
            self.fault(given.at, "this is not above 0", help);
        }
        Some(given.value.max(1.0e-3))
    }

    fn not_negative(&mut self, given: Option<Spanned<f32>>, help: &str) -> Option<f32> {
        let given = given?;
        if given.value < 0.0 {
            self.fault(given.at, "this is below 0", help);
        }
        Some(given.value.max(0.0))
    }
}

fn position(regions: &[Region], id: &str) -> Option<RegionIndex> {
    let at = regions.iter().position(|region| region.id == id)?;
    u16::try_from(at).ok().map(RegionIndex)
}

fn is_id(id: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&id.len()) && id.bytes().all(valid)
}

/// A percentage as a share.
fn share(percent: u32) -> f32 {
    f32::from(u16::try_from(percent.min(100)).unwrap_or(100)) / 100.0
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn exposed(regions: &[Region]) -> Option<Box<Exposed>> {
    let (mut bare, mut unsealed) = (RegionSet::EMPTY, RegionSet::EMPTY);
    for (at, region) in (0u16..).zip(regions) {
        if region.sealed == 0 {
            unsealed.insert(RegionIndex(at));
            if region.endpoint_count() > 0 {
                bare.insert(RegionIndex(at));
            }
        }
    }
    (!bare.is_empty()).then(|| Box::new(Exposed { bare, unsealed }))
}

fn tags(endpoints: &[Endpoint]) -> Vec<(u64, EndpointIndex)> {
    let mut tags: Vec<_> = (0u32..)
        .zip(endpoints)
        .map(|(at, e)| (e.tag, EndpointIndex(at)))
        .collect();
    tags.sort_unstable();
    tags
}
