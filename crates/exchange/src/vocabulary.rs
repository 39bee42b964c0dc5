//! The words that policies may use.

use std::collections::BTreeSet;

use puente_catalogue::Catalogue;
use puente_charter::Charter;
use puente_model::Step;
use puente_policy::{BasisInfo, FieldInfo, KindInfo, Vocabulary};

use crate::alerts;

/// The words that policies may use: what catalogue and charter define.
pub fn vocabulary(charter: &Charter, catalogue: &Catalogue) -> Vocabulary {
    let roles: BTreeSet<&String> = charter.members().iter().flat_map(|m| &m.roles).collect();
    let kinds = catalogue.query_kinds().iter().map(|kind| {
        let fields = catalogue.record_type(kind.record_type()).map(|t| t.fields()).unwrap_or_default();
        KindInfo {
            kind: kind.kind().clone(),
            record_type: kind.record_type().to_owned(),
            steps: kind.steps().iter().map(|s| s.step).collect(),
            fields: fields
                .iter()
                .map(|f| FieldInfo {
                    name: f.name.clone(),
                    number: f.number,
                    identifying: f.marks.identifying,
                    sensitive: f.marks.sensitive,
                    source_revealing: f.marks.source_revealing,
                })
                .collect(),
        }
    });
    // What is done with alerts is no question, and judged all the same.
    let alert = |kind: &str| {
        let kind = kind.parse().ok()?;
        Some(KindInfo { kind, record_type: String::new(), steps: vec![Step::HitNoHit], fields: Vec::new() })
    };
    let alerts = [alerts::PUBLISH, alerts::ACKNOWLEDGE, alerts::CANCEL].into_iter().filter_map(alert);
    let bases = charter.legal_bases().iter();
    Vocabulary {
        kinds: kinds.chain(alerts).collect(),
        legal_bases: bases
            .map(|b| BasisInfo { id: b.id.clone(), purposes: b.purposes.clone(), expires: b.expires })
            .collect(),
        jurisdictions: charter.jurisdictions().cloned().collect(),
        agency_roles: roles.into_iter().cloned().collect(),
    }
}
