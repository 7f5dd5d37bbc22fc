use proptest::prelude::*;
use serde_json::{Value, json};

use super::keys::{self, Algorithm};
use super::testkit::{Signer, b64, set};
use super::*;
use crate::testing::{brief, facts, faults, head, snapshot, source, try_compile, with_base};
use crate::{EdgePlace, References, Snapshot, access, residency};

const NOW: u64 = 1_700_000_000;

fn indented(jwks: &str) -> String {
    // A YAML single-quoted text.
    format!("'{}'", jwks.replace('\'', "''"))
}

fn policy(jwks: &str, algorithms: &str, more: &str) -> String {
    format!(
        "
authentication:
  providers:
    - id: corp
      issuer: https://login.example
      audiences: [edge, https://edge.example/mcp]
      keys: {}
      algorithms: [{algorithms}]
      claims:
        groups: [realm_access, roles]
        class: data_class
        consent: https://example.com/consent
        safeguards: safeguards
        purpose: purpose
{more}",
        indented(jwks)
    )
}

fn claims() -> Value {
    json!({ "iss": "https://login.example", "aud": "edge", "sub": "u-1", "exp": NOW + 300 })
}

fn with(more: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// An issuer with one Ed25519 key, `a`.
struct Corp {
    signer: Signer,
    snapshot: Snapshot,
}

impl Corp {
    fn new() -> Self {
        Self::listing("EdDSA")
    }

    fn listing(algorithms: &str) -> Self {
        let signer = Signer::ed25519();
        let snapshot = snapshot(&policy(&set(&[signer.jwk("a")]), algorithms, ""));
        Self { signer, snapshot }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "kid": "a", "typ": "JWT" });
        self.signer.token(&header, claims)
    }

    fn verify(&self, token: &str) -> Result<Identity, TokenFault> {
        self.snapshot.authentication().verify(token.as_bytes(), NOW)
    }

    fn judge(&self, more: &Value) -> Result<Identity, TokenFault> {
        self.verify(&self.sign(&with(more)))
    }
}

