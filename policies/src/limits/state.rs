//! The counters: sharded, bounded, kept across reloads.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::compiled::{Ban, LimitPolicy};
use super::gcra::{Cell, Rate};
use super::hash::Secret;
use super::quota::{LimitRefusal, LimitVerdict, LimitedBy, Quota, seconds_up};
use crate::Tick;
use crate::ids::nanos;

/// Shards: more than threads, so that two rarely meet.
const SHARDS: usize = 64;
const SHARD_MASK: u64 = SHARDS as u64 - 1;
/// Addresses that are tracked by default.
const BOUND_DEFAULT: usize = 262_144;
/// A full shard is searched for idle entries at most this often.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// Counters of every client address. Survives reloads: a bucket is a time, so
/// it means the same under new numbers.
///
/// Bounded: past the bound, entries that say nothing any more (full bucket, no
/// ban, window over) make room; where there are none, further addresses share
/// one bucket of the size of one address's, without a window or ban.
#[derive(Debug)]
pub struct LimitState {
    global: AtomicU64,
    overflow: AtomicU64,
    shards: Box<[Mutex<Shard>]>,
    secret: Secret,
    bound: usize,
}

#[derive(Debug)]
struct Shard {
    entries: HashMap<u64, Entry, Secret>,
    swept: Tick,
}

/// One address: 32 bytes.
#[derive(Copy, Clone, Debug, Default)]
struct Entry {
    /// When the bucket will be full again.
    full_at: u64,
    /// When the window ends; 0 before the first request.
    window_ends: u64,
    banned_until: u64,
    count: u32,
}

impl Default for LimitState {
    fn default() -> Self {
        Self::new(BOUND_DEFAULT)
    }
}

impl LimitState {
    /// Tracks at most `bound` addresses (rounded up to a multiple of 64); 0
    /// makes all addresses share one bucket.
    pub fn new(bound: usize) -> Self {
        let secret = Secret::new();
        Self {
            global: AtomicU64::new(0),
            overflow: AtomicU64::new(0),
            shards: (0..SHARDS)
                .map(|_| Mutex::new(Shard::new(secret)))
                .collect(),
            secret,
            bound: bound.div_ceil(SHARDS),
        }
    }

    /// Addresses that are tracked now.
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| lock(shard).entries.len())
            .sum()
    }

    /// Whether no address is tracked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops entries that say nothing any more. For a timer; a request does
    /// not depend on it.
    pub fn sweep(&self, now: Tick) {
        for shard in &self.shards {
            lock(shard).sweep(now);
        }
    }

    /// Addresses that are banned now.
    pub fn banned(&self, now: Tick) -> usize {
        let banned = |shard: &Mutex<Shard>| {
            lock(shard)
                .entries
                .values()
                .filter(|entry| entry.banned_until > now.0)
                .count()
        };
        self.shards.iter().map(banned).sum()
    }

    /// The address's own limits first, so that a client that is over them
    /// takes nothing from all.
    #[inline]
    pub(super) fn check(&self, policy: &LimitPolicy, client: IpAddr, now: Tick) -> LimitVerdict {
        let own = if policy.per_address.is_some() || policy.ban.is_some() {
            self.check_address(policy, key(client), now)
        } else {
            LimitVerdict::Admit(Quota::UNLIMITED)
        };
        match (own, policy.global) {
            (LimitVerdict::Admit(quota), Some(rate)) => match claim(&self.global, rate, now) {
                Ok(()) => LimitVerdict::Admit(quota),
                Err(wait) => refusal(LimitedBy::Global, second(rate, u64::MAX, now), wait),
            },
            (own, _) => own,
        }
    }

    fn check_address(&self, policy: &LimitPolicy, key: u64, now: Tick) -> LimitVerdict {
        // Bits that the shard's own table does not look at first.
        let place = self.secret.hash(key) >> 32 & SHARD_MASK;
        let Some(shard) = usize::try_from(place)
            .ok()
            .and_then(|at| self.shards.get(at))
        else {
            return LimitVerdict::Admit(Quota::UNLIMITED);
        };
        let mut shard = lock(shard);
        if let Some(entry) = shard.entry(key, self.bound, now) {
            return entry.check(policy, now);
        }
        drop(shard);
        self.check_overflow(policy, now)
    }

    fn check_overflow(&self, policy: &LimitPolicy, now: Tick) -> LimitVerdict {
        let Some(rate) = policy.per_address else {
            return LimitVerdict::Admit(Quota::UNLIMITED);
        };
        let quota = second(rate, u64::MAX, now);
        match claim(&self.overflow, rate, now) {
            Ok(()) => LimitVerdict::Admit(Quota::UNLIMITED),
            Err(wait) => refusal(LimitedBy::Overflow, quota, wait),
        }
    }
}

