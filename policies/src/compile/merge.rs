//! Files to one raw set: by top-level key, each key in one file only.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::yaml::{Fault, Key, Mark, Node, References, SourceFile, Spanned, Value};
use crate::yaml::{expand, from_node, nearest, read};
use crate::{
    access, affinity, geo, identity, limits, mcp, outliers, regions, residency, retry, routes, waf,
};

/// Most files of one set.
const FILES_MAX: usize = 1_024;

macro_rules! raw_set {
    ($($key:ident: $type:ty,)*) => {
        /// Every top-level key, as it was written.
        #[derive(Default)]
        pub(super) struct RawSet {
            $(pub(super) $key: Option<Spanned<$type>>,)*
        }

        impl RawSet {
            /// Keys that are there and were built.
            fn count(&self) -> usize {
                [$(self.$key.is_some(),)*].into_iter().filter(|built| *built).count()
            }
        }

        pub(super) const KEYS: &[&str] = &[$(stringify!($key),)*];

        fn take(tree: &BTreeMap<String, (Key, Node)>, faults: &mut Vec<Fault>) -> RawSet {
            RawSet { $($key: one(tree, stringify!($key), faults),)* }
        }
    };
}

raw_set! {
    regions: regions::RawRegionList,
    plaintext_upstreams: regions::RawPlaintext,
    upstream_tls: regions::RawUpstreamTls,
    latency_matrix: regions::RawLatencyMatrix,
    scoring: regions::RawScoring,
    traffic_policy: regions::RawTrafficPolicy,
    egress_prices: regions::RawEgressPrices,
    session_affinity: affinity::RawSessionAffinity,
    jurisdictions: residency::RawJurisdictions,
    data_classification: residency::RawClassification,
    unknown_location: residency::RawUnknownLocation,
    known_regions: residency::RawKnownRegions,
    residency: residency::RawSwitch,
    classify: residency::RawClassify,
    routes: routes::RawRoutes,
    access: access::RawAccess,
    authentication: identity::RawAuthentication,
    rate_limiting: limits::RawRateLimiting,
    health_check: outliers::RawHealthCheck,
    outlier_detection: outliers::RawOutlierDetection,
    retry: retry::RawRetry,
    waf: waf::RawWaf,
    mcp: mcp::RawMcp,
    geo: geo::RawGeo,
}

/// Keys of the vocabulary that nothing answers to yet. They are refused rather
/// than read and ignored.
pub(super) const NOT_YET: &[&str] = &["cache", "circuit_breaker", "compression", "rollout", "slo"];

/// Reads and merges all files. The set is `None` if part of it could not be
/// built: then nothing can be said of the whole that would not mislead.
pub(super) fn merge(sources: &[SourceFile], refs: &References<'_>) -> (Option<RawSet>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut whole = true;
    let mut tree: BTreeMap<String, (Key, Node)> = BTreeMap::new();
    if sources.len() > FILES_MAX {
        faults.push(Fault::new(
            nowhere(0),
            format!("over {FILES_MAX} policy files"),
        ));
    }
    for (file, source) in (0_u32..).zip(sources.iter().take(FILES_MAX)) {
        match read(source, file) {
            Ok(node) => adopt(node, sources, &mut tree, &mut faults),
            Err(fault) => {
                whole = false;
                faults.push(fault);
            }
        }
    }
    for (_, node) in tree.values_mut() {
        expand(node, refs, &mut faults);
    }
    let raw = take(&tree, &mut faults);
    let whole = whole && raw.count() == tree.len();
    (whole.then_some(raw), faults)
}

fn nowhere(file: u32) -> Mark {
    Mark {
        file,
        line: 0,
        column: 0,
        len: 0,
    }
}

fn adopt(
    node: Node,
    sources: &[SourceFile],
    tree: &mut BTreeMap<String, (Key, Node)>,
    faults: &mut Vec<Fault>,
) {
    let Value::Map(entries) = node.value else {
        faults.push(
            Fault::new(node.at, "a policy file is a mapping of keys")
                .help("begin with a key such as `regions:`"),
        );
        return;
    };
    for (key, value) in entries {
        if !KEYS.contains(&key.text.as_str()) {
            faults.push(unknown_key(&key));
        } else if let Some((first, _)) = tree.get(&key.text) {
            faults.push(in_two_places(&key, first, sources));
        } else {
            tree.insert(key.text.clone(), (key, value));
        }
    }
}

fn unknown_key(key: &Key) -> Fault {
    if NOT_YET.contains(&key.text.as_str()) {
        return Fault::new(
            key.at,
            format!("`{}` has no effect in this version", key.text),
        )
        .help("take it out: a key that is read and ignored would promise what nobody keeps");
    }
    let fault = Fault::new(key.at, format!("unknown key `{}`", key.text));
    match nearest(&key.text, KEYS.iter().copied()) {
        Some(meant) => fault.help(format!("did you mean `{meant}`?")),
        None => fault.help(format!("known here: `{}`", KEYS.join("`, `"))),
    }
}

fn in_two_places(key: &Key, first: &Key, sources: &[SourceFile]) -> Fault {
    let path = usize::try_from(first.at.file)
        .ok()
        .and_then(|i| sources.get(i))
        .map(|s| s.path.as_str());
    let path = path.unwrap_or_default();
    Fault::new(
        key.at,
        format!(
            "the key `{}` is already in {path}:{}:{}",
            key.text, first.at.line, first.at.column
        ),
    )
    .help("files merge by top-level key: keep each key in one file")
}

fn one<T: DeserializeOwned>(
    tree: &BTreeMap<String, (Key, Node)>,
    key: &str,
    faults: &mut Vec<Fault>,
) -> Option<Spanned<T>> {
    let (key, node) = tree.get(key)?;
    if matches!(node.value, Value::Null) {
        faults.push(
            Fault::new(key.at, format!("the key `{}` has no value", key.text))
                .help("give it one, or take the key out for its default"),
        );
        return None;
    }
    from_node(node, faults).map(|value| Spanned { value, at: key.at })
}
