//! Every text of the demo, in both languages. `{0}`, `{1}` … stand for values.

use puente_catalogue::Lang;

macro_rules! texts {
    ($($name:ident: $en:literal, $es:literal;)+) => {
        /// Texts in both languages.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Text { $($name),+ }

        impl Text {
            pub(super) const fn get(self, lang: Lang) -> &'static str {
                match (self, lang) { $((Self::$name, Lang::En) => $en, (Self::$name, Lang::Es) => $es),+ }
            }
        }

        #[cfg(test)]
        pub(super) const ALL: &[Text] = &[$(Text::$name),+];
    };
}

texts! {
    StillAt: "  still at: {0} ({1} s)", "  sigue en: {0} ({1} s)";
    Title: "Puente: two nations, four agencies, audited questions",
        "Puente: dos naciones, cuatro instituciones, consultas auditadas";
    Intro: "Everything below is done by the program itself in separate processes: seed {0}, {1} records an agency. Every record is invented; nobody real is in them. The folder {2} stays for you to explore.",
        "Todo lo que sigue lo hace el propio programa en procesos separados: semilla {0}, {1} registros por institución. Todos los registros son inventados; no hay en ellos ninguna persona real. La carpeta {2} queda para que la explore.";

    ActFound: "Two nations found a federation", "Dos naciones fundan una federación";
    DoingKeys: "making keys, authorities and nodes", "creando llaves, autoridades y nodos";
    DoingCharter: "writing and signing the charter", "redactando y firmando la carta";
    Founded: "Each nation has its own certificate authority and three governance keys, two of which must sign. Each agency has a node with its own keys, each nation two auditors. The charter, {0}, names them all; common part and annexes carry {1} signatures. Its hash is given to everybody out of band:",
        "Cada nación tiene su propia autoridad de certificación y tres llaves de gobierno, de las que dos deben firmar. Cada institución tiene un nodo con sus propias llaves y cada nación dos auditores. La carta, {0}, los nombra a todos; parte común y anexos llevan {1} firmas. Su huella se entrega a cada quien por otra vía:";
    CharterHolds: "all four nodes verify every part and signature of the charter", "los cuatro nodos verifican cada parte y firma de la carta";
    ForeignRoot: "Mexico's authority refuses to vouch for a node of the United States", "la autoridad de México se niega a avalar un nodo de Estados Unidos";

    ActData: "Each agency starts its node and brings its records in", "Cada institución arranca su nodo e incorpora sus registros";
    DoingStart: "starting four nodes", "arrancando cuatro nodos";
    DoingGenerate: "inventing records", "inventando registros";
    DoingImport: "importing {0}", "incorporando {0}";
    Imported: "{0} in, {1} rejected, one COLLECT entry a file", "{0} incorporados, {1} rechazados, un asiento COLLECT por archivo";
    AllImported: "every right row is in; {0} wrong rows of one file were rejected, each with its line and what to do",
        "todas las filas correctas entraron; {0} filas erróneas de un archivo se rechazaron, cada una con su línea y qué hacer";
    Line: "line {0}, {1}", "línea {0}, {1}";

    ActVehicle: "A stolen vehicle: Tijuana asks, Texas answers", "Un vehículo robado: Tijuana pregunta, Texas responde";
    VehicleStory: "An investigator of {0} found a vehicle and asks {1} about its VIN, {2}, step 1.",
        "Un investigador de {0} halló un vehículo y pregunta a {1} por su NIV, {2}, paso 1.";
    HitNothing: "a hit, unconfirmed, and not one field", "una coincidencia, sin confirmar, y ni un solo campo";
    Confirmed: "A hit is not a match. The investigator compares the vehicle with the hit, confirms it, states the facts and asks for core data, step 2.",
        "Una coincidencia no es una identificación. El investigador compara el vehículo, la confirma, expone los hechos y pide los datos básicos, paso 2.";
    CoreReleased: "core data released: the {0} fields that the policy of Texas allows and the record has, no other",
        "datos básicos entregados: los {0} campos que la política de Texas permite y el registro tiene, ninguno más";
    Withheld: "place of theft and case number stayed in Texas", "el lugar del robo y el número de caso se quedaron en Texas";
    BothLogs: "both logs hold the same entries of this exchange, byte for byte: {0}",
        "ambas bitácoras contienen los mismos asientos de este intercambio, byte por byte: {0}";

    ActFirearms: "Two firearms: no hit in California, a near miss that hits in Mexico", "Dos armas: sin coincidencia en California, y una matrícula incompleta que coincide en México";
    NoHitStory: "{0} asks {1} about a {2}, number {3}.", "{0} pregunta a {1} por un arma {2}, matrícula {3}.";
    NoHit: "no hit, and an entry says so in both logs", "sin coincidencia, y un asiento lo dice en ambas bitácoras";
    GapStory: "The other way: {0} recovered a {1}; one character of its number cannot be read: {2}. It asks {3}.",
        "En sentido contrario: {0} aseguró un arma {1}; un carácter de su matrícula no se lee: {2}. Pregunta a {3}.";
    GapHit: "a hit, unconfirmed: people compare the arms before anything else", "una coincidencia, sin confirmar: antes que nada, personas comparan las armas";

    ActRefusal: "A statute forbids the answer", "Una ley prohíbe la respuesta";
    RefusalStory: "{0} asks {1} about a plate. California law lets plate data go to its own public agencies only.",
        "{0} pregunta a {1} por una placa. La ley de California solo permite dar datos de placas a sus propias instituciones públicas.";
    RefusedStatute: "refused with its reason, {0}, by the rule {1}, in both languages:",
        "rechazada con su motivo, {0}, por la regla {1}, en ambos idiomas:";
    BothLogsRefusal: "the refusal is an entry in both logs, like an answer: {0}", "la negativa es un asiento en ambas bitácoras, como una respuesta: {0}";

    ActMalformed: "Malformed questions are refused before anything is sent", "Las consultas mal formadas se rechazan antes de enviar nada";
    BadVin: "a VIN with one misread digit", "un NIV con un dígito mal leído";
    BadPurpose: "a purpose that the legal basis does not cover", "una finalidad que la base legal no cubre";
    NothingSent: "both were refused with what to do, and neither log has a new entry of the pair",
        "ambas se rechazaron diciendo qué hacer, y ninguna bitácora tiene un asiento nuevo del par";

    ActDomestic: "A domestic question is nobody else's business", "Una consulta interna no le incumbe a nadie más";
    DomesticStory: "{0} asks {1} about a vehicle under Mexican law.", "{0} pregunta a {1} por un vehículo conforme a la ley mexicana.";
    DomesticHit: "a hit; both logs show commitments only: no name, kind, purpose or exchange in the clear",
        "una coincidencia; ambas bitácoras muestran solo compromisos: ni nombre, tipo, finalidad o intercambio a la vista";

    ActCrash: "kill -9 in the middle of an exchange", "kill -9 a mitad de un intercambio";
    CrashHolder: "{0} hangs. {1} asks it; the question is durable in the asker's log. {0} is killed with SIGKILL and started again.",
        "{0} se cuelga. {1} le pregunta; la consulta ya es durable en la bitácora de quien pregunta. {0} recibe SIGKILL y vuelve a arrancar.";
    CrashAsker: "Now the asker: {0} asks {1}, its question is durable, and {0} is killed with SIGKILL. {1} goes on; {0} starts again.",
        "Ahora quien pregunta: {0} pregunta a {1}, su consulta ya es durable, y {0} recibe SIGKILL. {1} sigue; {0} vuelve a arrancar.";
    CrashDone: "the exchange completed exactly once, in both logs: {0}", "el intercambio se completó exactamente una vez, en ambas bitácoras: {0}";
    DoingCrash: "waiting for the exchange to complete after the restart", "esperando a que el intercambio se complete tras el reinicio";
    StillUnanswered: "it was in the middle: recorded by the asker and not yet answered when the process died",
        "era la mitad: asentada por quien pregunta y aún sin respuesta cuando murió el proceso";

    ActClose: "Periods are closed, logs are copied for the auditors", "Se cierran los periodos y se copian las bitácoras para los auditores";
    DoingClose: "closing periods on every node", "cerrando periodos en cada nodo";
    Copied: "{0} entries under its signed head", "{0} asientos bajo su cabeza firmada";
    Closed: "every pair closed its periods: both sides agree on root and count", "cada par cerró sus periodos: ambas partes coinciden en raíz y cuenta";
    CopiesStory: "Own auditors get everything but content; the other nation's get domestic and local entries as commitments only.",
        "Los auditores propios reciben todo menos el contenido; los de la otra nación, los asientos internos y locales solo como compromisos.";

    ActAudit: "The auditors of both nations", "Los auditores de ambas naciones";
    DoingAudit: "{0} verifies and reconciles", "{0} verifica y concilia";
    AuditStory: "Each verdict is computed in a fresh process that gets nothing but the copied files, the charter and its hash, and the auditor's own key.",
        "Cada veredicto se calcula en un proceso nuevo que recibe solo los archivos copiados, la carta y su huella, y la llave del propio auditor.";
    AuditSound: "{0}: {1}, {2} logs, {3} findings", "{0}: {1}, {2} bitácoras, {3} hallazgos";

    ActTamper: "Dishonest operators", "Operadores deshonestos";
    TamperStory: "Copies of the copies are tampered with, with the node's own log key where that helps; each is then audited in a fresh process.",
        "Se alteran copias de las copias, con la llave de la propia bitácora cuando ayuda; cada una se audita en un proceso nuevo.";
    DoingTamper: "auditing: {0}", "auditando: {0}";
    Caught: "{0}: caught as {1}, attributed to {2}", "{0}: descubierto como {1}, atribuido a {2}";
    TamperFlip: "one byte of an entry flipped", "un byte de un asiento alterado";
    TamperDrop: "the last entries dropped, an older signed head shown", "los últimos asientos quitados, se muestra una cabeza anterior";
    TamperRewrite: "the last entries rewritten under a fresh head", "los últimos asientos reescritos bajo una cabeza nueva";
    TamperUnlogged: "an answer that the asker read and took out of its log", "una respuesta que quien preguntó leyó y quitó de su bitácora";
    TamperFork: "a forked log shown to one partner", "una bitácora bifurcada mostrada a una sola contraparte";
    TamperTile: "one byte of a tile flipped", "un byte de un mosaico alterado";
    TamperSwap: "two entries exchanged", "dos asientos intercambiados";
    TamperPeriod: "a period's root forged under a fresh head", "la raíz de un periodo falsificada bajo una cabeza nueva";

    ActEnd: "Result", "Resultado";
    AllHeld: "Everything held, in {0} seconds.", "Todo se cumplió, en {0} segundos.";
    NotHeld: "{0} expectations did not hold; see FAIL above.", "{0} expectativas no se cumplieron; vea FAIL arriba.";
    Explore: "To explore: {0}", "Para explorar: {0}";
    Serving: "The nodes run until Ctrl-C. Ask one from another terminal:", "Los nodos corren hasta Ctrl-C. Pregunte desde otra terminal:";
    Stopping: "stopping the nodes", "deteniendo los nodos";
}

