//! The access log: one JSON line a request.
//!
//! Promises: fields as Cloud Logging reads them; refusals are always written;
//! a slow or full disk costs lines, never requests. Refuses: anything that
//! would make a line two.

mod line;
mod sample;
mod writer;

use std::io;
use std::time::Duration;

use super::labels::DropReason;
use super::outcome::{End, Outcome};
use crate::settings::{SampleRule, TelemetrySettings};
use sample::{Candidate, Notable};
use writer::Writer;

/// The log and its sampling rules.
#[derive(Debug)]
pub(super) struct Log {
    writer: Writer,
    rules: Vec<SampleRule>,
}

impl Log {
    /// `None` when the settings turn the log off. Fails when the file cannot
    /// be opened.
    pub(super) fn start(settings: &TelemetrySettings, shards: usize) -> io::Result<Option<Self>> {
        let writer = Writer::start(&settings.access_log, shards)?;
        Ok(writer.map(|writer| Self {
            writer,
            rules: settings.sample.clone(),
        }))
    }

    /// Writes a request's line, unless the rules leave it out.
    pub(super) fn finish(&self, shard: usize, outcome: &Outcome<'_>) {
        if self.rules.is_empty() {
            return self.writer.line(shard, |out| line::write(outcome, out));
        }
        let candidate = Candidate {
            status: outcome.status,
            path: outcome.head.path(),
            request_id: outcome.request_id,
            notable: notable(outcome),
        };
        if sample::keep(&self.rules, &candidate) {
            self.writer.line(shard, |out| line::write(outcome, out));
        }
    }

    /// Waits for what has been written so far, at most for `bound`.
    pub(super) fn flush(&self, bound: Duration) -> bool {
        self.writer.flush(bound)
    }

    /// Lines lost so far.
    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        self.writer.dropped(reason)
    }
}

fn notable(outcome: &Outcome<'_>) -> Notable {
    let ended_well = match outcome.end {
        End::Complete => true,
        // Clients leave streams when they like: as ordinary as an end.
        End::ClientGone => outcome.shape != super::outcome::Shape::Message,
        End::ClientBroke | End::UpstreamBroke | End::TimedOut(_) | End::Drained | End::Internal => {
            false
        }
    };
    if outcome.reject.is_none() && ended_well {
        Notable::No
    } else {
        Notable::Yes
    }
}
