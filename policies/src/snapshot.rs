//! One generation of everything that may change while running.

use meridian_geo::{Agreement, IpNet, Override};
use serde_json::{Value, json};

use crate::access::CompiledAccess;
use crate::affinity::SessionAffinity;
use crate::geo::GeoPolicy;
use crate::identity::Authentication;
use crate::limits::LimitPolicy;
use crate::mcp::McpPolicy;
use crate::outliers::{CompiledOutliers, HealthCheck};
use crate::regions::{CompiledRegions, Endpoint, Region, Toll, UpstreamTls, VersionIndex, Way};
use crate::residency::{CompiledClassify, CompiledResidency, Jurisdiction};
use crate::retry::RetryPolicy;
use crate::routes::RouteTable;
use crate::stamp::Stamp;
use crate::waf::WafPolicy;
use crate::yaml::Diagnostic;
use crate::{EndpointIndex, Facts, JurisdictionIndex, RegionIndex, Route, RouteIndex};

/// One generation of everything that may change while running. Immutable;
/// made only by [`Snapshot::compile`].
///
/// Bounds: 512 regions, 4,096 endpoints, 1,024 routes, 65,536 networks a list.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) digest: String,
    pub(crate) stamp: Stamp,
    pub(crate) warnings: Vec<Diagnostic>,
    pub(crate) edge_region: String,
    pub(crate) regions: CompiledRegions,
    pub(crate) affinity: SessionAffinity,
    pub(crate) residency: CompiledResidency,
    pub(crate) classify: CompiledClassify,
    pub(crate) routes: RouteTable,
    pub(crate) access: CompiledAccess,
    pub(crate) authentication: Authentication,
    pub(crate) limits: LimitPolicy,
    pub(crate) outliers: CompiledOutliers,
    pub(crate) retry: RetryPolicy,
    pub(crate) waf: WafPolicy,
    pub(crate) mcp: McpPolicy,
    pub(crate) geo: GeoPolicy,
}

impl Snapshot {
    /// What is probably not what was meant, though it is no fault.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// SHA-256 of the sources in hex; receipts carry it.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Id of the region this edge stands in.
    pub fn edge_region(&self) -> &str {
        &self.edge_region
    }

    /// Networks the operator places, for the locator.
    pub fn locator_overrides(&self) -> &[(IpNet, Override)] {
        &self.geo.overrides
    }

    /// Whether geo sources must agree, for the locator.
    pub fn geo_agreement(&self) -> Agreement {
        self.geo.agreement
    }

    /// Every region, by index.
    pub fn regions(&self) -> &[Region] {
        &self.regions.all
    }

    /// A region of this snapshot.
    ///
    /// # Panics
    /// If the index is another snapshot's.
    #[expect(clippy::indexing_slicing, reason = "indices are made by this snapshot")]
    pub fn region(&self, index: RegionIndex) -> &Region {
        &self.regions.all[index.index()]
    }

    /// The region of this id.
    pub fn region_by_id(&self, id: &str) -> Option<RegionIndex> {
        self.regions.index_of(id)
    }

