//! Backends that answer wrongly: the client gets 502 or a broken message,
//! never somebody else's bytes.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::harness::client::Broken;
use crate::harness::h2client;
use crate::harness::{CARRIERS, Carrier, End, PATIENCE, Setup, Upstream};

/// Answers that break a rule in their head.
const BAD_HEADS: &[&str] = &[
    "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
    "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "ICY 200 OK\r\n\r\n",
    "nonsense\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX y: z\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "HTTP/1.1 103 Early\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Len",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "H",
    "",
];

/// Answers whose body breaks off or is framed wrongly after a good head.
const BAD_BODIES: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nabc\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
];

/// `/n/3` is answered with the fourth of the table, anything else is echoed.
fn table(answers: &'static [&'static str]) -> Upstream {
    Upstream::start(move |call| {
        while let Some(request) = call.request() {
            let target = request.head.split(' ').nth(1).unwrap();
            match target.strip_prefix("/n/") {
                Some(number) => {
                    let number: usize = number.parse().unwrap();
                    call.send(answers[number]).unwrap();
                    return;
                }
                None => call.ok(b"fine").unwrap(),
            }
        }
    })
}

fn lenient(upstream: &Upstream) -> Setup {
    // One endpoint that is always broken stays in use here.
    Setup::to(&[upstream.address]).policies(
        "retry: { max_retries: 0 }\n\
         traffic_policy: { failover: { failover_error_threshold: 100, degraded_error_threshold: 100 } }\n",
    )
}

#[test]
fn an_answer_whose_head_breaks_a_rule_is_502_and_its_connection_is_not_used_again() {
    let upstream = table(BAD_HEADS);
    let edge = lenient(&upstream).start();
    for carrier in CARRIERS {
        let mut client = edge.over(carrier);
        for (number, bad) in BAD_HEADS.iter().enumerate() {
            let before = upstream.seen().len();
            assert_eq!(client.get(&format!("/n/{number}")).status, 502, "{bad:?}");
            // The client's own connection lives on; the backend's does not.
            assert_eq!(client.get("/fine").text(), "fine", "after {bad:?}");
            let seen = upstream.seen();
            let used = seen
                .iter()
                .rposition(|s| s.text().contains("/fine"))
                .unwrap();
            assert!(
                !seen[used].text().contains(&format!("/n/{number} ")),
                "reused after {bad:?}"
            );
            assert!(seen.len() > before, "reused after {bad:?}");
        }
    }
}

#[test]
fn an_answer_that_breaks_in_its_body_is_never_a_clean_end_over_http1() {
    let upstream = table(BAD_BODIES);
    let edge = lenient(&upstream).start();
    for carrier in CARRIERS {
        for (number, bad) in BAD_BODIES.iter().enumerate() {
            let mut client = edge.over(carrier);
            client.send(format!("GET /n/{number} HTTP/1.1\r\nHost: edge\r\n\r\n"));
            match client.try_answer("GET") {
                Err(Broken::Ended(..)) => {}
                whole => panic!("{carrier:?}, {bad:?}: {whole:?}"),
            }
        }
    }
}

#[test]
fn an_answer_that_breaks_in_its_body_is_a_reset_stream_over_h2() {
    let upstream = table(BAD_BODIES);
    let edge = lenient(&upstream).start();
    h2client::with(&edge, async |mut client| {
        for (number, bad) in BAD_BODIES.iter().enumerate() {
            let (answer, _) = client.open(&format!("/n/{number}")).await;
            match h2client::whole(answer).await {
                Err(error) => assert!(error.is_reset(), "{bad:?}: {error}"),
                Ok(answer) => panic!("{bad:?}: {}", answer.status),
            }
        }
        // The connection carries on.
        assert_eq!(client.ask("GET", "/fine").await.text(), "fine");
    });
}

