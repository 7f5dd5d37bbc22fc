//! Facts to decision: which region may serve a request, which should, and
//! whether it is let in at all.
//!
//! Promises: pure functions over one immutable [`Snapshot`] and a live
//! [`State`]; the same snapshot, state, facts, time and draw give the same
//! decision; nothing here waits, reads a clock, a file or a socket. A request
//! never reaches a region that its data class and its client's jurisdiction do
//! not allow: only [`residency::eligible`] makes a [`residency::Permitted`],
//! and only [`regions::select`] turns one into a [`regions::Choice`].
//!
//! Refuses: a policy set with any fault, as a whole, with every place named;
//! keys that would have no effect.

pub mod access;
pub mod affinity;
pub mod audit;
mod client;
mod compile;
pub mod explain;
mod facts;
mod geo;
pub mod identity;
mod ids;
pub mod limits;
mod mcp;
mod nets;
mod outliers;
mod receipts;
pub mod regions;
mod reject;
pub mod replay;
pub mod residency;
pub mod retry;
mod routes;
mod snapshot;
mod stamp;
mod state;
#[cfg(test)]
mod testing;
mod waf;
pub mod yaml;

pub use crate::access::{AccessDenied, AccessRule};
pub use crate::client::client;
pub use crate::compile::EdgePlace;
pub use crate::facts::{
    Claims, ClientSource, Era, Facts, HeaderBody, McpFacts, Purpose, Trust, Vouched,
};
pub use crate::geo::GeoPolicy;
pub use crate::identity::{Identity, Need, TokenFault, TokenNote};
pub use crate::ids::{EndpointIndex, JurisdictionIndex, RegionIndex, RouteIndex, Tick};
pub use crate::limits::LimitState;
pub use crate::mcp::{McpPolicy, OriginRule};
pub use crate::outliers::*;
pub use crate::receipts::*;
pub use crate::regions::{Endpoint, EndpointTls, Region, Scheme, Transport};
pub use crate::regions::{UpstreamIdentity, UpstreamTls, UpstreamTlsVersion};
pub use crate::reject::RejectReason;
pub use crate::residency::{
    ClassSource, Classified, DataClass, Obligation, Obligations, RegionSet,
};
pub use crate::retry::RetryPolicy;
pub use crate::routes::{
    McpRoute, Route, RouteAction, RouteLimits, RouteTimeouts, RouteWaf, WebSocket, WebSocketBounds,
};
pub use crate::snapshot::Snapshot;
pub use crate::state::*;
pub use crate::waf::{WafMode, WafPolicy};
pub use crate::yaml::{Diagnostic, References, SourceFile};
