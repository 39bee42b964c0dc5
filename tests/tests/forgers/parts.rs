//! Charter parts that a peer shows: forged, foreign, unasked for, too many, going back.

use puente_charter::{Charter, ClaimedPart, Offer, Part, PartId, PartSignature};
use puente_exchange::api::{Alarm, StreamId};
use puente_model::{Label, digest, limits};
use puente_wire::fault::FaultCode;
use puente_wire::proto::frame::Body;
use puente_wire::proto::{self, Message as _};

use crate::sim::forger::{Duel, part_names};
use crate::sim::world::{DPS, FGE, START, next_annex, signed, suspend};

fn wire(part: &ClaimedPart, signatures: &[PartSignature]) -> proto::CharterPart {
    let signature =
        |s: &PartSignature| proto::PartSignature { key_name: s.key_name.clone(), signature: s.signature.to_vec() };
    let part = match part.part() {
        Part::Common(part) => proto::charter_part::Part::Common(part.canonical_bytes()),
        Part::Annex(part) => proto::charter_part::Part::Annex(part.canonical_bytes()),
    };
    proto::CharterPart { part: Some(part), signatures: signatures.iter().map(signature).collect() }
}

fn later(charter: &Charter, part: &ClaimedPart) -> Charter {
    match charter.offer(std::slice::from_ref(part), START).unwrap() {
        Offer::Next(next, _) => *next,
        Offer::Same => panic!(),
    }
}

/// A Ready that names these parts, whatever stands behind them.
fn claim(ready: &mut proto::Ready, names: Vec<proto::PartName>) {
    let mut vector = puente_model::CharterVector::default();
    for name in &names {
        match name.jurisdiction.as_str() {
            "" => vector.common = name.number,
            code => {
                vector.annexes.insert(code.parse().unwrap(), name.number);
            }
        }
    }
    let text = vector.to_string();
    let mut covered: Vec<&[u8]> = vec![text.as_bytes()];
    for name in &names {
        if !name.jurisdiction.is_empty() {
            covered.push(name.jurisdiction.as_bytes());
        }
        covered.push(&name.hash);
    }
    ready.charter_hash = digest(Label("puente/v1/charter"), &covered).0.to_vec();
    ready.charter = Some((&vector).into());
    ready.parts = names;
}

/// A forger whose Ready says that it is under `charter`, and what the honest node then asked for.
fn ahead(charter: impl FnOnce(&Charter) -> Vec<proto::PartName>) -> (Duel, Vec<proto::NeedPart>) {
    let mut duel = Duel::new();
    duel.heard();
    let names = charter(&duel.sim.world.charter.clone());
    duel.greet(|ready| claim(ready, names));
    let asked = duel.heard().into_iter().filter_map(|body| match body {
        Body::NeedPart(need) => Some(need),
        _ => None,
    });
    let asked = asked.collect();
    (duel, asked)
}

fn unchanged(duel: &mut Duel, name: &str) {
    assert_eq!(duel.sim.vector(FGE), "1.mx1.us1", "{name}");
    // What was refused is not asked for again for a while; an honest question needs none of it.
    duel.sim.run(6_000);
    duel.still_answers();
}

