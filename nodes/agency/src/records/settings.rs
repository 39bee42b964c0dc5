//! `[records]` of `node.toml`: which store, and how to reach it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The longest connection string, in bytes.
pub const STORE_BYTES_MAX: usize = 1_024;
/// The longest name of a schema, table or column, in bytes: what PostgreSQL keeps of one.
pub const SQL_NAME_BYTES_MAX: usize = 63;
/// Connections to one server.
pub const CONNECTIONS_MAX: u8 = 16;
/// Lookups under way at one server.
pub const IN_FLIGHT_MAX: u16 = 4_096;
/// How long a statement may take, in milliseconds.
pub const STATEMENT_MILLIS: std::ops::RangeInclusive<u32> = 100..=60_000;

/// Where the records are. A connection string holds no password: [`RecordSettings::password_file`] names it.
#[derive(Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum StoreAt {
    /// `sqlite`: the file `records.db` in the node's folder.
    #[default]
    Folder,
    /// `sqlite:PATH`: an agency's own SQLite file, read in place through a mapping.
    File(PathBuf),
    /// `postgres://user@host/database`.
    Postgres(PostgresUrl),
}

impl fmt::Debug for StoreAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl StoreAt {
    /// What kind of store it is, for people.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Folder | Self::File(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }
}

/// A checked connection string and whether TLS is spoken to its server.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    text: String,
    /// As the driver wants it: without our `sslmode`.
    plain: String,
    tls: bool,
}

impl PostgresUrl {
    /// Connection string for the driver; who speaks TLS decides [`PostgresUrl::tls`].
    pub(super) fn for_driver(&self) -> &str {
        &self.plain
    }

    /// True if the connection is encrypted and the server's certificate and name are verified.
    pub const fn tls(&self) -> bool {
        self.tls
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (front, options) = text.split_once('?').unwrap_or((text, ""));
        let (mut kept, mut mode) = (Vec::new(), None);
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert" | "sslcert" | "sslkey", _)) => {
                    return Err("the server's authority is named by 'ca' under [records], not in 'store'".to_owned());
                }
                _ => kept.push(option),
            }
        }
        let mut plain = front.to_owned();
        if !kept.is_empty() {
            plain = format!("{plain}?{}", kept.join("&"));
        }
        // What the driver says of a bad string may quote it.
        let bad = || "'store' is no connection string: write postgres://user@host/database".to_owned();
        let config: tokio_postgres::Config = plain.parse().map_err(|_| bad())?;
        if config.get_password().is_some() {
            return Err(
                "'store' holds a password: take it out, and name a file with 'password_file' (mode 0600) or a \
                        variable with 'password_env'"
                    .to_owned(),
            );
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err("'store' names no server: write postgres://user@host/database, or \
                        postgres:///database?host=/run/postgresql for a local socket"
                .to_owned());
        }
        if config.get_user().is_none() || config.get_dbname().is_none() {
            return Err("'store' must name user and database: postgres://user@host/database".to_owned());
        }
        let near = config.get_hosts().iter().all(|host| match host {
            tokio_postgres::config::Host::Tcp(name) => {
                name == "localhost" || name.parse::<IpAddr>().is_ok_and(|at| at.is_loopback())
            }
            tokio_postgres::config::Host::Unix(_) => true,
        }) && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
        let tls = match mode {
            Some("verify-full" | "require") => true,
            Some("disable") => false,
            None => !near,
            Some(_) => {
                return Err("sslmode is verify-full (certificate and name are checked; 'require' means the same) or \
                            disable"
                    .to_owned());
            }
        };
        Ok(Self { text: text.to_owned(), plain, tls })
    }
}

impl TryFrom<String> for StoreAt {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > STORE_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(format!("'store' is longer than {STORE_BYTES_MAX} bytes or holds control characters"));
        }
        if text == "sqlite" {
            return Ok(Self::Folder);
        }
        if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            return Ok(Self::File(path.into()));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return PostgresUrl::parse(&text).map(Self::Postgres);
        }
        Err("'store' is sqlite, sqlite:PATH or postgres://user@host/database".to_owned())
    }
}

