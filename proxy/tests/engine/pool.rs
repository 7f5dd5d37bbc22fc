//! Connections to backends: kept, replaced, and never a reason to run
//! something twice.

use crate::harness::{Setup, Upstream, h2client, until};

#[test]
fn one_connection_to_the_backend_carries_request_after_request() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = edge.plain();
    for _ in 0..20 {
        client.get("/");
    }
    for _ in 0..5 {
        edge.tls()
            .ask("POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 3\r\n\r\nabc");
    }
    h2client::with(&edge, async |mut client| {
        for _ in 0..5 {
            client.ask("GET", "/").await;
        }
    });
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_connection_that_the_backend_closed_meanwhile_is_replaced_unnoticed() {
    let upstream = Upstream::start(|call| {
        call.request();
        call.ok(b"and goodbye").unwrap();
    });
    let edge = Setup::to(&[upstream.address])
        .policies("retry: { max_retries: 0 }\n")
        .start();
    let mut client = edge.plain();
    for round in 1..=10 {
        let request = "POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(client.ask(request).status, 200);
        assert_eq!(upstream.seen().len(), round);
        // The script has returned; its connection closes at this moment.
        until("the backend closes", || {
            upstream.is_closed(round - 1).then_some(())
        });
    }
}

/// Answers the first request of its first connection; whatever else comes
/// there ends it without an answer.
fn closes_under_the_second() -> Upstream {
    Upstream::start(|call| {
        let mut served = 0;
        while let Some(request) = call.request() {
            if call.number == 0 && served == 1 {
                return;
            }
            served += 1;
            call.ok(request.head.split(' ').next().unwrap().as_bytes())
                .unwrap();
        }
    })
}

#[test]
fn a_get_on_a_connection_that_closes_under_it_goes_out_again_unnoticed() {
    let upstream = closes_under_the_second();
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = edge.plain();
    assert_eq!(client.get("/one").text(), "GET");
    assert_eq!(client.get("/two").text(), "GET");
    assert_eq!(upstream.count("GET /two"), 2);
    assert_eq!(
        edge.metric("meridian_retries_total{region=\"local\",reason=\"stale-connection\"}"),
        1
    );
}

#[test]
fn a_post_that_may_have_arrived_is_never_sent_again() {
    let upstream = closes_under_the_second();
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = edge.plain();
    client.get("/one");
    let post = "POST /two HTTP/1.1\r\nHost: edge\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(client.ask(post).status, 502);
    assert_eq!(upstream.count("POST /two"), 1);
    assert_eq!(
        client.ask(post).status,
        200,
        "the client's connection lives on"
    );
}

#[test]
fn a_put_goes_out_again_with_its_whole_body() {
    let upstream = closes_under_the_second();
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = edge.plain();
    client.get("/one");
    let put = "PUT /two HTTP/1.1\r\nHost: edge\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(client.ask(put).status, 200);
    let seen = upstream.seen();
    assert_eq!(upstream.count("PUT /two"), 2);
    assert!(
        seen[1].text().ends_with("\r\n\r\nabc"),
        "{}",
        seen[1].text()
    );
}

/// Answers 503 and what it read.
fn unwilling() -> Upstream {
    Upstream::start(|call| {
        while call.request().is_some() {
            call.send("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno")
                .unwrap();
        }
    })
}

/// Every request goes to the first region, a second try to the other one.
fn first_then_second(first: &Upstream, second: &Upstream) -> Setup {
    Setup::regions(&[
        ("first", "weight: 100,", first.address),
        ("second", "role: standby, weight: 0,", second.address),
    ])
}

