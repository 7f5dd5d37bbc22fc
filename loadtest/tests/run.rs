//! Runs against servers in this process, on ports the system chose.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::CONNECTION;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use meridian_load::args::Args;
use meridian_load::report::Report;
use meridian_load::{RunError, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

#[derive(Copy, Clone)]
enum Speak {
    H1,
    H2,
}

/// How the server answers its request number `n`, from zero.
#[derive(Copy, Clone)]
enum Answer {
    Fine,
    /// Echoes the request's body.
    Echo,
    /// Every second answer is a 503.
    EverySecondUnavailable,
    /// Says `Connection: close` each time.
    Close,
    /// Request 20 takes half a second, and all others wait behind it.
    StallOnce,
    Never,
}

async fn answer(request: Request<Incoming>, how: Answer, n: u64) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"0123456789")));
    match how {
        Answer::Fine => {}
        Answer::Echo => {
            assert_eq!(
                request
                    .headers()
                    .get("x-test")
                    .map(hyper::header::HeaderValue::as_bytes),
                Some(&b"yes"[..])
            );
            let body = request.into_body().collect().await.unwrap().to_bytes();
            *response.body_mut() = Full::new(body);
        }
        Answer::EverySecondUnavailable => {
            if n % 2 == 1 {
                *response.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
            }
        }
        Answer::Close => {
            response
                .headers_mut()
                .insert(CONNECTION, "close".parse().unwrap());
        }
        Answer::StallOnce => {
            if n == 20 {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        Answer::Never => std::future::pending().await,
    }
    response
}

async fn serve(speak: Speak, how: Answer, tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            let service = service_fn(move |request| {
                let n = count.fetch_add(1, Ordering::Relaxed);
                async move { Ok::<_, Infallible>(answer(request, how, n).await) }
            });
            let tls = tls.clone();
            tokio::spawn(async move {
                let io: Box<dyn Both> = match tls {
                    None => Box::new(tcp),
                    Some(tls) => match tls.accept(tcp).await {
                        Ok(stream) => Box::new(stream),
                        Err(_) => return,
                    },
                };
                let io = TokioIo::new(io);
                // A client that leaves is no failure of the server.
                match speak {
                    Speak::H1 => drop(http1::Builder::new().serve_connection(io, service).await),
                    Speak::H2 => {
                        let builder = http2::Builder::new(TokioExecutor::new());
                        drop(builder.serve_connection(io, service).await);
                    }
                }
            });
        }
    });
    address
}

/// Echoes over HTTP/3.
fn serve_h3(tls: ServerConfig) -> SocketAddr {
    use bytes::Buf as _;
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                // A client that wants another protocol is no failure here.
                let Ok(quic) = incoming.await else { return };
                let carrier = h3_quinn::Connection::new(quic);
                let mut connection = h3::server::Connection::new(carrier).await.unwrap();
                while let Ok(Some(resolver)) = connection.accept().await {
                    let (request, mut stream) = resolver.resolve_request().await.unwrap();
                    assert_eq!(request.headers()["x-test"], "yes");
                    let mut body = Vec::new();
                    while let Some(mut data) = stream.recv_data().await.unwrap() {
                        body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
                    }
                    stream.send_response(Response::new(())).await.unwrap();
                    stream.send_data(Bytes::from(body)).await.unwrap();
                    stream.finish().await.unwrap();
                }
            });
        }
    });
    address
}

trait Both: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Both for T {}

fn acceptor(protocols: &[&[u8]]) -> TlsAcceptor {
    TlsAcceptor::from(Arc::new(tls(protocols)))
}

fn tls(protocols: &[&[u8]]) -> ServerConfig {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config
}

async fn load(line: &str) -> Result<Report, RunError> {
    let words = ["meridian-load"].into_iter().chain(line.split_whitespace());
    run(Args::try_parse_from(words).unwrap().plan().unwrap()).await
}

