//! `meridian check`: would it start, and with what?

use std::path::Path;

use clap::Args;
use meridian_policies::{Diagnostic, State};
use serde_json::json;

use super::{Answer, ConfigArg, output};
use crate::edge::{Clock, Generation};
use crate::reload;
use crate::server::Tls;
use crate::settings::Settings;

pub(super) const EXAMPLES: &str = "\
Examples:
  meridian check
  meridian check --config /etc/meridian/meridian.yaml --json

Reads the static file, its policies, certificates and geo databases; binds
nothing. Exit code 1 when the edge would not start with them.";

#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Print `{valid, diagnostics, warnings, ...}`
    #[arg(long)]
    json: bool,
}

/// What a good set of files comes to.
struct Good {
    settings: Settings,
    generation: Generation,
}

pub(super) fn check(args: &CheckArgs) -> anyhow::Result<Answer> {
    let found = examine(&args.config.config);
    if args.json {
        output::json(&as_json(&found))?;
    } else {
        print(&found);
    }
    Ok(if found.is_ok() {
        Answer::Yes
    } else {
        Answer::No
    })
}

fn examine(path: &Path) -> Result<Good, Vec<Diagnostic>> {
    let settings = Settings::load(path)?;
    let mut faults = Tls::load(&settings).err().unwrap_or_default();
    match reload::load(&settings, 1, &State::new(), &Clock::start()) {
        Ok(generation) if faults.is_empty() => Ok(Good {
            settings,
            generation,
        }),
        Ok(_) => Err(faults),
        Err(more) => {
            faults.extend(more);
            Err(faults)
        }
    }
}

fn as_json(found: &Result<Good, Vec<Diagnostic>>) -> serde_json::Value {
    match found {
        Ok(good) => json!({
            "valid": true,
            "diagnostics": [],
            "warnings": good.generation.snapshot.warnings(),
            "digest": good.generation.snapshot.digest(),
            "regions": good.generation.snapshot.regions().len(),
            "endpoints": good.generation.snapshot.endpoints().len(),
            "listeners": good.settings.listeners.len(),
        }),
        Err(faults) => json!({ "valid": false, "diagnostics": faults, "warnings": [] }),
    }
}

fn print(found: &Result<Good, Vec<Diagnostic>>) {
    match found {
        Ok(good) => {
            let snapshot = &good.generation.snapshot;
            output::diagnostics(snapshot.warnings());
            let counted = [
                output::count(good.settings.listeners.len(), "listener"),
                output::count(snapshot.regions().len(), "region"),
                output::count(snapshot.endpoints().len(), "endpoint"),
                output::count(snapshot.warnings().len(), "warning"),
            ];
            let path = good.settings.path.display();
            output::line(format_args!("{path}: good: {}", counted.join(", ")));
        }
        Err(faults) => {
            output::diagnostics(faults);
            output::fault(&format!(
                "not good: {}",
                output::count(faults.len(), "fault")
            ));
        }
    }
}
