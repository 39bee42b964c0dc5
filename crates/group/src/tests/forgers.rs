//! A forger for every check of a leaf, at every entrance.

use openmls::prelude::{
    Capabilities, Credential, CredentialType, KeyPackage, KeyPackageBundle, LeafNodeParameters, Lifetime, MlsGroup,
    MlsMessageBodyIn, MlsMessageIn, NewSignerBundle,
};
use openmls_traits::OpenMlsProvider as _;
use puente_charter::certificate::CertificateError;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod,
    KeyPair, PKCS_ECDSA_P384_SHA384, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use tls_codec::{DeserializeBytes as _, Serialize as _};

use super::world::*;
use crate::leaf::{Bench, Door, Roster, capabilities, judge};
use crate::limits::*;
use crate::provider::Provider;
use crate::store::Store;
use crate::*;

/// Whose leaf is forged, in most cases: a member of the charter that is in no group.
const WHO: &str = D;

/// One defect.
struct Forgery {
    name: &'static str,
    leaf: Forged,
    expected: LeafError,
    /// Entrances at which the library refuses before this room looks.
    library: &'static [Entrance],
    /// Entrances at which the defect cannot be.
    never: &'static [Entrance],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entrance {
    /// A key package that an honest member is asked to add.
    KeyPackage,
    /// An Add in the commit of a member that is not honest.
    Add,
    /// The leaf of that member's own update path.
    Path,
    /// The tree that comes with a Welcome.
    Welcome,
    /// The tree that comes with a group info.
    Info,
    /// The leaf of an external commit.
    External,
}

use Entrance::{Add, External, Info, Path, Welcome};

const ALL: [Entrance; 6] = [Entrance::KeyPackage, Add, Path, Welcome, Info, External];

