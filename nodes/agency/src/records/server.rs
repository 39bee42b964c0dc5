//! One PostgreSQL server: connections to it, and its errors in words that hold no value of a record or question.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use zeroize::Zeroizing;

use super::RecordsError;
use super::settings::{PostgresUrl, RecordSettings};
use super::tls::Connector;
use crate::config::NodeDir;

/// How long a connection may take to be made.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a silent connection is trusted before the kernel asks.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// How long sent bytes may stay unacknowledged.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);
/// The longest password, in bytes.
const PASSWORD_BYTES_MAX: u64 = 4_096;

/// What moves a connection; ends when it ends.
pub(super) type Moving = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

/// Where the password is. Read anew for each connection, so that a new one needs no restart.
#[derive(Clone)]
enum Password {
    None,
    File(PathBuf),
    Env(String),
}

/// How to reach a server.
#[derive(Clone)]
pub(super) struct Server {
    config: tokio_postgres::Config,
    password: Password,
    tls: Option<Connector>,
    statement_timeout_ms: u32,
}

impl Server {
    pub(super) fn new(dir: &NodeDir, url: &PostgresUrl, settings: &RecordSettings) -> Result<Self, RecordsError> {
        let at = |path: &Path| dir.path().join(path);
        let bad = || RecordsError::Settings("'store' is no connection string".to_owned());
        let mut config: tokio_postgres::Config = url.for_driver().parse().map_err(|_| bad())?;
        config
            .application_name("puente")
            .connect_timeout(CONNECT_MAX)
            .keepalives_idle(KEEPALIVE_IDLE)
            .tcp_user_timeout(UNACKNOWLEDGED_MAX);
        let tls = match (&settings.ca, url.tls()) {
            (Some(ca), true) => {
                let path = at(ca);
                let named = |error| RecordsError::Settings(format!("{}: {error}", path.display()));
                config.ssl_mode(tokio_postgres::config::SslMode::Require);
                Some(Connector::new(&path).map_err(named)?)
            }
            (None, true) => return Err(RecordsError::Settings("TLS to the database needs 'ca'".to_owned())),
            (_, false) => {
                config.ssl_mode(tokio_postgres::config::SslMode::Disable);
                None
            }
        };
        let password = match (&settings.password_file, &settings.password_env) {
            (Some(file), _) => Password::File(at(file)),
            (None, Some(name)) => Password::Env(name.clone()),
            (None, None) => Password::None,
        };
        Ok(Self { config, password, tls, statement_timeout_ms: settings.statement_timeout_ms })
    }

    /// How long a statement may take.
    pub(super) fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms.into())
    }

    /// A connection whose session is set up. With `only_read`, the server refuses every change in it.
    ///
    /// The second half must be polled for the first to do anything.
    pub(super) async fn connect(&self, only_read: bool) -> Result<(Client, Moving), String> {
        let mut config = self.config.clone();
        if let Some(password) = self.password.read()? {
            config.password(password.as_slice());
        }
        let said = |error| describe(&error);
        let (client, mut moving): (Client, Moving) = match &self.tls {
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await.map_err(said)?;
                (client, Box::pin(connection))
            }
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(said)?;
                (client, Box::pin(connection))
            }
        };
        let session = format!(
            "SET statement_timeout = {0}; SET lock_timeout = {0}; SET idle_in_transaction_session_timeout = '60s'; \
             SET datestyle = 'ISO, YMD'; SET standard_conforming_strings = on; SET plan_cache_mode = force_generic_plan; \
             SET default_transaction_read_only = {1}",
            self.statement_timeout_ms,
            if only_read { "on" } else { "off" },
        );
        let set_up = tokio::select! {
            done = client.batch_execute(&session) => done.map_err(said),
            ended = &mut moving => Err(ended.err().map_or_else(|| "the server hung up".to_owned(), said)),
            () = tokio::time::sleep(CONNECT_MAX) => Err("the server does not answer".to_owned()),
        };
        set_up.map(|()| (client, moving))
    }
}

impl Password {
    fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        let path = match self {
            Self::None => return Ok(None),
            Self::Env(name) => {
                use std::os::unix::ffi::OsStringExt as _;
                let value = std::env::var_os(name).ok_or_else(|| format!("the variable {name} is not set"))?;
                return Ok(Some(Zeroizing::new(value.into_vec())));
            }
            Self::File(path) => path,
        };
        use std::os::unix::fs::PermissionsExt as _;
        let named = |error: std::io::Error| format!("{}: {error}", path.display());
        let meta = std::fs::metadata(path).map_err(named)?;
        if meta.permissions().mode() & 0o077 != 0 {
            return Err(format!("{}: others may read it; chmod 600 it", path.display()));
        }
        if meta.len() > PASSWORD_BYTES_MAX {
            return Err(format!("{}: larger than {PASSWORD_BYTES_MAX} bytes", path.display()));
        }
        let mut text = Zeroizing::new(std::fs::read(path).map_err(named)?);
        while text.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
            text.pop();
        }
        Ok(Some(text))
    }
}

/// Classes of SQLSTATE whose messages name connections, rights, tables and columns, never a value.
const SAID_CLASSES: [&str; 9] = ["08", "0A", "25", "28", "3D", "3F", "42", "53", "57"];

/// A server's error for the operator. Messages of other classes may quote values: only their code is said.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let code = db.code().code();
        return if *db.code() == SqlState::QUERY_CANCELED {
            "the database took longer than 'statement_timeout_ms'".to_owned()
        } else if SAID_CLASSES.iter().any(|class| code.starts_with(class)) {
            format!("the database says {code}: {}", db.message())
        } else {
            format!("the database says {code}")
        };
    }
    let mut text = error.to_string();
    // What lies below: the operating system or TLS.
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.downcast_ref::<std::io::Error>().is_some() || cause.downcast_ref::<rustls::Error>().is_some() {
            text = format!("{text}: {cause}");
        }
        source = cause.source();
    }
    text
}
