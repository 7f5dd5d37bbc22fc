//! `meridian explain`: the decision for a request that nobody sent.

use std::net::IpAddr;

use clap::Args;
use meridian_policies::{
    Claims, ClientSource, DataClass, Facts, McpFacts, McpRoute, Snapshot, State, Trust, Vouched,
    explain as reasons,
};
use meridian_wire::{EndStream, HeadLimits, Malformed, RequestBuilder, RequestHead, Version};
use serde_json::json;

use super::{Answer, ConfigArg, output};
use crate::edge::{Clock, Generation};
use crate::pipeline::mcp;
use crate::reload;
use crate::settings::Settings;

pub(super) const EXAMPLES: &str = "\
Examples:
  meridian explain --ip 91.64.0.1 --path /mcp --class tier_1_pii
  meridian explain --ip 49.36.0.1 --path /v3/echo --class tier_2_personal --safeguards --json
  meridian explain --ip 91.64.0.1 --path /mcp --method POST --tool records_get
  meridian explain --ip 8.8.8.8 --path '/v3/echo?q=1' --method POST --header 'Origin: https://example.com'

The answer of an idle, healthy process. Exit code 1 when the request is refused.";

#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArg,
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
    /// A verified token says that the person consented
    #[arg(long)]
    consent: bool,
    /// A verified token says that safeguards are in place
    #[arg(long)]
    safeguards: bool,
    /// Draw for everything that is left to chance
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
    let state = State::new();
    let clock = Clock::start();
    let loaded = Settings::load(&args.config.config)
        .and_then(|settings| reload::load(&settings, 1, &state, &clock));
    let generation = match loaded {
        Ok(generation) => generation,
        Err(faults) => {
            output::diagnostics(&faults);
            return Ok(Answer::No);
        }
    };
    let mut head = RequestHead::new();
    build(args, &mut head)
        .map_err(|fault| anyhow::anyhow!("no edge would read this request: {}", fault.text()))?;
    let body = args.tool.as_deref().map(call);
    let message = mcp::read(body.as_deref());
    let mcp = mcp_facts(&generation.snapshot, &head, &message)?;
    let facts = Facts {
        mcp,
        ..facts(args, &head, &generation)
    };
    let (snapshot, view) = (&generation.snapshot, &generation.view);
    let explanation = reasons::explain(snapshot, view, &facts, clock.tick(), args.draw);
    if args.json {
        output::json(&explanation)?;
    } else {
        output::line(explanation.to_table().trim_end());
    }
    Ok(if explanation.region.is_some() {
        Answer::Yes
    } else {
        Answer::No
    })
}

/// The head that the engine would have read.
fn build(args: &ExplainArgs, head: &mut RequestHead) -> Result<(), Malformed> {
    let mut builder = RequestBuilder::new(head, Version::Http2, HeadLimits::default());
    builder.method(&args.method)?;
    builder.scheme("https")?;
    builder.authority(&args.host)?;
    builder.path(&args.path)?;
    for (name, value) in &args.headers {
        builder.field(name.as_bytes(), value.as_bytes())?;
    }
    if let Some(class) = args.class {
        builder.field(b"x-data-class", class.as_str().as_bytes())?;
    }
    builder.finish(EndStream::Yes)
}

/// The message of a tool call, as far as the edge reads it.
fn call(tool: &str) -> Vec<u8> {
    let params = json!({ "name": tool });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
        .to_string()
        .into_bytes()
}

/// What an MCP route makes of head and message; nothing elsewhere.
fn mcp_facts<'a>(
    snapshot: &Snapshot,
    head: &'a RequestHead,
    message: &'a mcp::Read<'a>,
) -> anyhow::Result<Option<McpFacts<'a>>> {
    match snapshot.route(head).map(|(_, route)| route.mcp) {
        Some(McpRoute::On) => mcp::facts(head, message).map(Some).map_err(|mismatch| {
            anyhow::anyhow!("400: {} says something else than --tool", mismatch.header)
        }),
        Some(McpRoute::Off) | None => Ok(None),
    }
}

fn facts<'a>(args: &ExplainArgs, head: &'a RequestHead, generation: &Generation) -> Facts<'a> {
    let client = args.ip.to_canonical();
    Facts {
        head,
        client,
        client_source: ClientSource::Peer,
        peer_trust: Trust::Untrusted,
        location: generation.locator.locate(client),
        mcp: None,
        claims: Claims {
            consent: args.consent.then_some(Vouched::Token),
            safeguards: args.safeguards.then_some(Vouched::Token),
            ..Claims::default()
        },
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