#[test]
fn parts_that_do_not_verify_are_refused_by_name_and_change_nothing() {
    let charter = crate::sim::world::World::ordinary().charter.clone();
    let us = next_annex(&charter, "us", |annex| annex.members[0].name_en = "Another name".to_owned());
    let names = part_names(&later(&charter, &us));
    let mut broken = us.signatures().to_vec();
    broken[0].signature[7] ^= 1;
    let foreign = signed(us.part().clone(), &["mx-gov-1", "mx-gov-2"]);
    let alone = &us.signatures()[..1];
    let mut torn = wire(&us, us.signatures());
    if let Some(proto::charter_part::Part::Annex(bytes)) = &mut torn.part {
        bytes.truncate(20);
    }
    let mut padded = wire(&us, us.signatures());
    if let Some(proto::charter_part::Part::Annex(bytes)) = &mut padded.part {
        bytes.extend([0x78, 0]);
    }
    let mut short = wire(&us, us.signatures());
    short.signatures[0].signature.pop();
    let Part::Annex(annex) = us.part() else { panic!() };
    let mut stranger = annex.clone();
    stranger.members[0].uri = "puente://mx/fge-bc/n9".parse().unwrap();
    let mut not_ours = wire(&us, us.signatures());
    not_ours.part = Some(proto::charter_part::Part::Annex(stranger.canonical_bytes()));
    let cases = [
        ("a broken signature", wire(&us, &broken)),
        ("signed by the other nation", wire(&us, foreign.signatures())),
        ("signed by too few", wire(&us, alone)),
        ("signed by nobody", wire(&us, &[])),
        ("cut short", torn),
        ("not canonical", padded),
        ("half a signature", short),
        ("names a node of the other nation", not_ours),
        ("nothing", proto::CharterPart { part: None, signatures: Vec::new() }),
    ];
    for (name, part) in cases {
        let (mut duel, asked) = ahead(|_| names.clone());
        assert_eq!(asked, [proto::NeedPart { jurisdiction: "us".to_owned(), number: 2 }], "{name}");
        duel.send(StreamId::CONTROL, Body::CharterPart(part));
        assert_eq!(duel.fault(), Some(FaultCode::UnprovenCharter), "{name}");
        unchanged(&mut duel, name);
    }
    // The test can fail: the part as it was signed is adopted.
    let (mut duel, _) = ahead(|_| names.clone());
    duel.send(StreamId::CONTROL, Body::CharterPart(wire(&us, us.signatures())));
    assert_eq!(duel.fault(), None);
    assert_eq!(duel.sim.vector(FGE), "1.mx1.us2");
}

#[test]
fn parts_that_nobody_asked_for_and_too_many_are_refused() {
    let mut duel = Duel::new();
    duel.heard();
    let charter = duel.sim.world.charter.clone();
    let us = next_annex(&charter, "us", |_| ());
    duel.send(StreamId::CONTROL, Body::CharterPart(wire(&us, us.signatures())));
    assert_eq!(duel.fault(), Some(FaultCode::OutOfOrder), "unasked for");
    let names = part_names(&later(&charter, &us));
    duel.greet(|ready| claim(ready, names));
    duel.heard();
    let mx = next_annex(&charter, "mx", |_| ());
    duel.send(StreamId::CONTROL, Body::CharterPart(wire(&mx, mx.signatures())));
    assert_eq!(duel.fault(), Some(FaultCode::OutOfOrder), "another than asked for");
    let many = vec![us.signatures()[0].clone(); limits::PART_SIGNATURES_MAX + 1];
    duel.send(StreamId::CONTROL, Body::CharterPart(wire(&us, &many)));
    assert_eq!(duel.fault(), Some(FaultCode::Malformed), "too many signatures");
    unchanged(&mut duel, "unasked for");

    // As many parts ahead as may be fetched, and one more.
    for (number, fault) in [(limits::PARTS_AHEAD_MAX as u32, None), (u32::MAX, Some(FaultCode::UnprovenCharter))] {
        let (mut duel, asked) = ahead(|charter| {
            let mut names = part_names(charter);
            (names[2].number, names[2].hash) = (number + u32::from(number < u32::MAX), vec![7; 32]);
            names
        });
        assert_eq!(asked.len(), if fault.is_some() { 0 } else { limits::PARTS_AHEAD_MAX });
        if fault.is_none() {
            // They do not come: what is in force stays.
            duel.sim.run(11_000);
            assert_eq!(duel.fault(), Some(FaultCode::UnprovenCharter));
        }
        unchanged(&mut duel, "too far ahead");
    }
    // It has none of what it names.
    let (mut duel, _) = ahead(|_| part_names(&later(&charter, &us)));
    let none = proto::Fault { code: FaultCode::NoSuchPart.code(), ..proto::Fault::default() };
    duel.send(StreamId::CONTROL, Body::Fault(none));
    assert_eq!(duel.fault(), Some(FaultCode::UnprovenCharter));
    unchanged(&mut duel, "no such part");
}

