//! The ledgers of the node's groups, as auditors read them.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use puente_ledger::{LedgerCopy, LedgerOrigin};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::driver::DriverHandle;
use crate::ledgers::Book;

/// Ledgers by their names.
pub(super) type Books = BTreeMap<LedgerOrigin, Book>;

/// Where ledgers come from.
pub(super) trait Groups: Send + Sync + 'static {
    /// The ledgers as they stand; none while the node stops.
    fn ledgers(&self) -> Pin<Box<dyn Future<Output = Option<Vec<LedgerCopy>>> + Send + '_>>;
}

impl Groups for DriverHandle {
    fn ledgers(&self) -> Pin<Box<dyn Future<Output = Option<Vec<LedgerCopy>>> + Send + '_>> {
        Box::pin(async { Self::ledgers(self).await.ok() })
    }
}

/// Ledgers that were read lately: the engine is asked for them as seldom as may be.
pub(super) struct Shelf {
    groups: Box<dyn Groups>,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    /// How long the published log was before the engine was asked.
    size: u64,
    books: Arc<Books>,
    /// Asked for since the last [`Shelf::tidy`].
    used: bool,
}

impl Shelf {
    pub(super) fn new(groups: Box<dyn Groups>) -> Self {
        Self { groups, kept: Mutex::default() }
    }

    /// The ledgers; `fresh`: at least as new as the published log of `size` entries, so that nothing that it says of an order is
    /// missing in them. None while the node stops.
    pub(super) async fn books(&self, size: u64, fresh: bool) -> Option<Arc<Books>> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_mut().filter(|kept| !fresh || kept.size >= size) {
            kept.used = true;
            return Some(kept.books.clone());
        }
        let ledgers = self.groups.ledgers().await?;
        let bound = |(ledger, head, entries)| (ledger, Book::new(head, entries));
        let books = Arc::new(spawn_blocking(move || ledgers.into_iter().map(bound).collect()).await.ok()?);
        *kept = Some(Kept { size, books: Arc::clone(&books), used: true });
        Some(books)
    }

    /// Puts away what nobody asks for any more.
    pub(super) async fn tidy(&self) {
        let mut kept = self.kept.lock().await;
        if kept.as_mut().is_some_and(|kept| !std::mem::take(&mut kept.used)) {
            *kept = None;
        }
    }
}
