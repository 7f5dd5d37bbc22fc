//! Compiled access rules.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::certificate::CertificatePattern;
use super::raw::RawVerdict;
use super::raw::{RawAccess, RawAddresses, RawConditions, RawConnectionRule, RawRequestRule};
use super::{AccessRule, DEFAULT_RULE};
use crate::Facts;
use crate::compile::CompileContext;
use crate::identity::TokenRule;
use crate::nets::{NetSet, read_all};
use crate::residency::CountrySet;
use crate::routes::matching::{HostPattern, MethodSet, PathPattern};
use crate::yaml::Spanned;

/// Most rules of both kinds together.
const RULES_MAX: usize = 4_096;

/// Key `access`. The default lets everybody in.
#[derive(Debug)]
pub(crate) struct CompiledAccess {
    default: Verdict,
    connections: Vec<ConnectionRule>,
    requests: Vec<RequestRule>,
    ids: Vec<String>,
}

#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Allow,
    Deny,
}

#[derive(Debug)]
struct ConnectionRule {
    verdict: Verdict,
    rule: AccessRule,
    addresses: NetSet,
}

#[derive(Debug)]
struct RequestRule {
    verdict: Verdict,
    rule: AccessRule,
    conditions: Conditions,
}

/// All that are given must hold; within one, any entry.
#[derive(Debug, Default)]
struct Conditions {
    addresses: Option<NetSet>,
    countries: Option<CountrySet>,
    methods: Option<MethodSet>,
    hosts: Option<Vec<HostPattern>>,
    paths: Option<Vec<PathPattern>>,
    headers: Vec<(String, HeaderPattern)>,
    certificate: Option<Vec<CertificatePattern>>,
    token: Option<TokenRule>,
}

#[derive(Debug)]
enum HeaderPattern {
    Present,
    Equals(Vec<u8>),
    StartsWith(Vec<u8>),
}

impl Default for CompiledAccess {
    fn default() -> Self {
        Self {
            default: Verdict::Allow,
            connections: Vec::new(),
            requests: Vec::new(),
            ids: Vec::new(),
        }
    }
}

impl Verdict {
    fn or_denied_by(self, rule: AccessRule) -> Result<(), AccessRule> {
        match self {
            Self::Allow => Ok(()),
            Self::Deny => Err(rule),
        }
    }
}

impl CompiledAccess {
    /// Without a rule that matches, a connection is let in: `default` is about
    /// requests, whose client may be behind a trusted hop.
    pub(super) fn connection(&self, ip: IpAddr) -> Result<(), AccessRule> {
        let hit = self
            .connections
            .iter()
            .find(|rule| rule.addresses.contains(ip));
        hit.map_or(Ok(()), |rule| rule.verdict.or_denied_by(rule.rule))
    }

    pub(super) fn request(&self, facts: &Facts<'_>) -> Result<(), AccessRule> {
        let hit = self
            .requests
            .iter()
            .find(|rule| rule.conditions.hold(facts));
        match hit {
            Some(rule) => rule.verdict.or_denied_by(rule.rule),
            None => self.default.or_denied_by(DEFAULT_RULE),
        }
    }

    /// Whether a rule looks at what no record holds: a field of the request, a
    /// client's certificate, or whom a token speaks of.
    pub(crate) fn reads_fields(&self) -> bool {
        let rules = &mut self.requests.iter();
        rules.any(|rule| {
            !rule.conditions.headers.is_empty()
                || rule.conditions.certificate.is_some()
                || rule.conditions.token.is_some()
        })
    }

    pub(super) fn rule_id(&self, rule: AccessRule) -> &str {
        self.ids
            .get(usize::from(rule.0))
            .map_or("default", String::as_str)
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "default": self.default,
            "connections": self.connections.iter().map(|rule| json!({
                "id": self.rule_id(rule.rule),
                "verdict": rule.verdict,
                "address_ranges": rule.addresses.len(),
            })).collect::<Vec<_>>(),
            "requests": self.requests.iter().map(|rule| json!({
                "id": self.rule_id(rule.rule),
                "verdict": rule.verdict,
                "conditions": rule.conditions.to_json(),
            })).collect::<Vec<_>>(),
        })
    }
}

