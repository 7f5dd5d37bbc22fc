//! What the operator says about places: overrides, and how far sources must
//! agree.

use meridian_geo::{Agreement, CityName, Country, IpNet, Override, Point};
use serde::Deserialize;

use crate::compile::CompileContext;
use crate::nets::RawNet;
use crate::yaml::{Mark, Spanned};

/// Most overrides.
const OVERRIDES_MAX: usize = 65_536;

/// Key `geo`: what the locator is built with, beside its databases.
#[derive(Clone, Debug, Default)]
pub struct GeoPolicy {
    /// Networks the operator places; the longest prefix wins.
    pub overrides: Vec<(IpNet, Override)>,
    /// Whether two sources must name the same country to be believed.
    pub agreement: Agreement,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawGeo {
    #[serde(default)]
    overrides: Vec<Spanned<RawOverride>>,
    require_agreement: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOverride {
    cidr: RawNet,
    country: Option<Spanned<String>>,
    city: Option<Spanned<String>>,
    lat: Option<Spanned<f32>>,
    lon: Option<Spanned<f32>>,
}

pub(crate) fn compile(raw: Option<Spanned<RawGeo>>, ctx: &mut CompileContext<'_>) -> GeoPolicy {
    let Some(raw) = raw else {
        return GeoPolicy::default();
    };
    if let Some(over) = raw.overrides.get(OVERRIDES_MAX) {
        ctx.error(over.at, format!("over {OVERRIDES_MAX} overrides"));
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut overrides = Vec::new();
    for entry in raw.overrides.iter().take(OVERRIDES_MAX) {
        let Some(net) = entry.cidr.read(ctx) else {
            continue;
        };
        if !seen.insert(net) {
            ctx.error(
                entry.cidr.0.at,
                format!("the network `{net}` is placed twice"),
            );
        }
        overrides.push((net, place(entry, ctx)));
    }
    let agreement = match raw.require_agreement {
        Some(true) => Agreement::Required,
        Some(false) | None => Agreement::FirstAnswer,
    };
    GeoPolicy {
        overrides,
        agreement,
    }
}

/// An entry with a network only means: unknown, whatever the databases say.
fn place(raw: &Spanned<RawOverride>, ctx: &mut CompileContext<'_>) -> Override {
    let country = raw
        .country
        .as_ref()
        .and_then(|code| read_country(code, ctx));
    let city = raw.city.as_ref().and_then(|city| {
        let name = CityName::new(&city.value);
        if name.is_none() {
            ctx.error(
                city.at,
                format!("`{}` is not a city's name, or too long", city.value),
            );
        }
        name
    });
    let point = match (&raw.lat, &raw.lon) {
        (Some(lat), Some(lon)) => {
            let point = Point::new(lat.value, lon.value);
            if point.is_none() {
                ctx.error_help(
                    lat.at,
                    format!("{}, {} is not a point on Earth", lat.value, lon.value),
                    "degrees: `lat` from -90 to 90, `lon` from -180 to 180",
                );
            }
            point
        }
        (Some(one), None) | (None, Some(one)) => {
            ctx.error(one.at, "`lat` and `lon` come together");
            None
        }
        (None, None) => None,
    };
    Override {
        country,
        point,
        city,
    }
}

/// Reads an ISO 3166 code.
pub(crate) fn read_country(raw: &Spanned<String>, ctx: &mut CompileContext<'_>) -> Option<Country> {
    let country = Country::parse(&raw.value);
    if country.is_none() {
        not_a_country(&raw.value, raw.at, ctx);
    }
    country
}

pub(crate) fn not_a_country(text: &str, at: Mark, ctx: &mut CompileContext<'_>) {
    let help = match text.to_ascii_uppercase().as_str() {
        "UK" => "did you mean `GB`?",
        "EL" => "did you mean `GR`?",
        _ => "two letters of ISO 3166-1, as in `DE`",
    };
    ctx.error_help(at, format!("`{text}` is not a country"), help);
}
