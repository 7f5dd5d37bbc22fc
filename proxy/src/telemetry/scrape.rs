//! What `/metrics` tells.
//!
//! Promises: names and labels of the multi-region dashboard and objectives as
//! they stand there, `meridian_*` for the edge's own, and the two names that
//! GKE's application dashboard looks for, from the same tables.

use std::fmt;

use meridian_policies::affinity::CookieSeen;
use meridian_policies::identity::TokenCount;
use meridian_policies::regions::{AffinityOutcome, RegionHealth};
use meridian_policies::{RejectReason, Tick};

use super::exposition::{BucketExemplar, Exposition, Labels};
use super::histogram::{self, Summed};
use super::labels::{
    CloseReason, ConnectResult, DropReason, HandshakeFailure, MethodLabel, Protocol, RetryReason,
    WebSocketEnd,
};
use super::regions::Cells;
use super::{DecisionCells, Recorder, Telemetry, counts::Counts, status, versions};
use crate::edge::{Edge, Generation};
use crate::reload::GeoAge;
use crate::server::tls::CertificateStatus;

/// What a scrape needs to know beside the counters.
#[derive(Copy, Clone)]
pub struct Scrape<'a> {
    /// The live generation.
    pub generation: &'a Generation,
    /// The moment of the scrape, for ejections that end.
    pub now: Tick,
    /// Addresses that the rate limiter remembers.
    pub limiter_addresses: usize,
    /// Policy sets accepted (the first one counts) and rejected.
    pub reloads: (u64, u64),
    /// Geo databases of the live generation.
    pub databases: &'a [GeoAge],
    /// Certificates in use.
    pub certificates: &'a [CertificateStatus],
    /// Files of TLS that were taken again, and that could not be used.
    pub tls_reloads: (u64, u64),
}

impl Telemetry {
    /// The text of one scrape, in the format of [`super::CONTENT_TYPE`].
    pub fn encode(&self, scrape: &Scrape<'_>) -> Result<String, fmt::Error> {
        let mut out = Exposition::default();
        self.requests(&mut out);
        self.latencies(&mut out);
        self.crossings(&mut out);
        self.connections(&mut out);
        self.verdicts(&mut out, scrape);
        self.upstreams(&mut out);
        self.sessions(&mut out);
        endpoints(&mut out, scrape);
        certificates(&mut out, scrape);
        self.process(&mut out, scrape);
        self.audited(&mut out);
        out.encode()
    }

    /// The text of one scrape of this edge.
    pub fn scrape(edge: &Edge) -> Result<String, fmt::Error> {
        let generation = edge.generation();
        edge.telemetry.encode(&Scrape {
            generation: &generation,
            now: edge.clock.tick(),
            limiter_addresses: edge.limits.len(),
            reloads: edge.reloads.counts(),
            databases: &edge.reloads.databases(),
            certificates: &edge.certificates(),
            tls_reloads: edge.tls.reloads(),
        })
    }

    fn requests(&self, out: &mut Exposition) {
        let mut by_region = Vec::new();
        let mut by_code = std::collections::BTreeMap::new();
        for (region, cells) in self.regions.all() {
            for (method, slot, count) in cells.requests() {
                let (method, status) = (method.as_str(), status::label(slot));
                *by_code.entry((status.clone(), method)).or_insert(0) += count;
                let labels = vec![
                    ("region", region.clone()),
                    label("method", method),
                    ("status", status),
                ];
                by_region.push((labels, count));
            }
        }
        let by_code = by_code
            .into_iter()
            .map(|((code, method), count)| (vec![("code", code), label("method", method)], count))
            .collect();
        out.counter(
            "erlmcp_requests",
            "Requests by the region that served; region edge: the edge answered by itself.",
            by_region,
        );
        out.counter(
            "http_requests",
            "Requests of all regions, as the application dashboard of GKE names them.",
            by_code,
        );
    }

