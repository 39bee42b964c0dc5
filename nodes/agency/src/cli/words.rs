//! Every text of the command that exists in both languages, and how times are shown.

use puente_catalogue::Lang;
use puente_model::{Millis, Outcome, RefusalReason};

/// An instant for people: UTC, to the minute.
pub(super) fn instant(at: Millis) -> String {
    let text = at.to_string();
    let (day, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{day} {} UTC", time.get(..5).unwrap_or(""))
}

/// Days from `now` to `then`, rounded down; negative if past.
pub(super) fn days(now: Millis, then: Millis) -> i64 {
    let day = 86_400_000;
    if then >= now {
        i64::try_from(then.since(now) / day).unwrap_or(i64::MAX)
    } else {
        -i64::try_from(now.since(then).div_ceil(day)).unwrap_or(i64::MAX)
    }
}

/// A duration for people: its two largest units.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident: $en:literal, $es:literal;)+) => {
        /// Texts in both languages.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Text { $($(#[$doc])* $name),+ }

        impl Text {
            pub(super) const fn get(self, lang: Lang) -> &'static str {
                match (self, lang) { $((Self::$name, Lang::En) => $en, (Self::$name, Lang::Es) => $es),+ }
            }
        }

        #[cfg(test)]
        pub(super) const ALL: &[Text] = &[$(Text::$name),+];
    };
}

pub(super) use texts;

texts! {
    Asked: "asked", "pregunta";
    To: "to", "a";
    OutcomeLabel: "outcome", "resultado";
    Handling: "handling", "manejo";
    Obligations: "obligations", "obligaciones";
    Exchange: "exchange", "intercambio";
    AnswerLeaf: "leaf (ANSWER)", "hoja (ANSWER)";
    Record: "record", "registro";
    Fields: "fields", "campos";
    FoundBy: "found by", "hallado por";
    NoFields: "nothing was disclosed", "no se reveló nada";
    RefusedByHolder: "refused by the holder", "rechazada por la institución consultada";
    RefusedHere: "refused by this node's own rules; nothing was sent",
        "rechazada por las reglas de este nodo; no se envió nada";
    Reason: "reason", "motivo";
    Rule: "rule", "regla";
    Explanation: "explanation", "explicación";
    Appeal: "how to appeal", "cómo impugnar";
    Malformed: "the question is malformed; nothing was sent", "la consulta está mal formada; no se envió nada";
    ConfirmHint: "a hit is not a match: a human confirms it first; then 'puente query confirm' asks for core data",
        "un acierto no es una identificación: primero lo confirma una persona; después 'puente query confirm' pide los datos";
    TimedOut: "no answer by the deadline; the question's number is voided if the holder never recorded it",
        "no hubo respuesta en el plazo; el número de la consulta se anula si nunca se registró";
    Unreleased: "answered, but the key to the content did not come by the deadline; UNRELEASED is recorded",
        "se respondió, pero la clave del contenido no llegó en el plazo; se registró UNRELEASED";
    Disputed: "the released content does not match its commitment; DISPUTE is recorded",
        "el contenido entregado no corresponde a su compromiso; se registró DISPUTE";
    TellAuditors: "tell the auditors; the evidence is kept", "avise a los auditores; la evidencia se conserva";
    AskAgain: "ask again later, or look at 'puente node status'",
        "vuelva a preguntar después, o vea 'puente node status'";
    LogUnavailable: "this node's log cannot be written: nothing is asked or answered until it can",
        "no se puede escribir el registro de este nodo: no se pregunta ni responde nada hasta que se pueda";
    ExplainHint: "'puente policy explain' with the same flags says what would have to differ on this side",
        "'puente policy explain' con las mismas opciones dice qué tendría que cambiar de este lado";
    FreeSpace: "mend the disk, then restart the node", "repare el disco y reinicie el nodo";
    NotProcessed: "the holder's node did not process the question",
        "el nodo consultado no procesó la consulta";
}

