//! What can be asked for.

use hyper::Method;

/// One answerable request, without its query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Route {
    Index,
    Live,
    Ready,
    Metrics,
    Regions,
    Overrides,
    /// What is ordered of a region, by its id.
    OverrideOf(String),
    /// To order something of a region, by its id.
    Override(String),
    Snapshot,
    Decisions,
    /// The request id, decoded.
    Decision(String),
    Explain,
    ResidencyCheck,
    Reload,
    Drain,
}

/// Whether a request changes what the edge does.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Effect {
    Reads,
    Changes,
}

/// Why there is no route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Missing {
    /// No such path.
    Path,
    /// The path takes another method.
    Method(&'static str),
}

/// Paths with their methods and what they do, for the index.
pub(super) const LISTED: [(&str, &str, &str); 14] = [
    ("GET", "/livez", "whether the process answers"),
    (
        "GET",
        "/readyz",
        "whether it takes requests; generation; the rejected reload, if one stands",
    ),
    ("GET", "/metrics", "OpenMetrics"),
    (
        "GET",
        "/regions",
        "health, load and state of every region and endpoint",
    ),
    (
        "GET",
        "/overrides",
        "what operators have ordered of regions",
    ),
    (
        "GET",
        "/regions/{id}/override",
        "what is ordered of one region",
    ),
    (
        "POST",
        "/regions/{id}/override",
        "order or clear; {action: drain|force|pin|clear, for, reason, route}",
    ),
    (
        "GET",
        "/snapshot",
        "the compiled policies, secrets redacted",
    ),
    (
        "GET",
        "/decisions",
        "latest decisions; ?limit= ?region= ?verdict=forward|answer|refuse",
    ),
    ("GET", "/decisions/{request-id}", "one decision"),
    (
        "POST",
        "/explain",
        "what this edge would decide now; {ip, path, method, host, class, headers}",
    ),
    (
        "POST",
        "/residency/check",
        "whether data may be moved; {source, destination, class, consent, request_id}",
    ),
    ("POST", "/reload", "read the policy files now"),
    (
        "POST",
        "/drain",
        "stop taking requests, finish what is open",
    ),
];

impl Route {
    /// What asking for it does.
    pub(super) fn effect(&self) -> Effect {
        match self {
            Self::Index
            | Self::Live
            | Self::Ready
            | Self::Metrics
            | Self::Regions
            | Self::Overrides
            | Self::OverrideOf(_)
            | Self::Snapshot
            | Self::Decisions
            | Self::Decision(_) => Effect::Reads,
            // Explaining changes nothing, but it comes as a POST: what guards
            // the others costs it nothing.
            Self::Explain
            | Self::ResidencyCheck
            | Self::Reload
            | Self::Drain
            | Self::Override(_) => Effect::Changes,
        }
    }
}

impl Route {
    /// The same path asked to change something, where it is both read and
    /// written.
    fn written(self) -> Self {
        if let Self::OverrideOf(region) = self {
            return Self::Override(region);
        }
        self
    }
}

/// The route of a request.
pub(super) fn find(method: &Method, path: &str) -> Result<Route, Missing> {
    let route = of_path(path).ok_or(Missing::Path)?;
    let route = if *method == Method::POST {
        route.written()
    } else {
        route
    };
    let (allowed, names) = match route.effect() {
        Effect::Reads => (
            *method == Method::GET || *method == Method::HEAD,
            "GET, HEAD",
        ),
        Effect::Changes => (*method == Method::POST, "POST"),
    };
    if allowed {
        Ok(route)
    } else {
        Err(Missing::Method(names))
    }
}

fn of_path(path: &str) -> Option<Route> {
    Some(match path {
        "/" => Route::Index,
        "/livez" => Route::Live,
        "/readyz" => Route::Ready,
        "/metrics" => Route::Metrics,
        "/regions" => Route::Regions,
        "/overrides" => Route::Overrides,
        "/snapshot" => Route::Snapshot,
        "/decisions" => Route::Decisions,
        "/explain" => Route::Explain,
        "/residency/check" => Route::ResidencyCheck,
        "/reload" => Route::Reload,
        "/drain" => Route::Drain,
        _ => {
            if let Some(rest) = path.strip_prefix("/regions/") {
                let region = super::query::decoded(rest.strip_suffix("/override")?)?;
                return (!region.is_empty()).then_some(Route::OverrideOf(region));
            }
            let id = path.strip_prefix("/decisions/")?;
            let id = super::query::decoded(id)?;
            return (!id.is_empty()).then_some(Route::Decision(id));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_path_is_found_with_its_method() {
        for (method, path, _) in LISTED {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert!(find(&method, path).is_ok(), "{method} {path}");
        }
    }

    #[test]
    fn changes_are_never_gets() {
        for path in ["/reload", "/drain", "/explain"] {
            assert_eq!(find(&Method::GET, path), Err(Missing::Method("POST")));
        }
        assert_eq!(
            find(&Method::POST, "/metrics"),
            Err(Missing::Method("GET, HEAD"))
        );
        assert_eq!(find(&Method::HEAD, "/livez"), Ok(Route::Live));
    }

    #[test]
    fn request_ids_are_decoded() {
        assert_eq!(
            find(&Method::GET, "/decisions/a%2Fb"),
            Ok(Route::Decision("a/b".to_owned()))
        );
        for path in [
            "/decisions/",
            "/decisions/%zz",
            "/decisions/%ff",
            "/nothing",
            "//livez",
        ] {
            assert_eq!(find(&Method::GET, path), Err(Missing::Path), "{path}");
        }
    }
}
