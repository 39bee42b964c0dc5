use std::future::Future;
use std::io;
use std::sync::{Arc, PoisonError};

use puente_audit_log::LogPath;
use puente_model::limits::CHARTER_BYTES_MAX;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;

use super::book::{Reader, Seat};
use super::resource::{Resource, is_charter_file, range};
use super::shelf::Books;
use super::sidecar::read_filtered;
use super::{Inner, PARTS_MAX};
use crate::disk::LogView;
use crate::http::{Body, Chunks, Handler, Method, Request, Response, StatusCode, header, text};
use hyper::body::Bytes;
use hyper::header::HeaderValue;

/// Bytes that are paced and sent at once.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes of the sidecar that are read at once.
const ASIDES_PIECE_BYTES: usize = 256 << 10;
/// How many bytes of the sidecar belong to a checkpoint.
const ASIDES_HEADER: &str = "puente-asides";
const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const IMMUTABLE: &str = "private, max-age=31536000, immutable";
const CHANGING: &str = "no-cache";

/// One connection of an auditor.
pub(super) struct Visit {
    pub(super) door: Arc<Inner>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) reader: Arc<Reader>,
    /// The auditor is of this node's nation, and may have sealed headers.
    pub(super) own: bool,
    pub(super) _seat: Seat,
}

/// Why there is no answer of the kind that was asked for.
type Refused = Box<Response<Body>>;

fn refuse(status: StatusCode, words: &'static str) -> Refused {
    Box::new(text(status, words))
}

