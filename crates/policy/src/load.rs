//! From policy text to rules: parsed, validated against the schema in strict mode, and every annotation checked.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use cedar_policy as cedar;
use cedar_policy::ffi::DetailedError;
use cedar_policy::{ActionConstraint, PolicyId, ResourceConstraint, Schema, ValidationMode, Validator};
use puente_model::{AgencyId, QueryKind};

use crate::error::{Finding, PolicyError, finding};
use crate::request::Direction;
use crate::rule::{Rule, Source};
use crate::scan;
use crate::vocabulary::Vocabulary;

/// Policy files in one set.
pub const FILES_MAX: usize = 64;
/// One policy or case file, in bytes.
pub const FILE_BYTES_MAX: usize = 256 * 1024;
/// Rules in one set.
pub const RULES_MAX: usize = 2_000;
/// Stack that reading and validating may use, in bytes. Cedar's validator passes a rule unseen when the stack runs short,
/// so it never depends on the caller's; with the limits of [`scan`] this is far more than any rule needs.
pub(crate) const STACK_BYTES: usize = 64 << 20;

/// The rules of all files, in the order of file name and position, and the same as Cedar holds them under their index.
pub(crate) struct Loaded {
    pub(crate) rules: Vec<Rule>,
    pub(crate) policies: Vec<cedar::Policy>,
}

/// One rule as it stands in its file.
struct Parsed<'a> {
    file: &'a str,
    text: &'a str,
    start: usize,
    end: usize,
    policy: cedar::Policy,
}

/// Files must be sorted by name, with line ends normalised.
pub(crate) fn load(files: &[(String, String)], vocabulary: &Vocabulary) -> Result<Loaded, PolicyError> {
    vocabulary.check()?;
    let schema = schema(vocabulary)?;
    let mut findings = Vec::new();
    let mut parsed = Vec::new();
    if files.len() > FILES_MAX {
        let (name, text) = &files[FILES_MAX];
        findings.push(finding(name, text, 0, format!("a set has at most {FILES_MAX} files"), "merge some of them"));
        return Err(PolicyError::Rules(findings));
    }
    for pair in files.windows(2) {
        if pair[0].0 == pair[1].0 {
            findings.push(finding(&pair[1].0, "", 0, "two files have this name", "rename one of them"));
        }
    }
    for (name, text) in files {
        match parse(name, text) {
            Ok(more) => parsed.extend(more),
            Err(more) => findings.extend(more),
        }
    }
    if parsed.len() > RULES_MAX {
        let rule = &parsed[RULES_MAX];
        let message = format!("a set has at most {RULES_MAX} rules");
        findings.push(finding(rule.file, rule.text, rule.start, message, "merge or remove some"));
        return Err(PolicyError::Rules(findings));
    }
    let mut rules = Vec::new();
    let mut ids: BTreeMap<String, &str> = BTreeMap::new();
    for rule in &parsed {
        match source(rule, vocabulary).and_then(|s| s.read(vocabulary)) {
            Ok(read) => {
                if let Some(other) = ids.insert(read.id.clone(), rule.file) {
                    let message = format!("the @id '{}' is taken by a rule in {other}", read.id);
                    findings.push(finding(rule.file, rule.text, rule.start, message, "give each rule its own name"));
                }
                rules.push(read);
            }
            Err(more) => findings.extend(more),
        }
    }
    validate(&parsed, schema, &mut findings);
    if findings.is_empty() && rules.len() == parsed.len() {
        let named = parsed.iter().enumerate().map(|(index, p)| p.policy.new_id(PolicyId::new(index.to_string())));
        return Ok(Loaded { rules, policies: named.collect() });
    }
    findings.sort();
    findings.dedup();
    Err(PolicyError::Rules(findings))
}

fn schema(vocabulary: &Vocabulary) -> Result<Schema, PolicyError> {
    let text = vocabulary.cedar_schema();
    match Schema::from_cedarschema_str(&text) {
        Ok((schema, _warnings)) => Ok(schema),
        Err(e) => Err(PolicyError::Vocabulary {
            what: format!("the schema made from it is refused: {e}"),
            mend: "check the names in the charter and catalogue",
        }),
    }
}

fn parse<'a>(file: &'a str, text: &'a str) -> Result<Vec<Parsed<'a>>, Vec<Finding>> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes, more than {FILE_BYTES_MAX}", text.len());
        return Err(vec![finding(file, text, 0, message, "split it")]);
    }
    if let Err((at, message)) = scan::scan(text) {
        return Err(vec![finding(file, text, at, message, "split the rule into several")]);
    }
    let set = match cedar::PolicySet::from_str(text) {
        Ok(set) => set,
        Err(errors) => {
            let each = errors.iter().take(20).map(DetailedError::from);
            return Err(each.flat_map(|e| spread(file, text, 0, &e, "correct the Cedar text")).collect());
        }
    };
    let mut findings = Vec::new();
    for template in set.templates() {
        let at = template.as_ref().loc().map_or(0, |l| l.start());
        let mend = "write the agency or kind instead of ?principal or ?resource";
        findings.push(finding(file, text, at, "rules with slots are not supported", mend));
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let mut parsed: Vec<Parsed<'a>> = set
        .policies()
        .map(|policy| {
            let (start, end) = policy.as_ref().loc().map_or((0, text.len()), |l| (l.start(), l.end()));
            Parsed { file, text, start, end, policy: policy.clone() }
        })
        .collect();
    parsed.sort_by_key(|p| p.start);
    Ok(parsed)
}