impl Conditions {
    fn hold(&self, facts: &Facts<'_>) -> bool {
        let head = facts.head;
        self.methods
            .as_ref()
            .is_none_or(|set| set.contains(head.method_str()))
            && self
                .addresses
                .as_ref()
                .is_none_or(|set| set.contains(facts.client))
            && self
                .countries
                .as_ref()
                .is_none_or(|set| set.contains(facts.location.country))
            && self
                .hosts
                .as_ref()
                .is_none_or(|h| h.iter().any(|h| h.matches(head.host())))
            && self
                .paths
                .as_ref()
                .is_none_or(|p| p.iter().any(|p| p.matches(head.path())))
            && self
                .headers
                .iter()
                .all(|(name, pattern)| pattern.holds(facts, name))
            && self.certificate.as_ref().is_none_or(|patterns| {
                facts
                    .certificate
                    .is_some_and(|shown| patterns.iter().any(|p| p.matches(shown)))
            })
            && self
                .token
                .as_ref()
                .is_none_or(|rule| rule.holds(facts.claims.identity))
    }
}

impl Conditions {
    fn to_json(&self) -> Value {
        let redacted = |(name, _): &(String, HeaderPattern)| (name.clone(), json!("(redacted)"));
        json!({
            "address_ranges": self.addresses.as_ref().map(NetSet::len),
            "countries": self.countries.as_ref().map(CountrySet::names),
            "methods": self.methods.as_ref().map(MethodSet::names),
            "hosts": self.hosts.as_ref().map(|h| h.iter().map(ToString::to_string).collect::<Vec<_>>()),
            "paths": self.paths.as_ref().map(|p| p.iter().map(ToString::to_string).collect::<Vec<_>>()),
            "headers": self.headers.iter().map(redacted).collect::<serde_json::Map<_, _>>(),
            "client_certificates": self.certificate.as_ref().map(Vec::len),
            "token": self.token.as_ref().map(TokenRule::to_json),
        })
    }
}

impl HeaderPattern {
    /// Any field line of the name may match: a second line must not hide the
    /// first from a deny rule.
    fn holds(&self, facts: &Facts<'_>, name: &str) -> bool {
        facts
            .head
            .fields()
            .filter(|field| field.name == name)
            .any(|field| match self {
                Self::Present => true,
                Self::Equals(value) => field.value == value.as_slice(),
                Self::StartsWith(prefix) => field.value.starts_with(prefix),
            })
    }
}

pub(crate) fn compile(
    raw: Option<Spanned<RawAccess>>,
    ctx: &mut CompileContext<'_>,
) -> CompiledAccess {
    let Some(raw) = raw else {
        return CompiledAccess::default();
    };
    let count = raw.connections.len() + raw.requests.len();
    if count > RULES_MAX {
        ctx.error(raw.at, format!("{count} access rules, at most {RULES_MAX}"));
        return CompiledAccess::default();
    }
    let mut names = Names::default();
    CompiledAccess {
        default: raw.default.map_or(Verdict::Allow, verdict),
        connections: raw
            .connections
            .iter()
            .map(|r| connection_rule(r, &mut names, ctx))
            .collect(),
        requests: raw
            .requests
            .iter()
            .map(|r| request_rule(r, &mut names, ctx))
            .collect(),
        ids: names.ids,
    }
}

fn verdict(raw: RawVerdict) -> Verdict {
    match raw {
        RawVerdict::Allow => Verdict::Allow,
        RawVerdict::Deny => Verdict::Deny,
    }
}

#[derive(Default)]
struct Names {
    ids: Vec<String>,
    seen: BTreeSet<String>,
}

