//! The command line: help, parsing and completions come from this one definition.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use puente_model::{AuditorUri, Digest, Handling, Jurisdiction, Lang, NodeUri, OfficerId, QueryKind, Role};

use super::output::Failure;

/// What exit codes mean; stands at the end of every help text.
const EXITS: &str = "Exit codes:
  0  done; a question was answered, be it with no hit
  1  done, and the news is bad: refused, rows rejected, a case or check failed
  2  the command line, a file or a parameter is wrong; nothing was done
  3  a node or a peer could not be reached in time
  4  the log or the disk is not available, or this program is at fault
  5  there was nothing to do yet ('node renew --if-due')

Data goes to stdout, words to stderr. With --json, stdout holds exactly one
JSON value ('alert watch': one a line), errors too: {\"error\":{\"code\",\"message\",\"hint\"}}.";

/// Agencies of two or more nations answer each other's questions without pooling their data.
#[derive(Debug, Parser)]
#[command(name = "puente", version, after_help = EXITS, propagate_version = true)]
pub struct Cli {
    /// The node's folder.
    #[arg(long, global = true, default_value = ".", value_name = "FOLDER")]
    pub dir: PathBuf,
    /// Print exactly one JSON value on stdout, errors too.
    #[arg(long, global = true)]
    pub json: bool,
    /// Language of everything that people read: en or es; that of the locale unless given.
    #[arg(long, global = true, value_name = "LANG")]
    pub lang: Option<Lang>,
    /// File whose first line is the passphrase of the node's keys; asked for, where needed, unless given.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "passphrase_fd")]
    pub passphrase_file: Option<PathBuf>,
    /// Open file descriptor to read that passphrase from.
    #[arg(long, global = true, value_name = "N")]
    pub passphrase_fd: Option<u32>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A certificate authority, for a nation without one.
    #[command(subcommand)]
    Ca(CaCommand),
    /// The federation's signed rules and members.
    #[command(subcommand)]
    Charter(CharterCommand),
    /// Copy the node, running or stopped, into one encrypted file (age).
    Backup(super::backup::BackupArgs),
    /// How the node's private keys are kept.
    #[command(subcommand)]
    Keys(super::key_store::KeysCommand),
    /// Make a node's folder anew from a backup; --dir names the new folder.
    Restore(super::backup::RestoreArgs),
    /// The people who may ask through this node.
    #[command(subcommand)]
    Officer(OfficerCommand),
    /// Keys of the agency's own programs, which ask and answer for an officer over HTTP.
    #[command(subcommand)]
    ApiKey(super::api_key::ApiKeyCommand),
    /// Changes that two operators approve together, where operators.toml names them.
    #[command(subcommand)]
    Approval(super::approval::ApprovalCommand),
    /// Make, run and look at a node.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Bring records in from CSV or JSON Lines.
    Import(ImportArgs),
    /// Ask another agency a question; look at questions that were put earlier.
    Query(Box<super::outbox::QueryCommand>),
    /// Questions of other agencies that wait for a person's decision here.
    #[command(subcommand)]
    Inbox(super::inbox::InboxCommand),
    /// This node's audit log.
    #[command(subcommand)]
    Log(LogCommand),
    /// Peers: who they are, which step towards one fails, whom this node exchanges nothing with.
    #[command(subcommand)]
    Peer(super::peer::PeerCommand),
    /// Groups of the charter's corridors, and of two: who is in, fresh keys, who goes and who comes.
    #[command(subcommand)]
    Group(super::group::GroupCommand),
    /// Alerts to everybody in a group: publish, acknowledge, cancel, watch.
    #[command(subcommand)]
    Alert(super::alert::AlertCommand),
    /// The rules of what may be asked and answered.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Look at everything that the node needs, from here to each partner; works whether it runs or not.
    Doctor,
    /// Record types and kinds of questions: fields, labels, keys, schemas, templates and examples.
    #[command(subcommand)]
    Catalogue(super::catalogue::CatalogueCommand),
    /// The record store.
    #[command(subcommand)]
    Records(super::records::RecordsCommand),
    /// Two nations and four agencies on this machine: real processes, sockets, questions and audits. --dir names a
    /// new or empty folder for everything; one for temporary files unless given.
    Demo(DemoArgs),
    /// Learn to audit: invented logs with something to be found in them, or nothing.
    Lessons(super::lessons::LessonsArgs),
    /// Gather what somebody needs who helps: versions, checks, numbers and log lines, never an identifier or a secret.
    Support(super::support::SupportArgs),
    /// Write the manual pages of every command, in both languages.
    Man(super::man::ManArgs),
    /// Print a script that completes commands in a shell.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// Shells that completions are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

/// `puente ca`.
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Make a nation's root key and certificate.
    Init {
        /// The nation, for example mx.
        #[arg(long, value_name = "NATION")]
        jurisdiction: Jurisdiction,
        /// Folder for root.key.pem and root.cert.pem.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// Kind of key.
        #[arg(long, value_enum, default_value_t = KeyAlgorithm::P256)]
        algorithm: KeyAlgorithm,
        /// Days until the root ends.
        #[arg(long, default_value_t = 3650, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=7300))]
        days: u32,
    },
    /// Issue a node's certificate, or the one that an auditor presents to nodes.
    Issue {
        /// The authority's folder.
        #[arg(long, value_name = "FOLDER")]
        ca: PathBuf,
        /// The node, for example puente://mx/fge-bc/n1.
        #[arg(long, value_name = "URI", required_unless_present_any = ["csr", "auditor"])]
        node: Option<NodeUri>,
        /// The auditor instead, as the charter names it, for example puente-auditor://mx/auditoria-a.
        #[arg(long, value_name = "URI", conflicts_with = "node")]
        auditor: Option<AuditorUri>,
        /// A signing request (PEM): the key stays with the node that made it.
        #[arg(long, value_name = "FILE")]
        csr: Option<PathBuf>,
        /// Days until the certificate ends.
        #[arg(long, default_value_t = 14, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=90))]
        days: u32,
        /// Folder for tls.cert.pem (and tls.key.pem, without a signing request).
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Renew a node's certificate on its own request: the key of the certificate in force vouches for it.
    Renew(super::ca::RenewArgs),
    /// Show what a certificate says.
    Show {
        /// PEM or DER.
        file: PathBuf,
    },
}

/// Kinds of certificate keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyAlgorithm {
    /// ECDSA over P-256.
    P256,
    /// Ed25519.
    Ed25519,
}

/// `puente charter`.
#[derive(Debug, Subcommand)]
pub enum CharterCommand {
    /// Make a key: to sign charter parts, a log's, or an auditor's sealing key.
    Keygen {
        /// Name of the key; for a log key, the log's origin.
        #[arg(long)]
        name: String,
        /// What the key is for.
        #[arg(long, value_enum, default_value_t = KeyUse::Governance)]
        kind: KeyUse,
        /// File for the private key.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Make a federation's first parts from a description, with every hash filled in.
    Create {
        /// The description (TOML).
        description: PathBuf,
        /// Folder for the parts.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// Folder with more record types that the federation's catalogue holds.
        #[arg(long, value_name = "FOLDER")]
        catalogue_extra: Option<PathBuf>,
    },
    /// Draft the version after a part: number, hashes and versions are filled in; edit it, then sign it.
    Propose(super::propose::ProposeArgs),
    /// Sign a part: appends a line to FILE.sig.
    Sign {
        /// The part (TOML).
        file: PathBuf,
        /// The private key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Name of the key in the charter; the key file's name without its ending, unless given.
        #[arg(long)]
        name: Option<String>,
        /// The common part in force, for a key that this draft of the next one replaces.
        #[arg(long, value_name = "PART")]
        before: Option<PathBuf>,
    },
    /// Adopt the newer parts of a folder: verified, kept, recorded, and in force at once where the node runs.
    Adopt {
        /// Folder with the parts and their signatures; parts that are in force already may stand in it too.
        folder: PathBuf,
    },
    /// Leave the federation for good: close the log with a final entry, hand over what others need to verify it.
    Leave(super::leave::LeaveArgs),
    /// Verify every part, signature and version against the pinned hash.
    Verify {
        /// Folder with every part.
        folder: PathBuf,
        /// Hash of common part 1, given out of band; FOLDER/pin unless given.
        #[arg(long, value_name = "HASH")]
        pin: Option<Digest>,
    },
    /// Show who is in the charter and under which rules.
    Show {
        /// Folder with every part.
        folder: PathBuf,
        /// Hash of common part 1; FOLDER/pin unless given.
        #[arg(long, value_name = "HASH")]
        pin: Option<Digest>,
    },
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyUse {
    /// Signs charter parts (Ed25519).
    Governance,
    /// Signs a log's heads (Ed25519).
    Log,
    /// Opens what is sealed to an auditor for a quarter (X25519).
    Seal,
}

/// `puente officer`.
#[derive(Debug, Subcommand)]
pub enum OfficerCommand {
    /// Let a person ask through this node.
    Add {
        /// Individual id within the agency, never used again, for example o-1042.
        id: OfficerId,
        /// The person's name.
        #[arg(long)]
        name: String,
        /// The person's role.
        #[arg(long)]
        role: Role,
        /// Last day of the grant, for example 2026-12-31.
        #[arg(long, value_name = "DATE")]
        expires: String,
    },
    /// List everybody, expired and revoked ones too.
    List,
    /// End a person's grant now; or everybody's, with every API key.
    Revoke {
        /// The person's id.
        #[arg(required_unless_present = "all")]
        id: Option<OfficerId>,
        /// Every grant and every API key of this node at once, as when the government changes.
        #[arg(long, conflicts_with = "id", requires = "reason")]
        all: bool,
        /// Why everybody's access ends; it stands in the log's entries.
        #[arg(long, value_name = "TEXT", requires = "all", conflicts_with = "id")]
        reason: Option<String>,
    },
    /// Grant access in an emergency: for a day at most, with its reason in the log, and to be reviewed within three days.
    BreakGlass {
        /// Individual id within the agency, for this access alone; never used again.
        id: OfficerId,
        /// The person's name.
        #[arg(long)]
        name: String,
        /// The person's role.
        #[arg(long)]
        role: Role,
        /// For how many hours.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=24))]
        hours: u8,
        /// What cannot wait for an ordinary grant.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Write down what the review of an access in an emergency found.
    Review {
        /// The id of that access.
        id: OfficerId,
        /// What was found.
        #[arg(long, value_name = "TEXT")]
        found: String,
    },
}

/// `puente node`.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Make a node: folder, keys, configuration, example policies.
    Init {
        /// The node's name, for example puente://mx/fge-bc/n1.
        #[arg(long)]
        uri: NodeUri,
        /// UDP address to listen on.
        #[arg(long, default_value = "127.0.0.1:7400", value_name = "ADDRESS")]
        listen: std::net::SocketAddr,
        /// Address that peers dial, for the annex; the listening address unless given.
        #[arg(long, value_name = "HOST:PORT")]
        endpoint: Option<String>,
        /// The agency's name in English.
        #[arg(long, value_name = "TEXT")]
        name_en: Option<String>,
        /// The agency's name in Spanish.
        #[arg(long, value_name = "TEXT")]
        name_es: Option<String>,
        /// The agency's role in the charter, for example state-prosecutor.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// Issue the certificate at once with this authority.
        #[arg(long, value_name = "FOLDER")]
        ca: Option<PathBuf>,
        /// Take the charter (parts, signatures, pin) from this folder.
        #[arg(long, value_name = "FOLDER")]
        charter: Option<PathBuf>,
    },
    /// Run the node until it is told to stop; one line of JSON on stdout says when it is ready.
    Run {
        /// Log lines as JSON.
        #[arg(long)]
        json_logs: bool,
        /// Leave the periods open when the node stops.
        #[arg(long)]
        leave_periods_open: bool,
        /// Do not let the kernel cut packets (GSO), for network cards that get it wrong.
        #[arg(long)]
        no_segmentation_offload: bool,
        /// Stop when standard input ends, that is when the program that started the node ends.
        #[arg(long, hide = true)]
        until_eof: bool,
    },
    /// Check what a start needs: node.toml, keys, certificate, charter, policies. Starts nothing and changes nothing, whether a
    /// node runs or not.
    Check,
    /// One screen: peers, log, charter, days to expiry; the root cause first.
    Status,
    /// Say whether this program can open what lies in the node's folder; changes nothing. Before an upgrade, and before going back.
    Formats,
    /// Read certificate, charter folder and policies again, as SIGHUP does; what does not hold changes nothing.
    Reload,
    /// Renew the node's certificate: a fresh key, a request to the authority, the new certificate in force at once.
    Renew(super::renew::RenewArgs),
    /// Stop the running node, with its periods closed and its log published.
    Stop,
}

/// Who plays in a demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Four agencies: questions of every kind, a corridor, crashes, dishonest operators.
    Agencies,
    /// Many small municipal nodes in one corridor.
    SafeCities,
}

/// `puente demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// What is played.
    #[arg(long, value_enum, default_value_t = Scenario::Agencies)]
    pub scenario: Scenario,
    /// Municipalities of the scenario safe-cities.
    #[arg(long, default_value_t = 22, value_name = "N", value_parser = clap::value_parser!(u32).range(i64::from(crate::demo::CITIES_FEWEST)..=i64::from(crate::demo::CITIES_MOST)))]
    pub cities: u32,
    /// Seed of the invented records: the same seed gives the same records.
    #[arg(long, default_value_t = 42, value_name = "N")]
    pub seed: u64,
    /// Records of each agency.
    #[arg(long, default_value_t = 2_000, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub records: u32,
    /// Leave the nodes running until Ctrl-C.
    #[arg(long)]
    pub serve: bool,
}

/// `puente import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file; '-' is standard input.
    pub file: PathBuf,
    /// Record type of the catalogue, for example Vehicle.
    #[arg(long = "type", value_name = "TYPE", required_unless_present_any = ["profile", "profile_file"])]
    pub record_type: Option<String>,
    /// A published table that this program knows: cbp-seizures, sesnsp.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["record_type", "profile_file"])]
    pub profile: Option<String>,
    /// A profile of your own (TOML): how the columns of a table become fields.
    #[arg(long, value_name = "FILE", conflicts_with = "record_type")]
    pub profile_file: Option<PathBuf>,
    /// How the file's characters are written; found out unless given.
    #[arg(long, value_enum)]
    pub encoding: Option<Encoding>,
    /// How the file is written; by its name unless given.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// On whose authority or from which register the records come.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub authority: String,
    /// Accept values of this column whose check digit does not hold, with the reason.
    #[arg(long = "override", value_name = "COLUMN=REASON")]
    pub overrides: Vec<String>,
    /// Write what there is to say about rows to this file (CSV).
    #[arg(long, value_name = "FILE")]
    pub errors: Option<PathBuf>,
    /// Invented records, for training: kept apart, found by questions with --training and by no other.
    #[arg(long)]
    pub training: bool,
    /// Check everything, bring nothing in.
    #[arg(long)]
    pub dry_run: bool,
}

