//! Inspection of a body as it streams.
//!
//! Promises: the verdict depends on the bytes alone, not on how they were cut;
//! one buffer of at most 8 KiB, and only for types that are inspected; time
//! linear in the bytes, of which only the first [`BODY_PREFIX`] count.
//!
//! Refuses to judge text for being code: a JSON body (MCP tool calls among
//! them) legitimately carries SQL, HTML, paths and shell commands as values,
//! so in JSON, XML and plain text only lookups that make a logger load code
//! are hits. Forms are inspected like queries. Files and other types pass.

use crate::inspect::{OVERLAP, WINDOW, look_closer};
use crate::rules::{Place, Ruleset, Verdict};
use crate::scan;

/// Bytes of a body that are inspected; what follows passes.
pub const BODY_PREFIX: usize = 65_536;

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Kind {
    Form,
    Text,
    Opaque,
}

impl Kind {
    fn of(content_type: Option<&[u8]>) -> Self {
        let media = content_type.and_then(|value| value.split(|b| *b == b';').next());
        let media = media.unwrap_or_default().trim_ascii();
        let is = |name: &[u8]| media.eq_ignore_ascii_case(name);
        let ends = |suffix: &[u8]| {
            let start = media.len().checked_sub(suffix.len());
            start
                .and_then(|start| media.get(start..))
                .is_some_and(|at| at.eq_ignore_ascii_case(suffix))
        };
        let text = || {
            media
                .get(..5)
                .is_some_and(|at| at.eq_ignore_ascii_case(b"text/"))
        };
        if is(b"application/x-www-form-urlencoded") {
            Self::Form
        } else if text() || ends(b"json") || ends(b"xml") || is(b"application/x-ndjson") {
            Self::Text
        } else {
            Self::Opaque
        }
    }
}

/// Looks at one body, chunk by chunk.
///
/// A window is judged when it is full, and the last one by [`finish`]: a
/// caller that must judge before anything leaves holds the body back until
/// `finish`, or up to [`BODY_PREFIX`].
///
/// [`finish`]: BodyInspector::finish
#[derive(Debug)]
pub struct BodyInspector {
    kind: Kind,
    window: Vec<u8>,
    left: usize,
    verdict: Verdict,
}

impl BodyInspector {
    /// For a body of this `Content-Type`; `None` passes unseen.
    pub fn new(content_type: Option<&[u8]>) -> Self {
        Self {
            kind: Kind::of(content_type),
            window: Vec::new(),
            left: BODY_PREFIX,
            verdict: Verdict::Pass,
        }
    }

    /// Whether further chunks can change the verdict. When not, the caller may
    /// stop calling [`push`](Self::push).
    pub fn is_decided(&self) -> bool {
        self.kind == Kind::Opaque || self.left == 0 || !self.verdict.is_pass()
    }

    /// Takes the next chunk. Once a rule is hit the verdict stays.
    pub fn push(&mut self, rules: &Ruleset, chunk: &[u8]) -> Verdict {
        let mut rest = chunk;
        while !self.is_decided() && !rest.is_empty() {
            let room = (WINDOW - self.window.len()).min(self.left).min(rest.len());
            let (taken, after) = rest.split_at(room);
            self.window.extend_from_slice(taken);
            self.left -= taken.len();
            rest = after;
            if self.window.len() == WINDOW || self.left == 0 {
                self.judge(rules);
                self.window
                    .drain(..self.window.len().saturating_sub(OVERLAP));
            }
        }
        self.verdict
    }

    /// The body has ended: judges what is left and gives the buffer back.
    pub fn finish(&mut self, rules: &Ruleset) -> Verdict {
        if !self.is_decided() {
            self.judge(rules);
        }
        self.window = Vec::new();
        self.left = 0;
        self.verdict
    }

    fn judge(&mut self, rules: &Ruleset) {
        let (place, suspicious) = match self.kind {
            Kind::Form => (Place::Form, scan::query_is_suspicious(&self.window)),
            Kind::Text => (Place::Text, scan::text_is_suspicious(&self.window)),
            Kind::Opaque => return,
        };
        if suspicious {
            self.verdict = look_closer(rules, &self.window, place);
        }
    }
}