fn later(status: StatusCode, words: &'static str) -> Refused {
    let mut response = refuse(status, words);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn unreadable(error: &io::Error) -> Refused {
    tracing::error!("the log cannot be shown to an auditor: {error}");
    later(StatusCode::SERVICE_UNAVAILABLE, "the node cannot read its log\n")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Refused> {
    let done = spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| unreadable(&error))
}

impl Handler for Visit {
    async fn answer(&self, request: Request<Bytes>) -> Response<Body> {
        match self.judge(&request).await {
            Ok(response) => response,
            Err(refused) => {
                self.reader.turn_away();
                *refused
            }
        }
    }
}

impl Visit {
    async fn judge(&self, request: &Request<Bytes>) -> Result<Response<Body>, Refused> {
        self.still_an_auditor()?;
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Err(response);
        }
        let nothing = || refuse(StatusCode::NOT_FOUND, "there is no such file\n");
        let path = request.uri().path();
        let resource = Resource::parse(path).filter(|_| request.uri().query().is_none()).ok_or_else(nothing)?;
        let busy = |_| later(StatusCode::TOO_MANY_REQUESTS, "too many requests at once\n");
        let permit = self.reader.requests.clone().try_acquire_owned().map_err(busy)?;
        let not_yet = || later(StatusCode::SERVICE_UNAVAILABLE, "nothing is published yet\n");
        let view = self.door.disk.view().ok_or_else(not_yet)?;
        if !self.reader.enter(self.door.recorder.as_ref()).await {
            return Err(later(StatusCode::SERVICE_UNAVAILABLE, "the node's log takes no entries\n"));
        }
        let head = request.method() == Method::HEAD;
        let response = match resource {
            Resource::Log(path) => self.log_file(view, path, head, permit).await?,
            Resource::Asides => {
                let wanted = request.headers().get(header::RANGE).and_then(|value| range(value.to_str().ok()?));
                self.asides(view, wanted, head, permit).await?
            }
            Resource::Cosigned => {
                let bytes = blocking(move || view.cosigned()).await?.ok_or_else(nothing)?;
                self.whole(bytes, TEXT, CHANGING, head, permit)
            }
            Resource::LedgerNames => {
                let books = self.books(&view, true).await?;
                let names: String = books.keys().map(|ledger| format!("{ledger}\n")).collect();
                self.whole(names.into_bytes(), TEXT, CHANGING, head, permit)
            }
            Resource::Ledger(ledger, path) => {
                let is_head = path == LogPath::Checkpoint;
                let books = self.books(&view, is_head).await?;
                let made = books.get(&ledger).map(|book| book.file(path)).transpose();
                let bytes =
                    made.map_err(|error| unreadable(&io::Error::other(error)))?.flatten().ok_or_else(nothing)?;
                let (media, caching) = if is_head { (TEXT, CHANGING) } else { (BYTES, IMMUTABLE) };
                self.whole(bytes, media, caching, head, permit)
            }
            Resource::CharterNames => {
                let folder = self.door.charter.clone();
                let names = blocking(move || charter_names(&folder)).await?;
                self.whole(names.into_bytes(), TEXT, CHANGING, head, permit)
            }
            Resource::Charter(name) => {
                let path = self.door.charter.join(name);
                let found = blocking(move || match puente_audit::read_file(&path, CHARTER_BYTES_MAX as u64) {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(_) if !path.exists() => Ok(None),
                    Err(error) => Err(io::Error::other(error)),
                });
                let bytes = found.await?.ok_or_else(nothing)?;
                self.whole(bytes, TEXT, CHANGING, head, permit)
            }
        };
        self.reader.answered();
        Ok(response)
    }

    /// The charter that is in force now decides, not the one of the handshake; and a certificate ends on a connection,
    /// too.
    fn still_an_auditor(&self) -> Result<(), Refused> {
        let checked = match self.chain.split_first() {
            Some((leaf, rest)) => self.door.trust.load().verify_auditor(leaf, rest, UnixTime::now()).map(|_| ()),
            None => return Err(refuse(StatusCode::FORBIDDEN, "no certificate\n")),
        };
        checked.map_err(|refusal| {
            if self.door.refused.count(refusal.class()) {
                tracing::warn!(class = refusal.class(), "an auditor is no longer admitted: {refusal}");
            }
            let mut response = refuse(StatusCode::FORBIDDEN, "the charter in force does not admit this auditor\n");
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        })
    }

    async fn log_file(
        &self,
        view: LogView,
        path: LogPath,
        head: bool,
        permit: OwnedSemaphorePermit,
    ) -> Result<Response<Body>, Refused> {
        let (from, at) = (view.clone(), path);
        let found = blocking(move || from.file(at)).await?;
        let bytes = found.ok_or_else(|| refuse(StatusCode::NOT_FOUND, "the published log has no such file\n"))?;
        if path != LogPath::Checkpoint {
            return Ok(self.whole(bytes, BYTES, IMMUTABLE, head, permit));
        }
        let asides = self.asides_len(&view).await?;
        let mut response = self.whole(bytes, TEXT, CHANGING, head, permit);
        response.headers_mut().insert(ASIDES_HEADER, HeaderValue::from(asides));
        Ok(response)
    }

    /// The ledgers of this node's groups; `fresh`: no older than the published log.
    async fn books(&self, view: &LogView, fresh: bool) -> Result<Arc<Books>, Refused> {
        let books = self.door.shelf.books(view.size(), fresh).await;
        books.ok_or_else(|| later(StatusCode::SERVICE_UNAVAILABLE, "the node is stopping\n"))
    }

    /// Bytes of the sidecar, as this auditor sees it, that belong to a view.
    async fn asides_len(&self, view: &LogView) -> Result<u64, Refused> {
        if self.own || view.asides_len() == 0 {
            return Ok(view.asides_len());
        }
        let (door, view) = (self.door.clone(), view.clone());
        blocking(move || {
            let mut filtered = door.filtered.lock().unwrap_or_else(PoisonError::into_inner);
            filtered.len(&view.asides()?, view.asides_len())
        })
        .await
    }

    async fn asides(
        &self,
        view: LogView,
        wanted: Option<(u64, Option<u64>)>,
        head: bool,
        permit: OwnedSemaphorePermit,
    ) -> Result<Response<Body>, Refused> {
        let len = self.asides_len(&view).await?;
        let (from, to) = match wanted {
            None => (0, len),
            Some((first, last)) => (first, last.map_or(len, |last| last.saturating_add(1).min(len))),
        };
        if wanted.is_some() && from >= len {
            let mut response = refuse(StatusCode::RANGE_NOT_SATISFIABLE, "the sidecar ends before\n");
            response.headers_mut().insert(header::CONTENT_RANGE, value(format!("bytes */{len}")));
            return Err(response);
        }
        let (pieces, body) = Body::pieces(to - from, 1);
        let mut response = answer(body, BYTES, CHANGING);
        response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if wanted.is_some() {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let last = to.saturating_sub(1);
            response.headers_mut().insert(header::CONTENT_RANGE, value(format!("bytes {from}-{last}/{len}")));
        }
        if !head {
            let (door, own) = (self.door.clone(), self.own);
            self.send(pieces, permit, move |paced| async move {
                let mut at = from;
                while at < to {
                    let max = usize::try_from(to - at).unwrap_or(usize::MAX).min(ASIDES_PIECE_BYTES);
                    let (door, view) = (door.clone(), view.clone());
                    let read = spawn_blocking(move || read_asides(&door, &view, own, at, max)).await;
                    let bytes = read.map_err(io::Error::other)??;
                    if bytes.is_empty() {
                        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                    }
                    at += bytes.len() as u64;
                    paced.send(bytes.into()).await?;
                }
                Ok(())
            });
        }
        Ok(response)
    }

    fn whole(
        &self,
        bytes: Vec<u8>,
        media: &'static str,
        caching: &'static str,
        head: bool,
        permit: OwnedSemaphorePermit,
    ) -> Response<Body> {
        let (pieces, body) = Body::pieces(bytes.len() as u64, 1);
        if !head {
            self.send(pieces, permit, move |paced| async move { paced.send(bytes.into()).await });
        }
        answer(body, media, caching)
    }

    /// Sends a body at this auditor's pace. The permit is held as long as it takes.
    fn send<F: Future<Output = io::Result<()>> + Send + 'static>(
        &self,
        pieces: Chunks,
        permit: OwnedSemaphorePermit,
        work: impl FnOnce(Paced) -> F + Send + 'static,
    ) {
        let paced = Paced { door: self.door.clone(), reader: self.reader.clone(), pieces: pieces.clone() };
        tokio::spawn(async move {
            if let Err(error) = work(paced).await {
                // Breaks the connection: the auditor never takes half an answer for whole.
                let _ = pieces.send(Err(error)).await;
            }
            drop(permit);
        });
    }
}

