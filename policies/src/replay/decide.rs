//! The decision on a recorded request, by any snapshot.

use std::collections::HashMap;

use meridian_wire::{EndStream, HeadLimits, Malformed, RequestBuilder, RequestHead, Version};

use super::recorded::{Recorded, RecordedCandidate, RecordedClaims, RecordedRequest};
use super::token;
use crate::affinity::SessionKey;
use crate::explain::names;
use crate::limits::{self, LimitState, LimitVerdict};
use crate::regions::{AffinityOutcome, Again, Candidate, Removal, Seen, choose_again};
use crate::residency::{DataClass, Permitted, classify, eligible};
use crate::{
    Claims, ClientSource, Era, Facts, HeaderBody, McpFacts, RegionIndex, RejectReason, Route,
    RouteAction, Snapshot, Tick, Trust, access,
};

/// What a snapshot decides on a recorded request.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The route; `None`: none matches.
    pub route: Option<String>,
    /// Data class; `None`: refused before it mattered.
    pub data_class: Option<DataClass>,
    /// The client's jurisdiction.
    pub jurisdiction: Option<String>,
    /// What the law allows.
    pub permitted: Vec<String>,
    /// Every region as it was weighed.
    pub candidates: Vec<RecordedCandidate>,
    /// What comes of it.
    pub decision: Decision,
    /// Whether that is outside the client's jurisdiction.
    pub crosses_border: bool,
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes to this region.
    Forward(String),
    /// The edge answers by itself, with this status.
    Answer(u16),
    /// It is refused.
    Refuse(RejectReason),
}

impl Decision {
    /// As people read it: `forward to europe-west1`, `refuse (residency)`.
    pub fn describe(&self) -> String {
        match self {
            Self::Forward(region) => format!("forward to {region}"),
            Self::Answer(status) => format!("answer {status}"),
            Self::Refuse(reason) => format!("refuse ({})", reason.name()),
        }
    }
}

/// Why a recorded request is not decided again.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unchecked {
    /// Its head was malformed, or too long to be recorded.
    NoRequest,
    /// Refused by something that is not recorded in full: WAF, a rate limit,
    /// the body's size, an `Origin`.
    RefusedElsewhere,
    /// It ended before anything was decided.
    Undecided,
    /// An access rule on a field decided: fields are not recorded.
    FieldRule,
    /// It had a token at which nobody looked then.
    Token,
}

impl Unchecked {
    /// One phrase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRequest => "no request was recorded",
            Self::RefusedElsewhere => "refused by what is not recorded (WAF, limit, size, origin)",
            Self::Undecided => "it ended before it was decided",
            Self::FieldRule => "an access rule on a field, a certificate or a token decides",
            Self::Token => "it had a token that was not looked at",
        }
    }
}

/// Decides on a recorded request as `snapshot` would have, had it seen what the
/// record has seen. A region that the record does not know is taken for idle
/// and healthy.
///
/// # Errors
/// What keeps it from being decided.
pub fn decide_again(snapshot: &Snapshot, recorded: &Recorded) -> Result<Decided, Unchecked> {
    let request = recorded.request.as_ref().ok_or(Unchecked::NoRequest)?;
    comparable(recorded)?;
    let mut head = RequestHead::new();
    build(request, &mut head).map_err(|_| Unchecked::NoRequest)?;
    let mut out = Decided::refused(RejectReason::NoRoute);
    let found = snapshot.route(&head).map(|(_, route)| route);
    out.route = found.map(|route| route.id.clone());
    let Some(claims) = token::claims(snapshot, found, request)? else {
        out.decision = Decision::Refuse(RejectReason::Unauthorized);
        return Ok(out);
    };
    let facts = Facts {
        claims: claimed(claims),
        ..facts(recorded, request, &head)
    };
    let Some(route) = found else {
        if !snapshot.methods_elsewhere(&head).is_empty() {
            out.decision = Decision::Refuse(RejectReason::MethodNotAllowed);
        }
        return Ok(out);
    };
    let denied = access::check(snapshot, &facts).is_err();
    if snapshot.access.reads_fields() {
        let was = recorded.reason.as_deref() == Some(RejectReason::AccessDenied.name());
        if was != denied {
            return Err(Unchecked::FieldRule);
        }
    }
    out.decision = match &route.action {
        _ if denied => Decision::Refuse(RejectReason::AccessDenied),
        RouteAction::Health => Decision::Answer(200),
        RouteAction::Respond { status, .. } => Decision::Answer(*status),
        RouteAction::Deny { .. } => Decision::Refuse(RejectReason::AccessDenied),
        RouteAction::Forward => {
            let ask = Ask {
                snapshot,
                recorded,
                facts: &facts,
            };
            ask.law(route, &mut out)
        }
    };
    Ok(out)
}

/// What the rate limits say to a recorded request; `None` where its route does
/// not exist or it was not recorded.
pub(super) fn limit(
    snapshot: &Snapshot,
    state: &LimitState,
    recorded: &Recorded,
    at: Tick,
) -> Option<LimitVerdict> {
    let request = recorded.request.as_ref()?;
    let mut head = RequestHead::new();
    build(request, &mut head).ok()?;
    let (_, route) = snapshot.route(&head)?;
    let facts = facts(recorded, request, &head);
    Some(limits::check(snapshot, state, &facts, route, at))
}

