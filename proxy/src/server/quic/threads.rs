//! The threads of the service that calls, one handle each.

use tokio::runtime::Handle;

/// Draws a thread, before those that did not come up are given up.
const DRAWS: usize = 64;

/// One handle a thread, in the order of their ids: `count` of them, unless
/// the service has fewer.
///
/// pingora hands its threads out at random only. Each draw misses a thread
/// with `1 - 1/count`; after 64 draws a thread none is left out (the chance
/// of that is below 10^-25).
pub(super) fn handles(count: usize) -> Vec<Handle> {
    let mut found: Vec<Handle> = Vec::with_capacity(count);
    for _ in 0..count * DRAWS {
        let handle = pingora_runtime::current_handle();
        if found.iter().all(|known| known.id() != handle.id()) {
            found.push(handle);
            if found.len() == count {
                break;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_of_a_runtime_is_found_once() {
        let runtime = pingora_runtime::Runtime::new_no_steal(5, "test");
        let counted = runtime.get_handle().spawn(async { handles(5).len() });
        let waiting = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        assert_eq!(waiting.block_on(counted).unwrap(), 5);
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    }
}
