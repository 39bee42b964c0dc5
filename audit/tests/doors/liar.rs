//! A server with a node's certificate that answers as it is told to.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The files that an honest node would serve.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) fn files(dir: &Path) -> Files {
    fn gather(root: &Path, dir: &Path, out: &mut Files) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                gather(root, &path, out);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                out.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut out = Files::new();
    gather(dir, dir, &mut out);
    out
}

/// A request: which file, the how-manieth for it, and the range.
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) time: usize,
    pub(crate) range: Option<(usize, usize)>,
}

/// What is sent back.
pub(crate) enum Said {
    /// As an honest node does.
    Honest,
    /// An honest answer with other bytes.
    Bytes(Vec<u8>),
    /// These very bytes; then the connection ends.
    Raw(Vec<u8>),
    /// These bytes, and then one more every so often.
    Drip(Vec<u8>, Duration),
}

pub(crate) type Mind = Box<dyn Fn(&Asked, &Files) -> Said + Send + Sync>;

pub(crate) struct Liar {
    pub(crate) at: SocketAddr,
    seen: Arc<Mutex<BTreeMap<String, usize>>>,
    stop: Arc<AtomicBool>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.at);
    }
}

impl Liar {
    pub(crate) fn new(certificate: &(String, String), files: Files, mind: Mind) -> Self {
        let chain = vec![CertificateDer::from_pem_slice(certificate.0.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(certificate.1.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let (config, told) = (Arc::new(config), Arc::new((files, mind)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let (seen, stop): (Arc<Mutex<BTreeMap<_, _>>>, Arc<AtomicBool>) = Default::default();
        let (counts, ended) = (seen.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let (config, told, counts, ended) = (config.clone(), told.clone(), counts.clone(), ended.clone());
                let Ok(stream) = stream else { continue };
                std::thread::spawn(move || serve(stream, config, &told.0, &told.1, &counts, &ended));
            }
        });
        Self { at, seen, stop }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/", self.at)
    }

    /// How often each file was asked for.
    pub(crate) fn seen(&self) -> BTreeMap<String, usize> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    files: &Files,
    mind: &Mind,
    counts: &Mutex<BTreeMap<String, usize>>,
    ended: &AtomicBool,
) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let mut stream = StreamOwned::new(ServerConnection::new(config).ok()?, stream);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).ok()? == 0 {
                return None;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?;
        let path = head.split(' ').nth(1)?.trim_start_matches('/').to_owned();
        let line = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
        let range = line.and_then(|line| line.split_once('-')).map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap()));
        let time = {
            let mut counts = counts.lock().unwrap();
            let count = counts.entry(path.clone()).or_default();
            *count += 1;
            *count
        };
        let asked = Asked { path, time, range };
        match mind(&asked, files) {
            Said::Honest => stream.write_all(&honest(&asked, files, files.get(&asked.path))).ok()?,
            Said::Bytes(bytes) => stream.write_all(&honest(&asked, files, Some(&bytes))).ok()?,
            Said::Raw(bytes) => {
                stream.write_all(&bytes).ok()?;
                stream.conn.send_close_notify();
                let _ = stream.flush();
                return None;
            }
            Said::Drip(bytes, pause) => {
                stream.write_all(&bytes).ok()?;
                while !ended.load(Ordering::Relaxed) {
                    std::thread::sleep(pause);
                    stream.write_all(b"x").ok()?;
                }
                return None;
            }
        }
    }
}

pub(crate) fn honest(asked: &Asked, files: &Files, bytes: Option<&Vec<u8>>) -> Vec<u8> {
    let Some(bytes) = bytes else {
        return b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec();
    };
    let asides = files["asides"].len();
    let (status, range, body) = match asked.range {
        None => ("200 OK", String::new(), bytes.as_slice()),
        Some((from, to)) if to < bytes.len() => {
            let range = format!("content-range: bytes {from}-{to}/{}\r\n", bytes.len());
            ("206 Partial Content", range, &bytes[from..=to])
        }
        Some(_) => ("416 Range Not Satisfiable", String::new(), [].as_slice()),
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\npuente-asides: {asides}\r\n{range}\r\n", body.len());
    [head.as_bytes(), body].concat()
}
