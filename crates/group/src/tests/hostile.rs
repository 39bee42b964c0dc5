//! What members, former members and strangers may send.

use openmls::prelude::{
    CredentialType, Extension, Extensions, GroupContext, KeyPackage, RequiredCapabilitiesExtension, UnknownExtension,
};
use openmls_traits::OpenMlsProvider as _;
use proptest::prelude::*;
use puente_model::{Digest, LeafIndex, Secret32};

use super::world::*;
use crate::limits::*;
use crate::provider::Provider;
use crate::store::Store;
use crate::*;

#[test]
fn a_removed_member_that_is_handed_every_later_byte_opens_nothing() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C, D], Suite::X25519);
    let mut gone = nodes.remove(3);
    let leaf = Digest::of(b"a QUERY");
    let old_psk = gone.group().psk(&leaf).unwrap();

    // D keeps its state of before: it does not process its removal. From now on it sees everything that is sent.
    let pending = nodes[0].stage(&world, &Intent { remove: vec![uri(D)], ..Intent::default() }).unwrap();
    let ordered = world.order_pending(&pending);
    nodes[0].merge(&pending, &ordered).unwrap();
    nodes[1].process(&world, pending.commit(), &ordered).unwrap();
    nodes[2].process(&world, pending.commit(), &ordered).unwrap();
    let mut commits = vec![(pending.commit().to_vec(), ordered)];
    let mut sealed = Vec::new();
    for by in [0, 1, 2, 0] {
        sealed.push(nodes[by].seal(&world, b"not for D"));
        let (_, pending, ordered) = world.commit(&mut nodes, by, &Intent::default());
        commits.push((pending.commit().to_vec(), ordered));
        sealed.push(nodes[by].seal(&world, b"not for D"));
    }
    let me = nodes[0].id.clone();
    let info = nodes[0].group().info(&me).unwrap();

    for message in &sealed {
        assert!(matches!(gone.group().open(message).map(|_| ()), Err(GroupError::Early { at: 1, .. })));
    }
    // Not even if its library is told to look: the epoch's keys come with commits, and the first throws it out.
    for (commit, ordered) in &commits[1..] {
        let skipping = Ordered::by_ledger(ordered.group(), 1, ordered.commit(), ordered.index(), NOW);
        let error = gone.group().process(commit, &skipping, &world.trust).map(|_| ()).unwrap_err();
        assert!(matches!(error, GroupError::BadCommit(_)), "{error:?}");
    }
    // With a leaked group info it may commit from outside; no member takes that.
    assert_eq!(Rejoin::start(&info, &gone.id, &world.trust, NOW).unwrap_err(), GroupError::NotAMember);
    // What it sends under the keys that it had is opened, known as its, and refused.
    let late = gone.seal(&world, b"under old keys");
    assert!(matches!(nodes[1].open(&late), Err(GroupError::TooOld { at: 6, found: 1 })));
    assert_ne!(nodes[0].group().psk(&leaf).unwrap().expose(), old_psk.expose());

    let (commit, ordered) = &commits[0];
    assert!(gone.process(&world, commit, ordered).unwrap().left);
    for message in &sealed {
        assert_eq!(gone.group().open(message).map(|_| ()), Err(GroupError::NotAMember));
    }
    for (commit, ordered) in &commits {
        assert_eq!(gone.process(&world, commit, ordered), Err(GroupError::NotAMember));
    }
}

#[test]
fn replayed_stale_future_and_reordered_messages_are_named() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    let [first, second] = [b"1", b"2"].map(|content| nodes[0].seal(&world, content));
    assert_eq!(&nodes[1].open(&second).unwrap().content[..], b"2");
    assert_eq!(&nodes[1].open(&first).unwrap().content[..], b"1", "out of order");
    for message in [&first, &second] {
        assert_eq!(nodes[1].open(message).unwrap_err(), GroupError::Replayed);
    }
    let error = nodes[0].open(&first).unwrap_err();
    assert_eq!((&error, error.remedy()), (&GroupError::OwnMessage, Remedy::Drop));

    // One epoch later it still opens, two epochs later it does not.
    let pending = nodes[0].stage(&world, &Intent::default()).unwrap();
    let ordered = world.order_pending(&pending);
    nodes[0].merge(&pending, &ordered).unwrap();
    let ahead = nodes[0].seal(&world, b"ahead");
    assert_eq!(nodes[1].open(&ahead).unwrap_err(), GroupError::Early { at: 1, found: 2 });
    let mut early = Early::default();
    early.hold(1, 2, &ahead).unwrap();
    let late = nodes[2].seal(&world, b"late");
    let later = nodes[2].seal(&world, b"later");
    nodes[1].process(&world, pending.commit(), &ordered).unwrap();
    nodes[2].process(&world, pending.commit(), &ordered).unwrap();
    assert_eq!(&nodes[1].open(&early.ready(2)[0]).unwrap().content[..], b"ahead");
    let opened = nodes[1].open(&late).unwrap();
    assert_eq!((opened.epoch, &opened.content[..]), (1, &b"late"[..]));
    let done = nodes[1].process(&world, pending.commit(), &ordered);
    assert_eq!(done, Err(GroupError::Stale { at: 2, found: 1 }), "a commit again");
    world.commit(&mut nodes, 1, &Intent::default());
    assert_eq!(nodes[1].open(&later).unwrap_err(), GroupError::TooOld { at: 3, found: 1 });

    // Another group's message.
    let mut others = world.group_of(&[A, B], Suite::X25519);
    let foreign = others[0].seal(&world, b"elsewhere");
    assert_eq!(nodes[1].open(&foreign).unwrap_err(), GroupError::OtherGroup);
}

