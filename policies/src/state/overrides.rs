//! What an operator orders of a region, for a while.
//!
//! Promises: an order ends by itself, at a stated time; there is one a region,
//! and a later one replaces it; what the law permits is only ever narrowed.
//! Refuses to read a clock: whether an order holds is a question with a time.

use serde::{Deserialize, Serialize};

use super::View;
use crate::regions::tag_of;
use crate::{RegionIndex, Snapshot, Tick};

/// Longest an order may last: 30 days. What is meant for longer belongs into
/// the policy files.
pub const OVERRIDE_MAX: std::time::Duration = std::time::Duration::from_hours(30 * 24);

/// Longest reason, in bytes.
pub const REASON_MAX: usize = 256;

/// What is ordered of a region.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverrideAction {
    /// It takes no request.
    Drain,
    /// Requests that are permitted there are served there or not at all.
    Force,
    /// Requests that are permitted there go there while it can serve.
    Pin,
}

impl OverrideAction {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Drain, Self::Force, Self::Pin];

    /// Stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Force => "force",
            Self::Pin => "pin",
        }
    }
}

/// An order that holds until it ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Override {
    /// What is ordered.
    pub action: OverrideAction,
    /// When it ends; one that lies in the past orders nothing.
    pub until: Tick,
    /// Id of the one route it is for; `None`: all. Only a pin has one.
    pub route: Option<String>,
    /// Why, in the operator's words; cut at [`REASON_MAX`].
    pub reason: String,
    /// When it was ordered, milliseconds since 1970.
    pub set_unix_ms: u64,
}

/// An order ended by itself.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct OverrideEvent {
    /// Of which region.
    pub region: RegionIndex,
    /// What was ordered.
    pub action: OverrideAction,
}

/// What holds of a region, as the request path reads it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ruling {
    pub(crate) action: OverrideAction,
    pub(crate) until: Tick,
}

impl Ruling {
    /// The action in the low two bits, the end above: good for 146 years. 0
    /// is none.
    pub(super) fn pack(self) -> u64 {
        let action = match self.action {
            OverrideAction::Drain => 1,
            OverrideAction::Force => 2,
            OverrideAction::Pin => 3,
        };
        (self.until.0.min(u64::MAX >> 2) << 2) | action
    }

    pub(super) fn unpack(packed: u64) -> Option<Self> {
        let action = match packed & 3 {
            1 => OverrideAction::Drain,
            2 => OverrideAction::Force,
            3 => OverrideAction::Pin,
            0 | 4.. => return None,
        };
        let until = Tick(packed >> 2);
        Some(Self { action, until })
    }
}

/// What is kept beside the ruling, for people.
#[derive(Clone, Debug)]
pub(super) struct Note {
    route: Option<String>,
    reason: String,
    set_unix_ms: u64,
}

impl View {
    /// Orders something of a region; replaces what was ordered before. Never
    /// widens what a request is permitted.
    pub fn order(&self, region: RegionIndex, order: Override) {
        let Some(state) = self.region(region) else {
            return;
        };
        let ruling = Ruling {
            action: order.action,
            until: order.until,
        };
        let mut reason = order.reason;
        reason.truncate(reason.floor_char_boundary(REASON_MAX));
        let tag = order.route.as_deref().map_or(0, tag_of);
        let note = Note {
            route: order.route,
            reason,
            set_unix_ms: order.set_unix_ms,
        };
        state.rule(ruling, tag, note);
        self.note_rulings();
    }

    /// Ends an order; what it was, if it still held.
    pub fn revoke(&self, region: RegionIndex, now: Tick) -> Option<Override> {
        let ended = self.order_of(region, now);
        self.region(region)?.unrule();
        self.note_rulings();
        ended
    }

    /// What holds of a region.
    pub fn order_of(&self, region: RegionIndex, now: Tick) -> Option<Override> {
        let state = self.region(region)?;
        let ruling = state.ruling(now)?;
        let note = state.note()?;
        Some(Override {
            action: ruling.action,
            until: ruling.until,
            route: note.route,
            reason: note.reason,
            set_unix_ms: note.set_unix_ms,
        })
    }

    /// All that holds, in the order of regions.
    pub fn orders(&self, snapshot: &Snapshot, now: Tick) -> Vec<(RegionIndex, Override)> {
        let indexed = (0u16..).map(RegionIndex).take(snapshot.regions().len());
        indexed
            .filter_map(|at| Some((at, self.order_of(at, now)?)))
            .collect()
    }

    /// Whether any order may hold that takes other regions out than its own.
    #[inline]
    pub(crate) fn may_be_ruled(&self, now: Tick) -> bool {
        self.ruled_until.get() > now
    }

    /// Until when that is so, worked out anew.
    fn note_rulings(&self) {
        let rulings = self.regions.iter().map(|slot| slot.state.any_ruling());
        let until = rulings
            .flatten()
            .filter(|ruling| match ruling.action {
                OverrideAction::Drain => false,
                OverrideAction::Force | OverrideAction::Pin => true,
            })
            .map(|ruling| ruling.until);
        self.ruled_until.set(until.max().unwrap_or_default());
    }

    /// Orders that have ended since this was asked last.
    pub(super) fn ended_orders(&self, now: Tick) -> Vec<OverrideEvent> {
        let indexed = (0u16..).map(RegionIndex).zip(&self.regions);
        indexed
            .filter_map(|(region, slot)| {
                let action = slot.state.take_ended(now)?;
                Some(OverrideEvent { region, action })
            })
            .collect()
    }
}
