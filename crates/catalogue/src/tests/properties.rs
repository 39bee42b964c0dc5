use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::{catalogue, firearm, record_type, vehicle};
use crate::{FieldMask, Record};

fn mask() -> impl Strategy<Value = FieldMask> {
    vec(1_u32..128, 0..30).prop_map(|numbers| FieldMask::from_numbers(numbers).unwrap())
}

/// Rows with values that often pass and sometimes do not.
fn row() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    let free = "\\PC{0,30}";
    (proptest::option::of(free), proptest::option::of("[A-Z0-9]{1,8}"), "[0-9]{4}-[01][0-9]-[0-3][0-9]", free).prop_map(
        |(owner, plate, date, remarks)| {
            let mut row = vehicle(&[("theft_date", &date), ("remarks", &remarks)]);
            row.insert("owner_name".to_owned(), owner.unwrap_or_default());
            row.insert("plate".to_owned(), plate.unwrap_or_default());
            row
        },
    )
}

proptest! {
    #[test]
    fn parse_encode_decode_round_trips(row in row()) {
        let vehicle_type = record_type("Vehicle");
        if let Ok(parsed) = vehicle_type.parse_row(&row) {
            let decoded = Record::decode(vehicle_type, parsed.record.bytes()).unwrap();
            prop_assert_eq!(&decoded, &parsed.record);
            // The values read back are normal: the same row again gives the same bytes.
            let again = vehicle_type.leaves(decoded.bytes()).unwrap().into_iter().map(|l| {
                (l.path.rsplit('/').next().unwrap().to_owned(), String::from_utf8(l.value).unwrap())
            });
            let again = vehicle_type.parse_row(&again.collect()).unwrap();
            prop_assert_eq!(again.record, decoded);
        }
    }

    #[test]
    fn a_masked_record_has_only_allowed_leaves(allowed in mask()) {
        for (name, row) in [("Vehicle", vehicle(&[])), ("Firearm", firearm(&[]))] {
            let record_type = record_type(name);
            let record = record_type.parse_row(&row).unwrap().record;
            let masked = record_type.mask(record.bytes(), allowed).unwrap();
            let names = record_type.names_of(allowed);
            let leaves = record_type.leaves(&masked).unwrap();
            for leaf in &leaves {
                prop_assert!(names.contains(&leaf.path.split('/').nth(1).unwrap()), "{}", leaf.path);
            }
            // Nothing allowed is lost, and the order is what an answer tree needs.
            let whole = record_type.leaves(record.bytes()).unwrap();
            let kept = whole.iter().filter(|l| names.contains(&l.path.split('/').nth(1).unwrap()));
            prop_assert!(kept.eq(leaves.iter()));
            prop_assert!(whole.windows(2).all(|w| w[0].path.as_bytes() < w[1].path.as_bytes()));
        }
    }

    #[test]
    fn hostile_bytes_never_panic_and_decode_to_themselves(bytes in vec(any::<u8>(), 0..200), allowed in mask()) {
        for record_type in catalogue().record_types() {
            let _ = record_type.mask(&bytes, allowed);
            let _ = record_type.present(&bytes);
            if let Ok(record) = Record::decode(record_type, &bytes) {
                prop_assert_eq!(record.bytes(), &bytes);
                prop_assert!(record_type.match_keys_of(&record).is_ok());
            }
        }
    }

    #[test]
    fn a_flipped_byte_never_panics(at in 0_usize..400, to in any::<u8>()) {
        let vehicle_type = record_type("Vehicle");
        let mut bytes = vehicle_type.parse_row(&vehicle(&[])).unwrap().record.into_bytes();
        let n = bytes.len();
        bytes[at % n] = to;
        if let Ok(record) = Record::decode(vehicle_type, &bytes) {
            vehicle_type.match_keys_of(&record).unwrap();
            vehicle_type.rows(&bytes, crate::Lang::Es).unwrap();
        }
    }

    #[test]
    fn any_parameters_are_refused_or_have_one_form(
        given in btree_map("vin|plate|plate_jurisdiction|serial|make|calibre|vin.override|[a-z]{1,6}", "\\PC{0,20}", 0..5)
    ) {
        for kind in catalogue().query_kinds() {
            if let Ok(params) = kind.parse_params(&given) {
                prop_assert_eq!(&kind.params_from_pairs(params.pairs()).unwrap(), &params);
                prop_assert!(kind.is_directed() || !kind.lookup_keys(&params).is_empty());
            }
        }
    }
}
