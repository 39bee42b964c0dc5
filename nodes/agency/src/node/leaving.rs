//! Leaving the federation: drain, end what is open, close the log with a final entry, hand over what others need.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use puente_charter::{Part, PartId};
use puente_exchange::api::{Conclusion, Input};
use puente_model::{CharterVector, LeafIndex};

use super::{CLOSING, DRAIN_LOOK, Node, concluded};
use crate::auditors::for_other_nations;
use crate::config::NodeDir;
use crate::control::failure;
use crate::control_api::{Answer, UnaskedPartner};
use crate::disk::{DiskError, ExportAsides, NodeDisk};
use crate::files;

/// What the handed over folder says about itself.
const ABOUT: &str = include_str!("../../samples/handover.txt");
/// Why the next annex suspends the node.
const REASON: &str = "left the federation";

fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

impl Node {
    /// Leaves for good; `to` is a folder that does not exist yet.
    pub(super) async fn leave(&self, reason: String, to: PathBuf) -> Answer {
        if !to.is_absolute() {
            return failure("path", "the folder must be absolute", "name it from the root on");
        }
        // Before anything is ended: that there is a place to hand over to.
        if let Err(error) = std::fs::create_dir(&to) {
            return failure("path", format!("{}: {error}", to.display()), "name a folder that does not exist yet");
        }
        self.drain().await;
        if let Err(answer) = self.end_all().await {
            return answer;
        }
        // Last, so that the closing annex follows everything that could be known.
        let (vector, unasked) = match self.driver.wish(|ticket| Input::CompareCharters { ticket }).await {
            Ok(Conclusion::Compared { vector, unasked }) => (vector, unasked),
            other => return concluded(other),
        };
        for (peer, why) in &unasked {
            tracing::warn!(%peer, why = why.as_str(), "whether this partner has newer charter parts is not known");
        }
        let (index, proven) = match self.driver.wish(|ticket| Input::Leave { ticket, reason }).await {
            Ok(Conclusion::Left { index, proven }) => (index, proven),
            other => return concluded(other),
        };
        tracing::warn!(entry = index.0, "this node has left the federation");
        self.shows(&vector).await;
        match self.hand_over(index, proven, &to).await {
            Ok((entries, draft)) => Answer::Left {
                index: index.0,
                entries,
                folder: to.display().to_string(),
                draft,
                unasked: unasked
                    .into_iter()
                    .map(|(peer, why)| UnaskedPartner { peer: peer.to_string(), why: why.as_str().to_owned() })
                    .collect(),
            },
            Err(why) => failure(
                "handover",
                format!("the node has left, but not everything could be handed over: {why}"),
                "mend the disk, then copy the folders log and charter of the node by hand",
            ),
        }
    }

    /// Ends what is open and delivers that, to whoever can be reached.
    async fn end_all(&self) -> Result<(), Answer> {
        match self.driver.wish(|ticket| Input::EndAll { ticket }).await {
            Ok(Conclusion::Recorded { .. }) => {}
            other => return Err(concluded(other)),
        }
        match tokio::time::timeout(CLOSING, self.driver.close_periods()).await {
            Ok(Ok(Conclusion::PeriodsClosed { unreachable, .. })) if unreachable.is_empty() => {}
            _ => {
                tracing::warn!("not every peer closed its periods; what it lacks is in the folder that is handed over")
            }
        }
        Ok(())
    }

    /// Waits until whoever looks sees the charter that is in force: the engine is a step ahead.
    async fn shows(&self, vector: &CharterVector) {
        let until = Instant::now() + CLOSING;
        while !self.now.charter.load().vector().covers(vector) && Instant::now() < until {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }

    async fn hand_over(&self, index: LeafIndex, proven: Vec<u8>, to: &Path) -> Result<(u64, String), String> {
        let (everyone, own) = (to.join("everyone"), to.join("own-auditors"));
        let (dir, disk_to, own_log) = (self.dir.clone(), everyone.join("log"), own.join("log"));
        let last = proven.clone();
        let exported = self.on_disk(move |disk: &NodeDisk| -> Result<u64, DiskError> {
            disk.publish()?;
            disk.export(&own_log, &ExportAsides::All)?;
            Ok(disk.export(&disk_to, &ExportAsides::Only(&for_other_nations))?.size)
        });
        let entries = match exported.await {
            Ok(entries) => entries,
            Err(Answer::Error { message, .. }) => return Err(message),
            Err(_) => return Err("the disk does not answer".to_owned()),
        };
        // After the logs: what they say of an order stands in them.
        let beside = [&everyone, &own].map(|folder| folder.join("log")).to_vec();
        match self.export_ledgers(beside).await {
            Ok(()) => {}
            Err(Answer::Error { message, .. }) => return Err(message),
            Err(_) => return Err("the engine does not answer".to_owned()),
        }
        let draft = self.closing_annex(index).map_err(|error| error.to_string())?;
        let name = draft.0.clone();
        let (to, folders) = (to.to_owned(), [everyone, own]);
        let written = tokio::task::spawn_blocking(move || write(&dir, &to, &folders, &last, &draft)).await;
        written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok((entries, name))
    }

    /// The annex that closes this node's log, to be signed by its nation: its file's name and text.
    fn closing_annex(&self, index: LeafIndex) -> io::Result<(String, String)> {
        let charter = self.now.charter.load_full();
        let (node, nation) = (&self.bearings.config.node, self.bearings.config.node.jurisdiction());
        let newest = charter.newest().into_iter().find(|id| id.nation.as_ref() == Some(&nation));
        let part = newest.and_then(|id: PartId| charter.part(&id).cloned());
        let Some(Part::Annex(mut annex)) = part.as_ref().map(|part| part.part().clone()) else {
            return Err(other("the charter has no annex of this nation"));
        };
        annex.previous = part.map(|part| part.hash());
        annex.number += 1;
        annex.common = charter.vector().common;
        for member in annex.members.iter_mut().filter(|member| member.uri == *node) {
            member.suspended = true;
            member.suspended_reason = Some(REASON.to_owned());
            for log in member.logs.iter_mut().filter(|log| log.closed_at.is_none()) {
                log.closed_at = Some(index.0 + 1);
            }
        }
        let text = annex.to_toml().map_err(other)?;
        Ok((format!("annex-{nation}-{}.toml", annex.number), text))
    }
}

fn write(
    dir: &NodeDir,
    to: &Path,
    folders: &[PathBuf; 2],
    last: &[u8],
    (name, text): &(String, String),
) -> io::Result<()> {
    // Also beside the node's own log, which stays where it is.
    files::replace(&dir.log().join("final"), last, false)?;
    for folder in folders {
        files::replace(&folder.join("log").join("final"), last, false)?;
        files::make_dir(&folder.join("charter"))?;
        for entry in std::fs::read_dir(dir.charter())? {
            let from = entry?.path();
            let file = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if from.is_file() && !file.starts_with('.') {
                files::replace(&folder.join("charter").join(&file), &files::read(&from)?, false)?;
            }
        }
        files::replace(&folder.join("tls.cert.pem"), &files::read(&dir.tls_cert())?, false)?;
    }
    files::make_dir(&to.join("draft"))?;
    files::replace(&to.join("draft").join(name), text.as_bytes(), false)?;
    files::replace(&to.join("README.txt"), ABOUT.as_bytes(), false)
}
