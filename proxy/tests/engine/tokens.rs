//! Tokens between real sockets: who is let in, what a token opens, and that
//! nothing but a verified one does.

use std::process::Command;
use std::sync::Arc;

use meridian::reload;
use meridian_policies::replay::{Recorded, Unchecked, replay};
use serde_json::{Value, json};

use crate::harness::client::Answer;
use crate::harness::pki::{self, Authority, Visit, replace};
use crate::harness::tokens::{Issuer, now_s, policy};
use crate::harness::upstream::field;
use crate::harness::{Setup, TestEdge, Upstream, h2client, h3client, until};
use crate::support;

const LAW: &str = include_str!("../../../conf/policies/residency.yaml");

const ROUTES: &str = r#"
  - { id: denied, path: "/deny*", action: { deny: {} } }
  - { id: health, path: /edge-health, action: health }
  - { id: open, path: /open, authentication: off }
  - { id: either, path: /either, authentication: optional }
  - { id: mcp, path: /mcp, mcp: on }
  - { id: socket, path: /ws, websocket: on }
  - { id: everything, path: "/x*" }
"#;

struct World {
    upstream: Upstream,
    issuer: Issuer,
    edge: TestEdge,
}

fn world(of_all: &str, of_provider: &str, more: &str) -> World {
    let (upstream, issuer) = (Upstream::echo(), Issuer::new("a"));
    let edge = Setup::to(&[upstream.address])
        .routes(ROUTES)
        .policy_file("jwks.json", &issuer.keys())
        .policies(&policy(of_all, of_provider))
        .policies(more)
        .start();
    World {
        upstream,
        issuer,
        edge,
    }
}

impl World {
    fn get(&self, path: &str, fields: &str) -> Answer {
        self.edge
            .plain()
            .ask(format!("GET {path} HTTP/1.1\r\nHost: edge\r\n{fields}\r\n"))
    }

