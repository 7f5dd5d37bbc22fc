//! Request inspection: bytes and rules in, verdict out.
//!
//! Promises: the same head that is forwarded is the one inspected; linear time
//! in the bytes inspected; no allocation for a harmless head of ordinary size;
//! no panic on any input; every buffer bounded.
//!
//! Refuses: to decide what a hit means (the caller's policy does), to change a
//! request, to keep state between requests, and to guess at the meaning of
//! bodies it was not told the type of.
//!
//! The built-in rules are few and aim at attacks that are plain on sight.
//! Ordinary text must pass, so a rule asks for context (a quote that was
//! broken out of, a separator before a command) and not for a word.

mod body;
mod decode;
mod inspect;
mod rules;
mod scan;
mod table;

pub use body::{BODY_PREFIX, BodyInspector, inspect_body};
pub use inspect::{inspect_field, inspect_head, inspect_path, inspect_query};
pub use rules::{Part, Phase, RuleId, RuleInfo, Ruleset, UnknownRule, Verdict};
