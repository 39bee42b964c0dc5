//! Connections between simulated nodes: ordered streams, any order between them, loss only with the connection.

use std::collections::{HashMap, HashSet};

use puente_exchange::api::{ConnectionId, StreamId};

/// One end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct End {
    pub node: usize,
    pub id: ConnectionId,
    /// The run of the node that holds it.
    pub run: u32,
}

/// A stream, named by who opened it: side (0 or 1), number there. Control: side 0, number 0.
pub type StreamKey = (usize, u64);

#[derive(Debug)]
pub struct Conn {
    pub ends: [End; 2],
    pub up: bool,
    /// When the last frame of each stream and direction arrives.
    arrivals: HashMap<(StreamKey, usize), u64>,
    /// Odd number at each end of a stream that the other opened.
    odd: [HashMap<u64, u64>; 2],
    back: [HashMap<u64, u64>; 2],
    next_odd: [u64; 2],
    /// Halves of streams that carry nothing more: what a side would still send is dropped, and what it sent and is
    /// still on its way when the reset arrives.
    pub silent: HashSet<(StreamKey, usize)>,
    pub reset: HashSet<(StreamKey, usize)>,
}

impl Conn {
    pub fn new(ends: [End; 2]) -> Self {
        Self {
            ends,
            up: true,
            arrivals: HashMap::new(),
            odd: Default::default(),
            back: Default::default(),
            next_odd: [1, 1],
            silent: HashSet::new(),
            reset: HashSet::new(),
        }
    }

    /// The stream that side `from` calls `stream`.
    pub fn key(&self, from: usize, stream: StreamId) -> StreamKey {
        match stream.0 {
            0 => (0, 0),
            n if n % 2 == 0 => (from, n),
            n => (1 - from, self.back[from].get(&n).copied().unwrap_or(n)),
        }
    }

    /// What side `at` calls a stream.
    pub fn name(&mut self, at: usize, key: StreamKey) -> StreamId {
        if key.1 == 0 || key.0 == at {
            return StreamId(key.1);
        }
        if let Some(odd) = self.odd[at].get(&key.1) {
            return StreamId(*odd);
        }
        let odd = self.next_odd[at];
        self.next_odd[at] += 2;
        self.odd[at].insert(key.1, odd);
        self.back[at].insert(odd, key.1);
        StreamId(odd)
    }

    /// When a frame that would arrive at `wish` may arrive: not before what went ahead of it on its stream.
    pub fn arrival(&mut self, key: StreamKey, from: usize, wish: u64) -> u64 {
        let last = self.arrivals.entry((key, from)).or_insert(0);
        *last = (*last).max(wish);
        *last
    }

    /// When everything that was sent has arrived.
    pub fn drained(&self) -> u64 {
        self.arrivals.values().copied().max().unwrap_or(0)
    }
}
