//! `meridian explain`: the decision for a request that nobody sent.

use std::net::IpAddr;

use clap::Args;
use meridian_policies::{DataClass, State};
use serde_json::Value;

use super::ask::AdminArgs;
use super::{Answer, output};
use crate::admin::explain::{Question, ask};
use crate::edge::Clock;
use crate::reload;
use crate::settings::Settings;

pub(super) const EXAMPLES: &str = "\
Examples:
  meridian explain --ip 91.64.0.1 --path /mcp --class tier_1_pii
  meridian explain --ip 49.36.0.1 --path /v3/echo --class tier_2_personal --safeguards --json
  meridian explain --ip 91.64.0.1 --path /mcp --method POST --tool records_get
  meridian explain --ip 8.8.8.8 --path '/v3/echo?q=1' --method POST --header 'Origin: https://example.com'
  meridian explain --ip 91.64.0.1 --path /mcp --session 1.8f3a0c5d2b7e4a61.6921f0c0.3d1f...
  meridian explain --live --ip 91.64.0.1 --path /mcp --class tier_1_pii

The answer of an idle, healthy process, or with --live that of the running one. Exit code 1 when the request is refused.";

#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    edge: AdminArgs,
    /// Ask the running edge: what it would answer now
    #[arg(long)]
    live: bool,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    ip: IpAddr,
    /// Path, with its query if there is one
    #[arg(long, value_name = "PATH")]
    path: String,
    /// Method
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,
    /// Host, with its port if there is one
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    host: String,
    /// What the client says in x-data-class: `tier_1_pii` to `tier_4_public`
    #[arg(long, value_name = "CLASS", value_parser = class)]
    class: Option<DataClass>,
    /// One more field, repeatable
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// MCP tool that is called, on an MCP route
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// Session it belongs to: the value of the cookie or field that `session_affinity` names
    #[arg(long, value_name = "VALUE")]
    session: Option<String>,
    /// A verified token says that the person consented
    #[arg(long)]
    consent: bool,
    /// A verified token says that safeguards are in place
    #[arg(long)]
    safeguards: bool,
    /// As if a verified token of this provider came with it
    #[arg(long, value_name = "PROVIDER")]
    token_of: Option<String>,
    /// Whom that token speaks of
    #[arg(long, value_name = "TEXT", requires = "token_of")]
    subject: Option<String>,
    /// A group of that token, repeatable
    #[arg(long = "group", value_name = "NAME", requires = "token_of")]
    groups: Vec<String>,
    /// Draw for everything that is left to chance; a session has its own
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    draw: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn class(text: &str) -> Result<DataClass, String> {
    DataClass::parse(text).ok_or_else(|| {
        "expected tier_1_pii, tier_2_personal, tier_3_operational or tier_4_public".to_owned()
    })
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

pub(super) fn explain(args: &ExplainArgs) -> anyhow::Result<Answer> {
    if args.live {
        return live(args);
    }
    let state = State::new();
    let clock = Clock::start();
    let loaded = Settings::load(&args.edge.config.config)
        .and_then(|settings| reload::load(&settings, 1, &state, &clock));
    let generation = match loaded {
        Ok(generation) => generation,
        Err(faults) => {
            output::diagnostics(&faults);
            return Ok(Answer::No);
        }
    };
    let explanation =
        ask(&question(args), &generation, clock.tick()).map_err(anyhow::Error::msg)?;
    if args.json {
        output::json(&explanation)?;
    } else {
        output::line(explanation.to_table().trim_end());
    }
    Ok(answer(explanation.region.is_some()))
}

/// The same of a running edge, with its health, load and orders.
fn live(args: &ExplainArgs) -> anyhow::Result<Answer> {
    let Some(side) = args.edge.side()? else {
        return Ok(Answer::No);
    };
    let told = side.post("/explain", &serde_json::to_value(question(args))?)?;
    if let Some(refusal) = told.refusal() {
        anyhow::bail!(refusal);
    }
    match told.body.get("table").and_then(Value::as_str) {
        Some(table) if !args.json => output::line(table.trim_end()),
        Some(_) | None => output::json(&told.body)?,
    }
    Ok(answer(
        told.body.get("region").is_some_and(Value::is_string),
    ))
}

fn answer(forwards: bool) -> Answer {
    if forwards { Answer::Yes } else { Answer::No }
}

fn question(args: &ExplainArgs) -> Question {
    Question {
        ip: args.ip,
        path: args.path.clone(),
        method: args.method.clone(),
        host: args.host.clone(),
        class: args.class.map(|class| class.as_str().to_owned()),
        headers: args.headers.iter().cloned().collect(),
        tool: args.tool.clone(),
        session: args.session.clone(),
        consent: args.consent,
        safeguards: args.safeguards,
        token_of: args.token_of.clone(),
        subject: args.subject.clone(),
        groups: args.groups.clone(),
        draw: args.draw,
        table: args.live && !args.json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_a_colon_and_a_value() {
        assert_eq!(
            header("X-A: b: c"),
            Ok(("x-a".to_owned(), "b: c".to_owned()))
        );
        assert!(header("nothing").is_err());
    }

    #[test]
    fn classes_are_spelled_as_in_the_policies() {
        assert_eq!(class("tier_1_pii"), Ok(DataClass::Tier1Pii));
        assert!(class("pii").is_err());
    }
}
