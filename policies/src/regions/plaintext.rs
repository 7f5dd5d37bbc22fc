//! Key `plaintext_upstreams`: which endpoints may be spoken to in plain text
//! although data must be encrypted in transit.
//!
//! Promises: an endpoint is sealed when it is spoken to over TLS, lies in
//! this machine, or in a network or under a name that the operator lists as
//! one that encrypts by itself (a mesh). What is not sealed is no candidate
//! for such data. Refuses: to resolve names; a name is sealed by being listed.

use std::net::IpAddr;

use meridian_geo::IpNet;
use serde::{Deserialize, Serialize};

use super::compiled::{Endpoint, Transport};
use crate::compile::CompileContext;
use crate::nets::{NetSet, RawNet};
use crate::yaml::Spanned;

/// Most entries of `mesh`.
const MESH_MAX: usize = 1_024;

/// Whether an endpoint in this machine counts as sealed.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Loopback {
    /// It does.
    #[default]
    Allow,
    /// It does not.
    Refuse,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawPlaintext {
    loopback: Loopback,
    mesh: Vec<Spanned<String>>,
}

/// Compiled; the default seals this machine and nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plaintext {
    loopback: Loopback,
    nets: NetSet,
    /// Exact names, and suffixes with their leading dot.
    names: Vec<String>,
    written: Vec<String>,
}

/// How what is sent to an endpoint travels.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Encrypted by the edge.
    Tls,
    /// In plain text, inside this machine.
    Loopback,
    /// In plain text, through a network that encrypts by itself.
    Mesh,
    /// In plain text.
    Plaintext,
}

impl Way {
    /// Stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Loopback => "loopback",
            Self::Mesh => "mesh",
            Self::Plaintext => "plaintext",
        }
    }

    /// Whether nobody on the way can read it.
    pub const fn is_sealed(self) -> bool {
        match self {
            Self::Tls | Self::Loopback | Self::Mesh => true,
            Self::Plaintext => false,
        }
    }
}

/// Compiles the key.
pub(crate) fn compile(
    raw: Option<Spanned<RawPlaintext>>,
    ctx: &mut CompileContext<'_>,
) -> Plaintext {
    let Some(raw) = raw.map(|raw| raw.value) else {
        return Plaintext::default();
    };
    if let Some(over) = raw.mesh.get(MESH_MAX) {
        ctx.error(over.at, format!("over {MESH_MAX} entries"));
    }
    let mut nets: Vec<IpNet> = Vec::new();
    let mut names = Vec::new();
    for entry in raw.mesh.iter().take(MESH_MAX) {
        let text = entry.value.as_str();
        let body = text.strip_prefix('*').unwrap_or(text);
        if is_name(body) && (body.len() == text.len()) != body.starts_with('.') {
            names.push(body.to_ascii_lowercase());
        } else if let Some(net) = RawNet(entry.clone()).read(ctx) {
            nets.push(net);
        }
    }
    Plaintext {
        loopback: raw.loopback,
        nets: NetSet::new(nets),
        names,
        written: raw.mesh.into_iter().map(|entry| entry.value).collect(),
    }
}

/// A host name that is no address: its last label has a letter.
fn is_name(text: &str) -> bool {
    let label = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let last = text.rsplit('.').next().unwrap_or_default();
    (2..=253).contains(&text.len())
        && text.bytes().all(label)
        && last.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !text.contains("..")
}

impl Plaintext {
    /// How what is sent to an endpoint travels.
    pub(super) fn way(&self, endpoint: &Endpoint) -> Way {
        match endpoint.transport() {
            Transport::Tls => Way::Tls,
            Transport::Plain => self.host(&endpoint.host),
        }
    }

    fn host(&self, host: &str) -> Way {
        let address = host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        let here = match address {
            Some(address) => address.is_loopback(),
            None => host.eq_ignore_ascii_case("localhost"),
        };
        if here && self.loopback == Loopback::Allow {
            return Way::Loopback;
        }
        let listed = match address {
            Some(address) => self.nets.contains(address),
            None => self.names(&host.to_ascii_lowercase()),
        };
        if listed { Way::Mesh } else { Way::Plaintext }
    }

    fn names(&self, host: &str) -> bool {
        self.names.iter().any(|name| {
            if name.starts_with('.') {
                host.len() > name.len() && host.ends_with(name.as_str())
            } else {
                host == name
            }
        })
    }

    /// For `/snapshot`.
    pub(super) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "loopback": self.loopback, "mesh": self.written })
    }
}
