//! Key `authentication`, from written to meant.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::claims::ClaimNames;
use super::keys::{self, Algorithm, Key};
use super::raw::{RawAuthentication, RawProvider};
use super::{Need, ProviderIndex, TokenFault};
use crate::compile::CompileContext;
use crate::facts::{Claims, Purpose, Vouched};
use crate::yaml::{OnOff, Spanned};
use crate::{Identity, Route, RouteAction};

/// Most providers.
const PROVIDERS_MAX: usize = 16;
/// Leeway in seconds where nothing is said, and at most.
const LEEWAY_S: u64 = 60;
const LEEWAY_MAX_S: u64 = 300;

/// Whose tokens count, and where one is needed. The default looks at none.
#[derive(Debug)]
pub struct Authentication {
    default: Need,
    forward: OnOff,
    metadata: Option<String>,
    providers: Vec<Provider>,
}

/// One issuer of tokens.
#[derive(Debug)]
pub struct Provider {
    /// Its id in the file.
    pub id: String,
    /// `iss` of its tokens.
    pub issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) keys: Vec<Key>,
    pub(super) leeway_s: u64,
    pub(super) claims: ClaimNames,
}

impl Default for Authentication {
    fn default() -> Self {
        Self {
            default: Need::Off,
            forward: OnOff::On,
            metadata: None,
            providers: Vec::new(),
        }
    }
}

impl Authentication {
    /// Whether no token is looked at on any route.
    #[inline]
    pub fn is_off(&self) -> bool {
        self.providers.is_empty()
    }

    /// Whether requests of a route must show a token. The edge's own health
    /// needs none unless its route says so.
    pub fn need(&self, route: &Route) -> Need {
        match (route.authentication, &route.action) {
            (Some(need), _) => need,
            (None, RouteAction::Health) => Need::Off,
            (
                None,
                RouteAction::Forward | RouteAction::Respond { .. } | RouteAction::Deny { .. },
            ) => self.default,
        }
    }

    /// Whether requests of no route must show one.
    pub(crate) fn default_need(&self) -> Need {
        self.default
    }

    /// Whether a backend gets the token that was verified.
    pub fn forwards(&self) -> bool {
        match self.forward {
            OnOff::On => true,
            OnOff::Off => false,
        }
    }

    /// A provider; `None` for another snapshot's index.
    pub fn provider(&self, index: ProviderIndex) -> Option<&Provider> {
        self.providers.get(usize::from(index.0))
    }

    /// The provider of this id.
    pub fn provider_by_id(&self, id: &str) -> Option<(ProviderIndex, &Provider)> {
        self.find(|provider| provider.id == id)
    }

    pub(super) fn by_issuer(&self, issuer: &str) -> Option<(ProviderIndex, &Provider)> {
        self.find(|provider| provider.issuer == issuer)
    }

    fn find(&self, is: impl Fn(&Provider) -> bool) -> Option<(ProviderIndex, &Provider)> {
        let mut indexed = (0_u8..).map(ProviderIndex).zip(&self.providers);
        indexed.find(|(_, provider)| is(provider))
    }

    /// The value of `WWW-Authenticate` (RFC 6750, section 3; RFC 9728, section
    /// 5.1). `fault`: what is wrong with the token; `None`: there was none.
    pub fn challenge(&self, fault: Option<TokenFault>) -> String {
        let mut text = "Bearer".to_owned();
        let mut join = " ";
        let mut add = |name: &str, value: &str| {
            text.push_str(join);
            text.push_str(name);
            text.push_str("=\"");
            text.push_str(value);
            text.push('"');
            join = ", ";
        };
        if let Some(fault) = fault {
            add("error", "invalid_token");
            add("error_description", fault.text());
        }
        if let Some(metadata) = &self.metadata {
            add("resource_metadata", metadata);
        }
        text
    }

    /// For `/snapshot`. Keys are public, and only named.
    pub(crate) fn to_json(&self) -> Value {
        let one = |provider: &Provider| {
            json!({
                "id": provider.id,
                "issuer": provider.issuer,
                "audiences": provider.audiences,
                "algorithms": provider.algorithms.iter().map(|one| one.as_str()).collect::<Vec<_>>(),
                "keys": provider.keys.iter().map(|key| key.kid.as_deref()).collect::<Vec<_>>(),
                "leeway_s": provider.leeway_s,
                "claims": provider.claims.to_json(),
            })
        };
        json!({
            "default": self.default,
            "forward": self.forwards(),
            "resource_metadata": self.metadata,
            "providers": self.providers.iter().map(one).collect::<Vec<_>>(),
        })
    }
}

impl<'a> Claims<'a> {
    /// The same with what a verified token says; a token goes before a hop.
    #[must_use]
    pub fn with(self, identity: Option<&'a Identity>) -> Self {
        let Some(token) = identity else {
            return self;
        };
        let said = |yes: bool| yes.then_some(Vouched::Token);
        Claims {
            consent: said(token.consent).or(self.consent),
            safeguards: said(token.safeguards).or(self.safeguards),
            purpose: token
                .purpose
                .as_deref()
                .map(|text| Purpose {
                    text,
                    by: Vouched::Token,
                })
                .or(self.purpose),
            class: self.class.max(token.class),
            identity: Some(token),
        }
    }
}

impl Provider {
    /// Whether its tokens may vouch for consent, safeguards and a class.
    pub(crate) fn believes(&self) -> [bool; 3] {
        self.claims.believes()
    }
}