    fn with(&self, path: &str, more: &Value) -> Answer {
        self.get(path, &bearer(&self.issuer.token(more)))
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

const INVALID: &str = "Bearer error=\"invalid_token\", error_description=";

#[test]
fn without_a_token_the_answer_is_401_and_names_no_error() {
    let world = world("", "", "");
    for fields in [
        "",
        "Authorization: Basic YTpi\r\n",
        "X-Authorization: Bearer a.b.c\r\n",
    ] {
        for path in ["/x", "/x?access_token=a.b.c", "/nowhere", "/deny"] {
            let answer = world.get(path, fields);
            assert_eq!(answer.status, 401, "{path} {fields}");
            assert_eq!(answer.field("www-authenticate"), Some("Bearer"));
            assert_eq!(
                answer.field("proxy-status"),
                Some("meridian; error=http_request_denied; details=\"unauthorized\"")
            );
            let problem: Value = serde_json::from_str(answer.text()).unwrap();
            assert_eq!(problem["reason"], "unauthorized");
            assert_eq!(problem["rule"], "missing");
        }
    }
    assert_eq!(world.upstream.bytes(), b"");
    assert_eq!(world.get("/open", "").status, 200);
    assert_eq!(world.get("/either", "").status, 200);
    assert_eq!(world.get("/edge-health", "").status, 200);
}

#[test]
fn a_good_token_passes_over_every_protocol_and_a_bad_one_over_none() {
    let world = world("", "", "");
    let good = world.issuer.token(&json!({}));
    let forged = Issuer::new("a").token(&json!({}));
    for (token, status) in [(&good, 200), (&forged, 401)] {
        let field = bearer(token);
        for answer in [
            world.get("/x", &field),
            world
                .edge
                .tls()
                .ask(format!("GET /x HTTP/1.1\r\nHost: edge\r\n{field}\r\n")),
        ] {
            assert_eq!(answer.status, status, "{}", answer.text());
        }
        let value: http::HeaderValue = format!("Bearer {token}").parse().unwrap();
        let challenge =
            (status == 401).then(|| format!("{INVALID}\"the token's signature is wrong\""));
        let told = |fields: &http::HeaderMap| {
            let field = fields.get("www-authenticate")?;
            Some(field.to_str().unwrap().to_owned())
        };
        h2client::with(&world.edge, async |mut client| {
            let mut request = h2client::request("GET", "/x");
            request.headers_mut().insert("authorization", value.clone());
            let answer = client.ask_with(request).await;
            assert_eq!(
                (answer.status, told(&answer.fields)),
                (status, challenge.clone())
            );
            assert_eq!(client.ask("GET", "/x").await.status, 401);
        });
        h3client::with(&world.edge, async |mut client| {
            let mut request = h3client::request("GET", "/x");
            request.headers_mut().insert("authorization", value.clone());
            let answer = client.ask_with(request).await;
            assert_eq!(
                (answer.status, told(&answer.fields)),
                (status, challenge.clone())
            );
            assert_eq!(client.ask("GET", "/x").await.status, 401);
        });
    }
    assert_eq!(world.upstream.count("GET /x"), 4);
    // One signature for all four; forged ones are computed each time.
    for (result, count) in [
        ("verified", 1),
        ("known", 3),
        ("signature", 4),
        ("missing", 4),
    ] {
        let series = format!("meridian_tokens_total{{result=\"{result}\"}}");
        assert_eq!(world.edge.metric(&series), count, "{result}");
    }
}

#[test]
fn a_token_that_does_not_count_is_401_even_where_none_is_needed() {
    let world = world("", "", "");
    let now = now_s();
    let other = Issuer::new("b").token(&json!({}));
    let none = world.issuer.sign(
        &json!({ "alg": "none" }),
        &json!({ "iss": "https://login.example", "aud": "edge", "exp": now + 300 }),
    );
    let unsigned = format!("{}.", none.rsplit_once('.').unwrap().0);
    let good = world.issuer.token(&json!({}));
    let token = |more: Value| bearer(&world.issuer.token(&more));
    for (fields, why) in [
        (token(json!({ "exp": now - 100 })), "expired"),
        (token(json!({ "exp": null })), "expired"),
        (token(json!({ "nbf": now + 100 })), "not_yet"),
        (token(json!({ "aud": "elsewhere" })), "audience"),
        (token(json!({ "iss": "https://evil.example" })), "issuer"),
        (token(json!({ "filler": "x".repeat(8_192) })), "too_long"),
        (bearer(&other), "key"),
        (bearer(&none), "algorithm"),
        (bearer(&unsigned), "algorithm"),
        (bearer("opaque"), "malformed"),
        (bearer(""), "malformed"),
        (bearer(&format!("{good},{good}")), "malformed"),
        (bearer(&format!("{good}x")), "malformed"),
        (format!("{}{}", bearer(&good), bearer(&good)), "twice"),
        (
            format!("Authorization: Basic YTpi\r\n{}", bearer(&good)),
            "twice",
        ),
        (format!("{}authorization: x\r\n", bearer(&good)), "twice"),
    ] {
        for path in ["/x", "/either"] {
            let answer = world.get(path, &fields);
            let problem: Value = serde_json::from_str(answer.text()).unwrap();
            assert_eq!((answer.status, problem["rule"].as_str()), (401, Some(why)));
            let challenge = answer.field("www-authenticate").unwrap();
            assert!(challenge.starts_with(INVALID), "{challenge}");
        }
        assert_eq!(world.get("/open", &fields).status, 200, "nobody looks");
    }
    assert_eq!(world.upstream.count("GET /x"), 0);
    assert_eq!(world.upstream.count("GET /either"), 0);
}

#[test]
fn an_mcp_client_gets_its_401_with_the_id_it_waits_for() {
    let metadata = "https://edge.example/.well-known/oauth-protected-resource/mcp";
    let world = world(&format!("resource_metadata: {metadata}"), "", "");
    let body = r#"{"jsonrpc":"2.0","id":"call-7","method":"tools/list","params":{}}"#;
    let answer = world.edge.plain().ask(format!(
        "POST /mcp HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let error: Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!((answer.status, error["id"].as_str()), (401, Some("call-7")));
    assert_eq!(error["error"]["data"]["reason"], "unauthorized");
    let challenge = format!("Bearer resource_metadata=\"{metadata}\"");
    assert_eq!(answer.field("www-authenticate"), Some(challenge.as_str()));
    assert_eq!(world.upstream.bytes(), b"");
}

#[test]
fn a_websocket_needs_its_token_too() {
    let world = world("", "", "");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(world.get("/ws", upgrade).status, 401);
    assert_eq!(world.upstream.bytes(), b"");
    let token = bearer(&world.issuer.token(&json!({})));
    // The backend, which only echoes, takes no upgrade; but it was asked.
    let answer = world.get("/ws", &format!("{upgrade}{token}"));
    assert!(
        answer
            .text()
            .to_ascii_lowercase()
            .contains("upgrade: websocket")
    );
}

#[test]
fn backends_get_the_token_unless_it_is_for_nobody_else() {
    for (of_all, forwarded) in [("", true), ("forward: on", true), ("forward: off", false)] {
        let world = world(of_all, "", "");
        let answer = world.with("/x", &json!({}));
        assert_eq!(field(answer.text(), "authorization").is_some(), forwarded);
        // What was not read here is not ours to keep.
        let answer = world.get("/either", "Authorization: Basic YTpi\r\n");
        assert_eq!(field(answer.text(), "authorization"), Some("Basic YTpi"));
        let answer = world.with("/open", &json!({}));
        assert!(field(answer.text(), "authorization").is_some());
    }
}

#[test]
fn a_token_ends_when_it_ends_although_it_is_known() {
    let world = world("", "leeway: 0s", "");
    let token = bearer(&world.issuer.token(&json!({ "exp": now_s() + 3 })));
    assert_eq!(world.get("/x", &token).status, 200);
    assert_eq!(world.edge.edge.generation().tokens.len(), 1);
    let ended = until("the token has ended", || {
        let answer = world.get("/x", &token);
        (answer.status == 401).then_some(answer)
    });
    let problem: Value = serde_json::from_str(ended.text()).unwrap();
    assert_eq!(problem["rule"], "expired");
}

#[test]
fn new_keys_end_what_old_keys_have_signed_and_a_broken_file_changes_nothing() {
    let world = world("", "", "");
    let path = world.edge.folder().join("policies/jwks.json");
    let old = bearer(&world.issuer.token(&json!({})));
    assert_eq!(world.get("/x", &old).status, 200);
    for broken in ["", "{}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}"] {
        replace(&path, broken);
        let outcome = reload::reload(&world.edge.edge);
        assert!(
            matches!(outcome, reload::Outcome::Rejected(_)),
            "{outcome:?}"
        );
        assert_eq!(
            world.get("/x", &old).status,
            200,
            "the last good ones count"
        );
    }
    let next = Issuer::new("a");
    replace(&path, next.keys());
    let outcome = reload::reload(&world.edge.edge);
    assert!(
        matches!(outcome, reload::Outcome::Live { .. }),
        "{outcome:?}"
    );
    assert!(world.edge.edge.generation().tokens.is_empty());
    assert_eq!(
        world.get("/x", &old).status,
        401,
        "it was known a moment ago"
    );
    let new = bearer(&next.token(&json!({})));
    assert_eq!(world.get("/x", &new).status, 200);
}

#[test]
fn signatures_are_computed_only_for_whom_the_limits_admit() {
    let limits = "rate_limiting: { ban: { requests: 3, interval: 60s, duration: 60s } }\n";
    let world = world("", "", limits);
    let statuses: Vec<u16> = (0..6)
        .map(|_| {
            let forged = bearer(&Issuer::new("a").token(&json!({})));
            world.get("/x", &forged).status
        })
        .collect();
    assert_eq!(statuses, [401, 401, 401, 429, 429, 429]);
    // A good token is counted once, not twice.
    let world = self::world("", "", limits);
    let token = bearer(&world.issuer.token(&json!({})));
    let statuses: Vec<u16> = (0..4).map(|_| world.get("/x", &token).status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[test]
fn access_rules_tell_tokens_apart() {
    let rules = "
access:
  default: deny
  requests:
    - allow: { id: staff, token: { groups: [staff] } }
    - allow: { id: one, token: { subjects: [u-1] }, paths: [/x/mine] }
    - allow: { id: anybody, paths: [/either] }
";
    let world = world("", "claims: { groups: groups }", rules);
    assert_eq!(world.with("/x", &json!({})).status, 403);
    assert_eq!(
        world.with("/x", &json!({ "groups": ["guests"] })).status,
        403
    );
    assert_eq!(
        world
            .with("/x", &json!({ "groups": ["guests", "staff"] }))
            .status,
        200
    );
    assert_eq!(world.with("/x/mine", &json!({})).status, 200);
    assert_eq!(world.with("/x/mine", &json!({ "sub": "u-2" })).status, 403);
    assert_eq!(world.get("/either", "").status, 200);
}

/// Germany, the United States and Japan, served from one region each.
fn lawful(audit: &str) -> (Upstream, Issuer, TestEdge) {
    let (us, issuer) = (Upstream::echo(), Issuer::new("a"));
    let places = "
geo:
  overrides:
    - { cidr: 192.0.2.0/24, country: DE }
    - { cidr: 198.51.100.0/24, country: US }
    - { cidr: 203.0.113.0/24, country: JP }
";
    let claims =
        "claims: { consent: consent, safeguards: safeguards, class: data_class, purpose: purpose }";
    let setup = Setup::regions(&[("us-central1", "location: { country: US },", us.address)]);
    let edge = match audit {
        "" => setup,
        path => setup.audit(&format!("path: {path}")),
    }
    .policies(LAW)
    .policies(places)
    .policy_file("jwks.json", &issuer.keys())
    .policies(&policy("default: optional", claims))
    .trusting("127.0.0.0/8")
    .start();
    (us, issuer, edge)
}

const JAPANESE: &str = "203.0.113.7";
const GERMAN: &str = "192.0.2.7";

fn claiming(client: &str, class: &str, fields: &str) -> String {
    format!(
        "GET /data HTTP/1.1\r\nHost: edge\r\nX-Forwarded-For: {client}\r\n\
         X-Data-Class: {class}\r\n{fields}\r\n"
    )
}

#[test]
fn consent_of_a_token_opens_what_waits_for_it_and_nothing_else() {
    let (us, issuer, edge) = lawful("");
    let ask = |client: &str, class: &str, fields: &str| {
        edge.plain().ask(claiming(client, class, fields)).status
    };
    let token = |more: Value| bearer(&issuer.token(&more));
    let consent = token(json!({ "consent": true }));
    let forged = bearer(&Issuer::new("a").token(&json!({ "consent": true })));
    let personal = "tier_2_personal";
    assert_eq!(ask(JAPANESE, personal, ""), 451);
    assert_eq!(
        ask(JAPANESE, personal, "X-Consent: granted\r\n"),
        451,
        "hops are not asked"
    );
    assert_eq!(ask(JAPANESE, personal, &token(json!({}))), 451);
    assert_eq!(
        ask(JAPANESE, personal, &token(json!({ "consent": "no" }))),
        451
    );
    assert_eq!(ask(JAPANESE, personal, &forged), 401);
    assert_eq!(ask(JAPANESE, "tier_1_pii", &consent), 451);
    assert_eq!(
        ask(GERMAN, personal, &consent),
        451,
        "adequacy is not consent"
    );
    let milder = token(json!({ "data_class": "tier_4_public" }));
    assert_eq!(ask(GERMAN, personal, &milder), 451, "never laxer");
    let unreadable = token(json!({ "data_class": "none" }));
    assert_eq!(
        ask(GERMAN, "tier_4_public", &unreadable),
        451,
        "the strictest"
    );
    assert_eq!(us.bytes(), b"");
    assert_eq!(ask(GERMAN, "tier_4_public", &token(json!({}))), 200);
    assert_eq!(ask(JAPANESE, personal, &consent), 200);
    assert_eq!(us.count("GET /data"), 2);
}

#[test]
fn the_audit_log_says_whose_token_vouched_and_not_for_whom() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("audit");
    let (_us, issuer, edge) = lawful(folder.to_str().unwrap());
    let consent = bearer(&issuer.token(&json!({ "consent": true, "sub": "ada@example.com" })));
    let answer = edge
        .plain()
        .ask(claiming(JAPANESE, "tier_2_personal", &consent));
    assert_eq!(answer.status, 200);
    let text = until("it is written", || {
        let files = meridian::telemetry::audit::files(&folder).ok()?;
        let text: String = files
            .iter()
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .collect();
        text.contains("\"kind\":\"transfer\"").then_some(text)
    });
    let line = text
        .lines()
        .find(|line| line.contains("\"kind\":\"transfer\""))
        .unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    let record = &line["record"];
    assert_eq!(record["basis"], "consent");
    assert_eq!(record["claims"], json!(["consent:token"]));
    assert_eq!(record["token_issuer"], "https://login.example");
    assert_eq!(record["subject"].as_str().map(str::len), Some(32));
    assert!(!text.contains("ada@"), "{text}");
}

#[test]
fn testers_choose_a_version_by_token_and_nobody_else_does() {
    let named = |name: &str| {
        let length = name.len();
        Upstream::always(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}"
        ))
    };
    let (old, new, issuer) = (named("old"), named("new"), Issuer::new("a"));
    let regions = format!(
        "  - id: local\n    endpoints: [{{ url: \"http://{}\", version: v1 }}, {{ url: \"http://{}\", version: v2 }}]\n",
        old.address, new.address
    );
    let edge = Setup::written(&regions)
        .policy_file("jwks.json", &issuer.keys())
        .policies(&policy("default: optional", "claims: { groups: groups }"))
        .policies(
            "traffic_policy:\n  version_routing: [{ version: v1, weight: 1 }, { version: v2, weight: 0 }]\n\
             \x20 version_header: x-version\n  version_testers: { token: { groups: [testers] } }\n",
        )
        .start();
    let ask = |fields: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: edge\r\nX-Version: v2\r\n{fields}\r\n");
        edge.plain().ask(request).text().to_owned()
    };
    let token = |more: Value| bearer(&issuer.token(&more));
    assert_eq!(ask(""), "old");
    assert_eq!(ask(&token(json!({ "groups": ["staff"] }))), "old");
    assert_eq!(ask(&token(json!({ "groups": ["testers"] }))), "new");
}

#[test]
fn testers_choose_a_version_by_client_certificate() {
    let authority = Authority::new("authority");
    let folder = tempfile::tempdir().unwrap();
    authority.host(&["a.example"]).write(folder.path(), "a");
    replace(&folder.path().join("ca.pem"), &authority.pem);
    let (old, new) = (
        Upstream::always("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold"),
        Upstream::always("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"),
    );
    let regions = format!(
        "  - id: local\n    endpoints: [{{ url: \"http://{}\", version: v1 }}, {{ url: \"http://{}\", version: v2 }}]\n",
        old.address, new.address
    );
    let edge = Setup::written(&regions)
        .policies(
            "traffic_policy:\n  version_routing: [{ version: v1, weight: 1 }, { version: v2, weight: 0 }]\n\
             \x20 version_header: x-version\n  version_testers: { client_certificate: [\"spiffe://example/testers/*\"] }\n",
        )
        .tls(
            "certificates: [{ cert: a.pem, key: a.key }]\nclient_auth: { mode: optional, ca: ca.pem }",
            folder,
        )
        .start();
    let tester = authority.client("spiffe://example/testers/ada");
    let other = authority.client("spiffe://example/staff/bob");
    for (own, expected) in [(None, "old"), (Some(&other), "old"), (Some(&tester), "new")] {
        let config = Arc::new(pki::client(&authority, own));
        let mut visit = Visit::to(edge.tls, Some("a.example"), &config).unwrap();
        let request = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Version: v2\r\n\r\n";
        let answer = visit.ask(request).unwrap();
        assert!(answer.ends_with(expected), "{answer}");
    }
}

#[test]
fn receipts_say_who_vouched_and_never_for_whom() {
    let world = world("", "", "");
    let good = world.with("/x", &json!({ "sub": "ada@example.com" }));
    let bad = world.with("/x", &json!({ "aud": "elsewhere" }));
    let none = world.get("/x", "");
    for (answer, expected) in [
        (&good, json!({ "provider": "corp" })),
        (&bad, json!({ "refused": "audience" })),
        (&none, json!("missing")),
    ] {
        let id = answer.field("x-request-id").unwrap();
        let telemetry = &world.edge.edge.telemetry;
        let receipt = until("the receipt is there", || telemetry.decision(id));
        assert_eq!(receipt["token"], expected);
        assert!(!receipt.to_string().contains("ada@"), "{receipt}");
    }
}

#[test]
fn decisions_about_tokens_come_out_again_from_their_records() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("decisions.jsonl");
    let (us, issuer) = (Upstream::echo(), Issuer::new("a"));
    let edge = Setup::regions(&[("us-central1", "location: { country: US },", us.address)])
        .policies(LAW)
        .policies("geo: { overrides: [{ cidr: 203.0.113.0/24, country: JP }] }\n")
        .policy_file("jwks.json", &issuer.keys())
        .policies(&policy(
            "",
            "claims: { consent: consent, class: data_class }",
        ))
        .trusting("127.0.0.0/8")
        .recording(&format!("file: {}", file.display()))
        .start();
    let ask = |fields: &str| {
        let request = claiming(JAPANESE, "tier_2_personal", fields);
        edge.plain().ask(request).status
    };
    let token = |more: Value| bearer(&issuer.token(&more));
    assert_eq!(ask(""), 401);
    assert_eq!(ask(&token(json!({ "aud": "x" }))), 401);
    assert_eq!(ask(&token(json!({ "sub": "ada@example.com" }))), 451);
    assert_eq!(ask(&token(json!({ "consent": true }))), 200);
    let lines = until("four are recorded", || {
        let text = std::fs::read_to_string(&file).ok()?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() == 4).then_some(lines)
    });
    let generation = edge.edge.generation();
    let again: Vec<_> = lines
        .iter()
        .map(|line| {
            assert!(!line.contains("ada@") && !line.contains("eyJ"), "{line}");
            replay(&generation.snapshot, &Recorded::parse(line).unwrap())
        })
        .collect();
    assert_eq!(
        again,
        [
            Ok(None),
            Err(Unchecked::RefusedElsewhere),
            Ok(None),
            Ok(None)
        ]
    );
}

