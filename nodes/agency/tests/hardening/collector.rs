//! A collector of traces: takes every request and keeps every byte.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

pub(crate) struct Collector {
    pub(crate) url: String,
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let taken = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let keep = taken.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let keep = keep.clone();
                thread::spawn(move || serve(stream, &keep));
            }
        });
        Self { url, taken }
    }

    /// Every request, headers and all.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.taken.lock().unwrap().concat()
    }

    /// Every span.
    pub(crate) fn spans(&self) -> Vec<Value> {
        let mut spans = Vec::new();
        for request in self.taken.lock().unwrap().iter() {
            let body = request.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            let request: Value = serde_json::from_slice(&request[body..]).unwrap();
            spans.extend(request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone());
        }
        spans
    }
}

fn serve(mut stream: TcpStream, keep: &Mutex<Vec<Vec<u8>>>) {
    let (mut read, mut chunk) = (Vec::new(), [0; 8_192]);
    while let Ok(got @ 1..) = stream.read(&mut chunk) {
        read.extend_from_slice(&chunk[..got]);
        while let Some(head) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            let headers = String::from_utf8_lossy(&read[..head]).to_lowercase();
            let length = headers.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
            let whole = head + 4 + length.trim().parse::<usize>().unwrap();
            if read.len() < whole {
                break;
            }
            let rest = read.split_off(whole);
            keep.lock().unwrap().push(std::mem::replace(&mut read, rest));
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").is_err() {
                return;
            }
        }
    }
}
