//! Reads the catalogue's options off descriptors.

use std::borrow::Cow;

use prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, Value};

use crate::labels::Labels;

/// The extensions of `catalogue_options.proto` in one pool.
pub(crate) struct Extensions {
    pub(crate) field: ExtensionDescriptor,
    pub(crate) record: ExtensionDescriptor,
    pub(crate) query: ExtensionDescriptor,
    pub(crate) value: ExtensionDescriptor,
}

impl Extensions {
    pub(crate) fn of(pool: &DescriptorPool) -> Option<Self> {
        let get = |name| pool.get_extension_by_name(name);
        Some(Self {
            field: get("puente.v1.field")?,
            record: get("puente.v1.record")?,
            query: get("puente.v1.query")?,
            value: get("puente.v1.value")?,
        })
    }
}

/// One option message, read by field name.
#[derive(Clone)]
pub(crate) struct Mark(DynamicMessage);

impl Mark {
    /// The option of this extension, if it is set.
    pub(crate) fn of(options: &DynamicMessage, extension: &ExtensionDescriptor) -> Option<Self> {
        if !options.has_extension(extension) {
            return None;
        }
        match options.get_extension(extension) {
            Cow::Borrowed(Value::Message(mark)) => Some(Self(mark.clone())),
            Cow::Owned(Value::Message(mark)) => Some(Self(mark)),
            _ => None,
        }
    }

    fn value(&self, name: &str) -> Option<Cow<'_, Value>> {
        self.0.get_field_by_name(name)
    }

    /// A text; empty where unset.
    pub(crate) fn text(&self, name: &str) -> String {
        self.value(name).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// A text, if set.
    pub(crate) fn some_text(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.value(name).and_then(|v| v.as_bool()).unwrap_or(false)
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        self.value(name)
            .and_then(|v| {
                v.as_i64().or_else(|| v.as_u32().map(i64::from)).or_else(|| v.as_enum_number().map(i64::from))
            })
            .unwrap_or(0)
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let value = self.value(name);
        let list = value.as_ref().and_then(|v| v.as_list()).unwrap_or_default();
        list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    }

    pub(crate) fn marks(&self, name: &str) -> Vec<Self> {
        let value = self.value(name);
        let list = value.as_ref().and_then(|v| v.as_list()).unwrap_or_default();
        list.iter().filter_map(|v| v.as_message().cloned().map(Self)).collect()
    }

    /// A message, if set.
    pub(crate) fn mark(&self, name: &str) -> Option<Self> {
        let set = self.0.has_field_by_name(name);
        self.value(name).filter(|_| set).and_then(|v| v.as_message().cloned().map(Self))
    }

    /// `<name>_en` and `<name>_es`.
    pub(crate) fn labels(&self, name: &str) -> Labels {
        Labels { en: self.text(&format!("{name}_en")), es: self.text(&format!("{name}_es")) }
    }
}
