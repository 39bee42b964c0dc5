use proptest::prelude::*;

use super::*;

fn accepted(verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Valid { normalised } | Verdict::Warn { normalised, .. } | Verdict::State { normalised, .. } => {
            Some(normalised)
        }
        Verdict::Reject { .. } => None,
    }
}

#[track_caller]
fn valid(validator: Validator, text: &str, normal: &str) {
    assert_eq!(validator.check(text), Verdict::valid(normal.to_owned()), "{text}");
}

#[track_caller]
fn warns(validator: Validator, text: &str, problem: Problem) {
    assert!(matches!(validator.check(text), Verdict::Warn { problem: p, .. } if p == problem), "{text}");
}

#[track_caller]
fn rejects(validator: Validator, text: &str, problem: Problem) {
    let verdict = validator.check(text);
    assert!(matches!(verdict, Verdict::Reject { problem: p, .. } if p == problem), "{text}: {verdict:?}");
}

#[test]
fn vins() {
    valid(Validator::Vin, " 1m8gdm9axkp042788 ", "1M8GDM9AXKP042788");
    valid(Validator::Vin, "1M8-GDM9AX-KP042788", "1M8GDM9AXKP042788");
    // Elsewhere position 9 is free, but a check digit that holds is no reason to doubt.
    warns(Validator::Vin, "WP0ZZZ99ZTS392124", Problem::NoCheckDigit);
    rejects(Validator::Vin, "1M8GDM9A1KP042788", Problem::CheckDigit);
    rejects(Validator::Vin, "7SAYGDEE1PF000001", Problem::CheckDigit);
    warns(Validator::Vin, "7A8CG99Z1KP042788", Problem::NoCheckDigit);
    rejects(Validator::Vin, "1M8GDM9AXKPO42788", Problem::BadCharacter);
    rejects(Validator::Vin, "1M8GDM9AXKP04278", Problem::BadLength);
    rejects(Validator::Vin, "1M8GDM9AXKP04278Ñ", Problem::BadCharacter);
    rejects(Validator::Vin, "", Problem::BadLength);
}

#[test]
fn plates() {
    valid(Validator::Plate, "bxr·4821", "BXR4821");
    valid(Validator::Plate, "ABC-123-A", "ABC123A");
    rejects(Validator::Plate, "- -", Problem::Missing);
    rejects(Validator::Plate, "ABCDEFGHIJK", Problem::BadLength);
    rejects(Validator::Plate, "AB*123", Problem::BadCharacter);
    valid(Validator::PlateJurisdiction, "us-tx", "US-TX");
    valid(Validator::PlateJurisdiction, "MX BCN".replace(' ', "-").as_str(), "MX-BCN");
    valid(Validator::PlateJurisdiction, "GT", "GT");
    valid(Validator::PlateJurisdiction, "CA-ON", "CA-ON");
    rejects(Validator::PlateJurisdiction, "TX", Problem::BadPlace);
    rejects(Validator::PlateJurisdiction, "US-ZZ", Problem::BadPlace);
    rejects(Validator::PlateJurisdiction, "MX-BC", Problem::BadPlace);
    rejects(Validator::PlateJurisdiction, "CA-", Problem::BadPlace);
}

#[test]
fn serials() {
    valid(Validator::FirearmSerial, "0001234", "0001234");
    valid(Validator::FirearmSerial, "ab-12/34.5 6", "AB123456");
    valid(Validator::FirearmSerial, "аб1234", "АБ1234");
    let state = |text: &str| match Validator::FirearmSerial.check(text) {
        Verdict::State { state, normalised } => (state, normalised),
        other => panic!("{text}: {other:?}"),
    };
    for text in ["OBLITERATED", "obliterated", "Limado", "???", "? ?"] {
        assert_eq!(state(text), ("obliterated", String::new()), "{text}");
    }
    for text in ["NONE", "S/N", "sin número"] {
        assert_eq!(state(text), ("none", String::new()), "{text}");
    }
    assert_eq!(state("ab?-123"), ("partial", "AB?123".to_owned()));
    rejects(Validator::FirearmSerial, "AB#1", Problem::BadCharacter);
    rejects(Validator::FirearmSerial, "A".repeat(25).as_str(), Problem::BadLength);
}

