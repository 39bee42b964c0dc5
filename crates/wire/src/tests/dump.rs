//! What bytes say, field by field, read by the descriptors: the plain words of a vector.

use std::collections::HashMap;
use std::path::PathBuf;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto};

use super::raw;

/// Messages of the wire's `.proto` files, by name.
pub(crate) struct Descriptors(HashMap<String, DescriptorProto>);

impl Descriptors {
    pub(crate) fn load() -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../proto");
        let files = ["entry.proto", "frame.proto", "evidence.proto", "said.proto"].map(|f| format!("puente/v1/{f}"));
        let set = protox::compile(files, [root]).unwrap();
        let messages = set.file.into_iter().flat_map(|f| f.message_type);
        Self(messages.map(|m| (m.name().to_owned(), m)).collect())
    }

    pub(crate) fn message(&self, name: &str) -> &DescriptorProto {
        &self.0[name]
    }

    /// `path = value` of every field of `bytes`, a message of type `name`.
    pub(crate) fn says(&self, name: &str, bytes: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        self.walk(name, bytes, "", &mut out);
        out
    }

    fn walk(&self, name: &str, bytes: &[u8], prefix: &str, out: &mut Vec<String>) {
        let mut seen: HashMap<u32, usize> = HashMap::new();
        for field in raw::parse(bytes).unwrap() {
            let known = self.message(name).field.iter().find(|f| f.number() as u32 == field.number).unwrap();
            let index = seen.entry(field.number).or_default();
            let place = match is_repeated(known) {
                true => format!("{prefix}{}[{index}]", known.name()),
                false => format!("{prefix}{}", known.name()),
            };
            *index += 1;
            match known.r#type() {
                Type::Message => self.walk(type_name(known), &field.value, &format!("{place}."), out),
                Type::String => out.push(format!("{place} = {:?}", String::from_utf8(field.value).unwrap())),
                _ if field.wire == 0 => out.push(format!("{place} = {}", number(&field.value))),
                _ => out.push(format!("{place} = hex {}", hex::encode(&field.value))),
            }
        }
    }
}

fn number(varint: &[u8]) -> u64 {
    varint.iter().rev().fold(0, |n, byte| n << 7 | u64::from(byte & 0x7f))
}

pub(crate) fn type_name(field: &FieldDescriptorProto) -> &str {
    field.type_name().rsplit('.').next().unwrap()
}

pub(crate) fn is_repeated(field: &FieldDescriptorProto) -> bool {
    field.label() == Label::Repeated
}
