use std::net::IpAddr;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::regions::Way;
use crate::residency::{RefusalRule, Transfer, TransferAsk, classify, eligible};
use crate::testing::{facts, head, shipped};
use crate::{ClassSource, Classified, DataClass, RejectReason, Snapshot, Vouched};

const AT: u64 = 1_795_372_320_042;

fn context(snapshot: &Snapshot) -> Context<'_> {
    Context {
        at_unix_ms: AT,
        edge: "us-central1",
        generation: 3,
        snapshot: Some(snapshot),
        request_id: "0af7",
    }
}

fn bare() -> Context<'static> {
    Context {
        at_unix_ms: AT,
        edge: "e",
        generation: 0,
        snapshot: None,
        request_id: "",
    }
}

/// The record of a request with this header that is sent to a region.
fn transfer(snapshot: &Snapshot, (country, class, to): (&str, &str, &str), vouch: Vouch) -> String {
    let head = head("GET /v3/echo", &[("x-data-class", class)]);
    let mut facts = facts(&head, country);
    if vouch == Vouch::Consent {
        facts.claims.consent = Some(Vouched::TrustedHop);
    }
    let (_, route) = snapshot.route(&head).unwrap();
    let classified = classify(snapshot, route, &facts);
    let permitted = eligible(snapshot, route, &facts, classified).unwrap();
    Transferred {
        client: facts.client,
        location: &facts.location,
        route,
        classified,
        permitted: &permitted,
        region: snapshot.region_by_id(to).unwrap(),
        way: Way::Mesh,
        claims: facts.claims,
    }
    .record(&context(snapshot))
}

#[derive(Copy, Clone, PartialEq)]
enum Vouch {
    Nothing,
    Consent,
}

fn refusal(snapshot: &Snapshot, country: &str) -> String {
    let head = head("GET /v3/echo", &[]);
    let facts = facts(&head, country);
    let (_, route) = snapshot.route(&head).unwrap();
    let classified = Classified {
        class: DataClass::Tier1Pii,
        by: ClassSource::Header,
    };
    let refused = eligible(snapshot, route, &facts, classified).unwrap_err();
    Refused {
        client: facts.client,
        location: &facts.location,
        route: Some(route),
        classified: Some(classified),
        reason: RejectReason::Residency,
        status: 451,
        law: Some((refused.jurisdiction, refused.rule)),
        rule: None,
    }
    .record(&context(snapshot))
}

/// A chain of these records, a line each.
fn chained(records: &[String]) -> Vec<String> {
    let mut chain = Chain::new();
    let line = |record: &String| {
        let mut out = String::new();
        chain.append(record, &mut out);
        out
    };
    records.iter().map(line).collect()
}

fn faults(lines: &[String]) -> Vec<(usize, Fault)> {
    let mut verifier = Verifier::new();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if let Err(faults) = verifier.line(line.as_bytes()) {
            found.extend(faults.into_iter().map(|fault| (at + 1, fault)));
        }
    }
    found
}

fn five() -> Vec<String> {
    static LINES: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(make_five);
    LINES.clone()
}

fn make_five() -> Vec<String> {
    let snapshot = shipped();
    let mut records = vec![
        Opened {
            why: OpenedWhy::Start,
            previous: None,
            torn_bytes: 0,
        }
        .record(&context(&snapshot)),
    ];
    for country in ["CN", "RU", "ZW"] {
        records.push(refusal(&snapshot, country));
    }
    let german = ("DE", "tier_2_personal", "europe-west2");
    records.push(transfer(&snapshot, german, Vouch::Nothing));
    chained(&records)
}

#[test]
fn a_transfer_says_who_what_where_and_on_what_basis() {
    let snapshot = shipped();
    let german = ("DE", "tier_2_personal", "europe-west2");
    let record: Value = serde_json::from_str(&transfer(&snapshot, german, Vouch::Nothing)).unwrap();
    let expected = serde_json::json!({
        "at": "2026-11-22T18:32:00.042Z",
        "at_unix_ms": AT,
        "audit_frequency": "quarterly",
        "basis": "adequacy",
        "class": "tier_2_personal",
        "class_by": "header",
        "client": "203.0.113.0/24",
        "country": "DE",
        "country_by": "embedded",
        "digest": snapshot.digest(),
        "edge": "us-central1",
        "generation": 3,
        "jurisdiction": "eu",
        "kind": "transfer",
        "obligations": ["encryption_in_transit", "encryption_at_rest", "limited_replication", "lawful_basis"],
        "region": "europe-west2",
        "regulation": "GDPR",
        "request_id": "0af7",
        "route": "api",
        "transport": "mesh",
    });
    assert_eq!(record, expected);
}

