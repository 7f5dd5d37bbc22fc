//! Files of recorded decisions, line by line.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use anyhow::Context as _;
use meridian_policies::Snapshot;
use meridian_policies::replay::{RECORD_MAX, Recorded};

use super::{ConfigArg, output};
use crate::reload::{Candidate, candidate};
use crate::settings::Settings;

/// Calls `each` with every record of a file, in its order. A last line that
/// breaks off is left out: its writer was stopped in the middle.
pub(super) fn read(path: &Path, mut each: impl FnMut(Recorded)) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        let most = u64::try_from(RECORD_MAX).unwrap_or(u64::MAX) + 1;
        let count = lines.by_ref().take(most).read_until(b'\n', &mut line)?;
        if count == 0 {
            break;
        }
        let whole = line.ends_with(b"\n");
        let text = String::from_utf8_lossy(&line);
        match Recorded::parse(text.trim_end()) {
            Ok(record) => each(record),
            Err(_) if !whole && count <= RECORD_MAX => break,
            Err(fault) => anyhow::bail!(
                "{}:{number}: not a recorded decision: {fault}",
                path.display()
            ),
        }
    }
    Ok(())
}

/// Compiles a folder of policies for the edge of a static file; without a
/// folder, its own. `None`: the faults have been printed.
pub(super) fn policies(config: &ConfigArg, folder: Option<&Path>) -> Option<Box<Snapshot>> {
    let settings = match Settings::load(&config.config) {
        Ok(settings) => settings,
        Err(faults) => {
            output::diagnostics(&faults);
            return None;
        }
    };
    let folder = folder.unwrap_or(&settings.policies);
    match candidate(folder, &settings.edge_region, None) {
        Candidate::Good(_, snapshot) => Some(snapshot),
        Candidate::Faulty(_, faults) => {
            output::diagnostics(&faults);
            None
        }
        Candidate::Same => None,
    }
}
