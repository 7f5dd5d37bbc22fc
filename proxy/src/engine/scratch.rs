//! What one exchange needs and the next one uses again.

use std::cell::RefCell;

use meridian_policies::Receipt;
use meridian_wire::{Added, RequestHead, ResponseHead};

/// Kept by a thread for reuse.
const POOLED: usize = 64;
/// A held-back body larger than this gives its memory back.
const BODY_KEPT: usize = 16 * 1024;

/// Heads, fields and the receipt of one exchange.
pub struct Scratch {
    /// The request, parsed once.
    pub request: RequestHead,
    /// The answer's head.
    pub response: ResponseHead,
    /// Fields that the edge adds.
    pub extra: Added,
    /// The part of the request's body that was held back.
    pub body: Vec<u8>,
    /// The record of the decision; `None` only while telemetry has it.
    pub receipt: Option<Box<Receipt>>,
}

thread_local! {
    #[expect(clippy::vec_box, reason = "the pool moves pointers")]
    static POOL: RefCell<Vec<Box<Scratch>>> = const { RefCell::new(Vec::new()) };
}

impl Scratch {
    /// A used one, emptied, or a new one.
    pub fn take() -> Box<Self> {
        POOL.with(|pool| pool.borrow_mut().pop())
            .unwrap_or_else(|| {
                Box::new(Self {
                    request: RequestHead::new(),
                    response: ResponseHead::new(),
                    extra: Added::default(),
                    body: Vec::new(),
                    receipt: None,
                })
            })
    }

    /// Empties it and gives it to the thread.
    pub fn give(mut self: Box<Self>) {
        self.request.clear();
        self.response.clear();
        self.extra.clear();
        self.body.clear();
        self.body.shrink_to(BODY_KEPT);
        POOL.with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOLED {
                pool.push(self);
            }
        });
    }
}
