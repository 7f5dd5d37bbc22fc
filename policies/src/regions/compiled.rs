//! Regions and their endpoints as they are meant, and all that the choice
//! among them needs.
//!
//! Promises: regions keep the order of the file, endpoints stand together by
//! region, ids are unique, and every number is finite and within its stated
//! bound. Refuses more than 512 regions or 4,096 endpoints.

use std::ops::Range;

use meridian_geo::{Country, Point};
use serde::Serialize;
use serde_json::{Value, json};

use super::failover::FailoverPolicy;
use super::gates::{Gate, is_out};
use super::latency::LatencyMap;
use super::plaintext::{Plaintext, Way};
use super::prices::EgressPrices;
use super::score::Scoring;
use super::tls::{EndpointTls, UpstreamTls};
use super::versions::{VersionIndex, Versions};
use crate::residency::{Permitted, RegionSet};
use crate::{EndpointIndex, RegionIndex};

/// Most regions in one policy set.
pub const REGIONS_MAX: usize = 512;

/// Most endpoints in one policy set, all regions together.
pub const ENDPOINTS_MAX: usize = 4_096;

/// Whether a region serves by itself or only in need.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Serves its share.
    Active,
    /// Serves only when no permitted active region can (seed: weight 0).
    Standby,
}

/// A place where requests may be served.
#[derive(Clone, Debug)]
pub struct Region {
    /// Name, unique, of letters, digits and `-`, at most 63 bytes.
    pub id: String,
    /// Country it stands in, if the file says so.
    pub country: Option<Country>,
    /// City, for people.
    pub city: Option<String>,
    /// Where it stands: as written, else the middle of the country.
    pub place: Option<Point>,
    /// Group of regions it belongs to, such as `emea`.
    pub super_region: Option<String>,
    /// Active or standby; weight 0 makes a region standby.
    pub role: Role,
    /// Share of the traffic it would win that it takes, 0 to 100 percent.
    pub weight: u32,
    /// Requests per second it can take; `None`: never a reason to go
    /// elsewhere.
    pub capacity: Option<f32>,
    /// Certifications, for people and reports.
    pub compliance: Vec<String>,
    /// Price of traffic out of the region, per GiB, in any one currency.
    pub egress_per_gib: Option<f32>,
    /// Total of the seed's decision matrix, 0 to 10; breaks ties.
    pub tie_break: f32,
    pub(crate) endpoints: Range<u32>,
    /// Of these, the first so many are sealed.
    pub(crate) sealed: u32,
}

impl Region {
    /// Its endpoints' indices, in file order.
    pub fn endpoints(&self) -> impl Iterator<Item = EndpointIndex> + use<> {
        self.endpoints.clone().map(EndpointIndex)
    }

    /// How many endpoints it has; a region without any never serves.
    pub fn endpoint_count(&self) -> u32 {
        self.endpoints.end.saturating_sub(self.endpoints.start)
    }
}

/// How an endpoint is spoken to.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plaintext HTTP/1.1.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
}

impl Scheme {
    /// As in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where none is written.
    pub(super) fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Whether others on the way to an endpoint can read what is sent.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// They can.
    Plain,
    /// TLS, with the endpoint's certificate verified.
    Tls,
}

/// One backend address of a region.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `region/url`, unique.
    pub id: String,
    /// The region it belongs to.
    pub region: RegionIndex,
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `host:port` as it stands in a `Host` field.
    pub authority: String,
    /// How TLS is spoken with it; there for `https`, and only there.
    pub tls: Option<EndpointTls>,
    /// Version it runs, if the file says so.
    pub version: Option<String>,
    /// The same, if requests are routed to it.
    pub routed: Option<VersionIndex>,
    pub(crate) tag: u64,
}

impl Endpoint {
    /// Whether requests travel to it encrypted.
    pub fn transport(&self) -> Transport {
        match self.scheme {
            Scheme::Http => Transport::Plain,
            Scheme::Https => Transport::Tls,
        }
    }
}

/// Everything that the choice of a region reads, one generation.
#[derive(Debug)]
pub(crate) struct CompiledRegions {
    pub(crate) all: Vec<Region>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// Endpoints by tag, sorted, for pinned sessions.
    pub(crate) tags: Vec<(u64, EndpointIndex)>,
    /// Region the edge stands in, if it is one of these.
    pub(crate) edge: Option<RegionIndex>,
    pub(crate) latency: LatencyMap,
    pub(crate) scoring: Scoring,
    pub(crate) failover: FailoverPolicy,
    pub(crate) versions: Versions,
    /// `None`: nothing is said of prices between regions.
    pub(crate) prices: Option<EgressPrices>,
    pub(crate) plaintext: Plaintext,
    /// All different settings of TLS toward endpoints.
    pub(crate) tls: Vec<UpstreamTls>,
    /// Regions that are spoken to in plain text only; `None`: there are none.
    pub(crate) exposed: Option<Box<Exposed>>,
    /// The same regions, as far as every request reads them.
    pub(crate) hot: Vec<HotRegion>,
}

/// What a GiB between the edge and a region costs, in US dollars; `None`: not
/// known.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct Toll {
    /// From the edge to the region.
    pub there: Option<f32>,
    /// From the region to the edge.
    pub back: Option<f32>,
}

