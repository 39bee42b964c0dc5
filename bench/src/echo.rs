//! A bare QUIC echo under mutual TLS: what the transport costs without anything on it.
//!
//! One connection, one bidirectional stream per request, as an exchange has.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig, TransportConfig, VarInt};
use rustls::server::WebPkiClientVerifier;

use crate::Failure;
use crate::peers::{Sizes, closed_loop};
use crate::pki::Identity;
use crate::stats::Sample;

/// Requests are no longer than this, in bytes.
const REQUEST_BYTES_MAX: usize = 1 << 20;

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(256));
    transport.max_idle_timeout(Some(VarInt::from_u32(120_000).into()));
    Arc::new(transport)
}

/// Answers every stream with as many bytes as its first four bytes say, until the parent process ends.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(folder: &Path, listening: impl FnOnce(SocketAddr)) -> Result<(), Failure> {
    let identity = Identity::read(folder, "server")?;
    let verifier = WebPkiClientVerifier::builder(Arc::new(identity.roots()?)).build()?;
    let tls = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![identity.certificate], identity.key)?;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport());
    let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())?;
    listening(endpoint.local_addr()?);
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                tokio::spawn(async move {
                    let Ok(request) = receive.read_to_end(REQUEST_BYTES_MAX).await else { return };
                    let Some(wanted) = request.first_chunk() else { return };
                    let response = vec![7; (u32::from_be_bytes(*wanted) as usize).min(REQUEST_BYTES_MAX)];
                    // The client sees to it that nothing is missing.
                    if send.write_all(&response).await.is_ok() {
                        let _ = send.finish();
                    }
                });
            }
        });
    }
    Ok(())
}

/// A client of [`serve`].
#[derive(Debug)]
pub struct Client {
    _endpoint: Endpoint,
    connection: Connection,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn connect(folder: &Path, server: SocketAddr) -> Result<Self, Failure> {
        let identity = Identity::read(folder, "client")?;
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(identity.roots()?)
            .with_client_auth_cert(vec![identity.certificate], identity.key)?;
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        config.transport_config(transport());
        let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
        endpoint.set_default_client_config(config);
        let connection = endpoint.connect(server, "localhost")?.await?;
        Ok(Self { _endpoint: endpoint, connection })
    }

    /// Echoes for `duration`.
    ///
    /// # Errors
    /// A request failed.
    pub async fn measure(&self, in_flight: usize, duration: Duration, sizes: Sizes) -> Result<Sample, Failure> {
        let mut request = vec![7; sizes.request.max(4)];
        request[..4].copy_from_slice(&u32::try_from(sizes.response)?.to_be_bytes());
        let request: Arc<[u8]> = request.into();
        let connection = self.connection.clone();
        closed_loop(in_flight, duration, move || call(connection.clone(), Arc::clone(&request), sizes.response)).await
    }
}

async fn call(connection: Connection, request: Arc<[u8]>, response: usize) -> Result<(), Failure> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&request).await?;
    send.finish()?;
    let received = receive.read_to_end(REQUEST_BYTES_MAX).await?;
    if received.len() == response { Ok(()) } else { Err("the echo is incomplete".into()) }
}
