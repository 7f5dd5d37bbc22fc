use std::collections::BTreeSet;
use std::sync::Arc;

use meridian_policies::{Receipt, ShortId, Verdict};
use meridian_wire::RequestHead;

use super::testing::{TWO_REGIONS, generation, head, outcome, settings, telemetry};
use super::*;

fn encoded(telemetry: &Telemetry, generation: &Generation) -> String {
    let scrape = Scrape {
        generation,
        now: meridian_policies::Tick(1),
        limiter_addresses: 5,
        reloads: (2, 1),
        databases: &[],
        certificates: &[],
        tls_reloads: (0, 0),
    };
    telemetry.encode(&scrape).unwrap()
}

/// The value of one sample, by its full name with labels.
fn value(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(' '))
    })?;
    let rest = line.strip_prefix(name)?.trim_start();
    rest.split(' ').next()?.parse().ok()
}

#[test]
fn a_request_is_counted_by_region_method_and_status() {
    let telemetry = telemetry();
    let generation = generation(1, TWO_REGIONS);
    let head = head("/", &[]);
    let served = outcome(&generation, &head);
    telemetry.finish(&served, Box::default());
    telemetry.finish(&served, Box::default());
    let refused = Outcome {
        region: None,
        status: 429,
        reject: Some(RejectReason::RateLimited),
        ..served
    };
    telemetry.finish(&refused, Box::default());
    telemetry.finish(
        &Outcome {
            region: None,
            ..served
        },
        Box::default(),
    );
    let text = encoded(&telemetry, &generation);
    for (name, expected) in [
        (
            r#"erlmcp_requests_total{region="europe-west1",method="GET",status="200"}"#,
            2.0,
        ),
        (
            r#"erlmcp_requests_total{region="edge",method="GET",status="429"}"#,
            1.0,
        ),
        (r#"http_requests_total{code="200",method="GET"}"#, 3.0),
        (r#"http_request_duration_seconds_count{method="GET"}"#, 4.0),
        (
            r#"erlmcp_request_duration_seconds_bucket{le="0.02",region="europe-west1"}"#,
            2.0,
        ),
        (
            r#"erlmcp_request_duration_seconds_sum{region="europe-west1"}"#,
            0.024,
        ),
        (
            r#"meridian_decisions_total{verdict="forward",reason="none"}"#,
            2.0,
        ),
        (
            r#"meridian_decisions_total{verdict="answer",reason="none"}"#,
            1.0,
        ),
        (
            r#"meridian_decisions_total{verdict="refuse",reason="rate-limited"}"#,
            1.0,
        ),
        ("meridian_limiter_refused_total", 1.0),
        ("meridian_limiter_addresses", 5.0),
        (r#"meridian_reloads_total{result="accepted"}"#, 2.0),
        (r#"meridian_reloads_total{result="rejected"}"#, 1.0),
        ("meridian_generation", 1.0),
        (
            r#"meridian_endpoint_healthy{region="europe-west1",endpoint="europe-west1/http://10.0.1.5:8443"}"#,
            1.0,
        ),
        ("meridian_receipts_total", 4.0),
    ] {
        assert_eq!(value(&text, name), Some(expected), "{name}\n{text}");
    }
    assert!(
        text.contains(r#" # {request_id="0192f0c1-7d3a"} 0.012000 1795372320.054"#),
        "{text}"
    );
}

#[test]
fn only_what_leaves_the_edges_region_crosses() {
    let telemetry = telemetry();
    let generation = generation(1, TWO_REGIONS);
    let head = head("/", &[]);
    let away = Outcome {
        bytes_in: 100,
        ..outcome(&generation, &head)
    };
    telemetry.finish(&away, Box::default());
    telemetry.finish(
        &Outcome {
            region: Some(RegionIndex(0)),
            ..away
        },
        Box::default(),
    );
    let text = encoded(&telemetry, &generation);
    let pair = r#"source_region="us-central1",target_region="europe-west1""#;
    let bytes = format!("erlmcp_cross_region_bytes_total{{{pair}}}");
    assert_eq!(value(&text, &bytes), Some(1124.0));
    let bucket = format!(r#"erlmcp_cross_region_latency_seconds_bucket{{le="0.01",{pair}}}"#);
    assert_eq!(value(&text, &bucket), Some(1.0));
    assert!(!text.contains(r#"target_region="us-central1""#), "{text}");
}

#[test]
fn streams_count_by_their_first_byte() {
    let telemetry = telemetry();
    let generation = generation(1, TWO_REGIONS);
    let head = head("/", &[]);
    let hours = Duration::from_hours(5);
    let stream = Outcome {
        shape: Shape::EventStream,
        duration: hours,
        ..outcome(&generation, &head)
    };
    telemetry.finish(&stream, Box::default());
    let text = encoded(&telemetry, &generation);
    let sum = r#"erlmcp_request_duration_seconds_sum{region="europe-west1"}"#;
    assert_eq!(value(&text, sum), Some(0.01));
}

#[test]
fn counts_survive_a_reload_that_moves_regions_and_late_requests_of_the_old_one() {
    const MOVED: &str = r#"
regions:
  - { id: asia-southeast1, endpoints: ["http://10.0.2.5:8443"] }
  - { id: us-central1, endpoints: ["http://10.0.0.5:8443"] }
  - { id: europe-west1, endpoints: ["http://10.0.1.5:8443"] }
residency: off
routes: [{ id: everything, path: "/*" }]
"#;
    let telemetry = telemetry();
    let (old, new) = (generation(1, TWO_REGIONS), generation(2, MOVED));
    let head = head("/", &[]);
    telemetry.finish(&outcome(&old, &head), Box::default());
    telemetry.finish(
        &Outcome {
            region: Some(RegionIndex(2)),
            ..outcome(&new, &head)
        },
        Box::default(),
    );
    telemetry.finish(&outcome(&old, &head), Box::default());
    let text = encoded(&telemetry, &new);
    let name = r#"erlmcp_requests_total{region="europe-west1",method="GET",status="200"}"#;
    assert_eq!(value(&text, name), Some(3.0));
    assert!(!text.contains(r#"erlmcp_requests_total{region="asia-southeast1""#));
}

#[test]
fn connections_are_counted_while_they_live_and_by_how_they_end() {
    let telemetry = telemetry();
    let generation = generation(1, TWO_REGIONS);
    let open = |protocol: &str, expected: f64| {
        let text = encoded(&telemetry, &generation);
        let name =
            format!(r#"erlmcp_active_connections{{region="us-central1",protocol="{protocol}"}}"#);
        assert_eq!(value(&text, &name), Some(expected), "{protocol}");
    };
    let first = telemetry.connection(Protocol::H1);
    let mut second = telemetry.connection(Protocol::H1);
    open("h1", 2.0);
    second.becomes(Protocol::WebSocket);
    open("h1", 1.0);
    open("websocket", 1.0);
    drop((first, second));
    open("h1", 0.0);
    open("websocket", 0.0);
    telemetry.connection_closed(CloseReason::Idle);
    telemetry.handshake_failed(HandshakeFailure::NotTls);
    telemetry.waf_hit("930100");
    telemetry.upstream_connect(&generation, RegionIndex(1), ConnectResult::Refused);
    telemetry.retry(&generation, RegionIndex(1), RetryReason::Stale);
    telemetry.ejection(&generation, RegionIndex(1));
    let text = encoded(&telemetry, &generation);
    for name in [
        r#"meridian_connections_closed_total{reason="idle-timeout"}"#,
        r#"meridian_handshake_failures_total{reason="not-tls"}"#,
        r#"meridian_waf_hits_total{rule="930100"}"#,
        r#"meridian_upstream_connects_total{region="europe-west1",result="refused"}"#,
        r#"meridian_retries_total{region="europe-west1",reason="stale-connection"}"#,
        r#"meridian_ejections_total{region="europe-west1"}"#,
    ] {
        assert_eq!(value(&text, name), Some(1.0), "{name}");
    }
}

#[test]
fn nothing_is_counted_when_metrics_are_off() {
    let off = TelemetrySettings {
        metrics: Switch::Off,
        ..settings()
    };
    let telemetry = Telemetry::new(&off, "us-central1").unwrap();
    let generation = generation(1, TWO_REGIONS);
    let head = head("/", &[]);
    telemetry.finish(&outcome(&generation, &head), Box::default());
    assert!(!encoded(&telemetry, &generation).contains("erlmcp_requests_total{"));
    assert_eq!(telemetry.ring.written(), 1);
}

/// A strict reading of the text format: every sample belongs to the family
/// announced last, no series comes twice, buckets are cumulative.
fn check_openmetrics(text: &str) {
    assert!(text.ends_with("# EOF\n"));
    let (mut family, mut kind, mut seen, mut below) =
        (String::new(), String::new(), BTreeSet::new(), 0.0);
    let mut families = BTreeSet::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').unwrap();
            (family, kind) = (name.to_owned(), of.to_owned());
            assert!(families.insert(family.clone()), "{family} comes twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, rest) = line
            .rsplit_once("} ")
            .unwrap_or_else(|| line.split_once(' ').unwrap());
        let series = series.split(" # ").next().unwrap();
        assert!(seen.insert(series.to_owned()), "{series} comes twice");
        let name = series.split('{').next().unwrap();
        let suffixes: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{other}"),
        };
        let suffix = name
            .strip_prefix(family.as_str())
            .unwrap_or_else(|| panic!("{line}"));
        assert!(suffixes.contains(&suffix), "{line}");
        let plain = line.split(" # ").next().unwrap();
        let number: f64 = plain.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(number >= 0.0, "{line} {rest}");
        if suffix == "_bucket" {
            below = if series.contains(r#"le="0.0005""#) {
                0.0
            } else {
                below
            };
            assert!(number >= below, "{line}");
            below = number;
        }
    }
}

#[test]
fn the_text_is_openmetrics_when_empty_and_when_full() {
    let telemetry = telemetry();
    let generation = generation(1, TWO_REGIONS);
    check_openmetrics(&encoded(&telemetry, &generation));
    let head = head("/", &[]);
    for (number, micros) in (0..400).map(|number| (number, number * number * 500)) {
        let outcome = outcome(&generation, &head);
        let region = [None, Some(RegionIndex(0)), Some(RegionIndex(1))]
            [usize::from(number % 3 == 0) + usize::from(number % 2 == 0)];
        let status = 200 + u16::try_from(number).unwrap();
        let duration = Duration::from_micros(micros);
        telemetry.finish(
            &Outcome {
                region,
                status,
                duration,
                ..outcome
            },
            Box::default(),
        );
    }
    telemetry.waf_hit("a \"quoted\\ rule\nwith a line");
    check_openmetrics(&encoded(&telemetry, &generation));
}

#[test]
fn the_dashboard_the_alerts_and_the_page_name_what_is_told() {
    let telemetry = Telemetry::new(
        &TelemetrySettings {
            access_log: crate::settings::AccessLog::Stdout,
            ..settings()
        },
        "us-central1",
    )
    .unwrap();
    let text = encoded(&telemetry, &generation(1, TWO_REGIONS));
    let told: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .flat_map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            match kind {
                "counter" => vec![format!("{name}_total")],
                "info" => vec![format!("{name}_info")],
                "histogram" => ["", "_bucket", "_count", "_sum"]
                    .map(|end| format!("{name}{end}"))
                    .into(),
                _ => vec![name.to_owned()],
            }
        })
        .collect();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for path in [
        "docs/metrics.md",
        "deploy/dashboards/meridian.json",
        "deploy/alerts/meridian.yaml",
    ] {
        let page = std::fs::read_to_string(root.join(path)).unwrap();
        let words = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: BTreeSet<&str> = words
            .filter(|word| {
                ["erlmcp_", "meridian_", "http_request"]
                    .iter()
                    .any(|start| word.starts_with(start))
            })
            .filter(|word| *word != "erlmcp_replication_lag_seconds")
            .collect();
        assert!(named.len() > 5, "{path} names metrics");
        // Told only where there is something to tell of: an audit log, a
        // record of decisions, a shadow. But written down.
        let written = |name: &str| {
            let text = format!("\"{}\"", name.trim_end_matches("_total"));
            ["meridian_audit_", "meridian_recorded_", "meridian_shadow_"]
                .iter()
                .any(|start| name.starts_with(start))
                && include_str!("scrape.rs").contains(&text)
        };
        for name in named {
            assert!(
                told.contains(name) || written(name),
                "{path} names {name}, which nobody tells"
            );
        }
    }
    let page = std::fs::read_to_string(root.join("docs/metrics.md")).unwrap();
    for name in told.iter().filter(|name| {
        !name.ends_with("_bucket") && !name.ends_with("_count") && !name.ends_with("_sum")
    }) {
        assert!(
            page.contains(&format!("`{name}`")),
            "docs/metrics.md says nothing about {name}"
        );
    }
}

fn receipt(id: &str, generation: &Generation, verdict: Verdict) -> Box<Receipt> {
    let mut receipt = Box::<Receipt>::default();
    receipt.request_id = ShortId::new(id);
    receipt.generation = generation.number;
    receipt.verdict = verdict;
    receipt
}

fn ids(found: &[serde_json::Value]) -> Vec<&str> {
    found
        .iter()
        .filter_map(|decision| decision["request_id"].as_str())
        .collect()
}

#[test]
fn decisions_are_told_newest_first_and_filtered() {
    let telemetry = telemetry();
    let generation = Arc::new(generation(1, TWO_REGIONS));
    telemetry.adopt(&generation);
    let head = RequestHead::new();
    let forward = |region| Verdict::Forward {
        region: RegionIndex(region),
    };
    let refuse = Verdict::Refuse {
        status: 451,
        reason: RejectReason::Residency,
    };
    for (id, verdict) in [
        ("a", forward(0)),
        ("b", forward(1)),
        ("c", refuse),
        ("d", Verdict::Answer),
        ("e", forward(1)),
    ] {
        telemetry.finish(
            &outcome(&generation, &head),
            receipt(id, &generation, verdict),
        );
    }
    let all = Filter {
        limit: 10,
        region: None,
        kind: None,
    };
    assert_eq!(ids(&telemetry.decisions(&all)), ["e", "d", "c", "b", "a"]);
    assert_eq!(
        ids(&telemetry.decisions(&Filter {
            limit: 2,
            ..all.clone()
        })),
        ["e", "d"]
    );
    let europe = Filter {
        region: Some("europe-west1".to_owned()),
        ..all.clone()
    };
    assert_eq!(ids(&telemetry.decisions(&europe)), ["e", "b"]);
    let refused = Filter {
        kind: Some(Kind::Refuse),
        ..all.clone()
    };
    assert_eq!(ids(&telemetry.decisions(&refused)), ["c"]);
    let nowhere = Filter {
        region: Some("mars".to_owned()),
        ..all
    };
    assert!(telemetry.decisions(&nowhere).is_empty());
    assert_eq!(telemetry.decision("b").unwrap()["region"], "europe-west1");
    assert_eq!(telemetry.decision("z"), None);
}

#[test]
fn receipts_keep_the_names_of_their_own_generation() {
    let telemetry = telemetry();
    let first = Arc::new(generation(1, TWO_REGIONS));
    telemetry.adopt(&first);
    let head = RequestHead::new();
    let verdict = Verdict::Forward {
        region: RegionIndex(1),
    };
    telemetry.finish(&outcome(&first, &head), receipt("old", &first, verdict));
    let renamed = TWO_REGIONS.replace("europe-west1", "europe-north1");
    for number in 2..=4 {
        telemetry.adopt(&Arc::new(generation(number, &renamed)));
    }
    assert_eq!(telemetry.decision("old").unwrap()["region"], "europe-west1");
    telemetry.adopt(&Arc::new(generation(5, &renamed)));
    let bare = telemetry.decision("old").unwrap();
    assert!(
        bare.get("region").is_none() && bare["note"].is_string(),
        "{bare}"
    );
    assert_eq!(
        (&bare["generation"], &bare["verdict"]),
        (&1.into(), &"forward".into())
    );
}