#[test]
fn both_sides_of_the_windows_of_a_sender() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    let me = nodes[0].id.clone();
    let trust = world.suspending(&[]);
    let seal = |node: &mut Node| {
        let (sealed, changes) = node.group().seal(&me, b"", b"m", &trust).unwrap();
        drop(changes);
        sealed
    };
    let many: Vec<Vec<u8>> = (0..=SKIPPED_MAX + 2).map(|_| seal(&mut nodes[0])).collect();
    let window = OUT_OF_ORDER_MAX as usize;
    nodes[1].open(&many[window + 1]).unwrap();
    nodes[1].open(&many[2]).unwrap();
    assert_eq!(nodes[1].open(&many[0]).unwrap_err(), GroupError::TooLate);
    let skipped = SKIPPED_MAX as usize;
    assert_eq!(nodes[2].open(&many[skipped + 2]).unwrap_err(), GroupError::TooManyMissing);
    nodes[2].open(&many[skipped]).unwrap();
}

#[test]
fn changed_bytes_do_not_open_and_change_nothing() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B], Suite::X25519);
    let sealed = nodes[0].seal(&world, b"whole");
    let before = nodes[1].disk.0.clone();
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 0x10;
        let error = nodes[1].open(&changed).unwrap_err();
        let known = matches!(
            error,
            GroupError::Malformed(_)
                | GroupError::OtherGroup
                | GroupError::Early { .. }
                | GroupError::TooOld { .. }
                | GroupError::DoesNotOpen
        );
        assert!(known, "byte {at}: {error:?}");
    }
    let pending = nodes[0].stage(&world, &Intent::default()).unwrap();
    for at in (0..pending.commit().len()).step_by(7) {
        let mut changed = pending.commit().to_vec();
        changed[at] ^= 0x10;
        let ordered = Ordered::by_ledger(pending.group(), 1, commit_hash(&changed), LeafIndex(9), NOW);
        let error = nodes[1].process(&world, &changed, &ordered).unwrap_err();
        assert!(matches!(error.remedy(), Remedy::Skip | Remedy::Drop), "byte {at}: {error:?}");
    }
    assert_eq!(nodes[1].disk.0, before);
    let ordered = world.order_pending(&pending);
    nodes[0].merge(&pending, &ordered).unwrap();
    nodes[1].process(&world, pending.commit(), &ordered).unwrap();
    assert_eq!(&nodes[1].open(&sealed).unwrap().content[..], b"whole");
    agree(&nodes);
}

#[test]
fn nothing_is_sealed_to_a_suspended_member() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    let me = nodes[0].id.clone();
    world.trust = world.suspending(&[C]);
    let refused = nodes[0].group().seal(&me, b"", b"x", &world.trust).map(|_| ());
    assert_eq!(refused, Err(GroupError::SuspendedInside(uri(C))));
    nodes.remove(2);
    world.commit(&mut nodes, 1, &Intent { remove: vec![uri(C)], ..Intent::default() });
    let sealed = nodes[0].seal(&world, b"x");
    nodes[1].open(&sealed).unwrap();
}

/// What the commit of a member that does not keep to what groups use holds.
#[derive(Default)]
struct Odd {
    context: Option<Extensions<GroupContext>>,
    adds: Vec<KeyPackage>,
}

