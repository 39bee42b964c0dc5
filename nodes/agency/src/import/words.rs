//! What an import says to people, in both languages side by side.

pub use puente_catalogue::Lang;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident: $en:literal, $es:literal; $mend_en:literal, $mend_es:literal;)+) => {
        /// What is wrong, and what to do about it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Words { $($(#[$doc])* $name),+ }

        impl Words {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            const fn both(self, lang: Lang) -> (&'static str, &'static str) {
                match (self, lang) {
                    $((Self::$name, Lang::En) => ($en, $mend_en), (Self::$name, Lang::Es) => ($es, $mend_es)),+
                }
            }
        }
    };
}

words! {
    /// The operand is a folder.
    Folder: "{0} is a folder", "{0} es una carpeta"; "name a file", "indique un archivo";
    /// The mark says another encoding than the person.
    OtherMark: "the file's byte order mark says {0}, --encoding says {1}",
        "la marca de orden de bytes del archivo dice {0}, --encoding dice {1}";
        "leave --encoding out", "omita --encoding";
    /// Zeros in every other place.
    MarklessUtf16: "the file looks like UTF-16 without a byte order mark",
        "el archivo parece UTF-16 sin marca de orden de bytes";
        "give --encoding utf-16le or utf-16be, or save it as UTF-8 (in a spreadsheet: 'CSV UTF-8')",
        "indique --encoding utf-16le o utf-16be, o guárdelo como UTF-8 (en una hoja de cálculo: 'CSV UTF-8')";
    /// Nothing in it.
    Empty: "the file is empty", "el archivo está vacío"; "is this the right file?", "¿es el archivo correcto?";
    /// The first row cannot be one of names.
    NoHeader: "line {0} is no header line", "la línea {0} no es de encabezados";
        "the first line names the columns", "la primera línea nombra las columnas";
    /// The header is in another encoding.
    HeaderText: "the header line is not {0}", "los encabezados no están en {0}";
        "say how the file is written with --encoding, or save it as UTF-8",
        "indique cómo está escrito el archivo con --encoding, o guárdelo como UTF-8";
    /// Two columns, one field.
    DuplicateColumn: "the columns '{0}' and '{1}' mean the same field",
        "las columnas '{0}' y '{1}' significan el mismo campo";
        "keep one of them", "deje una de ellas";
    /// A column that nobody knows, with one that is close.
    UnknownColumnNear: "column {0} ('{1}') is no field of {2}", "la columna {0} ('{1}') no es campo de {2}";
        "did you mean '{3}'? Rename or remove the column", "¿quiso decir '{3}'? Cambie el nombre o quite la columna";
    /// A column that nobody knows.
    UnknownColumn: "column {0} ('{1}') is no field of {2}", "la columna {0} ('{1}') no es campo de {2}";
        "rename or remove it; the columns are: {3}", "cambie el nombre o quítela; las columnas son: {3}";
    /// A column that the profile needs.
    MissingColumn: "the profile {0} needs the column '{1}'", "el perfil {0} necesita la columna '{1}'";
        "the file has: {2}. Is it the table that the profile was made for?",
        "el archivo tiene: {2}. ¿Es la tabla para la que se hizo el perfil?";
    /// A column that the profile does not know.
    ExtraColumn: "column {0} ('{1}') is not in the profile {2}", "la columna {0} ('{1}') no está en el perfil {2}";
        "add it to the profile, with 'ignore' if it shall not come in", "agréguela al perfil, con 'ignore' si no debe entrar";
    /// More cells than columns.
    ExtraCells: "{0} cells where the header has {1}", "{0} celdas donde el encabezado tiene {1}";
        "quote values that hold the separator", "entrecomille los valores que contienen el separador";
    /// Far too many.
    TooManyCells: "more than {0} cells", "más de {0} celdas"; "is this the right file?", "¿es el archivo correcto?";
    /// Too long.
    LongLine: "the line is longer than {0} bytes", "la línea tiene más de {0} bytes";
        "is this the right file? Rows end with a line break", "¿es el archivo correcto? Las filas terminan con un salto de línea";
    /// A quote that nobody closes.
    OpenQuote: "a quoted value does not end", "un valor entrecomillado no termina";
        "close it, or double quotes that belong to the value; a row has at most {0} lines",
        "ciérrelo, o duplique las comillas que son parte del valor; una fila tiene a lo sumo {0} líneas";
    /// No JSON, or not one object.
    Json: "at character {0}: {1}", "en el carácter {0}: {1}"; "write one object a line", "escriba un objeto por línea";
    /// A byte that stands for nothing, and that Windows-1252 would have.
    LooksLatin: "not {0}: byte 0x{1} at position {2}", "no es {0}: byte 0x{1} en la posición {2}";
        "it looks like Latin-1 or Windows-1252: give --encoding windows-1252, or save the file as UTF-8 (in a spreadsheet: 'CSV UTF-8')",
        "parece Latin-1 o Windows-1252: indique --encoding windows-1252, o guarde el archivo como UTF-8 (en una hoja de cálculo: 'CSV UTF-8')";
    /// A byte that stands for nothing.
    NotText: "not {0}: byte 0x{1} at position {2}", "no es {0}: byte 0x{1} en la posición {2}";
        "save the file as UTF-8", "guarde el archivo como UTF-8";
    /// UTF-8 in a file that is read as something else.
    LooksUtf8: "the value is UTF-8, the file is read as {0}", "el valor está en UTF-8, el archivo se lee como {0}";
        "give --encoding utf-8, or save the whole file in one encoding", "indique --encoding utf-8, o guarde todo el archivo en una sola codificación";
    /// A zero byte.
    Nul: "a byte of zero at position {0}", "un byte cero en la posición {0}";
        "the file is damaged or not a table: export it again", "el archivo está dañado o no es una tabla: expórtelo de nuevo";
    /// A row equal to an earlier one of this file.
    DuplicateRow: "the same record as line {0}", "el mismo registro que la línea {0}";
        "it goes in once", "entra una sola vez";
    /// A record that is stored or staged already.
    DuplicateRecord: "the same record is in already", "el mismo registro ya está";
        "it is kept once", "se conserva una sola vez";
    /// The identity of an earlier row, with other content.
    SameKeyRow: "another record with the same {0} stands in line {1}", "otro registro con el mismo {0} está en la línea {1}";
        "both go in: remove the one that is out of date", "ambos entran: elimine el que ya no esté vigente";
    /// The identity of a stored record, with other content.
    SameKeyRecord: "another record with the same {0} is in already", "ya hay otro registro con el mismo {0}";
        "both are kept: remove the one that is out of date", "ambos se conservan: elimine el que ya no esté vigente";
    /// A value that the profile's conversion does not take.
    Conversion: "the profile expects {0}", "el perfil espera {0}";
        "mend the value, or the conversion in the profile", "corrija el valor, o la conversión en el perfil";
    /// The file is not what it was.
    Changed: "the file changed while it was read", "el archivo cambió mientras se leía";
        "repeat the import when nobody writes to it: it goes on after the batches that are in",
        "repita la importación cuando nadie lo escriba: continúa después de los lotes que ya están";
    /// The record could not be read back.
    OwnFault: "{0}", "{0}"; "tell the makers of this software", "avise a quienes hacen este programa";
}

impl Words {
    /// What is wrong, and what to do about it.
    pub fn say(self, lang: Lang, parts: &[&str]) -> (String, String) {
        let (what, mend) = self.both(lang);
        (fill(what, parts), fill(mend, parts))
    }
}

/// `{0}`, `{1}`, … replaced.
pub(crate) fn fill(text: &str, parts: &[&str]) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let at = after.as_bytes().first().map_or(usize::MAX, |b| usize::from(b.wrapping_sub(b'0')));
        match (parts.get(at), after.get(1..2)) {
            (Some(part), Some("}")) => {
                out.push_str(part);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push('{');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_say_it_with_the_same_parts() {
        for words in Words::ALL {
            let (en, es) = (words.both(Lang::En), words.both(Lang::Es));
            let parts = |text: &str| (0..4).filter(|i| text.contains(&format!("{{{i}}}"))).collect::<Vec<_>>();
            assert_eq!(parts(en.0), parts(es.0), "{words:?}");
            assert_eq!(parts(en.1), parts(es.1), "{words:?}");
            assert_ne!(en.1, es.1, "{words:?}");
        }
        assert_eq!(fill("{0} of {1}, {x} {9} {", &["a", "{0}"]), "a of {0}, {x} {9} {");
    }
}
