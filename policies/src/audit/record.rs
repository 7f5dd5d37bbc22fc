//! What one record says, written canonically.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use meridian_geo::{Country, Location};

use super::canonical::Object;
use super::moment::rfc3339;
use crate::regions::Way;
use crate::residency::{Basis, Permitted, RefusalRule, Transfer, TransferAsk};
use crate::{
    Claims, Classified, JurisdictionIndex, Obligation, RegionIndex, RejectReason, Route, Snapshot,
    Vouched,
};

/// What a record is about.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Kind {
    /// The log was opened: at a start, after a rotation, after a failure.
    Opened,
    /// A request was refused.
    Refusal,
    /// A request was sent across a border.
    Transfer,
    /// A backend asked whether it may move data across a border.
    Check,
    /// An operator did something.
    Operator,
    /// Records that could not be written.
    Lost,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Opened,
        Self::Refusal,
        Self::Transfer,
        Self::Check,
        Self::Operator,
        Self::Lost,
    ];

    /// Stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Refusal => "refusal",
            Self::Transfer => "transfer",
            Self::Check => "check",
            Self::Operator => "operator",
            Self::Lost => "lost",
        }
    }
}

/// When and where it happened, and under which policies.
#[derive(Copy, Clone, Debug)]
pub struct Context<'a> {
    /// Milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The region in which the edge stands.
    pub edge: &'a str,
    /// Generation of policies; 0: none was asked.
    pub generation: u64,
    /// The policies; `None`: none were asked.
    pub snapshot: Option<&'a Snapshot>,
    /// `x-request-id`; empty where there is no request.
    pub request_id: &'a str,
}

/// A request that was refused.
#[derive(Copy, Clone, Debug)]
pub struct Refused<'a> {
    /// The client's address; only its network is written.
    pub client: IpAddr,
    /// Where the client is.
    pub location: &'a Location,
    /// The route; `None`: none matched.
    pub route: Option<&'a Route>,
    /// The class of its data; `None`: refused before that mattered.
    pub classified: Option<Classified>,
    /// Why.
    pub reason: RejectReason,
    /// Status told.
    pub status: u16,
    /// The jurisdiction and its rule; `None`: it was not the law.
    pub law: Option<(JurisdictionIndex, RefusalRule)>,
    /// What the policies say of it otherwise: a jurisdiction's, an access
    /// rule's or a limit's name.
    pub rule: Option<&'a str>,
}

/// A request that is sent across a border.
#[derive(Copy, Clone, Debug)]
pub struct Transferred<'a> {
    /// The client's address; only its network is written.
    pub client: IpAddr,
    /// Where the client is.
    pub location: &'a Location,
    /// The route.
    pub route: &'a Route,
    /// The class of its data.
    pub classified: Classified,
    /// What the law allows.
    pub permitted: &'a Permitted,
    /// Where it goes.
    pub region: RegionIndex,
    /// How it travels.
    pub way: Way,
    /// What a token or a trusted hop vouches for.
    pub claims: Claims<'a>,
}

/// A question of a backend that wants to move data.
#[derive(Copy, Clone, Debug)]
pub struct Checked {
    /// The question.
    pub ask: TransferAsk,
    /// The answer.
    pub outcome: Transfer,
}

/// Something that an operator did.
#[derive(Copy, Clone, Debug)]
pub struct Operation<'a> {
    /// What, in one word: `drain`, `force`, `pin`, `reload`.
    pub action: &'a str,
    /// The region it concerns, if it concerns one.
    pub region: Option<&'a str>,
    /// What the operator says of it; cut at 256 characters.
    pub reason: Option<&'a str>,
    /// Milliseconds since 1970 until which it holds, if it ends by itself.
    pub until_unix_ms: Option<u64>,
}

/// Why a log was opened.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum OpenedWhy {
    /// The process began.
    Start,
    /// The file before is full.
    Rotation,
    /// The file was gone, or another process went on with another one.
    Replaced,
    /// Writing had failed, and works again.
    Recovered,
}

impl OpenedWhy {
    /// Stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Rotation => "rotation",
            Self::Replaced => "replaced",
            Self::Recovered => "recovered",
        }
    }
}

/// A log was opened. Its `prev` is the last hash of the file before.
#[derive(Copy, Clone, Debug)]
pub struct Opened<'a> {
    /// Why.
    pub why: OpenedWhy,
    /// The file before, without its folder.
    pub previous: Option<&'a str>,
    /// Bytes of a torn last line that were set aside; 0: none.
    pub torn_bytes: u64,
}

/// Records that could not be written, by kind.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Lost {
    /// Refusals.
    pub refusals: u64,
    /// Requests that were sent across a border all the same.
    pub transfers: u64,
    /// Checks and operations.
    pub others: u64,
}

