//! `meridian geo`: what the edge knows of an address.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use meridian_geo::{Country, Group, Location, Locator, Source, attribution};
use meridian_policies::State;
use serde_json::{Value, json};

use super::{Answer, output};
use crate::edge::Clock;
use crate::reload;
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  meridian geo lookup 91.64.0.1
  meridian geo lookup 2a00:1450:4001::1 --config conf/meridian.yaml --json

Without --config only the data inside the binary is asked.";

#[derive(Debug, Subcommand)]
pub(super) enum GeoVerb {
    /// Say where an address is, and who says so
    #[command(after_help = EXAMPLES)]
    Lookup(LookupArgs),
}

#[derive(Args, Debug)]
pub(super) struct LookupArgs {
    /// IPv4 or IPv6 address
    address: IpAddr,
    /// Ask this edge's overrides and databases
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn geo(verb: &GeoVerb) -> anyhow::Result<Answer> {
    match verb {
        GeoVerb::Lookup(args) => lookup(args),
    }
}

fn lookup(args: &LookupArgs) -> anyhow::Result<Answer> {
    let locator = match &args.config {
        None => Locator::builder().build()?,
        Some(path) => {
            let loaded = Settings::load(path)
                .and_then(|settings| reload::load(&settings, 1, &State::new(), &Clock::start()));
            match loaded {
                Ok(generation) => generation.locator,
                Err(faults) => {
                    output::diagnostics(&faults);
                    return Ok(Answer::No);
                }
            }
        }
    };
    let place = locator.locate(args.address);
    let survey = locator.survey(args.address);
    if args.json {
        output::json(&as_json(args.address, &locator, (&place, &survey)))?;
    } else {
        print(args.address, &locator, (&place, &survey));
    }
    Ok(Answer::Yes)
}

type Found<'a> = (&'a Location, &'a [(Source, Location)]);

fn as_json(address: IpAddr, locator: &Locator, (place, survey): Found<'_>) -> Value {
    let sources: Vec<Value> = survey
        .iter()
        .map(|(source, place)| one(locator, *source, place))
        .collect();
    let mut answer = one(locator, place.source, place);
    if let Value::Object(fields) = &mut answer {
        fields.insert("address".to_owned(), json!(address.to_canonical()));
        fields.insert("sources".to_owned(), json!(sources));
        fields.insert("attribution".to_owned(), json!(attribution()));
    }
    answer
}

fn one(locator: &Locator, source: Source, place: &Location) -> Value {
    let country = place.country;
    json!({
        "source": locator.source_name(source),
        "certainty": place.certainty.as_str(),
        "country": country.as_ref().map(Country::as_str),
        "name": country.map(Country::name),
        "continent": country.map(|country| country.continent().as_str()),
        "groups": country.map(groups).unwrap_or_default(),
        "city": place.city.as_ref().map(|city| city.as_str().to_owned()),
    })
}

fn groups(country: Country) -> Vec<&'static str> {
    let groups = [Group::Eu, Group::Eea].into_iter();
    groups
        .filter(|group| country.in_group(*group))
        .map(Group::as_str)
        .collect()
}

fn print(address: IpAddr, locator: &Locator, (place, survey): Found<'_>) {
    output::line(format_args!("address    {}", address.to_canonical()));
    output::line(format_args!("country    {}", country(place)));
    if let Some(known) = place.country {
        let groups = groups(known).join(", ");
        output::line(format_args!("continent  {}", known.continent().as_str()));
        output::line(format_args!(
            "groups     {}",
            if groups.is_empty() { "-" } else { &groups }
        ));
    }
    if let Some(city) = &place.city {
        output::line(format_args!("city       {}", city.as_str()));
    }
    output::line(format_args!("certainty  {}", place.certainty.as_str()));
    output::line(format_args!(
        "source     {}",
        locator.source_name(place.source)
    ));
    for (source, place) in survey {
        output::line(format_args!(
            "  {:<8} {}",
            locator.source_name(*source),
            country(place)
        ));
    }
    if let Some(attribution) = attribution() {
        output::line(attribution);
    }
}

fn country(place: &Location) -> String {
    match &place.country {
        Some(country) => format!("{} {}", country.as_str(), country.name()),
        None => "unknown".to_owned(),
    }
}