/// An old client gets the beginning of an answer, and then its backend dies.
fn dies_before_an_old_client(carrier: Carrier) -> End {
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let upstream = Upstream::start(move |call| {
        call.request();
        call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            .unwrap();
        may_go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
    });
    let edge = lenient(&upstream).start();
    let mut client = edge.over(carrier);
    client.send("GET / HTTP/1.0\r\nHost: edge\r\n\r\n");
    let head = client.head().unwrap();
    assert_eq!((head.status, head.field("content-length")), (200, None));
    assert_eq!(client.exactly(3), b"abc");
    go.send(()).unwrap();
    client.ends()
}

#[test]
fn a_body_that_ends_with_the_connection_and_breaks_is_no_clean_end_over_tls() {
    assert_eq!(dies_before_an_old_client(Carrier::Tls), End::Reset);
}

#[test]
fn a_body_that_ends_with_the_connection_and_breaks_is_no_clean_end_over_plain_text() {
    assert_eq!(dies_before_an_old_client(Carrier::Plain), End::Reset);
}

#[test]
fn bytes_behind_an_answer_never_reach_the_next_client() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for behind in [
        format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine{evil}"),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n{evil}"
        ),
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine\r\n".to_owned(),
    ] {
        let upstream = Upstream::always(behind);
        let edge = Setup::to(&[upstream.address]).start();
        for _ in 0..10 {
            assert_eq!(edge.plain().get("/").text(), "fine");
        }
        assert_eq!(
            upstream.seen().len(),
            10,
            "a connection with a rest was used again"
        );
    }
}

#[test]
fn a_body_where_none_may_be_never_reaches_the_next_client() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for (method, head) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 48\r\n\r\n"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 48\r\n\r\n",
        ),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
    ] {
        let upstream = Upstream::start(move |call| {
            while call.request().is_some() {
                let answer = format!("{head}{evil}");
                if call.send(answer).is_err() {
                    return;
                }
            }
        });
        let edge = Setup::to(&[upstream.address]).start();
        let mut client = edge.plain();
        for _ in 0..5 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: edge\r\n\r\n"));
            let answer = client.try_answer(method).unwrap();
            assert_eq!(answer.status.to_string(), head.split(' ').nth(1).unwrap());
        }
        client.close_write();
        let (rest, _) = client.rest();
        assert!(
            rest.is_empty(),
            "{method} {head}: {}",
            String::from_utf8_lossy(&rest)
        );
    }
}

#[test]
fn an_answer_that_nobody_asked_for_ends_an_idle_connection_to_the_backend() {
    let upstream = Upstream::start(|call| {
        let number = call.number;
        while call.request().is_some() {
            call.ok(format!("from {number}").as_bytes()).unwrap();
            if number == 0 {
                // Behind the answer, in a write of its own.
                let _ = call.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
            }
        }
    });
    let edge = Setup::to(&[upstream.address]).start();
    let mut client = edge.plain();
    assert_eq!(client.get("/").text(), "from 0");
    // Whichever comes first, the answer or the evil bytes: never both of one.
    for _ in 0..20 {
        assert_ne!(client.get("/").text(), "evil");
    }
    assert!(upstream.seen().len() > 1);
}

#[test]
fn interim_answers_without_end_are_cut_off() {
    let upstream = Upstream::start(|call| {
        call.request();
        let many = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1_000);
        while call.send(&many).is_ok() {}
    });
    let edge = lenient(&upstream).start();
    let mut client = edge.plain();
    client.send("GET / HTTP/1.1\r\nHost: edge\r\n\r\n");
    let mut interim = 0;
    let last = loop {
        match client.head() {
            Ok(head) if head.status == 103 => interim += 1,
            Ok(head) => break head.status,
            Err(broken) => panic!("{broken:?} after {interim}"),
        }
    };
    assert_eq!(last, 502);
    assert!(interim <= 100, "{interim} interim answers passed");
}

#[test]
fn a_head_without_end_is_502() {
    let upstream = Upstream::start(|call| {
        call.request();
        let _ = call.send("HTTP/1.1 200 OK\r\n");
        let field = format!("X: {}\r\n", "a".repeat(1_000));
        while call.send(&field).is_ok() {}
    });
    let edge = lenient(&upstream).start();
    assert_eq!(edge.plain().get("/").status, 502);
}
