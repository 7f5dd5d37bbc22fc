//! The connection cap lies below the descriptor limit, so that running out
//! means a refusal, not a dead accept loop.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::ProcessLimits;

/// Descriptors kept for files, runtimes, logs, admin and listeners.
pub const DESCRIPTORS_KEPT_BACK: u64 = 128;

/// Raises the soft limit to the hard one and returns what the process may
/// open now; `u64::MAX` where there is no limit.
pub fn raise_descriptor_limit() -> u64 {
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    let raised = setrlimit(Resource::Nofile, wanted).is_ok();
    let current = if raised { now.maximum } else { now.current };
    current.unwrap_or(u64::MAX)
}

/// Each client connection may hold one descriptor and its upstream another.
pub(super) fn fit(
    limits: &mut ProcessLimits,
    listeners: usize,
    descriptors: u64,
) -> Option<String> {
    let kept = DESCRIPTORS_KEPT_BACK + listeners as u64;
    let room = (descriptors.saturating_sub(kept) / 2).max(1);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if limits.connections <= room {
        return None;
    }
    let asked = std::mem::replace(&mut limits.connections, room);
    limits.connections_per_address = limits.connections_per_address.min(room);
    Some(format!(
        "limits.connections lowered from {asked} to {room}: the process may open {descriptors} files \
         (two a connection, {kept} kept back); raise the limit (ulimit -n, LimitNOFILE)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_that_fits_is_left_alone() {
        let mut limits = ProcessLimits::default();
        assert_eq!(fit(&mut limits, 2, 1_000_000), None);
        assert_eq!(limits.connections, 10_000);
    }

    #[test]
    fn a_cap_above_the_descriptor_limit_is_lowered_and_said() {
        let mut limits = ProcessLimits::default();
        let said = fit(&mut limits, 2, 1_024).unwrap();
        assert_eq!(limits.connections, 447);
        assert_eq!(limits.connections_per_address, 447);
        assert!(said.contains("from 10000 to 447"), "{said}");
    }

    #[test]
    fn one_connection_is_left_however_low_the_limit() {
        let mut limits = ProcessLimits::default();
        assert!(fit(&mut limits, 2, 16).is_some());
        assert_eq!(limits.connections, 1);
    }

    #[test]
    fn the_process_learns_its_own_limit() {
        assert!(raise_descriptor_limit() >= 64);
    }
}