/// RFC 7515, appendices A.2 and A.3; RFC 8037, appendix A.4.
#[test]
fn the_published_vectors_verify_and_one_changed_bit_does_not() {
    let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let rsa = Signer::rsa().jwk("r");
    let ec = json!({ "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" });
    let ed = json!({ "kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    for (jwk, algorithm, message, sign) in [
        (
            rsa,
            Algorithm::Rs256,
            format!("eyJhbGciOiJSUzI1NiJ9.{payload}"),
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            ec,
            Algorithm::Es256,
            format!("eyJhbGciOiJFUzI1NiJ9.{payload}"),
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            ed,
            Algorithm::EdDsa,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ] {
        let key = &keys::read(&set(&[jwk])).unwrap()[0];
        let sign = data_encoding::BASE64URL_NOPAD
            .decode(sign.as_bytes())
            .unwrap();
        assert!(key.verifies(algorithm, (message.as_bytes(), &sign)));
        for at in [0, sign.len() / 2, sign.len() - 1] {
            let mut wrong = sign.clone();
            wrong[at] ^= 1;
            assert!(!key.verifies(algorithm, (message.as_bytes(), &wrong)));
        }
        assert!(!key.verifies(algorithm, (&message.as_bytes()[1..], &sign)));
        assert!(!key.verifies(algorithm, (message.as_bytes(), b"")));
    }
}

#[test]
fn every_algorithm_verifies_with_a_key_of_its_kind_and_with_no_other() {
    let signers = [
        (
            Signer::rsa(),
            &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..],
        ),
        (Signer::p256(), &["ES256"][..]),
        (Signer::p384(), &["ES384"][..]),
        (Signer::ed25519(), &["EdDSA"][..]),
    ];
    let names = ["rsa", "p256", "p384", "ed"];
    let all: Vec<Value> = signers
        .iter()
        .zip(names)
        .map(|((signer, _), kid)| signer.jwk(kid))
        .collect();
    let listed = Algorithm::ALL.map(Algorithm::as_str).join(", ");
    let snapshot = snapshot(&policy(&set(&all), &listed, ""));
    let verify = |token: &str| snapshot.authentication().verify(token.as_bytes(), NOW);
    for ((signer, algorithms), own) in signers.iter().zip(names) {
        for alg in *algorithms {
            for kid in names {
                let token = signer.token(&json!({ "alg": alg, "kid": kid }), &claims());
                let expected = if kid == own {
                    Ok(())
                } else {
                    Err(TokenFault::Key)
                };
                assert_eq!(verify(&token).map(|_| ()), expected, "{alg} with {kid}");
            }
        }
    }
    // One RSA algorithm's signature is not another one's.
    let rsa = &signers[0].0;
    let token = rsa.token(&json!({ "alg": "RS256", "kid": "rsa" }), &claims());
    let (_, rest) = token.split_once('.').unwrap();
    let passed_off = format!("{}.{rest}", b64(r#"{"alg":"PS256","kid":"rsa"}"#));
    assert_eq!(verify(&passed_off), Err(TokenFault::Signature));
}

#[test]
fn nobody_signs_with_nothing_or_with_what_is_public() {
    let corp = Corp::listing("EdDSA");
    let claims = claims().to_string();
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None","kid":"a"}"#,
        r#"{"alg":"HS256","kid":"a"}"#,
        r#"{"alg":"","kid":"a"}"#,
        r#"{"alg":null,"kid":"a"}"#,
        r#"{"alg":["EdDSA"],"kid":"a"}"#,
        r#"{"alg":"eddsa","kid":"a"}"#,
        r#"{"alg":"RS256","kid":"a"}"#,
        r#"{"kid":"a"}"#,
    ] {
        let signed = format!("{}.{}", b64(header), b64(&claims));
        // HMAC-SHA-256 under the public key's bytes, the old trick.
        let public = corp.signer.jwk("a")["x"].as_str().unwrap().to_owned();
        let mac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public.as_bytes());
        let mac = ring::hmac::sign(&mac, signed.as_bytes());
        for signature in [String::new(), b64(mac.as_ref())] {
            let token = format!("{signed}.{signature}");
            assert_eq!(corp.verify(&token), Err(TokenFault::Algorithm), "{header}");
        }
    }
    assert!(corp.judge(&json!({})).is_ok());
}

#[test]
fn what_a_token_says_of_its_own_key_is_not_heard() {
    let corp = Corp::new();
    let other = Signer::ed25519();
    let header = json!({ "alg": "EdDSA", "kid": "a", "jwk": other.jwk("a"),
        "jku": "https://evil.example/jwks.json", "x5u": "https://evil.example/" });
    let forged = other.token(&header, &claims());
    assert_eq!(corp.verify(&forged), Err(TokenFault::Signature));
    let unknown = corp
        .signer
        .token(&json!({ "alg": "EdDSA", "kid": "b" }), &claims());
    assert_eq!(corp.verify(&unknown), Err(TokenFault::Key));
    let critical = json!({ "alg": "EdDSA", "kid": "a", "crit": ["b64"], "b64": false });
    let critical = corp.signer.token(&critical, &claims());
    assert_eq!(corp.verify(&critical), Err(TokenFault::Malformed));
}

#[test]
fn without_a_kid_the_one_key_that_fits_is_meant_and_of_two_none() {
    let (one, two) = (Signer::p256(), Signer::p256());
    let unnamed = one.token(&json!({ "alg": "ES256" }), &claims());
    let alone = snapshot(&policy(&set(&[one.jwk("a")]), "ES256", ""));
    let verify = |snapshot: &Snapshot| {
        snapshot
            .authentication()
            .verify(unnamed.as_bytes(), NOW)
            .map(|_| ())
    };
    assert_eq!(verify(&alone), Ok(()));
    let both = snapshot(&policy(&set(&[one.jwk("a"), two.jwk("b")]), "ES256", ""));
    assert_eq!(verify(&both), Err(TokenFault::Key));
    // A key that is for something else is no second one.
    let mut other = two.jwk("b");
    other["use"] = json!("enc");
    let one_of_use = snapshot(&policy(&set(&[one.jwk("a"), other]), "ES256", ""));
    assert_eq!(verify(&one_of_use), Ok(()));
}

#[test]
fn issuer_and_audience_have_to_be_the_listed_ones() {
    let corp = Corp::new();
    for (more, expected) in [
        (json!({}), None),
        (json!({ "aud": "https://edge.example/mcp" }), None),
        (json!({ "aud": ["other", "edge"] }), None),
        (json!({ "aud": ["other"] }), Some(TokenFault::Audience)),
        (json!({ "aud": "Edge" }), Some(TokenFault::Audience)),
        (json!({ "aud": null }), Some(TokenFault::Audience)),
        (json!({ "aud": [] }), Some(TokenFault::Audience)),
        (json!({ "aud": [["edge"]] }), Some(TokenFault::Audience)),
        (json!({ "aud": 7 }), Some(TokenFault::Audience)),
        (
            json!({ "iss": "https://login.example/" }),
            Some(TokenFault::Issuer),
        ),
        (json!({ "iss": null }), Some(TokenFault::Issuer)),
        (
            json!({ "iss": ["https://login.example"] }),
            Some(TokenFault::Issuer),
        ),
        (json!({ "sub": 7 }), Some(TokenFault::Malformed)),
        (json!({ "sub": null }), None),
    ] {
        assert_eq!(corp.judge(&more).err(), expected, "{more}");
    }
}

#[test]
fn a_token_counts_from_its_beginning_to_its_end_with_a_minute_of_leeway() {
    let corp = Corp::new();
    for (more, expected) in [
        (json!({ "exp": NOW - 59 }), None),
        (json!({ "exp": NOW - 60 }), Some(TokenFault::Expired)),
        (json!({ "exp": 1_700_000_000.5 }), None),
        (json!({ "exp": null }), Some(TokenFault::Expired)),
        (
            json!({ "exp": (NOW + 9).to_string() }),
            Some(TokenFault::Malformed),
        ),
        (json!({ "exp": -1 }), Some(TokenFault::Malformed)),
        (json!({ "exp": 1e300 }), None),
        (json!({ "exp": u64::MAX }), None),
        (json!({ "nbf": NOW + 60 }), None),
        (json!({ "nbf": NOW + 61 }), Some(TokenFault::NotYet)),
        (json!({ "nbf": "soon" }), Some(TokenFault::Malformed)),
        (json!({ "nbf": u64::MAX }), Some(TokenFault::NotYet)),
    ] {
        assert_eq!(corp.judge(&more).err(), expected, "{more}");
    }
}

#[test]
fn what_is_no_token_is_malformed_and_nothing_panics() {
    let corp = Corp::new();
    let good = corp.sign(&claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let twice =
        r#"{"iss":"https://login.example","aud":"edge","exp":1700000300,"sub":"a","sub":"b"}"#;
    let header_text = r#"{"alg":"EdDSA","kid":"a"}"#;
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        "a.b.c".to_owned(),
        format!("{header}.{payload}"),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}!"),
        format!("{payload}.{header}"),
        format!(".{payload}.{signature}"),
        format!("{}.{payload}.{signature}", b64("[]")),
        corp.signer.texts(header_text, "not JSON"),
        corp.signer.texts(header_text, "\"text\""),
        corp.signer.texts(header_text, &format!("{}1", claims())),
        corp.signer.texts(header_text, twice),
        corp.signer.texts(
            r#"{"alg":"EdDSA","alg":"EdDSA","kid":"a"}"#,
            &claims().to_string(),
        ),
        corp.signer
            .texts(r#"{"alg":"EdDSA","kid":7}"#, &claims().to_string()),
    ] {
        assert_eq!(corp.verify(&token), Err(TokenFault::Malformed), "{token}");
    }
    // The bits of a last letter that mean nothing are zero, so that a token
    // can be written in one way alone.
    let last = good.pop_last();
    assert_eq!(corp.verify(&last), Err(TokenFault::Malformed));
    let long = corp.sign(&with(&json!({ "filler": "x".repeat(TOKEN_MAX) })));
    assert_eq!(corp.verify(&long), Err(TokenFault::TooLong));
}

trait PopLast {
    /// The same text with another last letter that stands for the same bytes.
    fn pop_last(&self) -> String;
}

impl PopLast for String {
    fn pop_last(&self) -> String {
        const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let (rest, last) = self.split_at(self.len() - 1);
        let at = LETTERS.find(last).unwrap();
        format!("{rest}{}", &LETTERS[at + 1..at + 2])
    }
}

#[test]
fn every_byte_of_a_token_matters() {
    let corp = Corp::new();
    let good = corp.sign(&claims());
    assert!(corp.verify(&good).is_ok());
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(corp.verify(&changed).is_err(), "{at}");
    }
}