#[test]
fn curps() {
    valid(Validator::Curp, "muxl900820mchxxr02", "MUXL900820MCHXXR02");
    valid(Validator::Curp, "PEGL850312HBCRRS01", "PEGL850312HBCRRS01");
    rejects(Validator::Curp, "PEGL850312HBCRRS04", Problem::CheckDigit);
    rejects(Validator::Curp, "PEGL851312HBCRRS00", Problem::BadDate);
    rejects(Validator::Curp, "PEGL850229HBCRRS01", Problem::BadDate);
    rejects(Validator::Curp, "PEGL850312HZZRRS01", Problem::BadPlace);
    rejects(Validator::Curp, "PEGL850312QBCRRS01", Problem::BadForm);
    rejects(Validator::Curp, "PEGL850312HBCRRS0", Problem::BadLength);
    rejects(Validator::Curp, "PEGL850312HBCRRS0?", Problem::BadCharacter);
    // 29 February 2000 exists; the letter says the century. 1900 had none.
    let with_check = |head: &str| (0..=9).any(|d| accepted(Validator::Curp.check(&format!("{head}{d}"))).is_some());
    assert!(with_check("PEGL000229HBCRRSA"));
    assert!(!with_check("PEGL000229HBCRRS0"));
    assert!(with_check("ÑEGL850312HBCRRS0"));
}

#[test]
fn rfcs_warn_and_never_reject_on_the_homoclave() {
    valid(Validator::Rfc, "acm010203xy9", "ACM010203XY9");
    warns(Validator::Rfc, "PEGL850312ABA", Problem::CheckDigitDoubtful);
    warns(Validator::Rfc, "XAXX010101000", Problem::GenericIdentifier);
    warns(Validator::Rfc, "XEXX010101000", Problem::GenericIdentifier);
    warns(Validator::Rfc, "PEGL850312", Problem::NoHomoclave);
    warns(Validator::Rfc, "ACM010203", Problem::NoHomoclave);
    rejects(Validator::Rfc, "ACM011303XY9", Problem::BadDate);
    rejects(Validator::Rfc, "AC1010203XY9", Problem::BadForm);
    rejects(Validator::Rfc, "ACM0102", Problem::BadLength);
}

#[test]
fn places() {
    valid(Validator::Cvegeo, "02004", "02004");
    warns(Validator::Cvegeo, "02099", Problem::Unlisted);
    rejects(Validator::Cvegeo, "33001", Problem::BadPlace);
    rejects(Validator::Cvegeo, "02000", Problem::BadPlace);
    rejects(Validator::Cvegeo, "2004", Problem::BadLength);
    valid(Validator::Fips, "48141", "48141");
    valid(Validator::Fips, "72001", "72001");
    rejects(Validator::Fips, "03001", Problem::BadPlace);
    rejects(Validator::Fips, "48000", Problem::BadPlace);
    valid(Validator::Place, "mx 02004", "MX-02004");
    valid(Validator::Place, "US:48141", "US-48141");
    rejects(Validator::Place, "48141", Problem::BadPlace);
    rejects(Validator::Place, "ñ", Problem::BadPlace);
    valid(Validator::Country, "mx", "MX");
    rejects(Validator::Country, "XX", Problem::BadPlace);
}

#[test]
fn documents_of_people() {
    valid(Validator::ClaveElector, "grmrjn 85031202 h400", "GRMRJN85031202H400");
    warns(Validator::ClaveElector, "GRMRJN85133202H400", Problem::BadDate);
    rejects(Validator::ClaveElector, "GRMRJN85031202X400", Problem::BadForm);
    rejects(Validator::ClaveElector, "GRMRJ185031202H400", Problem::BadForm);
    rejects(Validator::ClaveElector, "GRMRJN85031202H40", Problem::BadLength);
    rejects(Validator::ClaveElector, "GRMRJN85031202H40?", Problem::BadCharacter);
    valid(Validator::ClaveElector, "ÑRMRJN85031202H400", "ÑRMRJN85031202H400");
    rejects(Validator::ClaveElector, "GRMRJN8503120ÑH400", Problem::BadForm);
    valid(Validator::Passport, "g-12345678", "G12345678");
    rejects(Validator::Passport, "ABCDEFG", Problem::BadForm);
    rejects(Validator::Passport, "1234", Problem::BadLength);
    rejects(Validator::Passport, "12345*", Problem::BadCharacter);
    valid(Validator::ANumber, "A 12-345-678", "A012345678");
    valid(Validator::ANumber, "a123456789", "A123456789");
    valid(Validator::ANumber, "1234567", "A001234567");
    rejects(Validator::ANumber, "A123456", Problem::BadLength);
    rejects(Validator::ANumber, "B1234567", Problem::BadCharacter);
    valid(Validator::Nuc, "bc/tij/2026/000123", "BC/TIJ/2026/000123");
    rejects(Validator::Nuc, "CARPETA", Problem::BadForm);
    rejects(Validator::Nuc, "1/26", Problem::BadLength);
    rejects(Validator::Nuc, "12345;", Problem::BadCharacter);
    valid(Validator::Ori, "tx2270100", "TX2270100");
    rejects(Validator::Ori, "mx/fge-bc", Problem::BadForm);
}

