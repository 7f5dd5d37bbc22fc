//! Raw files to a [`Snapshot`]: merge, build each family, collect every fault.

mod merge;

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::snapshot::Snapshot;
use crate::stamp::Stamp;
use crate::yaml::{Diagnostic, Fault, Mark, References, SourceFile, nearest, render};
use crate::{
    access, affinity, geo, identity, limits, mcp, outliers, regions, residency, retry, routes, waf,
};

use self::merge::RawSet;

/// Where this edge stands.
#[derive(Copy, Clone, Debug)]
pub struct EdgePlace<'a> {
    /// Id of the region this edge stands in. A region that the policy set does
    /// not list is a warning: distances then start from nowhere.
    pub region: &'a str,
}

/// What the families share while they compile.
pub(crate) struct CompileContext<'a> {
    pub(crate) place: EdgePlace<'a>,
    /// Ids of `authentication.providers`, by index.
    pub(crate) providers: Vec<String>,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
}

impl<'a> CompileContext<'a> {
    pub(crate) fn new(place: EdgePlace<'a>) -> Self {
        Self {
            place,
            providers: Vec::new(),
            faults: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Adds a fault: the set will be refused.
    pub(crate) fn error(&mut self, at: Mark, message: impl Into<String>) {
        self.faults.push(Fault::new(at, message));
    }

    /// Adds a fault with what to do about it.
    pub(crate) fn error_help(
        &mut self,
        at: Mark,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.faults.push(Fault::new(at, message).help(help));
    }

    /// Adds a warning: the set is good, but probably not what was meant.
    pub(crate) fn warn(&mut self, at: Mark, message: impl Into<String>) {
        self.warnings.push(Fault::new(at, message));
    }

    /// "unknown `what` `name`", with the nearest known one.
    pub(crate) fn unknown<'b>(
        &mut self,
        at: Mark,
        (what, name): (&str, &str),
        known: impl IntoIterator<Item = &'b str>,
    ) {
        let help = nearest(name, known).map(|meant| format!("did you mean `{meant}`?"));
        let message = format!("unknown {what} `{name}`");
        self.faults.push(Fault { at, message, help });
    }
}

impl Snapshot {
    /// Compiles a policy set: all files of the folder, merged by top-level
    /// key.
    ///
    /// # Errors
    /// Every fault that could be found, in the order of files and lines. A set
    /// with one fault is refused as a whole.
    pub fn compile(
        sources: &[SourceFile],
        refs: &References<'_>,
        place: &EdgePlace<'_>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let (raw, mut faults) = merge::merge(sources, refs);
        let mut ctx = CompileContext::new(*place);
        let snapshot = raw.map(|raw| families(raw, &mut ctx));
        faults.append(&mut ctx.faults);
        match snapshot {
            Some(snapshot) if faults.is_empty() => Ok(Self {
                digest: digest(sources),
                warnings: render(sources, ctx.warnings),
                edge_region: place.region.to_owned(),
                ..snapshot
            }),
            Some(_) | None => Err(render(sources, faults)),
        }
    }
}

fn families(raw: RawSet, ctx: &mut CompileContext<'_>) -> Snapshot {
    ctx.providers = identity::ids(raw.authentication.as_ref());
    let regions = regions::compile(
        regions::RawRegions {
            regions: raw.regions,
            upstream_tls: raw.upstream_tls,
            plaintext_upstreams: raw.plaintext_upstreams,
            latency_matrix: raw.latency_matrix,
            scoring: raw.scoring,
            traffic_policy: raw.traffic_policy,
            egress_prices: raw.egress_prices,
        },
        ctx,
    );
    let residency = residency::compile(
        residency::RawResidencySet {
            jurisdictions: raw.jurisdictions,
            data_classification: raw.data_classification,
            unknown_location: raw.unknown_location,
            known_regions: raw.known_regions,
            residency: raw.residency,
        },
        &regions,
        ctx,
    );
    Snapshot {
        digest: String::new(),
        stamp: Stamp::fresh(),
        warnings: Vec::new(),
        edge_region: String::new(),
        classify: residency::compile_classify(raw.classify, ctx),
        routes: routes::compile(raw.routes, &regions, ctx),
        access: access::compile(raw.access, ctx),
        authentication: identity::compile(raw.authentication, ctx),
        affinity: affinity::compile(raw.session_affinity, ctx),
        limits: limits::compile(raw.rate_limiting, ctx),
        outliers: outliers::compile(raw.health_check, raw.outlier_detection, ctx),
        retry: retry::compile(raw.retry, ctx),
        waf: waf::compile(raw.waf, ctx),
        mcp: mcp::compile(raw.mcp, ctx),
        geo: geo::compile(raw.geo, ctx),
        residency,
        regions,
    }
}

/// SHA-256 over names and texts with their lengths, in hex: the same set in
/// the same files gives the same digest.
fn digest(sources: &[SourceFile]) -> String {
    let mut hash = Sha256::new();
    let mut sorted: Vec<&SourceFile> = sources.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    for source in sorted {
        for part in [file_name(&source.path), Cow::Borrowed(source.text.as_str())] {
            hash.update(part.len().to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    hash.finalize()
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// The last part of a path, so that moving the folder keeps the digest.
fn file_name(path: &str) -> Cow<'_, str> {
    Cow::Borrowed(path.rsplit(['/', '\\']).next().unwrap_or(path))
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