/// A text with its values in place.
pub(super) fn fill(text: &str, values: &[&str]) -> String {
    let mut out = text.to_owned();
    // Piece by piece, so that a value that holds braces is not filled again.
    let mut parts = Vec::new();
    while let Some((before, rest)) = out.split_once('{').map(|(b, r)| (b.to_owned(), r.to_owned())) {
        parts.push(before);
        match rest.split_once('}') {
            Some((number, after)) => {
                let value = number.parse::<usize>().ok().and_then(|n| values.get(n));
                parts.push(value.map_or_else(|| format!("{{{number}}}"), |v| (*v).to_owned()));
                out = after.to_owned();
            }
            None => {
                parts.push(format!("{{{rest}"));
                out = String::new();
            }
        }
    }
    parts.push(out);
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_both_languages_and_the_same_values() {
        for text in ALL {
            let (en, es) = (text.get(Lang::En), text.get(Lang::Es));
            assert!(!en.is_empty() && !es.is_empty(), "{text:?}");
            for n in 0..8 {
                let slot = format!("{{{n}}}");
                assert_eq!(en.contains(&slot), es.contains(&slot), "{text:?} {slot}");
            }
        }
    }

    #[test]
    fn values_are_filled_once() {
        assert_eq!(fill("a {0} b {1} {0}", &["{1}", "x"]), "a {1} b x {1}");
        assert_eq!(fill("{9} {", &[]), "{9} {");
    }
}