fn forgeries(world: &World) -> Vec<Forgery> {
    let key = || Key::new(Scheme::Ed25519);
    let with = |change: &dyn Fn(&mut CertificateParams)| {
        let (key, mut params) = (key(), certificate(WHO));
        change(&mut params);
        let der = issue(params, &key, world.root_of(WHO));
        Forged::new(vec![der], key)
    };
    let named = |name: &str, by: &Root| {
        let key = key();
        Forged::new(vec![issue(certificate(name), &key, by)], key)
    };
    let good = || with(&|_| ());
    let uri_names = |names: &'static [&'static str]| {
        with(&move |p| p.subject_alt_names = names.iter().map(|n| SanType::URI((*n).try_into().unwrap())).collect())
    };
    let of = |credential: Credential| Forged { credential, ..good() };
    let capable = |capabilities: Capabilities| Forged { capabilities, ..good() };
    let until = |millis: u64| Forged { lifetime: Lifetime::init(0, millis / 1_000), ..good() };
    let mut all: Vec<Forgery> = Vec::new();
    let mut push = |name, leaf, expected| all.push(Forgery { name, leaf, expected, library: &[], never: &[] });

    push("garbage for a chain", of(Credential::new(CredentialType::X509, vec![9; 9])), LeafError::NoChain);
    push("an empty chain", of(Credential::new(CredentialType::X509, vec![])), LeafError::NoChain);
    let long = Credential::new(CredentialType::X509, vec![0x3f; CHAIN_BYTES_MAX + 1]);
    push("a chain over its limit", of(long), LeafError::ChainTooLarge);
    let bytes = Credential::new(CredentialType::X509, vec![3, 1, 2, 3]);
    push("no certificate in it", of(bytes), LeafError::Names(CertificateError::Malformed));
    push("no name", uri_names(&[]), LeafError::Names(CertificateError::NoUri));
    push("two names", uri_names(&[D, B]), LeafError::Names(CertificateError::ManyUris { found: 2 }));
    push("no node's name", uri_names(&["https://us/atf-sd/n1"]), LeafError::Names(CertificateError::NotANode));
    let authority = with(&|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    push("an authority's", authority, LeafError::Names(CertificateError::Authority));
    let abroad = named("puente://ca/rcmp/n1", &world.us);
    push("a nation outside", abroad, LeafError::UnknownNation("ca".parse().unwrap()));
    push("a root of the same name", named(WHO, &root("Root of US")), LeafError::BadSignature);
    push("a root of its own", named(WHO, &root("Root of D")), LeafError::UnknownIssuer("us".parse().unwrap()));
    let other = LeafError::OtherNation { of: "us".parse().unwrap(), by: "mx".parse().unwrap() };
    push("the other nation's root", named(WHO, &world.mx), other);
    push("expired", with(&|p| p.not_after = date_time_ymd(2089, 12, 31)), LeafError::Expired);
    push("not yet valid", with(&|p| p.not_before = date_time_ymd(2090, 1, 2)), LeafError::NotYetValid);
    push("revoked", with(&|p| p.serial_number = Some(SerialNumber::from(666))), LeafError::Revoked);
    let purpose = with(&|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]);
    push("made for something else", purpose, LeafError::WrongUsage);
    let mut tampered = world.issue(WHO, &key());
    *tampered.last_mut().unwrap() ^= 1;
    push("a bad signature", Forged::new(vec![tampered], key()), LeafError::BadSignature);
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let p384 = certificate(WHO).signed_by(&p384, &world.us.issuer).unwrap().der().to_vec();
    push("a key that leaves do not have", Forged::new(vec![p384], key()), LeafError::Algorithm);
    push("another key", Forged::new(vec![world.issue(WHO, &key())], key()), LeafError::OtherKey);
    push("a stranger", named(STRANGER, &world.us), LeafError::NotInCharter(uri(STRANGER)));
    push("suspended", named(SUSPENDED, &world.us), LeafError::Suspended(uri(SUSPENDED)));

    // An intermediate that may not issue: only the end of a chain may be used so.
    let between = Key::new(Scheme::EcdsaP256);
    let middle = world.issue(B, &between);
    let issuer = rcgen::Issuer::new(certificate(B), KeyPair::try_from(between.pair.serialize_der()).unwrap());
    let own = key();
    let end = certificate(WHO).signed_by(&*own.pair, &issuer).unwrap().der().to_vec();
    let chain = Forged::new(vec![end, middle], own);
    push("issued by a node", chain, LeafError::BadChain("EndEntityUsedAsCa".to_owned()));

    let only_key_packages: &[Entrance] = &[Path, Welcome, Info, External];
    let old = until(NOW.0 + KEY_PACKAGE_MARGIN_MILLIS - 1_000);
    all.push(Forgery {
        name: "too old",
        leaf: old,
        expected: LeafError::TooOld,
        library: &[],
        never: only_key_packages,
    });
    let long = until(NOW.0 + KEY_PACKAGE_MILLIS + CLOCK_SKEW_MILLIS_MAX + 1_000);
    let expected = LeafError::LivesTooLong;
    all.push(Forgery { name: "too long", leaf: long, expected, library: &[], never: only_key_packages });
    let basic = Credential::new(CredentialType::Basic, uri(WHO).as_str().as_bytes().to_vec());
    let basic = Forged {
        capabilities: Capabilities::new(None, None, None, None, Some(&[CredentialType::Basic, CredentialType::X509])),
        ..of(basic)
    };
    let rest: &[Entrance] = &[Add, Path, Welcome, Info, External];
    all.push(Forgery { name: "no X.509", leaf: basic, expected: LeafError::NotX509, library: rest, never: &[] });
    let lacking = capable(Capabilities::new(None, None, None, None, Some(&[CredentialType::X509])));
    let expected = LeafError::Capability("the group policy extension");
    all.push(Forgery { name: "incapable", leaf: lacking, expected, library: rest, never: &[] });
    all
}

/// The nations' trust, with D's certificate number 666 revoked.
fn revoking(world: &World) -> Trust {
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2089, 1, 1),
        next_update: date_time_ymd(2089, 2, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(666),
            revocation_time: date_time_ymd(2089, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params.signed_by(&world.us.issuer).unwrap();
    world.suspending(&[]).revoking(&"us".parse().unwrap(), list.der()).unwrap()
}

pub(super) fn key_package(leaf: &Forged, suite: Suite) -> KeyPackageBundle {
    let scratch = Provider::new(Store::default());
    let builder =
        KeyPackage::builder().leaf_node_capabilities(leaf.capabilities.clone()).key_package_lifetime(leaf.lifetime);
    builder.build(suite.mls(), &scratch, leaf, leaf.with_key()).unwrap()
}

pub(super) fn bytes_of(key_package: &KeyPackageBundle) -> Vec<u8> {
    key_package.key_package().tls_serialize_detached().unwrap()
}

/// A member's group in the hands of somebody who does not judge. The library still does what it does.
struct Rogue<'a> {
    mls: &'a mut MlsGroup,
    provider: &'a Provider,
    me: Identity,
}

