//! Key `upstream_tls`: whom the edge believes to be an endpoint, and how it
//! shows itself to one.
//!
//! Promises: every `https` endpoint has authorities that vouch for it and a
//! name or address that its certificate must have. Refuses: an endpoint that
//! nobody vouches for (no authority is trusted unless it is written), names
//! that no certificate can have, and any way to turn verification off. Files
//! are named here and read by whoever connects.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::yaml::Spanned;

/// Most different settings of one policy set.
pub(super) const SETTINGS_MAX: usize = 64;

/// What the connections to some endpoints have in common. Paths are as
/// written, relative to the folder of the policies.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct UpstreamTls {
    /// PEM file of the authorities that vouch for the endpoints.
    pub ca: String,
    /// What the edge shows to endpoints that ask for a certificate; `None`:
    /// nothing.
    pub client: Option<UpstreamIdentity>,
    /// Older versions are refused.
    pub min_version: UpstreamTlsVersion,
}

/// PEM files of the edge's own certificate toward endpoints.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct UpstreamIdentity {
    /// Chain, leaf first.
    pub cert: String,
    /// Private key.
    pub key: String,
}

/// A floor of protocol versions.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub enum UpstreamTlsVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3 alone.
    #[serde(rename = "1.3")]
    V13,
}

/// How one endpoint is spoken to over TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndpointTls {
    /// Place of its settings in [`crate::Snapshot::upstream_tls`].
    pub settings: usize,
    /// The host name or address that its certificate must have, never empty.
    /// A name is told to the endpoint (SNI), an address is not.
    pub server_name: String,
}

/// `upstream_tls`, or `tls` of a region.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawUpstreamTls {
    pub(super) ca: Option<Spanned<String>>,
    pub(super) client: Option<Spanned<RawIdentity>>,
    pub(super) server_name: Option<Spanned<String>>,
    pub(super) min_version: Option<UpstreamTlsVersion>,
}

impl RawUpstreamTls {
    /// Key by key: what is written here, else what `all` says.
    pub(super) fn over(self, all: &Self) -> Self {
        Self {
            ca: self.ca.or_else(|| all.ca.clone()),
            client: self.client.or_else(|| all.client.clone()),
            server_name: self.server_name.or_else(|| all.server_name.clone()),
            min_version: self.min_version.or(all.min_version),
        }
    }
}

/// `off`, or a mapping.
#[derive(Clone)]
pub(super) enum RawIdentity {
    Off,
    Files { cert: String, key: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    cert: String,
    key: String,
}

impl<'de> Deserialize<'de> for RawIdentity {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(IdentityVisitor)
    }
}

struct IdentityVisitor;

impl<'de> Visitor<'de> for IdentityVisitor {
    type Value = RawIdentity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`off`, or a mapping with `cert` and `key`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawIdentity, E> {
        match text {
            "off" => Ok(RawIdentity::Off),
            other => Err(E::custom(format!(
                "`{other}` is not known here: expected `off`, or {{ cert: edge.pem, key: edge.key }}"
            ))),
        }
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<RawIdentity, E> {
        self.visit_str(if on { "on" } else { "off" })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawIdentity, A::Error> {
        let Files { cert, key } = Files::deserialize(MapAccessDeserializer::new(map))?;
        Ok(RawIdentity::Files { cert, key })
    }
}

/// What is wrong with a path, if anything is: the text of a file in its place
/// (by a reference) would not be followed when the file changes.
pub(super) fn path_fault(path: &str) -> Option<&'static str> {
    if path.contains("-----BEGIN") {
        Some("this is the text of a file; write its path, without `file:`")
    } else if path.is_empty() || path.len() > 4_096 || path.contains(['\n', '\0']) {
        Some("this is no path of a file")
    } else {
        None
    }
}

/// Whether a certificate can be for this host: an address, or a name of
/// labels that does not end in a number or a dot.
pub(super) fn is_server_name(text: &str) -> bool {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_certificate_can_have_is_none() {
        for name in [
            "backend",
            "a.internal",
            "mcp.us-central1.svc.clusterset.local",
            "under_score.example",
            "10.0.0.1",
            "::1",
            "3com.example",
        ] {
            assert!(is_server_name(name), "{name}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for name in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a b",
            "1.2.3",
            "300.1.1.1",
            "[::1]",
            "*.a",
            &long,
        ] {
            assert!(!is_server_name(name), "{name}");
        }
    }
}
