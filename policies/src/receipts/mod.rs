//! What a decision leaves behind: one record a request.
//!
//! Promises: a receipt is filled without allocation once its list of
//! candidates has its size, and every field has a bound. Names are not copied
//! into it: they are looked up in the snapshot it was made with when somebody
//! reads it. Refuses to hold text from the client, except its address.

mod text;

use std::net::{IpAddr, Ipv4Addr};

use meridian_geo::{Location, UnknownReason};
use meridian_wire::Method;

use crate::affinity::SessionKey;
use crate::identity::TokenNote;
use crate::limits::LimitVerdict;
use crate::regions::{AffinityOutcome, Candidate};
use crate::residency::{Classified, Permitted};
use crate::state::AttemptOutcome;
use crate::{
    Claims, DataClass, EndpointIndex, Era, HeaderBody, JurisdictionIndex, McpFacts, RegionIndex,
    RejectReason, RouteIndex, Vouched,
};

pub use text::{ShortId, ShortName};

/// Most attempts a receipt tells apart; later ones are counted only.
pub const RECEIPT_ATTEMPTS_MAX: usize = 9;

/// Most rule hits a receipt holds; later ones are counted only.
pub const RECEIPT_RULES_MAX: usize = 8;

/// One request's record, made for reuse in a ring slot.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The id in `x-request-id`.
    pub request_id: ShortId,
    /// Generation of policies it was decided with.
    pub generation: u64,
    /// When its head was complete, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The client, canonical.
    pub client: IpAddr,
    /// Where the client is.
    pub location: Location,
    /// HTTP method.
    pub method: Method,
    /// The route; `None`: no route matched, or none was looked for.
    pub route: Option<RouteIndex>,
    /// Data class and who said so; `None`: refused before.
    pub classified: Option<Classified>,
    /// The client's jurisdiction; `None`: refused before, or residency is off.
    pub jurisdiction: Option<JurisdictionIndex>,
    /// What law and route allow; `None`: refused before, or by law.
    pub permitted: Option<Permitted>,
    /// Every region as it was weighed for the last attempt; empty: none was.
    pub candidates: Vec<Candidate>,
    /// The draw of the last choice.
    pub draw: u64,
    /// What became of the session's pin.
    pub affinity: AffinityOutcome,
    /// What its place was computed from; `draw` is then the same.
    pub session: Option<SessionKey>,
    /// What the MCP message said; `None`: not an MCP route.
    pub mcp: Option<McpNote>,
    /// What a token or a trusted hop vouched for.
    pub claims: ClaimsNote,
    /// What became of its token.
    pub token: TokenNote,
    /// What the limits said; `None`: not asked.
    pub limit: Option<LimitVerdict>,
    /// Rules that matched.
    pub rules: RuleHits,
    /// Attempts, in order.
    pub attempts: Attempts,
    /// What was decided.
    pub verdict: Verdict,
    /// Final status sent to the client; 0: none was.
    pub status: u16,
    /// From the complete head to the end, microseconds.
    pub duration_us: u64,
}

/// What was decided on a request.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Nothing yet.
    Undecided,
    /// Sent to a region.
    Forward {
        /// Which.
        region: RegionIndex,
    },
    /// Answered by the edge itself, as the route says.
    Answer,
    /// Refused.
    Refuse {
        /// The refusal's status.
        status: u16,
        /// The reason.
        reason: RejectReason,
    },
}

impl Verdict {
    /// `undecided`, `forward`, `answer`, `refuse`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undecided => "undecided",
            Self::Forward { .. } => "forward",
            Self::Answer => "answer",
            Self::Refuse { .. } => "refuse",
        }
    }
}

impl Default for Receipt {
    fn default() -> Self {
        Self {
            request_id: ShortId::default(),
            generation: 0,
            at_unix_ms: 0,
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            location: Location::unknown(UnknownReason::NotFound),
            method: Method::Get,
            route: None,
            classified: None,
            jurisdiction: None,
            permitted: None,
            candidates: Vec::new(),
            draw: 0,
            affinity: AffinityOutcome::NotAsked,
            session: None,
            mcp: None,
            claims: ClaimsNote::default(),
            token: TokenNote::default(),
            limit: None,
            rules: RuleHits::default(),
            attempts: Attempts::default(),
            verdict: Verdict::Undecided,
            status: 0,
            duration_us: 0,
        }
    }
}

impl Receipt {
    /// An empty receipt.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties it and keeps its memory.
    pub fn reset(&mut self) {
        self.candidates.clear();
        self.rules.clear();
        self.attempts.clear();
        self.request_id = ShortId::default();
        self.generation = 0;
        self.at_unix_ms = 0;
        self.client = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        self.location = Location::unknown(UnknownReason::NotFound);
        self.method = Method::Get;
        self.route = None;
        self.classified = None;
        self.jurisdiction = None;
        self.permitted = None;
        self.draw = 0;
        self.affinity = AffinityOutcome::NotAsked;
        self.session = None;
        self.mcp = None;
        self.claims = ClaimsNote::default();
        self.token = TokenNote::default();
        self.limit = None;
        self.verdict = Verdict::Undecided;
        self.status = 0;
        self.duration_us = 0;
    }
}

