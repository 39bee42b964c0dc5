//! Talking to the running node of a folder.

use std::io::ErrorKind;
use std::time::Duration;

use super::Context;
use super::output::Failure;
use crate::control::{ClientError, ControlClient};
use crate::control_api::{Answer, Command, Concluded};

/// How long a node may take for anything but a question.
const PATIENCE: Duration = Duration::from_secs(60);

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let text = error.to_string();
        match error {
            ClientError::NotRunning { .. } => Self::unreachable("not-running", text)
                .hint("start it with 'puente node run', or name its folder with --dir"),
            ClientError::Io(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Self::unreachable("no-answer", "the running node did not answer in time")
                    .hint("'puente node status' says how it is doing")
            }
            ClientError::Io(_) => Self::unreachable("no-answer", text).hint("look at the node's own output"),
            _ => Self::unreachable("other-version", text).hint("restart the node with this version of puente"),
        }
    }
}

/// The running node; none if none runs.
pub(super) fn connect(context: &Context) -> Result<Option<ControlClient>, Failure> {
    match ControlClient::connect(&context.dir.control()) {
        Ok(client) => Ok(Some(client)),
        Err(ClientError::NotRunning { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The running node, which must run.
pub(super) fn running(context: &Context) -> Result<ControlClient, Failure> {
    ControlClient::connect(&context.dir.control()).map_err(|error| {
        if context.dir.config().exists() {
            return error.into();
        }
        let message = format!("there is no node in {}", context.dir.path().display());
        Failure::usage("no-node", message)
            .hint("name the node's folder with --dir, or make one with 'puente node init'")
    })
}

/// One command; a refusal of the node's becomes a failure.
pub(super) fn call(
    client: &mut ControlClient,
    command: Command,
    patience: Option<Duration>,
) -> Result<Answer, Failure> {
    client.set_timeout(Some(patience.unwrap_or(PATIENCE)))?;
    accepted(client.call(command)?)
}

/// What the node answered, unless it refused.
pub(super) fn accepted(answer: Answer) -> Result<Answer, Failure> {
    match answer {
        Answer::Error { code, message, hint } => {
            let failure = match code.as_str() {
                "log-unavailable" => Failure::unavailable("log-unavailable", message),
                _ => Failure::usage("refused-by-node", message).details(serde_json::json!({"code": code})),
            };
            Err(failure.hint(hint))
        }
        answer => Ok(answer),
    }
}

/// Records an event; returns its index in the log.
pub(super) fn record(client: &mut ControlClient, event: puente_exchange::api::LocalEvent) -> Result<u64, Failure> {
    match call(client, Command::Event(event.into()), None)? {
        Answer::Concluded(concluded) => match *concluded {
            Concluded::Recorded { index } => Ok(index),
            Concluded::LogUnavailable => Err(log_unavailable()),
            Concluded::LogSuspended => Err(log_suspended()),
            _ => Err(unexpected()),
        },
        _ => Err(unexpected()),
    }
}

/// Why the log took no entry, in whatever it says so.
pub(crate) fn log_closed(concluded: &Concluded) -> Failure {
    match concluded {
        Concluded::LogSuspended => log_suspended(),
        _ => log_unavailable(),
    }
}

pub(super) fn log_unavailable() -> Failure {
    Failure::unavailable("log-unavailable", "the node's log cannot be written: nothing is recorded, asked or answered")
        .hint("mend the disk, then restart the node")
}

pub(super) fn log_suspended() -> Failure {
    Failure::unavailable("log-suspended", "the node's log takes no entries: it was restored, or it lost its tail")
        .hint("'puente node status' says which; 'puente log resume' or 'puente log successor' is the way on")
}

pub(crate) fn unexpected() -> Failure {
    Failure::unreachable("other-version", "the running node answered something else than was asked")
        .hint("restart the node with this version of puente")
}