#[test]
fn claims_say_what_the_policies_name_and_nothing_else() {
    let corp = Corp::new();
    let identity = corp
        .judge(&json!({
            "realm_access": { "roles": ["staff", "testers"] },
            "data_class": "tier_2_personal",
            "https://example.com/consent": true,
            "safeguards": "in-place",
            "purpose": "support",
            "consent": true, "groups": ["admins"],
        }))
        .unwrap();
    assert_eq!(identity.subject.as_deref(), Some("u-1"));
    assert_eq!(identity.groups, ["staff", "testers"]);
    assert_eq!(identity.class, Some(DataClass::Tier2Personal));
    assert!(identity.consent && identity.safeguards);
    assert_eq!(identity.purpose.as_deref(), Some("support"));
    assert!(!format!("{identity:?}").contains("u-1"));
    for consent in [
        json!("yes"),
        json!(1),
        json!(false),
        json!("GRANTED"),
        json!([true]),
    ] {
        let said = corp.judge(&json!({ "https://example.com/consent": consent }));
        assert!(!said.unwrap().consent);
    }
    // What can't be read is the strictest, or no token at all.
    let class = corp.judge(&json!({ "data_class": 4 })).unwrap().class;
    assert_eq!(class, Some(DataClass::Tier1Pii));
    let said = corp.judge(&json!({ "realm_access": { "roles": "a b" } }));
    assert_eq!(said.unwrap().groups, ["a", "b"]);
    for roles in [json!(7), json!(["a", 7]), json!({ "a": true })] {
        let said = corp.judge(&json!({ "realm_access": { "roles": roles } }));
        assert_eq!(said, Err(TokenFault::Malformed));
    }
    for purpose in [
        json!("two words"),
        json!("x".repeat(65)),
        json!(7),
        json!(""),
    ] {
        assert_eq!(
            corp.judge(&json!({ "purpose": purpose })).unwrap().purpose,
            None
        );
    }
}

