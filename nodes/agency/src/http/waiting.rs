//! Who waits to be let in, counted by address: nobody fills the door alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections that wait for their admission, by address.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One place among those who wait; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Waiting,
    from: IpAddr,
}

/// What counts as one address: one of IPv4, a /64 of IPv6 (a host has as many in it as it likes).
fn counted(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

impl Waiting {
    /// A place for a client from this address, unless `most` wait from there already.
    pub(super) fn enter(&self, from: IpAddr, most: usize) -> Option<Place> {
        let from = counted(from);
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.entry(from).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(waiting);
        Some(Place { of: self.clone(), from })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_address_and_given_back() {
        let waiting = Waiting::default();
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = waiting.enter(at("192.0.2.1"), 2).unwrap();
        let second = waiting.enter(at("::ffff:192.0.2.1"), 2).unwrap();
        assert!(waiting.enter(at("192.0.2.1"), 2).is_none());
        let other = waiting.enter(at("192.0.2.2"), 2).unwrap();
        drop(first);
        assert!(waiting.enter(at("192.0.2.1"), 2).is_some());
        let six = [waiting.enter(at("2001:db8::1"), 2).unwrap(), waiting.enter(at("2001:db8::ffff:2"), 2).unwrap()];
        assert!(waiting.enter(at("2001:db8::3"), 2).is_none() && waiting.enter(at("2001:db8:0:1::3"), 2).is_some());
        drop((second, other, six));
        assert!(waiting.0.lock().unwrap().is_empty());
    }
}