    fn latencies(&self, out: &mut Exposition) {
        const NAME: &str = "erlmcp_request_duration_seconds";
        let regions = self.regions.all();
        let by_region = regions.iter().map(|(region, cells)| {
            let mut summed = Summed::default();
            for method in MethodLabel::ALL {
                summed.merge(&cells.latency(*method));
            }
            (vec![("region", region.clone())], summed)
        });
        out.histogram(
            NAME,
            "From the request's head to the end of its answer.",
            by_region.collect(),
        );
        for (region, cells) in &regions {
            exemplars(out, NAME, region, cells);
        }
        let by_method = MethodLabel::ALL.iter().map(|method| {
            let mut summed = Summed::default();
            for (_, cells) in &regions {
                summed.merge(&cells.latency(*method));
            }
            (vec![label("method", method.as_str())], summed)
        });
        out.histogram(
            "http_request_duration_seconds",
            "The same of all regions, as the application dashboard of GKE names it.",
            by_method.collect(),
        );
    }

    fn crossings(&self, out: &mut Exposition) {
        let (mut latency, mut bytes, mut cost) = (Vec::new(), Vec::new(), Vec::new());
        for (region, cells) in self.regions.all() {
            let pair = || {
                vec![
                    ("source_region", self.edge_region.clone()),
                    ("target_region", region.clone()),
                ]
            };
            let crossed = cells.cross_bytes();
            if crossed > 0 {
                bytes.push((pair(), crossed));
            }
            let dollars = cells.cross_cost();
            if dollars > 0.0 {
                cost.push((pair(), dollars));
            }
            latency.push((pair(), cells.cross_latency()));
        }
        out.histogram(
            "erlmcp_cross_region_latency_seconds",
            "From a request sent to another region to the first byte of its answer.",
            latency,
        );
        out.counter(
            "erlmcp_cross_region_bytes",
            "Body bytes exchanged with another region, both ways.",
            bytes,
        );
        out.amount(
            "meridian_egress_cost_dollars",
            "What those bytes are estimated to cost by egress_prices.",
            cost,
        );
    }

    fn connections(&self, out: &mut Exposition) {
        let open = Protocol::ALL.iter().map(|protocol| {
            let labels = vec![
                ("region", self.edge_region.clone()),
                label("protocol", protocol.as_str()),
            ];
            (labels, float(self.open.read(protocol.index())))
        });
        out.gauge(
            "erlmcp_active_connections",
            "Open client connections; region is where this edge stands.",
            open.collect(),
        );
        let closed = CloseReason::ALL.iter().map(|reason| {
            (
                vec![label("reason", reason.as_str())],
                self.closed.read(reason.index()),
            )
        });
        out.counter(
            "meridian_connections_closed",
            "Client connections ended.",
            closed.collect(),
        );
        let websockets = WebSocketEnd::ALL.iter().map(|end| {
            (
                vec![label("reason", end.as_str())],
                self.websockets.read(end.index()),
            )
        });
        out.counter(
            "meridian_websockets_closed",
            "WebSockets ended, whatever carried them.",
            websockets.collect(),
        );
        let failed = HandshakeFailure::ALL.iter().map(|reason| {
            (
                vec![label("reason", reason.as_str())],
                self.handshakes.read(reason.index()),
            )
        });
        out.counter(
            "meridian_handshake_failures",
            "TLS handshakes that failed.",
            failed.collect(),
        );
    }

