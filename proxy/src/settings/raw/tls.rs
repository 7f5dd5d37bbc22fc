//! `listeners[].tls` as it is written.

use std::fmt;
use std::time::Duration;

use meridian_policies::yaml::Span;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::settings::values::{Bounded, Filled};

/// Most certificates of a listener, and most names of one.
const CERTIFICATES_MAX: usize = 256;
const NAMES_MAX: usize = 256;
/// Shortest and longest life of a ticket (RFC 8446, 4.6.1: at most 7 days).
const ROTATE_MIN: Duration = Duration::from_mins(1);
const ROTATE_MAX: Duration = Duration::from_hours(7 * 24);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::settings) struct Tls {
    pub(in crate::settings) certificates: Certificates,
    #[serde(default)]
    pub(in crate::settings) min_version: MinVersion,
    #[serde(default)]
    pub(in crate::settings) client_auth: Option<ClientAuth>,
    #[serde(default)]
    pub(in crate::settings) session_tickets: SessionTickets,
}

/// At least one.
pub(in crate::settings) struct Certificates(pub(in crate::settings) Vec<Certificate>);

impl<'de> Deserialize<'de> for Certificates {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Bounded(list) = Bounded::<Certificate, CERTIFICATES_MAX>::deserialize(from)?;
        if list.is_empty() {
            return Err(D::Error::custom(
                "no certificate; write - { cert: tls.pem, key: tls.key }",
            ));
        }
        Ok(Self(list))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::settings) struct Certificate {
    pub(in crate::settings) cert: Filled,
    pub(in crate::settings) key: Filled,
    #[serde(default)]
    pub(in crate::settings) ocsp: Option<Filled>,
    #[serde(default)]
    pub(in crate::settings) names: Bounded<Name, NAMES_MAX>,
    #[serde(default)]
    pub(in crate::settings) client_auth: Option<ClientAuth>,
}

/// A host name or address, or `*.` and a name; lower case.
pub(in crate::settings) struct Name(pub(in crate::settings) String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?.to_ascii_lowercase();
        let host = text.strip_prefix("*.").unwrap_or(&text);
        let address = text.parse::<std::net::IpAddr>().is_ok();
        let label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if address || (host.len() <= 253 && host.split('.').all(label)) {
            return Ok(Self(text));
        }
        Err(D::Error::custom(format!(
            "`{text}` is not a host name; write for example shop.example or \"*.shop.example\""
        )))
    }
}

#[derive(Copy, Clone, Default, Deserialize)]
pub(in crate::settings) enum MinVersion {
    #[default]
    #[serde(rename = "1.2")]
    V12,
    #[serde(rename = "1.3")]
    V13,
}

#[derive(Copy, Clone, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(in crate::settings) enum AuthMode {
    Off,
    Optional,
    Required,
}

#[derive(Deserialize)]
#[serde(try_from = "ClientAuthFields")]
pub(in crate::settings) struct ClientAuth {
    pub(in crate::settings) mode: AuthMode,
    /// Empty when the mode is `off`.
    pub(in crate::settings) ca: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientAuthFields {
    mode: AuthMode,
    #[serde(default)]
    ca: Option<Filled>,
}

impl TryFrom<ClientAuthFields> for ClientAuth {
    type Error = String;

    fn try_from(fields: ClientAuthFields) -> Result<Self, String> {
        match (fields.mode, fields.ca) {
            (AuthMode::Off, None) => Ok(Self {
                mode: AuthMode::Off,
                ca: String::new(),
            }),
            (AuthMode::Off, Some(_)) => {
                Err("client_auth is off: take `ca` out, or write mode: required".to_owned())
            }
            (AuthMode::Optional | AuthMode::Required, None) => Err(
                "client_auth needs the authorities that vouch for clients: add `ca: clients.pem`"
                    .to_owned(),
            ),
            (mode, Some(Filled(ca))) => Ok(Self { mode, ca }),
        }
    }
}

/// `off`, or a mapping.
pub(in crate::settings) enum SessionTickets {
    Off,
    On {
        keys: Option<String>,
        rotate: Option<Duration>,
    },
}

impl Default for SessionTickets {
    fn default() -> Self {
        Self::On {
            keys: None,
            rotate: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketFields {
    #[serde(default)]
    keys: Option<Filled>,
    #[serde(default)]
    rotate: Option<Rotation>,
}

struct Rotation(Duration);

impl<'de> Deserialize<'de> for Rotation {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Span(span) = Span::deserialize(from)?;
        if !(ROTATE_MIN..=ROTATE_MAX).contains(&span) {
            return Err(D::Error::custom("rotate is 1m to 7d"));
        }
        Ok(Self(span))
    }
}

impl<'de> Deserialize<'de> for SessionTickets {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TicketVisitor)
    }
}

struct TicketVisitor;

impl<'de> Visitor<'de> for TicketVisitor {
    type Value = SessionTickets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`off`, or a mapping with `keys` and `rotate`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SessionTickets, E> {
        match text {
            "off" => Ok(SessionTickets::Off),
            "on" => Ok(SessionTickets::default()),
            other => Err(E::custom(format!(
                "`{other}` is not known here; write `off`, or {{ keys: FILE, rotate: 12h }}"
            ))),
        }
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<SessionTickets, E> {
        self.visit_str(if on { "on" } else { "off" })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SessionTickets, A::Error> {
        let fields = TicketFields::deserialize(MapAccessDeserializer::new(map))?;
        Ok(SessionTickets::On {
            keys: fields.keys.map(|Filled(path)| path),
            rotate: fields.rotate.map(|Rotation(span)| span),
        })
    }
}
