use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;

/// What an answer says after its headers.
#[derive(Debug)]
pub struct Body(Source);

#[derive(Debug)]
enum Source {
    Whole(Option<Bytes>),
    Pieces { pieces: mpsc::Receiver<io::Result<Bytes>>, left: u64 },
}

/// Feeds a body piece by piece; a client that reads slowly makes the sender wait.
pub type Chunks = mpsc::Sender<io::Result<Bytes>>;

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Source::Whole((!bytes.is_empty()).then_some(bytes)))
    }
}

impl Body {
    /// A body of exactly `bytes` that comes in pieces, at most `waiting` of them in memory. A sender that is dropped
    /// early, sends an error or sends more breaks the connection: the client never takes half an answer for whole.
    pub fn pieces(bytes: u64, waiting: usize) -> (Chunks, Self) {
        let (sender, pieces) = mpsc::channel(waiting.max(1));
        (sender, Self(Source::Pieces { pieces, left: bytes }))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Source::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Pieces { left: 0, .. } => Poll::Ready(None),
            Source::Pieces { pieces, left } => pieces.poll_recv(cx).map(|piece| {
                let piece = match piece {
                    Some(Ok(piece)) => piece,
                    Some(Err(error)) => return Some(Err(error)),
                    None => return Some(Err(io::Error::from(io::ErrorKind::UnexpectedEof))),
                };
                match left.checked_sub(piece.len() as u64) {
                    Some(rest) => *left = rest,
                    None => return Some(Err(io::Error::other("more than was announced"))),
                }
                Some(Ok(Frame::data(piece)))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Source::Whole(None) | Source::Pieces { left: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.0 {
            Source::Whole(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Source::Pieces { left, .. } => *left,
        })
    }
}
