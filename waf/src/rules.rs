//! Rules: their names, how they are compiled and how a text is matched.
//!
//! Promises: a text is read once by one automaton over the words of all rules;
//! only rules whose words were seen run their pattern. Both are linear.

use std::fmt;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::bytes::{Regex, RegexBuilder};

use crate::table::{BUILTIN, Check, RuleSpec};

/// Name of a rule, stable between releases: for logs, receipts and metrics.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub(crate) &'static str);

impl RuleId {
    /// The name, in kebab-case.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The part of a request in which a rule was hit.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Part {
    /// The path as received, before normalisation.
    Path,
    /// The query, without its question mark.
    Query,
    /// A field value.
    Header,
    /// The inspected prefix of the body.
    Body,
}

impl Part {
    /// Lower-case word for logs and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Body => "body",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When a rule can be hit.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Phase {
    /// Before anything of the request leaves the edge.
    Head,
    /// On the head, and as the body streams.
    HeadAndBody,
}

/// What inspection found.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[must_use]
pub enum Verdict {
    /// Nothing that a rule knows.
    Pass,
    /// The first rule that was hit, in the order of [`Ruleset::rules`].
    Hit {
        /// Which rule.
        rule: RuleId,
        /// Where.
        part: Part,
    },
}

impl Verdict {
    /// Whether nothing was found.
    pub const fn is_pass(self) -> bool {
        matches!(self, Self::Pass)
    }
}

/// A rule as shown to people.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct RuleInfo {
    /// Stable name.
    pub id: &'static str,
    /// One line, for people.
    pub title: &'static str,
    /// When it can be hit.
    pub phase: Phase,
}

/// A rule was named that does not exist.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no WAF rule named \"{0}\"")]
pub struct UnknownRule(pub String);

/// Where a text stands: decides which rules look at it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Path,
    Query,
    Field,
    Form,
    Text,
}

impl Place {
    pub(crate) const fn part(self) -> Part {
        match self {
            Self::Path => Part::Path,
            Self::Query => Part::Query,
            Self::Field => Part::Header,
            Self::Form | Self::Text => Part::Body,
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Path => 1,
            Self::Query => 2,
            Self::Field => 4,
            Self::Form => 8,
            Self::Text => 16,
        }
    }
}

/// A set of places.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Places(u8);

impl Places {
    pub(crate) const fn of(places: &[Place]) -> Self {
        let mut rest = places;
        let mut bits = 0;
        while let [first, tail @ ..] = rest {
            bits |= first.bit();
            rest = tail;
        }
        Self(bits)
    }

    const fn contains(self, place: Place) -> bool {
        self.0 & place.bit() != 0
    }

    const fn reaches_body(self) -> bool {
        self.contains(Place::Form) || self.contains(Place::Text)
    }
}

/// How a text was prepared before matching.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum View {
    /// Decoded.
    Plain,
    /// Decoded, SQL comments taken out: only SQL rules look at it.
    Uncommented,
}

struct Compiled {
    spec: &'static RuleSpec,
    pattern: Regex,
}

/// A compiled set of rules. Immutable; share it by reference.
pub struct Ruleset {
    rules: Vec<Compiled>,
    infos: Vec<RuleInfo>,
    words: AhoCorasick,
    /// For each word of `words`: the rules it belongs to, one bit a rule.
    word_rules: Vec<u64>,
}

impl fmt::Debug for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.infos.iter().map(|info| info.id))
            .finish()
    }
}

impl Ruleset {
    /// All built-in rules, compiled once a process.
    pub fn builtin() -> &'static Self {
        static ALL: LazyLock<Ruleset> =
            LazyLock::new(|| Ruleset::compile(BUILTIN.iter().collect()));
        &ALL
    }

    /// The built-in rules without the `disabled` ones. An empty list gives all
    /// of them; naming every rule gives a set that passes everything.
    ///
    /// # Errors
    /// [`UnknownRule`] for the first name that is not a rule's: a misspelt
    /// exception would otherwise leave the rule on and look as if it were off.
    pub fn new(disabled: &[&str]) -> Result<Self, UnknownRule> {
        let unknown = disabled
            .iter()
            .find(|name| !BUILTIN.iter().any(|spec| spec.id == **name));
        if let Some(name) = unknown {
            return Err(UnknownRule((*name).to_owned()));
        }
        let kept = BUILTIN
            .iter()
            .filter(|spec| !disabled.contains(&spec.id))
            .collect();
        Ok(Self::compile(kept))
    }

    /// The rules of this set, in the order in which they are tried.
    pub fn rules(&self) -> &[RuleInfo] {
        &self.infos
    }

    fn compile(specs: Vec<&'static RuleSpec>) -> Self {
        let infos = specs
            .iter()
            .map(|spec| {
                let phase = if spec.places.reaches_body() {
                    Phase::HeadAndBody
                } else {
                    Phase::Head
                };
                RuleInfo {
                    id: spec.id,
                    title: spec.title,
                    phase,
                }
            })
            .collect();
        let (words, word_rules) = compile_words(&specs);
        let rules = specs
            .into_iter()
            .map(|spec| Compiled {
                spec,
                pattern: compile_pattern(spec.patterns),
            })
            .collect();
        Self {
            rules,
            infos,
            words,
            word_rules,
        }
    }

    /// The first rule of `place` that `text`, prepared as `view`, hits.
    pub(crate) fn find(&self, text: &[u8], place: Place, view: View) -> Option<RuleId> {
        let mut seen = 0_u64;
        for found in self.words.find_overlapping_iter(text) {
            seen |= self
                .word_rules
                .get(found.pattern().as_usize())
                .copied()
                .unwrap_or(0);
        }
        while seen != 0 {
            let index = seen.trailing_zeros() as usize;
            seen &= seen - 1;
            if let Some(rule) = self.rules.get(index)
                && rule.spec.places.contains(place)
                && rule.spec.looks_at(view)
                && rule.matches(text)
            {
                return Some(RuleId(rule.spec.id));
            }
        }
        None
    }
}