#[test]
fn licences() {
    valid(Validator::Ffl, "9-86-013-07-4F-12345", "9-86-013-07-4F-12345");
    valid(Validator::Ffl, "9 86 013 07 4f 12345", "9-86-013-07-4F-12345");
    warns(Validator::Ffl, "9-XX-XXX-XX-XX-12345", Problem::PartialNumber);
    warns(Validator::Ffl, "986-12345", Problem::PartialNumber);
    warns(Validator::Ffl, "9-86-013-55-4F-12345", Problem::Unlisted);
    rejects(Validator::Ffl, "9-86-013-07-4I-12345", Problem::BadForm);
    rejects(Validator::Ffl, "9-86-013-07-4N-12345", Problem::BadForm);
    rejects(Validator::Ffl, "X-86-013-07-4F-12345", Problem::BadForm);
    rejects(Validator::Ffl, "9-86-013-07-4F-1234", Problem::BadLength);
    rejects(Validator::Ffl, "9-86-013-07-4F-1234é", Problem::BadCharacter);
}

#[test]
fn cells_are_never_finer_than_a_kilometre() {
    valid(Validator::Cell1Km, "11s ms 88 32", "11SMS8832");
    valid(Validator::Cell1Km, "04QFJ1267", "4QFJ1267");
    warns(Validator::Cell1Km, "11SMS8812332456", Problem::Coarsened);
    for bad in ["", "11SMS", "11SMS883", "61SMS8832", "0SMS8832", "11IMS8832", "11SMW8832", "11SMSS8832", "32.5,-117.0"]
    {
        assert!(accepted(Validator::Cell1Km.check(bad)).is_none(), "{bad}");
    }
}

#[test]
fn decimals() {
    valid(Validator::Decimal, "8.3799469484296", "8.3799469484296");
    valid(Validator::Decimal, "007.50", "7.5");
    valid(Validator::Decimal, ".5", "0.5");
    valid(Validator::Decimal, "0.0", "0");
    valid(Validator::Decimal, "6.61386786e-05", "0.0000661386786");
    valid(Validator::Decimal, "1.25E3", "1250");
    valid(Validator::Decimal, "1.25e1", "12.5");
    for bad in ["", ".", "-1", "+1", "1,394.42", "1.2.3", "1e", "1e99", "NaN", "inf", "0x1", "1 000"] {
        rejects(Validator::Decimal, bad, Problem::NotDecimal);
    }
    rejects(Validator::Decimal, "1234567890123456", Problem::TooLong);
    rejects(Validator::Decimal, "1e15", Problem::TooLong);
    rejects(Validator::Decimal, "1e-31", Problem::TooLong);
    valid(Validator::Decimal, "1e-30", &format!("0.{}1", "0".repeat(29)));
    rejects(Validator::Decimal, &"1".repeat(65), Problem::TooLong);
    valid(Validator::Territory, "mx-sin", "MX-SIN");
    rejects(Validator::Territory, "MX-XXX", Problem::BadPlace);
}

#[test]
fn dates() {
    valid(Validator::Date, "2024-02-29", "2024-02-29");
    valid(Validator::Date, "2024/02/29", "2024-02-29");
    for bad in ["2023-02-29", "1900-02-29", "2024-13-01", "2024-00-01", "01/02/2024", "2024-2-1", "2024-02/01", ""] {
        rejects(Validator::Date, bad, Problem::BadDate);
    }
    valid(Validator::DateTime, "2026-03-01T10:00:00-07:00", "2026-03-01T17:00:00.000Z");
    valid(Validator::DateTime, "1970-01-01t00:00:00.5z", "1970-01-01T00:00:00.500Z");
    valid(Validator::DateTime, "2000-02-29T23:59:59.123456Z", "2000-02-29T23:59:59.123Z");
    for bad in [
        "2026-03-01T24:00:00Z",
        "2026-03-01T10:00:00",
        "2026-03-01T10:00:00.Z",
        "1969-12-31T23:59:59Z",
        "2026-03-01T10:00Z",
        "9999-12-31T23:59:59-01:00",
        "2026-03-01T10:00:00+24:00",
    ] {
        rejects(Validator::DateTime, bad, Problem::BadDate);
    }
}

