//! The gates that a test may take out, to show that the simulation's checker
//! would notice. Outside of tests they cannot be taken out: the question is a
//! constant.

/// A hard gate of the choice.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Gate {
    /// Only permitted regions.
    Law,
    /// Only endpoints that encrypt what must be encrypted.
    Plaintext,
    /// Only usable endpoints.
    Health,
    /// No region that has failed while another can serve.
    Failover,
    /// No more for a region than it has room for, while another has some.
    Headroom,
    /// Only the region that an operator forces.
    Order,
    /// No return before the failback delay and the dwell.
    Patience,
}

/// Whether a test took the gate out.
#[cfg(not(test))]
pub(crate) const fn is_out(_: Gate) -> bool {
    false
}

#[cfg(test)]
std::thread_local! {
    static OUT: std::cell::Cell<Option<Gate>> = const { std::cell::Cell::new(None) };
}

/// Whether a test took the gate out.
#[cfg(test)]
pub(crate) fn is_out(gate: Gate) -> bool {
    OUT.get() == Some(gate)
}

/// Takes one gate out, on this thread, while the closure runs.
#[cfg(test)]
pub(crate) fn without<T>(gate: Gate, run: impl FnOnce() -> T) -> T {
    OUT.set(Some(gate));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    OUT.set(None);
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