pub(crate) fn compile(
    raw: Option<Spanned<RawAuthentication>>,
    ctx: &mut CompileContext<'_>,
) -> Authentication {
    let Some(raw) = raw else {
        return Authentication::default();
    };
    let list = &raw.providers;
    if list.value.is_empty() {
        ctx.error_help(
            list.at,
            "nobody issues tokens",
            "list a provider, or take the key `authentication` out",
        );
    }
    if let Some(over) = list.value.get(PROVIDERS_MAX) {
        ctx.error(over.at, format!("over {PROVIDERS_MAX} providers"));
    }
    let (mut ids, mut issuers) = (BTreeSet::new(), BTreeSet::new());
    for one in list.value.iter().take(PROVIDERS_MAX) {
        for (seen, name, what) in [
            (&mut ids, &one.id, "are called"),
            (&mut issuers, &one.issuer, "have the issuer"),
        ] {
            if !seen.insert(name.value.as_str()) {
                ctx.error(name.at, format!("two providers {what} `{}`", name.value));
            }
        }
    }
    if let Some(metadata) = &raw.resource_metadata {
        url(metadata, ctx);
    }
    let all = list.value.iter().take(PROVIDERS_MAX);
    Authentication {
        default: raw.default.unwrap_or(Need::Required),
        forward: raw.forward.unwrap_or(OnOff::On),
        metadata: raw.resource_metadata.as_ref().map(|url| url.value.clone()),
        providers: all.map(|one| provider(one, ctx)).collect(),
    }
}

/// Ids of providers, which other keys refer to.
pub(crate) fn ids(raw: Option<&Spanned<RawAuthentication>>) -> Vec<String> {
    let list = raw.map_or(&[][..], |raw| raw.value.providers.value.as_slice());
    let all = list.iter().take(PROVIDERS_MAX);
    all.map(|one| one.value.id.value.clone()).collect()
}

fn url(url: &Spanned<String>, ctx: &mut CompileContext<'_>) {
    let rest = url
        .value
        .strip_prefix("https://")
        .or_else(|| url.value.strip_prefix("http://"));
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if rest.is_none_or(str::is_empty) || !url.value.bytes().all(plain) || url.value.len() > 512 {
        ctx.error_help(
            url.at,
            format!("`{}` is no URL of metadata", url.value),
            "write it whole: `https://edge.example/.well-known/oauth-protected-resource`",
        );
    }
}

fn provider(raw: &RawProvider, ctx: &mut CompileContext<'_>) -> Provider {
    for (name, what) in [(&raw.id, "id"), (&raw.issuer, "issuer")] {
        if name.value.is_empty() || name.value.len() > 512 {
            ctx.error(name.at, format!("an `{what}` has 1 to 512 bytes"));
        }
    }
    let audiences = &raw.audiences;
    if audiences.value.is_empty() || audiences.value.iter().any(|one| one.value.is_empty()) {
        ctx.error_help(
            audiences.at,
            "tokens for anybody would count here",
            "name what tokens for this edge have in `aud`",
        );
    }
    let algorithms = algorithms(&raw.algorithms, ctx);
    let keys = keys::read(&raw.keys.value).unwrap_or_else(|why| {
        let help = "write `keys: file:jwks.json`, with the provider's JWK set in that file";
        ctx.error_help(raw.keys.at, why, help);
        Vec::new()
    });
    for algorithm in &algorithms {
        if !keys.is_empty() && !keys.iter().any(|key| key.fits(*algorithm)) {
            let name = algorithm.as_str();
            ctx.warn(raw.keys.at, format!("no key of this set is for {name}"));
        }
    }
    Provider {
        id: raw.id.value.clone(),
        issuer: raw.issuer.value.clone(),
        audiences: audiences
            .value
            .iter()
            .map(|one| one.value.clone())
            .collect(),
        algorithms,
        keys,
        leeway_s: leeway(raw, ctx),
        claims: ClaimNames::compile(&raw.claims, ctx),
    }
}

fn leeway(raw: &RawProvider, ctx: &mut CompileContext<'_>) -> u64 {
    let Some(span) = raw.leeway else {
        return LEEWAY_S;
    };
    let seconds = span.value.0.as_secs();
    if seconds > LEEWAY_MAX_S || span.value.0.subsec_nanos() > 0 {
        ctx.error(span.at, "a leeway is whole seconds, 0s to 5m");
    }
    seconds
}

fn algorithms(raw: &Spanned<Vec<Spanned<String>>>, ctx: &mut CompileContext<'_>) -> Vec<Algorithm> {
    if raw.value.is_empty() {
        ctx.error_help(raw.at, "no algorithm is accepted", "list one, as `RS256`");
    }
    let mut all = Vec::new();
    for name in &raw.value {
        let text = name.value.as_str();
        if text.eq_ignore_ascii_case("none") {
            let help = "anybody could write such a token: list an algorithm with a public key";
            ctx.error_help(name.at, "a token without a signature is nobody's", help);
        } else if text.starts_with("HS") {
            let help = "use RS256, PS256, ES256 or EdDSA, and their 384 and 512 where there are";
            ctx.error_help(name.at, "shared secrets are not taken", help);
        } else if let Some(algorithm) = Algorithm::parse(text) {
            all.push(algorithm);
        } else {
            let known = Algorithm::ALL.map(Algorithm::as_str);
            ctx.unknown(name.at, ("algorithm", text), known);
        }
    }
    all
}