impl From<StoreAt> for String {
    fn from(at: StoreAt) -> Self {
        match at {
            StoreAt::Folder => "sqlite".to_owned(),
            StoreAt::File(path) => format!("sqlite:{}", path.display()),
            StoreAt::Postgres(url) => url.text,
        }
    }
}

/// `[records]`. Without it, records are in `records.db` in the node's folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordSettings {
    /// Which store.
    pub store: StoreAt,
    /// File with the password of the database user, relative to the node's folder, nobody else's to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Environment variable with the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// PEM certificates of the authorities that the server's certificate may come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Mapping file: the agency's own tables are read in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<PathBuf>,
    /// Schema of the node's own tables in PostgreSQL.
    pub schema: String,
    /// Connections for lookups.
    pub connections: u8,
    /// Lookups under way at once; more wait.
    pub in_flight: u16,
    /// How long a statement may take, in milliseconds.
    pub statement_timeout_ms: u32,
}

impl Default for RecordSettings {
    fn default() -> Self {
        Self {
            store: StoreAt::Folder,
            password_file: None,
            password_env: None,
            ca: None,
            mapping: None,
            schema: "puente".to_owned(),
            connections: 2,
            in_flight: 256,
            statement_timeout_ms: 5_000,
        }
    }
}

/// A setting that does not hold: its key, what is wrong, how to mend it.
pub(crate) type Misfit = (&'static str, String, &'static str);