#[test]
fn a_status_that_the_policy_names_is_tried_elsewhere_for_what_may_be_repeated() {
    let (no, yes) = (unwilling(), Upstream::echo());
    let edge = first_then_second(&no, &yes)
        .policies("retry: { max_retries: 1, statuses: [503], min_per_second: 100 }\n")
        .start();
    for number in 0..5 {
        assert_eq!(edge.plain().get(&format!("/{number}")).status, 200);
    }
    assert_eq!((no.count("GET "), yes.count("GET ")), (5, 5));
    for number in 0..5 {
        let put =
            format!("PUT /put{number} HTTP/1.1\r\nHost: edge\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(edge.plain().ask(put).status, 200);
    }
    assert_eq!((no.count("PUT "), yes.count("PUT ")), (5, 5));
    let post = "POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(edge.plain().ask(post).status, 503);
    assert_eq!((no.count("POST "), yes.count("POST ")), (1, 0));
}

#[test]
fn a_status_that_the_policy_does_not_name_is_the_answer() {
    let (no, yes) = (unwilling(), Upstream::echo());
    let edge = first_then_second(&no, &yes)
        .policies("retry: { max_retries: 1, statuses: [502] }\n")
        .start();
    assert_eq!(edge.plain().get("/").status, 503);
    assert!(yes.bytes().is_empty());
}

#[test]
fn a_body_that_was_streamed_is_never_sent_again_in_part() {
    let script = |call: &mut crate::harness::Call| {
        while call.request().is_some() {
            call.send("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
        }
    };
    let (one, two) = (Upstream::start(script), Upstream::start(script));
    let edge = Setup::to(&[one.address, two.address])
        .policies("retry: { max_retries: 1, statuses: [503], min_per_second: 100 }\n")
        .start();
    for framing in ["Content-Length: 300", "Transfer-Encoding: chunked"] {
        let before = [one.seen().len(), two.seen().len()];
        let chunked = framing.contains("chunked");
        let piece = |byte: &str| {
            let data = byte.repeat(100);
            if chunked {
                format!("64\r\n{data}\r\n")
            } else {
                data
            }
        };
        let mut client = edge.plain();
        client.send(format!(
            "PUT /up HTTP/1.1\r\nHost: edge\r\n{framing}\r\n\r\n{}",
            piece("a")
        ));
        // The first piece has left the edge before the last one comes.
        until("the first piece", || {
            let seen: String = [&one, &two]
                .iter()
                .flat_map(|up| up.seen())
                .map(|s| s.text())
                .collect();
            seen.contains("aaaaaaaa").then_some(())
        });
        client.send(piece("b"));
        client.send(piece("c"));
        if chunked {
            client.send("0\r\n\r\n");
        }
        assert_eq!(client.answer().status, 503);
        let after = [one.seen().len(), two.seen().len()];
        assert_eq!(
            after.iter().sum::<usize>(),
            before.iter().sum::<usize>() + 1,
            "{framing}"
        );
    }
}

#[test]
fn an_endpoint_that_refuses_connections_costs_no_request() {
    let gone = Upstream::echo();
    gone.stop();
    let there = Upstream::echo();
    let edge = first_then_second(&gone, &there)
        .policies("retry: { max_retries: 1, min_per_second: 100 }\n")
        .start();
    for _ in 0..5 {
        let post = "POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(edge.plain().ask(post).status, 200);
    }
    let series = "meridian_upstream_connects_total{region=\"first\",result=\"refused\"}";
    assert!(edge.metric(series) > 0);
}

#[test]
fn a_backend_that_is_killed_loses_no_get_and_runs_no_post_twice() {
    let (one, two) = (Upstream::echo(), Upstream::echo());
    let edge = Setup::to(&[one.address, two.address])
        .policies("retry: { max_retries: 2, min_per_second: 1000 }\n")
        .threads(2)
        .start();
    let asking: Vec<_> = (0..8)
        .map(|number| {
            let mut client = edge.plain();
            std::thread::spawn(move || {
                let mut failed = 0;
                for round in 0..50 {
                    assert_eq!(client.get("/").status, 200);
                    let id = format!("id-{number}-{round}-");
                    let post =
                        format!("POST /{id} HTTP/1.1\r\nHost: edge\r\nContent-Length: 0\r\n\r\n");
                    failed += usize::from(client.ask(post).status != 200);
                }
                failed
            })
        })
        .collect();
    until("some requests", || (one.count("GET ") > 40).then_some(()));
    one.stop();
    let failed: usize = asking
        .into_iter()
        .map(|asking| asking.join().unwrap())
        .sum();
    assert!(
        failed <= 8,
        "{failed} POSTs failed; at most those in flight may"
    );
    let all = [one.bytes(), two.bytes()].concat();
    let all = String::from_utf8_lossy(&all);
    for number in 0..8 {
        for round in 0..50 {
            assert!(all.matches(&format!("POST /id-{number}-{round}- ")).count() <= 1);
        }
    }
}

#[test]
fn retries_are_a_share_of_the_requests_when_all_backends_are_down() {
    let broken = || {
        Upstream::start(|call| {
            call.request();
        })
    };
    let (one, two) = (broken(), broken());
    let edge = Setup::to(&[one.address, two.address])
        .policies("retry: { max_retries: 2, budget_percent: 20, min_per_second: 0 }\n")
        .start();
    let mut client = edge.plain();
    for _ in 0..100 {
        assert!(matches!(client.get("/").status, 502 | 503));
    }
    let tries = one.seen().len() + two.seen().len();
    assert!(tries <= 121, "{tries} tries for 100 requests");
}

#[test]
fn a_connection_after_which_the_backend_wants_the_end_is_not_kept() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let upstream = Upstream::always(answer);
        let edge = Setup::to(&[upstream.address]).start();
        let mut client = edge.plain();
        for _ in 0..3 {
            assert_eq!(
                client.get("/").field("connection"),
                None,
                "the client's own lives on"
            );
        }
        assert_eq!(upstream.seen().len(), 3, "{answer}");
        upstream.until_ended(0);
    }
}

