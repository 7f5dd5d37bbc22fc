//! Decisions for requests that nobody sent, and receipts for people.
//!
//! Promises: an explanation runs the same functions in the same order as a
//! request does, and changes nothing: limits are not counted, bodies are not
//! inspected. With the view of a fresh [`crate::State`] it is what an idle,
//! healthy process answers. Both forms share their keys.

mod json;
mod table;

use meridian_geo::Location;
use serde::Serialize;
use serde_json::Value;

use crate::identity::Need;
use crate::regions::{
    Affinity, AffinityOutcome, Ask, Candidate, Removal, Seen, Terms, Tried, select_all, terms,
};
use crate::residency::{Classified, Permitted, classify, eligible};
use crate::state::View;
use crate::{
    Facts, JurisdictionIndex, Obligation, RegionIndex, RejectReason, Route, RouteAction,
    RouteIndex, Snapshot, Tick, TokenFault, Verdict, access,
};

pub use json::receipt_json;

/// The decision for one request, with everything that led to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// `forward`, `refuse`, or `answer` where the edge answers by itself.
    pub verdict: &'static str,
    /// The region that would serve.
    pub region: Option<String>,
    /// The endpoint that would serve.
    pub endpoint: Option<String>,
    /// Status of the edge's own answer; `null` when forwarded.
    pub status: Option<u16>,
    /// Name of the refusal; `null` unless refused.
    pub reason: Option<&'static str>,
    /// One sentence on the refusal; `null` unless refused.
    pub detail: Option<String>,
    /// Seconds after which it is worth trying again.
    pub retry_after_s: Option<u64>,
    /// Where the client is.
    pub location: Value,
    /// The route; `null`: none matches.
    pub route: Option<String>,
    /// Who vouches for its token; `null`: there is none.
    pub token_of: Option<String>,
    /// Data class; `null` when refused before it mattered.
    pub data_class: Option<&'static str>,
    /// Who said so.
    pub data_class_by: Option<&'static str>,
    /// The client's jurisdiction.
    pub jurisdiction: Option<String>,
    /// What its law is called.
    pub regulation: Option<String>,
    /// What people may ask for under it.
    pub rights: Vec<String>,
    /// How often compliance with it is audited.
    pub audit_frequency: Option<String>,
    /// Regions that the law allows, before health and route.
    pub permitted: Vec<String>,
    /// What must be done when the chosen region serves.
    pub obligations: Vec<&'static str>,
    /// What became of the request's session; `null`: it has none.
    pub session: Option<&'static str>,
    /// Every region as it was weighed.
    pub candidates: Vec<ExplainedCandidate>,
}

/// One region as it was weighed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExplainedCandidate {
    /// Its id.
    pub region: String,
    /// What took it out; `null` for those among which the score decided.
    pub removed_by: Option<&'static str>,
    /// Weighted sum of the terms.
    pub score: f32,
    /// The terms.
    pub terms: Terms,
}

/// What a decision stands on beside policies, state and facts.
#[derive(Copy, Clone, Debug, Default)]
pub struct Moment {
    /// Now, on the clock of the state.
    pub now: Tick,
    /// Now, seconds since 1970: whether a cookie has ended.
    pub unix_s: u64,
    /// Stands for chance. A session has a draw of its own.
    pub draw: u64,
    /// The endpoint that the request's MCP session id names.
    pub mcp: Option<Affinity>,
}

/// Decides on `facts` as the request path would, and says why. Its session is
/// found as there: by address, cookie, header or MCP session id.
pub fn explain(
    snapshot: &Snapshot,
    view: &View,
    facts: &Facts<'_>,
    moment: &Moment,
) -> Explanation {
    let question = Question {
        snapshot,
        view,
        facts,
        moment,
    };
    let mut explanation = Explanation::blank(facts.location);
    question.answer(&mut explanation);
    explanation
}

/// The refusal of a request whose token does not count.
pub fn unauthorized(snapshot: &Snapshot, facts: &Facts<'_>, fault: TokenFault) -> Explanation {
    let mut out = Explanation::blank(facts.location);
    out.route = snapshot
        .route(facts.head)
        .map(|(_, route)| route.id.clone());
    out.refuse(RejectReason::Unauthorized, fault.text().to_owned());
    out
}