/// What PostgreSQL and SQLite take as a name once it is quoted.
pub(super) fn is_sql_name(name: &str) -> bool {
    (1..=SQL_NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// The name of a schema, table or column in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl RecordSettings {
    /// True if nothing was configured.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// How long a statement may take.
    pub fn statement_timeout(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.statement_timeout_ms.into())
    }

    /// Checks what the settings say of each other.
    pub(crate) fn check(&self) -> Result<(), Misfit> {
        let misfit = |key, message: &str, mend| Err((key, message.to_owned(), mend));
        if self.password_file.is_some() && self.password_env.is_some() {
            let message = "'password_file' and 'password_env' both name a password";
            return misfit("password_env", message, "keep one of them");
        }
        match &self.store {
            StoreAt::Postgres(url) if url.tls && self.ca.is_none() => {
                let message = "TLS is spoken to the database, and no 'ca' says whose certificate is good";
                return misfit("store", message, "name the authority's PEM file with 'ca', or write sslmode=disable");
            }
            StoreAt::Postgres(_) => {}
            StoreAt::Folder if self.mapping.is_some() => {
                let message = "'mapping' is for an agency's own tables";
                return misfit("mapping", message, "name them: store = \"sqlite:PATH\" or \"postgres://…\"");
            }
            StoreAt::File(_) if self.mapping.is_none() => {
                let mend = "add mapping = \"mapping.toml\", or write store = \"sqlite\"";
                return misfit("store", "a SQLite file of the agency's own is read through a mapping", mend);
            }
            StoreAt::Folder | StoreAt::File(_) => {}
        }
        if !is_sql_name(&self.schema) {
            return misfit(
                "schema",
                "'schema' has 1 to 63 bytes and no control characters",
                "write schema = \"puente\"",
            );
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            let message = format!("'connections' is 1 to {CONNECTIONS_MAX}");
            return Err(("connections", message, "write connections = 2"));
        }
        if !(1..=IN_FLIGHT_MAX).contains(&self.in_flight) {
            return Err(("in_flight", format!("'in_flight' is 1 to {IN_FLIGHT_MAX}"), "write in_flight = 256"));
        }
        if !STATEMENT_MILLIS.contains(&self.statement_timeout_ms) {
            let (least, most) = (STATEMENT_MILLIS.start(), STATEMENT_MILLIS.end());
            let message = format!("'statement_timeout_ms' is {least} to {most}");
            return Err(("statement_timeout_ms", message, "write statement_timeout_ms = 5000"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RecordSettings, String> {
        let settings: RecordSettings = toml::from_str(text).map_err(|e| e.message().to_owned())?;
        settings.check().map_err(|(_, message, _)| message)?;
        Ok(settings)
    }

    #[test]
    fn where_records_are_reads_and_writes_back() {
        for text in [
            "store = \"sqlite\"",
            "store = \"sqlite:/srv/agency.db\"\nmapping = \"mapping.toml\"",
            "store = \"postgres://puente@localhost/records\"\npassword_env = \"PW\"\nconnections = 16",
            "store = \"postgresql:///records?user=puente&host=/run/postgresql\"\nin_flight = 4096",
            "store = \"postgres://puente@db.example:5433/records?sslmode=disable\"\nstatement_timeout_ms = 100",
        ] {
            let settings = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(parse(&toml::to_string(&settings).unwrap()), Ok(settings), "{text}");
        }
        assert_eq!(parse(""), Ok(RecordSettings::default()));
    }

    #[test]
    fn passwords_in_the_string_are_refused_and_never_repeated() {
        for text in [
            "postgres://puente:hunter2secret@localhost/records",
            "postgres:///records?user=puente&password=hunter2secret&host=localhost",
            "postgres://puente:hunter2secret@localhost:port/records",
            "postgres://puente@localhost/records?passwort=hunter2secret",
            "host=localhost password=hunter2secret",
            "mysql://root:hunter2secret@localhost",
        ] {
            let error = parse(&format!("store = \"{text}\"")).unwrap_err();
            assert!(!error.contains("hunter2secret"), "{error}");
            assert!(error.contains("store"), "{error}");
        }
        let settings = parse("store = \"postgres://puente@localhost/records\"").unwrap();
        assert!(!format!("{settings:?}").contains("localhost"), "where it is is the operator's");
    }

    #[test]
    fn tls_is_spoken_to_every_other_machine_unless_switched_off() {
        let tls = |at: &str| match StoreAt::try_from(at.to_owned()) {
            Ok(StoreAt::Postgres(url)) => Some(url.tls()),
            _ => None,
        };
        assert_eq!(tls("postgres://p@db.example/r"), Some(true));
        assert_eq!(tls("postgres://p@10.0.0.7/r"), Some(true));
        assert_eq!(tls("postgres://p@10.0.0.7/r?sslmode=disable"), Some(false));
        assert_eq!(tls("postgres://p@127.0.0.1/r"), Some(false));
        assert_eq!(tls("postgres://p@localhost/r?sslmode=verify-full"), Some(true));
        assert_eq!(tls("postgres:///r?user=p&host=/run/postgresql"), Some(false));
        for mode in ["allow", "prefer", "verify-ca", ""] {
            assert_eq!(tls(&format!("postgres://p@localhost/r?sslmode={mode}")), None, "{mode}");
        }
        assert!(parse("store = \"postgres://p@db.example/r\"").unwrap_err().contains("'ca'"));
        assert!(parse("store = \"postgres://p@db.example/r\"\nca = \"ca.pem\"").is_ok());
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let store = "store = \"postgres://p@localhost/r\"\n";
        for (key, good, bad) in [
            ("connections", "1", "0"),
            ("connections", "16", "17"),
            ("in_flight", "1", "0"),
            ("in_flight", "4096", "4097"),
            ("statement_timeout_ms", "60000", "60001"),
            ("statement_timeout_ms", "100", "99"),
        ] {
            assert!(parse(&format!("{store}{key} = {good}")).is_ok(), "{key} {good}");
            assert!(parse(&format!("{store}{key} = {bad}")).unwrap_err().contains(key), "{key} {bad}");
        }
        for (name, good) in [("p".repeat(63), true), ("p".repeat(64), false), (String::new(), false)] {
            assert_eq!(parse(&format!("{store}schema = \"{name}\"")).is_ok(), good);
        }
        let long = format!("postgres://p@localhost/{}", "r".repeat(STORE_BYTES_MAX));
        assert!(parse(&format!("store = \"{long}\"")).is_err());
        assert!(parse(&format!("store = \"{}\"", &long[..STORE_BYTES_MAX])).is_ok());
        assert!(parse("stor = \"sqlite\"").is_err());
        assert!(parse("store = \"sqlite:agency.db\"").unwrap_err().contains("mapping"));
        assert!(parse("mapping = \"mapping.toml\"").unwrap_err().contains("mapping"));
        assert!(parse(&format!("{store}password_env = \"A\"\npassword_file = \"b\"")).is_err());
    }
}
