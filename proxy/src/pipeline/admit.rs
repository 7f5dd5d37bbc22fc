//! Before anything leaves: access, limits, inspection, the law. The first
//! refusal ends it. Whom a token speaks of is known before (`identify`).

use std::sync::LazyLock;

use meridian_policies::affinity::Session;
use meridian_policies::limits::{self, LimitVerdict, Quota};
use meridian_policies::regions::{Affinity, VersionIndex};
use meridian_policies::residency::{self, Permitted};
use meridian_policies::{
    Classified, DataClass, Facts, McpRoute, RejectReason, Route, RouteAction, RouteIndex,
    RouteLimits, RouteTimeouts, RouteWaf, Tick, TokenNote, WafMode, WebSocket, access,
};
use meridian_waf::{Part, RuleId, Verdict};
use meridian_wire::{Known, RequestHead};

use super::identify::identify;
use super::ids::RequestId;
use super::refuse::Refusal;
use super::session;
use crate::edge::{Edge, Generation};

/// A request that may be forwarded, and where to.
pub struct Admitted<'a> {
    /// Its id.
    pub id: RequestId,
    /// What is known about it.
    pub facts: &'a Facts<'a>,
    /// Its data class.
    pub class: DataClass,
    /// The same, with who said so.
    pub classified: Classified,
    /// What the law allows.
    pub permitted: Permitted,
    /// The endpoint that holds its session.
    pub affinity: Option<Affinity>,
    /// Its session, by `session_affinity`.
    pub place: Session,
    /// The version of the backends that a caller who may choose asked for.
    pub version: Option<VersionIndex>,
    /// Its session's id, as the backend knows it.
    pub session: Option<&'a [u8]>,
}

/// What becomes of a request after its head was looked at.
pub enum Entry<'a> {
    /// On to its body and the law.
    Proceed,
    /// The edge's own health.
    Health,
    /// An answer that the route states: status, media type, content.
    Respond(u16, &'a str, &'a str),
}

/// What the admission found, whatever its end: for the receipt and the
/// answer's fields.
#[derive(Default)]
pub struct Findings {
    /// What is left of the client's limits.
    pub quota: Option<Quota>,
    /// The limit's verdict.
    pub limit: Option<LimitVerdict>,
    /// The inspection's hit, and whether it refused.
    pub waf: Option<(RuleId, Part)>,
    /// The data class and where it came from.
    pub class: Option<Classified>,
    /// What became of the token.
    pub token: TokenNote,
}

/// What is asked.
pub struct Question<'a> {
    /// The process.
    pub edge: &'a Edge,
    /// What it is decided with.
    pub generation: &'a Generation,
    /// The route.
    pub route: (RouteIndex, &'a Route),
    /// The request's id.
    pub id: RequestId,
    /// Now.
    pub now: Tick,
}

/// All that the head alone decides: access, limits, inspection, the route's
/// own answer. Pure but for the limiter's counters.
pub fn enter<'a>(
    ask: &Question<'a>,
    facts: &Facts<'_>,
    findings: &mut Findings,
) -> Result<Entry<'a>, Box<Refusal>> {
    let snapshot = &ask.generation.snapshot;
    let (_, route) = ask.route;
    access::check(snapshot, facts).map_err(|denied| {
        let rule = snapshot.access_rule_id(denied.rule);
        Box::new(Refusal::new(RejectReason::AccessDenied, "an access rule denies it").by(rule))
    })?;
    let connect = facts.head.is_extended_connect();
    if matches!(route.action, RouteAction::Health) && !connect {
        return Ok(Entry::Health);
    }
    limit(ask, facts, findings)?;
    inspect(ask, facts, findings)?;
    match &route.action {
        RouteAction::Deny { status } => {
            let mut refusal = Refusal::new(RejectReason::AccessDenied, "the route denies it")
                .by(route.id.as_str());
            refusal.status = *status;
            Err(Box::new(refusal))
        }
        // Any 2xx would tell the client that it has its WebSocket.
        RouteAction::Respond { .. } | RouteAction::Health if connect => Err(no_websocket()),
        RouteAction::Forward if connect && route.websocket == WebSocket::Off => Err(no_websocket()),
        RouteAction::Respond {
            status,
            body,
            content_type,
        } => Ok(Entry::Respond(*status, content_type, body)),
        RouteAction::Forward | RouteAction::Health => {
            origin(ask, facts)?;
            Ok(Entry::Proceed)
        }
    }
}

fn no_websocket() -> Box<Refusal> {
    let detail = "the route takes no WebSocket";
    Box::new(Refusal::new(RejectReason::NoRoute, detail))
}

/// The law: which regions may have it, once everything about it is known.
pub fn permit<'a>(
    ask: &Question<'a>,
    facts: &'a Facts<'a>,
    findings: &mut Findings,
) -> Result<Admitted<'a>, Box<Refusal>> {
    let snapshot = &ask.generation.snapshot;
    let (_, route) = ask.route;
    let classified = residency::classify(snapshot, route, facts);
    findings.class = Some(classified);
    let permitted = residency::eligible(snapshot, route, facts, classified).map_err(|law| {
        let rule = snapshot.jurisdiction_id(law.jurisdiction).to_owned();
        let detail = format!("{law}; needed: {}", law.needed());
        let mut refusal = Refusal::new(RejectReason::Residency, detail).by(rule);
        refusal.law = Some((law.jurisdiction, law.rule));
        Box::new(refusal)
    })?;
    let (mcp, session) = match facts.head.first(Known::McpSessionId) {
        Some(id) => session::open(id),
        None => (None, None),
    };
    let version = snapshot.asked_version(facts);
    let now_s = || ask.edge.clock.unix_ms_at(ask.now) / 1_000;
    let place = snapshot.affinity().session(facts, mcp, now_s);
    Ok(Admitted {
        id: ask.id,
        facts,
        class: classified.class,
        classified,
        permitted,
        // A tester's wish goes before a cookie, never before an MCP session.
        affinity: if version.is_some() { mcp } else { place.pin },
        place,
        version,
        session,
    })
}

