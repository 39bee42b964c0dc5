use super::date::is_day;
use super::{Verdict, digits, squeeze};
use crate::problem::Problem;

/// Entities of birth in a CURP.
const ENTITIES: &str =
    "AS BC BS CC CL CM CS CH DF DG GT GR HG JC MC MN MS NT NL OC PL QT QR SP SL SR TC TS TL VZ YN ZS NE";

/// RFCs that the tax authority gives to the public at large and to foreigners.
const GENERIC_RFC: &[&str] = &["XAXX010101000", "XEXX010101000"];

/// The index of a character in `0-9A-NÑO-Z`.
fn curp_value(c: char) -> Option<u32> {
    Some(match c {
        '0'..='9' => c as u32 - '0' as u32,
        'A'..='N' => c as u32 - 'A' as u32 + 10,
        'Ñ' => 24,
        'O'..='Z' => c as u32 - 'O' as u32 + 25,
        _ => return None,
    })
}

/// The value of a character in the RFC's check sum.
fn rfc_value(c: char) -> Option<u32> {
    Some(match c {
        '&' => 24,
        ' ' => 37,
        'Ñ' => 38,
        c => curp_value(c)?,
    })
}

const fn is_letter(c: char) -> bool {
    c.is_ascii_uppercase() || c == 'Ñ'
}

/// `YYMMDD` with the century unknown or known.
fn is_short_date(text: &[char], centuries: &[u32]) -> bool {
    let bytes: Vec<u8> = text.iter().map(|c| u8::try_from(*c).unwrap_or(0)).collect();
    let (Some(y), Some(m), Some(d)) = (digits(&bytes[..2]), digits(&bytes[2..4]), digits(&bytes[4..6])) else {
        return false;
    };
    centuries.iter().any(|century| is_day(century + y, m, d))
}

/// CURP: 18 characters; the check digit decides.
pub(super) fn curp(text: &str) -> Verdict {
    let curp = squeeze(text, &['-']);
    let chars: Vec<char> = curp.chars().collect();
    if chars.iter().any(|c| curp_value(*c).is_none()) {
        return Verdict::reject(Problem::BadCharacter);
    }
    if chars.len() != 18 {
        return Verdict::reject(Problem::BadLength);
    }
    let form = chars[..4].iter().all(|c| is_letter(*c))
        && matches!(chars[10], 'H' | 'M' | 'X')
        && chars[11..16].iter().all(|c| is_letter(*c))
        && chars[17].is_ascii_digit();
    if !form {
        return Verdict::reject(Problem::BadForm);
    }
    // The differentiator is a digit for births before 2000 and a letter after.
    let century = if chars[16].is_ascii_digit() { 1900 } else { 2000 };
    if !is_short_date(&chars[4..10], &[century]) {
        return Verdict::reject(Problem::BadDate);
    }
    let entity: String = chars[11..13].iter().collect();
    if !ENTITIES.split(' ').any(|e| e == entity) {
        return Verdict::reject(Problem::BadPlace);
    }
    let sum: u32 = chars[..17].iter().zip(0_u32..).map(|(c, i)| curp_value(*c).unwrap_or(0) * (18 - i)).sum();
    if chars[17].to_digit(10) == Some((10 - sum % 10) % 10) {
        Verdict::valid(curp)
    } else {
        Verdict::Reject { problem: Problem::CheckDigit, if_overridden: Some(curp) }
    }
}

/// RFC: 13 characters for a person, 12 for a company, three fewer without the
/// homoclave. Its check digit often fails in genuine ones: it only warns.
pub(super) fn rfc(text: &str) -> Verdict {
    let rfc = squeeze(text, &['-']);
    let chars: Vec<char> = rfc.chars().collect();
    if chars.iter().any(|c| *c == ' ' || rfc_value(*c).is_none()) {
        return Verdict::reject(Problem::BadCharacter);
    }
    let (letters, homoclave) = match chars.len() {
        13 => (4, true),
        12 => (3, true),
        10 => (4, false),
        9 => (3, false),
        _ => return Verdict::reject(Problem::BadLength),
    };
    if !chars[..letters].iter().all(|c| is_letter(*c) || (*c == '&' && letters == 3)) {
        return Verdict::reject(Problem::BadForm);
    }
    if !is_short_date(&chars[letters..letters + 6], &[1900, 2000]) {
        return Verdict::reject(Problem::BadDate);
    }
    if GENERIC_RFC.contains(&rfc.as_str()) {
        return Verdict::Warn { normalised: rfc, problem: Problem::GenericIdentifier };
    }
    if !homoclave {
        return Verdict::Warn { normalised: rfc, problem: Problem::NoHomoclave };
    }
    // Twelve characters are padded on the left with a blank.
    let padded = std::iter::repeat_n(' ', 13 - chars.len()).chain(chars.iter().copied());
    let sum: u32 = padded.take(12).zip(0_u32..).map(|(c, i)| rfc_value(c).unwrap_or(0) * (13 - i)).sum();
    let expected = match 11 - sum % 11 {
        11 => '0',
        10 => 'A',
        n => char::from_digit(n, 10).unwrap_or('0'),
    };
    if chars.last() == Some(&expected) {
        Verdict::valid(rfc)
    } else {
        Verdict::Warn { normalised: rfc, problem: Problem::CheckDigitDoubtful }
    }
}

/// CLABE: 18 digits; the check digit decides.
pub(super) fn clabe(text: &str) -> Verdict {
    let clabe = squeeze(text, &['-', '.']);
    if clabe.bytes().any(|b| !b.is_ascii_digit()) {
        return Verdict::reject(Problem::BadCharacter);
    }
    if clabe.len() != 18 {
        return Verdict::reject(Problem::BadLength);
    }
    let sum: u32 =
        clabe.bytes().take(17).zip([3, 7, 1].into_iter().cycle()).map(|(b, w)| u32::from(b - b'0') * w % 10).sum();
    if u32::from(clabe.as_bytes()[17] - b'0') == (10 - sum % 10) % 10 {
        Verdict::valid(clabe)
    } else {
        Verdict::Reject { problem: Problem::CheckDigit, if_overridden: Some(clabe) }
    }
}
