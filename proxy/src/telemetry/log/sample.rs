//! Which lines of the access log are kept.
//!
//! Promises: what the edge refused and what failed is always kept; the first
//! matching rule decides the rest; the same request id is kept or left out on
//! every edge that has the same rules.

use crate::settings::SampleRule;

/// What the rules look at.
#[derive(Copy, Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) status: u16,
    pub(super) path: &'a str,
    pub(super) request_id: &'a str,
    pub(super) notable: Notable,
}

/// Whether rules may leave a line out at all.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Notable {
    /// Refused by the edge, or it did not end well: never left out.
    Yes,
    /// An ordinary exchange.
    No,
}

/// True when the line is written. No rules: every line is.
pub(super) fn keep(rules: &[SampleRule], candidate: &Candidate<'_>) -> bool {
    if candidate.notable == Notable::Yes {
        return true;
    }
    rules
        .iter()
        .find(|rule| matches(rule, candidate))
        .is_none_or(|rule| hash(candidate.request_id).is_multiple_of(u64::from(rule.one_in.get())))
}

fn matches(rule: &SampleRule, candidate: &Candidate<'_>) -> bool {
    let under = |prefix: &String| candidate.path.starts_with(prefix.as_str());
    (rule.status_from..=rule.status_to).contains(&candidate.status)
        && rule.path_prefix.as_ref().is_none_or(under)
}

/// FNV-1a with a final mix: ids that count up spread evenly.
fn hash(id: &str) -> u64 {
    let mut state = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    state ^= state >> 33;
    state = state.wrapping_mul(0xff51_afd7_ed55_8ccd);
    state ^ (state >> 33)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn rule(status: (u16, u16), path_prefix: Option<&str>, one_in: u32) -> SampleRule {
        SampleRule {
            status_from: status.0,
            status_to: status.1,
            path_prefix: path_prefix.map(str::to_owned),
            one_in: NonZeroU32::new(one_in).unwrap(),
        }
    }

    fn candidate<'a>(status: u16, path: &'a str, request_id: &'a str) -> Candidate<'a> {
        Candidate {
            status,
            path,
            request_id,
            notable: Notable::No,
        }
    }

    #[test]
    fn without_a_matching_rule_every_line_is_kept() {
        assert!(keep(&[], &candidate(200, "/", "a")));
        let rules = [
            rule((500, 599), None, u32::MAX),
            rule((200, 299), Some("/health"), u32::MAX),
        ];
        assert!(keep(&rules, &candidate(200, "/mcp", "a")));
    }

    #[test]
    fn what_was_refused_is_kept_whatever_the_rules_say() {
        let rules = [rule((100, 599), None, u32::MAX)];
        let refused = Candidate {
            notable: Notable::Yes,
            ..candidate(451, "/", "some-id")
        };
        assert!(keep(&rules, &refused));
        assert!(!keep(&rules, &candidate(451, "/", "some-id")));
    }

    #[test]
    fn the_first_match_decides() {
        let rules = [
            rule((200, 200), Some("/a"), 1),
            rule((200, 299), None, u32::MAX),
        ];
        assert!(keep(&rules, &candidate(200, "/a/b", "id")));
        assert!(!keep(&rules, &candidate(200, "/b", "id")));
    }

    #[test]
    fn one_in_ten_is_about_one_in_ten() {
        let rules = [rule((200, 299), None, 10)];
        let kept = (0..10_000)
            .map(|number| format!("req-{number:08}"))
            .filter(|id| keep(&rules, &candidate(200, "/", id)))
            .count();
        assert!((800..1_200).contains(&kept), "{kept}");
    }
}