#[test]
fn every_way_across_a_border_has_its_basis() {
    let snapshot = shipped();
    for (way, vouch, basis) in [
        (
            ("DE", "tier_2_personal", "europe-west2"),
            Vouch::Nothing,
            "adequacy",
        ),
        (
            ("DE", "tier_4_public", "us-central1"),
            Vouch::Nothing,
            "not_protected",
        ),
        (
            ("US", "tier_2_personal", "europe-west1"),
            Vouch::Consent,
            "consent",
        ),
        (
            ("BR", "tier_2_personal", "us-east1"),
            Vouch::Nothing,
            "safeguards",
        ),
        (
            ("IN", "tier_2_personal", "us-east1"),
            Vouch::Nothing,
            "local_copy",
        ),
        (
            ("SG", "tier_2_personal", "asia-south1"),
            Vouch::Nothing,
            "allowed",
        ),
    ] {
        let record: Value = serde_json::from_str(&transfer(&snapshot, way, vouch)).unwrap();
        assert_eq!(record["basis"], basis, "{way:?}");
        let claims = (vouch == Vouch::Consent).then_some("consent:trusted_hop");
        assert_eq!(record["claims"][0].as_str(), claims);
    }
    let home = transfer(
        &snapshot,
        ("DE", "tier_1_pii", "europe-west1"),
        Vouch::Nothing,
    );
    assert!(
        !home.contains("\"basis\""),
        "nothing is needed at home: {home}"
    );
}

#[test]
fn a_refusal_names_the_law_and_its_rule() {
    let snapshot = shipped();
    let record: Value = serde_json::from_str(&refusal(&snapshot, "CN")).unwrap();
    for (key, value) in [
        ("kind", "refusal"),
        ("jurisdiction", "cn"),
        ("regulation", "PIPL, CSL"),
        ("rule", RefusalRule::Prohibited.as_str()),
        ("reason", "residency"),
        ("class", "tier_1_pii"),
        ("client", "203.0.113.0/24"),
    ] {
        assert_eq!(record[key], value);
    }
    assert_eq!(record["status"], 451);
}

#[test]
fn a_check_names_both_regions_and_the_law_that_answered() {
    let snapshot = shipped();
    let ask = TransferAsk {
        source: snapshot.region_by_id("southamerica-east1").unwrap(),
        destination: snapshot.region_by_id("us-central1").unwrap(),
        class: DataClass::Tier2Personal,
        consent: None,
    };
    let outcome = Transfer::WithSafeguards;
    let record = Checked { ask, outcome }.record(&context(&snapshot));
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["source"], "southamerica-east1");
    assert_eq!(record["region"], "us-central1");
    assert_eq!(record["regulation"], "LGPD");
    assert_eq!(record["outcome"], "with_safeguards");
}

#[test]
fn a_client_is_only_its_network() {
    for (client, network) in [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
    ] {
        let client: IpAddr = client.parse().unwrap();
        assert_eq!(client_network(client), network);
    }
}

