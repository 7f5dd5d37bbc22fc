//! Which class a request's data has: the strictest that anything says.

use meridian_wire::{Known, RequestHead};
use serde::Serialize;
use serde_json::{Value, json};

use super::class::DataClass;
use super::raw::RawClassify;
use super::vouched::Believed;
use crate::compile::CompileContext;
use crate::routes::{McpRoute, matching};
use crate::yaml::{Pairs, Spanned};
use crate::{Facts, HeaderBody, McpFacts, Route, Snapshot};

/// A request's class, and who said so.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Classified {
    /// The class.
    pub class: DataClass,
    /// The first source that asked for it.
    pub by: ClassSource,
}

/// Who said what class a request has.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassSource {
    /// The route's `data_class`.
    Route,
    /// `classify.methods`, by HTTP method.
    Method,
    /// `classify.mcp`, by JSON-RPC method or tool.
    Mcp,
    /// The request's `x-data-class`.
    Header,
    /// A verified token, or a trusted hop.
    Token,
    /// Nobody: `classify.default`.
    Default,
}

impl ClassSource {
    /// Stable name, for receipts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Method => "method",
            Self::Mcp => "mcp",
            Self::Header => "header",
            Self::Token => "token",
            Self::Default => "default",
        }
    }
}

/// Key `classify`.
#[derive(Clone, Debug)]
pub(crate) struct CompiledClassify {
    default: DataClass,
    methods: Vec<(String, DataClass)>,
    mcp_methods: Vec<(NamePattern, DataClass)>,
    mcp_tools: Vec<(NamePattern, DataClass)>,
    /// The strictest of `mcp_methods` and `mcp_tools`.
    mcp_strictest: Option<DataClass>,
    pub(super) believed: Believed,
}

#[derive(Clone, Debug)]
enum NamePattern {
    Exact(String),
    Prefix(String),
}

/// The class of a request's data.
///
/// The operator's word (route, method, MCP) comes first, the strictest of it;
/// where there is none, the default. The header and the token can only make
/// that stricter; a header that is no class is the strictest.
#[inline]
pub fn classify(snapshot: &Snapshot, route: &Route, facts: &Facts<'_>) -> Classified {
    let rules = &snapshot.classify;
    let said = [
        (route.data_class, ClassSource::Route),
        (rules.by_method(facts), ClassSource::Method),
        (rules.by_mcp(route, facts), ClassSource::Mcp),
    ];
    let base = strictest(said).unwrap_or(Classified {
        class: rules.default,
        by: ClassSource::Default,
    });
    let stricter = strictest([
        (header_class(facts.head), ClassSource::Header),
        (facts.claims.class, ClassSource::Token),
    ]);
    stricter
        .filter(|other| other.class > base.class)
        .unwrap_or(base)
}

fn strictest<const N: usize>(said: [(Option<DataClass>, ClassSource); N]) -> Option<Classified> {
    let mut out: Option<Classified> = None;
    for (class, by) in said {
        if let Some(class) = class
            && out.is_none_or(|strictest| class > strictest.class)
        {
            out = Some(Classified { class, by });
        }
    }
    out
}

/// The strictest of all lines; anything that is not the name of a class is
/// `tier_1_pii`.
pub(crate) fn header_class(head: &RequestHead) -> Option<DataClass> {
    if !head.has(Known::XDataClass) {
        return None;
    }
    let read = |value: &[u8]| {
        let text = std::str::from_utf8(value).ok().map(str::trim);
        text.and_then(DataClass::parse)
            .unwrap_or(DataClass::Tier1Pii)
    };
    head.all(Known::XDataClass).map(read).max()
}

impl CompiledClassify {
    fn by_method(&self, facts: &Facts<'_>) -> Option<DataClass> {
        if self.methods.is_empty() {
            return None;
        }
        let name = facts.head.method_str();
        self.methods
            .iter()
            .find(|(method, _)| method == name)
            .map(|(_, class)| *class)
    }

    /// What nobody checked against the body could be any tool: then the
    /// strictest rule holds.
    fn by_mcp(&self, route: &Route, facts: &Facts<'_>) -> Option<DataClass> {
        let strictest = self.mcp_strictest?;
        match (&facts.mcp, route.mcp) {
            (Some(mcp), McpRoute::On | McpRoute::Off) => match mcp.verified {
                HeaderBody::Agree => self.by_names(mcp),
                HeaderBody::Unchecked => Some(strictest),
            },
            (None, McpRoute::On) if facts.head.method() == meridian_wire::Method::Post => {
                Some(strictest)
            }
            (None, McpRoute::On | McpRoute::Off) => None,
        }
    }