#[test]
fn a_question_under_a_charter_that_nobody_has_is_not_recorded() {
    let mut duel = Duel::new();
    duel.heard();
    let question = duel.question(1, |_, pair| pair.charter.common = 2);
    duel.ask(&question);
    let heard = duel.heard();
    assert!(heard.iter().any(|b| matches!(b, Body::NeedPart(need) if need.number == 2)), "it is asked for first");
    assert!(heard.iter().all(|b| !matches!(b, Body::Fault(_) | Body::Reply(_))));
    duel.sim.run(11_000);
    let told = duel.heard().into_iter().find_map(|body| if let Body::Fault(fault) = body { Some(fault) } else { None });
    let told = told.unwrap();
    assert_eq!(FaultCode::from_code(told.code), Some(FaultCode::UnprovenCharter));
    assert_eq!(told.exchange_id, question.exchange.0);
    unchanged(&mut duel, "a charter that nobody has");
}

#[test]
fn a_ready_that_goes_back_or_contradicts_itself_is_refused() {
    let charter = crate::sim::world::World::ordinary().charter.clone();
    let us = next_annex(&charter, "us", |_| ());
    let (mut duel, _) = ahead(|_| part_names(&later(&charter, &us)));
    duel.greet(|_| ());
    assert_eq!(duel.fault(), Some(FaultCode::OldCharter), "below what it showed before");
    type Tweak = fn(&mut proto::Ready);
    let cases: [(&str, Tweak); 5] = [
        ("a vector of other parts", |r| r.charter.as_mut().unwrap().common = 2),
        ("nations out of order", |r| r.parts.swap(1, 2)),
        ("no common part", |r| drop(r.parts.remove(0))),
        ("number 0", |r| r.parts[1].number = 0),
        ("half a hash", |r| r.parts[1].hash.truncate(16)),
    ];
    for (name, tweak) in cases {
        let mut duel = Duel::new();
        duel.heard();
        duel.greet(tweak);
        assert_eq!(duel.fault(), Some(FaultCode::Malformed), "{name}");
    }
}

#[test]
fn parts_are_given_to_members_and_only_those_that_stand() {
    let mut duel = Duel::new();
    duel.heard();
    let need =
        |jurisdiction: &str, number| Body::NeedPart(proto::NeedPart { jurisdiction: jurisdiction.to_owned(), number });
    for (body, code) in [
        (need("us", 0), FaultCode::Malformed),
        (need("atlantis", 1), FaultCode::Malformed),
        (need("us", 2), FaultCode::NoSuchPart),
        (need("fr", 1), FaultCode::NoSuchPart),
        (need("", u32::MAX), FaultCode::NoSuchPart),
    ] {
        duel.send(StreamId::CONTROL, body);
        assert_eq!(duel.fault(), Some(code));
    }
    duel.send(StreamId::CONTROL, need("us", 1));
    let shown = duel.heard().into_iter().find_map(|b| if let Body::CharterPart(part) = b { Some(part) } else { None });
    let id = PartId { nation: Some("us".parse().unwrap()), number: 1 };
    let own = duel.sim.world.charter.part(&id).unwrap().clone();
    assert_eq!(shown, Some(wire(&own, own.signatures())));
}

#[test]
fn a_second_annex_with_a_number_in_force_is_kept_as_evidence() {
    let charter = crate::sim::world::World::ordinary().charter.clone();
    let id = PartId { nation: Some("us".parse().unwrap()), number: 1 };
    let Part::Annex(mut other) = charter.part(&id).unwrap().part().clone() else { panic!() };
    suspend(DPS)(&mut other);
    let other = signed(Part::Annex(other), &["us-gov-1", "us-gov-2"]);
    let (mut duel, asked) = ahead(|charter| {
        let mut names = part_names(charter);
        names[2].hash = other.hash().0.to_vec();
        names
    });
    assert_eq!(asked.len(), 1);
    duel.send(StreamId::CONTROL, Body::CharterPart(wire(&other, other.signatures())));
    assert_eq!(duel.fault(), Some(FaultCode::UnprovenCharter));
    let evidence = duel.sim.nodes[FGE].alarms.iter().find_map(|alarm| match alarm {
        Alarm::TwoParts { evidence, .. } => Some(proto::TwoParts::decode(evidence.as_slice()).unwrap()),
        _ => None,
    });
    let evidence = evidence.expect("both are kept");
    let own = charter.part(&id).unwrap();
    assert_eq!(evidence.first, Some(wire(own, own.signatures())));
    assert_eq!(evidence.second, Some(wire(&other, other.signatures())));
    unchanged(&mut duel, "two annexes");
}