#[test]
fn every_record_is_spelt_canonically() {
    for line in five() {
        let value: Value = serde_json::from_str(&line).unwrap();
        let mut spelt = String::new();
        super::canonical::write(&value, &mut spelt).unwrap();
        assert_eq!(line, spelt + "\n");
    }
    let odd = Operation {
        action: "drain",
        region: Some("europe-west1"),
        reason: Some("a \"quoted\"\n\u{1} \\ \u{7f} é 🦀 reason"),
        until_unix_ms: Some(5),
    };
    let lines = chained(&[odd.record(&bare())]);
    assert_eq!(faults(&lines), []);
    assert!(lines[0].contains(r#"a \"quoted\"\n\u0001 \\"#));
}

#[test]
fn a_whole_chain_is_whole_and_its_head_is_the_last_line() {
    let lines = five();
    let mut verifier = Verifier::new();
    for line in &lines {
        verifier.line(line.as_bytes()).unwrap();
    }
    let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    let head = verifier.head().unwrap();
    assert_eq!(
        (head.seq, verifier.first(), verifier.lines()),
        (5, Some(1), 5)
    );
    assert_eq!(last["hash"], head.hash);
}

#[test]
fn a_changed_word_breaks_its_line_and_no_other() {
    let mut lines = five();
    lines[2] = lines[2].replace("\"RU\"", "\"DE\"");
    assert_eq!(faults(&lines), [(3, Fault::Hash)]);
    // Whoever makes the hash anew breaks the line after it.
    let record: Value = serde_json::from_str(&lines[2]).unwrap();
    let mut text = String::new();
    super::canonical::write(&record["record"], &mut text).unwrap();
    let prev = record["prev"].as_str().unwrap().to_owned();
    let mut forged = String::new();
    Chain::after(Head { seq: 2, hash: prev }).append(&text, &mut forged);
    lines[2] = forged;
    assert_eq!(faults(&lines), [(4, Fault::Previous)]);
}

#[test]
fn lines_taken_out_put_in_or_moved_are_found() {
    let lines = five();
    let mut without = lines.clone();
    without.remove(2);
    let gap = Fault::Sequence {
        expected: 3,
        found: 4,
    };
    assert_eq!(faults(&without), [(3, gap)]);
    let mut twice = lines.clone();
    twice.insert(2, lines[1].clone());
    assert_eq!(faults(&twice).len(), 1);
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    assert!(!faults(&swapped).is_empty());
    let mut late = lines.clone();
    late.remove(0);
    assert_eq!(faults(&late), [], "older files were not given");
    let mut forged = Verifier::new();
    forged.line(late[0].as_bytes()).unwrap();
    assert_eq!(forged.first(), Some(2));
}

#[test]
fn another_spelling_of_the_same_is_found() {
    let lines = five();
    for (from, to) in [
        ("\"kind\":", "\"kind\": "),
        ("{\"hash\"", "{ \"hash\""),
        ("\"edge\":\"us-central1\"", "\"edge\":\"us\\u002dcentral1\""),
        ("\"generation\":3", "\"generation\":3,\"generation\":3"),
    ] {
        let mut changed = lines.clone();
        changed[1] = changed[1].replacen(from, to, 1);
        assert_ne!(changed[1], lines[1], "{from}");
        assert_eq!(faults(&changed), [(2, Fault::Spelling)], "{from}");
    }
}

#[test]
fn what_is_no_line_is_said_to_be_none() {
    let good = five().remove(0);
    let torn = good.trim_end().to_owned();
    assert_eq!(
        faults(std::slice::from_ref(&torn)),
        [(1, Fault::Torn { bytes: torn.len() })]
    );
    for text in [
        "\n",
        "{}\n",
        "[]\n",
        "nonsense\n",
        "{\"hash\":1,\"prev\":1,\"record\":{},\"seq\":1}\n",
        "{\"hash\":\"aa\",\"prev\":\"bb\",\"record\":{},\"seq\":1.5}\n",
    ] {
        let found = faults(&[text.to_owned()]);
        assert!(matches!(found[..], [(1, Fault::Unreadable(_))]), "{text}");
    }
    let long = format!("{}\n", " ".repeat(LINE_BYTES_MAX));
    assert_eq!(faults(&[long]), [(1, Fault::TooLong)]);
}

fn reported(lines: &[String], period: Period) -> Value {
    let (mut verifier, mut report) = (Verifier::new(), Report::new(period));
    for (at, line) in lines.iter().enumerate() {
        match verifier.line(line.as_bytes()) {
            Ok(line) => report.add(&line),
            Err(faults) => report.fault(format!("{}: {}", at + 1, faults[0])),
        }
    }
    report.to_json(AT, (verifier.head(), verifier.lines()))
}

const ALWAYS: Period = Period {
    from_unix_ms: 0,
    to_unix_ms: u64::MAX,
};

#[test]
fn a_report_counts_transfers_by_regulation_and_refusals_by_law() {
    let report = reported(&five(), ALWAYS);
    let transfers = &report["cross_border_transfers"];
    assert_eq!(transfers["total_transfers"], 1);
    let gdpr = &transfers["by_regulation"]["GDPR"];
    assert_eq!(gdpr["total"], 1);
    assert_eq!(gdpr["audit_frequency"], "quarterly");
    assert_eq!(gdpr["by_basis"]["adequacy"], 1);
    assert_eq!(gdpr["by_way"]["DE to europe-west2"], 1);
    assert_eq!(report["refusals"]["total"], 3);
    assert_eq!(report["refusals"]["by_law"]["242-FZ: prohibited"], 1);
    assert_eq!(report["refusals"]["by_law"]["elsewhere: not_configured"], 1);
    assert_eq!(report["violations"]["total"], 0);
    assert_eq!(report["audit_log_stats"]["chain"]["intact"], true);
    assert_eq!(report["audit_log_stats"]["total_events"], 5);
    assert_eq!(
        report["encryption_stats"]["data_in_transit_encrypted_hundredths_pct"],
        10_000
    );
}

#[test]
fn a_report_is_about_its_period() {
    let inside = Period {
        from_unix_ms: AT,
        to_unix_ms: AT + 1,
    };
    let before = Period {
        from_unix_ms: 0,
        to_unix_ms: AT,
    };
    assert_eq!(reported(&five(), inside)["refusals"]["total"], 3);
    let outside = reported(&five(), before);
    assert_eq!(outside["refusals"]["total"], 0);
    // What is read to verify is read whole.
    assert_eq!(outside["audit_log_stats"]["chain"]["lines"], 5);
}

#[test]
fn what_breaks_the_law_or_leaves_a_hole_is_a_violation() {
    let snapshot = shipped();
    let mut ask = TransferAsk {
        source: snapshot.region_by_id("europe-west1").unwrap(),
        destination: snapshot.region_by_id("us-central1").unwrap(),
        class: DataClass::Tier1Pii,
        consent: Some(Vouched::TrustedHop),
    };
    let outcome = Transfer::CrossBorderProhibited;
    let denied = Checked { ask, outcome }.record(&context(&snapshot));
    ask.class = DataClass::Tier4Public;
    let outcome = Transfer::Allowed;
    let fine = Checked { ask, outcome }.record(&context(&snapshot));
    let lost = Lost {
        transfers: 4,
        ..Lost::default()
    };
    let german = ("DE", "tier_2_personal", "europe-west2");
    let plain = transfer(&snapshot, german, Vouch::Nothing).replace("\"mesh\"", "\"plaintext\"");
    let baseless =
        transfer(&snapshot, german, Vouch::Nothing).replace("\"basis\":\"adequacy\",", "");
    let lines = chained(&[denied, fine, lost.record(&bare()), plain, baseless]);
    let report = reported(&lines, ALWAYS);
    let listed = report["violations"]["listed"].as_array().unwrap();
    let what: Vec<&str> = listed
        .iter()
        .map(|one| one["what"].as_str().unwrap())
        .collect();
    assert_eq!(
        what,
        [
            "a backend was refused to move tier_1_pii from europe-west1 to us-central1: cross_border_prohibited",
            "4 transfers went unrecorded",
            "a transfer to europe-west2 in plain text",
            "a transfer to europe-west2 without a basis",
        ]
    );
    assert_eq!(report["violations"]["total"], 4);
    assert_eq!(report["audit_log_stats"]["lost_records"], 4);
}

#[test]
fn a_broken_chain_is_said_on_the_page_and_nothing_is_read_as_markup() {
    let evil = Operation {
        action: "<script>alert(1)</script>",
        region: Some("\"><img src=x>"),
        reason: Some("a & b ' c"),
        until_unix_ms: None,
    };
    let mut report = Report::new(ALWAYS);
    let mut verifier = Verifier::new();
    let line = chained(&[evil.record(&bare())]).remove(0);
    report.add(&verifier.line(line.as_bytes()).unwrap());
    report.fault("audit.jsonl line 7: <b>changed</b>".to_owned());
    let page = report.to_html(AT, (verifier.head(), 1));
    assert!(page.contains("The chain is broken."));
    assert!(page.contains("&lt;b&gt;changed&lt;/b&gt;"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("&quot;&gt;&lt;img src=x&gt;"));
    assert!(page.contains("a &amp; b &#39; c"));
    for markup in ["<script", "<img", "<b>", "http://", "https://"] {
        assert!(!page.contains(markup), "{markup}");
    }
}

#[test]
fn a_report_has_a_bound_whatever_the_records_say() {
    let records: Vec<String> = (0..3_000)
        .map(|at| {
            Operation {
                action: "drain",
                region: None,
                reason: None,
                until_unix_ms: None,
            }
            .record(&bare())
            .replace("\"kind\":\"operator\"", &format!("\"kind\":\"k{at}\""))
        })
        .collect();
    let report = reported(&chained(&records), ALWAYS);
    let kinds = report["audit_log_stats"]["by_event_type"]
        .as_object()
        .unwrap();
    assert_eq!(kinds.len(), 1_025);
    assert_eq!(kinds["other"], 3_000 - 1_024);
}

proptest! {
    #[test]
    fn no_bytes_make_the_verifier_panic(line in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Verifier::new().line(&line);
    }

    #[test]
    fn any_changed_byte_of_a_chain_is_found(at in 0usize..4_000, flip in 1u8..128) {
        let lines = five();
        let mut bytes = lines.concat().into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        let mut verifier = Verifier::new();
        let mut found = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if verifier.line(line).is_err() {
                found += 1;
            }
        }
        prop_assert!(found > 0, "byte {at}");
    }

    #[test]
    fn any_text_is_spelt_as_it_is_read(reason in "\\PC{0,80}|[\\x00-\\x1f\"\\\\]{0,40}") {
        let operation = Operation { action: "pin", region: None, reason: Some(&reason), until_unix_ms: None };
        let lines = chained(&[operation.record(&bare())]);
        prop_assert_eq!(faults(&lines), vec![]);
    }
}