    fn by_names(&self, mcp: &McpFacts<'_>) -> Option<DataClass> {
        let find = |rules: &[(NamePattern, DataClass)], name: Option<&str>| {
            let name = name?;
            rules
                .iter()
                .filter(|(pattern, _)| pattern.matches(name))
                .map(|(_, class)| *class)
                .max()
        };
        find(&self.mcp_methods, mcp.method).max(find(&self.mcp_tools, mcp.tool))
    }

    pub(crate) fn to_json(&self) -> Value {
        let patterns = |rules: &[(NamePattern, DataClass)]| -> Value {
            let row = |(pattern, class): &(NamePattern, DataClass)| {
                let name = match pattern {
                    NamePattern::Exact(name) => name.clone(),
                    NamePattern::Prefix(name) => format!("{name}*"),
                };
                (name, json!(class))
            };
            Value::Object(rules.iter().map(row).collect())
        };
        json!({
            "default": self.default,
            "from_trusted_hops": self.believed.names(),
            "methods": self.methods.iter().map(|(name, class)| (name.clone(), json!(class)))
                .collect::<serde_json::Map<_, _>>(),
            "mcp": {
                "methods": patterns(&self.mcp_methods),
                "tools": patterns(&self.mcp_tools),
            },
        })
    }
}

impl NamePattern {
    fn compile(raw: &Spanned<String>, ctx: &mut CompileContext<'_>) -> Option<Self> {
        let (body, prefix) = match raw.value.strip_suffix('*') {
            Some(body) => (body, true),
            None => (raw.value.as_str(), false),
        };
        if body.contains('*') || raw.value.is_empty() || body.len() > 256 {
            ctx.error(
                raw.at,
                format!(
                    "`{}` is not a name: one `*`, at the end, matches any rest",
                    raw.value
                ),
            );
            return None;
        }
        Some(if prefix {
            Self::Prefix(body.to_owned())
        } else {
            Self::Exact(body.to_owned())
        })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

/// Most entries of one list.
const RULES_MAX: usize = 1_024;

pub(crate) fn compile_classify(
    raw: Option<Spanned<RawClassify>>,
    ctx: &mut CompileContext<'_>,
) -> CompiledClassify {
    let raw = raw.map(|raw| raw.value);
    let default = raw
        .as_ref()
        .and_then(|raw| raw.default)
        .unwrap_or(DataClass::Tier3Operational);
    let mcp = raw.as_ref().and_then(|raw| raw.mcp.as_ref());
    let mcp_methods = mcp
        .map(|mcp| patterns(&mcp.methods, ctx))
        .unwrap_or_default();
    let mcp_tools = mcp.map(|mcp| patterns(&mcp.tools, ctx)).unwrap_or_default();
    let claims = raw.as_ref().map_or(&[][..], |raw| &raw.from_trusted_hops);
    let believed = Believed::new(claims);
    let mut methods = Vec::new();
    for (name, class) in raw.iter().flat_map(|raw| &raw.methods.0) {
        if matching::KNOWN.contains(&name.value.as_str()) {
            methods.push((name.value.clone(), *class));
        } else {
            ctx.unknown(name.at, ("method", &name.value), matching::KNOWN);
        }
    }
    let mcp_strictest = mcp_methods
        .iter()
        .chain(&mcp_tools)
        .map(|(_, class)| *class)
        .max();
    CompiledClassify {
        default,
        methods,
        mcp_methods,
        mcp_tools,
        mcp_strictest,
        believed,
    }
}

fn patterns(
    raw: &Pairs<String, DataClass>,
    ctx: &mut CompileContext<'_>,
) -> Vec<(NamePattern, DataClass)> {
    if let Some((over, _)) = raw.0.get(RULES_MAX) {
        ctx.error(over.at, format!("over {RULES_MAX} names"));
    }
    let read = |(name, class): &(Spanned<String>, DataClass)| {
        NamePattern::compile(name, ctx).map(|pattern| (pattern, *class))
    };
    raw.0.iter().take(RULES_MAX).filter_map(read).collect()
}
