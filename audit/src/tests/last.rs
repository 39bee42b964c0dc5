//! A node that left, and what is written after its final entry.

use puente_model::{EventKind, Secret32, Stage};
use puente_wire::proto::{Message as _, Proven};
use puente_wire::{Entry, Event, Header, Veiled};

use super::world::*;
use crate::{Auditor, Class, Conclusion, Severity};

/// The node's final entry, as it opens it to everybody.
fn leave(world: &mut World, at: &str, who: &str, sealed: bool) -> (u64, Proven) {
    let mut event = Event::new(EventKind::Revoke, world.now, charter().vector());
    event.peer = Some(uri(who));
    let (header, salt) = (Header::Event(event).encode(), Secret32::new([7; 32]));
    let commitment = Header::commit(&header, &salt);
    let entry = Entry::Veiled(Veiled { stage: Stage::Governance, minute: world.now.minute(), commitment }).encode();
    if sealed {
        world.record_veiled(at, entry.clone(), &salt, &header);
    } else {
        world.node(at).append(vec![entry.clone()]);
    }
    let node = &world.nodes[at];
    let leaf = puente_audit_log::leaf_hash(&entry);
    let receipt = node.receipt(&leaf);
    let index = node.position(&leaf);
    (index, Proven { entry, receipt, header, header_salt: salt.expose().to_vec(), ..Proven::default() })
}

fn verify(world: &World, last: Option<&[u8]>, keys: bool) -> crate::Verdict {
    let dir = tempfile::tempdir().unwrap();
    let copy = world.copies(dir.path(), &[MX]).remove(0);
    if let Some(last) = last {
        std::fs::write(copy.join("final"), last).unwrap();
    }
    let auditor = Auditor::new(charter(), now());
    let mut auditor = if keys { auditor.with_keys(all_keys()) } else { auditor.without_headers() };
    auditor.verify(&copy).unwrap()
}

fn classes(verdict: &crate::Verdict) -> Vec<Class> {
    let told = verdict.findings.iter().filter(|finding| finding.severity != Severity::Notice);
    told.map(|finding| finding.class).collect()
}

#[test]
fn a_log_that_its_node_closed_is_sound_and_an_entry_after_that_is_not() {
    let mut world = World::busy();
    let (index, proven) = leave(&mut world, MX, MX, true);
    let last = proven.encode_to_vec();
    // Whoever has the file needs no key; whoever has the key needs no file.
    for (file, keys) in [(Some(last.as_slice()), false), (None, true), (Some(last.as_slice()), true)] {
        let verdict = verify(&world, file, keys);
        assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::Sound, vec![]));
        assert_eq!(verdict.logs[0].closed_at, Some(index + 1));
    }
    assert_eq!(verify(&world, None, false).logs[0].closed_at, None, "veiled");
    // The forger goes on as if nothing had been.
    world.event(MX);
    world.exchange(MX, US, Course::NoHit);
    for (file, keys) in [(Some(last.as_slice()), false), (None, true), (Some(last.as_slice()), true)] {
        let verdict = verify(&world, file, keys);
        assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::Unsound, vec![Class::AfterFinal]));
        let finding = verdict.faults().next().unwrap();
        assert_eq!((finding.index, finding.attributed_to.as_str()), (Some(index + 1), MX));
        assert!(!finding.proof.entries.is_empty(), "a third party can check it");
    }
}

#[test]
fn a_history_without_the_final_entry_contradicts_the_head_over_it() {
    let mut world = World::busy();
    let entries = world.nodes[MX].entries.clone();
    let (_, proven) = leave(&mut world, MX, MX, true);
    // The node takes its leaving back: the head that it signed convicts it.
    world.node(MX).rewrite(entries);
    world.event(MX);
    world.event(MX);
    let verdict = verify(&world, Some(&proven.encode_to_vec()), false);
    assert_eq!(verdict.verdict, Conclusion::Unsound);
    assert!(classes(&verdict).iter().any(|class| [Class::Rewritten, Class::SplitView].contains(class)));
}

#[test]
fn a_forged_final_file_closes_no_log_and_convicts_nobody() {
    let mut world = World::busy();
    let (_, good) = leave(&mut world, MX, MX, true);
    let mut other = World::busy();
    let (_, of_a_peer) = leave(&mut other, MX, US, false);
    let (_, of_another_log) = leave(&mut other, US, US, false);
    let forged = [
        b"junk".to_vec(),
        vec![0; 300_000],
        of_another_log.encode_to_vec(),
        Proven { header_salt: vec![8; 32], ..good.clone() }.encode_to_vec(),
        Proven { receipt: of_a_peer.receipt.clone(), ..good.clone() }.encode_to_vec(),
        Proven { entry: world.nodes[MX].entries[0].clone(), ..good.clone() }.encode_to_vec(),
    ];
    for bytes in forged {
        let verdict = verify(&world, Some(&bytes), false);
        assert_eq!((verdict.verdict, classes(&verdict)), (Conclusion::CouldNotTell, vec![Class::Unavailable]));
        assert_eq!(verdict.logs[0].closed_at, None);
    }
    // A block of a peer is no leaving.
    let verdict = verify(&other, Some(&of_a_peer.encode_to_vec()), false);
    assert_eq!((verdict.verdict, verdict.logs[0].closed_at), (Conclusion::CouldNotTell, None));
}