#[test]
fn tokens_of_pyjwt_count_by_every_algorithm_and_bad_ones_by_none() {
    let python = support::repository().join(".test/python/bin/python");
    let script = support::repository().join("tests-clients/tokens_python.py");
    let made = Command::new(python).arg(script).output();
    let made = match made {
        Ok(made) if made.status.success() => made.stdout,
        Ok(_) | Err(_) => {
            let test = "tokens_of_pyjwt_count_by_every_algorithm_and_bad_ones_by_none";
            return support::skipped(test, "no PyJWT (pip install pyjwt[crypto])");
        }
    };
    let made: Value = serde_json::from_slice(&made).unwrap();
    let algorithms = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA";
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .policy_file("jwks.json", &made["keys"].to_string())
        .policies(&policy("", "").replace("EdDSA", algorithms))
        .start();
    let tokens = |of: &str| -> Vec<(String, String)> {
        let map = made[of].as_object().unwrap();
        let token = |value: &Value| value.as_str().unwrap().to_owned();
        map.iter()
            .map(|(why, value)| (why.clone(), token(value)))
            .collect()
    };
    let (good, bad) = (tokens("good"), tokens("bad"));
    assert_eq!((good.len(), bad.len()), (9, 8));
    let value = |token: &str| http::HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    for (status, tokens) in [(200, &good), (401, &bad)] {
        for (why, token) in tokens {
            let request = format!("GET /x HTTP/1.1\r\nHost: edge\r\n{}\r\n", bearer(token));
            let answer = edge.plain().ask(request);
            assert_eq!(answer.status, status, "{why}: {}", answer.text());
            if status == 401 && why != "unsigned" {
                assert!(
                    answer.text().contains(&format!("\"rule\":\"{why}\"")),
                    "{}",
                    answer.text()
                );
            }
        }
        h2client::with(&edge, async |mut client| {
            for (why, token) in tokens {
                let mut request = h2client::request("GET", "/x");
                request.headers_mut().insert("authorization", value(token));
                assert_eq!(client.ask_with(request).await.status, status, "{why}");
            }
        });
        h3client::with(&edge, async |mut client| {
            for (why, token) in tokens {
                let mut request = h3client::request("GET", "/x");
                request.headers_mut().insert("authorization", value(token));
                assert_eq!(client.ask_with(request).await.status, status, "{why}");
            }
        });
    }
}

#[test]
fn metadata_of_the_resource_is_answered_without_a_token() {
    const METADATA: &str = r#"
  - id: metadata
    path: /.well-known/oauth-protected-resource*
    authentication: off
    action:
      respond: { status: 200, content_type: application/json, body: '{"resource":"https://edge"}' }
  - { id: everything, path: "/*" }
"#;
    let (upstream, issuer) = (Upstream::echo(), Issuer::new("a"));
    let edge = Setup::to(&[upstream.address])
        .routes(METADATA)
        .policy_file("jwks.json", &issuer.keys())
        .policies(&policy("", ""))
        .start();
    for path in ["", "/mcp"] {
        let path = format!("/.well-known/oauth-protected-resource{path}");
        let answer = edge.plain().get(&path);
        assert_eq!(
            (answer.status, answer.text()),
            (200, r#"{"resource":"https://edge"}"#)
        );
        assert_eq!(answer.field("content-type"), Some("application/json"));
    }
    assert_eq!(edge.plain().get("/").status, 401);
}
