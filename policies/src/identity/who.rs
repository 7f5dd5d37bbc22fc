//! Rules about whom a verified token speaks of: `token` of an access rule,
//! `version_testers`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Identity;
use crate::compile::CompileContext;
use crate::yaml::Spanned;

/// Most entries of one list.
const LIST_MAX: usize = 1_024;

/// Mirror of `token`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTokenRule {
    providers: Option<Vec<Spanned<String>>>,
    subjects: Option<Vec<Spanned<String>>>,
    groups: Option<Vec<Spanned<String>>>,
}

/// All that are given must hold; within one, any entry. None given: any
/// verified token.
#[derive(Debug)]
pub(crate) struct TokenRule {
    providers: Option<Vec<u8>>,
    subjects: Option<Vec<Name>>,
    groups: Option<Vec<Name>>,
}

#[derive(Debug)]
enum Name {
    Exact(String),
    Prefix(String),
}

impl Name {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == text,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
        }
    }
}

impl TokenRule {
    /// `at` names the rule where there is no provider at all.
    pub(crate) fn compile(raw: &Spanned<RawTokenRule>, ctx: &mut CompileContext<'_>) -> Self {
        if ctx.providers.is_empty() {
            ctx.error_help(
                raw.at,
                "no token is ever verified: there is no key `authentication`",
                "list who issues tokens under `authentication.providers`",
            );
        }
        let providers = raw.value.providers.as_ref();
        let providers =
            providers.map(|names| names.iter().filter_map(|n| provider(n, ctx)).collect());
        let mut names = |raw: &Option<Vec<Spanned<String>>>| {
            let raw = raw.as_ref()?;
            if let Some(over) = raw.get(LIST_MAX) {
                ctx.error(over.at, format!("over {LIST_MAX} entries"));
            }
            Some(
                raw.iter()
                    .filter_map(|name| self::name(name, ctx))
                    .collect(),
            )
        };
        Self {
            providers,
            subjects: names(&raw.value.subjects),
            groups: names(&raw.value.groups),
        }
    }

    /// Whether a verified token is meant; no token is none.
    pub(crate) fn holds(&self, identity: Option<&Identity>) -> bool {
        let Some(identity) = identity else {
            return false;
        };
        let any = |names: &[Name], text: &str| names.iter().any(|name| name.matches(text));
        self.providers
            .as_ref()
            .is_none_or(|list| list.contains(&identity.provider.0))
            && self.subjects.as_ref().is_none_or(|names| {
                let subject = identity.subject.as_deref();
                subject.is_some_and(|subject| any(names, subject))
            })
            && self
                .groups
                .as_ref()
                .is_none_or(|names| identity.groups.iter().any(|group| any(names, group)))
    }

    /// For `/snapshot`: how many of each; who is meant is personal data.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "providers": self.providers.as_ref().map(Vec::len),
            "subjects": self.subjects.as_ref().map(Vec::len),
            "groups": self.groups.as_ref().map(Vec::len),
        })
    }
}

fn provider(name: &Spanned<String>, ctx: &mut CompileContext<'_>) -> Option<u8> {
    let at = ctx.providers.iter().position(|id| *id == name.value);
    if at.is_none() {
        let known = ctx.providers.clone();
        ctx.unknown(
            name.at,
            ("provider", &name.value),
            known.iter().map(String::as_str),
        );
    }
    u8::try_from(at?).ok()
}

/// `*` at the end stands for any rest.
fn name(raw: &Spanned<String>, ctx: &mut CompileContext<'_>) -> Option<Name> {
    let read = match raw.value.strip_suffix('*') {
        Some(prefix) => Name::Prefix(prefix.to_owned()),
        None => Name::Exact(raw.value.clone()),
    };
    let (Name::Exact(text) | Name::Prefix(text)) = &read;
    if text.is_empty() || text.contains('*') {
        ctx.error_help(
            raw.at,
            format!("`{}` names nobody", raw.value),
            "write a name, or its beginning and one `*`; leave the key out for anybody",
        );
        return None;
    }
    Some(read)
}
