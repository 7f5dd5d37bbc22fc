//! What inspection costs: harmless targets, ones that need a closer look,
//! attacks, and the worst text of a head's size.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use meridian_waf::{Ruleset, inspect_body, inspect_field, inspect_path, inspect_query};

const FIELDS: [&str; 8] = [
    "edge.example.org",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "gzip, deflate, br",
    "en-GB,en;q=0.9,de;q=0.8",
    "session=0123456789abcdef0123456789abcdef; theme=dark",
    "https://example.org/shop?page=2",
    "91.64.0.1",
];

fn heads(criterion: &mut Criterion) {
    let rules = Ruleset::builtin();
    let mut group = criterion.benchmark_group("head");
    for (name, path, query) in [
        ("plain", "/v3/echo/items", "page=2&sort=name&order=asc"),
        (
            "encoded",
            "/wiki/O%27Brien",
            "q=select%20a%20seat%20or%20order&name=O%27Brien",
        ),
        ("attack", "/v3/echo", "q=1%27%20OR%20%271%27=%271"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let target = inspect_path(rules, black_box(path.as_bytes())).is_pass()
                    && inspect_query(rules, black_box(query.as_bytes())).is_pass();
                target
                    && FIELDS
                        .iter()
                        .all(|v| inspect_field(rules, black_box(v.as_bytes())).is_pass())
            });
        });
    }
    group.finish();
}

fn worst(criterion: &mut Criterion) {
    let rules = Ruleset::builtin();
    let mut group = criterion.benchmark_group("worst");
    for (name, piece) in [
        ("quotes", "'+or+"),
        ("encoded", "%25%32%35"),
        ("open", "<a+on"),
        ("comment", "/*"),
    ] {
        for size in [1_024, 8_192] {
            let text = piece.repeat(size / piece.len());
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(format!("{name}/{size}"), |bencher| {
                bencher.iter(|| inspect_query(rules, black_box(text.as_bytes())));
            });
        }
    }
    let body =
        br#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo"}}"#.repeat(100);
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("json body", |bencher| {
        bencher.iter(|| inspect_body(rules, Some(b"application/json"), black_box(&body)));
    });
    group.finish();
}

criterion_group!(benches, heads, worst);
criterion_main!(benches);