const NO_TOKEN: &str = "a token is needed";

struct Question<'a> {
    snapshot: &'a Snapshot,
    view: &'a View,
    facts: &'a Facts<'a>,
    moment: &'a Moment,
}

impl Question<'_> {
    fn answer(&self, out: &mut Explanation) {
        let found = self.snapshot.route(self.facts.head);
        out.route = found.map(|(_, route)| route.id.clone());
        if !self.identified(found.map(|(_, route)| route), out) {
            return out.refuse(RejectReason::Unauthorized, NO_TOKEN.to_owned());
        }
        let Some((index, route)) = found else {
            return out.refuse(RejectReason::NoRoute, "no route matches".to_owned());
        };
        if let Err(denied) = access::check(self.snapshot, self.facts) {
            let rule = self.snapshot.access_rule_id(denied.rule);
            let detail = format!("the access rule `{rule}` denies it");
            return out.refuse(RejectReason::AccessDenied, detail);
        }
        match &route.action {
            RouteAction::Health => out.answered(200),
            RouteAction::Respond { status, .. } => out.answered(*status),
            RouteAction::Deny { status } => {
                out.refuse(RejectReason::AccessDenied, "the route denies it".to_owned());
                out.status = Some(*status);
            }
            RouteAction::Forward => self.law((index, route), out),
        }
    }

    /// Whether the token that the route needs is there.
    fn identified(&self, route: Option<&Route>, out: &mut Explanation) -> bool {
        let authentication = self.snapshot.authentication();
        if authentication.is_off() {
            return true;
        }
        let identity = self.facts.claims.identity;
        let provider = identity.and_then(|identity| authentication.provider(identity.provider));
        out.token_of = provider.map(|provider| provider.id.clone());
        let need = route.map_or(authentication.default_need(), |route| {
            authentication.need(route)
        });
        match need {
            Need::Required => identity.is_some(),
            Need::Optional | Need::Off => true,
        }
    }

    fn law(&self, (index, route): (RouteIndex, &Route), out: &mut Explanation) {
        let classified = classify(self.snapshot, route, self.facts);
        out.classified(classified);
        match eligible(self.snapshot, route, self.facts, classified) {
            Err(refusal) => {
                let by_law = |(region, _)| outside(RegionIndex(region), Removal::Law);
                let all = (0u16..).zip(self.snapshot.regions()).map(by_law);
                let id = self.snapshot.jurisdiction_id(refusal.jurisdiction);
                out.jurisdiction = Some(id.to_owned());
                out.under(self.snapshot, refusal.jurisdiction);
                out.candidates = explained(self.snapshot, &all.collect::<Vec<_>>(), None);
                let detail = format!("{refusal}; needed: {}", refusal.needed());
                out.refuse(RejectReason::Residency, detail);
            }
            Ok(permitted) => self.choose((index, &permitted), out),
        }
    }

    fn choose(&self, (route, permitted): (RouteIndex, &Permitted), out: &mut Explanation) {
        out.jurisdiction = permitted
            .jurisdiction()
            .map(|at| self.snapshot.jurisdiction_id(at).to_owned());
        if let Some(at) = permitted.jurisdiction() {
            out.under(self.snapshot, at);
        }
        out.permitted = names(self.snapshot, permitted);
        let mut candidates = Vec::new();
        let Moment { now, draw, mcp, .. } = *self.moment;
        let affinity = self.snapshot.affinity();
        let session = affinity.session(self.facts, mcp, || self.moment.unix_s);
        let version = self.snapshot.asked_version(self.facts);
        let ask = Ask {
            facts: self.facts,
            permitted,
            route,
            tried: &Tried::new(),
            affinity: if version.is_some() { mcp } else { session.pin },
            session: session.key,
            version,
            now,
            draw: session.key.map_or(draw, |key| key.0),
        };
        let chosen = select_all(self.snapshot, self.view, &ask, &mut candidates);
        let facts = (permitted, &self.facts.location);
        out.candidates = explained(self.snapshot, &candidates, Some(facts));
        match chosen {
            Ok(choice) => {
                out.verdict = Verdict::Forward {
                    region: choice.region(),
                }
                .as_str();
                out.region = Some(self.snapshot.region(choice.region()).id.clone());
                let session = choice.affinity();
                out.session = (session != AffinityOutcome::NotAsked).then(|| session.as_str());
                out.endpoint = Some(self.snapshot.endpoint(choice.endpoint()).id.clone());
                let obligations = permitted.obligations(choice.region());
                out.obligations = obligations.iter().map(Obligation::as_str).collect();
            }
            Err(none) => {
                let reason = none.reason();
                out.retry_after_s = none.retry_after().map(|after| after.as_secs().max(1));
                out.refuse(reason, none.detail().to_owned());
            }
        }
    }
}