#[test]
fn bearer_tokens_are_found_in_one_authorization_field() {
    let look = |fields: &[(&str, &str)]| {
        let head = head("GET /?access_token=a.b.c", fields);
        match bearer(&head) {
            Bearer::Missing => Ok(None),
            Bearer::Token(token) => Ok(Some(String::from_utf8(token.to_vec()).unwrap())),
            Bearer::Faulty(fault) => Err(fault),
        }
    };
    let one = |value: &str| look(&[("authorization", value)]);
    assert_eq!(look(&[]), Ok(None));
    assert_eq!(one("Basic YTpi"), Ok(None));
    assert_eq!(one("Bearerx a"), Ok(None));
    for value in [
        "Bearer a.b.c",
        "bearer a.b.c",
        "BEARER   a.b.c  ",
        "Bearer\ta.b.c",
    ] {
        assert_eq!(one(value), Ok(Some("a.b.c".to_owned())), "{value}");
    }
    for value in [
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer a,b",
        "Bearer a=b",
        "Bearer,a",
        "Bearer \"a\"",
    ] {
        assert_eq!(one(value), Err(TokenFault::Malformed), "{value}");
    }
    assert_eq!(
        one(&format!("Bearer {}", "a".repeat(TOKEN_MAX + 1))),
        Err(TokenFault::TooLong)
    );
    let twice = [
        ("authorization", "Bearer a.b.c"),
        ("Authorization", "Basic YTpi"),
    ];
    assert_eq!(look(&twice), Err(TokenFault::Twice));
}