impl Compiled {
    fn matches(&self, text: &[u8]) -> bool {
        match self.spec.check {
            Check::Pattern | Check::SqlPattern => self.pattern.is_match(text),
            Check::SqlEqualSides => self.pattern.captures_iter(text).any(|sides| {
                let (left, right) = (sides.get(1), sides.get(2));
                left.map(|m| unquoted(m.as_bytes())) == right.map(|m| unquoted(m.as_bytes()))
            }),
        }
    }
}

fn unquoted(literal: &[u8]) -> &[u8] {
    match literal {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        [..] => literal,
    }
}

fn compile_words(specs: &[&'static RuleSpec]) -> (AhoCorasick, Vec<u64>) {
    let mut words: Vec<&'static str> = Vec::new();
    let mut word_rules: Vec<u64> = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let bit = 1_u64 << index;
        for word in spec.words {
            let known = words
                .iter()
                .zip(&mut word_rules)
                .find(|(known, _)| *known == word);
            if let Some((_, rules)) = known {
                *rules |= bit;
            } else {
                words.push(word);
                word_rules.push(bit);
            }
        }
    }
    let automaton = AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::DFA))
        .match_kind(MatchKind::Standard)
        .ascii_case_insensitive(true)
        .prefilter(false)
        .build(&words)
        .expect("the words of the table are few and short: a test builds them");
    (automaton, word_rules)
}

fn compile_pattern(patterns: &[&str]) -> Regex {
    let joined: Vec<String> = patterns.iter().map(|one| format!("(?:{one})")).collect();
    RegexBuilder::new(&joined.join("|"))
        .unicode(false)
        .case_insensitive(true)
        .dot_matches_new_line(true)
        .build()
        .expect("the patterns are constants of the table: a test builds them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_its_own_name_a_title_and_fits_the_mask() {
        let rules = Ruleset::builtin().rules();
        assert!(!rules.is_empty() && rules.len() <= 64);
        for (index, rule) in rules.iter().enumerate() {
            assert!(!rule.title.is_empty());
            let kebab = rule.id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            assert!(kebab, "{}", rule.id);
            assert!(
                rules
                    .iter()
                    .skip(index + 1)
                    .all(|other| other.id != rule.id),
                "{}",
                rule.id
            );
        }
    }

    #[test]
    fn a_disabled_rule_is_gone_and_the_others_stay() {
        let rules = Ruleset::new(&["null-byte"]).unwrap();
        assert_eq!(rules.find(b"a\0b", Place::Query, View::Plain), None);
        assert_eq!(rules.rules().len() + 1, Ruleset::builtin().rules().len());
        let hit = rules.find(b"<script>", Place::Query, View::Plain);
        assert_eq!(hit, Some(RuleId("xss-tag")));
    }

    #[test]
    fn a_misspelt_exception_is_an_error_that_names_it() {
        let error = Ruleset::new(&["null-byte", "sqli-onion"]).unwrap_err();
        assert_eq!(error, UnknownRule("sqli-onion".to_owned()));
        assert!(error.to_string().contains("sqli-onion"));
    }

    #[test]
    fn with_every_rule_disabled_everything_passes() {
        let names: Vec<&str> = Ruleset::builtin()
            .rules()
            .iter()
            .map(|rule| rule.id)
            .collect();
        let rules = Ruleset::new(&names).unwrap();
        assert_eq!(rules.find(b"<script>\0", Place::Query, View::Plain), None);
    }

    #[test]
    fn rules_on_the_head_alone_say_so() {
        let phase = |id| {
            let mut rules = Ruleset::builtin().rules().iter();
            rules.find(|rule| rule.id == id).map(|rule| rule.phase)
        };
        assert_eq!(phase("path-traversal"), Some(Phase::Head));
        assert_eq!(phase("sqli-union"), Some(Phase::HeadAndBody));
    }
}
