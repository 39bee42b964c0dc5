//! Private keys in a PKCS#11 token (SoftHSM2), with real node processes: moved in, used, pulled out, put back.

// Helpers of tests are tests too: what is not as expected ends them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, dead_code)]

#[path = "hardening/federation.rs"]
mod federation;

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use federation::{Federation, Node, alone, ask, problems, question, word};
use puente_agency::control_api::Question;
use serde_json::Value;

const PIN: &str = "81726354";
const MODULES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
];

/// SoftHSM2 on this machine; without it the test says so loudly, or fails where nothing may be skipped.
fn module() -> Option<&'static str> {
    let found = MODULES.into_iter().find(|path| Path::new(path).exists());
    let tool = Command::new("softhsm2-util").arg("--version").output().is_ok();
    if found.is_some() && tool {
        return found;
    }
    assert!(std::env::var_os("PUENTE_NO_SKIP").is_none(), "SoftHSM2 is not installed: apt-get install softhsm2");
    eprintln!("SKIPPED: SoftHSM2 is not installed (apt-get install softhsm2); nothing was tested");
    None
}

/// A token of this test's own, named in the node's configuration.
struct Soft {
    conf: PathBuf,
    tokens: PathBuf,
    pin: PathBuf,
}

impl Soft {
    fn new(fed: &Federation, module: &str) -> Self {
        let at = |name: &str| fed.root.path().join(name);
        let (conf, tokens, pin) = (at("softhsm2.conf"), at("tokens"), at("pin"));
        std::fs::create_dir(&tokens).unwrap();
        std::fs::write(&conf, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display())).unwrap();
        std::fs::write(&pin, format!("{PIN}\n")).unwrap();
        let made = Command::new("softhsm2-util")
            .env("SOFTHSM2_CONF", &conf)
            .args(["--init-token", "--free", "--label", "puente-mx", "--pin", PIN, "--so-pin", "12345678"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let config = fed.mx.dir.join("node.toml");
        let section = format!(
            "\n[keys]\nmodule = \"{module}\"\ntoken = \"puente-mx\"\nlog_key = \"log\"\ntls_key = \"tls\"\npin_file = \"{}\"\n",
            pin.display()
        );
        std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + &section).unwrap();
        Self { conf, tokens, pin }
    }

    /// For the shell that starts the node.
    fn before(&self) -> String {
        format!("export SOFTHSM2_CONF='{}'; ", self.conf.display())
    }

    fn command(&self, node: &Node, args: &[&str]) -> Result<Value, Value> {
        let exe = env!("CARGO_BIN_EXE_puente");
        let ran = Command::new(exe)
            .env("SOFTHSM2_CONF", &self.conf)
            .arg("--dir")
            .arg(&node.dir)
            .args(args)
            .arg("--json")
            .output()
            .unwrap();
        let value: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{args:?}: {ran:?}"));
        if ran.status.success() {
            Ok(value)
        } else {
            Err(value.get("error").cloned().unwrap_or_else(|| panic!("{args:?}: {ran:?}")))
        }
    }

    fn pull_out(&self) {
        std::fs::rename(&self.tokens, self.tokens.with_extension("away")).unwrap();
        std::fs::create_dir(&self.tokens).unwrap();
    }

    fn put_back(&self) {
        std::fs::remove_dir(&self.tokens).unwrap();
        std::fs::rename(self.tokens.with_extension("away"), &self.tokens).unwrap();
    }
}

fn until(what: &str, node: &Node, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "{what}\n{}", node.words());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A service manager that listens: what systemd hears of a node.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(fed: &Federation) -> Self {
        let path = fed.root.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path }
    }

    fn before(&self) -> String {
        format!("export NOTIFY_SOCKET='{}' WATCHDOG_USEC=3000000; ", self.path.display())
    }

    /// Forgets what was said, then waits for the word that the node lives.
    fn hears_that_it_lives(&self) -> bool {
        let mut bytes = [0; 4_096];
        self.socket.set_nonblocking(true).unwrap();
        while self.socket.recv(&mut bytes).is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
        self.socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        while let Ok(read) = self.socket.recv(&mut bytes) {
            if String::from_utf8_lossy(&bytes[..read]).contains("WATCHDOG=1") {
                return true;
            }
        }
        false
    }
}