#[test]
fn a_kept_token_ends_when_it_ends_and_begins_when_it_begins() {
    let corp = Corp::new();
    let authentication = corp.snapshot.authentication();
    let cache = TokenCache::new();
    let token = corp.sign(&with(&json!({ "nbf": NOW - 10 })));
    assert_eq!(cache.known(token.as_bytes(), NOW), Ok(None));
    let first = cache.verify(authentication, token.as_bytes(), NOW).unwrap();
    let again = cache.known(token.as_bytes(), NOW + 359).unwrap().unwrap();
    assert!(
        std::sync::Arc::ptr_eq(&first, &again),
        "no second signature"
    );
    for (at, expected) in [
        (NOW + 360, TokenFault::Expired),
        (NOW - 71, TokenFault::NotYet),
    ] {
        assert_eq!(cache.known(token.as_bytes(), at).err(), Some(expected));
        let anew = authentication.verify(token.as_bytes(), at);
        assert_eq!(anew.err(), Some(expected), "as if it were verified again");
    }
    // What was refused is not kept.
    let forged = corp.sign(&with(&json!({ "aud": "other" })));
    assert!(
        cache
            .verify(authentication, forged.as_bytes(), NOW)
            .is_err()
    );
    assert_eq!(cache.len(), 1);
}

#[test]
fn the_cache_is_bounded_and_goes_on_working_when_it_is_full() {
    let corp = Corp::new();
    let authentication = corp.snapshot.authentication();
    let cache = TokenCache::keeping(64);
    let mut last = String::new();
    for number in 0..400 {
        last = corp.sign(&with(&json!({ "sub": number.to_string() })));
        cache.verify(authentication, last.as_bytes(), NOW).unwrap();
    }
    assert!((32..=64).contains(&cache.len()), "{}", cache.len());
    assert!(cache.known(last.as_bytes(), NOW).unwrap().is_some());
}

#[test]
fn a_challenge_names_the_fault_and_the_metadata() {
    let more = "  resource_metadata: https://edge.example/.well-known/oauth-protected-resource\n";
    let signer = Signer::ed25519();
    let text = policy(&set(&[signer.jwk("a")]), "EdDSA", more);
    let snapshot = snapshot(&text);
    let authentication = snapshot.authentication();
    assert_eq!(
        authentication.challenge(None),
        "Bearer resource_metadata=\"https://edge.example/.well-known/oauth-protected-resource\""
    );
    assert_eq!(
        authentication.challenge(Some(TokenFault::Expired)),
        "Bearer error=\"invalid_token\", error_description=\"the token has expired\", \
         resource_metadata=\"https://edge.example/.well-known/oauth-protected-resource\""
    );
    assert_eq!(Authentication::default().challenge(None), "Bearer");
}

#[test]
fn a_route_says_for_itself_whether_it_needs_a_token() {
    let signer = Signer::ed25519();
    let routes = "
routes:
  - { id: open, path: /open, authentication: off }
  - { id: either, path: /either, authentication: optional }
  - { id: health, path: /health, action: health }
  - { id: rest, path: '/*' }
";
    let snapshot = snapshot(&policy(&set(&[signer.jwk("a")]), "EdDSA", routes));
    let need = |path: &str| {
        let head = head(&format!("GET {path}"), &[]);
        let (_, route) = snapshot.route(&head).unwrap();
        snapshot.authentication().need(route)
    };
    assert_eq!(need("/open"), Need::Off);
    assert_eq!(need("/either"), Need::Optional);
    assert_eq!(need("/health"), Need::Off);
    assert_eq!(need("/x"), Need::Required);
}

