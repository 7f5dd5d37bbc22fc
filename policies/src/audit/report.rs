//! What an auditor is told of a period: counts of what the records say, what
//! among it breaks the law or leaves a hole, and whether the chain is whole.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::chain::Head;
use super::html;
use super::moment::rfc3339;
use super::record::Kind;
use super::verify::Verified;

/// Names told apart in one table; what comes later counts as `other`.
const NAMES_MAX: usize = 1_024;

/// Violations, operations and faults that are listed; all are counted.
const LISTED_MAX: usize = 1_000;

/// Which records a report is about.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Period {
    /// First moment, milliseconds since 1970.
    pub from_unix_ms: u64,
    /// First moment after it.
    pub to_unix_ms: u64,
}

type Counts = BTreeMap<String, u64>;

/// The transfers that one regulation has something to say about.
#[derive(Clone, Debug, Default)]
struct Transfers {
    total: u64,
    audited: String,
    basis: Counts,
    classes: Counts,
    ways: Counts,
}

/// What breaks the law, or cannot be shown not to.
#[derive(Clone, Debug)]
struct Violation {
    at: String,
    seq: u64,
    what: String,
    request_id: String,
}

/// A report while it is put together.
#[derive(Clone, Debug)]
pub struct Report {
    period: Period,
    kinds: Counts,
    transfers: BTreeMap<String, Transfers>,
    transport: Counts,
    claims: Counts,
    refusals: Counts,
    refusals_by_law: Counts,
    checks: Counts,
    violations: Vec<Violation>,
    violation_count: u64,
    operations: Vec<Value>,
    lost: u64,
    faults: Vec<String>,
    fault_count: u64,
}

impl Report {
    /// An empty one.
    pub fn new(period: Period) -> Self {
        Self {
            period,
            kinds: Counts::new(),
            transfers: BTreeMap::new(),
            transport: Counts::new(),
            claims: Counts::new(),
            refusals: Counts::new(),
            refusals_by_law: Counts::new(),
            checks: Counts::new(),
            violations: Vec::new(),
            violation_count: 0,
            operations: Vec::new(),
            lost: 0,
            faults: Vec::new(),
            fault_count: 0,
        }
    }

    /// Counts one record, if it lies in the period.
    pub fn add(&mut self, line: &Verified) {
        let record = Fields(&line.record);
        let at = record.number("at_unix_ms");
        if at < self.period.from_unix_ms || at >= self.period.to_unix_ms {
            return;
        }
        let kind = record.text("kind");
        count(&mut self.kinds, kind);
        match Kind::ALL.into_iter().find(|known| known.as_str() == kind) {
            Some(Kind::Transfer) => self.transfer(line.seq, &record),
            Some(Kind::Refusal) => self.refusal(&record),
            Some(Kind::Check) => self.check(line.seq, &record),
            Some(Kind::Operator) if self.operations.len() < LISTED_MAX => {
                self.operations.push(json!({
                    "at": record.text("at"),
                    "action": record.text("action"),
                    "region": record.text("region"),
                    "reason": record.text("reason"),
                }));
            }
            Some(Kind::Lost) => self.gap(line.seq, &record),
            Some(Kind::Opened | Kind::Operator) | None => {}
        }
    }

    /// A fault of the chain, with its place.
    pub fn fault(&mut self, text: String) {
        self.fault_count += 1;
        if self.faults.len() < LISTED_MAX {
            self.faults.push(text);
        }
    }

    fn transfer(&mut self, seq: u64, record: &Fields<'_>) {
        let law = record.law();
        let key = bounded(&self.transfers, law);
        let of = self.transfers.entry(key).or_default();
        of.total += 1;
        if of.audited.is_empty() {
            record.text("audit_frequency").clone_into(&mut of.audited);
        }
        count(&mut of.basis, record.text("basis"));
        count(&mut of.classes, record.text("class"));
        let way = format!(
            "{} to {}",
            or(record.text("country"), "an unknown place"),
            record.text("region")
        );
        count(&mut of.ways, &way);
        count(&mut self.transport, record.text("transport"));
        for claim in record.list("claims") {
            count(&mut self.claims, claim);
        }
        if record.text("basis").is_empty() {
            let what = format!("a transfer to {} without a basis", record.text("region"));
            self.violation(seq, record, what);
        }
        let must = record
            .list("obligations")
            .any(|one| one == "encryption_in_transit");
        if must && record.text("transport") == "plaintext" {
            let what = format!("a transfer to {} in plain text", record.text("region"));
            self.violation(seq, record, what);
        }
    }

    fn refusal(&mut self, record: &Fields<'_>) {
        count(&mut self.refusals, record.text("reason"));
        if !record.text("jurisdiction").is_empty() {
            let key = format!("{}: {}", record.law(), record.text("rule"));
            count(&mut self.refusals_by_law, &key);
        }
    }

