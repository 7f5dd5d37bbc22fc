use super::*;
use crate::regions::testkit::{compile, facts, head, located};
use crate::{Era, McpFacts};

const TEXT: &str = "
regions: [{ id: a, endpoints: ['http://a'] }]
retry: { safe_tools: [records_get, echo] }
";

struct Case<'a> {
    method: &'a str,
    mcp: Option<McpFacts<'a>>,
    failure: Failure,
    sent: Sent,
    replayable: Replayable,
    attempts: u8,
}

const PLAIN: Case<'static> = Case {
    method: "GET",
    mcp: None,
    failure: Failure::Reset,
    sent: Sent::HeadOrBody,
    replayable: Replayable::Yes,
    attempts: 1,
};

fn decide(case: &Case<'_>) -> Verdict {
    let snapshot = compile(TEXT);
    let head = head(case.method, "/mcp", &[]);
    let facts = Facts {
        mcp: case.mcp,
        ..facts(&head, located("DE"))
    };
    let (_, route) = snapshot.route(&head).unwrap();
    let ask = RetryAsk {
        route,
        facts: &facts,
        failure: case.failure,
        sent: case.sent,
        replayable: case.replayable,
        attempts: case.attempts,
    };
    verdict(&snapshot, &ask, &Budget::new(), Tick(1))
}

fn call<'a>(method: &'a str, tool: Option<&'a str>, verified: HeaderBody) -> McpFacts<'a> {
    McpFacts {
        era: Era::Modern,
        method: Some(method),
        tool,
        verified,
        session: None,
    }
}

#[test]
fn idempotent_methods_are_sent_again_and_others_are_not() {
    for (method, retried) in [
        ("GET", true),
        ("HEAD", true),
        ("PUT", true),
        ("DELETE", true),
        ("OPTIONS", true),
        ("POST", false),
        ("PATCH", false),
        ("PURGE", false),
    ] {
        let expected = if retried {
            Verdict::Retry
        } else {
            Verdict::GiveUp(GiveUp::NotIdempotent)
        };
        for failure in [
            Failure::Reset,
            Failure::ReusedConnectionClosed,
            Failure::FirstByteTimeout,
            Failure::Status(503),
        ] {
            assert_eq!(
                decide(&Case {
                    method,
                    failure,
                    ..PLAIN
                }),
                expected,
                "{method} {failure:?}"
            );
        }
    }
}

#[test]
fn any_request_is_sent_again_when_nothing_of_it_left() {
    let post = Case {
        method: "POST",
        ..PLAIN
    };
    assert_eq!(
        decide(&Case {
            failure: Failure::Connect,
            ..post
        }),
        Verdict::Retry
    );
    assert_eq!(
        decide(&Case {
            sent: Sent::Nothing,
            ..post
        }),
        Verdict::Retry
    );
}

#[test]
fn mcp_methods_that_read_are_sent_again() {
    let agree = HeaderBody::Agree;
    for (method, tool, retried) in [
        ("tools/list", None, true),
        ("resources/list", None, true),
        ("prompts/list", None, true),
        ("ping", None, true),
        ("server/discover", None, true),
        ("initialize", None, false),
        ("resources/subscribe", None, false),
        ("tools/call", None, false),
        ("tools/call", Some("records_put"), false),
        ("tools/call", Some("records_get"), true),
        ("tools/call", Some("echo"), true),
    ] {
        let case = Case {
            method: "POST",
            mcp: Some(call(method, tool, agree)),
            ..PLAIN
        };
        assert_eq!(
            decide(&case) == Verdict::Retry,
            retried,
            "{method} {tool:?}"
        );
    }
}

#[test]
fn headers_that_nobody_checked_prove_nothing() {
    let mcp = Some(call("tools/call", Some("echo"), HeaderBody::Unchecked));
    let case = Case {
        method: "POST",
        mcp,
        ..PLAIN
    };
    assert_eq!(decide(&case), Verdict::GiveUp(GiveUp::NotIdempotent));
}

#[test]
fn two_retries_and_no_more() {
    assert_eq!(
        decide(&Case {
            attempts: 2,
            ..PLAIN
        }),
        Verdict::Retry
    );
    assert_eq!(
        decide(&Case {
            attempts: 3,
            ..PLAIN
        }),
        Verdict::GiveUp(GiveUp::Attempts)
    );
    assert_eq!(
        decide(&Case {
            attempts: u8::MAX,
            ..PLAIN
        }),
        Verdict::GiveUp(GiveUp::Attempts)
    );
}

#[test]
fn what_cannot_be_sent_again_is_not() {
    let case = Case {
        replayable: Replayable::No,
        failure: Failure::Connect,
        ..PLAIN
    };
    assert_eq!(decide(&case), Verdict::GiveUp(GiveUp::NotReplayable));
}

#[test]
fn an_answer_that_is_no_failure_is_passed_on() {
    for status in [200, 404, 429, 500, 501] {
        let case = Case {
            failure: Failure::Status(status),
            ..PLAIN
        };
        assert_eq!(
            decide(&case),
            Verdict::GiveUp(GiveUp::NotAFailure),
            "{status}"
        );
    }
}

#[test]
fn an_empty_budget_refuses_everybody() {
    let snapshot = compile(&format!(
        "{}\n",
        TEXT.replace("retry: {", "retry: { min_per_second: 0, ")
    ));
    let head = head("GET", "/", &[]);
    let facts = facts(&head, located("DE"));
    let (_, route) = snapshot.route(&head).unwrap();
    let ask = RetryAsk {
        route,
        facts: &facts,
        failure: Failure::Connect,
        sent: Sent::Nothing,
        replayable: Replayable::Yes,
        attempts: 1,
    };
    let budget = Budget::new();
    for _ in 0..10 {
        budget.note_request(Tick(1));
    }
    let verdicts: Vec<Verdict> = (0..3)
        .map(|_| verdict(&snapshot, &ask, &budget, Tick(1)))
        .collect();
    assert_eq!(
        verdicts,
        [
            Verdict::Retry,
            Verdict::Retry,
            Verdict::GiveUp(GiveUp::Budget)
        ]
    );
}
