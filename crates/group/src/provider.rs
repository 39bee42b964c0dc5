//! What `openmls` works with: cryptography, randomness and a store.

use openmls_traits::OpenMlsProvider;

use crate::crypto::Crypto;
use crate::store::Store;

/// One store, and [`Crypto`].
pub(crate) struct Provider {
    crypto: Crypto,
    store: Store,
}

impl Provider {
    pub(crate) fn new(store: Store) -> Self {
        Self { crypto: Crypto, store }
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }
}

impl OpenMlsProvider for Provider {
    type CryptoProvider = Crypto;
    type RandProvider = Crypto;
    type StorageProvider = Store;

    fn storage(&self) -> &Store {
        &self.store
    }

    fn crypto(&self) -> &Crypto {
        &self.crypto
    }

    fn rand(&self) -> &Crypto {
        &self.crypto
    }
}