/// What scoring reads of a region, without its texts.
#[derive(Clone, Debug)]
pub(crate) struct HotRegion {
    /// FNV-1a of its id.
    pub(crate) tag: u64,
    pub(crate) endpoints: Range<u32>,
    /// Of these, those that data may be sent to that must be encrypted.
    pub(crate) sealed: Range<u32>,
    pub(crate) role: Role,
    pub(crate) capacity: Option<f32>,
    /// 0 to 1.
    pub(crate) weight: f32,
    pub(crate) tie_break: f32,
    /// Points of the cost term.
    pub(crate) cost: f32,
    pub(crate) toll: Toll,
    /// What the matrix says from the edge's own place.
    pub(crate) from_edge_ms: Option<f32>,
}

/// Regions without a sealed endpoint.
#[derive(Debug)]
pub(crate) struct Exposed {
    /// Those that have others.
    pub(crate) bare: RegionSet,
    /// All, those without any endpoint included.
    pub(crate) unsealed: RegionSet,
}

impl HotRegion {
    /// The endpoints that data of this permit may be sent to.
    #[inline]
    pub(crate) fn serves(&self, permitted: &Permitted) -> &Range<u32> {
        if permitted.must_be_encrypted() && !is_out(Gate::Plaintext) {
            &self.sealed
        } else {
            &self.endpoints
        }
    }
}

impl CompiledRegions {
    /// The region of this id.
    pub(crate) fn index_of(&self, id: &str) -> Option<RegionIndex> {
        let at = self.all.iter().position(|region| region.id == id)?;
        u16::try_from(at).ok().map(RegionIndex)
    }

    /// Every id, for "did you mean".
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|region| region.id.as_str())
    }

    /// The endpoint a tag was made from.
    pub(crate) fn endpoint_by_tag(&self, tag: u64) -> Option<EndpointIndex> {
        let at = self.tags.binary_search_by_key(&tag, |(tag, _)| *tag).ok()?;
        self.tags.get(at).map(|(_, endpoint)| *endpoint)
    }

    /// How what is sent to an endpoint travels.
    pub(crate) fn way(&self, endpoint: &Endpoint) -> Way {
        self.plaintext.way(endpoint)
    }

    /// For `/snapshot`.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "list": self.all.iter().map(|region| self.region_json(region)).collect::<Vec<_>>(),
            "edge": self.edge.and_then(|edge| self.all.get(edge.index())).map(|edge| &edge.id),
            "scoring": {
                "weights": self.scoring.weights(),
                "curve": self.scoring.curve().as_str(),
                "latency_brackets": self.scoring.brackets().iter().map(|bracket| json!({
                    "below_ms": bracket.below_ms, "score": bracket.score,
                })).collect::<Vec<_>>(),
                "beyond": self.scoring.beyond(),
            },
            "failover": self.failover,
            "version_routing": self.versions.to_json(),
            "egress_prices": self.prices.as_ref().map(|prices| prices.to_json(&self.all)),
            "plaintext_upstreams": self.plaintext.to_json(),
            "upstream_tls": self.tls,
            "latency_ms": self.latency_json(),
        })
    }

    fn region_json(&self, region: &Region) -> Value {
        let endpoints = self.endpoints.iter().filter(|e| self.is_of(e, region));
        json!({
            "id": region.id,
            "country": region.country.as_ref().map(Country::as_str),
            "city": region.city,
            "lat": region.place.map(Point::lat),
            "lon": region.place.map(Point::lon),
            "super_region": region.super_region,
            "role": region.role,
            "weight": region.weight,
            "capacity": region.capacity,
            "compliance": region.compliance,
            "egress_per_gib": region.egress_per_gib,
            "tie_break": region.tie_break,
            "endpoints": endpoints.map(|endpoint| json!({
                "id": endpoint.id,
                "scheme": endpoint.scheme,
                "authority": endpoint.authority,
                "way": self.way(endpoint),
                "tls": endpoint.tls.as_ref().map(|tls| json!({
                    "settings": tls.settings, "server_name": tls.server_name,
                })),
                "version": endpoint.version,
            })).collect::<Vec<_>>(),
        })
    }

    fn is_of(&self, endpoint: &Endpoint, region: &Region) -> bool {
        self.all
            .get(endpoint.region.index())
            .is_some_and(|of| of.id == region.id)
    }

    /// The whole matrix, listed and derived, from region to region.
    fn latency_json(&self) -> Value {
        let indexed = || (0u16..).map(RegionIndex).zip(&self.all);
        let row = |from: RegionIndex| -> serde_json::Map<String, Value> {
            let entry = |(to, region): (RegionIndex, &Region)| {
                Some((region.id.clone(), json!(self.latency.between(from, to)?)))
            };
            indexed().filter_map(entry).collect()
        };
        let rows = indexed().map(|(from, region)| (region.id.clone(), Value::Object(row(from))));
        Value::Object(rows.collect())
    }
}

/// Stable tag of an endpoint: a 64-bit FNV-1a of its id, the same in every
/// process and generation. For pinning MCP sessions; not a secret.
pub fn endpoint_tag(endpoint: &Endpoint) -> u64 {
    endpoint.tag
}

/// 64-bit FNV-1a.
pub(crate) fn tag_of(id: impl AsRef<[u8]>) -> u64 {
    let bytes = id.as_ref().iter();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
