//! Questions over the asking node's control socket: so many under way, a new one when one is answered.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;
use crate::stats::Sample;
use crate::world::{HOLDER, OFFICERS, RECORDS, vin};

/// Kinds of exchanges that are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The holder has nothing: QUERY and ANSWER on both sides.
    NoHit,
    /// Core data are released: QUERY, ANSWER, RELEASE and OPENED.
    Released,
    /// A statutory bar: QUERY and REFUSAL on both sides.
    Refusal,
    /// The holder says that it has something, and nothing more: what a released hit quotes.
    Hit,
}

impl Kind {
    /// As it stands in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoHit => "no_hit",
            Self::Released => "released_hit",
            Self::Refusal => "refusal",
            Self::Hit => "hit",
        }
    }

    /// What every answer must hold: a measurement of something else would be worth nothing.
    const fn expected(self) -> &'static str {
        match self {
            Self::NoHit => "\"outcome\":\"NO_HIT\"",
            Self::Released => "\"outcome\":\"CORE_DATA\"",
            Self::Refusal => "\"reason\":\"statutory-bar\"",
            Self::Hit => "\"outcome\":\"HIT_UNCONFIRMED\"",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.replace('-', "_").as_str() {
            "no_hit" => Ok(Self::NoHit),
            "released_hit" => Ok(Self::Released),
            "refusal" => Ok(Self::Refusal),
            _ => Err("use one of: no-hit, released-hit, refusal".to_owned()),
        }
    }
}

/// The questions' writer: all but their subjects stays the same.
#[derive(Debug)]
pub struct Driver {
    stream: UnixStream,
    /// Answers of step 1, by record: what step 2 confirms.
    confirmed: Vec<String>,
    next: u64,
    buffer: Vec<u8>,
}

/// How long questions have by default, in milliseconds.
const DUE_MILLIS: u64 = 60_000;
const VEHICLE: &str = r#""kind":"vehicle.status","purpose":"vehicle-recovery","basis":"mx-us-stolen-vehicles-1981","#;

fn begin_question(out: &mut Vec<u8>, kind: Kind, number: u64, due_millis: u64) -> Result<(), Failure> {
    // Investigators have even numbers, analysts odd ones.
    let officer = 2 * (number % (OFFICERS as u64 / 2)) + u64::from(kind == Kind::Refusal);
    let step = if kind == Kind::Released { 2 } else { 1 };
    write!(
        out,
        r#"{{"id":{number},"cmd":"query","to":"{HOLDER}","step":"{step}","handling":"H2","officer":"o-{officer}","case_ref":"BENCH/2026/{number}","due_in_millis":{due_millis},"urgency":"routine","#
    )?;
    Ok(())
}

/// Writes a question of step 1 as a line for the control socket.
///
/// # Errors
/// There is none.
pub fn write_question(out: &mut Vec<u8>, kind: Kind, number: u64, due_millis: u64) -> Result<(), Failure> {
    begin_question(out, kind, number, due_millis)?;
    match kind {
        Kind::Refusal => write!(
            out,
            r#""kind":"firearm.status","purpose":"crime-prevention","basis":"bicentennial-framework-2021","params":{{"serial":"PB{number:07}","make":"Glock"}}"#
        )?,
        _ => {
            let of = if kind == Kind::NoHit { RECORDS + number } else { number % RECORDS };
            write!(out, r#"{VEHICLE}"params":{{"vin":"{}"}}"#, vin(of))?;
        }
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

impl Driver {
    /// A driver on a connection to the asking node.
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, confirmed: Vec::new(), next: 0, buffer: Vec::new() }
    }

    fn write(&mut self, kind: Kind, out: &mut Vec<u8>) -> Result<(), Failure> {
        let number = self.next;
        self.next += 1;
        if kind != Kind::Released {
            return write_question(out, kind, number, DUE_MILLIS);
        }
        let of = number % self.confirmed.len() as u64;
        let leaf = usize::try_from(of).ok().and_then(|of| self.confirmed.get(of)).ok_or("no hit yet")?;
        begin_question(out, kind, number, DUE_MILLIS)?;
        write!(
            out,
            r#"{VEHICLE}"params":{{"vin":"{}"}},"confirms":"{leaf}","facts_statement":"The vehicle was found abandoned and its number read by an officer.","offence":"vehicle theft"}}"#,
            vin(of)
        )?;
        out.push(b'\n');
        Ok(())
    }

    /// Asks step 1 about so many records, so that step 2 has something to confirm.
    ///
    /// # Errors
    /// An answer is another one.
    pub fn confirm(&mut self, records: usize) -> Result<(), Failure> {
        for record in 0..records {
            self.next = record as u64;
            let mut leaf = String::new();
            self.run(Kind::Hit, 1, Until::Count(1), |line| {
                let answer: Value = serde_json::from_slice(line).unwrap_or_default();
                leaf = answer["answer_leaf"].as_str().unwrap_or_default().to_owned();
            })?;
            self.confirmed.push(leaf);
        }
        Ok(())
    }

    /// Asks with `in_flight` questions under way.
    ///
    /// # Errors
    /// An answer is another than the one measured.
    pub fn measure(&mut self, kind: Kind, in_flight: usize, duration: Duration) -> Result<Sample, Failure> {
        self.run(kind, in_flight, Until::Passed(duration), |_| ())
    }

    fn run(
        &mut self,
        kind: Kind,
        in_flight: usize,
        until: Until,
        mut see: impl FnMut(&[u8]),
    ) -> Result<Sample, Failure> {
        let first = self.next;
        let mut begun: Vec<Instant> = Vec::new();
        let mut latencies: Vec<Duration> = Vec::new();
        let mut out = Vec::new();
        let began = Instant::now();
        for _ in 0..in_flight {
            self.write(kind, &mut out)?;
            begun.push(Instant::now());
        }
        self.stream.write_all(&out)?;
        let mut chunk = vec![0; 64 << 10];
        while latencies.len() < begun.len() {
            let read = self.stream.read(&mut chunk)?;
            if read == 0 {
                return Err("the node closed its control socket".into());
            }
            self.buffer.extend_from_slice(&chunk[..read]);
            let now = Instant::now();
            out.clear();
            let buffer = std::mem::take(&mut self.buffer);
            let mut rest = buffer.as_slice();
            while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let line = &rest[..end];
                rest = &rest[end + 1..];
                let text = std::str::from_utf8(line)?;
                if !text.contains(kind.expected()) {
                    return Err(format!("not a {}: {text}", kind.name()).into());
                }
                see(line);
                let id: u64 = text
                    .strip_prefix("{\"id\":")
                    .and_then(|t| t.split_once(','))
                    .and_then(|(id, _)| id.parse().ok())
                    .ok_or("an answer without id")?;
                let start = usize::try_from(id - first).ok().and_then(|at| begun.get(at)).ok_or("an unknown id")?;
                latencies.push(now - *start);
                let more = match until {
                    Until::Passed(duration) => began.elapsed() < duration,
                    Until::Count(count) => begun.len() < count,
                };
                if more {
                    self.write(kind, &mut out)?;
                    begun.push(Instant::now());
                }
            }
            self.buffer = rest.to_vec();
            self.stream.write_all(&out)?;
        }
        Ok(Sample::new(latencies, began.elapsed()))
    }
}

#[derive(Debug, Clone, Copy)]
enum Until {
    Passed(Duration),
    Count(usize),
}
