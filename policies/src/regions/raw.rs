//! Mirrors of `regions`, `latency_matrix`, `scoring` and `traffic_policy` as
//! they are written. Seeds: "Global Region Portfolio", "Latency Matrix",
//! "Region Selection Algorithm", "Traffic Management Policies".

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::tls::RawUpstreamTls;
use crate::yaml::{Pairs, Span, Spanned};

/// `regions`.
pub(crate) type RawRegionList = Vec<Spanned<RawRegion>>;

/// Rows of `latency_matrix`: from region, to region, milliseconds (p95).
pub(crate) type RawLatencyMatrix = Pairs<String, Pairs<String, Spanned<f32>>>;

/// The keys of this family.
#[derive(Default)]
pub(crate) struct RawRegions {
    pub(crate) plaintext_upstreams: Option<Spanned<super::plaintext::RawPlaintext>>,
    pub(crate) upstream_tls: Option<Spanned<RawUpstreamTls>>,
    pub(crate) regions: Option<Spanned<RawRegionList>>,
    pub(crate) latency_matrix: Option<Spanned<RawLatencyMatrix>>,
    pub(crate) scoring: Option<Spanned<RawScoring>>,
    pub(crate) traffic_policy: Option<Spanned<RawTrafficPolicy>>,
    pub(crate) egress_prices: Option<Spanned<RawEgressPrices>>,
}

/// One entry of `regions`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRegion {
    pub(crate) id: Spanned<String>,
    pub(crate) location: Option<RawLocation>,
    pub(crate) super_region: Option<String>,
    #[serde(default)]
    pub(crate) role: RawRole,
    pub(crate) weight: Option<Spanned<u32>>,
    pub(crate) capacity: Option<Spanned<f32>>,
    #[serde(default)]
    pub(crate) compliance: Vec<String>,
    #[serde(default)]
    pub(crate) endpoints: Vec<Spanned<RawEndpoint>>,
    pub(crate) tls: Option<Spanned<RawUpstreamTls>>,
    #[serde(default)]
    pub(crate) prices: RawPrices,
}

/// Where a region stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLocation {
    pub(crate) country: Spanned<String>,
    pub(crate) city: Option<String>,
    pub(crate) lat: Option<Spanned<f32>>,
    pub(crate) lon: Option<Spanned<f32>>,
}

/// Roles of the seeds' super-regions.
#[derive(Copy, Clone, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawRole {
    #[default]
    Active,
    Standby,
}

/// An address with the version it runs and the name in its certificate;
/// written as an address alone, it has neither.
pub(crate) struct RawEndpoint {
    pub(crate) url: String,
    pub(crate) version: Option<String>,
    pub(crate) server_name: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongEndpoint {
    url: String,
    version: Option<String>,
    server_name: Option<Spanned<String>>,
}

impl<'de> Deserialize<'de> for RawEndpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EndpointVisitor)
    }
}

struct EndpointVisitor;

impl<'de> Visitor<'de> for EndpointVisitor {
    type Value = RawEndpoint;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address such as `https://10.0.1.5:8443`, or a mapping with `url`")
    }

    fn visit_str<E: Error>(self, url: &str) -> Result<RawEndpoint, E> {
        Ok(RawEndpoint {
            url: url.to_owned(),
            version: None,
            server_name: None,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawEndpoint, A::Error> {
        let long = LongEndpoint::deserialize(MapAccessDeserializer::new(map))?;
        Ok(RawEndpoint {
            url: long.url,
            version: long.version,
            server_name: long.server_name,
        })
    }
}

/// What a byte out of the region costs.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPrices {
    pub(crate) egress_per_gib: Option<Spanned<f32>>,
}

/// `egress_prices`: US dollars a GiB.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEgressPrices {
    pub(crate) same_super_region: Option<Spanned<f32>>,
    pub(crate) elsewhere: Option<Spanned<f32>>,
    pub(crate) pairs: Option<Pairs<String, Pairs<String, Spanned<f32>>>>,
}

/// `scoring`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawScoring {
    #[serde(default)]
    pub(crate) weights: RawWeights,
    pub(crate) curve: Option<RawCurve>,
    pub(crate) latency_brackets: Option<Spanned<Vec<RawBracket>>>,
    pub(crate) beyond: Option<Spanned<f32>>,
    pub(crate) tie_break: Option<Pairs<String, Spanned<f32>>>,
}

/// `scoring.weights`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawWeights {
    pub(crate) latency: Option<Spanned<f32>>,
    pub(crate) load: Option<Spanned<f32>>,
    pub(crate) compliance: Option<Spanned<f32>>,
    pub(crate) cost: Option<Spanned<f32>>,
}

/// `scoring.curve`.
#[derive(Copy, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawCurve {
    Brackets,
    Smooth,
}

/// One latency bracket.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawBracket {
    pub(crate) below_ms: f32,
    pub(crate) score: f32,
}

/// `traffic_policy`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTrafficPolicy {
    pub(crate) failover: Option<RawFailover>,
    pub(crate) version_routing: Option<Spanned<Vec<Spanned<RawVersion>>>>,
    pub(crate) version_header: Option<Spanned<String>>,
    pub(crate) version_testers: Option<Spanned<super::testers::RawTesters>>,
}

/// One entry of `traffic_policy.version_routing`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawVersion {
    pub(crate) version: String,
    pub(crate) weight: u32,
}

/// `traffic_policy.failover`. Percentages are 1 to 100.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFailover {
    pub(crate) failover_threshold: Option<Spanned<f32>>,
    pub(crate) failover_error_threshold: Option<Spanned<f32>>,
    pub(crate) degraded_threshold: Option<Spanned<f32>>,
    pub(crate) degraded_error_threshold: Option<Spanned<f32>>,
    pub(crate) min_requests: Option<u32>,
    pub(crate) dwell: Option<Span>,
    pub(crate) failback_delay: Option<Span>,
    pub(crate) ramp: Option<Span>,
    pub(crate) spill_threshold: Option<Spanned<f32>>,
}