impl<'a> Rogue<'a> {
    fn of(node: &'a mut Node) -> Self {
        let me = node.id.clone();
        let group = node.group();
        Self { mls: group.mls.as_mut().unwrap(), provider: &group.provider, me }
    }

    /// Adds a leaf; commit and Welcome.
    fn add(&mut self, key_package: &KeyPackage) -> Option<(Vec<u8>, Vec<u8>)> {
        let builder = self.mls.commit_builder().propose_adds([key_package.clone()]).force_self_update(true);
        let builder = builder.load_psks(self.provider.store()).unwrap();
        let built = builder.build(self.provider.rand(), self.provider.crypto(), &self.me, |_| true).ok()?;
        let bundle = built.stage_commit(self.provider).unwrap();
        Some((bundle.commit().to_bytes().unwrap(), bundle.to_welcome_msg().unwrap().to_bytes().unwrap()))
    }

    /// Takes another leaf for itself.
    fn become_another(&mut self, leaf: &Forged) -> Option<Vec<u8>> {
        let parameters = LeafNodeParameters::builder().with_capabilities(leaf.capabilities.clone()).build();
        let builder = self.mls.commit_builder().leaf_node_parameters(parameters).load_psks(self.provider.store());
        let bundle = NewSignerBundle { signer: leaf, credential_with_key: leaf.with_key() };
        let (rand, crypto) = (self.provider.rand(), self.provider.crypto());
        let built = builder.unwrap().build_with_new_signer(rand, crypto, &self.me, bundle, |_| true).ok()?;
        Some(built.stage_commit(self.provider).unwrap().commit().to_bytes().unwrap())
    }

    fn merge(&mut self) {
        self.mls.merge_pending_commit(self.provider).unwrap();
    }
}

/// Commits from outside with whatever leaf.
fn from_outside(info: &[u8], leaf: &Forged) -> Option<Vec<u8>> {
    let read = MlsMessageIn::tls_deserialize_exact_bytes(info).unwrap();
    let MlsMessageBodyIn::GroupInfo(info) = read.extract() else { unreachable!() };
    let provider = Provider::new(Store::default());
    let parameters = LeafNodeParameters::builder().with_capabilities(leaf.capabilities.clone()).build();
    let builder = MlsGroup::external_commit_builder().with_config(group::join_config()).skip_lifetime_validation();
    let builder = builder.build_group(&provider, info, leaf.with_key()).ok()?;
    let builder = builder.leaf_node_parameters(parameters).load_psks(provider.store()).unwrap();
    let built = builder.build(provider.rand(), provider.crypto(), leaf, |_| true).ok()?;
    Some(built.finalize(&provider).unwrap().1.commit().to_bytes().unwrap())
}