#[tokio::test]
async fn an_open_run_makes_rate_times_duration_requests() {
    let address = serve(Speak::H1, Answer::Fine, None).await;
    let line = format!("http://{address}/a?b=c --rate 200 --duration 500ms --warm-up 100ms -c 4");
    let report = load(&line).await.unwrap();
    assert_eq!((report.requests, report.answers), (100, 100));
    assert_eq!(report.statuses.get(&200), Some(&100));
    assert_eq!(
        (report.body_bytes, report.error_rate, report.reconnects),
        (1_000, 0.0, 0)
    );
    assert!(report.rate <= 200.0, "{}", report.rate);
}

#[tokio::test]
async fn a_stall_shows_in_the_latency_of_all_it_kept_waiting() {
    let address = serve(Speak::H1, Answer::StallOnce, None).await;
    let line = format!("http://{address}/ --rate 100 --duration 1s --warm-up 0s -c 1");
    let report = load(&line).await.unwrap();
    assert_eq!(report.answers, 100);
    let (latency, service) = (report.latency_us.unwrap(), report.service_us.unwrap());
    // About 50 requests should have started during the stall; only one felt it
    // on the wire.
    assert!(latency.p75 >= 100_000, "{latency:?}");
    assert!(
        service.max >= 500_000 && service.p95 < latency.p75,
        "{service:?}"
    );
}

#[tokio::test]
async fn every_protocol_gets_its_answers() {
    let h1 = serve(Speak::H1, Answer::Echo, Some(acceptor(&[b"http/1.1"]))).await;
    let bare = serve(Speak::H1, Answer::Echo, Some(acceptor(&[]))).await;
    let h2 = serve(
        Speak::H2,
        Answer::Echo,
        Some(acceptor(&[b"h2", b"http/1.1"])),
    )
    .await;
    let h2c = serve(Speak::H2, Answer::Echo, None).await;
    let h3 = serve_h3(tls(&[b"h3"]));
    for target in [
        format!("https://{h1}/ --insecure"),
        format!("https://{bare}/ --insecure"),
        format!("https://{h2}/ --insecure --protocol h2 --streams 4"),
        format!("http://{h2c}/ --protocol h2 --streams 4"),
        format!("https://{h3}/ --insecure --protocol h3 --streams 4"),
    ] {
        let rest = "--closed --requests 40 --warm-up 0s -c 2 -X POST --body hello -H x-test:yes";
        let report = load(&format!("{target} {rest}")).await.unwrap();
        assert_eq!(report.statuses.get(&200), Some(&40), "{target}");
        assert_eq!(
            (report.body_bytes, report.errors.len()),
            (200, 0),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_certificate_nobody_vouched_for_and_a_missing_protocol_end_the_run() {
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = std::env::temp_dir().join(format!("meridian-load-{}.pem", std::process::id()));
    std::fs::write(&file, other.cert.pem()).unwrap();
    let address = serve(Speak::H1, Answer::Fine, Some(acceptor(&[b"http/1.1"]))).await;
    let port = address.port();
    let distrusted = format!("https://localhost:{port}/ --ca {} --closed", file.display());
    let no_h2 = format!("https://{address}/ --insecure --protocol h2 --closed");
    let no_h3 = serve_h3(tls(&[b"other"]));
    let no_h3 = format!("https://{no_h3}/ --insecure --protocol h3 --closed");
    for line in [distrusted, no_h2, no_h3] {
        let error = load(&line).await.unwrap_err();
        assert!(matches!(error, RunError::Open { number: 1, .. }), "{error}");
        assert!(error.to_string().contains("Tls"), "{error}");
    }
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn statuses_outside_the_accepted_ones_are_errors() {
    let address = serve(Speak::H1, Answer::EverySecondUnavailable, None).await;
    let line =
        format!("http://{address}/ --closed --requests 10 --warm-up 0s -c 1 --max-error-rate 0.4");
    let report = load(&line).await.unwrap();
    assert_eq!((report.requests, report.answers), (10, 10));
    assert_eq!(report.error_rate.to_string(), "0.5");
    assert!(!report.passed());
    let report = load(&format!("{line} --ok-status 200-599")).await.unwrap();
    assert!(report.passed() && report.errors.is_empty());
}

#[tokio::test]
async fn a_server_that_closes_politely_costs_reconnects_and_no_errors() {
    let address = serve(Speak::H1, Answer::Close, None).await;
    let line = format!("http://{address}/ --closed --requests 10 --warm-up 0s -c 1");
    let report = load(&line).await.unwrap();
    assert_eq!(
        (report.answers, report.errors.len(), report.reconnects),
        (10, 0, 9)
    );
}

#[tokio::test]
async fn requests_without_an_answer_and_requests_never_sent_are_errors() {
    let address = serve(Speak::H1, Answer::Never, None).await;
    let line = format!(
        "http://{address}/ --rate 100 --duration 200ms --warm-up 0s --timeout 150ms -c 2 --max-p99 1s"
    );
    let report = load(&line).await.unwrap();
    assert_eq!((report.requests, report.answers), (20, 0));
    let errors = serde_json::to_value(&report.errors).unwrap();
    let count = |kind: &str| {
        errors
            .get(kind)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(0)
    };
    assert!(count("timeout") >= 2 && count("unsent") >= 10, "{errors}");
    assert_eq!(count("timeout") + count("unsent"), 20);
    assert!(
        !report.passed(),
        "nothing was answered: no bound on latency holds"
    );
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 1_024];
            if tcp.read(&mut bytes).await.is_ok_and(|read| read > 0) {
                tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
                    .await
                    .unwrap();
            }
        }
    });
    let line = format!("http://{address}/ --closed --requests 5 --warm-up 0s -c 1");
    let report = load(&line).await.unwrap();
    assert_eq!(
        serde_json::to_value(&report.errors).unwrap(),
        serde_json::json!({"truncated": 5})
    );
}