/// A panic elsewhere cannot leave an entry half written that matters.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// IPv4 addresses, and IPv6 networks of 64 bits: what one customer has. The
/// halves cannot meet: an IPv6 network below `::/32`, where IPv4 would lie, is
/// no client's.
#[inline]
fn key(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => u64::from(ip.to_bits()),
            None => u64::try_from(ip.to_bits() >> 64).unwrap_or(u64::MAX) | V6_MARK,
        },
    }
}

/// Set in every IPv6 key: the second bit, which is 0 in all global unicast
/// (`2000::/3`) and keeps `::` apart from IPv4.
const V6_MARK: u64 = 1 << 62;

fn claim(bucket: &AtomicU64, rate: Rate, now: Tick) -> Result<(), Duration> {
    let mut seen = bucket.load(Ordering::Relaxed);
    loop {
        match rate.check(seen, now) {
            Cell::Exceeds(wait) => return Err(wait),
            Cell::Conforms(next) => {
                match bucket.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed)
                {
                    Ok(_) => return Ok(()),
                    Err(actual) => seen = actual,
                }
            }
        }
    }
}

fn refusal(limited_by: LimitedBy, quota: Quota, retry_after: Duration) -> LimitVerdict {
    LimitVerdict::Refuse(LimitRefusal {
        quota,
        retry_after,
        limited_by,
    })
}

fn second(rate: Rate, full_at: u64, now: Tick) -> Quota {
    let limit = rate.per_second.get();
    let remaining = rate.remaining(full_at, now).min(limit);
    Quota {
        name: "second",
        limit,
        window_s: 1,
        remaining,
        reset_s: u32::from(remaining < limit),
    }
}

impl Shard {
    fn new(secret: Secret) -> Self {
        Self {
            entries: HashMap::with_hasher(secret),
            swept: Tick(0),
        }
    }

    /// The entry of a key; `None` if there is no room.
    fn entry(&mut self, key: u64, bound: usize, now: Tick) -> Option<&mut Entry> {
        if self.entries.len() >= bound && !self.entries.contains_key(&key) {
            if now.saturating_sub(self.swept) >= SWEEP_EVERY || self.swept == Tick(0) {
                self.sweep(now);
            }
            if self.entries.len() >= bound {
                return None;
            }
        }
        Some(self.entries.entry(key).or_default())
    }

    fn sweep(&mut self, now: Tick) {
        self.swept = Tick(now.0.max(1));
        self.entries.retain(|_, entry| entry.is_live(now));
        if self.entries.capacity() > 4 * self.entries.len().max(64) {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }
}

impl Entry {
    fn is_live(&self, now: Tick) -> bool {
        self.full_at > now.0 || self.banned_until > now.0 || self.window_ends > now.0
    }

    fn check(&mut self, policy: &LimitPolicy, now: Tick) -> LimitVerdict {
        let window = match policy.ban {
            Some(ban) => match self.count(ban, now) {
                Ok(quota) => Some(quota),
                Err(refused) => return refused,
            },
            None => None,
        };
        let Some(rate) = policy.per_address else {
            return LimitVerdict::Admit(window.unwrap_or(Quota::UNLIMITED));
        };
        match rate.check(self.full_at, now) {
            Cell::Exceeds(wait) => {
                refusal(LimitedBy::PerSecond, second(rate, self.full_at, now), wait)
            }
            Cell::Conforms(next) => {
                self.full_at = next;
                let own = second(rate, next, now);
                let nearest = window.filter(|window| window.remaining < own.remaining);
                LimitVerdict::Admit(nearest.unwrap_or(own))
            }
        }
    }

    /// Counts a request into its window. Refused ones count too.
    fn count(&mut self, ban: Ban, now: Tick) -> Result<Quota, LimitVerdict> {
        let until = |end: u64| Tick(end).saturating_sub(now);
        let quota = |remaining: u32, end: u64| Quota {
            name: ban.name(),
            limit: u64::from(ban.requests),
            window_s: ban.window_s(),
            remaining: u64::from(remaining),
            reset_s: seconds_up(until(end)),
        };
        // A ban from before a reload lasts no longer than one begun now would.
        self.banned_until = self.banned_until.min((now + ban.duration).0);
        if self.banned_until > now.0 {
            let end = self.banned_until;
            return Err(refusal(LimitedBy::Banned, quota(0, end), until(end)));
        }
        if self.window_ends <= now.0 || self.window_ends > (now + ban.interval).0 {
            self.window_ends = now.0.saturating_add(nanos(ban.interval));
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        if self.count <= ban.requests {
            return Ok(quota(ban.requests - self.count, self.window_ends));
        }
        if ban.duration.is_zero() {
            let end = self.window_ends;
            return Err(refusal(LimitedBy::Window, quota(0, end), until(end)));
        }
        self.banned_until = now.0.saturating_add(nanos(ban.duration));
        self.window_ends = 0;
        let end = self.banned_until;
        Err(refusal(LimitedBy::Window, quota(0, end), until(end)))
    }
}