#[test]
fn texts() {
    valid(Validator::Text, "  a\t b ", "a b");
    valid(Validator::Name, "josé  peña", "JOSÉ PEÑA");
    valid(Validator::Narrative, "one\r\ntwo\n", "one\ntwo");
    rejects(Validator::Text, "a\u{202e}b", Problem::ControlCharacter);
    rejects(Validator::Text, "a\u{1b}[31m", Problem::ControlCharacter);
    rejects(Validator::Narrative, "a\u{0}b", Problem::ControlCharacter);
    rejects(Validator::Name, &"x".repeat(2_000), Problem::TooLong);
    rejects(Validator::Text, " \t ", Problem::Missing);
    valid(Validator::Agency, "MX/FGE-BC", "mx/fge-bc");
    valid(Validator::Agency, "dcfbiwa00", "DCFBIWA00");
    rejects(Validator::Agency, "the police", Problem::BadForm);
    rejects(Validator::Agency, "mex/fge", Problem::BadForm);
    valid(Validator::Sha256, &"AB".repeat(32), &"ab".repeat(32));
    rejects(Validator::Sha256, "ab", Problem::BadLength);
    valid(Validator::Clabe, "032180000118359719", "032180000118359719");
    rejects(Validator::Clabe, "032180000118359718", Problem::CheckDigit);
}

#[test]
fn folding_makes_spellings_meet() {
    assert_eq!(fold("S&W"), "SW");
    assert_eq!(fold("5.56x45 mm"), "556X45MM");
    assert_eq!(fold("Peña-Nieto"), "PENANIETO");
    // Cyrillic letters that look Latin meet their Latin twins.
    assert_eq!(fold("АВС"), fold("ABC"));
}

#[test]
fn only_check_digits_can_be_overridden() {
    for (validator, text) in [
        (Validator::Vin, "1M8GDM9A1KP042788"),
        (Validator::Curp, "PEGL850312HBCRRS04"),
        (Validator::Clabe, "032180000118359718"),
    ] {
        let Verdict::Reject { problem, if_overridden: Some(value) } = validator.check(text) else { panic!("{text}") };
        assert!(problem.overridable());
        assert_eq!(value, text);
    }
}

proptest! {
    #[test]
    fn normal_forms_are_fixed_points(text in "\\PC{0,40}|[A-Za-z0-9ñÑ?./ -]{0,20}", which in 0..Validator::ALL.len()) {
        let validator = Validator::ALL[which];
        if let Some(normal) = accepted(validator.check(&text))
            && !normal.is_empty()
        {
            prop_assert_eq!(accepted(validator.check(&normal)), Some(normal), "{}", validator.name());
        }
    }

    #[test]
    fn a_finer_reference_is_in_its_cell(east in 0_u32..100_000, north in 0_u32..100_000, keep in 2_usize..6) {
        let (east, north) = (format!("{east:05}"), format!("{north:05}"));
        let text = format!("14RPU{}{}", &east[..keep], &north[..keep]);
        let cell = format!("14RPU{}{}", &east[..2], &north[..2]);
        prop_assert_eq!(accepted(Validator::Cell1Km.check(&text)), Some(cell));
    }

    #[test]
    fn an_a_number_is_one_however_it_is_written(number in 1_000_000_u32..999_999_999) {
        let plain = format!("{number}");
        let normal = accepted(Validator::ANumber.check(&format!("A-{plain}")));
        prop_assert_eq!(&normal, &accepted(Validator::ANumber.check(&plain)));
        prop_assert_eq!(normal, Some(format!("A{number:09}")));
    }

    #[test]
    fn a_decimal_keeps_its_value(whole in 0_u64..999_999_999, fraction in 0_u32..1_000_000, exponent in -8_i32..6) {
        let text = format!("{whole}.{fraction:06}");
        let value: f64 = text.parse().unwrap();
        let Verdict::Valid { normalised } = Validator::Decimal.check(&text) else { panic!("{text}") };
        prop_assert_eq!(normalised.parse::<f64>().unwrap(), value);
        let scaled = format!("{text}e{exponent}");
        let Verdict::Valid { normalised } = Validator::Decimal.check(&scaled) else { panic!("{scaled}") };
        prop_assert_eq!(normalised.parse::<f64>().unwrap(), scaled.parse::<f64>().unwrap());
    }

    #[test]
    fn any_vin_of_north_america_has_exactly_one_check_digit(
        head in "[1-5][A-HJ-NPR-Z0-9]{7}", tail in "[A-HJ-NPR-Z0-9]{8}"
    ) {
        let holds = "0123456789X".chars().filter(|c| {
            matches!(Validator::Vin.check(&format!("{head}{c}{tail}")), Verdict::Valid { .. })
        });
        prop_assert_eq!(holds.count(), 1);
    }

    #[test]
    fn every_valid_date_is_a_fixed_point(y in 1850_u32..9999, m in 1_u32..13, d in 1_u32..29) {
        let text = format!("{y:04}-{m:02}-{d:02}");
        prop_assert_eq!(Validator::Date.check(&text), Verdict::valid(text.clone()));
    }
}