    /// Every endpoint, by index.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.regions.endpoints
    }

    /// An endpoint of this snapshot.
    ///
    /// # Panics
    /// If the index is another snapshot's.
    #[expect(clippy::indexing_slicing, reason = "indices are made by this snapshot")]
    pub fn endpoint(&self, index: EndpointIndex) -> &Endpoint {
        &self.regions.endpoints[index.index()]
    }

    /// How what is sent to an endpoint of this snapshot travels.
    ///
    /// # Panics
    /// If the index is another snapshot's.
    pub fn way(&self, index: EndpointIndex) -> Way {
        self.regions.way(self.endpoint(index))
    }

    /// All different settings of TLS toward endpoints; at most 64.
    pub fn upstream_tls(&self) -> &[UpstreamTls] {
        &self.regions.tls
    }

    /// Every route, by index, in the order of the file.
    pub fn routes(&self) -> &[Route] {
        &self.routes.all
    }

    /// A route of this snapshot.
    ///
    /// # Panics
    /// If the index is another snapshot's.
    #[expect(clippy::indexing_slicing, reason = "indices are made by this snapshot")]
    pub fn route_at(&self, index: RouteIndex) -> &Route {
        &self.routes.all[index.index()]
    }

    /// A jurisdiction; `None` for another snapshot's index.
    pub fn jurisdiction(&self, index: JurisdictionIndex) -> Option<&Jurisdiction> {
        self.residency.jurisdiction(index).map(AsRef::as_ref)
    }

    /// Id of a jurisdiction, e.g. `eu`; empty for another snapshot's index.
    pub fn jurisdiction_id(&self, index: JurisdictionIndex) -> &str {
        self.residency
            .jurisdiction(index)
            .map_or("", |j| j.id.as_str())
    }

    /// How endpoints are probed.
    pub fn health_check(&self) -> &HealthCheck {
        &self.outliers.health_check
    }

    /// When and how often a request is sent again.
    pub fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// Whether the WAF acts, and which of its rules are off.
    pub fn waf(&self) -> &WafPolicy {
        &self.waf
    }

    /// What traffic between this edge and a region costs.
    pub fn toll(&self, region: RegionIndex) -> Toll {
        let hot = self.regions.hot.get(region.index());
        hot.map_or_else(Toll::default, |hot| hot.toll)
    }

    /// What makes requests a session.
    pub fn affinity(&self) -> &SessionAffinity {
        &self.affinity
    }

    /// The version of the backends that a request asks for, where its caller
    /// may choose one.
    #[inline]
    pub fn asked_version(&self, facts: &Facts<'_>) -> Option<VersionIndex> {
        if self.regions.versions.is_on() {
            self.regions.versions.asked(facts)
        } else {
            None
        }
    }

    /// Names of the versions that are routed between, by index.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        let list = self.regions.versions.list.iter();
        list.map(|of| of.version.as_str())
    }

    /// Whose tokens count, and where one is needed.
    pub fn authentication(&self) -> &Authentication {
        &self.authentication
    }

    /// Policy of MCP endpoints.
    pub fn mcp(&self) -> &McpPolicy {
        &self.mcp
    }

    /// Rate limits.
    pub fn limits(&self) -> &LimitPolicy {
        &self.limits
    }

    /// Everything as JSON, with defaults filled in, for `/snapshot`. Values
    /// that may be secrets (matched header values) are `"(redacted)"`.
    pub fn to_redacted_json(&self) -> Value {
        json!({
            "digest": self.digest,
            "edge_region": self.edge_region,
            "warnings": self.warnings.len(),
            "regions": self.regions.to_json(),
            "residency": self.residency.to_json(&self.regions),
            "classify": self.classify.to_json(),
            "session_affinity": self.affinity.to_json(),
            "routes": self.routes.to_json(&self.regions),
            "access": self.access.to_json(),
            "authentication": self.authentication.to_json(),
            "rate_limiting": self.limits.to_json(),
            "outliers": self.outliers.to_json(),
            "retry": self.retry.to_json(),
            "waf": self.waf,
            "mcp": self.mcp,
            "geo": {
                "require_agreement": match self.geo.agreement {
                    Agreement::Required => true,
                    Agreement::FirstAnswer => false,
                },
                "overrides": self.geo.overrides.iter().map(|(net, place)| json!({
                    "cidr": net.to_string(),
                    "country": place.country.map(|c| c.as_str()),
                    "city": place.city.as_ref().map(meridian_geo::CityName::as_str),
                    "lat": place.point.map(meridian_geo::Point::lat),
                    "lon": place.point.map(meridian_geo::Point::lon),
                })).collect::<Vec<_>>(),
            },
        })
    }
}
