//! What the machine gives the node: descriptors, buffers, clock, who runs it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Patient;
use crate::ops::check::{Check, State, w};
use crate::ops::probe;

/// Descriptors that a node with many peers needs.
const FILES_LEAST: u64 = 1_024;
/// Bytes of the UDP socket's buffers that the node asks for.
const BUFFER: u64 = 4 << 20;
/// The newest head may be this much younger than the clock says.
const AHEAD_MAX: Duration = Duration::from_secs(120);

pub(super) fn checks(patient: &Patient<'_>) -> Vec<Check> {
    vec![
        version(patient),
        files(),
        cores(),
        user(),
        buffer("udp-receive-buffer", "net/core/rmem_max"),
        buffer("udp-send-buffer", "net/core/wmem_max"),
        offload(),
        time_service(),
        clock(patient),
    ]
}

fn version(patient: &Patient<'_>) -> Check {
    let (name, own) = ("version", env!("CARGO_PKG_VERSION"));
    match patient.status.as_ref().and_then(|status| status["version"].as_str()) {
        Some(running) if running != own => Check::not(
            State::Warn,
            name,
            "other-version",
            w("the running node is of another version than this program"),
            format!("{running}, {own}"),
            w("restart the node"),
        ),
        _ => Check::ok(name, w("version of this program"), own),
    }
}

fn files() -> Check {
    let name = "open-files-limit";
    match probe::open_files_max() {
        Some(max) if max < FILES_LEAST => Check::not(
            State::Warn,
            name,
            "few-files",
            w("few files may be open at once (for who runs doctor)"),
            max.to_string(),
            w("raise LimitNOFILE in the unit, or 'ulimit -n'"),
        ),
        max => Check::ok(
            name,
            w("enough files may be open"),
            max.map_or_else(|| "no limit".to_owned(), |max| max.to_string()),
        ),
    }
}

fn cores() -> Check {
    let name = "core-dumps";
    let max = rustix::process::getrlimit(rustix::process::Resource::Core).current;
    match max {
        Some(0) => Check::ok(name, w("no core dumps are written"), "0"),
        max => Check::not(
            State::Warn,
            name,
            "core-dumps",
            w("a crash would write memory, with keys, to the disk"),
            max.map_or_else(|| "no limit".to_owned(), |max| max.to_string()),
            w("set LimitCORE=0 in the unit, or 'ulimit -c 0'"),
        ),
    }
}

fn user() -> Check {
    let name = "user";
    if rustix::process::geteuid().is_root() {
        return Check::not(
            State::Warn,
            name,
            "root",
            w("run as root: a fault of the node would be one of the machine"),
            "uid 0",
            w("run the node as a user of its own (packaging/systemd)"),
        );
    }
    Check::ok(name, w("not root"), format!("uid {}", rustix::process::geteuid().as_raw()))
}

fn buffer(name: &'static str, kernel: &str) -> Check {
    let fix = w("sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304, and keep it in /etc/sysctl.d");
    match probe::kernel(kernel) {
        Some(max) if max < BUFFER => Check::not(
            State::Warn,
            name,
            "small-buffer",
            w("the kernel allows small UDP buffers only: bursts are lost"),
            format!("{max} of {BUFFER}"),
            fix,
        ),
        Some(max) => Check::ok(name, w("the UDP buffer may be large enough"), max.to_string()),
        None => Check::not(State::Unknown, name, "unread", w("the kernel does not say"), kernel, fix),
    }
}

fn offload() -> Check {
    let name = "udp-offload";
    let segments = std::net::UdpSocket::bind("127.0.0.1:0")
        .and_then(|socket| quinn::udp::UdpSocketState::new((&socket).into()).map(|state| state.max_gso_segments()));
    match segments {
        Ok(2..) => Check::ok(name, w("the kernel cuts packets (GSO)"), ""),
        Ok(segments) => Check::not(
            State::Warn,
            name,
            "no-offload",
            w("the kernel does not cut packets (GSO): more work per byte"),
            segments.to_string(),
            w("use Linux 4.18 or newer; nothing is lost without"),
        ),
        Err(error) => Check::not(
            State::Unknown,
            name,
            "unread",
            w("no UDP socket could be made"),
            error.to_string(),
            w("check the sandbox"),
        ),
    }
}

fn time_service() -> Check {
    let name = "time-service";
    let signs = [
        "/run/systemd/timesync/synchronized",
        "/run/chrony/chronyd.pid",
        "/run/chronyd.pid",
        "/run/ntpd.pid",
        "/var/run/ntpd.pid",
    ];
    match signs.iter().find(|sign| Path::new(sign).exists()) {
        Some(sign) => Check::ok(name, w("a time service keeps the clock"), *sign),
        None => Check::not(
            State::Unknown,
            name,
            "no-time-service",
            w("no time service shows here; the host may have one"),
            "",
            w("let chrony or systemd-timesyncd keep the clock; look at 'timedatectl'"),
        ),
    }
}

fn clock(patient: &Patient<'_>) -> Check {
    let name = "clock-head";
    let fix = w("set the clock right before the node runs");
    let head = std::fs::metadata(patient.context.dir.log().join("checkpoint")).and_then(|meta| meta.modified());
    match head.map(|then| then.duration_since(SystemTime::now()).unwrap_or_default()) {
        Ok(ahead) if ahead > AHEAD_MAX => Check::not(
            State::Fail,
            name,
            "clock-behind",
            w("the clock is behind the node's own newest head"),
            format!("{} s", ahead.as_secs()),
            fix,
        ),
        Ok(_) => Check::ok(name, w("the clock is not behind the newest head"), ""),
        Err(_) => Check::ok(name, w("no head was published yet"), ""),
    }
}
