//! Putting a question once, however often it is sent: the `Idempotency-Key` of a request becomes, under a secret of the node, the
//! second half of the exchange's id. So the log itself remembers it, over a crash at any point and over restarts.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use puente_model::{Digest, ExchangeId, Label, Secret32, digest};

use super::keys::KeyId;

/// Longest `Idempotency-Key`, in bytes.
pub(crate) const KEY_BYTES_MAX: usize = 128;
/// Questions that are remembered.
pub(crate) const KNOWN_MAX: usize = 100_000;
/// How long a question is found again, in milliseconds.
pub(crate) const KNOWN_MILLIS: u64 = 86_400_000;

const SECRET: Label = Label("puente/v1/api/once-secret");
const HALF: Label = Label("puente/v1/api/once");
const BODY: Label = Label("puente/v1/api/once-body");

/// Second half of an exchange's id.
pub(crate) type Half = [u8; 8];

/// Where a question stands that was put under one key before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// Never, or it came to nothing.
    Never,
    /// It is being put now.
    UnderWay,
    /// It stands in the log; with the digest of the request, where this run of the node put it.
    Put(ExchangeId, Option<Digest>),
}

#[derive(Default)]
struct Known {
    /// None: under way.
    puts: HashMap<Half, Option<(ExchangeId, Option<Digest>)>>,
    order: VecDeque<Half>,
}

/// What was put once.
pub(crate) struct Once {
    secret: Secret32,
    known: Mutex<Known>,
    /// What the store holds was read.
    pub(crate) read: tokio::sync::OnceCell<()>,
}

impl Once {
    /// `store_key` never leaves the node; what is derived from it tells nobody what a program wrote.
    pub(crate) fn new(store_key: &Secret32) -> Self {
        let secret = Secret32::new(digest(SECRET, &[store_key.expose()]).0);
        Self { secret, known: Mutex::default(), read: tokio::sync::OnceCell::new() }
    }

    pub(crate) fn half(&self, key: KeyId, idempotency_key: &str) -> Half {
        let whole = digest(HALF, &[self.secret.expose(), key.to_string().as_bytes(), idempotency_key.as_bytes()]);
        let mut half = [0; 8];
        half.copy_from_slice(&whole.0[..8]);
        half
    }

    /// What a request says, so that another under the same key is noticed.
    pub(crate) fn body(bytes: &[u8]) -> Digest {
        digest(BODY, &[bytes])
    }

    /// Begins to put a question, unless it was put or is being put.
    pub(crate) fn begin(&self, half: Half) -> Before {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.puts.get(&half) {
            Some(Some((exchange, body))) => Before::Put(*exchange, *body),
            Some(None) => Before::UnderWay,
            None => {
                known.puts.insert(half, None);
                Before::Never
            }
        }
    }

    /// It stands in the log.
    pub(crate) fn put(&self, half: Half, exchange: ExchangeId, body: Option<Digest>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.puts.insert(half, Some((exchange, body)));
        known.order.push_back(half);
        if known.order.len() > KNOWN_MAX
            && let Some(oldest) = known.order.pop_front()
        {
            known.puts.remove(&oldest);
        }
    }

    /// It came to nothing.
    pub(crate) fn forget(&self, half: Half) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(known.puts.get(&half), Some(None)) {
            known.puts.remove(&half);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::ApiKey;
    use super::*;

    #[test]
    fn a_question_is_put_once_and_what_came_to_nothing_again() {
        let once = Once::new(&Secret32::new([1; 32]));
        let (one, other) = (ApiKey::generate().unwrap().id, ApiKey::generate().unwrap().id);
        let half = once.half(one, "a");
        assert!(half != once.half(one, "b") && half != once.half(other, "a"));
        assert_ne!(half, Once::new(&Secret32::new([2; 32])).half(one, "a"));
        assert_eq!(once.begin(half), Before::Never);
        assert_eq!(once.begin(half), Before::UnderWay);
        once.forget(half);
        assert_eq!(once.begin(half), Before::Never);
        let (exchange, body) = (ExchangeId([7; 16]), Once::body(b"{}"));
        once.put(half, exchange, Some(body));
        once.forget(half);
        assert_eq!(once.begin(half), Before::Put(exchange, Some(body)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let once = Once::new(&Secret32::new([1; 32]));
        for n in 0..=KNOWN_MAX as u64 {
            once.put(n.to_be_bytes(), ExchangeId([0; 16]), None);
        }
        assert_eq!(once.begin(0_u64.to_be_bytes()), Before::Never);
        assert_ne!(once.begin(1_u64.to_be_bytes()), Before::Never);
        assert_eq!(once.known.lock().unwrap().order.len(), KNOWN_MAX);
    }
}