/// What an outcome means.
pub(super) const fn outcome(outcome: Outcome, lang: Lang) -> &'static str {
    match (outcome, lang) {
        (Outcome::NoHit, Lang::En) => "no hit",
        (Outcome::NoHit, Lang::Es) => "sin coincidencia",
        (Outcome::HitUnconfirmed, Lang::En) => "hit, not confirmed by a human",
        (Outcome::HitUnconfirmed, Lang::Es) => "coincidencia, sin confirmar por una persona",
        (Outcome::HitConfirmed, Lang::En) => "hit, confirmed",
        (Outcome::HitConfirmed, Lang::Es) => "coincidencia confirmada",
        (Outcome::CoreData, Lang::En) => "core data",
        (Outcome::CoreData, Lang::Es) => "datos básicos",
        (Outcome::NeedsData, Lang::En) => "the holder needs more data",
        (Outcome::NeedsData, Lang::Es) => "la institución necesita más datos",
        (Outcome::DuplicateOf, Lang::En) => "duplicates a question that the holder knows",
        (Outcome::DuplicateOf, Lang::Es) => "repite una consulta que la institución ya conoce",
    }
}

/// What a refusal reason means.
pub(super) const fn reason(reason: RefusalReason, lang: Lang) -> &'static str {
    match (reason, lang) {
        (RefusalReason::NoLegalBasis, Lang::En) => "no rule permits it on this legal basis and purpose",
        (RefusalReason::NoLegalBasis, Lang::Es) => "ninguna regla la permite con esta base legal y finalidad",
        (RefusalReason::Scope, Lang::En) => "outside what the asker's role may ask",
        (RefusalReason::Scope, Lang::Es) => "fuera de lo que el rol de quien pregunta permite",
        (RefusalReason::Sovereignty, Lang::En) => "sovereignty or ordre public",
        (RefusalReason::Sovereignty, Lang::Es) => "soberanía u orden público",
        (RefusalReason::OngoingOperation, Lang::En) => "it would endanger an ongoing operation",
        (RefusalReason::OngoingOperation, Lang::Es) => "pondría en riesgo una operación en curso",
        (RefusalReason::SourceProtection, Lang::En) => "it would reveal a source",
        (RefusalReason::SourceProtection, Lang::Es) => "revelaría una fuente",
        (RefusalReason::StatutoryBar, Lang::En) => "a statute forbids it",
        (RefusalReason::StatutoryBar, Lang::Es) => "una ley lo prohíbe",
        (RefusalReason::Quality, Lang::En) => "the question's data are insufficient or malformed",
        (RefusalReason::Quality, Lang::Es) => "los datos de la consulta son insuficientes o están mal formados",
        (RefusalReason::HumanRights, Lang::En) => "human rights",
        (RefusalReason::HumanRights, Lang::Es) => "derechos humanos",
        (RefusalReason::StaleEpoch, Lang::En) => "the holder is at another group epoch",
        (RefusalReason::StaleEpoch, Lang::Es) => "la institución está en otra época del grupo",
        (RefusalReason::Cancelled, Lang::En) => "the asker cancelled",
        (RefusalReason::Cancelled, Lang::Es) => "quien preguntó la canceló",
        (RefusalReason::Expired, Lang::En) => "the deadline passed before it was judged",
        (RefusalReason::Expired, Lang::Es) => "el plazo venció antes de valorarla",
        (RefusalReason::Failed, Lang::En) => "the holder could not complete it",
        (RefusalReason::Failed, Lang::Es) => "la institución no pudo completarla",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_both_languages() {
        for text in ALL {
            assert!(!text.get(Lang::En).is_empty() && !text.get(Lang::Es).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn instants_and_days_read_well() {
        assert_eq!(instant(Millis(1_709_210_096_789)), "2024-02-29 12:34 UTC");
        assert_eq!(days(Millis(0), Millis(86_400_000 * 3 + 5)), 3);
        assert_eq!(days(Millis(86_400_000), Millis(0)), -1);
        assert_eq!([duration(5), duration(65), duration(90_061)], ["5 s", "1 min 5 s", "1 d 1 h"]);
    }
}