#[test]
fn a_token_that_is_pulled_out_stops_the_node_from_recording_and_loses_nothing() {
    let Some(module) = module() else { return };
    let _alone = alone();
    let mut fed = Federation::found();
    let shown = fed.mx.json(&["keys", "show"]);
    let soft = Soft::new(&fed, module);
    // Named, and not there yet: it says what to do.
    assert!(!fed.mx.try_start(&soft.before()));
    assert!(fed.mx.words().contains("puente keys move --to-token"), "{}", fed.mx.words());
    fed.mx.kill();
    let moved = soft.command(&fed.mx, &["keys", "move", "--to-token", "--delete-files"]).unwrap();
    assert_eq!(moved["keys"].as_array().unwrap().len(), 2, "{moved}");
    for file in ["log.key", "tls.key.pem"] {
        assert!(!fed.mx.dir.join("keys").join(file).exists(), "{file}");
    }
    assert_eq!(soft.command(&fed.mx, &["keys", "show"]).unwrap(), shown, "the same key, elsewhere");
    let listed = soft.command(&fed.mx, &["keys", "list"]).unwrap().to_string();
    assert!(listed.contains("puente-mx"), "{listed}");

    assert!(fed.mx.try_start(&soft.before()), "{}", fed.mx.words());
    assert!(fed.us.try_start(""), "{}", fed.us.words());
    let answered = |fed: &Federation| {
        let answer = fed.answered_within(Duration::from_secs(30));
        assert!(answer.is_some(), "{}\n{}", fed.mx.words(), fed.us.words());
    };
    answered(&fed);
    assert_eq!(fed.mx.status()["ready"], true, "{}", fed.mx.status());

    soft.pull_out();
    until("the node notices", &fed.mx, || problems(&fed.mx.status()).contains("token"));
    let status = fed.mx.status();
    assert_eq!(status["ready"], false, "{status}");
    let said = status["problems"][0].to_string();
    assert!(said.contains("plug the token in again") && said.contains("vuelva a conectar"), "{said}");
    let question = question(&fed.us.uri, "WVWZZZ1KZFP000001", 2_000);
    assert_eq!(word(&ask(&fed.mx, question)), "token");

    soft.put_back();
    until("the node goes on", &fed.mx, || fed.mx.status()["ready"] == true);
    answered(&fed);
    fed.audit(&BTreeSet::new());
}

#[test]
fn a_node_that_waits_for_its_token_in_the_middle_of_an_exchange_lives_stops_and_goes_on() {
    let Some(module) = module() else { return };
    let _alone = alone();
    let mut fed = Federation::found();
    let soft = Soft::new(&fed, module);
    soft.command(&fed.mx, &["keys", "move", "--to-token", "--delete-files"]).unwrap();
    let manager = Manager::new(&fed);
    let before = soft.before() + &manager.before();
    assert!(fed.mx.try_start(&before), "{}", fed.mx.words());
    assert!(fed.us.try_start(""), "{}", fed.us.words());
    assert!(fed.answered_within(Duration::from_secs(30)).is_some(), "{}\n{}", fed.mx.words(), fed.us.words());
    let mx = fed.mx.uri.clone();
    let from_us = || Question { officer: "o-77".parse().unwrap(), ..question(&mx, "WVWZZZ1KZFP000001", 1_000) };
    let known = word(&ask(&fed.us, from_us()));
    assert!(known.starts_with("answered"), "{known}");

    soft.pull_out();
    // The question gets there on the line that stands, and cannot be recorded.
    let unanswered = word(&ask(&fed.us, from_us()));
    assert!(!unanswered.starts_with("answered"), "{unanswered}");
    until("the log waits", &fed.mx, || fed.mx.words().contains("the log waits for its key"));
    until("the engine waits", &fed.mx, || problems(&fed.mx.status()).contains("stuck"));
    assert_eq!(fed.mx.status()["problems"][0]["code"], "token", "the cause first: {}", fed.mx.status());
    assert!(manager.hears_that_it_lives(), "the service manager would end it: {}", fed.mx.words());
    soft.put_back();
    until("the node goes on", &fed.mx, || fed.mx.status()["ready"] == true);
    assert!(fed.mx.words().contains("the token signs again"), "{}", fed.mx.words());
    let answers = |fed: &Federation| {
        until("it answers again", &fed.mx, || word(&ask(&fed.us, from_us())).starts_with("answered"));
    };
    answers(&fed);

    // Stopped while the log waits: it ends as it should, and the next start goes on.
    soft.pull_out();
    ask(&fed.us, from_us());
    until("the engine waits", &fed.mx, || problems(&fed.mx.status()).contains("stuck"));
    fed.mx.stop();
    assert!(!fed.mx.try_start(&before));
    assert!(fed.mx.words().contains("the token 'puente-mx' is not plugged in"), "{}", fed.mx.words());
    fed.mx.kill();
    soft.put_back();
    assert!(fed.mx.try_start(&before), "{}", fed.mx.words());
    answers(&fed);
    fed.audit(&BTreeSet::new());
}

