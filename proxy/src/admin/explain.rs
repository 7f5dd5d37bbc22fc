//! A hypothetical request against the live state.
//!
//! Promises: the head passes the rules of real ones, and the client is an
//! ordinary one: direct, untrusted, vouched for only by what the operator
//! says here. Refuses: members it does not know.

use std::collections::BTreeMap;
use std::net::IpAddr;

use meridian_policies::explain::{Explanation, explain};
use meridian_policies::{Claims, ClientSource, Facts, Tick, Trust, Vouched};
use meridian_wire::{EndStream, HeadLimits, Malformed, RequestBuilder, RequestHead, Version};
use serde::Deserialize;

use crate::edge::Generation;

/// What is asked. Everything but `ip` has a default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// The client's address.
    ip: IpAddr,
    #[serde(default = "root")]
    path: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default = "localhost")]
    host: String,
    /// Sent as `x-data-class`.
    #[serde(default)]
    class: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// As if a verified token said so.
    #[serde(default)]
    consent: bool,
    /// As if a verified token said so.
    #[serde(default)]
    safeguards: bool,
    /// Stands for chance: the same draw gives the same choice.
    #[serde(default)]
    draw: u64,
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

/// What the edge would decide at this moment.
pub(super) fn ask(
    question: &Question,
    generation: &Generation,
    now: Tick,
) -> Result<Explanation, Malformed> {
    let mut head = RequestHead::new();
    build(question, &mut head)?;
    let client = meridian_geo::canonical(question.ip);
    let facts = Facts {
        head: &head,
        client,
        client_source: ClientSource::Peer,
        peer_trust: Trust::Untrusted,
        location: generation.locator.locate(client),
        mcp: None,
        claims: Claims {
            consent: question.consent.then_some(Vouched::Token),
            safeguards: question.safeguards.then_some(Vouched::Token),
            ..Claims::default()
        },
    };
    Ok(explain(
        &generation.snapshot,
        &generation.view,
        &facts,
        now,
        question.draw,
    ))
}

/// The head that the engine would have read.
fn build(question: &Question, head: &mut RequestHead) -> Result<(), Malformed> {
    let mut builder = RequestBuilder::new(head, Version::Http2, HeadLimits::default());
    builder.method(&question.method)?;
    builder.scheme("https")?;
    builder.authority(&question.host)?;
    builder.path(&question.path)?;
    for (name, value) in &question.headers {
        builder.field(name.to_ascii_lowercase().as_bytes(), value.as_bytes())?;
    }
    if let Some(class) = &question.class {
        builder.field(b"x-data-class", class.as_bytes())?;
    }
    builder.finish(EndStream::Yes)
}
