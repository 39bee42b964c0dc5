use super::{Verdict, digits, squeeze};
use crate::problem::Problem;

/// FIPS state codes that were never given out, up to 56 (Wyoming).
const FIPS_UNUSED: [u32; 5] = [3, 7, 14, 43, 52];
/// FIPS codes of territories.
const FIPS_TERRITORIES: [u32; 6] = [60, 66, 69, 72, 74, 78];

/// The highest municipality number of each Mexican state, 01 to 32 (INEGI, census of 2020).
const MUNICIPALITY_LAST: [u32; 32] = [
    11, 7, 9, 13, 38, 10, 125, 67, 17, 39, 46, 85, 84, 125, 125, 113, 36, 20, 51, 570, 217, 18, 11, 59, 20, 72, 17, 43,
    60, 212, 106, 58,
];

/// ISO 3166-1 alpha-2.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS \
    BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ \
    FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT \
    JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP \
    MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE \
    RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV \
    TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

pub(super) fn is_country(code: &str) -> bool {
    lists(COUNTRIES, 2, code)
}

/// Whether `codes`, each of `len` letters and followed by one space, hold `code`. Millions of rows ask this.
pub(super) fn lists(codes: &str, len: usize, code: &str) -> bool {
    code.len() == len && codes.as_bytes().chunks(len + 1).any(|c| c.starts_with(code.as_bytes()))
}

pub(super) fn country(text: &str) -> Verdict {
    let code = squeeze(text, &[]);
    if is_country(&code) { Verdict::valid(code) } else { Verdict::reject(Problem::BadPlace) }
}

fn state_and_local(text: &str) -> Result<(String, u32, u32), Problem> {
    let code = squeeze(text, &[]);
    if code.bytes().any(|b| !b.is_ascii_digit()) {
        return Err(Problem::BadCharacter);
    }
    if code.len() != 5 {
        return Err(Problem::BadLength);
    }
    let (Some(state), Some(local)) = (digits(&code.as_bytes()[..2]), digits(&code.as_bytes()[2..])) else {
        return Err(Problem::BadCharacter);
    };
    Ok((code, state, local))
}

/// INEGI municipality key: state 01 to 32, municipality 001 onwards. New
/// municipalities are founded: a number past the census's last only warns.
pub(super) fn cvegeo(text: &str) -> Verdict {
    match state_and_local(text) {
        Ok((code, state @ 1..=32, local @ 1..=999)) => {
            match state.checked_sub(1).and_then(|i| MUNICIPALITY_LAST.get(i as usize)) {
                Some(last) if local <= *last => Verdict::valid(code),
                _ => Verdict::Warn { normalised: code, problem: Problem::Unlisted },
            }
        }
        Ok(_) => Verdict::reject(Problem::BadPlace),
        Err(problem) => Verdict::reject(problem),
    }
}

/// FIPS county: a state or territory and a county.
pub(super) fn fips(text: &str) -> Verdict {
    match state_and_local(text) {
        Ok((code, state, 1..=999))
            if ((1..=56).contains(&state) && !FIPS_UNUSED.contains(&state)) || FIPS_TERRITORIES.contains(&state) =>
        {
            Verdict::valid(code)
        }
        Ok(_) => Verdict::reject(Problem::BadPlace),
        Err(problem) => Verdict::reject(problem),
    }
}

/// A municipality or county of either nation: `MX-02004`, `US-48141`.
pub(super) fn place(text: &str) -> Verdict {
    let code = squeeze(text, &['-', ':']);
    let verdict = match code.get(..2) {
        Some("MX") => cvegeo(&code[2..]),
        Some("US") => fips(&code[2..]),
        _ => return Verdict::reject(Problem::BadPlace),
    };
    match verdict {
        Verdict::Valid { normalised } => Verdict::valid(format!("{}-{normalised}", &code[..2])),
        Verdict::Warn { normalised, problem } => {
            Verdict::Warn { normalised: format!("{}-{normalised}", &code[..2]), problem }
        }
        other => other,
    }
}

/// Latitude bands and columns of the military grid leave out I and O.
const fn is_grid_letter(b: u8) -> bool {
    b.is_ascii_uppercase() && b != b'I' && b != b'O'
}

/// A square of one kilometre of the Military Grid Reference System (the United States National Grid is the same):
/// zone, band, hundred-kilometre square, two digits each way. Finer references are made coarser: an exact point is
/// never kept.
pub(super) fn cell_1km(text: &str) -> Verdict {
    let cell = squeeze(text, &['-', '.', ',']);
    if cell.bytes().any(|b| !b.is_ascii_uppercase() && !b.is_ascii_digit()) {
        return Verdict::reject(Problem::BadCharacter);
    }
    let zone_digits = cell.bytes().take_while(u8::is_ascii_digit).count();
    let (zone, rest) = cell.split_at(zone_digits.min(2));
    let (letters, point) = rest.split_at(rest.bytes().take_while(u8::is_ascii_uppercase).count());
    let zone_known = digits(zone.as_bytes()).is_some_and(|zone| (1..=60).contains(&zone));
    let letters_known = match *letters.as_bytes() {
        [band, column, row] => {
            (b'C'..=b'X').contains(&band)
                && (b'A'..=b'V').contains(&row)
                && [band, column, row].into_iter().all(is_grid_letter)
        }
        _ => false,
    };
    let precise = point.bytes().all(|b| b.is_ascii_digit()) && matches!(point.len(), 4 | 6 | 8 | 10);
    if !zone_known || !letters_known || !precise {
        return Verdict::reject(Problem::BadPlace);
    }
    let (east, north) = point.split_at(point.len() / 2);
    let zone = zone.trim_start_matches('0');
    let normalised = format!("{zone}{letters}{}{}", &east[..2], &north[..2]);
    if point.len() == 4 {
        Verdict::valid(normalised)
    } else {
        Verdict::Warn { normalised, problem: Problem::Coarsened }
    }
}
