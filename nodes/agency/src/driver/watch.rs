use puente_exchange::api::{Batch, Conclusion, Draft, Ticket};

/// Sees what the driver carries: for numbers and traces. Must not block, and keeps no content.
pub trait Watch: Send + Sync {
    /// An officer asks.
    fn asked(&self, ticket: Ticket, draft: &Draft);
    /// Somebody is told.
    fn concluded(&self, ticket: Ticket, conclusion: &Conclusion);
    /// Nobody waits any more.
    fn cancelled(&self, ticket: Ticket);
    /// A batch goes to the disk.
    fn writing(&self, batch: &Batch);
    /// The batch with this number is durable, or is not.
    fn written(&self, batch: u64, ok: bool);
    /// The evidence store could not be read.
    fn store_failed(&self);
}
