//! One attempt at a generation: policies, databases, locator, rules, view.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use meridian_geo::{Embedded, Freshness, Locator};
use meridian_policies::identity::TokenCache;
use meridian_policies::{Diagnostic, EdgePlace, References, Snapshot, SourceFile, State};
use meridian_waf::Ruleset;

use super::databases::{InUse, open};
use super::gather::{Seen, fingerprint, fingerprint_all, fingerprint_of, policies, stamps};
use crate::edge::{Clock, Generation};
use crate::server::tls::Upstreams;
use crate::settings::{Settings, StaleGeo, Surroundings, Switch};

/// What a generation is compiled for.
pub(super) struct Frame<'a> {
    pub(super) settings: &'a Settings,
    pub(super) state: &'a State,
    pub(super) clock: &'a Clock,
    /// Databases in use, in the order of the settings; empty at the start.
    pub(super) before: &'a [InUse],
    /// What is live; nothing at the start.
    pub(super) live: Option<&'a Generation>,
}

/// A compiled generation and what it came from.
pub(super) struct Loaded {
    pub(super) generation: Generation,
    pub(super) seen: Seen,
    pub(super) databases: Vec<InUse>,
}

impl Loaded {
    /// Why newer databases were not taken.
    pub(super) fn complaints(&self) -> Vec<Diagnostic> {
        self.databases
            .iter()
            .filter_map(|database| database.complaint.clone())
            .collect()
    }
}

/// A set that is not taken.
pub(super) struct Failed {
    pub(super) seen: Seen,
    pub(super) faults: Vec<Diagnostic>,
}

/// Reads and compiles everything once.
pub(super) fn attempt(frame: &Frame<'_>, number: u64) -> Result<Loaded, Failed> {
    let mut seen = Seen::default();
    match compile(frame, number, &mut seen) {
        Ok((generation, databases)) => Ok(Loaded {
            generation,
            seen,
            databases,
        }),
        Err(faults) => Err(Failed { seen, faults }),
    }
}

type Compiled = (Generation, Vec<InUse>);

fn compile(frame: &Frame<'_>, number: u64, seen: &mut Seen) -> Result<Compiled, Vec<Diagnostic>> {
    // Before reading: a file that changes meanwhile is tried again.
    seen.databases = stamps(frame.settings);
    let sources = policies(&frame.settings.policies)?;
    seen.policies = fingerprint_all(&sources);
    let snapshot = snapshot(frame.settings, &sources, seen);
    let databases = open(&frame.settings.geo, frame.before, &seen.databases);
    let (snapshot, databases) = both(snapshot, databases)?;
    let locator = locator(frame.settings, &snapshot, &databases).map_err(|fault| vec![fault])?;
    let waf = rules(frame, &snapshot).map_err(|fault| vec![fault])?;
    let upstreams = upstreams(frame, &snapshot, seen)?;
    let view = frame.state.reconcile(&snapshot, frame.clock.tick());
    let loaded_unix_ms = Clock::unix_ms();
    Ok((
        Generation {
            number,
            snapshot,
            view,
            locator,
            tokens: TokenCache::new(),
            waf,
            upstreams,
            loaded_unix_ms,
        },
        databases,
    ))
}

/// The faults of both, if either has any.
fn both<A, B>(
    first: Result<A, Vec<Diagnostic>>,
    second: Result<B, Vec<Diagnostic>>,
) -> Result<(A, B), Vec<Diagnostic>> {
    match (first, second) {
        (Ok(first), Ok(second)) => Ok((first, second)),
        (Err(mut faults), Err(more)) => {
            faults.extend(more);
            Err(faults)
        }
        (Err(faults), Ok(_)) | (Ok(_), Err(faults)) => Err(faults),
    }
}