    fn verdicts(&self, out: &mut Exposition, scrape: &Scrape<'_>) {
        let sum = |read: &dyn Fn(&DecisionCells) -> u64| self.decisions.iter().map(read).sum();
        let load =
            |cell: &std::sync::atomic::AtomicU64| cell.load(std::sync::atomic::Ordering::Relaxed);
        let verdict = |verdict, reason| vec![label("verdict", verdict), label("reason", reason)];
        let mut samples: Vec<(Labels, u64)> = vec![
            (
                verdict("forward", "none"),
                sum(&|cells| load(&cells.forwarded)),
            ),
            (
                verdict("answer", "none"),
                sum(&|cells| load(&cells.answered)),
            ),
        ];
        samples.extend(RejectReason::ALL.into_iter().map(|reason| {
            (
                verdict("refuse", reason.name()),
                sum(&|cells| cells.refused.read(reason as usize)),
            )
        }));
        out.counter(
            "meridian_decisions",
            "Requests forwarded, answered by the edge itself, or refused and why.",
            samples,
        );
        out.gauge(
            "meridian_limiter_addresses",
            "Client addresses that the rate limiter remembers.",
            vec![(
                Vec::new(),
                float(u64::try_from(scrape.limiter_addresses).unwrap_or(u64::MAX)),
            )],
        );
        out.counter(
            "meridian_limiter_refused",
            "Requests over a rate limit or from a banned address.",
            vec![(Vec::new(), load(&self.limited))],
        );
        let hits = self
            .waf
            .all()
            .into_iter()
            .map(|(rule, hits)| (vec![("rule", rule)], hits));
        out.counter("meridian_waf_hits", "Matches of WAF rules.", hits.collect());
    }

    fn upstreams(&self, out: &mut Exposition) {
        let (mut connects, mut retries, mut ejections) = (Vec::new(), Vec::new(), Vec::new());
        for (region, cells) in self.regions.all() {
            for result in ConnectResult::ALL {
                let labels = [("region", region.clone()), label("result", result.as_str())];
                non_zero(&mut connects, labels, (&cells.connects, result.index()));
            }
            for reason in RetryReason::ALL {
                let labels = [("region", region.clone()), label("reason", reason.as_str())];
                non_zero(&mut retries, labels, (&cells.retries, reason.index()));
            }
            non_zero(&mut ejections, [("region", region)], (&cells.ejections, 0));
        }
        out.counter(
            "meridian_upstream_connects",
            "Attempts to connect to endpoints.",
            connects,
        );
        out.counter(
            "meridian_retries",
            "Attempts after the first of a request.",
            retries,
        );
        out.counter(
            "meridian_ejections",
            "Endpoints ejected for their failures.",
            ejections,
        );
    }

    fn audited(&self, out: &mut Exposition) {
        let Some(audit) = &self.audit else {
            return;
        };
        let standing = audit.standing();
        let one = |count: u64| vec![(Vec::new(), count)];
        let kinds = standing
            .written
            .map(|(kind, count)| (vec![label("kind", kind.as_str())], count));
        out.counter(
            "meridian_audit_records",
            "Records written to the audit log.",
            kinds.into(),
        );
        let lost = [
            (vec![label("kind", "refusal")], standing.lost.refusals),
            (vec![label("kind", "transfer")], standing.lost.transfers),
            (vec![label("kind", "other")], standing.lost.others),
        ];
        out.counter(
            "meridian_audit_lost",
            "Records that were never written.",
            lost.into(),
        );
        out.counter(
            "meridian_audit_refused",
            "Requests refused because they could not be recorded.",
            one(standing.refused),
        );
        out.counter(
            "meridian_audit_write_errors",
            "Attempts to write the audit log that failed.",
            one(standing.errors),
        );
        out.counter(
            "meridian_audit_torn_bytes",
            "Bytes of torn lines that were set aside.",
            one(standing.torn_bytes),
        );
        out.counter(
            "meridian_audit_rotations",
            "Files of the audit log begun since the start.",
            one(standing.rotations),
        );
        let gauge = |number: u64| vec![(Vec::new(), float(number))];
        out.gauge(
            "meridian_audit_failing",
            "1 while the audit log can't be written.",
            gauge(u64::from(standing.fault.is_some())),
        );
        out.gauge(
            "meridian_audit_waiting",
            "Records that wait for the writer.",
            gauge(u64::try_from(standing.waiting).unwrap_or(u64::MAX)),
        );
        out.gauge(
            "meridian_audit_head",
            "Number of the last line of the audit log.",
            gauge(standing.head.map_or(0, |head| head.seq)),
        );
    }

