//! `meridian check`: would it start, and with what?

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use meridian_policies::{Diagnostic, State};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use super::{Answer, ConfigArg, output};
use crate::edge::{Clock, Generation};
use crate::reload;
use crate::settings::{Settings, TlsFiles, unreadable};

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
    let mut faults = certificates(&settings);
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

/// One fault a listener whose certificate can't be used.
fn certificates(settings: &Settings) -> Vec<Diagnostic> {
    let files = settings
        .listeners
        .iter()
        .filter_map(|listener| listener.tls.as_ref());
    files
        .filter_map(|files| {
            let fault = certificate(files).err()?;
            Some(unreadable(&files.cert, &format!("{fault:#}")))
        })
        .collect()
}

fn certificate(files: &TlsFiles) -> anyhow::Result<()> {
    let chain = CertificateDer::pem_file_iter(&files.cert)?.collect::<Result<Vec<_>, _>>()?;
    anyhow::ensure!(!chain.is_empty(), "no certificate in it");
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("the key {} can't be used", files.key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| format!("it does not go with the key {}", files.key.display()))?;
    Ok(())
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
