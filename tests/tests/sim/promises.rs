//! Promises that hold at every moment, looked at whenever something is sent or told.

use super::*;

impl Sim {
    /// Every frame that leaves refers to durable entries only, under durable heads; a key leaves only after the
    /// asker's log durably holds the ANSWER.
    pub(super) fn check_sent(&mut self, from: usize, to: usize, bytes: &[u8]) {
        use proto::frame::Body;
        let body = decode_frame(bytes).unwrap();
        let proven = match &body {
            Body::Ask(ask) => ask.query.as_ref(),
            Body::Reply(reply) => reply.answer.as_ref(),
            Body::Release(release) => release.release.as_ref(),
            Body::Deliver(deliver) => deliver.entry.as_ref(),
            _ => None,
        };
        let disk = self.nodes[from].disk.lock().unwrap();
        // Cosignatures come after the log's own signature.
        let durable_head = |note: &[u8]| note.is_empty() || disk.heads.values().any(|h| note.starts_with(h));
        if let Some(proven) = proven {
            assert!(disk.leaves.contains_key(&leaf_hash(&proven.entry)), "record before reveal: {}", describe(&body));
            let receipt = ClaimedReceipt::parse(&proven.receipt).unwrap();
            assert!(durable_head(receipt.checkpoint().note_bytes()), "a receipt under a head that is not durable");
        }
        match &body {
            Body::Head(head) => assert!(durable_head(&head.checkpoint), "a head that is not durable"),
            Body::Ready(ready) => assert!(durable_head(&ready.own_head), "a head that is not durable"),
            Body::Acknowledge(ack) => {
                let receipt = ClaimedReceipt::parse(&ack.receipt).unwrap();
                assert!(durable_head(receipt.checkpoint().note_bytes()), "a receipt under a head that is not durable");
            }
            Body::Delivered(delivered) if delivered.result != 4 => {
                let leaf = Digest::try_from(delivered.leaf_hash.as_slice()).unwrap();
                assert!(disk.leaves.contains_key(&leaf), "said to be recorded and is not durable");
            }
            Body::Release(release) => {
                let entry = &release.release.as_ref().unwrap().entry;
                if let Some(pair) =
                    check::pair_in_the_clear(entry).filter(|_| self.alarms_fail && self.losing != Some(to))
                {
                    let quoted = pair.quoted().unwrap();
                    let asker = self.nodes[to].disk.lock().unwrap();
                    assert!(asker.leaves.contains_key(&quoted), "a key left before the asker logged the answer");
                }
            }
            _ => {}
        }
        let broken = self.nodes[from].disk_broken;
        drop(disk);
        if broken {
            let code = match &body {
                Body::Fault(fault) => FaultCode::from_code(fault.code),
                _ => None,
            };
            let failed = self.nodes[from].alarms.iter().any(|a| matches!(a, Alarm::LogUnavailable));
            assert!(
                !failed || code == Some(FaultCode::LogUnavailable),
                "sent after the log failed: {}",
                describe(&body)
            );
        }
    }

    /// What an officer is told stands in the log.
    pub(super) fn check_ending(&self, node: usize, ending: &Ending) {
        if let Ending::Answered { answer_leaf, query_leaf, .. } = ending {
            let disk = self.nodes[node].disk.lock().unwrap();
            assert!(
                disk.leaves.contains_key(answer_leaf) && disk.leaves.contains_key(query_leaf),
                "told before recorded"
            );
        }
    }
}
