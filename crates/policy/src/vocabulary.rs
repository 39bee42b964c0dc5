use std::collections::BTreeSet;

use puente_model::{
    FieldClass, Handling, Jurisdiction, LegalBasisId, Millis, Mode, Purpose, QueryKind, Role, Step, Urgency,
};

use crate::error::PolicyError;

/// The words that policies may use: what the catalogue and the charter define, as plain values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    /// Query kinds of the catalogue, with the fields that an answer could hold.
    pub kinds: Vec<KindInfo>,
    /// Legal bases of the charter, expired ones included.
    pub legal_bases: Vec<BasisInfo>,
    /// Nations of the charter.
    pub jurisdictions: Vec<Jurisdiction>,
    /// Roles that the charter gives to member agencies, for example `state-prosecutor`.
    pub agency_roles: Vec<String>,
}

/// A query kind and the record type that answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindInfo {
    /// The kind, for example `vehicle.status`.
    pub kind: QueryKind,
    /// The record type's name, for example `Vehicle`.
    pub record_type: String,
    /// Steps that the kind has.
    pub steps: Vec<Step>,
    /// Fields of the record type.
    pub fields: Vec<FieldInfo>,
}

/// A field of a record type, with its marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldInfo {
    /// The field's name in the `.proto` file.
    pub name: String,
    /// The field's number on the wire.
    pub number: u32,
    /// It identifies a person or thing.
    pub identifying: bool,
    /// It is sensitive personal data.
    pub sensitive: bool,
    /// It could reveal a source.
    pub source_revealing: bool,
}

/// A legal basis of the charter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasisInfo {
    /// Its id, for example `mx-us-mlat-1987`.
    pub id: LegalBasisId,
    /// Purposes that it covers.
    pub purposes: Vec<Purpose>,
    /// The first instant at which it no longer stands.
    pub expires: Millis,
}

impl FieldInfo {
    /// The most sensitive of the field's marks.
    pub fn class(&self) -> FieldClass {
        match (self.source_revealing, self.sensitive, self.identifying) {
            (true, _, _) => FieldClass::SourceRevealing,
            (_, true, _) => FieldClass::Sensitive,
            (_, _, true) => FieldClass::Identifying,
            _ => FieldClass::Plain,
        }
    }
}

impl Vocabulary {
    /// The kind of that name.
    pub fn kind(&self, kind: &QueryKind) -> Option<&KindInfo> {
        self.kinds.iter().find(|k| k.kind == *kind)
    }

    /// The legal basis of that id, expired or not.
    pub fn basis(&self, id: &LegalBasisId) -> Option<&BasisInfo> {
        self.legal_bases.iter().find(|b| b.id == *id)
    }

    /// The Cedar schema that policies are validated against, as text.
    ///
    /// Every code is an enumerated entity type, so that a misspelt purpose, basis, role or kind is refused when a
    /// policy is loaded instead of silently never matching.
    pub fn cedar_schema(&self) -> String {
        let kinds: Vec<&str> = self.kinds.iter().map(|k| k.kind.as_str()).collect();
        let bases: Vec<&str> = self.legal_bases.iter().map(|b| b.id.as_str()).collect();
        let nations: Vec<&str> = self.jurisdictions.iter().map(Jurisdiction::as_str).collect();
        let agency_roles: Vec<&str> = self.agency_roles.iter().map(String::as_str).collect();
        let mut out = String::from("// Generated from the catalogue and the charter.\n");
        let mut words = |name: &str, values: &[&str]| {
            let list = values.iter().map(|v| format!("\"{v}\"")).collect::<Vec<_>>().join(", ");
            out.push_str(&format!("entity {name} enum [{list}];\n"));
        };
        words("Kind", &kinds);
        words("Basis", &bases);
        words("Nation", &nations);
        words("AgencyRole", &agency_roles);
        words("Purpose", &texts(Purpose::ALL, Purpose::as_str));
        words("Role", &texts(Role::ALL, Role::as_str));
        words("Step", &texts(Step::ALL, Step::as_str));
        words("Mode", &texts(Mode::ALL, Mode::as_str));
        words("Urgency", &texts(Urgency::ALL, Urgency::as_str));
        words("Handling", &texts(Handling::ALL, Handling::as_str));
        out.push_str(QUESTION);
        out
    }

    pub(crate) fn check(&self) -> Result<(), PolicyError> {
        let wrong = |what: String, mend: &'static str| Err(PolicyError::Vocabulary { what, mend });
        for (what, empty) in [
            ("query kinds", self.kinds.is_empty()),
            ("legal bases", self.legal_bases.is_empty()),
            ("jurisdictions", self.jurisdictions.is_empty()),
            ("agency roles", self.agency_roles.is_empty()),
        ] {
            if empty {
                return wrong(format!("it names no {what}"), "name at least one in the charter or catalogue");
            }
        }
        let mut seen = BTreeSet::new();
        let names = (self.kinds.iter().map(|k| ("query kind", k.kind.as_str())))
            .chain(self.legal_bases.iter().map(|b| ("legal basis", b.id.as_str())))
            .chain(self.jurisdictions.iter().map(|j| ("jurisdiction", j.as_str())))
            .chain(self.agency_roles.iter().map(|r| ("agency role", r.as_str())));
        for (what, name) in names {
            if !seen.insert((what, name)) {
                return wrong(format!("the {what} '{name}' is named twice"), "name it once");
            }
        }
        for role in &self.agency_roles {
            if !slug(role) {
                return wrong(format!("'{}' is not an agency role", role.escape_default()), "use a-z, 0-9 and hyphens");
            }
        }
        for kind in &self.kinds {
            if kind.steps.is_empty() {
                return wrong(format!("the query kind '{}' has no steps", kind.kind), "give it at least step 1");
            }
            let mut fields = BTreeSet::new();
            let mut numbers = BTreeSet::new();
            for field in &kind.fields {
                let word = !field.name.is_empty()
                    && field.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
                if !word || !fields.insert(&field.name) || !numbers.insert(field.number) {
                    let name = field.name.escape_default();
                    let what = format!("the field '{name}' of {} is malformed or stands twice", kind.record_type);
                    return wrong(what, "field names are a-z, 0-9 and underscores; names and numbers are unique");
                }
            }
        }
        Ok(())
    }
}

fn texts<T: Copy>(all: &[T], text: impl Fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|v| text(*v)).collect()
}

/// Lower-case letters, digits and hyphens, 1 to 64 characters, hyphens only inside.
pub(crate) fn slug(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

const QUESTION: &str = "\
entity Agency { jurisdiction: Nation, roles: Set<AgencyRole> };
type Question = {
  holder: Agency,          // the agency that holds the records; the principal is the one that asks
  purpose: Purpose,
  basis: Basis,            // known, unexpired and covering the purpose: checked before any rule
  step: Step,
  mode: Mode,
  officer_role: Role,
  urgency: Urgency,
  handling: Handling,      // what the asker marked the question with
  same_nation: Bool,
  facts_stated: Bool,
  suspicion_stated: Bool,
  case_stated: Bool,
  order_stated: Bool,      // the question names a court order
  bound: Bool,             // the question belongs to an epoch of a group that both are in
  offence?: String,
};
action ask, answer appliesTo { principal: Agency, resource: Kind, context: Question };
";
