use super::*;
use crate::regions::testkit::{facts, head, located, try_compile};

fn policy(text: &str) -> SessionAffinity {
    compiled(text).unwrap_or_else(|faults| panic!("{}", faults.join("\n")))
}

fn compiled(text: &str) -> Result<SessionAffinity, Vec<String>> {
    let text = format!("session_affinity: {text}\nregions: []\nresidency: off\n");
    try_compile(&[("policies.yaml", &text)]).map(|snapshot| snapshot.affinity)
}

fn of(policy: &SessionAffinity, client: &str, fields: &[(&str, &str)]) -> Session {
    let head = head("GET", "/v3/echo", fields);
    let facts = Facts {
        client: client.parse().unwrap(),
        ..facts(&head, located("DE"))
    };
    policy.session(&facts, None, || 1_000)
}

const COOKIE: &str = "{ type: cookie, key: 0123456789abcdef }";

#[test]
fn without_the_key_nothing_but_an_mcp_pin_makes_a_session() {
    let none = SessionAffinity::none();
    let found = of(&none, "192.0.2.1", &[("cookie", "meridian_affinity=x")]);
    assert_eq!(
        (found.pin, found.key, found.cookie),
        (None, None, CookieSeen::NotUsed)
    );
}

#[test]
fn an_address_is_a_session_as_a_whole_and_ipv6_by_its_network() {
    let policy = policy("{ type: client_ip }");
    let key = |client: &str| of(&policy, client, &[]).key.unwrap();
    assert_eq!(key("192.0.2.1"), key("192.0.2.1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
    assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
}

#[test]
fn a_header_makes_a_session_unless_it_is_missing_or_empty() {
    let policy = policy("{ type: header, name: X-Session-Id }");
    let key = |fields: &[(&str, &str)]| of(&policy, "192.0.2.1", fields).key;
    assert!(key(&[("x-session-id", "a")]).is_some());
    assert_ne!(key(&[("x-session-id", "a")]), key(&[("x-session-id", "b")]));
    assert_eq!((key(&[]), key(&[("x-session-id", "")])), (None, None));
}

#[test]
fn an_mcp_session_that_no_endpoint_holds_is_a_session_by_its_id() {
    let policy = policy("{ type: mcp_session }");
    let head = head("POST", "/mcp", &[("mcp-session-id", "abc")]);
    let facts = facts(&head, located("DE"));
    let found = policy.session(&facts, Some(Affinity(9)), || 0);
    assert_eq!(found.pin, Some(Affinity(9)));
    assert!(found.key.is_some());
}

#[test]
fn a_cookie_is_set_kept_renewed_and_replaced() {
    let policy = policy("{ type: cookie, key: 0123456789abcdef, ttl: 100s, name: place }");
    let give = |session: &Session, endpoint: u64, now_s: u64| {
        let mut out = Vec::new();
        let given = policy.set_cookie(session, (Affinity(endpoint), now_s, Secure::Yes), &mut out);
        given.then(|| String::from_utf8(out).unwrap())
    };
    let first = of(&policy, "192.0.2.1", &[]);
    assert_eq!(first.cookie, CookieSeen::Absent);
    let set = give(&first, 5, 1_000).unwrap();
    assert!(set.starts_with("place=1.0000000000000005.044c."), "{set}");
    assert!(
        set.ends_with("; Path=/; Max-Age=100; HttpOnly; SameSite=Lax; Secure"),
        "{set}"
    );
    let pair = set.split(';').next().unwrap();
    let back = of(&policy, "192.0.2.1", &[("cookie", &format!("a=b; {pair}"))]);
    assert_eq!(back.pin, Some(Affinity(5)));
    assert_eq!(give(&back, 5, 1_000), None, "it holds for a while");
    assert!(give(&back, 5, 1_051).is_some(), "half of its time is over");
    assert!(give(&back, 6, 1_000).is_some(), "the session has moved");
    let plain = of(&policy, "192.0.2.1", &[]);
    let mut out = Vec::new();
    policy.set_cookie(&plain, (Affinity(5), 1_000, Secure::No), &mut out);
    assert!(!String::from_utf8(out).unwrap().contains("Secure"));
}

#[test]
fn a_forged_cookie_is_no_session_and_a_former_key_is_still_believed() {
    let old = policy("{ type: cookie, key: the-key-before-it }");
    let mut out = Vec::new();
    let absent = of(&old, "192.0.2.1", &[]);
    old.set_cookie(&absent, (Affinity(5), 1_000, Secure::No), &mut out);
    let text = String::from_utf8(out).unwrap();
    let pair = text.split(';').next().unwrap();
    let new = policy("{ type: cookie, key: 0123456789abcdef, previous_key: the-key-before-it }");
    assert_eq!(
        of(&new, "192.0.2.1", &[("cookie", pair)]).pin,
        Some(Affinity(5))
    );
    let other = of(&policy(COOKIE), "192.0.2.1", &[("cookie", pair)]);
    assert_eq!((other.cookie, other.pin), (CookieSeen::Forged, None));
}

#[test]
fn keys_without_effect_and_keys_that_can_be_guessed_are_refused() {
    for (text, word) in [
        ("{ type: cookie }", "there is no `key`"),
        ("{ type: cookie, key: short }", "short enough"),
        (
            "{ type: cookie, key: 0123456789abcdef, ttl: 0s }",
            "not a time to live",
        ),
        (
            "{ type: cookie, key: 0123456789abcdef, ttl: 31d }",
            "not a time to live",
        ),
        (
            "{ type: cookie, key: 0123456789abcdef, name: 'a b' }",
            "no name for a cookie",
        ),
        (
            "{ type: cookie, key: 0123456789abcdef, spread: 5 }",
            "no effect",
        ),
        ("{ type: client_ip, ttl: 5s }", "for cookies"),
        ("{ type: client_ip, key: 0123456789abcdef }", "for cookies"),
        ("{ type: client_ip, name: x }", "no effect"),
        ("{ type: mcp_session, name: x }", "no effect"),
        ("{ type: header }", "no `name`"),
        ("{ type: header, name: '' }", "no name for a header"),
        ("{ type: client_ip, spread: 101 }", "points"),
        ("{ type: moon }", "moon"),
        ("{ type: client_ip, colour: red }", "colour"),
    ] {
        let faults = compiled(text).unwrap_err().join("\n");
        assert!(faults.contains(word), "{text}: {faults}");
    }
}

#[test]
fn a_snapshot_tells_no_key() {
    let policy = policy("{ type: cookie, key: 0123456789abcdef, ttl: 60s }");
    let told = policy.to_json();
    assert_eq!(
        (&told["type"], &told["ttl_s"]),
        (&json!("cookie"), &json!(60))
    );
    assert!(!format!("{told}{policy:?}").contains("0123456789"));
}