#[test]
fn commits_with_what_groups_do_not_use_are_refused() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B], Suite::X25519);
    let id = nodes[0].group().id();
    let mut rogue = |world: &mut World, odd: Odd| {
        let me = nodes[1].id.clone();
        let group = nodes[1].group();
        let (mls, provider) = (group.mls.as_mut().unwrap(), &group.provider);
        let mut builder = mls.commit_builder().propose_adds(odd.adds);
        if let Some(context) = odd.context {
            builder = builder.propose_group_context_extensions(context).unwrap();
        }
        let builder = builder.load_psks(provider.store()).unwrap();
        let built = builder.build(provider.rand(), provider.crypto(), &me, |_| true).unwrap();
        let commit = built.stage_commit(provider).unwrap().commit().to_bytes().unwrap();
        mls.clear_pending_commit(provider.store()).unwrap();
        let ordered = world.order(id, 1, &commit);
        let error = nodes[0].process(world, &commit, &ordered).unwrap_err();
        assert_eq!(error.remedy(), Remedy::Skip);
        error
    };
    let needs = RequiredCapabilitiesExtension::new(&[leaf::POLICY], &[], &[CredentialType::X509]);
    let policy = UnknownExtension(b"everything is allowed".to_vec());
    let extensions = vec![Extension::RequiredCapabilities(needs), Extension::Unknown(u16::from(leaf::POLICY), policy)];
    let context = Some(Extensions::from_vec(extensions).unwrap());
    let error = rogue(&mut world, Odd { context, ..Odd::default() });
    assert_eq!(error, GroupError::Forbidden("another group context"));

    let mut late = world.node(C, Scheme::Ed25519);
    let bytes = late.key_package(Suite::X25519);
    let add = commit::read_key_package(&bytes, Suite::X25519, &Provider::new(Store::default())).unwrap();
    let error = rogue(&mut world, Odd { adds: vec![add], ..Odd::default() });
    assert_eq!(error, GroupError::Forbidden("no fresh keys of its maker"));
}

#[test]
fn both_sides_of_every_limit() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B], Suite::X25519);
    let me = nodes[0].id.clone();
    let too = |found, max| move |error: &GroupError| matches!(error, GroupError::TooLarge { found: f, max: m, .. } if (*f, *m) == (found, max));
    let [first, second] = &mut nodes[..] else { unreachable!() };
    let (group, trust) = (first.group.as_mut().unwrap(), &world.trust);

    for (content, aad) in [(MESSAGE_BYTES_MAX, AAD_BYTES_MAX), (0, 0)] {
        let (sealed, changes) = group.seal(&me, &vec![1; aad], &vec![2; content], trust).unwrap();
        drop(changes);
        assert!(sealed.len() <= SEALED_BYTES_MAX && sealed.len() > content + aad);
        let (opened, changes) = second.group.as_mut().unwrap().open(&sealed).unwrap();
        drop(changes);
        assert_eq!((opened.content.len(), opened.aad.len()), (content, aad));
    }
    let over = |size: usize| vec![0; size + 1];
    let error = group.seal(&me, b"", &over(MESSAGE_BYTES_MAX), trust).map(|_| ()).unwrap_err();
    assert!(too(MESSAGE_BYTES_MAX + 1, MESSAGE_BYTES_MAX)(&error));
    let error = group.seal(&me, &over(AAD_BYTES_MAX), b"", trust).map(|_| ()).unwrap_err();
    assert!(too(AAD_BYTES_MAX + 1, AAD_BYTES_MAX)(&error));
    let error = group.open(&over(SEALED_BYTES_MAX)).map(|_| ()).unwrap_err();
    assert!(too(SEALED_BYTES_MAX + 1, SEALED_BYTES_MAX)(&error));
    assert!(matches!(group.open(&vec![0; SEALED_BYTES_MAX]), Err(GroupError::Malformed(_))));

    let error = peek(&over(COMMIT_BYTES_MAX)).unwrap_err();
    assert!(too(COMMIT_BYTES_MAX + 1, COMMIT_BYTES_MAX)(&error));
    assert_eq!(peek(&vec![0; COMMIT_BYTES_MAX]), Err(GroupError::Malformed("commit")));
    let error = Rejoin::start(&over(GROUP_INFO_BYTES_MAX), &me, trust, NOW).unwrap_err();
    assert!(too(GROUP_INFO_BYTES_MAX + 1, GROUP_INFO_BYTES_MAX)(&error));
    let error = Rejoin::start(&vec![0; GROUP_INFO_BYTES_MAX], &me, trust, NOW).unwrap_err();
    assert_eq!(error, GroupError::Malformed("group info"));
    let ordered = Ordered::by_ledger(group.id(), 1, commit_hash(b""), LeafIndex(9), NOW);
    let mut join =
        |welcome: &[u8]| second.stock.join(&me, welcome, b"", &ordered, trust, &[], []).map(|_| ()).unwrap_err();
    assert!(too(WELCOME_BYTES_MAX + 1, WELCOME_BYTES_MAX)(&join(&over(WELCOME_BYTES_MAX))));
    assert_eq!(join(&vec![0; WELCOME_BYTES_MAX]), GroupError::Malformed("Welcome"));

    let stage = |group: &mut Group, intent: Intent| group.stage(&me, &intent, trust, NOW).map(|_| ()).unwrap_err();
    let adds = |size, n| Intent { add: vec![vec![0; size]; n], ..Intent::default() };
    assert!(too(ADDS_PER_COMMIT_MAX + 1, ADDS_PER_COMMIT_MAX)(&stage(group, adds(1, ADDS_PER_COMMIT_MAX + 1))));
    assert_eq!(stage(group, adds(1, ADDS_PER_COMMIT_MAX)), GroupError::Malformed("key package"));
    assert!(too(KEY_PACKAGE_BYTES_MAX + 1, KEY_PACKAGE_BYTES_MAX)(&stage(group, adds(KEY_PACKAGE_BYTES_MAX + 1, 1))));
    assert_eq!(stage(group, adds(KEY_PACKAGE_BYTES_MAX, 1)), GroupError::Malformed("key package"));
    let psks = |size, n| Intent { psks: vec![vec![0; size]; n], ..Intent::default() };
    assert!(too(PSKS_PER_COMMIT_MAX + 1, PSKS_PER_COMMIT_MAX)(&stage(group, psks(1, PSKS_PER_COMMIT_MAX + 1))));
    assert!(too(PSK_NAME_BYTES_MAX + 1, PSK_NAME_BYTES_MAX)(&stage(group, psks(PSK_NAME_BYTES_MAX + 1, 1))));
    assert_eq!(stage(group, psks(PSK_NAME_BYTES_MAX, 1)), GroupError::PskUnknown);
    let hold = |group: &mut Group, size| group.hold_psk(&vec![0; size], &Secret32::new([0; 32])).map(|c| c.is_empty());
    assert_eq!(hold(group, PSK_NAME_BYTES_MAX), Ok(false));
    assert!(too(PSK_NAME_BYTES_MAX + 1, PSK_NAME_BYTES_MAX)(&hold(group, PSK_NAME_BYTES_MAX + 1).unwrap_err()));
    let gone = Intent { remove: vec![uri(D)], ..Intent::default() };
    assert_eq!(stage(group, gone), GroupError::NotInGroup(uri(D)));
    let own = Intent { remove: vec![uri(A)], ..Intent::default() };
    assert_eq!(stage(group, own), GroupError::NotInGroup(uri(A)));

    let create = |size: usize| {
        let made = Group::create(GroupId([1; 32]), Suite::X25519, &vec![0; size], &me, trust, NOW);
        made.map(|(group, _)| group.policy().unwrap().len())
    };
    assert_eq!(create(POLICY_BYTES_MAX), Ok(POLICY_BYTES_MAX));
    assert!(too(POLICY_BYTES_MAX + 1, POLICY_BYTES_MAX)(&create(POLICY_BYTES_MAX + 1).unwrap_err()));
}

