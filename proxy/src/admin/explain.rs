//! A hypothetical request, against live state or a fresh one.
//!
//! Promises: the head passes the rules of real ones, and the client is an
//! ordinary one: direct, untrusted, vouched for only by what the operator
//! says here. Refuses: members it does not know.

use std::collections::BTreeMap;
use std::net::IpAddr;

use meridian_policies::explain::{Explanation, Moment, explain, unauthorized};
use meridian_policies::identity::{Bearer, bearer};
use meridian_policies::{
    Claims, ClientSource, Facts, Identity, McpFacts, McpRoute, Need, Snapshot, Tick, TokenFault,
    Trust, Vouched,
};
use meridian_wire::{
    EndStream, HeadLimits, Known, Malformed, RequestBuilder, RequestHead, Version,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::edge::{Clock, Generation};
use crate::pipeline::{admit, mcp, session};

/// What is asked. Everything but `ip` has a default.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// The client's address.
    pub(crate) ip: IpAddr,
    #[serde(default = "root")]
    pub(crate) path: String,
    #[serde(default = "get")]
    pub(crate) method: String,
    #[serde(default = "localhost")]
    pub(crate) host: String,
    /// Sent as `x-data-class`.
    #[serde(default)]
    pub(crate) class: Option<String>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// MCP tool that is called, on an MCP route.
    #[serde(default)]
    pub(crate) tool: Option<String>,
    /// Which session it belongs to: the value of the cookie or field that
    /// `session_affinity` names.
    #[serde(default)]
    pub(crate) session: Option<String>,
    /// As if a verified token said so.
    #[serde(default)]
    pub(crate) consent: bool,
    /// As if a verified token said so.
    #[serde(default)]
    pub(crate) safeguards: bool,
    /// As if a verified token of this provider came with it.
    #[serde(default)]
    pub(crate) token_of: Option<String>,
    /// Whom that token speaks of.
    #[serde(default)]
    pub(crate) subject: Option<String>,
    /// Its groups.
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    /// Stands for chance: the same draw gives the same choice.
    #[serde(default)]
    pub(crate) draw: u64,
    /// Whether the answer has a `table` for people as well.
    #[serde(default)]
    pub(crate) table: bool,
}

fn root() -> String {
    "/".to_owned()
}

fn get() -> String {
    "GET".to_owned()
}

fn localhost() -> String {
    "localhost".to_owned()
}

/// Reads a question, or says in one sentence what is wrong with it.
pub(super) fn question(body: &[u8]) -> Result<Question, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// What the edge would decide at this moment, or why it would not read the
/// request.
pub(crate) fn ask(
    question: &Question,
    generation: &Generation,
    now: Tick,
) -> Result<Explanation, String> {
    let mut head = RequestHead::new();
    let session = match &question.session {
        Some(session) => Some(generation.snapshot.affinity().field(session).ok_or(
            "no field names a session here: by `session_affinity` there is none, or it is the client's address",
        )?),
        None => None,
    };
    build((question, session), &mut head)
        .map_err(|fault| format!("no edge would read this request: {}", fault.text()))?;
    let body = question.tool.as_deref().map(call);
    let message = mcp::read(body.as_deref());
    let client = meridian_geo::canonical(question.ip);
    let claims = Claims {
        consent: question.consent.then_some(Vouched::Token),
        safeguards: question.safeguards.then_some(Vouched::Token),
        ..Claims::default()
    };
    let identity = identity(question, &generation.snapshot, &head)?;
    let facts = Facts {
        head: &head,
        client,
        client_source: ClientSource::Peer,
        peer_trust: Trust::Untrusted,
        location: generation.locator.locate(client),
        mcp: mcp_facts(&generation.snapshot, &head, &message)?,
        claims: claims.with(identity.as_ref().ok().and_then(Option::as_ref)),
        certificate: None,
    };
    if let Err(fault) = identity {
        return Ok(unauthorized(&generation.snapshot, &facts, fault));
    }
    let moment = Moment {
        now,
        unix_s: Clock::unix_ms() / 1_000,
        draw: question.draw,
        mcp: head
            .first(Known::McpSessionId)
            .and_then(|id| session::open(id).0),
    };
    Ok(explain(
        &generation.snapshot,
        &generation.view,
        &facts,
        &moment,
    ))
}

/// What the token says: the one that is assumed, else the one that the request
/// carries, verified as the request path would.
fn identity(
    question: &Question,
    snapshot: &Snapshot,
    head: &RequestHead,
) -> Result<Result<Option<Identity>, TokenFault>, String> {
    let authentication = snapshot.authentication();
    if let Some(id) = &question.token_of {
        let (provider, _) = authentication
            .provider_by_id(id)
            .ok_or_else(|| format!("no provider of tokens is called `{id}`"))?;
        let (subject, groups) = (question.subject.clone(), question.groups.clone());
        return Ok(Ok(Some(Identity::assumed(provider, subject, groups))));
    }
    if question.subject.is_some() || !question.groups.is_empty() {
        return Err("a subject and groups are those of a token: say whose".to_owned());
    }
    let route = snapshot.route(head).map(|(_, route)| route);
    let need = authentication.need(route.unwrap_or_else(|| admit::stray()));
    Ok(match (need, bearer(head)) {
        (Need::Off, _) | (_, Bearer::Missing) => Ok(None),
        (Need::Required | Need::Optional, Bearer::Faulty(fault)) => Err(fault),
        (Need::Required | Need::Optional, Bearer::Token(token)) => authentication
            .verify(token, Clock::unix_ms() / 1_000)
            .map(Some),
    })
}

/// The message of a tool call, as far as the edge reads it.
fn call(tool: &str) -> Vec<u8> {
    let params = json!({ "name": tool });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
        .to_string()
        .into_bytes()
}

/// What an MCP route makes of head and message; nothing elsewhere.
fn mcp_facts<'a>(
    snapshot: &Snapshot,
    head: &'a RequestHead,
    message: &'a mcp::Read<'a>,
) -> Result<Option<McpFacts<'a>>, String> {
    match snapshot.route(head).map(|(_, route)| route.mcp) {
        Some(McpRoute::On) => mcp::facts(head, message).map(Some).map_err(|mismatch| {
            format!("400: {} says something else than the tool", mismatch.header)
        }),
        Some(McpRoute::Off) | None => Ok(None),
    }
}

/// The head that the engine would have read.
fn build(
    (question, session): (&Question, Option<(&str, String)>),
    head: &mut RequestHead,
) -> Result<(), Malformed> {
    let mut builder = RequestBuilder::new(head, Version::Http2, HeadLimits::default());
    builder.method(&question.method)?;
    builder.scheme("https")?;
    builder.authority(&question.host)?;
    builder.path(&question.path)?;
    for (name, value) in &question.headers {
        builder.field(name.to_ascii_lowercase().as_bytes(), value.as_bytes())?;
    }
    if let Some((name, value)) = session {
        builder.field(name.as_bytes(), value.as_bytes())?;
    }
    if let Some(class) = &question.class {
        builder.field(b"x-data-class", class.as_bytes())?;
    }
    builder.finish(EndStream::Yes)
}