    fn check(&mut self, seq: u64, record: &Fields<'_>) {
        let outcome = record.text("outcome");
        count(&mut self.checks, outcome);
        if matches!(
            outcome,
            "cross_border_prohibited" | "incompatible_regulations"
        ) {
            let what = format!(
                "a backend was refused to move {} from {} to {}: {outcome}",
                record.text("class"),
                record.text("source"),
                record.text("region"),
            );
            self.violation(seq, record, what);
        }
    }

    fn gap(&mut self, seq: u64, record: &Fields<'_>) {
        let transfers = record.number("lost_transfers");
        let lost = transfers
            .saturating_add(record.number("lost_refusals"))
            .saturating_add(record.number("lost_others"));
        self.lost = self.lost.saturating_add(lost);
        if transfers > 0 {
            let what = format!("{transfers} transfers went unrecorded");
            self.violation(seq, record, what);
        }
    }

    fn violation(&mut self, seq: u64, record: &Fields<'_>, what: String) {
        self.violation_count += 1;
        if self.violations.len() < LISTED_MAX {
            self.violations.push(Violation {
                at: record.text("at").to_owned(),
                seq,
                what,
                request_id: record.text("request_id").to_owned(),
            });
        }
    }

    /// Share of transfers that were encrypted or stayed in a machine or mesh,
    /// in hundredths of a percent; 10,000 when there were none.
    fn encrypted(&self) -> u64 {
        let all: u64 = self.transport.values().sum();
        let plain = self.transport.get("plaintext").copied().unwrap_or(0);
        (all - plain)
            .saturating_mul(10_000)
            .checked_div(all)
            .unwrap_or(10_000)
    }

    /// The report as data. `head` is the last line that was read, `lines` how
    /// many were.
    pub fn to_json(&self, now_unix_ms: u64, (head, lines): (Option<&Head>, u64)) -> Value {
        let transfers: u64 = self.transfers.values().map(|of| of.total).sum();
        let by_regulation = self.transfers.iter().map(|(law, of)| {
            let of = json!({
                "total": of.total,
                "audit_frequency": of.audited,
                "by_basis": of.basis,
                "by_class": of.classes,
                "by_way": of.ways,
            });
            (law.clone(), of)
        });
        let sum = |counts: &Counts| counts.values().sum::<u64>();
        let consents = self
            .claims
            .iter()
            .filter(|(claim, _)| claim.starts_with("consent:"));
        json!({
            "period": {
                "from": rfc3339(self.period.from_unix_ms),
                "to": rfc3339(self.period.to_unix_ms),
            },
            "generated_at": rfc3339(now_unix_ms),
            "cross_border_transfers": {
                "total_transfers": transfers,
                "by_regulation": by_regulation.collect::<serde_json::Map<_, _>>(),
            },
            "refusals": {
                "total": sum(&self.refusals),
                "by_reason": self.refusals,
                "by_law": self.refusals_by_law,
            },
            "residency_checks": { "total": sum(&self.checks), "by_outcome": self.checks },
            "violations": {
                "total": self.violation_count,
                "listed": self.violations.iter().map(|one| json!({
                    "at": one.at,
                    "seq": one.seq,
                    "what": one.what,
                    "request_id": one.request_id,
                })).collect::<Vec<_>>(),
            },
            "consent_stats": {
                "transfers_with_consent": consents.map(|(_, count)| count).sum::<u64>(),
                "by_claim": self.claims,
            },
            "encryption_stats": {
                "data_in_transit_encrypted_hundredths_pct": self.encrypted(),
                "by_transport": self.transport,
            },
            "operations": self.operations,
            "audit_log_stats": {
                "total_events": sum(&self.kinds),
                "by_event_type": self.kinds,
                "lost_records": self.lost,
                "chain": {
                    "intact": self.fault_count == 0,
                    "lines": lines,
                    "head_seq": head.map(|head| head.seq),
                    "head_hash": head.map(|head| head.hash.as_str()),
                    "faults": self.fault_count,
                    "listed": self.faults,
                },
            },
        })
    }

    /// The same as one page that needs nothing else.
    pub fn to_html(&self, now_unix_ms: u64, read: (Option<&Head>, u64)) -> String {
        html::page(&self.to_json(now_unix_ms, read))
    }
}

/// A record's members; what is not there is empty.
struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    fn text(&self, key: &str) -> &'a str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, key: &str) -> u64 {
        self.0.get(key).and_then(Value::as_u64).unwrap_or_default()
    }

    fn list(&self, key: &str) -> impl Iterator<Item = &'a str> {
        let list = self.0.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }

    /// What the law is called.
    fn law(&self) -> &'a str {
        or(
            self.text("regulation"),
            or(self.text("jurisdiction"), "none"),
        )
    }
}

fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

fn count(counts: &mut Counts, name: &str) {
    let key = bounded(counts, or(name, "none"));
    *counts.entry(key).or_default() += 1;
}

/// The name, or `other` once there are too many.
fn bounded<T>(of: &BTreeMap<String, T>, name: &str) -> String {
    if of.len() < NAMES_MAX || of.contains_key(name) {
        name.to_owned()
    } else {
        "other".to_owned()
    }
}
