//! Why a connection or a stream ended, by name.

use std::fmt;

use puente_wire::fault::FaultCode;
use quinn::{ConnectionError, VarInt};

/// Codes that the transport adds to those of [`FaultCode`], in CONNECTION_CLOSE, RESET_STREAM and STOP_SENDING.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetCode {
    /// Nothing was wrong.
    Done,
    /// A frame stood unfinished too long.
    Stalled,
    /// More connections of one peer than are kept.
    TooManyConnections,
    /// The node is shutting down.
    ShuttingDown,
    /// The charter or the certificate no longer admits the peer.
    NoLongerTrusted,
    /// The control stream ended.
    ControlLost,
    /// The other half of the stream was given up.
    Cancelled,
    /// A fault of the protocol.
    Fault(FaultCode),
    /// A number that this node does not know.
    Unknown(u64),
}

/// Codes below this number are those of [`FaultCode`].
const NET: u64 = 0x100;

impl NetCode {
    /// The number on the wire.
    pub(crate) fn code(self) -> VarInt {
        let number = match self {
            Self::Done => 0,
            Self::Fault(fault) => u64::from(fault.code()),
            Self::Stalled => NET,
            Self::TooManyConnections => NET + 1,
            Self::ShuttingDown => NET + 2,
            Self::NoLongerTrusted => NET + 3,
            Self::ControlLost => NET + 4,
            Self::Cancelled => NET + 5,
            Self::Unknown(number) => number,
        };
        VarInt::from_u64(number).unwrap_or(VarInt::MAX)
    }

    /// The code of a number.
    pub(crate) fn from_code(code: VarInt) -> Self {
        match code.into_inner() {
            0 => Self::Done,
            NET => Self::Stalled,
            0x101 => Self::TooManyConnections,
            0x102 => Self::ShuttingDown,
            0x103 => Self::NoLongerTrusted,
            0x104 => Self::ControlLost,
            0x105 => Self::Cancelled,
            number => match u32::try_from(number).ok().and_then(FaultCode::from_code) {
                Some(fault) => Self::Fault(fault),
                None => Self::Unknown(number),
            },
        }
    }
}

impl fmt::Display for NetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Stalled => "stalled",
            Self::TooManyConnections => "too-many-connections",
            Self::ShuttingDown => "shutting-down",
            Self::NoLongerTrusted => "no-longer-trusted",
            Self::ControlLost => "control-lost",
            Self::Cancelled => "cancelled",
            Self::Fault(fault) => fault.as_str(),
            Self::Unknown(number) => return write!(f, "unknown-code-{number}"),
        })
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// This node closed it.
    ClosedHere,
    /// The peer closed it, saying why.
    ClosedByPeer(NetCode),
    /// The peer refused this node's certificate; the number is the TLS alert, the text the peer's.
    CertificateRefused {
        /// RFC 8446 §6.2.
        alert: u8,
        /// What the peer says, cut to 200 characters.
        text: String,
    },
    /// Too busy, or too many connections.
    PeerBusy,
    /// No sign of life for 30 s, or none at all when dialling.
    TimedOut,
    /// The peer knows nothing of the connection: it restarted.
    PeerRestarted,
    /// The TCP connection under it ended; what happened.
    LineLost(String),
    /// One side broke QUIC or TLS; what happened.
    Broken(String),
}

impl EndReason {
    /// The stable name of the class.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::ClosedHere => "closed-here",
            Self::ClosedByPeer(_) => "closed-by-peer",
            Self::CertificateRefused { .. } => "certificate-refused-by-peer",
            Self::PeerBusy => "peer-busy",
            Self::TimedOut => "timed-out",
            Self::PeerRestarted => "peer-restarted",
            Self::LineLost(_) => "line-lost",
            Self::Broken(_) => "broken",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClosedByPeer(code) => write!(f, "closed by the peer: {code}"),
            Self::CertificateRefused { alert, text } => {
                write!(f, "the peer refused this node's certificate (alert {alert}): {text}")
            }
            Self::LineLost(text) => write!(f, "the TCP connection is gone: {text}"),
            Self::Broken(text) => write!(f, "broken: {text}"),
            other => f.write_str(other.class()),
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// First and last number of QUIC's range for TLS alerts (RFC 9001 §4.8).
const ALERTS: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;
/// QUIC's CONNECTION_REFUSED.
const REFUSED: u64 = 2;

impl From<ConnectionError> for EndReason {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::LocallyClosed => Self::ClosedHere,
            ConnectionError::ApplicationClosed(close) => Self::ClosedByPeer(NetCode::from_code(close.error_code)),
            ConnectionError::ConnectionClosed(close) => match u64::from(close.error_code) {
                REFUSED => Self::PeerBusy,
                code if ALERTS.contains(&code) => Self::CertificateRefused {
                    alert: u8::try_from(code - ALERTS.start()).unwrap_or(u8::MAX),
                    text: cut(&String::from_utf8_lossy(&close.reason)),
                },
                _ => Self::Broken(cut(&close.to_string())),
            },
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::Reset => Self::PeerRestarted,
            other => Self::Broken(cut(&other.to_string())),
        }
    }
}