/// Every key that a record may have, in the order in which they are written.
#[derive(Default)]
struct Fields<'a> {
    action: Option<&'a str>,
    audit_frequency: Option<&'a str>,
    basis: Option<&'a str>,
    claims: Vec<&'static str>,
    class: Option<&'a str>,
    class_by: Option<&'a str>,
    client: Option<&'a str>,
    country: Option<&'a str>,
    country_by: Option<&'a str>,
    jurisdiction: Option<&'a str>,
    lost: Option<Lost>,
    obligations: Option<crate::Obligations>,
    outcome: Option<&'a str>,
    previous: Option<&'a str>,
    reason: Option<&'a str>,
    region: Option<&'a str>,
    regulation: Option<&'a str>,
    route: Option<&'a str>,
    rule: Option<&'a str>,
    source: Option<&'a str>,
    status: Option<u16>,
    subject: Option<&'a str>,
    token_issuer: Option<&'a str>,
    torn_bytes: Option<u64>,
    transport: Option<&'a str>,
    until_unix_ms: Option<u64>,
    why: Option<&'a str>,
}

impl Fields<'_> {
    fn write(&self, kind: Kind, context: &Context<'_>) -> String {
        let mut out = String::with_capacity(512);
        let mut record = Object::begin(&mut out);
        record.maybe("action", self.action);
        record.text("at", &rfc3339(context.at_unix_ms));
        record.number("at_unix_ms", context.at_unix_ms);
        record.maybe("audit_frequency", self.audit_frequency);
        record.maybe("basis", self.basis);
        if !self.claims.is_empty() {
            record.list("claims", self.claims.iter().copied());
        }
        record.maybe("class", self.class);
        record.maybe("class_by", self.class_by);
        record.maybe("client", self.client);
        record.maybe("country", self.country);
        record.maybe("country_by", self.country_by);
        record.maybe("digest", context.snapshot.map(Snapshot::digest));
        record.text("edge", context.edge);
        if context.generation > 0 {
            record.number("generation", context.generation);
        }
        record.maybe("jurisdiction", self.jurisdiction);
        record.text("kind", kind.as_str());
        if let Some(lost) = &self.lost {
            record.number("lost_others", lost.others);
            record.number("lost_refusals", lost.refusals);
            record.number("lost_transfers", lost.transfers);
        }
        if let Some(obligations) = self.obligations {
            record.list("obligations", obligations.iter().map(Obligation::as_str));
        }
        self.rest(record, context);
        out
    }

    fn rest(&self, mut record: Object<'_>, context: &Context<'_>) {
        record.maybe("outcome", self.outcome);
        record.maybe("previous", self.previous);
        record.maybe("reason", self.reason);
        record.maybe("region", self.region);
        record.maybe("regulation", self.regulation);
        let id = (!context.request_id.is_empty()).then_some(context.request_id);
        record.maybe("request_id", id);
        record.maybe("route", self.route);
        record.maybe("rule", self.rule);
        record.maybe("source", self.source);
        if let Some(status) = self.status {
            record.number("status", u64::from(status));
        }
        record.maybe("subject", self.subject);
        record.maybe("token_issuer", self.token_issuer);
        if let Some(bytes) = self.torn_bytes {
            record.number("torn_bytes", bytes);
        }
        record.maybe("transport", self.transport);
        if let Some(until) = self.until_unix_ms {
            record.number("until_unix_ms", until);
        }
        record.maybe("why", self.why);
        record.end();
    }
}

