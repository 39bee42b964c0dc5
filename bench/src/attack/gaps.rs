//! Peers whose streams never begin: everything after a gap has to be kept.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::forge::{FRAMES_BYTES_MAX, Forged, PING, stream_frame};
use crate::Failure;

/// Crumbs per stream: a byte in a packet of its own makes the node keep the packet, until it finds that worth copying.
const CRUMBS: u64 = 27;
/// Packets that are sent without a pause.
const BURST: usize = 16;
/// Bytes of one larger piece.
const PIECE_BYTES: usize = FRAMES_BYTES_MAX - 16;
/// Where larger pieces begin: behind the crumbs.
const PIECES_FROM: u64 = 2 * CRUMBS + 2;

/// How it went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent {
    /// Packets.
    pub packets: u64,
    /// Everything that the node granted was used.
    pub spent: bool,
}

/// The frames of packet `turn` on a connection; none when its credit is spent.
fn frames(turn: u64, of: &Forged, out: &mut Vec<u8>) -> bool {
    out.clear();
    let credit = of.credit;
    if credit.streams == 0 || credit.stream_bytes <= PIECES_FROM {
        return false;
    }
    if turn < CRUMBS * credit.streams {
        stream_frame(out, turn % credit.streams, 1 + 2 * (turn / credit.streams), b"\0");
        return true;
    }
    // What is left of the window, in equal parts: every byte up to the highest offset counts.
    let share = (credit.bytes / credit.streams).min(credit.stream_bytes);
    let pieces = share.saturating_sub(PIECES_FROM) / PIECE_BYTES as u64;
    let turn = turn - CRUMBS * credit.streams;
    if turn >= pieces * credit.streams {
        return false;
    }
    let offset = PIECES_FROM + (turn / credit.streams) * PIECE_BYTES as u64;
    stream_frame(out, turn % credit.streams, offset, &[0; PIECE_BYTES]);
    true
}

/// Spends all credit of all connections, a packet each in turn, then says every five seconds that it is alive.
///
/// # Errors
/// The socket is unusable.
pub fn send(
    socket: &UdpSocket,
    node: SocketAddr,
    crowd: &mut [Forged],
    per_second: u32,
    duration: Duration,
) -> Result<Sent, Failure> {
    let (began, mut sent) = (Instant::now(), Sent::default());
    let pause = Duration::from_secs(1) / per_second.max(1);
    let mut buffer = Vec::new();
    let out = |packet: &[u8], sent: &mut Sent| -> Result<(), Failure> {
        socket.send_to(packet, node)?;
        sent.packets += 1;
        if sent.packets.is_multiple_of(BURST as u64) {
            let due = began + pause * u32::try_from(sent.packets).unwrap_or(u32::MAX);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(())
    };
    for turn in 0.. {
        let mut any = false;
        for one in crowd.iter_mut() {
            if frames(turn, one, &mut buffer) {
                any = true;
                out(&one.packet(&buffer, true), &mut sent)?;
            }
        }
        if !any {
            sent.spent = true;
            break;
        }
        if began.elapsed() >= duration {
            return Ok(sent);
        }
    }
    while began.elapsed() < duration {
        for one in crowd.iter_mut() {
            out(&one.packet(PING, false), &mut sent)?;
        }
        std::thread::sleep(Duration::from_secs(5).min(duration.saturating_sub(began.elapsed())));
    }
    Ok(sent)
}
