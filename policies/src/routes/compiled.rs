//! Raw routes to a table.

use std::collections::BTreeSet;
use std::time::Duration;

use super::matching::{HostPattern, MethodSet, PathPattern};
use super::raw::{RawAction, RawRoute, RawRoutes, RawTimeouts, RawWebSocket};
use super::table::{Match, RouteTable};
use super::{
    McpRoute, Route, RouteAction, RouteLimits, RouteTimeouts, RouteWaf, WebSocket, WebSocketBounds,
};
use crate::compile::CompileContext;
use crate::regions::CompiledRegions;
use crate::residency::RegionSet;
use crate::yaml::{Mark, OnOff, Span, Spanned};

/// Most routes.
const ROUTES_MAX: usize = 1_024;
/// Most bytes of a body the edge answers with: 64 KiB.
const RESPOND_MAX: usize = 64 * 1024;
/// Default bound of a request body: 10 MiB.
const BODY_DEFAULT: u64 = 10 * 1024 * 1024;

/// Without the key, everything is forwarded: one route, `default`, `/*`, with
/// WebSocket on.
pub(crate) fn compile(
    raw: Option<Spanned<RawRoutes>>,
    regions: &CompiledRegions,
    ctx: &mut CompileContext<'_>,
) -> RouteTable {
    let Some(raw) = raw else {
        return forward_everything();
    };
    if let Some(over) = raw.value.get(ROUTES_MAX) {
        ctx.error(over.at, format!("over {ROUTES_MAX} routes"));
    }
    let mut seen = BTreeSet::new();
    let (mut all, mut matches) = (Vec::new(), Vec::new());
    for route in raw.value.iter().take(ROUTES_MAX) {
        if !seen.insert(route.id.value.as_str()) {
            ctx.error(
                route.id.at,
                format!("two routes are called `{}`", route.id.value),
            );
        }
        if let Some(rule) = rule(route, ctx) {
            all.push(meaning(route, regions, ctx));
            matches.push(rule);
        }
    }
    let places: Vec<(Mark, String)> = matches
        .iter()
        .map(|m| m.at)
        .zip(all.iter().map(|r| r.id.clone()))
        .collect();
    let (table, conflicts) = RouteTable::build(all, matches);
    for (first, second) in conflicts {
        if let (Some((_, first)), Some((at, second))) = (places.get(first), places.get(second)) {
            ctx.error_help(
                *at,
                format!("the routes `{first}` and `{second}` match the same requests"),
                "give them different hosts, paths or methods",
            );
        }
    }
    table
}

fn forward_everything() -> RouteTable {
    let route = Route {
        id: "default".to_owned(),
        action: RouteAction::Forward,
        data_class: None,
        mcp: McpRoute::Off,
        body_limit: BODY_DEFAULT,
        timeouts: RouteTimeouts::default(),
        regions: None,
        waf: RouteWaf::On,
        limits: RouteLimits::On,
        websocket: WebSocket::On(WebSocketBounds::default()),
        authentication: None,
    };
    let rule = Match {
        hosts: Vec::new(),
        path: PathPattern::Prefix("/".to_owned()),
        methods: None,
        at: Mark::default(),
    };
    RouteTable::build(vec![route], vec![rule]).0
}

fn rule(raw: &RawRoute, ctx: &mut CompileContext<'_>) -> Option<Match> {
    let path = PathPattern::compile(&raw.path, ctx);
    let hosts = raw.hosts.as_ref().map(|hosts| {
        if hosts.value.is_empty() {
            ctx.error_help(
                hosts.at,
                "a route for no host",
                "leave `hosts` out for every host",
            );
        }
        hosts
            .value
            .iter()
            .filter_map(|host| HostPattern::compile(host, ctx))
            .collect()
    });
    let methods = raw.methods.as_ref().map(|methods| {
        if methods.value.is_empty() {
            ctx.error_help(
                methods.at,
                "a route for no method",
                "leave `methods` out for every method",
            );
        }
        MethodSet::compile(&methods.value, ctx)
    });
    Some(Match {
        hosts: hosts.unwrap_or_default(),
        path: path?,
        methods,
        at: raw.path.at,
    })
}