/// What an MCP message said, as far as its class depends on it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct McpNote {
    /// Its era.
    pub era: Era,
    /// Whether fields and body were checked against each other.
    pub verified: HeaderBody,
    /// JSON-RPC method, cut to the bound of a [`ShortId`].
    pub method: Option<ShortId>,
    /// Tool, cut likewise.
    pub tool: Option<ShortId>,
}

impl McpNote {
    /// Takes down what matters.
    pub fn new(facts: &McpFacts<'_>) -> Self {
        Self {
            era: facts.era,
            verified: facts.verified,
            method: facts.method.map(ShortId::new),
            tool: facts.tool.map(ShortId::new),
        }
    }
}

/// What a token or a trusted hop vouched for, without texts.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct ClaimsNote {
    /// Consent to a transfer.
    pub consent: Option<Vouched>,
    /// Safeguards for it.
    pub safeguards: Option<Vouched>,
    /// A class.
    pub class: Option<DataClass>,
}

impl ClaimsNote {
    /// Takes down what matters.
    pub fn new(claims: &Claims<'_>) -> Self {
        Self {
            consent: claims.consent,
            safeguards: claims.safeguards,
            class: claims.class,
        }
    }
}

/// Which family a rule belongs to.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum RuleFamily {
    /// `access`.
    Access,
    /// `waf`.
    Waf,
}

impl RuleFamily {
    /// Stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Waf => "waf",
        }
    }
}

/// A rule that matched.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct RuleHit {
    /// Its family.
    pub family: RuleFamily,
    /// Its id, cut to the bound of a [`ShortName`].
    pub id: ShortName,
}

/// Rules that matched, at most [`RECEIPT_RULES_MAX`].
#[derive(Copy, Clone, Debug, Default)]
pub struct RuleHits {
    hits: [Option<RuleHit>; RECEIPT_RULES_MAX],
    count: u32,
}

impl RuleHits {
    /// Forgets all.
    fn clear(&mut self) {
        if self.count > 0 {
            *self = Self::default();
        }
    }

    /// Adds one; past the bound it is only counted.
    pub fn add(&mut self, family: RuleFamily, id: &str) {
        let at = usize::try_from(self.count).unwrap_or(usize::MAX);
        if let Some(slot) = self.hits.get_mut(at) {
            *slot = Some(RuleHit {
                family,
                id: ShortName::new(id),
            });
        }
        self.count = self.count.saturating_add(1);
    }

    /// Those that are held, in order.
    pub fn iter(&self) -> impl Iterator<Item = &RuleHit> {
        self.hits.iter().flatten()
    }

    /// How many matched.
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// One attempt.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The endpoint.
    pub endpoint: EndpointIndex,
    /// How it ended.
    pub outcome: AttemptOutcome,
}

/// Attempts, at most [`RECEIPT_ATTEMPTS_MAX`].
#[derive(Copy, Clone, Debug, Default)]
pub struct Attempts {
    made: [Option<Attempt>; RECEIPT_ATTEMPTS_MAX],
    count: u32,
}

impl Attempts {
    /// Forgets all.
    fn clear(&mut self) {
        for slot in self
            .made
            .iter_mut()
            .take(usize::try_from(self.count).unwrap_or(usize::MAX))
        {
            *slot = None;
        }
        self.count = 0;
    }

    /// Adds one; past the bound it is only counted.
    pub fn add(&mut self, endpoint: EndpointIndex, outcome: AttemptOutcome) {
        let at = usize::try_from(self.count).unwrap_or(usize::MAX);
        if let Some(slot) = self.made.get_mut(at) {
            *slot = Some(Attempt { endpoint, outcome });
        }
        self.count = self.count.saturating_add(1);
    }

    /// Those that are held, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Attempt> {
        self.made.iter().flatten()
    }

    /// How many were made.
    pub fn count(&self) -> u32 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regions::{Removal, Seen};

    #[test]
    fn a_reset_receipt_is_a_new_one_with_the_old_memory() {
        let mut receipt = Receipt::new();
        let candidate = Candidate {
            region: RegionIndex(0),
            removed_by: Some(Removal::Law),
            score: 0.0,
            seen: Seen::IDLE,
        };
        receipt.candidates.extend([candidate; 300]);
        receipt.request_id = ShortId::new("abc");
        receipt
            .attempts
            .add(EndpointIndex(1), AttemptOutcome::Success);
        receipt.status = 200;
        receipt.reset();
        assert!(receipt.candidates.is_empty() && receipt.candidates.capacity() >= 300);
        assert_eq!(receipt.request_id.as_str(), "");
        assert_eq!((receipt.attempts.count(), receipt.status), (0, 0));
    }

    #[test]
    fn lists_stop_growing_and_go_on_counting() {
        let mut attempts = Attempts::default();
        let mut rules = RuleHits::default();
        for _ in 0..100 {
            attempts.add(EndpointIndex(3), AttemptOutcome::ConnectFailed);
            rules.add(RuleFamily::Waf, "942100");
        }
        assert_eq!(
            (attempts.iter().count(), attempts.count()),
            (RECEIPT_ATTEMPTS_MAX, 100)
        );
        assert_eq!(
            (rules.iter().count(), rules.count()),
            (RECEIPT_RULES_MAX, 100)
        );
    }
}
