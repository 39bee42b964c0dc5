//! The thread that speaks to the module.

use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

use age::secrecy::SecretString;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;

use super::{Care, Job, Kind, TokenError, Work, import};

/// One call of modules at a time in this process: one that is put away while another thread is in it crashes.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What is known of the PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PinState {
    /// It was not tried.
    Untried,
    /// The token took it.
    Taken,
    /// The token refused it.
    Refused,
}

pub(super) struct Worker {
    path: PathBuf,
    name: String,
    pin: SecretString,
    care: Care,
    pin_state: PinState,
    /// Loaded once: taking a library down and loading it again is what modules stand worst.
    module: Option<Pkcs11>,
    session: Option<Session>,
}

impl Worker {
    pub(super) const fn new(path: PathBuf, name: String, pin: SecretString, care: Care) -> Self {
        Self { path, name, pin, care, pin_state: PinState::Untried, module: None, session: None }
    }

    /// Until nobody is left who could ask.
    pub(super) fn serve(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            let one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
            let mut result = self.carry_out(&job.work);
            if result.as_ref().is_err_and(|error| matches!(error, TokenError::Failed { .. } | TokenError::NoKey { .. }))
            {
                // What a token that was away says is not what it says after a fresh start.
                self.close();
                result = self.carry_out(&job.work);
            }
            if result.is_err() {
                self.close();
            }
            drop(one);
            // Whoever asked may have given up.
            let _ = job.answer.send(result);
        }
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        self.close();
    }

    fn close(&mut self) {
        if self.session.take().is_some() {
            self.end();
        }
    }

    fn end(&self) {
        // Nothing can be done about a module that does not even end.
        let _ = self.module.clone().map(Pkcs11::finalize);
    }

    fn failed(&self, error: &Error) -> TokenError {
        TokenError::Failed { token: self.name.clone(), why: error.to_string() }
    }

    fn open(&mut self) -> Result<(), TokenError> {
        if self.session.is_some() {
            return Ok(());
        }
        if self.pin_state == PinState::Refused {
            return Err(TokenError::Pin(self.name.clone()));
        }
        let failed =
            |error: Error| TokenError::Module { path: self.path.display().to_string(), why: error.to_string() };
        let module = match &self.module {
            Some(module) => module.clone(),
            None => self.module.insert(Pkcs11::new(&self.path).map_err(failed)?).clone(),
        };
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(failed(error)),
        }
        match self.log_in(&module) {
            Ok(session) => {
                (self.session, self.pin_state) = (Some(session), PinState::Taken);
                Ok(())
            }
            Err(error) => {
                if matches!(error, TokenError::Pin(_)) {
                    self.pin_state = PinState::Refused;
                }
                self.end();
                Err(error)
            }
        }
    }

    fn log_in(&self, module: &Pkcs11) -> Result<Session, TokenError> {
        let slots = module.get_slots_with_initialized_token().map_err(|error| self.failed(&error))?;
        let named = |slot: Slot| {
            let info = module.get_token_info(slot).ok()?;
            (info.label().trim_end() == self.name).then_some((slot, info))
        };
        let found = slots.into_iter().find_map(named);
        let (slot, info) = found.ok_or_else(|| TokenError::Absent(self.name.clone()))?;
        if info.user_pin_locked() {
            return Err(TokenError::Locked(self.name.clone()));
        }
        // The token itself remembers over restarts that a wrong PIN was given. One that it took a moment ago is right.
        let doubted = match self.care {
            Care::Untried => info.user_pin_count_low() || info.user_pin_final_try(),
            Care::TryOnce => info.user_pin_final_try(),
        };
        if doubted && self.pin_state == PinState::Untried {
            return Err(TokenError::PinDoubted(self.name.clone()));
        }
        let session = module.open_rw_session(slot).map_err(|error| self.failed(&error))?;
        match session.login(UserType::User, Some(&self.pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(TokenError::Locked(self.name.clone())),
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                Err(TokenError::Pin(self.name.clone()))
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn carry_out(&mut self, work: &Work) -> Result<Vec<u8>, TokenError> {
        self.open()?;
        let Some(session) = &self.session else { return Err(TokenError::Silent(self.name.clone())) };
        match work {
            Work::LogIn => Ok(Vec::new()),
            Work::Sign { label, kind, data } => {
                let key = self.find(session, ObjectClass::PRIVATE_KEY, label, *kind)?;
                let mechanism = match kind {
                    Kind::Ed25519 => Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)),
                    Kind::P256 => Mechanism::Ecdsa,
                };
                session.sign(&mechanism, key, data).map_err(|error| self.failed(&error))
            }
            Work::Public { label, kind } => {
                let key = self.find(session, ObjectClass::PUBLIC_KEY, label, *kind)?;
                let found =
                    session.get_attributes(key, &[AttributeType::EcPoint]).map_err(|error| self.failed(&error))?;
                let point = found.into_iter().find_map(|attribute| match attribute {
                    Attribute::EcPoint(bytes) => Some(bytes),
                    _ => None,
                });
                // Its private half must be there, too: it is what signs.
                self.find(session, ObjectClass::PRIVATE_KEY, label, *kind)?;
                let length = match kind {
                    Kind::Ed25519 => 32,
                    Kind::P256 => 65,
                };
                let point = point.and_then(|bytes| unwrapped(&bytes, length).map(<[u8]>::to_vec));
                point.ok_or_else(|| self.unfit(label, "its public half cannot be read"))
            }
            Work::Import { label, private } => {
                let held = import::import(session, label, private).map_err(|error| self.failed(&error))?;
                if held { Ok(Vec::new()) } else { Err(self.unfit(label, "a key of that label is there already")) }
            }
        }
    }

    fn unfit(&self, label: &str, why: &str) -> TokenError {
        TokenError::Unfit { token: self.name.clone(), label: label.to_owned(), why: why.to_owned() }
    }

    fn find(&self, session: &Session, class: ObjectClass, label: &str, kind: Kind) -> Result<ObjectHandle, TokenError> {
        let key_type = match kind {
            Kind::Ed25519 => KeyType::EC_EDWARDS,
            Kind::P256 => KeyType::EC,
        };
        let template =
            [Attribute::Class(class), Attribute::KeyType(key_type), Attribute::Label(label.as_bytes().to_vec())];
        let found = session.find_objects(&template).map_err(|error| self.failed(&error))?;
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(TokenError::NoKey { token: self.name.clone(), label: label.to_owned() }),
            _ => Err(self.unfit(label, "there are several of that label")),
        }
    }
}

/// The bytes of a point, whether they stand as they are or in an OCTET STRING of DER: modules do either.
fn unwrapped(bytes: &[u8], length: usize) -> Option<&[u8]> {
    match bytes {
        [4, len, rest @ ..] if usize::from(*len) == length && rest.len() == length => Some(rest),
        bare if bare.len() == length => Some(bare),
        _ => None,
    }
}