fn meaning(raw: &RawRoute, regions: &CompiledRegions, ctx: &mut CompileContext<'_>) -> Route {
    let timeouts = raw
        .timeouts
        .as_ref()
        .map_or_else(RouteTimeouts::default, |t| timeouts(t, ctx));
    Route {
        id: raw.id.value.clone(),
        action: raw
            .action
            .as_ref()
            .map_or(RouteAction::Forward, |action| meant(action, ctx)),
        data_class: raw.data_class,
        mcp: match raw.mcp.unwrap_or(OnOff::Off) {
            OnOff::On => McpRoute::On,
            OnOff::Off => McpRoute::Off,
        },
        body_limit: raw.body_limit.map_or(BODY_DEFAULT, |size| size.0),
        timeouts,
        regions: raw
            .regions
            .as_ref()
            .map(|names| constraint(names, regions, ctx)),
        waf: match raw.waf.unwrap_or(OnOff::On) {
            OnOff::On => RouteWaf::On,
            OnOff::Off => RouteWaf::Off,
        },
        limits: match raw.limits.unwrap_or(OnOff::On) {
            OnOff::On => RouteLimits::On,
            OnOff::Off => RouteLimits::Off,
        },
        websocket: match &raw.websocket {
            Some(RawWebSocket::On(bounds)) => WebSocket::On(WebSocketBounds {
                idle: deadline(bounds.idle, ctx).or(timeouts.idle),
                max_lifetime: deadline(bounds.max_lifetime, ctx).or(timeouts.total),
            }),
            Some(RawWebSocket::Off) | None => WebSocket::Off,
        },
        authentication: raw.authentication.map(|need| {
            if ctx.providers.is_empty() {
                let message = "no token is ever verified: there is no key `authentication`";
                ctx.error_help(need.at, message, "take it out, or list who issues tokens");
            }
            need.value
        }),
    }
}

fn meant(raw: &Spanned<RawAction>, ctx: &mut CompileContext<'_>) -> RouteAction {
    match &raw.value {
        RawAction::Forward => RouteAction::Forward,
        RawAction::Health => RouteAction::Health,
        RawAction::Respond(respond) => {
            let status = respond.status;
            if !(200..600).contains(&status.value) {
                ctx.error(
                    status.at,
                    format!("{} is not a final status: 200 to 599", status.value),
                );
            }
            let body = respond.body.as_ref();
            if let Some(long) = body.filter(|body| body.value.len() > RESPOND_MAX) {
                ctx.error(long.at, "a body of over 64KiB: let a backend answer");
            }
            if let Some(body) =
                body.filter(|b| !b.value.is_empty() && [204, 205, 304].contains(&status.value))
            {
                ctx.error(
                    body.at,
                    format!("an answer with status {} has no body", status.value),
                );
            }
            let body = body.map(|body| body.value.clone()).unwrap_or_default();
            RouteAction::Respond {
                status: status.value,
                body,
                content_type: media_type(respond.content_type.as_ref(), ctx),
            }
        }
        RawAction::Deny(deny) => {
            if let Some(status) = deny.status.filter(|s| !(400..600).contains(&s.value)) {
                ctx.error(
                    status.at,
                    format!("{} does not deny: 400 to 599", status.value),
                );
            }
            RouteAction::Deny {
                status: deny.status.map_or(403, |status| status.value),
            }
        }
    }
}

/// Plain text where nothing is said.
fn media_type(raw: Option<&Spanned<String>>, ctx: &mut CompileContext<'_>) -> String {
    let Some(raw) = raw else {
        return "text/plain; charset=utf-8".to_owned();
    };
    let plain = raw.value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let whole = raw.value.split_once('/').is_some_and(|(kind, rest)| {
        !kind.is_empty() && !rest.is_empty() && raw.value.trim() == raw.value
    });
    if !plain || !whole || raw.value.len() > 128 {
        let message = format!("`{}` is no media type", raw.value);
        ctx.error_help(raw.at, message, "write it as `application/json`");
    }
    raw.value.clone()
}

fn timeouts(raw: &RawTimeouts, ctx: &mut CompileContext<'_>) -> RouteTimeouts {
    RouteTimeouts {
        first_byte: deadline(raw.first_byte, ctx),
        total: deadline(raw.total, ctx),
        idle: deadline(raw.idle, ctx),
    }
}

fn deadline(span: Option<Spanned<Span>>, ctx: &mut CompileContext<'_>) -> Option<Duration> {
    let span = span?;
    if span.value.0.is_zero() {
        ctx.error_help(
            span.at,
            "a deadline of nothing",
            "leave the key out for the default",
        );
    }
    Some(span.value.0)
}

fn constraint(
    names: &Spanned<Vec<Spanned<String>>>,
    regions: &CompiledRegions,
    ctx: &mut CompileContext<'_>,
) -> RegionSet {
    if names.value.is_empty() {
        ctx.error_help(
            names.at,
            "a route for no region",
            "leave `regions` out for every region",
        );
    }
    RegionSet::compile(&names.value, regions, ctx)
}