#[test]
fn access_rules_know_providers_subjects_and_groups() {
    let signer = Signer::ed25519();
    let rules = "
access:
  default: deny
  requests:
    - deny: { id: gone, token: { subjects: [u-9] } }
    - allow: { id: staff, token: { providers: [corp], groups: [staff, 'ops-*'] } }
    - allow: { id: any-token, paths: [/mine], token: {} }
    - allow: { id: anybody, paths: [/public] }
";
    let snapshot = snapshot(&policy(&set(&[signer.jwk("a")]), "EdDSA", rules));
    let who = |subject: &str, groups: &[&str]| {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Identity::assumed(ProviderIndex(0), Some(subject.to_owned()), groups)
    };
    let denied = |path: &str, identity: Option<&Identity>| {
        let head = head(&format!("GET {path}"), &[]);
        let mut facts = facts(&head, "US");
        facts.claims = facts.claims.with(identity);
        let checked = access::check(&snapshot, &facts);
        checked
            .err()
            .map(|denied| snapshot.access_rule_id(denied.rule).to_owned())
    };
    assert_eq!(denied("/x", None).as_deref(), Some("default"));
    assert_eq!(denied("/mine", None).as_deref(), Some("default"));
    assert_eq!(denied("/public", None), None);
    assert_eq!(denied("/mine", Some(&who("u-1", &[]))), None);
    assert_eq!(denied("/x", Some(&who("u-1", &["staff"]))), None);
    assert_eq!(denied("/x", Some(&who("u-1", &["ops-eu"]))), None);
    assert_eq!(
        denied("/x", Some(&who("u-1", &["staffing"]))).as_deref(),
        Some("default")
    );
    assert_eq!(
        denied("/x", Some(&who("u-9", &["staff"]))).as_deref(),
        Some("gone")
    );
    let nameless = Identity::assumed(ProviderIndex(0), None, vec!["staff".to_owned()]);
    assert_eq!(denied("/x", Some(&nameless)), None);
    let other = Identity::assumed(ProviderIndex(1), None, vec!["staff".to_owned()]);
    assert_eq!(denied("/x", Some(&other)).as_deref(), Some("default"));
}

#[test]
fn a_token_opens_what_waits_for_consent_and_makes_a_class_only_stricter() {
    let signer = Signer::ed25519();
    let text = policy(&set(&[signer.jwk("a")]), "EdDSA", "");
    let shipped = crate::testing::SHIPPED.map(|(path, text)| source(path, text));
    let mut sources = shipped.to_vec();
    sources.push(source("tokens.yaml", &text));
    let snapshot = try_compile(&sources).unwrap();
    let head = head("GET /v3/x", &[]);
    let (_, route) = snapshot.route(&head).unwrap();
    let permitted = |country: &str, identity: &Identity| {
        let mut facts = facts(&head, country);
        facts.claims = facts.claims.with(Some(identity));
        let classified = residency::classify(&snapshot, route, &facts);
        let names = residency::eligible(&snapshot, route, &facts, classified).map(|permitted| {
            let all = (0_u16..).map(crate::RegionIndex).zip(snapshot.regions());
            all.filter(|(at, _)| permitted.allows(*at)).count()
        });
        (classified.class, names.unwrap_or(0))
    };
    let token = |class: DataClass, consent: bool| Identity {
        class: Some(class),
        consent,
        ..Identity::assumed(ProviderIndex(0), None, Vec::new())
    };
    let all = snapshot.regions().len();
    for (country, class, consent, regions) in [
        ("US", DataClass::Tier2Personal, false, 2),
        ("US", DataClass::Tier2Personal, true, all),
        // Consent opens what waits for it, and nothing else.
        ("US", DataClass::Tier1Pii, true, 2),
        ("DE", DataClass::Tier2Personal, true, 3),
        ("CN", DataClass::Tier2Personal, true, 0),
    ] {
        let found = permitted(country, &token(class, consent));
        assert_eq!(found, (class, regions), "{country} {class:?} {consent}");
    }
    // The route's own word stays when the token's is laxer.
    let (class, _) = permitted("US", &token(DataClass::Tier4Public, false));
    assert_eq!(class, DataClass::Tier3Operational);
}

#[test]
fn a_pseudonym_is_the_same_for_the_same_subject_of_the_same_issuer() {
    let who = |subject: &str| Identity::assumed(ProviderIndex(0), Some(subject.to_owned()), vec![]);
    let one = who("u-1").pseudonym("https://a").unwrap();
    assert_eq!(one.len(), 32);
    assert_eq!(Some(&one), who("u-1").pseudonym("https://a").as_ref());
    assert_ne!(Some(&one), who("u-2").pseudonym("https://a").as_ref());
    assert_ne!(Some(&one), who("u-1").pseudonym("https://b").as_ref());
    assert_eq!(
        Identity::assumed(ProviderIndex(0), None, vec![]).pseudonym("https://a"),
        None
    );
}

