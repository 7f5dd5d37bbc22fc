//! What is known about one request when it is decided on.
//!
//! Facts come from the connection, trusted hops, verified tokens and the
//! parsed head. What the client merely says is only in the head, and can only
//! make treatment stricter.

use std::net::IpAddr;

use meridian_geo::Location;
use meridian_wire::RequestHead;
use serde::{Deserialize, Serialize};

use crate::access::ClientCertificate;
use crate::identity::Identity;
use crate::residency::DataClass;

/// One request's facts.
#[derive(Copy, Clone)]
pub struct Facts<'a> {
    /// The parsed head: the same one that is inspected and forwarded.
    pub head: &'a RequestHead,
    /// The client's address, canonical (IPv4-mapped addresses folded).
    pub client: IpAddr,
    /// Who named the client's address.
    pub client_source: ClientSource,
    /// Whether the connection's other end is a trusted hop.
    pub peer_trust: Trust,
    /// Where the client is.
    pub location: Location,
    /// MCP facts, on MCP routes.
    pub mcp: Option<McpFacts<'a>>,
    /// What a verified token or a trusted hop says. Empty by default.
    pub claims: Claims<'a>,
    /// The verified certificate of the connection's other end.
    pub certificate: Option<&'a ClientCertificate>,
}

/// Who named the client's address.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum ClientSource {
    /// The connection's other end is the client.
    Peer,
    /// A trusted hop named it.
    TrustedHop,
}

/// Whether the connection's other end is listed as a trusted hop.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Trust {
    /// Its forwarded headers are believed.
    Trusted,
    /// They are dropped.
    Untrusted,
}

/// What an MCP request says about itself.
#[derive(Copy, Clone, Debug)]
pub struct McpFacts<'a> {
    /// Which of the two protocol eras.
    pub era: Era,
    /// JSON-RPC method, e.g. `tools/call`.
    pub method: Option<&'a str>,
    /// Name of the called tool.
    pub tool: Option<&'a str>,
    /// Whether the routing headers were checked against the body.
    pub verified: HeaderBody,
    /// The session id, in the legacy era.
    pub session: Option<&'a [u8]>,
}

/// MCP's two eras.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Era {
    /// Up to 2025-11-25: sessions.
    Legacy,
    /// From 2026-07-28: stateless, routing headers.
    Modern,
}

/// Whether MCP routing headers and body say the same.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum HeaderBody {
    /// Both were read and agree, or the facts come from the body itself.
    Agree,
    /// The body was not read: the headers alone speak.
    Unchecked,
}

/// What a verified token or a trusted hop vouches for. The default vouches
/// for nothing.
#[derive(Copy, Clone, Debug, Default)]
pub struct Claims<'a> {
    /// The person consented to a transfer across borders.
    pub consent: Option<Vouched>,
    /// Safeguards (contract clauses) are in place for the transfer.
    pub safeguards: Option<Vouched>,
    /// Purpose of the processing, as text.
    pub purpose: Option<Purpose<'a>>,
    /// The data class; can make the request's class stricter, never laxer.
    pub class: Option<DataClass>,
    /// The verified token itself.
    pub identity: Option<&'a Identity>,
}

/// That something was vouched for.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vouched {
    /// By a verified token.
    Token,
    /// By a trusted hop.
    TrustedHop,
}

/// A purpose, as the token or hop wrote it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Purpose<'a> {
    /// Its text.
    pub text: &'a str,
    /// Who vouches for it.
    pub by: Vouched,
}

impl Facts<'_> {
    /// Whether the client is the connection's other end, with no hop between.
    pub fn is_direct(&self) -> bool {
        match self.client_source {
            ClientSource::Peer => true,
            ClientSource::TrustedHop => false,
        }
    }
}
