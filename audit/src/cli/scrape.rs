//! What Prometheus scrapes: one page over HTTP, for a network that the operator trusts. It says nothing that the metrics' file does
//! not, and takes nothing in.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::AuditError;

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// How long one client may take, from its first byte to our last.
const PATIENCE: Duration = Duration::from_secs(5);
/// Headers of one request.
const HEADERS_MAX: usize = 64;

/// The page, as it is now.
#[derive(Debug, Clone, Default)]
pub(super) struct Page(Arc<Mutex<Option<String>>>);

impl Page {
    /// From now on this is served.
    pub(super) fn put(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves it at an address, from a thread of its own; the address that was taken.
    ///
    /// # Errors
    /// The address cannot be had.
    pub(super) fn serve(&self, at: SocketAddr) -> Result<SocketAddr, AuditError> {
        let failed = |error: std::io::Error| AuditError::File { path: at.to_string().into(), why: error.to_string() };
        let listener = TcpListener::bind(at).map_err(failed)?;
        let taken = listener.local_addr().map_err(failed)?;
        let page = self.clone();
        std::thread::spawn(move || {
            // One after the other: whoever scrapes comes a few times a minute, and nobody holds this up for longer than that.
            for stream in listener.incoming().flatten() {
                // A client that goes away misses its answer, and nobody else's.
                let _ = page.answer(stream);
            }
        });
        Ok(taken)
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let Some((method, path)) = request(&mut stream)? else { return respond(&mut stream, "400 Bad Request", "") };
        match (method.as_str(), path.as_str(), self.get()) {
            ("GET" | "HEAD", "/metrics", Some(text)) => {
                respond(&mut stream, "200 OK", if method == "GET" { &text } else { "" })
            }
            ("GET" | "HEAD", "/metrics", None) => {
                respond(&mut stream, "503 Service Unavailable", "no round has ended yet\n")
            }
            ("GET" | "HEAD", ..) => respond(&mut stream, "404 Not Found", "/metrics is here\n"),
            _ => respond(&mut stream, "405 Method Not Allowed", ""),
        }
    }
}

/// Method and path; none of what is no request.
fn request(stream: &mut TcpStream) -> std::io::Result<Option<(String, String)>> {
    let until = Instant::now() + PATIENCE;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    while head.len() < HEAD_BYTES_MAX {
        // Whoever drips has no longer than whoever is silent.
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        stream.set_read_timeout(Some(left))?;
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(None);
        }
        head.extend_from_slice(buffer.get(..read).unwrap_or_default());
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(&head) {
            Ok(httparse::Status::Complete(_)) => {
                let path = parsed.path.map(|path| path.split('?').next().unwrap_or_default().to_owned());
                return Ok(parsed.method.map(str::to_owned).zip(path));
            }
            Ok(httparse::Status::Partial) => {}
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

fn respond(stream: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(at: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.write_all(request).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut out = String::new();
        // A server that closes with our bytes unread resets: what it said before still counts.
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            out.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        out
    }

    #[test]
    fn one_page_is_served_and_nothing_else() {
        let page = Page::default();
        let at = page.serve("127.0.0.1:0".parse().unwrap()).unwrap();
        let get = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        assert!(ask(at, get).starts_with("HTTP/1.1 503 "), "before the first round");
        page.put("puente_audit_verdict 0\n".to_owned());
        let answer = ask(at, get);
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\npuente_audit_verdict 0\n"),
            "{answer}"
        );
        assert!(ask(at, b"HEAD /metrics?x=1 HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
        for (request, status) in [
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "404"),
            (b"GET /../metrics HTTP/1.1\r\n\r\n".to_vec(), "404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n".to_vec(), "405"),
            (b"\x16\x03\x01\x00".to_vec(), "400"),
            (b"GET /metrics HTTP/1.1\r\n".to_vec(), "400"),
            (Vec::new(), "400"),
            ([b"GET /".to_vec(), vec![b'a'; HEAD_BYTES_MAX], b" HTTP/1.1\r\n\r\n".to_vec()].concat(), "400"),
            ([b"GET / HTTP/1.1\r\n".to_vec(), b"a: b\r\n".repeat(HEADERS_MAX + 1), b"\r\n".to_vec()].concat(), "400"),
        ] {
            let answer = ask(at, &request);
            let expected = format!("HTTP/1.1 {status} ");
            // What came beyond the bound is unread when the connection closes, and the answer may be lost with it.
            assert!(
                answer.starts_with(&expected) || (answer.is_empty() && request.len() > 1_024),
                "{status}: {answer}"
            );
        }
        assert!(ask(at, get).starts_with("HTTP/1.1 200 "), "and it goes on");
    }

    #[test]
    fn an_address_that_is_taken_is_said() {
        let page = Page::default();
        let at = page.serve("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(page.serve(at).unwrap_err().to_string().contains(&at.to_string()));
    }
}
