//! From settings to an edge that is ready to serve: shared by `run` and `demo`.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use meridian_policies::limits::LimitState;
use meridian_policies::retry::Budget;
use meridian_policies::{Diagnostic, State};

use super::output::{self, Severity};
use crate::edge::{Clock, Edge, Generation, Lifecycle};
use crate::overrides;
use crate::reload::{self, GeoAge, News, Outcome, Pace, Report, Watcher};
use crate::server::tls::{Change, KeyLogFile};
use crate::server::{Connections, Tls};
use crate::settings::{Settings, raise_descriptor_limit, unreadable};
use crate::telemetry::Telemetry;

/// Client addresses whose buckets are kept apart; see [`LimitState::new`].
const LIMITED_ADDRESSES: usize = 262_144;

/// An edge with its files watched until `watcher` is dropped.
pub(super) struct Started {
    pub(super) edge: Arc<Edge>,
    pub(super) watcher: Watcher,
}

/// Why there is no edge.
pub(super) enum StartError {
    /// The files are at fault.
    Files(Vec<Diagnostic>),
    /// The machine is.
    System(anyhow::Error),
}

impl StartError {
    /// For another process's log.
    pub(super) fn in_one_line(&self) -> String {
        match self {
            Self::Files(faults) => Diagnostic::in_one_line(faults),
            Self::System(fault) => format!("{fault:#}"),
        }
    }
}

/// Compiles the files and begins to watch them. The connection cap is kept
/// below the descriptor limit, which is raised as far as it goes.
pub(super) fn edge(
    mut settings: Settings,
    key_log: Option<Arc<KeyLogFile>>,
) -> Result<Started, StartError> {
    let lowered = settings.fit_descriptors(raise_descriptor_limit());
    let logged = key_log.as_deref().map(logged);
    let tls = Tls::load_with(&settings, key_log).map_err(StartError::Files)?;
    let delay = settings.timeouts.drain_delay;
    let clock = Clock::start();
    let state = State::new();
    let (generation, reloads) =
        reload::first(&settings, &state, &clock).map_err(StartError::Files)?;
    restore(&settings, &generation, &clock)?;
    let warned = generation.snapshot.warnings().iter();
    let mut notices: Vec<String> = warned
        .map(|warning| Diagnostic::in_one_line(std::slice::from_ref(warning)))
        .collect();
    notices.extend(lowered);
    notices.extend(logged);
    notices.extend(reloads.databases().iter().filter(|d| d.stale).map(stale));
    let telemetry = Telemetry::new(&settings.telemetry, &settings.edge_region)
        .map_err(|error| StartError::System(error.into()))?;
    let connections = Connections::new(&settings.limits);
    let edge = Arc::new(Edge {
        tls,
        settings,
        live: ArcSwap::from_pointee(generation),
        state,
        limits: LimitState::new(LIMITED_ADDRESSES),
        budget: Budget::new(),
        connections,
        telemetry,
        clock,
        lifecycle: Lifecycle::new().leaving_for(delay),
        reloads,
    });
    let watcher = Watcher::start(edge.clone(), Pace::default(), report())
        .context("cannot watch the policy files")
        .map_err(StartError::System)?;
    for notice in notices {
        output::notice(Severity::Warning, &notice);
    }
    Ok(Started { edge, watcher })
}

/// An edge that forgot an order would send requests where none may go.
fn restore(settings: &Settings, generation: &Generation, clock: &Clock) -> Result<(), StartError> {
    let path = settings.state_file.as_deref();
    match overrides::restore(path, generation, clock) {
        Ok(0) => Ok(()),
        Ok(restored) => {
            let orders = output::count(restored, "order");
            let text = format!("{orders} for regions still hold: see /overrides");
            output::notice(Severity::Warning, &text);
            Ok(())
        }
        Err(fault) => {
            let path = path.unwrap_or(Path::new(""));
            Err(StartError::Files(vec![unreadable(path, &fault)]))
        }
    }
}

fn logged(key_log: &KeyLogFile) -> String {
    format!(
        "TLS KEY LOG: the secrets of every client's session are written to {}; whoever reads that \
         file reads the traffic. Delete it when done, and start without --tls-key-log",
        key_log.path().display()
    )
}

fn stale(database: &GeoAge) -> String {
    format!(
        "the geo database {} is older than geo.max_age: replace the file, or raise the age",
        database.name
    )
}

/// Says what became of a reload.
fn report() -> Report {
    Box::new(|news| match news {
        News::Policies(outcome) => policies(outcome),
        News::Tls(change) => {
            let path = change.path.display();
            match &change.change {
                Change::Taken => output::notice(Severity::Info, &format!("tls: {path} is live")),
                Change::Kept(fault) => output::notice(
                    Severity::Error,
                    &format!("tls: {path} can't be used, the last good one stays: {fault}"),
                ),
                Change::Stands(standing) => {
                    output::notice(Severity::Warning, &format!("tls: {path} is {standing}"));
                }
            }
        }
    })
}

fn policies(outcome: &Outcome) {
    match outcome {
        Outcome::Unchanged => {}
        Outcome::Mended => {
            output::notice(
                Severity::Info,
                "the policy files are again those that are live",
            );
        }
        Outcome::Live { generation, kept } => {
            output::notice(
                Severity::Info,
                &format!("policies: generation {generation} is live"),
            );
            if !kept.is_empty() {
                output::notice(Severity::Error, &Diagnostic::in_one_line(kept));
            }
        }
        Outcome::Rejected(faults) => {
            let text = format!(
                "rejected, nothing changed: {}",
                Diagnostic::in_one_line(faults)
            );
            output::notice(Severity::Error, &text);
        }
    }
}
