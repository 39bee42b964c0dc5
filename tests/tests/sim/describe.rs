//! Frames in a few words, for the story of a run.

use puente_wire::fault::FaultCode;
use puente_wire::proto;

use super::check;

pub fn describe(body: &proto::frame::Body) -> String {
    use proto::frame::Body;
    match body {
        Body::NeedPart(need) => format!("NeedPart {} {}", need.jurisdiction, need.number),
        Body::CharterPart(_) => "CharterPart".to_owned(),
        Body::Fault(f) => format!("Fault({})", FaultCode::from_code(f.code).map_or("?", FaultCode::as_str)),
        Body::Head(h) => format!("Head(base {})", h.base),
        Body::Deliver(d) => {
            let pair = d.entry.as_ref().and_then(|e| check::pair_in_the_clear(&e.entry));
            format!("Deliver({:?})", pair.map(|p| (p.kind(), p.seq.0)))
        }
        Body::Delivered(d) => format!("Delivered({})", d.result),
        Body::Probe(p) => format!("Probe({}..={})", p.first, p.last),
        Body::Have(h) => format!("Have({}..={} missing {:?})", h.first, h.last, h.missing),
        Body::NeedHead(n) => format!("NeedHead({}..{})", n.from, n.to),
        Body::HeadProof(n) => format!("HeadProof({}..{})", n.from, n.to),
        Body::Ask(a) => {
            let pair = a.query.as_ref().and_then(|e| check::pair_in_the_clear(&e.entry));
            format!("Ask({:?})", pair.map(|p| p.seq.0))
        }
        Body::Reply(_) => "Reply".to_owned(),
        Body::Acknowledge(_) => "Acknowledge".to_owned(),
        Body::Release(_) => "Release".to_owned(),
        Body::Pending(_) => "Pending".to_owned(),
        Body::Ready(_) => "Ready".to_owned(),
        Body::Submit(_) => "Submit".to_owned(),
        Body::Judged(judged) => format!("Judged {}", judged.status),
        Body::Seek(seek) => format!("Seek {}", seek.origin),
        Body::Sought(sought) => format!("Sought {}", sought.origin),
        Body::AboutGroup(part) => format!("AboutGroup {} {} bytes", part.group, part.part.len()),
        Body::Relay(relay) => format!("Relay to {} {}", relay.to, relay.group),
        Body::Relayed(relayed) => format!("Relayed from {} {}", relayed.from, relayed.group),
        Body::Lost(lost) => if lost.entry.is_some() { "Lost entry" } else { "Lost: that was all" }.to_owned(),
    }
}