/// Encodings of imported files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Encoding {
    /// UTF-8.
    #[value(name = "utf-8", alias = "utf8")]
    Utf8,
    /// ISO 8859-1.
    #[value(name = "latin-1", aliases = ["latin1", "iso-8859-1"])]
    Latin1,
    /// Windows-1252, as spreadsheets write it.
    #[value(name = "windows-1252", aliases = ["cp1252", "ansi"])]
    Windows1252,
    /// UTF-16, little end first.
    #[value(name = "utf-16le")]
    Utf16Le,
    /// UTF-16, big end first.
    #[value(name = "utf-16be")]
    Utf16Be,
}

/// Formats of imported files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values, with a header line.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// `puente query`, and what `puente policy explain` judges.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// Kind of question, for example vehicle.status.
    pub kind: QueryKind,
    /// Node that is asked, for example puente://us/tx-dps/n1.
    #[arg(long, value_name = "URI", required_unless_present = "group")]
    pub to: Option<NodeUri>,
    /// Group whose members are all asked, for example tijuana-san-diego: each judges and answers by itself.
    #[arg(long, value_name = "NAME", conflicts_with = "to")]
    pub group: Option<String>,
    /// Why it is asked.
    #[arg(long)]
    pub purpose: String,
    /// Legal basis of the charter.
    #[arg(long)]
    pub basis: String,
    /// Who asks.
    #[arg(long, value_name = "ID")]
    pub officer: OfficerId,
    /// Case file.
    #[arg(long = "case", value_name = "REF")]
    pub case_ref: String,
    /// In training: about invented records alone, marked everywhere, never taken for a real question.
    #[arg(long)]
    pub training: bool,
    /// 1: hit or no hit; 2: core data; 3: evidence.
    #[arg(long, default_value = "1", value_name = "N")]
    pub step: puente_model::Step,
    /// Steps 2 and 3: leaf hash of the step-1 answer that a human confirmed.
    #[arg(long, value_name = "LEAFHASH")]
    pub confirms: Option<Digest>,
    /// Steps 2 and 3: statement of facts.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub facts: String,
    /// The offence.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub offence: String,
    /// Any parameter of the kind.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// VIN.
    #[arg(long)]
    pub vin: Option<String>,
    /// Plate.
    #[arg(long)]
    pub plate: Option<String>,
    /// Who issued the plate, for example US-TX or MX-BCN.
    #[arg(long, value_name = "CODE")]
    pub jurisdiction: Option<String>,
    /// Serial number; '?' for one unreadable character.
    #[arg(long)]
    pub serial: Option<String>,
    /// Make.
    #[arg(long)]
    pub make: Option<String>,
    /// Calibre.
    #[arg(long, alias = "calibre")]
    pub caliber: Option<String>,
    /// Deadline of the answer: 30s, 10m, 2h, 3d; where it is beyond 10m the command does not wait.
    #[arg(long, default_value = "60s", value_name = "TIME")]
    pub due: String,
    /// Urgent, with the justification.
    #[arg(long, value_name = "JUSTIFICATION")]
    pub urgent: Option<String>,
    /// The strictest handling code that the asker accepts.
    #[arg(long, default_value = "H2", value_name = "CODE")]
    pub handling: Handling,
}