/// A rule's scope and annotations in this crate's words.
fn source<'a>(rule: &Parsed<'a>, vocabulary: &Vocabulary) -> Result<Source<'a>, Vec<Finding>> {
    let wrong = |message: String, mend: &str| Err(vec![finding(rule.file, rule.text, rule.start, message, mend)]);
    let policy = &rule.policy;
    for literal in policy.entity_literals() {
        if literal.type_name().basename() != "Agency" {
            continue;
        }
        let shown: String = literal.id().unescaped().chars().take(60).flat_map(char::escape_default).collect();
        let known = |agency: &AgencyId| vocabulary.jurisdictions.contains(&agency.jurisdiction());
        if !literal.id().unescaped().parse::<AgencyId>().is_ok_and(|a| known(&a)) {
            let message = format!("'{shown}' is not an agency of a nation in the charter");
            return wrong(message, "write Agency::\"jurisdiction/agency\", for example Agency::\"mx/fge-bc\"");
        }
    }
    let direction =
        |uid: &cedar::EntityUid| Direction::ALL.iter().copied().find(|d| d.action() == uid.id().unescaped());
    let directions: BTreeSet<Direction> = match policy.action_constraint() {
        ActionConstraint::Any => Direction::ALL.iter().copied().collect(),
        ActionConstraint::In(uids) => uids.iter().filter_map(direction).collect(),
        ActionConstraint::Eq(uid) => direction(&uid).into_iter().collect(),
    };
    if directions.is_empty() {
        return wrong("the rule's action is unknown".to_owned(), "use Action::\"ask\" or Action::\"answer\"");
    }
    let kind = match policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => Some(uid),
    };
    let kind = match kind.map(|uid| uid.id().unescaped().parse::<QueryKind>()) {
        None => None,
        Some(Ok(kind)) if vocabulary.kind(&kind).is_some() => Some(kind),
        Some(_) => {
            let list = vocabulary.kinds.iter().map(|k| k.kind.as_str()).collect::<Vec<_>>().join(", ");
            let mend = format!("use one of: {list}");
            return wrong("the rule's query kind is not in the catalogue".to_owned(), &mend);
        }
    };
    Ok(Source {
        file: rule.file,
        text: rule.text,
        start: rule.start,
        end: rule.end,
        permit: policy.effect() == cedar::Effect::Permit,
        annotations: policy.annotations().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        open_action: directions.len() != 1,
        directions: directions.into_iter().collect(),
        kind,
    })
}

/// Names every policy by its index and validates the set; warnings count as errors, for a rule that can never apply or
/// that hides its meaning is not what its author wanted.
fn validate(parsed: &[Parsed<'_>], schema: Schema, findings: &mut Vec<Finding>) {
    let mut set = cedar::PolicySet::new();
    for (index, rule) in parsed.iter().enumerate() {
        if let Err(e) = set.add(rule.policy.new_id(PolicyId::new(index.to_string()))) {
            findings.push(finding(rule.file, rule.text, rule.start, e.to_string(), "correct the rule"));
        }
    }
    let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
    let errors = result.validation_errors().map(|e| (e.policy_id(), DetailedError::from(e)));
    let warnings = result.validation_warnings().map(|w| (w.policy_id(), DetailedError::from(w)));
    for (id, error) in errors.chain(warnings) {
        let index: Option<usize> = AsRef::<str>::as_ref(id).parse().ok();
        let Some(rule) = index.and_then(|i| parsed.get(i)) else { continue };
        let mend = "compare the rule with the generated schema";
        let own = [format!("for policy `{id}`, "), format!("for policy `{id}`: ")];
        let strip = |text: &str| own.iter().fold(text.to_owned(), |t, o| t.replace(o.as_str(), ""));
        let plain = |f: Finding| Finding { message: strip(&f.message), mend: strip(&f.mend), ..f };
        findings.extend(spread(rule.file, rule.text, rule.start, &error, mend).into_iter().map(plain));
    }
}

/// A Cedar error and those related to it, as findings.
fn spread(file: &str, text: &str, at: usize, error: &DetailedError, mend: &str) -> Vec<Finding> {
    let offset = error.source_locations.first().map_or(at, |l| l.loc.start);
    let label = error.source_locations.first().and_then(|l| l.label.clone());
    let help = error.help.clone().or(label).unwrap_or_else(|| mend.to_owned());
    let mut out = vec![finding(file, text, offset, clip(&error.message), clip(&help))];
    for related in error.related.iter().take(20) {
        out.extend(spread(file, text, at, related, mend));
    }
    out
}

/// One line, at most 400 characters: a hostile file does not choose what a terminal shows.
fn clip(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect()
}
