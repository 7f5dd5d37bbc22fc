//! The compiled table: hosts, then paths, then methods.

use std::collections::HashMap;

use meridian_wire::RequestHead;
use serde_json::{Value, json};

use super::matching::{HostPattern, MethodSet, PathPattern};
use super::{Route, WebSocket};
use crate::RouteIndex;
use crate::regions::CompiledRegions;
use crate::yaml::Mark;

/// All routes with their index.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    pub(crate) all: Vec<Route>,
    matches: Vec<Match>,
    exact_hosts: HashMap<String, Paths>,
    /// Longest first.
    suffix_hosts: Vec<(String, Paths)>,
    any_host: Paths,
}

/// What a route matches, as it was written.
#[derive(Debug)]
pub(super) struct Match {
    pub(super) hosts: Vec<HostPattern>,
    pub(super) path: PathPattern,
    pub(super) methods: Option<MethodSet>,
    pub(super) at: Mark,
}

/// The paths of one host.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<Vec<u8>, Vec<Entry>>,
    /// Sorted by text; each knows the longest other prefix that it begins
    /// with.
    prefixes: Vec<Prefix>,
}

#[derive(Debug)]
struct Prefix {
    text: Vec<u8>,
    parent: Option<usize>,
    entries: Vec<Entry>,
}

/// Those with methods come before the one without.
#[derive(Debug)]
struct Entry {
    methods: Option<MethodSet>,
    route: RouteIndex,
}

impl RouteTable {
    /// Builds the index. Two routes of the same host and path that could both
    /// take a method are handed back as conflicts.
    pub(super) fn build(all: Vec<Route>, matches: Vec<Match>) -> (Self, Vec<(usize, usize)>) {
        let mut table = Self {
            all,
            ..Self::default()
        };
        let mut conflicts = Vec::new();
        let mut suffixes: HashMap<String, Paths> = HashMap::new();
        for (index, rule) in (0_u16..).zip(&matches) {
            let mut add = |paths: &mut Paths| {
                conflicts.extend(
                    paths
                        .add(rule, RouteIndex(index))
                        .map(|other| (other.index(), usize::from(index))),
                );
            };
            if rule.hosts.is_empty() {
                add(&mut table.any_host);
            }
            for host in &rule.hosts {
                match host {
                    HostPattern::Exact(name) => {
                        add(table.exact_hosts.entry(name.clone()).or_default());
                    }
                    HostPattern::Suffix(name) => add(suffixes.entry(name.clone()).or_default()),
                }
            }
        }
        table.suffix_hosts = suffixes.into_iter().collect();
        table
            .suffix_hosts
            .sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then(a.cmp(b)));
        table.any_host.link();
        table.exact_hosts.values_mut().for_each(Paths::link);
        table
            .suffix_hosts
            .iter_mut()
            .for_each(|(_, paths)| paths.link());
        table.matches = matches;
        (table, conflicts)
    }

    pub(super) fn find(&self, head: &RequestHead) -> Option<(RouteIndex, &Route)> {
        let within = |paths: &Paths| paths.find(head);
        let index = if self.exact_hosts.is_empty() && self.suffix_hosts.is_empty() {
            within(&self.any_host)?
        } else {
            self.hosts(head.host()).find_map(within)?
        };
        self.all.get(index.index()).map(|route| (index, route))
    }

    pub(super) fn methods_elsewhere<'a>(&'a self, head: &'a RequestHead) -> Vec<&'a str> {
        let lists = self
            .hosts(head.host())
            .flat_map(|paths| paths.lists(head.path_bytes()));
        let sets = lists.flatten().filter_map(|entry| entry.methods.as_ref());
        let mut names: Vec<&str> = sets
            .flat_map(MethodSet::names)
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// From the most to the least specific.
    fn hosts<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Paths> {
        let below = self.suffix_hosts.iter().filter(move |(suffix, _)| {
            host.len() > suffix.len() && host.ends_with(suffix.as_str())
        });
        let exact = if self.exact_hosts.is_empty() {
            None
        } else {
            self.exact_hosts.get(host)
        };
        exact
            .into_iter()
            .chain(below.map(|(_, paths)| paths))
            .chain([&self.any_host])
    }

    pub(crate) fn to_json(&self, regions: &CompiledRegions) -> Value {
        let row = |(route, rule): (&Route, &Match)| {
            json!({
                "id": route.id,
                "hosts": rule.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "path": rule.path.to_string(),
                "methods": rule.methods.as_ref().map(MethodSet::names),
                "action": route.action,
                "data_class": route.data_class,
                "mcp": route.mcp,
                "body_limit": route.body_limit,
                "timeouts_s": {
                    "first_byte": route.timeouts.first_byte.map(|span| span.as_secs_f64()),
                    "total": route.timeouts.total.map(|t| t.as_secs_f64()),
                    "idle": route.timeouts.idle.map(|t| t.as_secs_f64()),
                },
                "regions": route.regions.as_ref().map(|set| set.names(regions)),
                "waf": route.waf,
                "limits": route.limits,
                "websocket": websocket(route.websocket),
                "authentication": route.authentication,
            })
        };
        self.all.iter().zip(&self.matches).map(row).collect()
    }
}