#[test]
fn faults_of_a_key_set_are_named() {
    let good = Signer::ed25519().jwk("a");
    let changed = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        set(&[key])
    };
    let mut short = Signer::rsa().jwk("r");
    short["n"] = json!(b64([0xff; 255]));
    let mut even = Signer::rsa().jwk("r");
    even["e"] = json!(b64([2]));
    let mut point = Signer::p256().jwk("p");
    point["x"] = json!(b64([1; 31]));
    for (jwks, expected) in [
        ("nonsense".to_owned(), "this is no key set"),
        ("{}".to_owned(), "there is no list `keys`"),
        (set(&[]), "no key in this set verifies signatures"),
        (
            set(&[good.clone(), good.clone()]),
            "two keys have the `kid` `a`",
        ),
        (changed("d", json!("AA")), "a secret or private key"),
        (
            set(&[json!({ "kty": "oct", "k": "AA" })]),
            "a secret or private key",
        ),
        (changed("x", json!("A")), "`x` is not base64url"),
        (changed("x", json!("AA")), "`x` has to be of 32 bytes"),
        (changed("use", json!("enc")), "no key in this set verifies"),
        (
            changed("key_ops", json!(["encrypt"])),
            "no key in this set verifies",
        ),
        (
            changed("crv", json!("X25519")),
            "no key in this set verifies",
        ),
        (
            changed("alg", json!("HS256")),
            "no key in this set verifies",
        ),
        (set(&[short]), "fewer than 2048"),
        (set(&[even]), "exponent"),
        (set(&[point]), "`x` and `y` have to be of 32 bytes"),
        (set(&[json!({})]), "there is no `kty`"),
        (set(&vec![json!({}); 65]), "over 64 keys"),
        (" ".repeat(300_000), "a key set of over"),
    ] {
        let fault = keys::read(&jwks).unwrap_err();
        assert!(fault.contains(expected), "{fault}");
    }
    let known = keys::read(&set(&[json!({ "kty": "EC", "crv": "P-521" }), good])).unwrap();
    assert_eq!(known.len(), 1);
}

#[test]
fn faults_of_the_policy_have_their_place() {
    let jwks = set(&[Signer::ed25519().jwk("a")]);
    for (from, to, expected) in [
        (
            "[EdDSA]",
            "[none]",
            "a token without a signature is nobody's",
        ),
        ("[EdDSA]", "[HS256]", "shared secrets are not taken"),
        ("[EdDSA]", "[ES512]", "unknown algorithm `ES512`"),
        ("[EdDSA]", "[]", "no algorithm is accepted"),
        (
            "[edge, https://edge.example/mcp]",
            "[]",
            "tokens for anybody would count here",
        ),
        ("id: corp", "id: ''", "an `id` has 1 to 512 bytes"),
        (
            "      algorithms",
            "      leeway: 6m\n      algorithms",
            "a leeway is whole seconds",
        ),
        ("class: data_class", "class: []", "this leads to no claim"),
        (
            "  providers",
            "  resource_metadata: edge\n  providers",
            "no URL of metadata",
        ),
        ("  providers", "  default: maybe\n  providers", "maybe"),
        ("class: data_class", "clas: data_class", "clas"),
    ] {
        let text = policy(&jwks, "EdDSA", "");
        assert!(text.contains(from), "{from}");
        let faults = faults(&text.replacen(from, to, 1));
        let told = faults.iter().map(brief).collect::<Vec<_>>().join("\n");
        assert!(told.contains(expected), "{expected}: {told}");
        assert!(told.starts_with("test.yaml:"), "{told}");
    }
    let none = "authentication: { providers: [] }\n";
    assert!(brief(&faults(none)[0]).contains("nobody issues tokens"));
    let text = policy(&jwks, "EdDSA", "");
    let (top, list) = text.split_once("    - id").unwrap();
    let twice = format!("{top}    - id{list}    - id{list}");
    let told = faults(&twice)
        .iter()
        .map(brief)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        told.contains("are called `corp`") && told.contains("have the issuer"),
        "{told}"
    );
}

#[test]
fn keys_that_look_at_tokens_are_refused_where_none_is_verified() {
    for text in [
        "routes: [{ id: a, path: '/*', authentication: required }]\n",
        "access: { requests: [{ deny: { id: a, token: {} } }] }\n",
    ] {
        let told = faults(text)
            .iter()
            .map(brief)
            .collect::<Vec<_>>()
            .join("\n");
        assert!(told.contains("no token is ever verified"), "{told}");
    }
}