#[test]
fn a_wrong_pin_is_tried_once_by_whatever_is_started_however_often() {
    let Some(module) = module() else { return };
    let _alone = alone();
    let mut fed = Federation::found();
    let soft = Soft::new(&fed, module);
    soft.command(&fed.mx, &["keys", "move", "--to-token"]).unwrap();
    assert!(soft.command(&fed.mx, &["keys", "move", "--to-token"]).is_ok(), "as often as one likes");
    assert!(fed.mx.dir.join("keys/log.key").exists(), "nothing is deleted unless it is asked for");
    let pin = |pin: &str| std::fs::write(&soft.pin, format!("{pin}\n")).unwrap();

    pin("00000000");
    assert!(!fed.mx.try_start(&soft.before()));
    assert!(fed.mx.words().contains("refuses the PIN"), "{}", fed.mx.words());
    fed.mx.kill();
    // As a service manager does, again and again; and with the right one, too: it is not tried.
    for given in ["00000000", "00000000", PIN] {
        pin(given);
        assert!(!fed.mx.try_start(&soft.before()));
        let said = fed.mx.words();
        assert!(said.contains("a wrong PIN was given") && said.contains("puente keys try-pin"), "{said}");
        fed.mx.kill();
    }
    let error = soft.command(&fed.mx, &["--lang", "es", "keys", "show"]).unwrap_err();
    assert_eq!(error["code"], "token");
    assert!(error["message"].as_str().unwrap().contains("PIN equivocado"), "{error}");
    // A person has it tried, wrong and right.
    pin("00000000");
    let error = soft.command(&fed.mx, &["keys", "try-pin"]).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("refuses the PIN"), "{error}");
    pin(PIN);
    assert_eq!(soft.command(&fed.mx, &["keys", "try-pin"]).unwrap()["token"], "puente-mx");
    assert!(fed.mx.try_start(&soft.before()), "{}", fed.mx.words());
    fed.mx.stop();

    let config = fed.mx.dir.join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("log_key = \"log\"", "log_key = \"other\"")).unwrap();
    let error = soft.command(&fed.mx, &["keys", "show"]).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("holds no key 'other'"), "{error}");
    // Without the labels the files are used again: that undoes the move.
    std::fs::write(&config, text.replace("log_key = \"log\"", "").replace("tls_key = \"tls\"", "")).unwrap();
    assert!(soft.command(&fed.mx, &["keys", "show"]).is_ok());
}

#[test]
fn a_certificate_of_a_key_in_a_token_is_renewed_for_the_same_key_while_the_node_runs() {
    let Some(module) = module() else { return };
    let _alone = alone();
    let mut fed = Federation::found();
    let soft = Soft::new(&fed, module);
    soft.command(&fed.mx, &["keys", "move", "--to-token", "--delete-files"]).unwrap();
    assert!(fed.mx.try_start(&soft.before()), "{}", fed.mx.words());
    assert!(fed.us.try_start(""), "{}", fed.us.words());
    let ca = fed.root.path().join("ca/mx").display().to_string();
    let before = std::fs::read(fed.mx.dir.join("keys/tls.cert.pem")).unwrap();
    let renewed = soft.command(&fed.mx, &["node", "renew", "--ca", &ca, "--force"]).unwrap();
    assert_eq!(renewed["in_force"], true, "{renewed}");
    assert_eq!(renewed["new_key"], false, "{renewed}");
    assert_ne!(std::fs::read(fed.mx.dir.join("keys/tls.cert.pem")).unwrap(), before);
    assert!(!fed.mx.dir.join("keys/tls.next.key.pem").exists(), "no key is made that nobody uses");
    assert!(fed.answered_within(Duration::from_secs(30)).is_some(), "{}\n{}", fed.mx.words(), fed.us.words());

    // By hand, in three steps; and a certificate for a key that is not in the token is none of this node's.
    let at = |name: &str| fed.root.path().join(name).display().to_string();
    soft.command(&fed.mx, &["node", "renew", "--request", &at("request.pem"), "--force"]).unwrap();
    let issued = ["ca", "renew", "--ca", &ca, "--request", &at("request.pem"), "--out", &at("new.pem"), "--force"];
    let other = ["ca", "issue", "--ca", &ca, "--node", &fed.mx.uri, "--days", "30", "--out", &at("other")];
    soft.command(&fed.mx, &other).unwrap();
    let error = soft.command(&fed.mx, &["node", "renew", "--install", &at("other/tls.cert.pem")]).unwrap_err();
    assert_eq!(error["code"], "other-key", "{error}");
    assert!(error["message"].as_str().unwrap().contains("folder or token"), "{error}");
    // Certificates count in seconds: one of the same second as the present one is not newer.
    until("the next one ends later", &fed.mx, || {
        soft.command(&fed.mx, &issued).unwrap();
        let renewed = soft.command(&fed.mx, &["node", "renew", "--install", &at("new.pem")]);
        renewed.is_ok_and(|renewed| renewed["in_force"] == true)
    });

    // Without the token nothing is asked for, and what is in force stays.
    let held = std::fs::read(fed.mx.dir.join("keys/tls.cert.pem")).unwrap();
    soft.pull_out();
    let error = soft.command(&fed.mx, &["node", "renew", "--ca", &ca, "--force"]).unwrap_err();
    assert_eq!(error["code"], "token", "{error}");
    assert_eq!(std::fs::read(fed.mx.dir.join("keys/tls.cert.pem")).unwrap(), held);
    soft.put_back();
    until("the node goes on", &fed.mx, || fed.mx.status()["ready"] == true);
    fed.audit(&BTreeSet::new());
}
