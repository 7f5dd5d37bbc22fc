//! Operators' orders for regions: drain, force, pin.
//!
//! Promises: an order takes effect at once, ends by itself, outlives reloads,
//! and with `state_file` also restarts; every change is told in one line of
//! the process's log. Refuses: orders without a reason or an end, names that
//! are not configured, and a state file that cannot be read (an edge that
//! forgot a drain would send traffic where none may go).

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use meridian_policies::audit::Operation;
use meridian_policies::yaml::Span;
use meridian_policies::{
    OVERRIDE_MAX, OrderStatus, Override, OverrideAction, REASON_MAX, RegionIndex, Tick,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::edge::{Clock, Edge, Generation};
use crate::pipeline::audit;
use crate::pipeline::events::notice;

/// One writer of the state file at a time.
static WRITING: Mutex<()> = Mutex::new(());

/// What an operator asks for, as the admin side and the command send it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// `drain`, `force`, `pin` or `clear`.
    pub action: Verb,
    /// How long, as in `1h`; at most 30 days. Not with `clear`.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
    /// Why, 1 to 256 bytes.
    pub reason: String,
    /// The one route a pin is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
}

/// What can be asked for.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// No request goes there.
    Drain,
    /// Requests that are permitted there go there or nowhere.
    Force,
    /// Requests that are permitted there go there while it can serve.
    Pin,
    /// Ends what was ordered.
    Clear,
}

impl Verb {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Force => "force",
            Self::Pin => "pin",
            Self::Clear => "clear",
        }
    }
}

/// Why a wish is not granted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Denied {
    /// No region has that id.
    NoRegion,
    /// The wish makes no sense; what is wrong with it.
    Senseless(String),
}

/// One order in the state file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    region: String,
    action: OverrideAction,
    until_unix_ms: u64,
    route: Option<String>,
    reason: String,
    set_unix_ms: u64,
}

/// Whether a change will outlive a restart.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Saved {
    Yes,
    /// There is no state file.
    Nowhere,
    /// The disk refused.
    Failed,
}

impl Saved {
    fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Nowhere => "no-state-file",
            Self::Failed => "failed",
        }
    }
}

/// Grants a wish: what now holds of the region, and whether a restart would
/// remember it.
///
/// # Errors
/// Why it is not granted; nothing changed then.
pub fn grant(edge: &Edge, region: &str, wish: &Wish) -> Result<Value, Denied> {
    let generation = edge.generation();
    let at = generation
        .snapshot
        .region_by_id(region)
        .ok_or(Denied::NoRegion)?;
    check_reason(&wish.reason)?;
    let now = edge.clock.tick();
    let (change, told) = match wish.action {
        Verb::Clear => {
            if wish.lasts.is_some() || wish.route.is_some() {
                return Err(senseless("`clear` takes a reason and nothing else"));
            }
            let ended = generation.view.revoke(at, now);
            ("cleared", told(ended, now))
        }
        Verb::Drain => set(&generation, at, (OverrideAction::Drain, wish), now)?,
        Verb::Force => set(&generation, at, (OverrideAction::Force, wish), now)?,
        Verb::Pin => set(&generation, at, (OverrideAction::Pin, wish), now)?,
    };
    let saved = save(edge, &generation);
    let value = json!({
        "region": region, "change": change, "order": told, "reason": wish.reason,
        "survives_restart": saved.as_str(),
    });
    notice("NOTICE", "region override", &value);
    let until = wish
        .lasts
        .as_deref()
        .and_then(|lasts| span(Some(lasts)).ok());
    audit::operation(
        edge,
        &Operation {
            action: wish.action.as_str(),
            region: Some(region),
            reason: Some(&wish.reason),
            until_unix_ms: until.map(|lasts| Clock::unix_ms().saturating_add(millis(lasts))),
        },
    );
    Ok(value)
}

fn check_reason(reason: &str) -> Result<(), Denied> {
    let sane = !reason.trim().is_empty()
        && reason.len() <= REASON_MAX
        && !reason.chars().any(char::is_control);
    if sane {
        Ok(())
    } else {
        Err(senseless("a reason is 1 to 256 bytes on one line"))
    }
}

fn senseless(detail: &str) -> Denied {
    Denied::Senseless(detail.to_owned())
}