/// Compiles the policies and notes which files their values refer to.
fn snapshot(
    settings: &Settings,
    sources: &[SourceFile],
    seen: &mut Seen,
) -> Result<Snapshot, Vec<Diagnostic>> {
    // References are relative to the policy folder: its files are one set.
    let around = Surroundings::of(&settings.policies.join("policies"));
    let outside = around.references();
    let read: RefCell<Vec<(PathBuf, u64)>> = RefCell::default();
    let file = |name: &str| {
        let text = (outside.file)(name);
        let print = fingerprint(text.as_ref().unwrap_or_else(|fault| fault));
        read.borrow_mut()
            .push((settings.policies.join(name), print));
        text
    };
    let refs = References {
        env: outside.env,
        file: &file,
    };
    let place = EdgePlace {
        region: &settings.edge_region,
    };
    let compiled = Snapshot::compile(sources, &refs, &place);
    seen.references = read.into_inner();
    compiled
}

pub(super) fn locator(
    settings: &Settings,
    snapshot: &Snapshot,
    databases: &[InUse],
) -> Result<Locator, Diagnostic> {
    let embedded = match settings.geo.embedded {
        Switch::On => Embedded::default(),
        Switch::Off => Embedded::Off,
    };
    let overrides = snapshot.locator_overrides().iter().copied();
    let builder = Locator::builder().overrides(overrides).embedded(embedded);
    let asked = |database: &&InUse| match settings.geo.stale {
        StaleGeo::Warn => true,
        StaleGeo::Unknown => database.freshness == Freshness::Fresh,
    };
    databases
        .iter()
        .filter(asked)
        .fold(builder, |builder, database| {
            builder.shared_database(database.database.clone())
        })
        .require_agreement(snapshot.geo_agreement())
        .build()
        .map_err(|fault| misfit(settings, format!("geo: {fault}")))
}

/// The rules that are live, if they come from the same text: compiling takes
/// longer than all the rest.
pub(super) fn rules(frame: &Frame<'_>, snapshot: &Snapshot) -> Result<Arc<Ruleset>, Diagnostic> {
    let disabled = &snapshot.waf().disabled_rules;
    if let Some(live) = frame.live
        && live.snapshot.waf().disabled_rules == *disabled
    {
        return Ok(Arc::clone(&live.waf));
    }
    let disabled: Vec<&str> = disabled.iter().map(String::as_str).collect();
    Ruleset::new(&disabled)
        .map(Arc::new)
        .map_err(|fault| misfit(frame.settings, format!("waf: {fault}")))
}

/// Reads certificates and authorities for endpoints. While one can't be used,
/// they are looked at like the policies themselves.
fn upstreams(
    frame: &Frame<'_>,
    snapshot: &Snapshot,
    seen: &mut Seen,
) -> Result<Upstreams, Vec<Diagnostic>> {
    let folder = &frame.settings.policies;
    let named = Upstreams::named(snapshot, folder);
    let prints = named.into_iter().map(|path| {
        let print = fingerprint_of(&path);
        (path, print)
    });
    let prints: Vec<_> = prints.collect();
    let before = frame.live.map(|live| &live.upstreams);
    let loaded = Upstreams::load(snapshot, folder, before);
    if loaded.is_err() {
        seen.references.extend(prints);
    }
    loaded
}

/// A fault that shows only when the parts are put together.
fn misfit(settings: &Settings, message: String) -> Diagnostic {
    Diagnostic {
        path: settings.policies.display().to_string(),
        line: 0,
        column: 0,
        message,
        help: None,
        frame: String::new(),
    }
}

/// What comes of a folder of policies that is not meant to be live.
pub enum Candidate {
    /// It is the set that was known.
    Same,
    /// It compiles; its fingerprint.
    Good(u64, Box<Snapshot>),
    /// It does not.
    Faulty(u64, Vec<Diagnostic>),
}

/// Reads and compiles a folder of policies for an edge in `region`, unless it
/// still is the set of the fingerprint `known`.
pub fn candidate(folder: &Path, region: &str, known: Option<u64>) -> Candidate {
    let read = policies(folder);
    let print = read.as_deref().map_or(0, fingerprint_all);
    if known == Some(print) {
        return Candidate::Same;
    }
    let around = Surroundings::of(&folder.join("policies"));
    let place = EdgePlace { region };
    match read.and_then(|sources| Snapshot::compile(&sources, &around.references(), &place)) {
        Ok(snapshot) => Candidate::Good(print, Box::new(snapshot)),
        Err(faults) => Candidate::Faulty(print, faults),
    }
}