/// Who vouched for what.
fn claims(claims: &Claims<'_>) -> Vec<&'static str> {
    let by = |claimed: Option<Vouched>, names: [&'static str; 2]| {
        claimed.map(|by| match (by, names) {
            (Vouched::Token, [token, _]) => token,
            (Vouched::TrustedHop, [_, hop]) => hop,
        })
    };
    [
        by(claims.consent, ["consent:token", "consent:trusted_hop"]),
        by(
            claims.purpose.map(|purpose| purpose.by),
            ["purpose:token", "purpose:trusted_hop"],
        ),
        by(
            claims.safeguards,
            ["safeguards:token", "safeguards:trusted_hop"],
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Refused<'_> {
    /// The record of a refusal.
    pub fn record(&self, context: &Context<'_>) -> String {
        let law = context
            .snapshot
            .zip(self.law)
            .and_then(|(snapshot, (index, _))| snapshot.residency.jurisdiction(index));
        let client = client_network(self.client);
        Fields {
            class: self.classified.map(|classified| classified.class.as_str()),
            class_by: self.classified.map(|classified| classified.by.as_str()),
            client: Some(&client),
            country: self.location.country.as_ref().map(Country::as_str),
            country_by: Some(self.location.source.as_str()),
            audit_frequency: law.and_then(|law| law.audit_frequency.as_deref()),
            jurisdiction: law.map(|law| law.id.as_str()),
            reason: Some(self.reason.name()),
            regulation: law.and_then(|law| law.regulation.as_deref()),
            route: self.route.map(|route| route.id.as_str()),
            rule: self.law.map(|(_, rule)| rule.as_str()).or(self.rule),
            status: Some(self.status),
            ..Fields::default()
        }
        .write(Kind::Refusal, context)
    }
}

impl Transferred<'_> {
    /// The record of a request that crosses a border.
    pub fn record(&self, context: &Context<'_>) -> String {
        let of = |snapshot: &Snapshot| snapshot.transfer_basis(self.permitted, self.region);
        let law = context.snapshot.and_then(|snapshot| {
            let index = self.permitted.jurisdiction()?;
            snapshot.residency.jurisdiction(index)
        });
        let region = context
            .snapshot
            .and_then(|snapshot| snapshot.regions().get(self.region.index()));
        let client = client_network(self.client);
        let token = self.claims.identity;
        let issuer = context.snapshot.zip(token).and_then(|(snapshot, token)| {
            let provider = snapshot.authentication().provider(token.provider)?;
            Some(provider.issuer.as_str())
        });
        let subject = issuer
            .zip(token)
            .and_then(|(issuer, token)| token.pseudonym(issuer));
        Fields {
            subject: subject.as_deref(),
            token_issuer: issuer,
            basis: context.snapshot.and_then(of).map(Basis::as_str),
            claims: claims(&self.claims),
            class: Some(self.classified.class.as_str()),
            class_by: Some(self.classified.by.as_str()),
            client: Some(&client),
            country: self.location.country.as_ref().map(Country::as_str),
            country_by: Some(self.location.source.as_str()),
            audit_frequency: law.and_then(|law| law.audit_frequency.as_deref()),
            jurisdiction: law.map(|law| law.id.as_str()),
            obligations: Some(self.permitted.obligations(self.region)),
            region: region.map(|region| region.id.as_str()),
            regulation: law.and_then(|law| law.regulation.as_deref()),
            route: Some(&self.route.id),
            transport: Some(self.way.as_str()),
            ..Fields::default()
        }
        .write(Kind::Transfer, context)
    }
}

impl Checked {
    /// The record of a question.
    pub fn record(&self, context: &Context<'_>) -> String {
        let id = |region: RegionIndex| {
            let regions = context.snapshot.map(Snapshot::regions);
            regions.and_then(|regions| regions.get(region.index()))
        };
        let law = context
            .snapshot
            .and_then(|snapshot| snapshot.law_of_region(&self.ask));
        let consent = Claims {
            consent: self.ask.consent,
            ..Claims::default()
        };
        Fields {
            claims: claims(&consent),
            class: Some(self.ask.class.as_str()),
            audit_frequency: law.and_then(|law| law.audit_frequency.as_deref()),
            jurisdiction: law.map(|law| law.id.as_str()),
            outcome: Some(self.outcome.as_str()),
            region: id(self.ask.destination).map(|region| region.id.as_str()),
            regulation: law.and_then(|law| law.regulation.as_deref()),
            source: id(self.ask.source).map(|region| region.id.as_str()),
            ..Fields::default()
        }
        .write(Kind::Check, context)
    }
}

impl Operation<'_> {
    /// The record of something that an operator did.
    pub fn record(&self, context: &Context<'_>) -> String {
        let cut = |text: &str| text.chars().take(256).collect::<String>();
        let reason = self.reason.map(cut);
        let (action, region) = (cut(self.action), self.region.map(cut));
        Fields {
            action: Some(&action),
            reason: reason.as_deref(),
            region: region.as_deref(),
            until_unix_ms: self.until_unix_ms,
            ..Fields::default()
        }
        .write(Kind::Operator, context)
    }
}

impl Opened<'_> {
    /// The record that begins a file, or a process's part of it.
    pub fn record(&self, context: &Context<'_>) -> String {
        Fields {
            previous: self.previous,
            torn_bytes: (self.torn_bytes > 0).then_some(self.torn_bytes),
            why: Some(self.why.as_str()),
            ..Fields::default()
        }
        .write(Kind::Opened, context)
    }
}

impl Lost {
    /// Whether nothing was lost.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The record of what is missing before it.
    pub fn record(&self, context: &Context<'_>) -> String {
        Fields {
            lost: Some(*self),
            ..Fields::default()
        }
        .write(Kind::Lost, context)
    }
}

/// The network that stands for a client: /24 of IPv4, /48 of IPv6. Enough to
/// see where a request came from, too little to see who sent it.
pub fn client_network(client: IpAddr) -> String {
    match client.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{}/24", Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}