fn set(
    generation: &Generation,
    at: RegionIndex,
    (action, wish): (OverrideAction, &Wish),
    now: Tick,
) -> Result<(&'static str, Value), Denied> {
    let lasts = span(wish.lasts.as_deref())?;
    if let Some(route) = &wish.route {
        if action != OverrideAction::Pin {
            return Err(senseless("only a pin is for one route"));
        }
        if !generation
            .snapshot
            .routes()
            .iter()
            .any(|of| of.id == *route)
        {
            return Err(Denied::Senseless(format!("no route `{route}`")));
        }
    }
    let order = Override {
        action,
        until: now + lasts,
        route: wish.route.clone(),
        reason: wish.reason.clone(),
        set_unix_ms: Clock::unix_ms(),
    };
    generation.view.order(at, order.clone());
    Ok(("set", told(Some(order), now)))
}

fn span(lasts: Option<&str>) -> Result<Duration, Denied> {
    let text = lasts.ok_or_else(|| senseless("say for how long: `for`, as in 1h"))?;
    let span = Span::parse(text).map_err(Denied::Senseless)?.0;
    if span.is_zero() || span > OVERRIDE_MAX {
        return Err(senseless(
            "an order lasts more than nothing and at most 30d",
        ));
    }
    Ok(span)
}

fn told(order: Option<Override>, now: Tick) -> Value {
    json!(order.map(|order| OrderStatus::new(order, now)))
}

/// What holds of one region; `None`: no such region.
pub fn of_region(edge: &Edge, region: &str) -> Option<Value> {
    let generation = edge.generation();
    let at = generation.snapshot.region_by_id(region)?;
    let now = edge.clock.tick();
    let order = generation.view.order_of(at, now);
    Some(json!({ "region": region, "order": told(order, now) }))
}

/// All that holds, in the order of regions.
pub fn all(edge: &Edge) -> Value {
    let generation = edge.generation();
    let now = edge.clock.tick();
    let orders = generation.view.orders(&generation.snapshot, now);
    let one = |(at, order): (RegionIndex, Override)| json!({ "region": generation.snapshot.region(at).id, "order": told(Some(order), now) });
    json!({
        "generation": generation.number,
        "overrides": orders.into_iter().map(one).collect::<Vec<_>>(),
    })
}

/// Writes what holds into the state file, whole or not at all.
fn save(edge: &Edge, generation: &Generation) -> Saved {
    let Some(path) = &edge.settings.state_file else {
        return Saved::Nowhere;
    };
    let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let (now, wall) = (edge.clock.tick(), Clock::unix_ms());
    let orders = generation.view.orders(&generation.snapshot, now);
    let keep = |(at, order): (RegionIndex, Override)| Kept {
        region: generation.snapshot.region(at).id.clone(),
        action: order.action,
        until_unix_ms: wall.saturating_add(millis(order.until.saturating_sub(now))),
        route: order.route,
        reason: order.reason,
        set_unix_ms: order.set_unix_ms,
    };
    let kept: Vec<Kept> = orders.into_iter().map(keep).collect();
    match write(path, &kept) {
        Ok(()) => Saved::Yes,
        Err(fault) => {
            let place = json!({ "path": path.display().to_string(), "fault": fault.to_string() });
            notice("ERROR", "the state file cannot be written", &place);
            Saved::Failed
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn write(path: &Path, kept: &[Kept]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    let text = serde_json::to_vec_pretty(&json!({ "overrides": kept }))?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// Most bytes of a state file: 512 orders of the longest kind.
const STATE_BYTES_MAX: u64 = 512 * 1024;

/// Orders anew what the state file holds. Orders that have ended, and those
/// for regions that are no longer configured, are left out.
///
/// # Errors
/// The file is there and cannot be read.
pub fn restore(
    path: Option<&Path>,
    generation: &Generation,
    clock: &Clock,
) -> Result<usize, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Whole {
        overrides: Vec<Kept>,
    }
    let Some(path) = path else { return Ok(0) };
    let size = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(fault) => return Err(fault.to_string()),
    };
    if size > STATE_BYTES_MAX {
        return Err(format!("is larger than {STATE_BYTES_MAX} bytes"));
    }
    let text = fs::read_to_string(path).map_err(|fault| fault.to_string())?;
    let whole: Whole = serde_json::from_str(&text).map_err(|fault| fault.to_string())?;
    let (now, wall) = (clock.tick(), Clock::unix_ms());
    let mut restored = 0;
    for kept in whole.overrides {
        let left = Duration::from_millis(kept.until_unix_ms.saturating_sub(wall));
        let Some(at) = generation.snapshot.region_by_id(&kept.region) else {
            continue;
        };
        if left.is_zero() {
            continue;
        }
        let order = Override {
            action: kept.action,
            until: now + left.min(OVERRIDE_MAX),
            route: kept.route,
            reason: kept.reason,
            set_unix_ms: kept.set_unix_ms,
        };
        generation.view.order(at, order);
        restored += 1;
    }
    Ok(restored)
}