impl QueryArgs {
    /// The one node that is asked.
    ///
    /// # Errors
    /// A group is named instead.
    pub(super) fn node(&self) -> Result<&NodeUri, Failure> {
        self.to.as_ref().ok_or_else(|| {
            Failure::usage("to", "this is said of one node at a time").hint("name it with --to instead of --group")
        })
    }
}

/// `puente log`.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Show entries; no identifiers of persons stand in them.
    Show {
        /// First entry.
        #[arg(long, default_value_t = 0, value_name = "N")]
        from: u64,
        /// At most this many.
        #[arg(long, default_value_t = 20, value_name = "M", value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
    },
    /// Write the proof that an entry stands in the log (C2SP tlog-proof).
    Prove {
        /// Index, or leaf hash.
        entry: String,
        /// File for the proof; stdout unless given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// File for the same as a COSE receipt (RFC 9942), signed with the log's key.
        #[arg(long, value_name = "FILE")]
        cose: Option<PathBuf>,
    },
    /// Let a restored log take entries again, once every partner has agreed to it.
    Resume,
    /// Close this log and prepare the one that follows it: a new key, and what the annex must say.
    Successor,
    /// End this log for good because the store's key is lost: what the annex must say of a node that goes on under another name.
    Abandon,
    /// Begin the log that the annex names after this one.
    Switch,
    /// Copy the published log for an auditor.
    Export {
        /// Folder for the copy.
        folder: PathBuf,
        /// Whose auditor: veiled headers go to the own nation's only.
        #[arg(long, value_enum, default_value_t = Audience::Own)]
        auditor: Audience,
        /// Number of an earlier log of this node, which was closed; the open one unless given.
        #[arg(long, value_name = "K")]
        log: Option<u32>,
    },
}

/// Whose auditor gets a copy of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Audience {
    /// An auditor of the own nation.
    Own,
    /// An auditor of another nation.
    Foreign,
}

/// `puente policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Validate every rule; needs no running node.
    Check {
        /// Folder with Cedar files; the node's unless given.
        folder: Option<PathBuf>,
    },
    /// Say which rule decides a question and what would have to differ; asks nobody.
    Explain(Box<ExplainArgs>),
    /// Judge a table of cases.
    Test {
        /// The table; the node's policies/cases.toml unless given.
        cases: Option<PathBuf>,
    },
}

/// `puente policy explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Judge as the holder: may this node answer the question if TO's agency asks it.
    #[arg(long)]
    pub inbound: bool,
    /// Role of the officer, where the officer is not this node's.
    #[arg(long)]
    pub role: Option<Role>,
    /// The question.
    #[command(flatten)]
    pub query: QueryArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }
}
