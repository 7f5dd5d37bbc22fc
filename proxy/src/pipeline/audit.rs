//! What the audit log is told of requests.
//!
//! Promises: every refusal is told as it is sent; a request that crosses a
//! border is told before anything of it leaves, once for each region that it
//! is sent to. Where there is no log, or nothing to tell, this costs a look.

use meridian_policies::RejectReason;
use meridian_policies::audit::{Context, Kind, Operation, Refused, Transferred};
use meridian_policies::regions::Choice;

use super::admit::Admitted;
use super::record::Record;
use super::refuse::Refusal;
use crate::edge::{Edge, Generation};
use crate::engine::forward::Forwarding;
use crate::telemetry::audit::Audit;

/// A request that is about to cross a border, and its record.
pub struct Crossing<'a> {
    audit: &'a Audit,
    record: String,
}

/// The record of an attempt that crosses a border. `None`: it does not, or
/// none is wanted.
#[inline]
pub fn crossing<'a>(
    (edge, generation): (&'a Edge, &Generation),
    work: &Forwarding<'_>,
    choice: Choice,
) -> Option<Crossing<'a>> {
    let audit = edge.telemetry.audit()?;
    let admitted = work.admitted;
    if !admitted.permitted.crosses_border(choice.region()) || !audit.wants_transfer(admitted.class)
    {
        return None;
    }
    Some(told((edge, audit), generation, work, choice))
}

#[cold]
fn told<'a>(
    (edge, audit): (&'a Edge, &'a Audit),
    generation: &Generation,
    work: &Forwarding<'_>,
    choice: Choice,
) -> Crossing<'a> {
    let Admitted {
        id,
        facts,
        classified,
        permitted,
        ..
    } = work.admitted;
    let crossed = Transferred {
        client: facts.client,
        location: &facts.location,
        route: work.route.1,
        classified: *classified,
        permitted,
        region: choice.region(),
        way: generation.snapshot.way(choice.endpoint()),
        claims: facts.claims,
    };
    let record = crossed.record(&context((edge, generation), id));
    Crossing { audit, record }
}

impl Crossing<'_> {
    /// Hands the record over; in strict mode, waits until it is durable.
    pub async fn recorded(self) -> Result<(), Box<Refusal>> {
        let recorded = self.audit.crossing(Kind::Transfer, self.record).await;
        recorded.map_err(|_| {
            let detail = "the data would cross a border, which can't be recorded at this moment";
            let mut refusal = Refusal::new(RejectReason::AuditUnavailable, detail);
            refusal.retry_after = Some(std::time::Duration::from_secs(1));
            Box::new(refusal)
        })
    }
}

fn context<'a>((edge, generation): (&'a Edge, &'a Generation), id: &'a [u8]) -> Context<'a> {
    Context {
        at_unix_ms: edge.clock.unix_ms_at(edge.clock.tick()),
        edge: &edge.settings.edge_region,
        generation: generation.number,
        snapshot: Some(&generation.snapshot),
        request_id: std::str::from_utf8(id).unwrap_or_default(),
    }
}

/// Tells a refusal.
#[inline]
pub fn refused(record: &Record<'_>, refusal: &Refusal) {
    if let Some(audit) = record.edge().telemetry.audit()
        && audit.wants_refusal(refusal.reason)
    {
        tell(audit, record, refusal);
    }
}

/// Tells what an operator did.
pub fn operation(edge: &Edge, operation: &Operation<'_>) {
    if let Some(audit) = edge.telemetry.audit() {
        let generation = edge.generation();
        audit.operation(operation.record(&context((edge, &generation), &[])));
    }
}

#[cold]
fn tell(audit: &Audit, record: &Record<'_>, refusal: &Refusal) {
    let (edge, generation) = (record.edge(), record.generation());
    let (client, location) = record.place();
    let receipt = record.receipt();
    let routes = generation.snapshot.routes();
    let refused = Refused {
        client,
        location,
        route: receipt.route.and_then(|at| routes.get(at.index())),
        classified: receipt.classified,
        reason: refusal.reason,
        status: refusal.status,
        law: refusal.law,
        rule: refusal.rule.as_deref(),
    };
    let context = context((edge, generation), &record.id);
    audit.refusal(refusal.reason, refused.record(&context));
}