    fn sessions(&self, out: &mut Exposition) {
        let outcomes = AffinityOutcome::ALL.into_iter().skip(1).map(|outcome| {
            let count = self.sessions.read(outcome as usize);
            (vec![label("outcome", outcome.as_str())], count)
        });
        out.counter(
            "meridian_affinity",
            "Requests of sessions, by what became of their place.",
            outcomes.collect(),
        );
        let tokens = TokenCount::NAMES.iter().enumerate();
        let tokens =
            tokens.map(|(at, result)| (vec![label("result", result)], self.tokens.read(at)));
        out.counter(
            "meridian_tokens",
            "Bearer tokens, by what became of them.",
            tokens.collect(),
        );
        let cookies = CookieSeen::COUNTED.iter().enumerate();
        let cookies =
            cookies.map(|(at, result)| (vec![label("result", result)], self.cookies.read(at)));
        out.counter(
            "meridian_affinity_cookies",
            "What cookies of sessions said, where cookies are used.",
            cookies.collect(),
        );
        let (mut requests, mut latencies) = (Vec::new(), Vec::new());
        for (version, by_class, latency) in self.versions.all() {
            for (class, count) in versions::CLASSES.iter().zip(by_class) {
                if count > 0 {
                    let labels = vec![("version", version.clone()), label("status", class)];
                    requests.push((labels, count));
                }
            }
            latencies.push((vec![("version", version)], latency));
        }
        out.counter(
            "meridian_version_requests",
            "Requests by the version of the backends that served.",
            requests,
        );
        out.histogram(
            "meridian_version_request_duration_seconds",
            "From the request's head to the end of its answer, by version.",
            latencies,
        );
    }

    fn process(&self, out: &mut Exposition, scrape: &Scrape<'_>) {
        let reloads = [
            (vec![label("result", "accepted")], scrape.reloads.0),
            (vec![label("result", "rejected")], scrape.reloads.1),
        ];
        out.counter(
            "meridian_reloads",
            "Policy sets tried, the first one included.",
            reloads.into(),
        );
        let stale = scrape.databases.iter().map(|database| {
            let labels = vec![("database", database.name.clone())];
            (labels, f64::from(u8::from(database.stale)))
        });
        out.gauge(
            "meridian_geo_database_stale",
            "1: older than geo.max_age.",
            stale.collect(),
        );
        let number = float(scrape.generation.number);
        out.gauge(
            "meridian_generation",
            "The live generation.",
            vec![(Vec::new(), number)],
        );
        let loaded = float(scrape.generation.loaded_unix_ms) / 1_000.0;
        out.gauge(
            "meridian_generation_loaded_timestamp_seconds",
            "When the live generation was loaded.",
            vec![(Vec::new(), loaded)],
        );
        let written = vec![(Vec::new(), self.ring.written())];
        out.counter(
            "meridian_receipts",
            "Decisions written to the ring.",
            written,
        );
        let slots = float(u64::try_from(self.ring.capacity()).unwrap_or(u64::MAX));
        out.gauge(
            "meridian_receipts_slots",
            "Receipts kept.",
            vec![(Vec::new(), slots)],
        );
        if let Some(recorder) = &self.recorder {
            recorded(out, recorder);
        }
        if let Some(log) = &self.log {
            let dropped = DropReason::ALL
                .iter()
                .map(|reason| (vec![label("reason", reason.as_str())], log.dropped(*reason)));
            out.counter(
                "meridian_access_log_dropped",
                "Access log lines lost to a slow or full disk.",
                dropped.collect(),
            );
        }
        let digest = vec![label("digest", scrape.generation.snapshot.digest())];
        out.info("meridian_policies", "The policy set that is live.", digest);
        let version = vec![label("version", env!("CARGO_PKG_VERSION"))];
        out.info("meridian_build", "What is running.", version);
    }
}

