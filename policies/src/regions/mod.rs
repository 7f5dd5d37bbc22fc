//! Regions: what they are, how far, in which state, and which one serves.

mod address;
mod build;
mod choice;
mod compiled;
mod endpoint;
pub(crate) mod failover;
pub(crate) mod gates;
mod latency;
mod place;
mod plaintext;
mod prices;
mod raw;
mod score;
mod select;
mod testers;
mod tls;
mod versions;

pub(crate) use build::compile;
pub use choice::{
    Affinity, AffinityOutcome, Ask, Candidate, Choice, NoRegion, Peer, Removal, Seen, TRIED_MAX,
    Tried,
};
pub(crate) use compiled::{CompiledRegions, Exposed, tag_of};
pub use compiled::{
    ENDPOINTS_MAX, Endpoint, REGIONS_MAX, Region, Role, Scheme, Toll, Transport, endpoint_tag,
};
pub use failover::{FailoverPolicy, Phase, RegionHealth};
pub(crate) use plaintext::RawPlaintext;
pub use plaintext::Way;
pub(crate) use raw::{
    RawEgressPrices, RawLatencyMatrix, RawRegionList, RawRegions, RawScoring, RawTrafficPolicy,
};
pub use score::Terms;
pub(crate) use select::{Again, choose_again};
pub use select::{complete, select, select_all, terms};
pub(crate) use tls::RawUpstreamTls;
pub use tls::{EndpointTls, UpstreamIdentity, UpstreamTls, UpstreamTlsVersion};
pub use versions::{VERSIONS_MAX, VersionIndex};

#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;
