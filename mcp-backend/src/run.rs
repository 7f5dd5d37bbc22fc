//! The process. Promises one line of JSON on stdout when it is ready, one line
//! on stderr when it cannot start, and a drained stop on SIGTERM, SIGINT or
//! (when asked) the end of stdin. A second signal ends it at once.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    process::ExitCode,
};

use rmcp::ServiceExt;
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    args::{ArgsError, BackendArgs},
    load::Load,
    options::Options,
    server::{ServeError, serve},
    store::{Store, StoreError},
    tools::Regional,
};

/// Why the process ends with 1.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Args(#[from] ArgsError),
    #[error("cannot listen on {address}: {error}")]
    Listen {
        address: SocketAddr,
        error: io::Error,
    },
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("record store: {0}")]
    Store(#[from] StoreError),
    #[error("stdio: {0}")]
    Stdio(String),
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// Runs a backend to its end on a runtime of its own: never call it inside
/// one. Returns 0 after a drained stop, 1 with one line on stderr otherwise.
pub fn run(args: &BackendArgs) -> ExitCode {
    match try_run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when stderr is gone.
            let _ = writeln!(io::stderr(), "meridian-backend: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_run(args: &BackendArgs) -> Result<(), RunError> {
    let options = args.options()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = if args.stdio {
        runtime.block_on(stdio(options))
    } else {
        runtime.block_on(http(args, options))
    };
    // A read of stdin cannot be cancelled; the end of the process does it.
    runtime.shutdown_background();
    outcome
}

async fn http(args: &BackendArgs, options: Options) -> Result<(), RunError> {
    let listen = |error| RunError::Listen {
        address: args.listen,
        error,
    };
    let listener = TcpListener::bind(args.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let stop = CancellationToken::new();
    watch_signals(args, &stop)?;
    if args.exit_with_stdin {
        watch_stdin(stop.clone())?;
    }
    let region = options.region.to_string();
    let scheme = if options.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let ready = json!({ "listening": format!("{scheme}://{address}"), "region": region });
    let mut out = io::stdout().lock();
    writeln!(out, "{ready}")?;
    out.flush()?;
    drop(out);
    Ok(serve(options, listener, stop.cancelled_owned()).await?)
}

/// The first signal cancels `stop`; the second ends the process.
fn watch_signals(args: &BackendArgs, stop: &CancellationToken) -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // A terminal's Ctrl-C reaches the whole group. A child that has a parent
    // to watch leaves the order of stopping to it.
    let heeds_interrupt = !args.exit_with_stdin;
    let stop = stop.clone();
    tokio::spawn(async move {
        // Signals only: a parent may well close stdin and send one at once.
        let mut asked = false;
        loop {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => if !heeds_interrupt { continue },
            }
            if asked {
                std::process::exit(1);
            }
            asked = true;
            stop.cancel();
        }
    });
    Ok(())
}

/// Cancels `stop` when stdin ends. A thread, because a pending read of stdin
/// would hold up the runtime's end.
fn watch_stdin(stop: CancellationToken) -> io::Result<()> {
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(move || {
            let mut sink = [0; 1024];
            let mut stdin = io::stdin().lock();
            loop {
                match stdin.read(&mut sink) {
                    Ok(0) => break,
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                    Ok(_) | Err(_) => {}
                }
            }
            stop.cancel();
        })?;
    Ok(())
}

async fn stdio(options: Options) -> Result<(), RunError> {
    let store = std::sync::Arc::new(match &options.store {
        Some(path) => Store::open(path)?,
        None => Store::in_memory(),
    });
    let load = std::sync::Arc::new(Load::new(options.capacity));
    let server = Regional::new(options.region, store, load);
    let failed = |error: &dyn std::fmt::Display| RunError::Stdio(error.to_string());
    let service = server
        .serve(rmcp::transport::stdio())
        .await
        .map_err(|error| failed(&error))?;
    service.waiting().await.map_err(|error| failed(&error))?;
    Ok(())
}
