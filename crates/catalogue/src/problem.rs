use std::fmt;

use puente_model::Lang;

macro_rules! problems {
    ($($(#[$doc:meta])* $v:ident = $code:literal {
        en: $en:literal, $en_mend:literal,
        es: $es:literal, $es_mend:literal $(,)?
    })+) => {
        /// What can be wrong, or doubtful, with one value: a stable code, and
        /// the words for it. The words never hold the value itself.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Problem { $($(#[$doc])* $v),+ }

        impl Problem {
            /// Every problem.
            pub const ALL: &'static [Self] = &[$(Self::$v),+];

            /// The stable code, never translated.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$v => $code),+ }
            }

            /// What is wrong.
            pub const fn message(self, lang: Lang) -> &'static str {
                match (self, lang) { $((Self::$v, Lang::En) => $en, (Self::$v, Lang::Es) => $es),+ }
            }

            /// What to do about it.
            pub const fn mend(self, lang: Lang) -> &'static str {
                match (self, lang) { $((Self::$v, Lang::En) => $en_mend, (Self::$v, Lang::Es) => $es_mend),+ }
            }
        }
    };
}

problems! {
    /// A required value is absent.
    Missing = "missing" {
        en: "the value is required", "give it",
        es: "el valor es obligatorio", "indíquelo",
    }
    /// No field has this name.
    UnknownColumn = "unknown-column" {
        en: "no such column", "rename or remove it",
        es: "no existe esa columna", "cámbiele el nombre o quítela",
    }
    /// Two columns mean one field.
    DuplicateColumn = "duplicate-column" {
        en: "another column means the same field", "keep one of them",
        es: "otra columna significa el mismo campo", "deje solo una",
    }
    /// Longer than a field may be.
    TooLong = "too-long" {
        en: "the value is too long", "shorten it",
        es: "el valor es demasiado largo", "acórtelo",
    }
    /// More values than a repeated field may hold.
    TooMany = "too-many" {
        en: "too many values", "keep the most important ones",
        es: "demasiados valores", "deje los más importantes",
    }
    /// Control or invisible characters.
    ControlCharacter = "control-character" {
        en: "the value holds control or invisible characters", "remove them",
        es: "el valor contiene caracteres de control o invisibles", "quítelos",
    }
    /// A character that this identifier never has.
    BadCharacter = "bad-character" {
        en: "a character that this identifier never has", "compare it with the original (I and 1, O and 0, Q and 0 are often confused)",
        es: "un carácter que este identificador nunca tiene", "compárelo con el original (I y 1, O y 0, Q y 0 suelen confundirse)",
    }
    /// The wrong number of characters.
    BadLength = "bad-length" {
        en: "the wrong number of characters", "compare it with the original; nothing may be missing or added",
        es: "número de caracteres incorrecto", "compárelo con el original; no debe faltar ni sobrar nada",
    }
    /// The right characters in the wrong order.
    BadForm = "bad-form" {
        en: "not in the expected form", "write it as the note of this field shows",
        es: "no tiene la forma esperada", "escríbalo como indica la nota de este campo",
    }
    /// A decisive check digit fails: rejected, unless overridden.
    CheckDigit = "check-digit" {
        en: "the check digit does not hold", "compare it with the original; if it really reads so, give the reason in the column's .override",
        es: "el dígito verificador no corresponde", "compárelo con el original; si de verdad dice eso, dé la razón en la columna .override",
    }
    /// A check digit that is often wrong in practice fails: accepted.
    CheckDigitDoubtful = "check-digit-doubtful" {
        en: "the check digit does not hold, as in some genuine ones", "compare it with the original",
        es: "el dígito verificador no corresponde, como en algunos auténticos", "compárelo con el original",
    }
    /// The identifier has no check digit.
    NoCheckDigit = "no-check-digit" {
        en: "an identifier without a check digit: a mistake cannot be noticed", "compare it with the original",
        es: "identificador sin dígito verificador: un error no puede notarse", "compárelo con el original",
    }
    /// An RFC without its homoclave.
    NoHomoclave = "no-homoclave" {
        en: "the RFC has no homoclave: several people can share it", "add the last three characters when known",
        es: "el RFC no tiene homoclave: varias personas pueden compartirlo", "añada los tres últimos caracteres cuando se conozcan",
    }
    /// An identifier that stands for nobody in particular.
    GenericIdentifier = "generic-identifier" {
        en: "a generic identifier that stands for nobody in particular", "find the real one",
        es: "un identificador genérico que no señala a nadie en particular", "busque el verdadero",
    }
    /// No such day, or not in the expected form.
    BadDate = "bad-date" {
        en: "no such date", "write it as year-month-day, for example 2026-03-01",
        es: "esa fecha no existe", "escríbala como año-mes-día, por ejemplo 2026-03-01",
    }
    /// No such state, municipality, county or country.
    BadPlace = "bad-place" {
        en: "no such place code", "use the official code list",
        es: "no existe esa clave de lugar", "use el catálogo oficial",
    }
    /// Not a code of its list.
    NotInList = "not-in-list" {
        en: "not a code of its list", "use one of the list",
        es: "no es una clave de su catálogo", "use una del catálogo",
    }
    /// Not a code of an open list: kept.
    Unlisted = "unlisted" {
        en: "not in the list of known values; kept as written", "check the spelling",
        es: "no está en la lista de valores conocidos; se conserva como está", "revise la ortografía",
    }
    /// Not a whole number, or not yes or no.
    NotNumber = "not-a-number" {
        en: "not a whole number", "use digits only",
        es: "no es un número entero", "use solo dígitos",
    }
    /// Not a decimal number.
    NotDecimal = "not-a-decimal" {
        en: "not a decimal number", "use digits and one point, without commas or a sign",
        es: "no es un número decimal", "use dígitos y un punto, sin comas ni signo",
    }
    /// Not yes or no.
    NotYesNo = "not-yes-no" {
        en: "neither yes nor no", "use yes or no",
        es: "no es sí ni no", "use sí o no",
    }
    /// Outside its bounds.
    OutOfRange = "out-of-range" {
        en: "outside its bounds", "check the number and its unit",
        es: "fuera de sus límites", "revise el número y su unidad",
    }
    /// Two fields that contradict each other.
    StateConflict = "state-conflict" {
        en: "contradicts another field", "correct one of the two",
        es: "contradice a otro campo", "corrija uno de los dos",
    }
    /// Part of a number is not known.
    PartialNumber = "partial-number" {
        en: "part of the number is not known", "add the rest when it is",
        es: "falta parte del número", "añada el resto cuando se conozca",
    }
    /// A record that no question will find.
    NeverFound = "never-found" {
        en: "kept, and never found by a question: a juvenile, victim or protected person", "nothing to do; check that it is right",
        es: "se conserva y ninguna consulta lo encontrará: persona menor, víctima o protegida", "nada que hacer; verifique que sea correcto",
    }
    /// A span of time that is turned round or too long.
    BadWindow = "bad-window" {
        en: "the span of time is too long or turned round", "ask for a shorter one, from before until",
        es: "el intervalo es demasiado largo o está invertido", "pida uno más corto, con el inicio antes del fin",
    }
    /// A place more exact than is kept: coarsened.
    Coarsened = "coarsened" {
        en: "more exact than is kept; made coarser", "nothing to do",
        es: "más exacto de lo que se conserva; se redondeó", "nada que hacer",
    }
    /// A question without anything to look up.
    NothingToMatch = "nothing-to-match" {
        en: "there is nothing to look up", "give at least one complete key",
        es: "no hay nada que buscar", "dé al menos una clave completa",
    }
    /// A value that is not in its normal form.
    NotNormalised = "not-normalised" {
        en: "not in its normal form", "the sender must normalise before it asks",
        es: "no está en su forma normal", "el emisor debe normalizar antes de preguntar",
    }
    /// An override that is not needed or not allowed.
    BadOverride = "bad-override" {
        en: "this override is not needed, not allowed or has no reason", "remove it, or give a reason of 3 to 500 characters",
        es: "esta excepción no hace falta, no se permite o no tiene razón", "quítela, o dé una razón de 3 a 500 caracteres",
    }
}