fn exemplars(out: &mut Exposition, name: &'static str, region: &str, cells: &Cells) {
    for (bucket, upper_bound) in histogram::bounds_seconds().enumerate() {
        if let Some(told) = cells.exemplars.told(bucket) {
            let labels = vec![("region", region.to_owned())];
            out.exemplar(BucketExemplar {
                name,
                labels,
                upper_bound,
                told,
            });
        }
    }
}

/// What is recorded, and how the shadow agrees.
fn recorded(out: &mut Exposition, recorder: &Recorder) {
    let counts = recorder.counts();
    let samples = [
        ("written", counts.written),
        ("queue_full", counts.queue),
        ("disk", counts.disk),
    ];
    out.counter(
        "meridian_recorded_decisions",
        "Decisions in full: written to the file, or lost to a full queue or the disk.",
        samples
            .map(|(result, count)| (vec![label("result", result)], count))
            .into(),
    );
    if let Some(agreement) = recorder.agreement() {
        let decisions = agreement.decisions.into_iter();
        out.counter(
            "meridian_shadow_decisions",
            "What the shadow policies would have done with what the live ones decided.",
            decisions
                .map(|(result, count)| (vec![label("result", result)], count))
                .collect(),
        );
        out.gauge(
            "meridian_shadow_faulty",
            "1: the shadow's folder holds a newer set with a fault.",
            vec![(Vec::new(), f64::from(u8::from(agreement.faulty)))],
        );
    }
}

fn endpoints(out: &mut Exposition, scrape: &Scrape<'_>) {
    let generation = scrape.generation;
    let mut healthy = Vec::new();
    let mut ordered = Vec::new();
    let mut failed = 0.0;
    for region in generation.view.status(&generation.snapshot, scrape.now) {
        if region.state == RegionHealth::Failed {
            failed += 1.0;
        }
        if let Some(order) = &region.order {
            let labels = vec![
                ("region", region.region.clone()),
                label("action", order.action.as_str()),
            ];
            ordered.push((labels, order.left_s));
        }
        for endpoint in &region.endpoints {
            let labels = vec![
                ("region", region.region.clone()),
                ("endpoint", endpoint.id.clone()),
            ];
            healthy.push((labels, if endpoint.usable { 1.0 } else { 0.0 }));
        }
    }
    out.gauge(
        "meridian_endpoint_healthy",
        "1 while requests may go to an endpoint: it passes its checks and is not ejected.",
        healthy,
    );
    out.gauge(
        "meridian_region_override_seconds",
        "Seconds until an operator's order for a region ends.",
        ordered,
    );
    out.gauge(
        "meridian_regions_failed",
        "Regions that have failed; two at once are a case for a person.",
        vec![(Vec::new(), failed)],
    );
}

fn certificates(out: &mut Exposition, scrape: &Scrape<'_>) {
    #[expect(clippy::cast_precision_loss, reason = "2^53 seconds are long")]
    let left = |status: &CertificateStatus| {
        let labels = vec![("certificate", status.certificate.clone())];
        (labels, status.left as f64)
    };
    out.gauge(
        "meridian_tls_certificate_expiry_seconds",
        "Seconds until a certificate expires; below 0 once it has.",
        scrape.certificates.iter().map(left).collect(),
    );
    let (accepted, rejected) = scrape.tls_reloads;
    out.counter(
        "meridian_tls_reloads",
        "Certificates, authorities and ticket keys that were read again.",
        vec![
            (vec![label("result", "accepted")], accepted),
            (vec![label("result", "rejected")], rejected),
        ],
    );
}

fn non_zero<const N: usize, const L: usize>(
    samples: &mut Vec<(Labels, u64)>,
    labels: [(&'static str, String); L],
    (counts, index): (&Counts<N>, usize),
) {
    let count = counts.read(index);
    if count > 0 {
        samples.push((labels.into(), count));
    }
}

fn label(name: &'static str, value: &str) -> (&'static str, String) {
    (name, value.to_owned())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "OpenMetrics numbers are doubles"
)]
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}