/// What the WAF, a limit, the body or the backend decided is not ours to
/// decide again.
fn comparable(recorded: &Recorded) -> Result<(), Unchecked> {
    let policies = [
        RejectReason::NoRoute,
        RejectReason::MethodNotAllowed,
        RejectReason::Unauthorized,
        RejectReason::AccessDenied,
        RejectReason::Residency,
        RejectReason::NoHealthyRegion,
    ];
    match (recorded.verdict.as_str(), recorded.reason.as_deref()) {
        ("forward" | "answer", _) => Ok(()),
        ("refuse", Some(reason)) if policies.iter().any(|known| known.name() == reason) => Ok(()),
        ("refuse", _) => Err(Unchecked::RefusedElsewhere),
        (_, _) => Err(Unchecked::Undecided),
    }
}

fn build(request: &RecordedRequest, head: &mut RequestHead) -> Result<(), Malformed> {
    let mut builder = RequestBuilder::new(head, Version::Http2, HeadLimits::default());
    builder.method(&request.method)?;
    builder.scheme("https")?;
    if let Some(host) = &request.host {
        builder.authority(host)?;
    }
    builder.path(&request.path)?;
    if request.websocket {
        builder.protocol("websocket")?;
    }
    if let Some(class) = request.class {
        builder.field(b"x-data-class", class.as_str().as_bytes())?;
    }
    builder.finish(EndStream::Yes)
}

fn facts<'a>(
    recorded: &'a Recorded,
    request: &'a RecordedRequest,
    head: &'a RequestHead,
) -> Facts<'a> {
    Facts {
        head,
        client: recorded.client,
        client_source: if request.direct {
            ClientSource::Peer
        } else {
            ClientSource::TrustedHop
        },
        peer_trust: Trust::Untrusted,
        location: recorded.location.read(),
        mcp: request.mcp.as_ref().map(|mcp| McpFacts {
            era: if mcp.legacy { Era::Legacy } else { Era::Modern },
            method: mcp.method.as_deref(),
            tool: mcp.tool.as_deref(),
            verified: if mcp.verified {
                HeaderBody::Agree
            } else {
                HeaderBody::Unchecked
            },
            session: None,
        }),
        claims: claimed(request.claims),
        certificate: None,
    }
}

fn claimed<'a>(claims: RecordedClaims) -> Claims<'a> {
    Claims {
        consent: claims.consent,
        safeguards: claims.safeguards,
        purpose: None,
        class: claims.class,
        identity: None,
    }
}

impl Decided {
    fn refused(reason: RejectReason) -> Self {
        Self {
            route: None,
            data_class: None,
            jurisdiction: None,
            permitted: Vec::new(),
            candidates: Vec::new(),
            decision: Decision::Refuse(reason),
            crosses_border: false,
        }
    }
}

struct Ask<'a> {
    snapshot: &'a Snapshot,
    recorded: &'a Recorded,
    facts: &'a Facts<'a>,
}

impl Ask<'_> {
    fn law(&self, route: &Route, out: &mut Decided) -> Decision {
        let classified = classify(self.snapshot, route, self.facts);
        out.data_class = Some(classified.class);
        match eligible(self.snapshot, route, self.facts, classified) {
            Err(refusal) => {
                let id = self.snapshot.jurisdiction_id(refusal.jurisdiction);
                out.jurisdiction = Some(id.to_owned());
                Decision::Refuse(RejectReason::Residency)
            }
            Ok(permitted) => {
                out.jurisdiction = permitted
                    .jurisdiction()
                    .map(|at| self.snapshot.jurisdiction_id(at).to_owned());
                out.permitted = names(self.snapshot, &permitted);
                self.choose(&permitted, out)
            }
        }
    }

    fn choose(&self, permitted: &Permitted, out: &mut Decided) -> Decision {
        let known: HashMap<&str, &RecordedCandidate> = self
            .recorded
            .candidates
            .iter()
            .map(|candidate| (candidate.region.as_str(), candidate))
            .collect();
        let look = |at: RegionIndex| {
            let id = self.snapshot.region(at).id.as_str();
            known.get(id).map_or((Seen::IDLE, None), |candidate| {
                let removal = candidate.removed_by.filter(|removal| removal.is_seen());
                // What the old policies did not name is there now.
                let removal = removal.filter(|removal| *removal != Removal::NoEndpoints);
                (candidate.seen, removal)
            })
        };
        let mut weighed = Vec::new();
        let facts = (permitted, &self.facts.location);
        let again = Again {
            draw: self.recorded.draw,
            session: self
                .recorded
                .session
                .then_some(SessionKey(self.recorded.draw)),
            pin: self.kept(),
            look: &look,
        };
        let chosen = choose_again(self.snapshot, facts, &again, &mut weighed);
        out.candidates = self.named(&weighed);
        let Some(region) = chosen else {
            return Decision::Refuse(RejectReason::NoHealthyRegion);
        };
        out.crosses_border = permitted.crosses_border(region);
        Decision::Forward(self.snapshot.region(region).id.clone())
    }

    /// The region in which a session was kept.
    fn kept(&self) -> Option<RegionIndex> {
        if self.recorded.session || self.recorded.affinity != AffinityOutcome::Kept {
            return None;
        }
        self.snapshot.region_by_id(self.recorded.region.as_deref()?)
    }

    fn named(&self, weighed: &[Candidate]) -> Vec<RecordedCandidate> {
        weighed
            .iter()
            .map(|candidate| RecordedCandidate {
                region: self.snapshot.region(candidate.region).id.clone(),
                removed_by: candidate.removed_by,
                score: candidate.score,
                seen: candidate.seen,
            })
            .collect()
    }
}
