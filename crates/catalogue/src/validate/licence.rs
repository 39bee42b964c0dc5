use super::{Verdict, squeeze};
use crate::problem::Problem;

/// Digits of the parts: region, district, county, type, year and month, sequence.
const PARTS: [usize; 6] = [1, 2, 3, 2, 2, 5];
/// Letters of the months; I is left out.
const MONTHS: &str = "ABCDEFGHJKLM";
const TYPES: [&str; 9] = ["01", "02", "03", "06", "07", "08", "09", "10", "11"];

/// Federal firearms licence, `R-DD-CCC-TT-YM-SSSSS`. X stands for what is not
/// known; first three and last five are public and say which licence it is.
pub(super) fn ffl(text: &str) -> Verdict {
    let mut number = squeeze(text, &['-', '.', '/']);
    if number.bytes().any(|b| !b.is_ascii_uppercase() && !b.is_ascii_digit()) {
        return Verdict::reject(Problem::BadCharacter);
    }
    if number.len() == 8 && number.bytes().all(|b| b.is_ascii_digit()) {
        number.insert_str(3, "XXXXXXX");
    }
    if number.len() != PARTS.iter().sum::<usize>() {
        return Verdict::reject(Problem::BadLength);
    }
    let mut parts = Vec::with_capacity(PARTS.len());
    let mut rest = number.as_str();
    for length in PARTS {
        let (part, more) = rest.split_at(length);
        parts.push(part);
        rest = more;
    }
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let hidden = |part: &str| part.bytes().all(|b| b == b'X');
    let month = |part: &str| {
        let (year, month) = part.split_at(1);
        digits(year) && MONTHS.contains(month)
    };
    let fits = |(i, part): (usize, &&str)| match i {
        0 | 5 => digits(part),
        4 => hidden(part) || month(part),
        _ => hidden(part) || digits(part),
    };
    if !parts.iter().enumerate().all(fits) {
        return Verdict::reject(Problem::BadForm);
    }
    let normalised = parts.join("-");
    if parts.iter().any(|p| hidden(p)) {
        return Verdict::Warn { normalised, problem: Problem::PartialNumber };
    }
    match parts.get(3).is_some_and(|kind| TYPES.contains(kind)) {
        true => Verdict::valid(normalised),
        false => Verdict::Warn { normalised, problem: Problem::Unlisted },
    }
}
