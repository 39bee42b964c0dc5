use super::{Verdict, squeeze};
use crate::problem::Problem;

const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];

/// The value of a character in the check digit sum (49 CFR 565.15); I, O and Q have none.
const fn value(b: u8) -> Option<u32> {
    Some(match b {
        b'0'..=b'9' => (b - b'0') as u32,
        b'A' | b'J' => 1,
        b'B' | b'K' | b'S' => 2,
        b'C' | b'L' | b'T' => 3,
        b'D' | b'M' | b'U' => 4,
        b'E' | b'N' | b'V' => 5,
        b'F' | b'W' => 6,
        b'G' | b'P' | b'X' => 7,
        b'H' | b'Y' => 8,
        b'R' | b'Z' => 9,
        _ => return None,
    })
}

/// Whether the manufacturer identifier is of the United States, Canada or
/// Mexico: 1 to 5, and of 7 all but 7A to 7E, which are New Zealand's.
const fn is_north_american(first: u8, second: u8) -> bool {
    matches!((first, second), (b'1'..=b'5', _) | (b'7', b'0'..=b'9' | b'F'..=b'Z'))
}

/// A vehicle identification number: 17 characters without I, O and Q. The
/// check digit (position 9) decides when the vehicle was built in North
/// America; makers elsewhere use the position freely.
pub(super) fn vin(text: &str) -> Verdict {
    let vin = squeeze(text, &['-', '.']);
    if vin.chars().any(|c| !c.is_ascii_alphanumeric()) {
        return Verdict::reject(Problem::BadCharacter);
    }
    if vin.len() != 17 {
        return Verdict::reject(Problem::BadLength);
    }
    let Some(sum) = vin.bytes().zip(WEIGHTS).try_fold(0, |sum, (b, weight)| value(b).map(|v| sum + v * weight)) else {
        return Verdict::reject(Problem::BadCharacter);
    };
    let expected = match sum % 11 {
        10 => b'X',
        n => b"0123456789"[n as usize % 10],
    };
    let bytes = vin.as_bytes();
    match (bytes[8] == expected, is_north_american(bytes[0], bytes[1])) {
        (true, _) => Verdict::valid(vin),
        (false, true) => Verdict::Reject { problem: Problem::CheckDigit, if_overridden: Some(vin) },
        (false, false) => Verdict::Warn { normalised: vin, problem: Problem::NoCheckDigit },
    }
}