#[test]
fn nothing_secret_is_printed() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B], Suite::X25519);
    let pending = nodes[0].stage(&world, &Intent::default()).unwrap();
    let sealed = nodes[1].seal(&world, b"the content");
    let opened = nodes[0].open(&sealed).unwrap();
    let texts = [
        format!("{opened:?}"),
        format!("{pending:?}"),
        format!("{:?} {:?}", nodes[0].group, nodes[0].stock),
        format!("{:?} {:?} {:?}", nodes[0].id, nodes[0].key.soft(), world.trust),
    ];
    for text in texts {
        assert!(text.len() < 250 && !text.contains("content"), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn garbage_is_refused_everywhere(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        kind in 0u8..6,
    ) {
        use std::sync::{Mutex, OnceLock};
        static MADE: OnceLock<Mutex<(World, Vec<Node>)>> = OnceLock::new();
        let made = MADE.get_or_init(|| {
            let mut world = World::new();
            let nodes = world.group_of(&[A, B], Suite::X25519);
            Mutex::new((world, nodes))
        });
        let mut made = made.lock().unwrap();
        let (world, nodes) = &mut *made;
        // Half of them begin as messages of MLS do.
        let bytes = [&[0, 1, 0, kind][..usize::from(kind) % 5], &bytes].concat();
        let id = nodes[0].group().id();
        let ordered = Ordered::by_ledger(id, 1, commit_hash(&bytes), LeafIndex(99), NOW);
        prop_assert!(peek(&bytes).is_err());
        prop_assert!(nodes[0].process(world, &bytes, &ordered).is_err());
        prop_assert!(nodes[0].open(&bytes).is_err());
        prop_assert!(nodes[0].join(world, &bytes, &bytes, &ordered).is_err());
        let intent = Intent { add: vec![bytes.clone()], ..Intent::default() };
        prop_assert!(nodes[0].stage(world, &intent).is_err());
        prop_assert!(Rejoin::start(&bytes, &nodes[0].id, &world.trust, NOW).is_err());
        prop_assert!(Group::load(id, [(vec![0], bytes.clone())]).is_err());
    }
}
