//! From descriptors to record types and query kinds; every flaw is named at its line.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};

use crate::builtin::OPTIONS;
use crate::codec::FIELD_NUMBER_MAX;
use crate::codes::{Code, CodeList};
use crate::compile::CatalogueError;
use crate::keys::{KeyForm, KeySpec};
use crate::labels::Labels;
use crate::mask::FieldMask;
use crate::options::{Extensions, Mark};
use crate::query::QueryKindSpec;
use crate::record::RecordType;
use crate::rules::{Hiding, Kept};
use crate::schema::{Condition, Field, FieldKind, Marks, Schema};
use crate::validate::Validator;

/// A flaw of one element of a file, named by its path in the descriptor.
pub(crate) struct Flaw {
    file: String,
    path: Vec<i32>,
    message: String,
    mend: String,
}

impl Flaw {
    pub(crate) fn locate(self, pool: &DescriptorPool) -> CatalogueError {
        let file = pool.get_file_by_name(&self.file);
        let line = file.as_ref().and_then(|file| {
            let info = file.file_descriptor_proto().source_code_info.as_ref()?;
            let at = info.location.iter().find(|l| l.path == self.path)?;
            at.span.first().and_then(|line| u32::try_from(*line).ok()).map(|line| line + 1)
        });
        CatalogueError { file: self.file, line, message: self.message, mend: self.mend }
    }
}

pub(crate) fn message_flaw(at: &MessageDescriptor, message: impl Into<String>, mend: impl Into<String>) -> Flaw {
    Flaw {
        file: at.parent_file().name().to_owned(),
        path: at.path().to_vec(),
        message: format!("{}: {}", at.name(), message.into()),
        mend: mend.into(),
    }
}

fn field_flaw(at: &FieldDescriptor, message: impl Into<String>, mend: impl Into<String>) -> Flaw {
    Flaw {
        file: at.parent_file().name().to_owned(),
        path: at.path().to_vec(),
        message: format!("{}.{}: {}", at.parent_message().name(), at.name(), message.into()),
        mend: mend.into(),
    }
}

/// `StolenEntryStatus` → `stolen_entry_status`.
pub(crate) fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for (i, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Reads the files of one pool.
pub(crate) struct Build<'a> {
    pool: &'a DescriptorPool,
    files: &'a [FileDescriptor],
    pub(crate) extensions: Extensions,
    code_lists: HashMap<String, Arc<CodeList>>,
    pub(crate) record_types: Vec<RecordType>,
    pub(crate) query_kinds: Vec<QueryKindSpec>,
}

impl<'a> Build<'a> {
    pub(crate) fn new(pool: &'a DescriptorPool, files: &'a [FileDescriptor]) -> Result<Self, CatalogueError> {
        let extensions = Extensions::of(pool).ok_or_else(|| CatalogueError {
            file: OPTIONS.to_owned(),
            line: None,
            message: "the catalogue's options are not declared here".to_owned(),
            mend: "restore the file".to_owned(),
        })?;
        let code_lists = HashMap::new();
        Ok(Self { pool, files, extensions, code_lists, record_types: Vec::new(), query_kinds: Vec::new() })
    }

    pub(crate) fn run(mut self) -> Result<(Vec<RecordType>, Vec<QueryKindSpec>), Flaw> {
        let messages: Vec<MessageDescriptor> = self.files.iter().flat_map(FileDescriptor::messages).collect();
        for message in &messages {
            if let Some(mark) = Mark::of(&message.options(), &self.extensions.record) {
                let record_type = self.record_type(message, &mark)?;
                self.record_types.push(record_type);
            }
        }
        for message in &messages {
            if let Some(mark) = Mark::of(&message.options(), &self.extensions.query) {
                let kind = self.query_kind(message, &mark)?;
                self.query_kinds.push(kind);
            }
        }
        self.record_types.sort_by(|a, b| a.name.cmp(&b.name));
        self.query_kinds.sort_by(|a, b| a.kind.cmp(&b.kind));
        Ok((self.record_types, self.query_kinds))
    }