impl Names {
    fn add(&mut self, id: &Spanned<String>, ctx: &mut CompileContext<'_>) -> AccessRule {
        if id.value == "default" || id.value.is_empty() {
            ctx.error(
                id.at,
                format!("an access rule cannot be called `{}`", id.value),
            );
        }
        if !self.seen.insert(id.value.clone()) {
            ctx.error(id.at, format!("two access rules are called `{}`", id.value));
        }
        let rule = u16::try_from(self.ids.len()).map_or(DEFAULT_RULE, AccessRule);
        self.ids.push(id.value.clone());
        rule
    }
}

fn connection_rule(
    raw: &Spanned<RawConnectionRule>,
    names: &mut Names,
    ctx: &mut CompileContext<'_>,
) -> ConnectionRule {
    let (verdict, RawAddresses { id, addresses }) = match &raw.value {
        RawConnectionRule::Allow(addresses) => (Verdict::Allow, addresses),
        RawConnectionRule::Deny(addresses) => (Verdict::Deny, addresses),
    };
    let rule = names.add(id, ctx);
    ConnectionRule {
        verdict,
        rule,
        addresses: NetSet::new(read_all(addresses, ctx)),
    }
}

fn request_rule(
    raw: &Spanned<RawRequestRule>,
    names: &mut Names,
    ctx: &mut CompileContext<'_>,
) -> RequestRule {
    let (verdict, raw) = match &raw.value {
        RawRequestRule::Allow(conditions) => (Verdict::Allow, conditions),
        RawRequestRule::Deny(conditions) => (Verdict::Deny, conditions),
    };
    RequestRule {
        verdict,
        rule: names.add(&raw.id, ctx),
        conditions: conditions(raw, ctx),
    }
}

/// A list that is given and empty matches nothing, as it says.
fn conditions(raw: &RawConditions, ctx: &mut CompileContext<'_>) -> Conditions {
    let headers = raw
        .headers
        .as_ref()
        .map(|pairs| pairs.0.as_slice())
        .unwrap_or_default();
    Conditions {
        addresses: raw
            .addresses
            .as_ref()
            .map(|nets| NetSet::new(read_all(nets, ctx))),
        countries: raw
            .countries
            .as_ref()
            .map(|names| CountrySet::compile(names, ctx)),
        methods: raw
            .methods
            .as_ref()
            .map(|names| MethodSet::compile(names, ctx)),
        hosts: raw.hosts.as_ref().map(|hosts| {
            hosts
                .iter()
                .filter_map(|host| HostPattern::compile(host, ctx))
                .collect()
        }),
        paths: raw.paths.as_ref().map(|paths| {
            paths
                .iter()
                .filter_map(|path| PathPattern::compile(path, ctx))
                .collect()
        }),
        headers: headers
            .iter()
            .filter_map(|(name, value)| Some((field_name(name, ctx)?, header_pattern(value))))
            .collect(),
        certificate: raw.client_certificate.as_ref().map(|patterns| {
            patterns
                .iter()
                .filter_map(|pattern| CertificatePattern::compile(pattern, ctx))
                .collect()
        }),
        token: raw.token.as_ref().map(|rule| TokenRule::compile(rule, ctx)),
    }
}

fn field_name(raw: &Spanned<String>, ctx: &mut CompileContext<'_>) -> Option<String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if raw.value.is_empty() || !raw.value.bytes().all(token) {
        ctx.error(raw.at, format!("`{}` is not a header's name", raw.value));
        return None;
    }
    Some(raw.value.to_ascii_lowercase())
}

/// `*` is any value, `text*` a beginning, anything else the whole value.
fn header_pattern(raw: &Spanned<String>) -> HeaderPattern {
    match raw.value.strip_suffix('*') {
        Some("") => HeaderPattern::Present,
        Some(prefix) => HeaderPattern::StartsWith(prefix.as_bytes().to_vec()),
        None => HeaderPattern::Equals(raw.value.as_bytes().to_vec()),
    }
}
