//! What the choice of a region is asked and what it answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::failover::Phase;
use super::versions::VersionIndex;
use crate::affinity::SessionKey;
use crate::residency::Permitted;
use crate::stamp::Stamp;
use crate::{
    Endpoint, EndpointIndex, Facts, RegionIndex, RejectReason, RouteIndex, Snapshot, Tick,
};

/// Most endpoints one request may try.
pub const TRIED_MAX: usize = 16;

/// One region as it was weighed.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Which region.
    pub region: RegionIndex,
    /// What took it out; `None` for those among which the score decided.
    pub removed_by: Option<Removal>,
    /// Weighted sum of the terms, 0 to 100; 0 where nothing was weighed. The
    /// terms are computed when somebody asks: [`super::terms`].
    pub score: f32,
    /// What was seen of it.
    pub seen: Seen,
}

/// What a region looked like when it was weighed: all of the state that a
/// choice depends on, beside what [`Removal::is_seen`].
#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// In flight over capacity, or the backend's own word; 1 is full.
    pub load: f32,
    /// Round trip that this edge measures, milliseconds; 0: nothing measured.
    pub measured_ms: f32,
    /// Share of its traffic that its phase leaves it, 0 to 1.
    pub share: f32,
    /// Where it stands in the failover machine.
    pub phase: Phase,
}

impl Seen {
    /// Idle, healthy, and nothing measured.
    pub const IDLE: Self = Self {
        load: 0.0,
        measured_ms: 0.0,
        share: 1.0,
        phase: Phase::Active,
    };
}

impl Default for Seen {
    fn default() -> Self {
        Self::IDLE
    }
}

/// What took a region out, the hardest first.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Removal {
    /// Data class or jurisdiction do not allow it.
    Law,
    /// The route does not.
    RouteConstraint,
    /// It has no endpoint.
    NoEndpoints,
    /// Its endpoints are spoken to in plain text, and the data must be
    /// encrypted in transit.
    Plaintext,
    /// An operator drains it.
    Draining,
    /// An operator forces another region.
    Forced,
    /// An operator pins another region, and that one can serve.
    Pinned,
    /// No endpoint is healthy.
    Unhealthy,
    /// Every endpoint that could serve is ejected.
    Ejected,
    /// Every endpoint that could serve was tried by this request.
    Tried,
    /// It has failed, or waits for the failback delay; serves what no other
    /// permitted region can.
    Failed,
    /// It serves only when no permitted active region can.
    Standby,
    /// It has few healthy endpoints, and this request is over its share.
    Degraded,
    /// It is coming back, and this request is over its share.
    Recovering,
    /// It is nearly full, and this request is over its share.
    Headroom,
    /// It is full: serves only what no region with headroom can.
    Full,
    /// This request is over the region's weight.
    Weight,
    /// Not looked at: even idle it could not reach the chosen one's score.
    Outscored,
}

impl Removal {
    /// Whether it is read from the state of region or endpoints, rather than
    /// computed from law, route, [`Seen`] and draw.
    pub fn is_seen(self) -> bool {
        match self {
            Self::NoEndpoints
            | Self::Draining
            | Self::Forced
            | Self::Pinned
            | Self::Unhealthy
            | Self::Ejected
            | Self::Tried => true,
            Self::Law
            | Self::RouteConstraint
            | Self::Plaintext
            | Self::Failed
            | Self::Standby
            | Self::Degraded
            | Self::Recovering
            | Self::Headroom
            | Self::Full
            | Self::Weight
            | Self::Outscored => false,
        }
    }

    /// Whether law, route or configuration keep the region out: it is not
    /// weighed, and no order brings it in.
    pub fn is_fixed(self) -> bool {
        match self {
            Self::Law | Self::RouteConstraint | Self::NoEndpoints | Self::Plaintext => true,
            Self::Draining
            | Self::Forced
            | Self::Pinned
            | Self::Unhealthy
            | Self::Ejected
            | Self::Tried
            | Self::Failed
            | Self::Standby
            | Self::Degraded
            | Self::Recovering
            | Self::Headroom
            | Self::Full
            | Self::Weight
            | Self::Outscored => false,
        }
    }

