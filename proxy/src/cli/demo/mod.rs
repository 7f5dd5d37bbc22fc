//! `meridian demo`: an edge and three regional backends on this machine.
//!
//! Promises: files that may be edited while it runs, backends that may be
//! killed, and nothing left running when it ends, however it ends.

mod announce;
mod backends;
mod certificate;
mod files;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use meridian_policies::Diagnostic;

use self::announce::{Place, Ready};
use self::backends::{Backend, Backends};
use self::files::Files;
use super::Answer;
use super::start::{self, StartError, Started};
use crate::server::{self, BoundSockets};
use crate::settings::{AdminBind, Settings};

pub(super) const EXAMPLES: &str = "\
Examples:
  meridian demo
  meridian demo --dir ./demo
  meridian demo --http 0 --https 0 --admin 0 --json

Edit the files in the folder while it runs; kill a backend to see its clients
go elsewhere or be refused. Ctrl-C ends everything.";

#[derive(Args, Debug)]
pub(super) struct DemoArgs {
    /// Port for plain HTTP; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http: u16,
    /// Port for HTTPS; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    https: u16,
    /// Port for the admin side; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 9090)]
    admin: u16,
    /// Where the files go; files that are there are kept (default: a fresh folder, printed)
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one line of JSON when ready
    #[arg(long)]
    json: bool,
}

pub(super) fn demo(args: &DemoArgs) -> anyhow::Result<Answer> {
    let files = Files::prepare(args.dir.as_deref())?;
    let settings = Settings::load(&files.settings()).map_err(|faults| one_line(&faults))?;
    if settings.upgrade.is_some() {
        bail!(
            "{}: a demo can't be upgraded; take `upgrade` out",
            settings.path.display()
        );
    }
    let settings = with_ports(settings, args)?;
    let sockets = BoundSockets::bind(&settings)?;
    let backends = Backends::spawn(&files.latencies())?;
    files.point_at(backends.all())?;
    let Started { edge, watcher } = start::edge(settings, None).map_err(|fault| match fault {
        StartError::Files(faults) => one_line(&faults),
        StartError::System(fault) => fault,
    })?;
    let ready = whereabouts(&edge.settings, &sockets, (&files, &backends))?;
    let json = args.json;
    server::run(&edge, sockets, move || {
        if json {
            ready.print_json();
        } else {
            ready.print();
        }
    })?;
    drop(watcher);
    drop(backends);
    Ok(Answer::Yes)
}

fn whereabouts(
    settings: &Settings,
    sockets: &BoundSockets,
    (files, backends): (&Files, &Backends),
) -> anyhow::Result<Ready> {
    let bound = settings.listeners.iter().zip(sockets.local_addresses());
    let first = |tls: bool| {
        let mut of_kind = bound
            .clone()
            .filter(|(listener, _)| listener.tls.is_some() == tls);
        of_kind.next().map(|(_, address)| address)
    };
    let (http, https) = first(false)
        .zip(first(true))
        .context("the demo's sockets are gone")?;
    let place = |backend: &Backend| Place {
        region: backend.region,
        url: backend.url.clone(),
        pid: backend.pid,
    };
    Ok(Ready {
        http,
        https,
        admin: sockets.admin_address(),
        dir: files.dir().to_path_buf(),
        backends: backends.all().iter().map(place).collect(),
    })
}

/// The ports of the command line, on the addresses of the file.
fn with_ports(mut settings: Settings, args: &DemoArgs) -> anyhow::Result<Settings> {
    let mut plain = None;
    let mut secure = None;
    for listener in &mut settings.listeners {
        let (taken, port) = match listener.tls {
            None => (&mut plain, args.http),
            Some(_) => (&mut secure, args.https),
        };
        if taken.replace(()).is_none() {
            listener.address.set_port(port);
        }
    }
    if plain.is_none() || secure.is_none() {
        bail!(
            "{}: the demo needs one listener with tls and one without",
            settings.path.display()
        );
    }
    if let Some(admin) = &mut settings.admin
        && let AdminBind::Tcp(address) = &mut admin.bind
    {
        address.set_port(args.admin);
    }
    Ok(settings)
}

fn one_line(faults: &[Diagnostic]) -> anyhow::Error {
    anyhow::anyhow!(Diagnostic::in_one_line(faults))
}
