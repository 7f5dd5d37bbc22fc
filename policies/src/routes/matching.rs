//! Patterns for hosts, paths and methods.

use std::fmt;

use meridian_wire::Method;

use crate::compile::CompileContext;
use crate::yaml::Spanned;

/// `example.com`, or `*.example.com` for every name below it.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum HostPattern {
    Exact(String),
    /// With its leading dot.
    Suffix(String),
}

impl HostPattern {
    pub(crate) fn compile(raw: &Spanned<String>, ctx: &mut CompileContext<'_>) -> Option<Self> {
        let text = raw.value.to_ascii_lowercase();
        let (name, suffix) = match text.strip_prefix("*.") {
            Some(rest) => (rest, Some(format!(".{rest}"))),
            None => (text.as_str(), None),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b);
        let port = !name.starts_with('[') && name.contains(':');
        if name.is_empty() || !name.bytes().all(plain) || port {
            ctx.error_help(
                raw.at,
                format!("`{}` is not a host", raw.value),
                "a name without a port, or `*.` and a name for all names below it",
            );
            return None;
        }
        Some(suffix.map_or(Self::Exact(text), Self::Suffix))
    }

    pub(crate) fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }
}

/// `/exact`, or `/prefix*`.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum PathPattern {
    Exact(String),
    Prefix(String),
}

impl PathPattern {
    /// The pattern must be in the form that paths have when they are matched:
    /// normalised. A pattern that no path could equal is a fault.
    pub(crate) fn compile(raw: &Spanned<String>, ctx: &mut CompileContext<'_>) -> Option<Self> {
        let text = raw.value.as_str();
        let (body, is_prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        if let Some(help) = path_fault(body) {
            ctx.error_help(raw.at, format!("`{text}` is not a path pattern"), help);
            return None;
        }
        Some(if is_prefix {
            Self::Prefix(body.to_owned())
        } else {
            Self::Exact(body.to_owned())
        })
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == path,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
        }
    }
}

fn path_fault(body: &str) -> Option<&'static str> {
    if !body.starts_with('/') {
        return Some("begin with `/`");
    }
    if body.contains('*') {
        return Some("one `*`, at the end, matches any rest");
    }
    if body.contains(['?', '#']) {
        return Some("a path ends before `?` and `#`");
    }
    let mut normal = Vec::new();
    match meridian_wire::path::normalize(body, &mut normal) {
        Ok(_) if normal == body.as_bytes() => None,
        Ok(_) => Some("write it normalised: no `.`, `..`, `//`, and no needless `%`"),
        Err(_) => Some("only characters that a path may have"),
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(name) => write!(f, "*{name}"),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Prefix(path) => write!(f, "{path}*"),
        }
    }
}

/// A set of methods.
#[derive(Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct MethodSet(Vec<String>);

impl MethodSet {
    pub(crate) fn compile(raw: &[Spanned<String>], ctx: &mut CompileContext<'_>) -> Self {
        let mut names = Vec::new();
        for name in raw {
            match Method::of(name.value.as_bytes()) {
                Method::Extension => ctx.unknown(name.at, ("method", &name.value), KNOWN),
                Method::Connect => ctx.error_help(
                    name.at,
                    "CONNECT is never served",
                    "a WebSocket is a GET, whatever the version it comes in",
                ),
                Method::Get
                | Method::Head
                | Method::Post
                | Method::Put
                | Method::Delete
                | Method::Options
                | Method::Patch
                | Method::Trace => names.push(name.value.clone()),
            }
        }
        names.sort();
        names.dedup();
        Self(names)
    }

    pub(crate) fn contains(&self, text: &str) -> bool {
        self.0.iter().any(|name| name == text)
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|name| other.0.contains(name))
    }
}

/// Methods that can be named.
pub(crate) const KNOWN: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE",
];