    fn record_type(&mut self, message: &MessageDescriptor, mark: &Mark) -> Result<RecordType, Flaw> {
        let name = mark.text("name");
        let well_formed = name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_alphanumeric());
        if !well_formed {
            return Err(message_flaw(message, "the record type has no proper name", "give it one like Vehicle"));
        }
        let root = snake_case(&name);
        if self.record_types.iter().any(|t| *t.name == *name || t.schema.root == root) {
            return Err(message_flaw(message, format!("two record types are called {name}"), "rename one"));
        }
        let labels = labelled(mark.labels("label")).map_err(|what| message_flaw(message, what, LABEL_MEND))?;
        let schema = self.schema(message, &root, None)?;
        let keys = self.keys(message, mark, &schema)?;
        let mask =
            |list: &str| names_to_mask(&schema, &mark.texts(list)).map_err(|name| no_field(message, &name, &schema));
        let step_masks = [mask("step1_fields")?, mask("step2_fields")?];
        let hiding = self.hiding(message, mark, &schema)?;
        let ends = [Validator::Date, Validator::DateTime];
        let expires = self.dated(message, &schema, mark.some_text("expires_field"), &ends)?;
        let days_max = mark.number("kept_days_max");
        let kept = match self.dated(message, &schema, mark.some_text("kept_from"), &ends)? {
            Some(from) if days_max > 0 => {
                let longer = conditions(&schema, &mark.texts("kept_longer_when"));
                let longer_when = longer.map_err(|text| no_condition(message, &text))?;
                Some(Kept { from, days_max, longer_when })
            }
            None if days_max == 0 => None,
            _ => {
                return Err(message_flaw(
                    message,
                    "what is kept for days needs both",
                    "give kept_from and kept_days_max",
                ));
            }
        };
        if mark.flag("erased_at_end") && expires.is_none() {
            return Err(message_flaw(message, "what is erased at its end needs one", "give expires_field"));
        }
        Ok(RecordType {
            name: name.into(),
            labels,
            retention: mark.labels("retention"),
            niem: mark.text("niem"),
            schema,
            keys,
            step_masks,
            hiding,
            expires,
            erased_at_end: mark.flag("erased_at_end"),
            kept,
        })
    }

    fn hiding(&self, message: &MessageDescriptor, mark: &Mark, schema: &Schema) -> Result<Hiding, Flaw> {
        let when = conditions(schema, &mark.texts("hidden_when")).map_err(|text| no_condition(message, &text))?;
        let birth = self.dated(message, schema, mark.some_text("birth_field"), &[Validator::Date])?;
        let days = [Validator::Date, Validator::DateTime];
        let event = self.dated(message, schema, mark.some_text("event_field"), &days)?;
        let minor = match (birth, event) {
            (None, None) => None,
            (Some(birth), Some(event)) => Some((birth, event)),
            _ => return Err(message_flaw(message, "an age needs two dates", "give birth_field and event_field")),
        };
        Ok(Hiding { when, minor })
    }

    /// The index of a field that holds a time.
    pub(crate) fn dated(
        &self,
        message: &MessageDescriptor,
        schema: &Schema,
        name: Option<String>,
        validators: &[Validator],
    ) -> Result<Option<usize>, Flaw> {
        let Some(name) = name else { return Ok(None) };
        let i = schema.index_of_name(&name).ok_or_else(|| no_field(message, &name, schema))?;
        let fits = schema.fields.get(i).is_some_and(|f| validators.contains(&f.validator) && !f.repeated);
        if fits {
            return Ok(Some(i));
        }
        let valid: Vec<&str> = validators.iter().map(|v| v.name()).collect();
        let mend = format!("name a single field with the validator {}", valid.join(" or "));
        Err(message_flaw(message, format!("'{name}' is no such time"), mend))
    }

    fn keys(&self, message: &MessageDescriptor, mark: &Mark, schema: &Schema) -> Result<Vec<KeySpec>, Flaw> {
        let mut keys: Vec<KeySpec> = Vec::new();
        for key in mark.marks("match_keys") {
            let name = key.text("name");
            let taken = self.record_types.iter().flat_map(|t| &t.keys).chain(&keys).any(|k| *k.name == *name);
            if name.is_empty() || taken {
                return Err(message_flaw(message, format!("match key '{name}' has no name of its own"), "name it"));
            }
            let form = match key.number("form") {
                1 => KeyForm::Exact,
                2 => KeyForm::Alnum,
                3 => KeyForm::OcrFolded,
                4 => KeyForm::Gap,
                5 => KeyForm::Partial,
                6 => KeyForm::Name,
                7 => KeyForm::NameFirst,
                8 => KeyForm::DayMonth,
                9 => KeyForm::Near,
                _ => return Err(message_flaw(message, format!("match key '{name}' has no form"), "give a KEY_FORM_…")),
            };
            let field_names = key.texts("fields");
            if field_names.is_empty() {
                return Err(message_flaw(message, format!("match key '{name}' has no fields"), "list them"));
            }
            let fields = field_names
                .iter()
                .map(|field| schema.index_of_name(field).ok_or_else(|| no_field(message, field, schema)))
                .collect::<Result<_, _>>()?;
            let only_when = conditions(schema, &key.texts("only_when")).map_err(|text| no_condition(message, &text))?;
            let day_of = self.dated(message, schema, key.some_text("day_of"), &[Validator::DateTime])?;
            let decisive = key.flag("decisive");
            keys.push(KeySpec { name: name.into(), fields, field_names, form, only_when, day_of, decisive });
        }
        Ok(keys)
    }

    /// The fields of a message. Parameters of a query kind take after the fields of `record`.
    pub(crate) fn schema(
        &mut self,
        message: &MessageDescriptor,
        root: &str,
        record: Option<&RecordType>,
    ) -> Result<Schema, Flaw> {
        let mut descriptors: Vec<FieldDescriptor> = message.fields().collect();
        descriptors.sort_by_key(FieldDescriptor::number);
        let mut marks = Vec::with_capacity(descriptors.len());
        let mut fields = Vec::with_capacity(descriptors.len());
        for at in &descriptors {
            let Some(mark) = Mark::of(&at.options(), &self.extensions.field) else {
                return Err(field_flaw(at, "the field is not described", "add [(puente.v1.field) = { label_en: … }]"));
            };
            fields.push(self.field(at, &mark, root, record)?);
            marks.push(mark);
        }
        if fields.is_empty() {
            return Err(message_flaw(message, "the message has no fields", "add one"));
        }
        let mut schema = Schema::new(root.to_owned(), fields);
        for (i, (at, mark)) in descriptors.iter().zip(&marks).enumerate() {
            let find = |name: String| {
                let unknown = || field_flaw(at, format!("there is no field '{name}'"), "name a field of this message");
                schema.index_of_name(&name).ok_or_else(unknown)
            };
            let required_with = mark.some_text("required_with").map(find).transpose()?;
            let state_field = mark.some_text("state_field").map(find).transpose()?;
            let rules = |name: &str| {
                let flaw = |text: String| field_flaw(at, format!("'{text}' is no condition"), CONDITION_MEND);
                conditions(&schema, &mark.texts(name)).map_err(flaw)
            };
            let (required_when, empty_when) = (rules("required_when")?, rules("empty_when")?);
            let state_default = mark.some_text("state_default");
            let states = state_field.and_then(|i| schema.fields.get(i)).and_then(|f| f.codes.clone());
            let known = |state: &str| states.as_ref().is_some_and(|list| list.by_text(state).is_some());
            if state_field.is_some() && !state_default.as_deref().is_none_or(known)
                || state_field.is_some() && states.is_none()
            {
                return Err(field_flaw(at, "the state field does not know this state", "use a code of its enum"));
            }
            if let Some(field) = schema.fields.get_mut(i) {
                (field.required_with, field.state_field) = (required_with, state_field);
                (field.required_when, field.empty_when) = (required_when, empty_when);
                field.state_default = state_default;
            }
        }
        Ok(schema)
    }

    fn field(
        &mut self,
        at: &FieldDescriptor,
        mark: &Mark,
        root: &str,
        record: Option<&RecordType>,
    ) -> Result<Field, Flaw> {
        if at.number() > FIELD_NUMBER_MAX {
            return Err(field_flaw(at, "the field's number is too large", format!("use 1 to {FIELD_NUMBER_MAX}")));
        }
        let real_oneof = at.containing_oneof().is_some() && !at.field_descriptor_proto().proto3_optional();
        let kind = match at.kind() {
            _ if at.is_map() || real_oneof => None,
            Kind::String => Some((FieldKind::Text, None)),
            Kind::Bool => Some((FieldKind::Bool, None)),
            Kind::Uint32 => Some((FieldKind::Unsigned, Some((0, i64::from(u32::MAX))))),
            Kind::Uint64 => Some((FieldKind::Unsigned, None)),
            Kind::Int32 => Some((FieldKind::Signed, Some((i64::from(i32::MIN), i64::from(i32::MAX))))),
            Kind::Int64 => Some((FieldKind::Signed, None)),
            Kind::Enum(_) => Some((FieldKind::Code, None)),
            _ => None,
        };
        let Some((kind, bounds)) = kind else {
            let mend = "use string, bool, uint32, uint64, int32, int64 or an enum, outside maps and oneofs";
            return Err(field_flaw(at, "a record type's fields are flat", mend));
        };
        let inherited = match (mark.some_text("of"), record) {
            (Some(name), Some(record)) => match record.field(&name) {
                Some(field) if field.kind == kind => Some(field),
                Some(_) => return Err(field_flaw(at, format!("'{name}' has another type"), "use the same type")),
                None => {
                    return Err(field_flaw(at, format!("{} has no field '{name}'", record.name), "name one it has"));
                }
            },
            (Some(_), None) => return Err(field_flaw(at, "only a query kind's parameter has 'of'", "remove it")),
            (None, _) => None,
        };
        let codes = match (at.kind(), mark.some_text("code_list")) {
            (Kind::Enum(list), _) => Some(self.code_list(&list).map_err(|what| field_flaw(at, what, CODES_MEND))?),
            (_, Some(name)) => {
                let list = self.pool.get_enum_by_name(&name);
                let list = list.ok_or_else(|| field_flaw(at, format!("no enum is called '{name}'"), "import it"))?;
                Some(self.code_list(&list).map_err(|what| field_flaw(at, what, CODES_MEND))?)
            }
            (_, None) => inherited.and_then(|f| f.codes.clone()),
        };
        let validator = match mark.some_text("validator") {
            None => inherited.map_or(Validator::Text, |f| f.validator),
            Some(name) => Validator::named(&name).ok_or_else(|| {
                let valid: Vec<&str> = Validator::ALL.iter().map(|v| v.name()).collect();
                field_flaw(at, format!("there is no validator '{name}'"), format!("use one of {}", valid.join(", ")))
            })?,
        };
        let labels = match (labelled(mark.labels("label")), inherited) {
            (Ok(labels), _) => labels,
            (Err(_), Some(field)) => field.labels.clone(),
            (Err(what), None) => return Err(field_flaw(at, what, LABEL_MEND)),
        };
        let own = Marks {
            identifying: mark.flag("identifying"),
            sensitive: mark.flag("sensitive"),
            source_revealing: mark.flag("source_revealing"),
        };
        let base = inherited.map(|f| f.marks).unwrap_or_default();
        let text_of = |name: &str, from: fn(&Field) -> &String| {
            mark.some_text(name).or_else(|| inherited.map(from).cloned()).unwrap_or_default()
        };
        let (min, max) = (mark.number("min"), mark.number("max"));
        Ok(Field {
            number: at.number(),
            name: at.name().to_owned(),
            path: format!("{root}/{}", at.name()),
            labels,
            notes: Some(mark.labels("note"))
                .filter(|n| !n.en.is_empty())
                .or_else(|| inherited.map(|f| f.notes.clone()))
                .unwrap_or_default(),
            marks: Marks {
                identifying: own.identifying || base.identifying,
                sensitive: own.sensitive || base.sensitive,
                source_revealing: own.source_revealing || base.source_revealing,
            },
            kind,
            validator,
            required: mark.flag("required"),
            repeated: at.is_list(),
            codes_open: mark.flag("code_list_open") || inherited.is_some_and(|f| f.codes_open),
            codes,
            bounds: if max > 0 { Some((min, max)) } else { inherited.and_then(|f| f.bounds).or(bounds) },
            unit: text_of("unit", |f| &f.unit),
            niem: text_of("niem", |f| &f.niem),
            ncic: text_of("ncic", |f| &f.ncic),
            of: inherited.map(|f| f.name.clone()),
            presence: at.supports_presence(),
            required_with: None,
            required_when: Vec::new(),
            empty_when: Vec::new(),
            state_field: None,
            state_default: None,
        })
    }

    fn code_list(&mut self, list: &EnumDescriptor) -> Result<Arc<CodeList>, String> {
        if let Some(known) = self.code_lists.get(list.full_name()) {
            return Ok(known.clone());
        }
        let prefix = format!("{}_", snake_case(list.name()).to_uppercase());
        let mut codes = Vec::new();
        for value in list.values() {
            // Number 0 says "not given"; it is never stored.
            let Some(number) = u32::try_from(value.number()).ok().filter(|n| *n > 0) else { continue };
            let mark = Mark::of(&value.options(), &self.extensions.value);
            let plain = value.name().strip_prefix(&prefix).unwrap_or(value.name()).to_lowercase();
            let text = mark.as_ref().and_then(|m| m.some_text("code")).unwrap_or(plain);
            let mut labels = mark.as_ref().map(|m| m.labels("label")).unwrap_or_default();
            for label in [&mut labels.en, &mut labels.es] {
                if label.is_empty() {
                    label.clone_from(&text);
                }
            }
            let texts = |name| mark.as_ref().map(|m| m.texts(name)).unwrap_or_default();
            codes.push((Code { number, text, labels, comparable: texts("comparable") }, texts("synonyms")));
        }
        let known: BTreeSet<String> = codes.iter().map(|(c, _)| c.text.clone()).collect();
        if let Some(stray) = codes.iter().flat_map(|(c, _)| &c.comparable).find(|c| !known.contains(*c)) {
            return Err(format!("enum {} has no code '{stray}'", list.name()));
        }
        let built = CodeList::new(list.full_name().to_owned(), codes)
            .map_err(|spelling| format!("in enum {} '{spelling}' means two codes", list.name()))?;
        let built = Arc::new(built);
        self.code_lists.insert(list.full_name().to_owned(), built.clone());
        Ok(built)
    }
}