async fn command(line: String) -> Output {
    let run = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meridian-load"));
        command.args(line.split_whitespace()).output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_fine_from_failed_from_misused() {
    let address = serve(Speak::H1, Answer::Fine, None).await;
    let rest = "--closed --requests 10 --warm-up 0s -c 1 --json";
    let fine = command(format!(
        "http://{address}/ {rest} --max-p99 10s --max-error-rate 0"
    ))
    .await;
    assert_eq!(fine.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&fine.stdout).unwrap();
    assert_eq!(json["answers"], 10);
    assert_eq!(json["checks"][0]["passed"], true);
    assert!(json["latency_us"]["p99_9"].is_u64());

    let failed = command(format!("http://{address}/ {rest} --max-p50 1us")).await;
    assert_eq!(failed.status.code(), Some(1));
    let misused = command(format!("http://192.0.2.1/ {rest}")).await;
    assert_eq!(misused.status.code(), Some(2));
    assert!(
        String::from_utf8(misused.stderr)
            .unwrap()
            .contains("--allow-remote")
    );

    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let unreachable = command(format!("http://{gone}/ {rest}")).await;
    assert_eq!(unreachable.status.code(), Some(1));
    assert!(
        String::from_utf8(unreachable.stderr)
            .unwrap()
            .contains("cannot open connection 1")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_form_names_rate_percentiles_statuses_and_thresholds() {
    let address = serve(Speak::H1, Answer::EverySecondUnavailable, None).await;
    let line = format!(
        "http://{address}/ --rate 100 --duration 200ms --warm-up 0s -c 2 --max-error-rate 0.1"
    );
    let text = String::from_utf8(command(line).await.stdout).unwrap();
    for piece in [
        "of 100 wanted",
        "p99.9",
        "200 10",
        "503 10",
        "status 10",
        "max-error-rate  FAILED",
    ] {
        assert!(text.contains(piece), "{piece} in {text}");
    }
}