    /// Stable name for receipts and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Law => "law",
            Self::RouteConstraint => "route-constraint",
            Self::NoEndpoints => "no-endpoints",
            Self::Plaintext => "plaintext",
            Self::Draining => "draining",
            Self::Forced => "forced",
            Self::Pinned => "pinned",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Tried => "tried",
            Self::Failed => "failed",
            Self::Standby => "standby",
            Self::Degraded => "degraded",
            Self::Recovering => "recovering",
            Self::Headroom => "headroom",
            Self::Full => "full",
            Self::Weight => "weight",
            Self::Outscored => "outscored",
        }
    }
}

/// Endpoints that a request has tried: at most [`TRIED_MAX`], further ones are
/// not remembered.
#[derive(Copy, Clone, Debug, Default)]
pub struct Tried {
    endpoints: [Option<EndpointIndex>; TRIED_MAX],
    count: usize,
}

impl Tried {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers one.
    pub fn add(&mut self, endpoint: EndpointIndex) {
        if let Some(slot) = self.endpoints.get_mut(self.count) {
            *slot = Some(endpoint);
            self.count += 1;
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether this is a first attempt.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether this one was tried.
    pub fn contains(&self, endpoint: EndpointIndex) -> bool {
        self.endpoints
            .iter()
            .take(self.count)
            .any(|tried| *tried == Some(endpoint))
    }
}

/// A session's pin: [`super::endpoint_tag`] of the endpoint that holds it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Affinity(pub u64);

/// What became of a session's pin.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AffinityOutcome {
    /// There was none.
    NotAsked,
    /// The request goes where its session is, or is at home.
    Kept,
    /// The session's region is not permitted for this request.
    YieldedToLaw,
    /// The session's endpoint is down, ejected, drained or was tried.
    YieldedToHealth,
    /// An operator forces another region, or pins one.
    YieldedToOperator,
    /// The session's region is full.
    YieldedToLoad,
    /// No such endpoint is configured any more.
    Gone,
}

impl AffinityOutcome {
    /// Every outcome.
    pub const ALL: [Self; 7] = [
        Self::NotAsked,
        Self::Kept,
        Self::YieldedToLaw,
        Self::YieldedToHealth,
        Self::YieldedToOperator,
        Self::YieldedToLoad,
        Self::Gone,
    ];

    /// What became of a session's pin, else of its home.
    pub(super) fn or(self, home: Self) -> Self {
        match self {
            Self::NotAsked => home,
            Self::Kept
            | Self::YieldedToLaw
            | Self::YieldedToHealth
            | Self::YieldedToOperator
            | Self::YieldedToLoad
            | Self::Gone => self,
        }
    }

    /// Stable name for receipts and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAsked => "not-asked",
            Self::Kept => "kept",
            Self::YieldedToLaw => "yielded-to-law",
            Self::YieldedToHealth => "yielded-to-health",
            Self::YieldedToOperator => "yielded-to-operator",
            Self::YieldedToLoad => "yielded-to-load",
            Self::Gone => "gone",
        }
    }
}

/// What [`super::select`] is asked.
#[derive(Copy, Clone)]
pub struct Ask<'a> {
    /// The request's facts.
    pub facts: &'a Facts<'a>,
    /// What the law and the route allow.
    pub permitted: &'a Permitted,
    /// The route that took the request.
    pub route: RouteIndex,
    /// Endpoints that this request has tried.
    pub tried: &'a Tried,
    /// Where the request's session is, if it has one.
    pub affinity: Option<Affinity>,
    /// What its session's place is computed from where no pin holds. `draw` is
    /// then to be this as well, so that all of the session's requests draw
    /// alike.
    pub session: Option<SessionKey>,
    /// The version that a caller who may choose has asked for.
    pub version: Option<VersionIndex>,
    /// Now.
    pub now: Tick,
    /// Randomness; the same draw gives the same choice.
    pub draw: u64,
}

/// The region and endpoint for one attempt. Only [`super::select`] makes one,
/// only from a permit; it is the only thing a [`Peer`] can be built from.
///
/// ```compile_fail,E0451
/// use meridian_policies::RegionIndex;
/// use meridian_policies::regions::Choice;
///
/// fn elsewhere(choice: Choice) -> Choice {
///     Choice { region: RegionIndex(0), ..choice }
/// }
/// ```
///
/// ```compile_fail,E0616
/// use meridian_policies::EndpointIndex;
/// use meridian_policies::regions::Choice;
///
/// fn elsewhere(choice: &mut Choice) {
///     choice.endpoint = EndpointIndex(0);
/// }
/// ```
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Choice {
    pub(super) region: RegionIndex,
    pub(super) endpoint: EndpointIndex,
    pub(super) affinity: AffinityOutcome,
    pub(super) session: Option<SessionKey>,
    pub(super) stamp: Stamp,
}