#[test]
fn an_algorithm_without_a_key_is_a_warning() {
    let jwks = set(&[Signer::ed25519().jwk("a")]);
    let snapshot = snapshot(&policy(&jwks, "EdDSA, RS256", ""));
    let told = snapshot
        .warnings()
        .iter()
        .map(brief)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(told.contains("no key of this set is for RS256"), "{told}");
}

#[test]
fn keys_come_from_a_file_beside_the_policies() {
    let signer = Signer::ed25519();
    let jwks = set(&[signer.jwk("a")]);
    let text = policy("x", "EdDSA", "").replace("keys: 'x'", "keys: file:jwks.json");
    let file = |name: &str| {
        assert_eq!(name, "jwks.json");
        Ok(jwks.clone())
    };
    let refs = References {
        env: &|_| None,
        file: &file,
    };
    let place = EdgePlace {
        region: "us-central1",
    };
    let snapshot = Snapshot::compile(&with_base(&text), &refs, &place).unwrap();
    let token = signer.token(&json!({ "alg": "EdDSA", "kid": "a" }), &claims());
    assert!(
        snapshot
            .authentication()
            .verify(token.as_bytes(), NOW)
            .is_ok()
    );
    assert!(!snapshot.to_redacted_json().to_string().contains("u-1"));
}

#[test]
fn every_fault_is_counted_under_its_own_name() {
    let faults = [
        TokenFault::Twice,
        TokenFault::TooLong,
        TokenFault::Malformed,
        TokenFault::Algorithm,
        TokenFault::Issuer,
        TokenFault::Audience,
        TokenFault::Expired,
        TokenFault::NotYet,
        TokenFault::Key,
        TokenFault::Signature,
    ];
    for fault in faults {
        let at = TokenCount::Refused(fault).index();
        assert_eq!(TokenCount::NAMES[at], fault.as_str());
    }
    let others = [TokenCount::Known, TokenCount::Verified, TokenCount::Missing];
    assert_eq!(others.map(TokenCount::index), [0, 1, 2]);
    assert_eq!(TokenCount::NAMES.len(), others.len() + faults.len());
}

proptest! {
    #[test]
    fn nothing_that_nobody_signed_counts(token in "[A-Za-z0-9_.-]{0,200}", bytes: Vec<u8>) {
        let corp = Corp::new();
        let authentication = corp.snapshot.authentication();
        prop_assert!(authentication.verify(token.as_bytes(), NOW).is_err());
        prop_assert!(authentication.verify(&bytes, NOW).is_err());
        let signed = format!("{}.{}", b64(r#"{"alg":"EdDSA","kid":"a"}"#), b64(claims().to_string()));
        let forged = format!("{signed}.{}", b64(&bytes));
        prop_assert!(authentication.verify(forged.as_bytes(), NOW).is_err());
    }

    #[test]
    fn any_signed_text_and_any_key_set_is_read_or_refused(header: String, text: String, bytes: Vec<u8>) {
        let corp = Corp::new();
        let authentication = corp.snapshot.authentication();
        for (header, claims) in [
            (r#"{"alg":"EdDSA","kid":"a"}"#, text.as_str()),
            (header.as_str(), &claims().to_string()),
        ] {
            let signed = format!("{}.{}", b64(header), b64(claims));
            let token = format!("{signed}.{}", b64(corp.signer.sign("EdDSA", signed.as_bytes())));
            prop_assert!(authentication.verify(token.as_bytes(), NOW).is_err());
        }
        prop_assert!(keys::read(&text).is_err());
        let odd = set(&[json!({ "kty": text, "n": b64(&bytes), "e": b64(&bytes) })]);
        prop_assert!(keys::read(&odd).is_err());
        for kty in ["RSA", "EC", "OKP"] {
            for crv in ["P-256", "P-384", "Ed25519"] {
                let part = b64(&bytes);
                let key = json!({ "kty": kty, "crv": crv, "n": part, "e": part, "x": part, "y": part });
                let read = keys::read(&set(&[key]));
                prop_assert!(read.is_err() || bytes.len() >= 32);
            }
        }
    }
}