impl Explanation {
    fn blank(location: Location) -> Self {
        Self {
            verdict: Verdict::Undecided.as_str(),
            region: None,
            endpoint: None,
            status: None,
            reason: None,
            detail: None,
            retry_after_s: None,
            location: json::location(&location),
            route: None,
            token_of: None,
            data_class: None,
            data_class_by: None,
            jurisdiction: None,
            regulation: None,
            rights: Vec::new(),
            audit_frequency: None,
            permitted: Vec::new(),
            obligations: Vec::new(),
            session: None,
            candidates: Vec::new(),
        }
    }

    /// What the law itself asks for.
    fn under(&mut self, snapshot: &Snapshot, at: JurisdictionIndex) {
        if let Some(law) = snapshot.jurisdiction(at) {
            self.regulation.clone_from(&law.regulation);
            self.rights.clone_from(&law.rights);
            self.audit_frequency.clone_from(&law.audit_frequency);
        }
    }

    fn classified(&mut self, classified: Classified) {
        self.data_class = Some(classified.class.as_str());
        self.data_class_by = Some(classified.by.as_str());
    }

    fn answered(&mut self, status: u16) {
        self.verdict = Verdict::Answer.as_str();
        self.status = Some(status);
    }

    fn refuse(&mut self, reason: RejectReason, detail: String) {
        self.verdict = Verdict::Refuse {
            status: reason.status(),
            reason,
        }
        .as_str();
        self.status = Some(reason.status());
        self.reason = Some(reason.name());
        self.detail = Some(detail);
    }

    /// The decision as a table for people, at most 100 columns wide for ids of
    /// usual length. Ends with a line break.
    pub fn to_table(&self) -> String {
        table::render(self)
    }
}

fn outside(region: RegionIndex, removal: Removal) -> Candidate {
    Candidate {
        region,
        removed_by: Some(removal),
        score: 0.0,
        seen: Seen::IDLE,
    }
}

/// Ids of what the law allows.
pub(crate) fn names(snapshot: &Snapshot, permitted: &Permitted) -> Vec<String> {
    let indexed = (0u16..).map(RegionIndex).zip(snapshot.regions());
    let allowed = indexed.filter(|(at, _)| permitted.allows(*at));
    allowed.map(|(_, region)| region.id.clone()).collect()
}

/// Candidates with names; those of another snapshot are left out.
fn explained(
    snapshot: &Snapshot,
    candidates: &[Candidate],
    facts: Option<(&Permitted, &Location)>,
) -> Vec<ExplainedCandidate> {
    let one = |candidate: &Candidate| {
        let terms = facts.map_or_else(Terms::default, |(permitted, location)| {
            terms(snapshot, permitted, location, candidate)
        });
        Some(ExplainedCandidate {
            region: snapshot.regions().get(candidate.region.index())?.id.clone(),
            removed_by: candidate.removed_by.map(Removal::as_str),
            score: round(candidate.score),
            terms: Terms {
                latency: round(terms.latency),
                load: round(terms.load),
                compliance: round(terms.compliance),
                cost: round(terms.cost),
            },
        })
    };
    candidates.iter().filter_map(one).collect()
}

/// Two digits after the point.
fn round(value: f32) -> f32 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests;