impl Choice {
    /// The region.
    pub fn region(&self) -> RegionIndex {
        self.region
    }

    /// The endpoint.
    pub fn endpoint(&self) -> EndpointIndex {
        self.endpoint
    }

    /// What its place was computed from; `None`: drawn, or held by a pin.
    pub fn session(&self) -> Option<SessionKey> {
        self.session
    }

    /// What became of the session's pin.
    pub fn affinity(&self) -> AffinityOutcome {
        self.affinity
    }
}

/// The only thing that a connection for a request's data is made from: an
/// endpoint that was chosen from a permit. Only [`Snapshot::peer`] makes one:
///
/// ```
/// use meridian_policies::regions::{Choice, Peer};
/// use meridian_policies::{Endpoint, RegionIndex, Snapshot};
///
/// fn peer<'a>(snapshot: &'a Snapshot, choice: &Choice) -> Option<Peer<'a>> {
///     snapshot.peer(choice)
/// }
/// ```
///
/// An endpoint alone is none, and a peer cannot be turned to another one:
///
/// ```compile_fail,E0451
/// use meridian_policies::regions::Peer;
/// use meridian_policies::{Endpoint, RegionIndex};
///
/// fn peer(endpoint: &Endpoint) -> Peer<'_> {
///     Peer { endpoint, region: RegionIndex(0) }
/// }
/// ```
///
/// ```compile_fail,E0616
/// use meridian_policies::Endpoint;
/// use meridian_policies::regions::Peer;
///
/// fn turned<'a>(mut peer: Peer<'a>, endpoint: &'a Endpoint) -> Peer<'a> {
///     peer.endpoint = endpoint;
///     peer
/// }
/// ```
#[derive(Copy, Clone, Debug)]
pub struct Peer<'a> {
    endpoint: &'a Endpoint,
    region: RegionIndex,
}

impl<'a> Peer<'a> {
    /// The endpoint.
    pub fn endpoint(&self) -> &'a Endpoint {
        self.endpoint
    }

    /// The region that it serves for.
    pub fn region(&self) -> RegionIndex {
        self.region
    }
}

impl Snapshot {
    /// What to connect to for a choice; `None` for another snapshot's choice.
    #[inline]
    pub fn peer(&self, choice: &Choice) -> Option<Peer<'_>> {
        if choice.stamp != self.stamp {
            return None;
        }
        Some(Peer {
            endpoint: self.endpoints().get(choice.endpoint.index())?,
            region: choice.region,
        })
    }
}

/// Why no permitted region can serve.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum NoRegion {
    /// Every permitted region is down, drained or without endpoints: 503.
    AllDown {
        /// When one may be back, 1 to 60 s.
        retry_after: Duration,
    },
    /// Every usable endpoint of the permitted regions was tried.
    Exhausted {
        /// When it may be better, 1 to 60 s.
        retry_after: Duration,
    },
    /// The permit or the view is another snapshot's, and says nothing of this
    /// one's regions: nothing is served.
    OtherGeneration,
}

impl NoRegion {
    /// The refusal's reason.
    pub const fn reason(self) -> RejectReason {
        match self {
            Self::AllDown { .. } | Self::Exhausted { .. } => RejectReason::NoHealthyRegion,
            Self::OtherGeneration => RejectReason::Internal,
        }
    }

    /// When it is worth trying again; `None`: nobody knows.
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::AllDown { retry_after } | Self::Exhausted { retry_after } => Some(retry_after),
            Self::OtherGeneration => None,
        }
    }

    /// One sentence for people.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::AllDown { .. } | Self::Exhausted { .. } => {
                "every region that the law permits is down, drained or without endpoints"
            }
            Self::OtherGeneration => "the permit was made by other policies than the choice",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_listed_in_their_order() {
        for (at, outcome) in AffinityOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, at);
        }
    }
}
