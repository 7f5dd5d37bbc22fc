//! Price of a head: parse, and parse and write.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use meridian_wire::h1::{
    Connection, RequestParser, RequestPlan, ResponseParser, ResponsePlan, write_request,
    write_response,
};
use meridian_wire::{
    Added, BodyFraming, HeadLimits, KnownSet, Method, RequestHead, ResponseHead, Upgrade, Version,
    path,
};

const REQUEST: &[u8] = b"GET /v3/tenants/4711/records?limit=20 HTTP/1.1\r\n\
    Host: edge.example.com:8443\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/128\r\n\
    Accept: application/json, text/event-stream\r\n\
    Accept-Encoding: gzip, br\r\n\
    X-Data-Class: tier_2_internal\r\n\
    Connection: keep-alive\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: backend/1.0\r\n\
    Date: Sun, 22 Nov 2026 19:00:42 GMT\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 1024\r\n\
    ETag: \"67409f1c-400\"\r\n\
    Cache-Control: no-store\r\n\r\n";

fn request(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    let limits = HeadLimits::default();
    let (mut parser, mut head, mut out) = (RequestParser::new(), RequestHead::new(), Vec::new());
    group.bench_function("parse", |bencher| {
        bencher.iter(|| parser.parse(black_box(REQUEST), &limits, &mut head));
    });
    group.bench_function("write", |bencher| {
        let plan = RequestPlan {
            drop: KnownSet::EMPTY,
            append: &Added::from_iter([("x-forwarded-for", b"192.0.2.1".as_slice())]),
            framing: BodyFraming::None,
            upgrade: Upgrade::None,
        };
        bencher.iter(|| {
            out.clear();
            write_request(black_box(&head), &plan, &mut out);
        });
    });
    let mut drip = b"GET / HTTP/1.1\r\nhost: a\r\n".to_vec();
    while drip.len() < 60_000 {
        drip.extend_from_slice(b"x: 1234567890123456789012345678901234567890\r\n");
    }
    drip.extend_from_slice(b"\r\n");
    let wide = HeadLimits {
        fields: 10_000,
        ..limits
    };
    group.throughput(Throughput::Bytes(drip.len() as u64));
    group.bench_function("drip of 60 kB, byte by byte", |bencher| {
        bencher.iter(|| {
            (1..=drip.len()).find_map(|len| {
                parser
                    .parse(drip.get(..len).unwrap_or(&[]), &wide, &mut head)
                    .transpose()
            })
        });
    });
    group.finish();
}

fn response(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("response");
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    let limits = HeadLimits::default();
    let (mut parser, mut head, mut out) = (ResponseParser::new(), ResponseHead::new(), Vec::new());
    group.bench_function("parse", |bencher| {
        bencher.iter(|| parser.parse(black_box(RESPONSE), &limits, Method::Get, &mut head));
    });
    group.bench_function("write", |bencher| {
        let plan = ResponsePlan {
            to: Version::Http11,
            drop: KnownSet::EMPTY,
            append: &Added::from_iter([("x-meridian-region", b"europe-west1".as_slice())]),
            framing: BodyFraming::Length(1024),
            connection: Connection::KeepAlive,
        };
        bencher.iter(|| {
            out.clear();
            write_response(black_box(&head), &plan, &mut out);
        });
    });
    group.finish();
}

fn normalize(criterion: &mut Criterion) {
    let mut out = Vec::new();
    criterion.bench_function("path/normalize", |bencher| {
        bencher.iter(|| path::normalize(black_box("/v3//tenants/./4711/../%7e/records"), &mut out));
    });
}

criterion_group!(benches, request, response, normalize);
criterion_main!(benches);