/// What an honest node says; none if the library would not even make it.
fn attempt(world: &mut World, entrance: Entrance, leaf: &Forged) -> Option<GroupError> {
    let mut nodes = world.group_of(&[A, B], Suite::X25519);
    let (id, epoch) = (nodes[0].group().id(), nodes[0].group().epoch());
    let before = nodes[0].disk.0.clone();
    let error = match entrance {
        Entrance::KeyPackage => {
            let add = vec![bytes_of(&key_package(leaf, Suite::X25519))];
            nodes[0].stage(world, &Intent { add, ..Intent::default() }).map(|_| ()).unwrap_err()
        }
        Add => {
            let (commit, _) = Rogue::of(&mut nodes[1]).add(key_package(leaf, Suite::X25519).key_package())?;
            let ordered = world.order(id, epoch, &commit);
            nodes[0].process(world, &commit, &ordered).map(|_| ()).unwrap_err()
        }
        Path => {
            let commit = Rogue::of(&mut nodes[1]).become_another(leaf)?;
            let ordered = world.order(id, epoch, &commit);
            nodes[0].process(world, &commit, &ordered).map(|_| ()).unwrap_err()
        }
        Welcome => {
            let mut victim = world.node(C, Scheme::Ed25519);
            let bytes = victim.key_package(Suite::X25519);
            let provider = Provider::new(Store::default());
            let honest = commit::read_key_package(&bytes, Suite::X25519, &provider).unwrap();
            let mut rogue = Rogue::of(&mut nodes[1]);
            rogue.add(key_package(leaf, Suite::X25519).key_package())?;
            rogue.merge();
            let (commit, welcome) = rogue.add(&honest)?;
            let ordered = world.order(id, epoch + 1, &commit);
            let left = victim.stock.left(&victim.id, Suite::X25519, NOW);
            let error = victim.join(world, &welcome, &commit, &ordered).unwrap_err();
            assert_eq!(victim.stock.left(&victim.id, Suite::X25519, NOW), left, "the key package is still there");
            error
        }
        Info => {
            let mut rogue = Rogue::of(&mut nodes[1]);
            rogue.add(key_package(leaf, Suite::X25519).key_package())?;
            rogue.merge();
            let info = rogue.mls.export_group_info(rogue.provider.crypto(), &rogue.me, true).unwrap();
            Rejoin::start(&info.to_bytes().unwrap(), &nodes[0].id, &world.trust, NOW).map(|_| ()).unwrap_err()
        }
        External => {
            let me = nodes[0].id.clone();
            let info = nodes[0].group().info(&me).unwrap();
            let commit = from_outside(&info, leaf)?;
            let ordered = world.order(id, epoch, &commit);
            nodes[0].process(world, &commit, &ordered).map(|_| ()).unwrap_err()
        }
    };
    assert_eq!(nodes[0].disk.0, before, "nothing was written");
    assert_eq!(nodes[0].group().epoch(), epoch);
    nodes[0].seal(world, b"the group goes on");
    Some(error)
}

#[test]
fn every_forged_leaf_is_refused_at_every_entrance_by_its_name() {
    let mut world = World::new();
    world.trust = revoking(&world);
    for forgery in forgeries(&world) {
        for entrance in ALL {
            if forgery.never.contains(&entrance) {
                continue;
            }
            let error = attempt(&mut world, entrance, &forgery.leaf);
            if forgery.library.contains(&entrance) {
                let refused = matches!(
                    error,
                    None | Some(GroupError::BadCommit(_) | GroupError::BadGroupInfo(_) | GroupError::BadWelcome(_))
                );
                assert!(refused, "{} at {entrance:?}: {error:?}", forgery.name);
                continue;
            }
            // Whoever replaces a leaf must first be who it was; nobody else gets as far as the charter.
            let expected = match forgery.expected.clone() {
                LeafError::NotInCharter(found) | LeafError::Suspended(found) if entrance == Path => {
                    LeafError::OtherMember { expected: uri(B), found }
                }
                expected => expected,
            };
            assert_eq!(error, Some(GroupError::Leaf(expected)), "{} at {entrance:?}", forgery.name);
        }
    }
}

#[test]
fn what_is_good_is_accepted_at_every_entrance() {
    // Else the forgers above might be refused for what they have in common.
    let mut world = World::new();
    world.trust = revoking(&world);
    let key = Key::new(Scheme::Ed25519);
    let good = Forged::new(vec![world.issue(WHO, &key)], key);
    let mut nodes = world.group_of(&[A, B], Suite::X25519);
    let add = vec![bytes_of(&key_package(&good, Suite::X25519))];
    nodes[0].stage(&world, &Intent { add, ..Intent::default() }).unwrap();
    let id = nodes[0].group().id();

    let (commit, _) = Rogue::of(&mut nodes[1]).add(key_package(&good, Suite::X25519).key_package()).unwrap();
    let ordered = world.order(id, 1, &commit);
    assert_eq!(nodes[0].process(&world, &commit, &ordered).unwrap().added, [uri(WHO)]);
    Rogue::of(&mut nodes[1]).merge();

    let mut victim = world.node(C, Scheme::Ed25519);
    let bytes = victim.key_package(Suite::X25519);
    let honest = commit::read_key_package(&bytes, Suite::X25519, &Provider::new(Store::default())).unwrap();
    let (commit, welcome) = Rogue::of(&mut nodes[1]).add(&honest).unwrap();
    let ordered = world.order(id, 2, &commit);
    victim.join(&world, &welcome, &commit, &ordered).unwrap();
    nodes[0].process(&world, &commit, &ordered).unwrap();
    Rogue::of(&mut nodes[1]).merge();

    let (me, own) = (nodes[0].id.clone(), Key::new(Scheme::Ed25519));
    let again = Forged::new(vec![world.issue(B, &own)], own);
    let commit = Rogue::of(&mut nodes[1]).become_another(&again).unwrap();
    let ordered = world.order(id, 3, &commit);
    nodes[0].process(&world, &commit, &ordered).unwrap();

    let info = nodes[0].group().info(&me).unwrap();
    Rejoin::start(&info, &victim.id, &world.trust, NOW).unwrap();
    let commit = from_outside(&info, &again).unwrap();
    let ordered = world.order(id, 4, &commit);
    assert!(nodes[0].process(&world, &commit, &ordered).unwrap().rejoined);
}

