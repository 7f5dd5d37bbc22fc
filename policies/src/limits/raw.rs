//! serde mirror of `rate_limiting`.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};

use crate::nets::RawNet;
use crate::yaml::{Span, Spanned};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRateLimiting {
    pub(super) requests_per_second: Option<Spanned<u64>>,
    pub(super) burst_size: Option<Spanned<u64>>,
    pub(super) per_ip_rate: Option<Spanned<u64>>,
    pub(super) per_ip_burst: Option<Spanned<u64>>,
    pub(super) ban: Option<Spanned<RawBan>>,
    #[serde(default)]
    pub(super) exempt: Vec<RawExempt>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBan {
    pub(super) requests: Spanned<u32>,
    pub(super) interval: Spanned<Span>,
    pub(super) duration: Spanned<Span>,
}

/// A network, or `{cidr, when}`.
pub(super) struct RawExempt {
    pub(super) cidr: RawNet,
    pub(super) when: When,
}

/// Which clients of a network are exempt.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum When {
    /// However the address became known.
    Always,
    /// Only where it is the connection's other end.
    Direct,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    cidr: RawNet,
    when: When,
}

impl<'de> Deserialize<'de> for RawExempt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, at } = Spanned::<Either>::deserialize(deserializer)?;
        Ok(match value {
            Either::Short(cidr) => Self {
                cidr: RawNet(Spanned { value: cidr, at }),
                when: When::Always,
            },
            Either::Long(Long { cidr, when }) => Self { cidr, when },
        })
    }
}

enum Either {
    Short(String),
    Long(Long),
}

impl<'de> Deserialize<'de> for Either {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EitherVisitor)
    }
}

struct EitherVisitor;

impl<'de> Visitor<'de> for EitherVisitor {
    type Value = Either;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a network, or `{cidr: .., when: direct}`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Either, E> {
        Ok(Either::Short(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Either, A::Error> {
        Long::deserialize(MapAccessDeserializer::new(map)).map(Either::Long)
    }
}
