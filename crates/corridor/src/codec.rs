//! Bytes to messages and back: `proto/puente/v1/corridor.proto`, parsed at the door.

use prost::Message as _;
use puente_group::limits::{GROUP_INFO_BYTES_MAX, KEY_PACKAGE_BYTES_MAX, SEALED_BYTES_MAX, WELCOME_BYTES_MAX};
use puente_ledger::MessageError;

use crate::api::{Genesis, Message, Welcome};
use crate::generated as proto;
use crate::generated::message::Body;
use crate::post::PostId;

/// The longest message, in bytes: a Welcome or a group's state of the largest group, and what names it.
pub const MESSAGE_BYTES_MAX: usize = WELCOME_BYTES_MAX + 4_096;

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Not protobuf of this shape, or without a body.
    #[error("the bytes are no message about a group")]
    Undecodable,
    /// A field is not what belongs there.
    #[error("the {0} of a message about a group is not well formed, or too large")]
    Field(&'static str),
    /// A message about the order.
    #[error(transparent)]
    Ledger(#[from] MessageError),
}

fn bounded(bytes: Vec<u8>, max: usize, name: &'static str) -> Result<Vec<u8>, CodecError> {
    if bytes.len() > max { Err(CodecError::Field(name)) } else { Ok(bytes) }
}

fn post_id(bytes: &[u8]) -> Result<PostId, CodecError> {
    Ok(PostId(bytes.try_into().map_err(|_| CodecError::Field("post's name"))?))
}

impl Genesis {
    fn proto(&self) -> proto::Genesis {
        proto::Genesis { id: self.id.0.to_vec(), founder: self.founder.to_string(), charter: self.charter.to_string() }
    }

    fn parse(genesis: Option<proto::Genesis>) -> Result<Self, CodecError> {
        let malformed = |_| CodecError::Field("genesis");
        let genesis = genesis.ok_or(CodecError::Field("genesis"))?;
        let id = genesis.id.try_into().map_err(|_| CodecError::Field("genesis"))?;
        Ok(Self {
            id: puente_group::GroupId(id),
            founder: genesis.founder.parse().map_err(malformed)?,
            charter: genesis.charter.parse().map_err(|_| CodecError::Field("genesis"))?,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.proto().encode_to_vec()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::parse(Some(proto::Genesis::decode(bytes).map_err(|_| CodecError::Undecodable)?))
    }
}

impl Welcome {
    fn proto(&self) -> proto::Welcome {
        let (genesis, ledger) = (Some(self.genesis.proto()), self.ledger.to_string());
        proto::Welcome { genesis, ledger, index: self.index, welcome: self.welcome.clone() }
    }

    fn parse(welcome: proto::Welcome) -> Result<Self, CodecError> {
        Ok(Self {
            genesis: Genesis::parse(welcome.genesis)?,
            ledger: welcome.ledger.parse().map_err(|_| CodecError::Field("ledger"))?,
            index: welcome.index,
            welcome: bounded(welcome.welcome, WELCOME_BYTES_MAX, "Welcome")?,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.proto().encode_to_vec()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::parse(proto::Welcome::decode(bytes).map_err(|_| CodecError::Undecodable)?)
    }
}

impl Message {
    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        let body = match self {
            Self::Ledger(message) => Body::Ledger(message.encode()),
            Self::WantKeyPackage { suite } => Body::WantKeyPackage(proto::WantKeyPackage { suite: u32::from(*suite) }),
            Self::KeyPackage(bytes) => Body::KeyPackage(bytes.clone()),
            Self::Welcome(welcome) => Body::Welcome(welcome.proto()),
            Self::Joined => Body::Joined(proto::Joined {}),
            Self::WantInfo => Body::WantInfo(proto::WantInfo {}),
            Self::Info { genesis, info } => {
                Body::Info(proto::Info { genesis: Some(genesis.proto()), info: info.clone() })
            }
            Self::Post { id, sealed } => Body::Post(proto::Post { id: id.0.to_vec(), sealed: sealed.clone() }),
            Self::Posted(id) => Body::Posted(id.0.to_vec()),
            Self::Unreadable(id) => Body::Unreadable(id.0.to_vec()),
        };
        proto::Message { body: Some(body) }.encode_to_vec()
    }

    /// Reads what another node sent.
    ///
    /// # Errors
    /// Not a message, or a field that is not what belongs there.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(CodecError::Field("length"));
        }
        let message = proto::Message::decode(bytes).map_err(|_| CodecError::Undecodable)?;
        Ok(match message.body.ok_or(CodecError::Undecodable)? {
            Body::Ledger(bytes) => Self::Ledger(puente_ledger::Message::decode(&bytes)?),
            Body::WantKeyPackage(want) => {
                Self::WantKeyPackage { suite: want.suite.try_into().map_err(|_| CodecError::Field("ciphersuite"))? }
            }
            Body::KeyPackage(bytes) => Self::KeyPackage(bounded(bytes, KEY_PACKAGE_BYTES_MAX, "key package")?),
            Body::Welcome(welcome) => Self::Welcome(Welcome::parse(welcome)?),
            Body::Joined(_) => Self::Joined,
            Body::WantInfo(_) => Self::WantInfo,
            Body::Info(info) => Self::Info {
                genesis: Genesis::parse(info.genesis)?,
                info: bounded(info.info, GROUP_INFO_BYTES_MAX, "group's state")?,
            },
            Body::Post(post) => {
                Self::Post { id: post_id(&post.id)?, sealed: bounded(post.sealed, SEALED_BYTES_MAX, "post")? }
            }
            Body::Posted(id) => Self::Posted(post_id(&id)?),
            Body::Unreadable(id) => Self::Unreadable(post_id(&id)?),
        })
    }
}
