use std::sync::LazyLock;
use std::time::Duration;

use meridian_policies::RejectReason;
use meridian_wire::RequestHead;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::edge::Generation;
use crate::telemetry::testing::{TWO_REGIONS, generation, head, outcome};
use crate::telemetry::{End, ExpiredDeadline, Shape};

fn line(outcome: &Outcome<'_>) -> String {
    let mut out = Vec::new();
    write(outcome, &mut out);
    String::from_utf8(out).unwrap()
}

fn parsed(outcome: &Outcome<'_>) -> Value {
    serde_json::from_str(&line(outcome)).unwrap()
}

#[test]
fn a_forwarded_request_reads_like_this() {
    let generation = generation(3, TWO_REGIONS);
    let head = head("/v3/echo?x=1", &[("user-agent", b"curl/8.5.0")]);
    let expected = concat!(
        r#"{"severity":"INFO","time":"2026-11-22T18:32:00.054Z","#,
        r#""message":"GET /v3/echo 200 europe-west1","#,
        r#""httpRequest":{"requestMethod":"GET","requestUrl":"https://edge.example/v3/echo?x=1","#,
        r#""status":200,"requestSize":"0","responseSize":"1024","userAgent":"curl/8.5.0","#,
        r#""remoteIp":"203.0.113.7","serverIp":"10.0.1.5","latency":"0.012000s","#,
        r#""protocol":"HTTP/2"},"#,
        r#""logging.googleapis.com/trace":"4bf92f3577b34da6a3ce929d0e0e4736","#,
        r#""meridian":{"request_id":"0192f0c1-7d3a","region":"europe-west1","#,
        r#""endpoint":"europe-west1/http://10.0.1.5:8443","data_class":"tier_3_operational","#,
        r#""country":"DE","geo_source":"override","end":"complete","attempts":1,"generation":3,"#,
        r#""protocol":"h2","tls":"yes","peer":"127.0.0.1","connect":"0.000400s","#,
        r#""first_byte":"0.010000s"}}"#,
        "\n",
    );
    assert_eq!(line(&outcome(&generation, &head)), expected);
}

#[test]
fn a_refusal_is_a_warning_that_names_its_reason() {
    let generation = generation(1, TWO_REGIONS);
    let head = head("/mcp", &[]);
    let refused = Outcome {
        region: None,
        endpoint: None,
        status: 451,
        reject: Some(RejectReason::Residency),
        upstream_tls: None,
        attempts: 0,
        upstream_first_byte: None,
        connect: None,
        trace: None,
        ..outcome(&generation, &head)
    };
    let line = parsed(&refused);
    assert_eq!(line["severity"], "WARNING");
    assert_eq!(line["message"], "GET /mcp 451 residency");
    assert_eq!(line["meridian"]["reject"], "residency");
    assert_eq!(line["meridian"]["region"], "");
    assert!(line["httpRequest"].get("serverIp").is_none());
    assert!(line.get("logging.googleapis.com/trace").is_none());
}

#[test]
fn severity_follows_status_refusal_and_end() {
    let generation = generation(1, TWO_REGIONS);
    let head = head("/", &[]);
    let plain = outcome(&generation, &head);
    let late = End::TimedOut(ExpiredDeadline::Total);
    for (case, expected) in [
        (
            Outcome {
                status: 404,
                ..plain
            },
            "INFO",
        ),
        (
            Outcome {
                status: 503,
                ..plain
            },
            "ERROR",
        ),
        (
            Outcome {
                end: End::UpstreamBroke,
                ..plain
            },
            "WARNING",
        ),
        (Outcome { end: late, ..plain }, "WARNING"),
        (
            Outcome {
                end: End::ClientGone,
                ..plain
            },
            "WARNING",
        ),
        (
            Outcome {
                end: End::ClientGone,
                shape: Shape::EventStream,
                ..plain
            },
            "INFO",
        ),
    ] {
        assert_eq!(
            parsed(&case)["severity"],
            expected,
            "{} {:?}",
            case.status,
            case.end
        );
    }
}

#[test]
fn a_head_that_never_came_makes_a_line_too() {
    let generation = generation(1, TWO_REGIONS);
    let head = RequestHead::new();
    let line = parsed(&Outcome {
        status: 400,
        reject: Some(RejectReason::Malformed),
        region: None,
        endpoint: None,
        ..outcome(&generation, &head)
    });
    assert_eq!(line["httpRequest"]["status"], 400);
    assert_eq!(line["meridian"]["reject"], "malformed");
}

proptest! {
    #[test]
    fn hostile_values_stay_inside_their_strings(
        agent in proptest::collection::vec(any::<u8>(), 0..600),
        query in "[ -~]{0,3000}",
        id in "\\PC{0,200}",
        status in any::<u16>(),
        micros in any::<u32>(),
    ) {
        static GENERATION: LazyLock<Generation> = LazyLock::new(|| generation(1, TWO_REGIONS));
        // What the codecs let through, and a little more.
        let agent: Vec<u8> =
            agent.into_iter().filter(|byte| !matches!(byte, 0..0x20 | 0x7f)).collect();
        let query: String = query.chars().filter(|c| !" #\"<>\\^`{|}".contains(*c)).collect();
        let agent = agent.trim_ascii();
        let head = head(&format!("/v3/echo?{query}"), &[("user-agent", agent)]);
        let line = line(&Outcome {
            request_id: &id,
            trace: Some(&id),
            status,
            duration: Duration::from_micros(micros.into()),
            ..outcome(&GENERATION, &head)
        });
        prop_assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
        prop_assert!(line.len() < 16 * 1024, "{}", line.len());
        let value: Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(value.as_object().unwrap().len(), 6);
        prop_assert_eq!(&value["httpRequest"]["status"], status);
        prop_assert_eq!(&value["meridian"]["end"], "complete");
    }
}