#[test]
fn one_leaf_a_node_and_one_node_a_key() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    let id = nodes[0].group().id();
    let key = Key::new(Scheme::Ed25519);
    let second = Forged::new(vec![world.issue(C, &key)], key.clone());
    let twice = LeafError::SecondLeaf(uri(C));

    // Another leaf of C, by key package, by Add, from outside.
    let bundle = key_package(&second, Suite::X25519);
    let intent = Intent { add: vec![bytes_of(&bundle)], ..Intent::default() };
    assert_eq!(nodes[0].stage(&world, &intent), Err(twice.clone().into()));
    let (commit, _) = Rogue::of(&mut nodes[1]).add(bundle.key_package()).unwrap();
    let ordered = world.order(id, 1, &commit);
    assert_eq!(nodes[0].process(&world, &commit, &ordered), Err(twice.clone().into()));
    let me = nodes[0].id.clone();
    let info = nodes[0].group().info(&me).unwrap();
    let commit = from_outside(&info, &second).unwrap();
    let ordered = world.order(id, 1, &commit);
    assert_eq!(nodes[0].process(&world, &commit, &ordered), Err(twice.into()));

    // But removed and added in one commit, it is the same one leaf.
    let intent = Intent { remove: vec![uri(C)], ..intent };
    nodes[0].stage(&world, &intent).unwrap();
    let changes = nodes[0].group().abandon().unwrap();
    nodes[0].disk.write(changes);

    // D with the key of C: as an Add the library sees it first, in an update path only this room does.
    let key = nodes[2].key.clone();
    let reused = Forged::new(vec![world.issue(D, &key)], key.clone());
    let expected = LeafError::ReusedKey { found: uri(D), other: uri(C) };
    let bundle = key_package(&reused, Suite::X25519);
    let intent = Intent { add: vec![bytes_of(&bundle)], ..Intent::default() };
    assert_eq!(nodes[0].stage(&world, &intent), Err(expected.into()));
    nodes[1].restart();
    assert!(Rogue::of(&mut nodes[1]).add(bundle.key_package()).is_none());
    let b = Forged::new(vec![world.issue(B, &key)], key);
    let commit = Rogue::of(&mut nodes[1]).become_another(&b).unwrap();
    let ordered = world.order(id, 1, &commit);
    let expected = LeafError::ReusedKey { found: uri(B), other: uri(C) };
    assert_eq!(nodes[0].process(&world, &commit, &ordered), Err(expected.into()));
}

#[test]
fn a_leaf_gives_way_only_to_one_of_the_same_node() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    let id = nodes[0].group().id();
    // B's leaf becomes D's: a certificate of D's nation, valid in itself.
    let key = Key::new(Scheme::Ed25519);
    let another = Forged::new(vec![world.issue(D, &key)], key);
    let commit = Rogue::of(&mut nodes[1]).become_another(&another).unwrap();
    let ordered = world.order(id, 1, &commit);
    let expected = LeafError::OtherMember { expected: uri(B), found: uri(D) };
    assert_eq!(nodes[0].process(&world, &commit, &ordered), Err(expected.into()));

    // B comes from outside with the key of C, and so would take C's leaf away; D comes, and is nobody.
    let me = nodes[0].id.clone();
    let info = nodes[0].group().info(&me).unwrap();
    let stolen = Forged::new(vec![world.issue(B, &nodes[2].key)], nodes[2].key.clone());
    let commit = from_outside(&info, &stolen).unwrap();
    let ordered = world.order(id, 1, &commit);
    let expected = LeafError::OtherMember { expected: uri(C), found: uri(B) };
    assert_eq!(nodes[0].process(&world, &commit, &ordered), Err(expected.into()));
    let commit = from_outside(&info, &another).unwrap();
    let ordered = world.order(id, 1, &commit);
    let error = nodes[0].process(&world, &commit, &ordered).unwrap_err();
    assert_eq!((&error, error.remedy()), (&GroupError::Outsider(uri(D)), Remedy::Skip));
}

