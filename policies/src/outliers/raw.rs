//! Mirrors of `outlier_detection` and `health_check` as they are written.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::yaml::{Span, Spanned};

/// `outlier_detection`. Seed: "Backend service", `outlier_detection`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawOutlierDetection {
    pub(crate) consecutive_errors: Option<Spanned<u32>>,
    pub(crate) interval: Option<Spanned<Span>>,
    pub(crate) base_ejection_time: Option<Spanned<Span>>,
    pub(crate) max_ejection_time: Option<Spanned<Span>>,
    pub(crate) max_ejection_percent: Option<Spanned<u32>>,
    pub(crate) panic_threshold: Option<Spanned<u32>>,
    pub(crate) slow_start: Option<Span>,
}

/// `health_check`: `off`, or the seed's numbers. Seed: "Health check".
pub(crate) enum RawHealthCheck {
    Off,
    On(RawProbe),
}

impl Default for RawHealthCheck {
    fn default() -> Self {
        Self::On(RawProbe::default())
    }
}

/// `health_check` as a mapping.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawProbe {
    pub(crate) path: Option<Spanned<String>>,
    pub(crate) interval: Option<Spanned<Span>>,
    pub(crate) timeout: Option<Spanned<Span>>,
    pub(crate) healthy_threshold: Option<Spanned<u32>>,
    pub(crate) unhealthy_threshold: Option<Spanned<u32>>,
}

impl<'de> Deserialize<'de> for RawHealthCheck {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HealthCheckVisitor)
    }
}

struct HealthCheckVisitor;

impl<'de> Visitor<'de> for HealthCheckVisitor {
    type Value = RawHealthCheck;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`off`, or a mapping with `path`, `interval` and others")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawHealthCheck, E> {
        if text == "off" {
            return Ok(RawHealthCheck::Off);
        }
        Err(E::custom("expected `off` or a mapping"))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawHealthCheck, A::Error> {
        RawProbe::deserialize(MapAccessDeserializer::new(map)).map(RawHealthCheck::On)
    }
}