/// The same for a request that no route takes: whoever probes for paths is
/// limited and inspected like everybody else.
pub fn enter_stray(ask: &Question<'_>, facts: &Facts<'_>, findings: &mut Findings) -> Refusal {
    let entered = identify(ask, facts, findings).and_then(|identity| {
        let claims = facts.claims.with(identity.as_deref());
        enter(ask, &Facts { claims, ..*facts }, findings).map(|_| ())
    });
    match entered {
        Err(refusal) => *refusal,
        Ok(()) => no_route(ask.generation, facts.head),
    }
}

/// Stands in for a route where there is none.
pub fn stray() -> &'static Route {
    static STRAY: LazyLock<Route> = LazyLock::new(|| Route {
        id: "none".to_owned(),
        action: RouteAction::Forward,
        data_class: None,
        mcp: McpRoute::Off,
        body_limit: 0,
        timeouts: RouteTimeouts::default(),
        regions: None,
        waf: RouteWaf::On,
        limits: RouteLimits::On,
        websocket: WebSocket::Off,
        authentication: None,
    });
    &STRAY
}

/// No route takes the request: because of its method, or at all.
fn no_route(generation: &Generation, head: &RequestHead) -> Refusal {
    let methods = generation.snapshot.methods_elsewhere(head);
    if methods.is_empty() {
        return Refusal::new(RejectReason::NoRoute, "no route matches host and path");
    }
    let detail = "the route takes other methods: see Allow";
    let mut refusal = Refusal::new(RejectReason::MethodNotAllowed, detail);
    refusal.allow = Some(methods.join(", "));
    refusal
}

/// Counts a request, once.
#[inline]
pub(super) fn limit(
    ask: &Question<'_>,
    facts: &Facts<'_>,
    findings: &mut Findings,
) -> Result<(), Box<Refusal>> {
    if findings.limit.is_some() {
        return Ok(());
    }
    let (_, route) = ask.route;
    let verdict = limits::check(
        &ask.generation.snapshot,
        &ask.edge.limits,
        facts,
        route,
        ask.now,
    );
    findings.limit = Some(verdict);
    match verdict {
        LimitVerdict::Exempt => Ok(()),
        LimitVerdict::Admit(quota) => {
            findings.quota = quota.is_some().then_some(quota);
            Ok(())
        }
        LimitVerdict::Refuse(refused) => {
            findings.quota = refused.quota.is_some().then_some(refused.quota);
            let detail = "over the rate limit; try again after the time in Retry-After";
            let mut refusal =
                Refusal::new(refused.limited_by.reason(), detail).by(refused.limited_by.as_str());
            refusal.retry_after = Some(refused.retry_after);
            refusal.limit = Some(refused);
            Err(Box::new(refusal))
        }
    }
}

fn inspect(
    ask: &Question<'_>,
    facts: &Facts<'_>,
    findings: &mut Findings,
) -> Result<(), Box<Refusal>> {
    match mode(ask) {
        WafMode::Off => Ok(()),
        mode @ (WafMode::Detect | WafMode::Block) => judge(
            mode,
            meridian_waf::inspect_head(&ask.generation.waf, facts.head),
            findings,
        ),
    }
}

/// How requests of this route are inspected.
pub fn mode(ask: &Question<'_>) -> WafMode {
    match ask.route.1.waf {
        RouteWaf::Off => WafMode::Off,
        RouteWaf::On => ask.generation.snapshot.waf().mode,
    }
}

/// What a verdict means in this mode.
pub fn judge(mode: WafMode, verdict: Verdict, findings: &mut Findings) -> Result<(), Box<Refusal>> {
    let Verdict::Hit { rule, part } = verdict else {
        return Ok(());
    };
    findings.waf = Some((rule, part));
    match mode {
        WafMode::Off | WafMode::Detect => Ok(()),
        WafMode::Block => {
            let detail = format!("a rule matches the request's {}", part.as_str());
            Err(Box::new(
                Refusal::new(RejectReason::WafDenied, detail).by(rule.as_str()),
            ))
        }
    }
}

/// MCP servers must check `Origin`; the edge stands in front of them.
fn origin(ask: &Question<'_>, facts: &Facts<'_>) -> Result<(), Box<Refusal>> {
    match (ask.route.1.mcp, facts.head.first(Known::Origin)) {
        (McpRoute::On, Some(origin)) if !ask.generation.snapshot.mcp().allows_origin(origin) => {
            let detail = "list the origin under mcp.allowed_origins if browsers may call from it";
            Err(Box::new(Refusal::new(
                RejectReason::OriginNotAllowed,
                detail,
            )))
        }
        (McpRoute::On | McpRoute::Off, _) => Ok(()),
    }
}