fn read_asides(door: &Inner, view: &LogView, own: bool, from: u64, max: usize) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt as _;

    let file = view.asides()?;
    if own {
        let mut bytes = vec![0; max];
        file.read_exact_at(&mut bytes, from)?;
        return Ok(bytes);
    }
    let mark = door.filtered.lock().unwrap_or_else(PoisonError::into_inner).begin(from);
    read_filtered(&file, mark, view.asides_len(), from, max)
}

struct Paced {
    door: Arc<Inner>,
    reader: Arc<Reader>,
    pieces: Chunks,
}

impl Paced {
    async fn send(&self, bytes: Bytes) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            let len = piece.len() as u64;
            tokio::time::sleep(self.reader.pace(len, self.door.started.elapsed())).await;
            self.pieces.send(Ok(piece)).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.reader.sent(len);
        }
        Ok(())
    }
}

fn answer(body: Body, media: &'static str, caching: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn value(text: String) -> HeaderValue {
    // Digits and a few signs: always a header's value.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("bytes */0"))
}

/// Names of the charter's files that the node has, one a line, in order.
fn charter_names(folder: &std::path::Path) -> io::Result<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)?.take(PARTS_MAX) {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if is_charter_file(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names.iter().map(|name| format!("{name}\n")).collect())
}
