use std::path::PathBuf;

use puente_model::NodeUri;

/// Why a log could not be copied from a node. Never guilt: the audit could not tell.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// Not an address of a door.
    #[error("'{0}' is no node's door: write https://host:port/")]
    Url(String),
    /// The auditor's certificate or key.
    #[error("{path}: {why}")]
    Credentials {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A door wants a certificate.
    #[error("a node's door opens to an auditor's certificate alone: name it with --cert")]
    NoCredentials,
    /// A copy cannot be written or read.
    #[error("{path}: {why}")]
    Disk {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// What the server presented is not a certificate of a node of the charter.
    #[error("the server is no node of the charter: {0}")]
    NoNode(String),
    /// The node does not let this auditor in.
    #[error(
        "the node does not admit this auditor ({0}): is it in the charter that the node follows, and its certificate \
         issued by its own nation's root and valid now?"
    )]
    NotAdmitted(String),
    /// The charter knows no log keys by which the head could be judged, or the head is not signed by them.
    #[error("the node's head is not believed: {0}")]
    Head(String),
    /// The head is of a log that is not this node's.
    #[error("{node} presents the head of log {origin}, which is not its own")]
    OtherLog {
        /// Who answered.
        node: NodeUri,
        /// Whose log it presents.
        origin: String,
    },
    /// A folder holds an older copy, of another history than the copy that is here.
    #[error("it holds another history of {origin} than the copy in {here}: audit both with 'puente-audit reconcile'")]
    OtherHistory {
        /// The log.
        origin: String,
        /// The copy.
        here: String,
    },
    /// The server says what no node says.
    #[error("{path}: the server does not answer as a node does: {why}")]
    Protocol {
        /// Of which file.
        path: String,
        /// What it said.
        why: String,
    },
    /// A file that the head promises is not there.
    #[error("{0}: the node does not serve it, though its head covers it")]
    Missing(String),
    /// A file of a folder is not there.
    #[error("{0}: there is no such file; is it a folder that 'puente log export' wrote?")]
    Absent(String),
    /// More than the auditor wants to copy.
    #[error("the log is larger than {max} bytes: raise --copy-limit if the disk has room")]
    TooMuch {
        /// The limit.
        max: u64,
    },
    /// The line failed, again and again.
    #[error("{path}: no answer after {attempts} attempts: {why}")]
    Line {
        /// Of which file.
        path: String,
        /// How often it was tried.
        attempts: u32,
        /// What happened last.
        why: String,
    },
}
