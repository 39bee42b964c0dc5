//! A unary gRPC call under mutual TLS, without any log: what an unaudited service would do.
//!
//! The messages are written out by hand, as is what tonic's generator would
//! write around them: there is no build script to wait for.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fs, future};

use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::Failure;
use crate::peers::{Sizes, closed_loop};
use crate::stats::Sample;

/// Asks for a response of a size.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ask {
    /// Bytes wanted back.
    #[prost(uint32, tag = "1")]
    pub wanted: u32,
    /// Filling.
    #[prost(bytes = "vec", tag = "2")]
    pub body: Vec<u8>,
}

/// As many bytes as were asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Answer {
    /// Filling.
    #[prost(bytes = "vec", tag = "1")]
    pub body: Vec<u8>,
}

#[derive(Clone)]
struct Fill;

impl UnaryService<Ask> for Fill {
    type Response = Answer;
    type Future = future::Ready<Result<Response<Answer>, Status>>;

    fn call(&mut self, request: Request<Ask>) -> Self::Future {
        let wanted = (request.get_ref().wanted as usize).min(1 << 20);
        future::ready(Ok(Response::new(Answer { body: vec![7; wanted] })))
    }
}

/// The service, as a generator would write it.
#[derive(Clone)]
struct Unary;

impl NamedService for Unary {
    const NAME: &'static str = "puente.bench.Unary";
}

impl Service<http::Request<Body>> for Unary {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Answer, Ask>::default());
            Ok(grpc.unary(Fill, request).await)
        })
    }
}

/// Serves until the parent process ends.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(folder: &Path, listening: impl FnOnce(SocketAddr)) -> Result<(), Failure> {
    let read = |name: &str| fs::read(folder.join(name));
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(read("server.cert.pem")?, read("server.key.pem")?))
        .client_ca_root(Certificate::from_pem(read("root.pem")?));
    let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?.with_nodelay(Some(true));
    listening(incoming.local_addr()?);
    Ok(Server::builder().tls_config(tls)?.add_service(Unary).serve_with_incoming(incoming).await?)
}

/// A client of [`serve`], on one connection.
#[derive(Debug)]
pub struct Client {
    channel: Channel,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn connect(folder: &Path, server: SocketAddr) -> Result<Self, Failure> {
        let read = |name: &str| fs::read(folder.join(name));
        let tls = ClientTlsConfig::new()
            .identity(Identity::from_pem(read("client.cert.pem")?, read("client.key.pem")?))
            .ca_certificate(Certificate::from_pem(read("root.pem")?))
            .domain_name("localhost");
        let endpoint = Endpoint::from_shared(format!("https://{server}"))?.tcp_nodelay(true).tls_config(tls)?;
        Ok(Self { channel: endpoint.connect().await? })
    }

    /// Calls for `duration`.
    ///
    /// # Errors
    /// A call failed.
    pub async fn measure(&self, in_flight: usize, duration: Duration, sizes: Sizes) -> Result<Sample, Failure> {
        let ask = Ask { wanted: u32::try_from(sizes.response)?, body: vec![7; sizes.request] };
        let channel = self.channel.clone();
        closed_loop(in_flight, duration, move || call(channel.clone(), ask.clone())).await
    }
}

async fn call(channel: Channel, ask: Ask) -> Result<(), Failure> {
    let wanted = ask.wanted as usize;
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await?;
    let path = PathAndQuery::from_static("/puente.bench.Unary/Call");
    let response = grpc.unary(Request::new(ask), path, ProstCodec::<Ask, Answer>::default()).await?;
    if response.get_ref().body.len() == wanted { Ok(()) } else { Err("the answer is incomplete".into()) }
}