pub(crate) const LABEL_MEND: &str = "give label_en and label_es";
const CONDITION_MEND: &str = "write field=value with a code or value that the field can hold";
const CODES_MEND: &str = "correct the enum's values";

pub(crate) fn labelled(labels: Labels) -> Result<Labels, &'static str> {
    if labels.en.is_empty() || labels.es.is_empty() { Err("a label is missing") } else { Ok(labels) }
}

pub(crate) fn no_field(at: &MessageDescriptor, name: &str, schema: &Schema) -> Flaw {
    message_flaw(at, format!("there is no field '{name}'"), format!("did you mean '{}'?", schema.closest(name)))
}

pub(crate) fn no_condition(at: &MessageDescriptor, text: &str) -> Flaw {
    message_flaw(at, format!("'{text}' is no condition"), CONDITION_MEND)
}

pub(crate) fn names_to_mask(schema: &Schema, names: &[String]) -> Result<FieldMask, String> {
    names.iter().try_fold(FieldMask::EMPTY, |mask, name| {
        let field = schema.index_of_name(name).and_then(|i| schema.fields.get(i)).ok_or_else(|| name.clone())?;
        Ok(mask.with(field.number))
    })
}

/// `field=value` and `field<number` texts; `Err` is the first that is none.
pub(crate) fn conditions(schema: &Schema, texts: &[String]) -> Result<Vec<Condition>, String> {
    let parse = |text: &String| {
        let (name, value, below) = match text.split_once('<') {
            Some((name, value)) => (name, value, Some(value.trim().parse::<i64>().ok()?)),
            None => text.split_once('=').map(|(name, value)| (name, value, None))?,
        };
        let field = schema.index_of_name(name.trim())?;
        let value = value.trim().to_owned();
        if below.is_some() && !matches!(schema.fields.get(field)?.kind, FieldKind::Unsigned | FieldKind::Signed) {
            return None;
        }
        let known = match schema.fields.get(field)?.codes.as_ref() {
            Some(list) => list.by_text(&value).is_some(),
            None => !value.is_empty(),
        };
        known.then_some(Condition { field, value, below })
    };
    texts.iter().map(|text| parse(text).ok_or_else(|| text.clone())).collect()
}