impl Problem {
    /// Whether a person may accept the value all the same, with a reason.
    pub const fn overridable(self) -> bool {
        matches!(self, Self::CheckDigit)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// One error or warning about one column of a row or one parameter of a
/// question. Holds no value of the row, so it may be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The column, as the file names it, or the parameter.
    pub column: String,
    /// What is wrong or doubtful.
    pub problem: Problem,
    /// What helps to mend it: the closest column, the valid codes, the bounds. May be empty.
    pub detail: String,
}

impl Finding {
    pub(crate) fn new(column: &str, problem: Problem, detail: impl Into<String>) -> Self {
        Self { column: column.chars().take(80).collect(), problem, detail: detail.into() }
    }

    /// The stable code, for example `check-digit`.
    pub const fn code(&self) -> &'static str {
        self.problem.code()
    }

    /// What is wrong, in words, with the detail.
    pub fn message(&self, lang: Lang) -> String {
        let words = self.problem.message(lang);
        if self.detail.is_empty() { words.to_owned() } else { format!("{words} ({})", self.detail) }
    }

    /// What to do about it.
    pub const fn mend(&self, lang: Lang) -> &'static str {
        self.problem.mend(lang)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.column.escape_debug();
        write!(f, "column '{column}': {}; {}", self.message(Lang::En), self.mend(Lang::En))
    }
}

impl std::error::Error for Finding {}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn every_problem_has_its_own_code_and_words_in_both_languages() {
        let codes: std::collections::BTreeSet<&str> = Problem::ALL.iter().map(|p| p.code()).collect();
        assert_eq!(codes.len(), Problem::ALL.len());
        for problem in Problem::ALL {
            assert_ne!(problem.message(Lang::En), problem.message(Lang::Es));
            assert_ne!(problem.mend(Lang::En), problem.mend(Lang::Es));
        }
        assert_eq!(("es".parse(), "fr".parse::<Lang>()), (Ok(Lang::Es), Err(puente_model::LangError)));
    }

    #[test]
    fn a_column_cannot_write_to_the_terminal() {
        let finding = Finding::new("\u{1b}[2J", Problem::UnknownColumn, "");
        assert!(!finding.to_string().contains('\u{1b}'));
    }
}