/// Inspects a body that is already complete: the same verdict as pushing it.
pub fn inspect_body(rules: &Ruleset, content_type: Option<&[u8]>, body: &[u8]) -> Verdict {
    let mut inspector = BodyInspector::new(content_type);
    let verdict = inspector.push(rules, body);
    if verdict.is_pass() {
        inspector.finish(rules)
    } else {
        verdict
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::{Part, RuleId};

    const FORM: Option<&[u8]> = Some(b"application/x-www-form-urlencoded");
    const JSON: Option<&[u8]> = Some(b"application/json; charset=utf-8");

    fn whole(content_type: Option<&[u8]>, body: &str) -> Verdict {
        inspect_body(Ruleset::builtin(), content_type, body.as_bytes())
    }

    fn hit(rule: &'static str) -> Verdict {
        Verdict::Hit {
            rule: RuleId(rule),
            part: Part::Body,
        }
    }

    #[test]
    fn forms_are_inspected_like_queries() {
        assert_eq!(whole(FORM, "user=admin'--&p=x"), hit("sqli-comment"));
        assert_eq!(whole(FORM, "c=%3Cscript%3E"), hit("xss-tag"));
        assert_eq!(whole(FORM, "f=..%2f..%2fx"), hit("query-traversal"));
        assert_eq!(
            whole(FORM, "name=O%27Brien&q=select+a+seat+or+order"),
            Verdict::Pass
        );
        assert_eq!(whole(FORM, ""), Verdict::Pass);
    }

    #[test]
    fn tool_calls_that_carry_code_pass() {
        for body in [
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#,
            r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"query","arguments":{"sql":"SELECT * FROM a WHERE b='1' OR '1'='1' -- x"}}}"#,
            r#"{"arguments":{"html":"<script>alert(1)</script>","path":"../../etc/passwd"}}"#,
            r#"{"arguments":{"shell":"cat /etc/hosts; ls -la | whoami","tpl":"${name}"}}"#,
            r#"{"text":"a\u0000b \\ $5"}"#,
        ] {
            assert_eq!(whole(JSON, body), Verdict::Pass, "{body}");
        }
    }

    #[test]
    fn lookups_that_load_code_are_refused_in_text() {
        for content_type in [
            "application/json",
            "application/problem+json",
            "text/plain",
            "text/xml",
        ] {
            let body = r#"{"a":"${jndi:ldap://x/a}"}"#;
            assert_eq!(
                whole(Some(content_type.as_bytes()), body),
                hit("jndi-lookup")
            );
        }
        assert_eq!(
            whole(JSON, r#"{"a":"\u0024\u007bjndi:x"}"#),
            hit("jndi-lookup")
        );
    }

    #[test]
    fn types_nobody_named_and_files_pass_unseen() {
        for content_type in [
            None,
            Some(&b"application/octet-stream"[..]),
            Some(b"image/png"),
        ] {
            let mut inspector = BodyInspector::new(content_type);
            assert!(inspector.is_decided());
            assert!(inspector.push(Ruleset::builtin(), b"${jndi:x}").is_pass());
            assert_eq!(inspector.window.capacity(), 0);
        }
    }

    #[test]
    fn what_follows_the_prefix_passes_and_what_precedes_its_end_does_not() {
        let attack = "&q=1'+or+'1'='1";
        let late = format!("a={}{attack}", "x".repeat(BODY_PREFIX));
        assert_eq!(whole(FORM, &late), Verdict::Pass);
        let just = format!("a={}{attack}", "x".repeat(BODY_PREFIX - attack.len() - 2));
        assert_eq!(just.len(), BODY_PREFIX);
        assert_eq!(whole(FORM, &just), hit("sqli-tautology"));
    }

    #[test]
    fn a_hit_stays_and_memory_stays_bounded() {
        let rules = Ruleset::builtin();
        let mut inspector = BodyInspector::new(FORM);
        for _ in 0..100 {
            let _ = inspector.push(rules, &[b'a'; 1_000]);
            assert!(inspector.window.capacity() <= 2 * WINDOW);
        }
        let mut inspector = BodyInspector::new(FORM);
        assert!(inspector.push(rules, b"q=<script>").is_pass());
        assert_eq!(inspector.finish(rules), hit("xss-tag"));
        assert_eq!(inspector.push(rules, b"harmless"), hit("xss-tag"));
        assert_eq!(inspector.finish(rules), hit("xss-tag"));
    }

    fn in_pieces(body: &[u8], cuts: &[usize]) -> Verdict {
        let rules = Ruleset::builtin();
        let mut inspector = BodyInspector::new(FORM);
        let mut rest = body;
        for cut in cuts {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            let _ = inspector.push(rules, piece);
            rest = after;
        }
        let _ = inspector.push(rules, rest);
        inspector.finish(rules)
    }

    proptest! {
        #[test]
        fn the_verdict_does_not_depend_on_the_cuts(
            before in 0_usize..20_000,
            cuts in proptest::collection::vec(1_usize..4_000, 0..16),
            body in "(%2e|\\.\\.|%2f|'|\\+or\\+|=1|1=|/\\*|\\*/|--|<|script>|&|a){0,40}",
        ) {
            let body = format!("a={}&{body}", "x".repeat(before));
            prop_assert_eq!(in_pieces(body.as_bytes(), &cuts), whole(FORM, &body));
        }

        #[test]
        fn an_attack_is_found_wherever_it_lies_and_however_it_is_cut(
            before in 0_usize..30_000,
            cuts in proptest::collection::vec(1_usize..3_000, 0..32),
        ) {
            let body = format!("a={}&q=1%27%20or%20%271%27=%271", "x".repeat(before));
            prop_assert_eq!(in_pieces(body.as_bytes(), &cuts), hit("sqli-tautology"));
        }
    }
}
