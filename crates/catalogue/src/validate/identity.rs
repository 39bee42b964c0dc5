//! Documents of people whose number has a form and no public check digit.

use super::date::is_day;
use super::{Verdict, digits, squeeze};
use crate::problem::Problem;

/// Key of a voter's card (INE): six letters, date of birth, state, sex, three
/// digits. Its inner rules are not public: form decides, a date that does not
/// exist only warns.
pub(super) fn clave_elector(text: &str) -> Verdict {
    let key = squeeze(text, &['-']);
    let chars: Vec<char> = key.chars().collect();
    if chars.iter().any(|c| !c.is_ascii_alphanumeric() && *c != 'Ñ') {
        return Verdict::reject(Problem::BadCharacter);
    }
    if chars.len() != 18 {
        return Verdict::reject(Problem::BadLength);
    }
    let number = |range: std::ops::Range<usize>| {
        digits(chars[range].iter().collect::<String>().as_bytes())
            .filter(|_| key.is_ascii() || chars[0..6].contains(&'Ñ'))
    };
    let letters = chars[..6].iter().all(|c| c.is_ascii_uppercase() || *c == 'Ñ');
    let parts = (number(6..8), number(8..10), number(10..12), number(12..14), number(15..18));
    let (true, (Some(year), Some(month), Some(day), Some(_), Some(_)), 'H' | 'M') = (letters, parts, chars[14]) else {
        return Verdict::reject(Problem::BadForm);
    };
    if is_day(1900 + year, month, day) || is_day(2000 + year, month, day) {
        Verdict::valid(key)
    } else {
        Verdict::Warn { normalised: key, problem: Problem::BadDate }
    }
}

/// Letters and digits, five to twelve, one digit at least: countries differ.
pub(super) fn passport(text: &str) -> Verdict {
    let number = squeeze(text, &['-', '.', '/']);
    if number.bytes().any(|b| !b.is_ascii_uppercase() && !b.is_ascii_digit()) {
        return Verdict::reject(Problem::BadCharacter);
    }
    match number.len() {
        0 => Verdict::reject(Problem::Missing),
        5..=12 if number.bytes().any(|b| b.is_ascii_digit()) => Verdict::valid(number),
        5..=12 => Verdict::reject(Problem::BadForm),
        _ => Verdict::reject(Problem::BadLength),
    }
}

/// `A` and seven to nine digits; the normal form has nine.
pub(super) fn a_number(text: &str) -> Verdict {
    let squeezed = squeeze(text, &['-', '.', '#']);
    let number = squeezed.strip_prefix('A').unwrap_or(&squeezed);
    if number.bytes().any(|b| !b.is_ascii_digit()) {
        return Verdict::reject(Problem::BadCharacter);
    }
    match number.len() {
        7..=9 => Verdict::valid(format!("A{number:0>9}")),
        _ => Verdict::reject(Problem::BadLength),
    }
}

/// Número único de caso: states form it differently; letters, digits, '/' and
/// '-', five to forty, one digit at least.
pub(super) fn nuc(text: &str) -> Verdict {
    let number = squeeze(text, &[]).replace(['_', '.', '\\'], "-");
    if number.bytes().any(|b| !b.is_ascii_uppercase() && !b.is_ascii_digit() && !matches!(b, b'/' | b'-')) {
        return Verdict::reject(Problem::BadCharacter);
    }
    match number.len() {
        5..=40 if number.bytes().any(|b| b.is_ascii_digit()) => Verdict::valid(number),
        5..=40 => Verdict::reject(Problem::BadForm),
        _ => Verdict::reject(Problem::BadLength),
    }
}
