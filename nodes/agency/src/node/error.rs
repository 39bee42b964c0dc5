//! Why a node does not start, and what mends it.

use std::io;

use puente_audit_log::KeyError;
use puente_exchange::OpenError;

use crate::api::ApiError;
use crate::approval::ApprovalError;
use crate::auditors::DoorError;
use crate::control::ServeError;
use crate::disk::DiskError;
use crate::keys::{RoomError, TokenError};
use crate::load::LoadError;
use crate::net::{IdentityError, NetError};
use crate::officers::OfficerBookError;
use crate::ops;
use crate::records::RecordsError;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Configuration, charter, catalogue or policies.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A key, the certificate, or what the node keeps of its charter and policies cannot be read.
    #[error("{path}: {error}")]
    Key {
        /// Which file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The log's key is unusable.
    #[error("the log's key is unusable: {0}")]
    LogKey(#[from] KeyError),
    /// The token with the private keys.
    #[error(transparent)]
    Token(TokenError),
    /// The token's PIN.
    #[error("the token cannot be opened: {0}")]
    Pin(io::Error),
    /// The TLS key or certificate is unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// What is kept of the groups.
    #[error(transparent)]
    Groups(#[from] puente_exchange::GroupsError),
    /// The officers cannot be read.
    #[error(transparent)]
    Officers(#[from] OfficerBookError),
    /// Operators or approvals cannot be read.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// Other policies than those that the log names, without two operators' approval.
    #[error("the policies are not those that the log names, and {approved} of 2 operators have approved them")]
    NotApproved {
        /// How many did.
        approved: usize,
    },
    /// Journal, log or stores.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The record store.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// Charter, log and store do not fit together.
    #[error(transparent)]
    Engine(#[from] OpenError),
    /// The charter folder holds less than the log says was adopted.
    #[error("the charter folder holds {found}, but this node adopted {known}: a charter never goes back")]
    GoesBack {
        /// What the folder holds.
        found: puente_model::CharterVector,
        /// What the log says.
        known: puente_model::CharterVector,
    },
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The auditors' door.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The API's door.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ServeError),
    /// The door of metrics and health.
    #[error(transparent)]
    Ops(#[from] ops::DoorError),
    /// The operating system gives no threads, signals or randomness.
    #[error("the operating system refuses {what}: {error}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
}

impl From<RoomError> for RunError {
    fn from(error: RoomError) -> Self {
        match error {
            RoomError::File { path, error } => Self::Key { path, error },
            RoomError::Pin(error) => Self::Pin(error),
            RoomError::Token(error) => Self::Token(error),
            RoomError::Log(error) => Self::LogKey(error),
            RoomError::Identity(error) => Self::Identity(error),
        }
    }
}

impl RunError {
    /// Stable name of the cause.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Load(error) => error.code(),
            Self::Key { .. } | Self::LogKey(_) => "key",
            Self::Token(_) | Self::Pin(_) => "token",
            Self::Identity(_) => "certificate",
            Self::Groups(_) => "groups",
            Self::Officers(_) => "officers",
            Self::Approval(error) => error.code(),
            Self::NotApproved { .. } => "not-approved",
            Self::Disk(_) | Self::Records(RecordsError::Disk(_)) => "disk",
            Self::Records(_) => "records",
            Self::Engine(OpenError::Left(_)) => "left",
            Self::Engine(_) => "engine",
            Self::GoesBack { .. } => "charter-goes-back",
            Self::Net(_) => "network",
            Self::Door(_) => "auditors-door",
            Self::Api(_) => "api",
            Self::Control(ServeError::Running(_)) => "already-running",
            Self::Control(_) => "control-socket",
            Self::Ops(_) => "ops",
            Self::System { .. } => "system",
        }
    }

    /// What to do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::Load(error) => error.mend(),
            Self::Key { .. } | Self::LogKey(_) => "make a node with 'puente node init', or restore its keys".to_owned(),
            Self::Token(error) => error.mend().to_owned(),
            Self::Pin(_) => "give the PIN: 'pin_file' of [keys], the credential 'puente.pin', or a terminal".to_owned(),
            Self::Identity(_) => "issue a certificate for this node with 'puente ca issue'".to_owned(),
            Self::Groups(_) => "restore the evidence store from a backup; the groups are entered anew then".to_owned(),
            Self::Officers(_) => "mend officers.toml".to_owned(),
            Self::Approval(error) => error.mend().to_owned(),
            Self::NotApproved { .. } => {
                "have two operators approve them ('puente approval sign'), or put the former policies back".to_owned()
            }
            Self::Disk(_) => "do not delete anything; read the message, then mend or restore the disk".to_owned(),
            Self::Records(error) => error.mend(),
            Self::Engine(OpenError::Left(_)) => {
                "its history is in this folder and in the one that 'puente charter leave' wrote; to come back, make a node \
                 of another name"
                    .to_owned()
            }
            Self::Engine(_) => "charter, keys and log must belong to this node".to_owned(),
            Self::GoesBack { .. } => {
                "put the missing parts back; any member has them: puente charter adopt FOLDER".to_owned()
            }
            Self::Net(_) => "check 'listen' in node.toml and who else uses the port".to_owned(),
            Self::Door(_) => "check [audit] in node.toml and who else uses the port".to_owned(),
            Self::Api(_) => "check [api] in node.toml, the files that it names, and who else uses the port".to_owned(),
            Self::Control(_) => "one node runs in one folder".to_owned(),
            Self::Ops(_) => "check 'listen' of [ops] in node.toml and who else uses the port".to_owned(),
            Self::System { .. } => "check the limits of the user that runs the node".to_owned(),
        }
    }
}
