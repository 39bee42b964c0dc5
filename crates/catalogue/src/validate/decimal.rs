use super::Verdict;
use crate::problem::Problem;

/// Digits before the point.
const WHOLE_DIGITS_MAX: usize = 15;
/// Digits behind the point: published tables print floating-point numbers as they are.
const FRACTION_DIGITS_MAX: usize = 30;

/// A number that is not negative: digits, one point at most, an exponent as
/// spreadsheets write it. The normal form has no exponent, no needless zeros.
/// Commas are refused: in one country they group thousands, in others they are the point.
pub(super) fn decimal(text: &str) -> Verdict {
    let text = text.trim();
    if text.len() > 64 {
        return Verdict::reject(Problem::TooLong);
    }
    let (number, exponent) = match text.split_once(['e', 'E']) {
        None => (text, Some(0)),
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok().filter(|e| e.unsigned_abs() <= 40)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let Some(exponent) = exponent else { return Verdict::reject(Problem::NotDecimal) };
    if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
        return Verdict::reject(Problem::NotDecimal);
    }
    let shift = usize::try_from(exponent.unsigned_abs()).unwrap_or(0);
    let (whole, fraction) = if exponent >= 0 {
        let moved = format!("{fraction:0<shift$}");
        let (add, rest) = moved.split_at(shift);
        (format!("{whole}{add}"), rest.to_owned())
    } else {
        let padded = format!("{whole:0>shift$}");
        let (keep, moved) = padded.split_at(padded.len() - shift);
        (keep.to_owned(), format!("{moved}{fraction}"))
    };
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if whole.len() > WHOLE_DIGITS_MAX || fraction.len() > FRACTION_DIGITS_MAX {
        return Verdict::reject(Problem::TooLong);
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    Verdict::valid(if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") })
}
