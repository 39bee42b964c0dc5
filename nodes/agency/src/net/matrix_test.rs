//! Every certificate that must be refused, with the name of the refusal.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, UnixTime};

use super::pki::{A, B, C, World, authority, issue, leaf, root, uri};
use super::trust::{CERTIFICATE_BYTES_MAX, Presenter};

/// Who looks, who was expected, the certificates, and the class of the refusal.
struct Row {
    what: &'static str,
    chain: Vec<CertificateDer<'static>>,
    presenter: Presenter,
    expected: Option<&'static str>,
    class: &'static str,
}

fn row(what: &'static str, chain: Vec<CertificateDer<'static>>, class: &'static str) -> Row {
    Row { what, chain, presenter: Presenter::Client, expected: None, class }
}

/// A certificate of `params` from the US root.
fn us(world: &World, params: CertificateParams) -> Vec<CertificateDer<'static>> {
    vec![issue(params, &world.us.issuer).0]
}

fn with(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = leaf(B);
    change(&mut params);
    params
}

fn san(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

/// Replaces every occurrence of a DER object identifier.
fn patched(der: &CertificateDer<'_>, from: &[u8], to: &[u8]) -> CertificateDer<'static> {
    let mut bytes = der.to_vec();
    let found: Vec<usize> = (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!found.is_empty());
    for at in found {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    CertificateDer::from(bytes)
}

/// An intermediate authority, and its issuer for leaves.
fn intermediate(
    name: &str,
    under: &Issuer<'static, KeyPair>,
    limit: BasicConstraints,
) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
    let (params, key) = authority(name, limit);
    let der = params.signed_by(&key, under).unwrap().der().clone();
    (der, Issuer::new(params, key))
}

fn rows(world: &World) -> Vec<Row> {
    let good = us(world, leaf(B));
    let key = KeyPair::generate().unwrap();
    let self_signed = leaf(B).self_signed(&key).unwrap().der().clone();
    let stranger = root("Root of Nowhere");
    let impostor = root("Root of US");
    let (of_mx, mx_issuer) = intermediate("Intermediate of MX", &world.mx.issuer, BasicConstraints::Unconstrained);
    let (of_us, us_issuer) = intermediate("Intermediate of US", &world.us.issuer, BasicConstraints::Constrained(0));
    let (below, below_issuer) = intermediate("Second intermediate of US", &us_issuer, BasicConstraints::Constrained(0));
    let under = |issuer: &Issuer<'static, KeyPair>| issue(leaf(B), issuer).0;
    let no_authority = issue(leaf("puente://us/other/n1"), &world.us.issuer);
    let not_an_issuer = Issuer::new(leaf("puente://us/other/n1"), no_authority.1);
    let mut flipped = good[0].to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let ecdsa_sha256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let ecdsa_sha224 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x01];
    let large = with(|p| {
        p.subject_alt_names
            .extend((0..300).map(|n| SanType::DnsName(format!("{n}.{}.example", "x".repeat(60)).try_into().unwrap())));
    });
    assert!(us(world, large.clone())[0].len() > CERTIFICATE_BYTES_MAX);
    let mut rows = vec![
        row("expired", us(world, with(|p| p.not_after = date_time_ymd(2021, 1, 1))), "certificate-expired"),
        row(
            "not valid yet",
            us(world, with(|p| p.not_before = date_time_ymd(2090, 1, 1))),
            "certificate-not-yet-valid",
        ),
        row("self-signed", vec![self_signed], "unknown-issuer"),
        row("root that nobody knows", vec![under(&stranger.issuer)], "unknown-issuer"),
        row("another root with the name of ours", vec![under(&impostor.issuer)], "bad-signature"),
        row("MX root mints a US name", vec![under(&world.mx.issuer)], "other-nations-root"),
        row("intermediate of MX mints a US name", vec![under(&mx_issuer), of_mx], "other-nations-root"),
        row("intermediate left out", vec![under(&us_issuer)], "unknown-issuer"),
        row("intermediate beyond the path length", vec![under(&below_issuer), below, of_us.clone()], "bad-chain"),
        row("a node's key issues", vec![under(&not_an_issuer), no_authority.0], "bad-chain"),
        row("two URI names", us(world, with(|p| p.subject_alt_names.push(san(A)))), "many-uri-names"),
        row("the same URI twice", us(world, with(|p| p.subject_alt_names.push(san(B)))), "many-uri-names"),
        row(
            "DNS name only",
            us(
                world,
                with(|p| {
                    p.subject_alt_names = vec![SanType::DnsName("node.example".try_into().unwrap())];
                }),
            ),
            "no-uri-name",
        ),
        row("no names", us(world, with(|p| p.subject_alt_names.clear())), "no-uri-name"),
        row(
            "a URI that is no node's",
            us(world, with(|p| p.subject_alt_names = vec![san("https://us/x")])),
            "not-a-node-name",
        ),
        row(
            "capitals in the URI",
            us(world, with(|p| p.subject_alt_names = vec![san("puente://US/sdsheriff/n1")])),
            "not-a-node-name",
        ),
        row(
            "authority as a leaf",
            us(world, with(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
            "authority-certificate",
        ),
        row("the root itself", vec![world.us.der.clone()], "authority-certificate"),
        row(
            "code-signing certificate",
            us(
                world,
                with(|p| {
                    p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
                }),
            ),
            "wrong-usage",
        ),
        row(
            "server-only certificate dials",
            us(
                world,
                with(|p| {
                    p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                }),
            ),
            "wrong-usage",
        ),
        row(
            "nation that is not in the charter",
            us(world, with(|p| p.subject_alt_names = vec![san("puente://gt/mp/n1")])),
            "unknown-nation",
        ),
        row(
            "name that is not in the charter",
            us(world, with(|p| p.subject_alt_names = vec![san("puente://us/nobody/n1")])),
            "not-in-charter",
        ),
        row("suspended member", us(world, with(|p| p.subject_alt_names = vec![san(C)])), "suspended"),
        row("our own name", vec![issue(leaf(A), &world.mx.issuer).0], "own-name"),
        row(
            "an algorithm that is not accepted",
            vec![patched(&good[0], &ecdsa_sha256, &ecdsa_sha224)],
            "unsupported-algorithm",
        ),
        row("signature flipped", vec![CertificateDer::from(flipped)], "bad-signature"),
        row("garbage", vec![CertificateDer::from(vec![0x30, 0x82, 1, 2, 3])], "malformed-certificate"),
        row("empty certificate", vec![CertificateDer::from(vec![])], "malformed-certificate"),
        row("trailing bytes", vec![CertificateDer::from([&good[0][..], &[0]].concat())], "malformed-certificate"),
        row(
            "half a certificate",
            vec![CertificateDer::from(good[0][..good[0].len() / 2].to_vec())],
            "malformed-certificate",
        ),
        row("too many intermediates", [vec![good[0].clone()], vec![of_us.clone(); 5]].concat(), "chain-too-long"),
        row("certificate too large", us(world, large), "chain-too-long"),
    ];
    rows.push(Row {
        presenter: Presenter::Server,
        expected: Some("puente://us/other/n1"),
        ..row("another member than dialled", good, "wrong-peer")
    });
    let client_only = us(world, with(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]));
    rows.push(Row {
        presenter: Presenter::Server,
        expected: Some(B),
        ..row("client-only certificate answers", client_only, "wrong-usage")
    });
    rows
}

#[test]
fn every_refusal_has_its_name() {
    let world = World::new();
    let trust = world.trust(A, &[]);
    let rows = rows(&world);
    assert!(rows.len() >= 30, "{}", rows.len());
    for Row { what, chain, presenter, expected, class } in rows {
        let expected = expected.map(uri);
        let found = trust.verify(&chain[0], &chain[1..], presenter, expected.as_ref(), UnixTime::now());
        let refusal = found.expect_err(what);
        assert_eq!(refusal.class(), class, "{what}: {refusal}");
        assert!(!refusal.to_string().is_empty());
    }
}

#[test]
fn good_certificates_pass_in_both_roles_also_below_an_intermediate() {
    let world = World::new();
    let trust = world.trust(A, &[]);
    let direct = issue(leaf(B), &world.us.issuer).0;
    let (of_us, issuer) = intermediate("Intermediate of US", &world.us.issuer, BasicConstraints::Constrained(0));
    let below = issue(leaf(B), &issuer).0;
    for presenter in [Presenter::Client, Presenter::Server] {
        let now = UnixTime::now();
        assert_eq!(trust.verify(&direct, &[], presenter, Some(&uri(B)), now), Ok(uri(B)));
        assert_eq!(trust.verify(&below, std::slice::from_ref(&of_us), presenter, None, now), Ok(uri(B)));
    }
}
