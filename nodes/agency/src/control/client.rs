use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Reply, Request};
use crate::control_api::{Answer, Command, LINE_BYTES_MAX};

/// Why a command to the running node failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No node runs there.
    #[error("no node is running in this folder ({path}); start it with 'puente node run'")]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke or timed out.
    #[error("the running node does not answer: {0}")]
    Io(#[from] io::Error),
    /// The reply cannot be read: another version runs there.
    #[error("the running node's reply cannot be read; is it another version?")]
    Reply,
}

/// An answer among many.
#[derive(Debug, Clone)]
pub struct Numbered {
    /// Its command's number.
    pub id: u64,
    /// How long the node took, in microseconds.
    pub micros: u64,
    /// The answer.
    pub answer: Answer,
}

/// One connection to the running node. Blocks.
#[derive(Debug)]
pub struct ControlClient {
    sender: ControlSender,
    receiver: ControlReceiver,
}

/// Sends commands without waiting for replies.
#[derive(Debug)]
pub struct ControlSender {
    stream: UnixStream,
    next: u64,
    out: Vec<u8>,
}

/// Receives replies, in whatever order they come.
#[derive(Debug)]
pub struct ControlReceiver {
    reader: BufReader<UnixStream>,
    line: Vec<u8>,
}

impl ControlClient {
    /// Connects to a node's `control.sock`.
    ///
    /// # Errors
    /// No node runs there, or the socket is another's.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { path: path.to_owned() }
            }
            _ => ClientError::Io(error),
        })?;
        let reader = BufReader::with_capacity(64 * 1024, stream.try_clone()?);
        Ok(Self {
            sender: ControlSender { stream, next: 1, out: Vec::new() },
            receiver: ControlReceiver { reader, line: Vec::new() },
        })
    }

    /// How long to wait for each reply; none: as long as it takes.
    ///
    /// # Errors
    /// The duration is zero.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> Result<(), ClientError> {
        Ok(self.receiver.reader.get_ref().set_read_timeout(timeout)?)
    }

    /// Carries out one command.
    ///
    /// # Errors
    /// The node did not answer; that it refused is an answer.
    pub fn call(&mut self, command: Command) -> Result<Answer, ClientError> {
        let id = self.sender.send(command)?;
        loop {
            let numbered = self.receiver.receive()?;
            // Answers to commands that timed out before are passed over; number 0 answers what was not understood.
            if numbered.id == id || numbered.id == 0 {
                return Ok(numbered.answer);
            }
        }
    }

    /// Sends a command without waiting for its reply, whose number it returns; [`receive`](Self::receive) gets it.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, command: Command) -> Result<u64, ClientError> {
        self.sender.send(command)
    }

    /// The next answer, to whichever command. After a timeout the connection is of no more use.
    ///
    /// # Errors
    /// The connection broke or timed out, or the answer cannot be read.
    pub fn receive(&mut self) -> Result<Numbered, ClientError> {
        self.receiver.receive()
    }

    /// Takes it apart, to have many commands under way at once.
    pub fn split(self) -> (ControlSender, ControlReceiver) {
        (self.sender, self.receiver)
    }
}

impl ControlSender {
    /// Sends a command; its number comes back with the reply.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, command: Command) -> Result<u64, ClientError> {
        let id = self.queue(command)?;
        self.flush()?;
        Ok(id)
    }

    /// Queues a command for the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// The command cannot be written as JSON.
    pub fn queue(&mut self, command: Command) -> Result<u64, ClientError> {
        let id = self.next;
        self.next += 1;
        serde_json::to_writer(&mut self.out, &Request { id, command }).map_err(io::Error::from)?;
        self.out.push(b'\n');
        Ok(id)
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// The connection broke.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }
}

impl ControlReceiver {
    /// The next answer.
    ///
    /// # Errors
    /// The connection broke, or the answer cannot be read.
    pub fn receive(&mut self) -> Result<Numbered, ClientError> {
        self.line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if read > LINE_BYTES_MAX {
            return Err(ClientError::Reply);
        }
        let Reply { id, micros, answer } = serde_json::from_slice(&self.line).map_err(|_| ClientError::Reply)?;
        Ok(Numbered { id, micros, answer })
    }
}