fn websocket(websocket: WebSocket) -> Value {
    match websocket {
        WebSocket::Off => json!("off"),
        WebSocket::On(bounds) => json!({
            "idle_s": bounds.idle.map(|span| span.as_secs_f64()),
            "max_lifetime_s": bounds.max_lifetime.map(|span| span.as_secs_f64()),
        }),
    }
}

fn pick(list: &[Entry], head: &RequestHead) -> Option<RouteIndex> {
    list.iter()
        .find(|entry| {
            let methods = entry.methods.as_ref();
            methods.is_none_or(|set| set.contains(head.method_str()))
        })
        .map(|entry| entry.route)
}

impl Paths {
    /// Adds a route; the one it collides with, if any.
    fn add(&mut self, rule: &Match, route: RouteIndex) -> Option<RouteIndex> {
        let list = match &rule.path {
            PathPattern::Exact(path) => self.exact.entry(path.clone().into()).or_default(),
            PathPattern::Prefix(path) => {
                let path = path.as_bytes();
                let at = self
                    .prefixes
                    .partition_point(|prefix| prefix.text.as_slice() < path);
                if self
                    .prefixes
                    .get(at)
                    .is_none_or(|prefix| prefix.text != path)
                {
                    let prefix = Prefix {
                        text: path.to_vec(),
                        parent: None,
                        entries: Vec::new(),
                    };
                    self.prefixes.insert(at, prefix);
                }
                &mut self.prefixes.get_mut(at)?.entries
            }
        };
        let both = |entry: &&Entry| match (&entry.methods, &rule.methods) {
            (None, None) => true,
            (Some(a), Some(b)) => a.overlaps(b),
            (Some(_), None) | (None, Some(_)) => false,
        };
        let collision = list.iter().find(both).map(|entry| entry.route);
        let at = list.partition_point(|entry| entry.methods.is_some());
        list.insert(
            at,
            Entry {
                methods: rule.methods.clone(),
                route,
            },
        );
        collision
    }

    fn link(&mut self) {
        let mut open: Vec<usize> = Vec::new();
        let texts: Vec<Vec<u8>> = self
            .prefixes
            .iter()
            .map(|prefix| prefix.text.clone())
            .collect();
        for (index, prefix) in self.prefixes.iter_mut().enumerate() {
            while let Some(text) = open.last().and_then(|last| texts.get(*last)) {
                if prefix.text.starts_with(text) {
                    break;
                }
                open.pop();
            }
            prefix.parent = open.last().copied();
            open.push(index);
        }
    }

    /// The first entry that takes the request: of the exact path, then of its
    /// prefixes, longest first.
    fn find(&self, head: &RequestHead) -> Option<RouteIndex> {
        let path = head.path_bytes();
        if let Some(index) = self.exact(path).and_then(|list| pick(list, head)) {
            return Some(index);
        }
        let mut next = self.last_before(path);
        while let Some(prefix) = next.and_then(|index| self.prefixes.get(index)) {
            if path.starts_with(&prefix.text)
                && let Some(index) = pick(&prefix.entries, head)
            {
                return Some(index);
            }
            next = prefix.parent;
        }
        None
    }

    fn exact(&self, path: &[u8]) -> Option<&[Entry]> {
        if self.exact.is_empty() {
            return None;
        }
        self.exact.get(path).map(Vec::as_slice)
    }

    /// The last prefix that is not behind the path: if any is a prefix of it,
    /// this one or one of its parents is.
    fn last_before(&self, path: &[u8]) -> Option<usize> {
        self.prefixes
            .partition_point(|prefix| prefix.text.as_slice() <= path)
            .checked_sub(1)
    }

    /// The entries of the exact path, then of its prefixes, longest first.
    fn lists<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = &'a [Entry]> {
        let exact = self.exact(path);
        let last = self
            .last_before(path)
            .and_then(|index| self.prefixes.get(index));
        let up = |prefix: &&'a Prefix| prefix.parent.and_then(|index| self.prefixes.get(index));
        let chain = std::iter::successors(last, up);
        let matching = chain.filter(move |prefix| path.starts_with(&prefix.text));
        exact
            .into_iter()
            .chain(matching.map(|prefix| prefix.entries.as_slice()))
    }
}