#[test]
fn a_key_package_of_another_suite_is_refused() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B], Suite::X25519);
    let mut other = world.node(C, Scheme::EcdsaP256);
    let bytes = other.key_package(Suite::P256);
    let expected = LeafError::OtherSuite { expected: 1, found: 2 };
    let intent = Intent { add: vec![bytes.clone()], ..Intent::default() };
    assert_eq!(nodes[0].stage(&world, &intent), Err(expected.into()));
    // And a leaf whose certified key is of another scheme than the suite signs with.
    let provider = Provider::new(Store::default());
    let read = commit::read_key_package(&bytes, Suite::P256, &provider).unwrap();
    let bench = Bench { trust: &world.trust, suite: Suite::X25519, at: NOW };
    let judged = judge(&bench, Door::Add, read.leaf_node(), &mut Roster::default());
    assert_eq!(judged, Err(LeafError::WrongScheme));
}

#[test]
fn every_capability_that_groups_need_is_asked_for() {
    let world = World::new();
    let judged = |capabilities: Capabilities| {
        let key = Key::new(Scheme::Ed25519);
        let leaf = Forged { capabilities, ..Forged::new(vec![world.issue(WHO, &key)], key) };
        let bundle = key_package(&leaf, Suite::X25519);
        let bench = Bench { trust: &world.trust, suite: Suite::X25519, at: NOW };
        judge(&bench, Door::Tree, bundle.key_package().leaf_node(), &mut Roster::default())
    };
    let lacks = |what| Err(LeafError::Capability(what));
    let (x509, policy) = ([CredentialType::X509], [leaf::POLICY]);
    let suite = [Suite::P256.mls()];
    assert_eq!(judged(capabilities(Suite::X25519)), Ok(uri(WHO)));
    let other = Capabilities::new(None, Some(&suite), Some(&policy), None, Some(&x509));
    assert_eq!(judged(other), lacks("the group's ciphersuite"));
    let other = Capabilities::new(None, None, Some(&[]), None, Some(&x509));
    assert_eq!(judged(other), lacks("the group policy extension"));
    let other = Capabilities::new(None, None, Some(&policy), None, Some(&[CredentialType::Basic]));
    assert_eq!(judged(other), lacks("X.509 credentials"));
}

#[test]
fn whoever_could_not_be_joined_is_named_before_anybody_is_added() {
    let mut world = World::new();
    let mut nodes = world.group_of(&[A, B, C], Suite::X25519);
    world.trust = world.suspending(&[B]);
    let mut late = world.node(D, Scheme::Ed25519);
    let intent = Intent { add: vec![late.key_package(Suite::X25519)], ..Intent::default() };
    let why = LeafError::Suspended(uri(B));
    assert_eq!(nodes[0].group().unfit(&world.trust, NOW).unwrap(), [(uri(B), why.clone())]);
    assert_eq!(nodes[0].stage(&world, &intent), Err(GroupError::Unfit { uri: uri(B), why }));
    let gone = nodes.remove(1);
    let intent = Intent { remove: vec![gone.id.uri().clone()], ..intent };
    let (merged, pending, ordered) = world.commit(&mut nodes, 0, &intent);
    late.join(&world, &merged.welcome.unwrap(), pending.commit(), &ordered).unwrap();
    nodes.push(late);
    agree(&nodes);
}

#[test]
fn lists_and_roots_that_cannot_be_used_are_named() {
    let world = World::new();
    let error = world.suspending(&[]).revoking(&"us".parse().unwrap(), b"no list").unwrap_err();
    assert!(matches!(error, TrustError::RevocationList { .. }), "{error}");
    let roots = [vec![1, 2, 3]];
    let error = Trust::new([("mx".parse().unwrap(), &roots[..])], []).unwrap_err();
    assert!(matches!(error, TrustError::Root { .. }), "{error}");
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2089, 1, 1),
        next_update: date_time_ymd(2089, 2, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params.signed_by(&world.us.issuer).unwrap();
    let error = world.suspending(&[]).revoking(&"ca".parse().unwrap(), list.der()).unwrap_err();
    assert_eq!(error, TrustError::UnknownNation("ca".parse().unwrap()));
}