#[test]
fn an_idle_connection_to_the_backend_is_closed_in_time() {
    let upstream = Upstream::echo();
    let edge = Setup::to(&[upstream.address])
        .timeouts("upstream_idle: 200ms")
        .start();
    edge.plain().get("/");
    upstream.until_ended(0);
}

#[test]
fn one_connection_serves_no_two_requests_at_once() {
    let upstream = Upstream::start(|call| {
        while let Some(request) = call.request() {
            // More than one request in the buffer would show here.
            assert!(call.is_dry(), "two requests at once");
            call.ok(request.head.as_bytes()).unwrap();
        }
    });
    let edge = Setup::to(&[upstream.address]).threads(2).start();
    h2client::with(&edge, async |client| {
        let mut open = Vec::new();
        for number in 0..50 {
            let mut client = client.clone();
            open.push(tokio::spawn(async move {
                let answer = client.ask("GET", &format!("/n{number}")).await;
                assert!(answer.text().starts_with(&format!("GET /n{number} ")));
            }));
        }
        for each in open {
            each.await.unwrap();
        }
    });
}

#[test]
fn a_frozen_backend_costs_its_first_byte_once_and_is_then_left_alone() {
    // SIGSTOP: connections are accepted by the kernel and nothing answers.
    let frozen = Upstream::start(crate::harness::Call::until_ended);
    let there = Upstream::echo();
    let edge = Setup::to(&[frozen.address, there.address])
        .timeouts("first_byte: 300ms")
        .policies(
            "outlier_detection: { consecutive_errors: 2, base_ejection_time: 60s }\n\
             retry: { max_retries: 2, min_per_second: 100 }\n",
        )
        .threads(2)
        .start();
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let mut client = edge.plain();
            std::thread::spawn(move || {
                for _ in 0..30 {
                    assert_eq!(client.get("/").status, 200);
                }
            })
        })
        .collect();
    for each in asking {
        each.join().unwrap();
    }
    let tries = frozen.seen().len();
    assert!(
        tries < 60,
        "{tries} of 240 requests waited for the frozen one"
    );
}
