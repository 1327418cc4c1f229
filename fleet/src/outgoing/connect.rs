//! A connection to a target, with TLS or without.

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bytes both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for S {}

/// Connects; the certificate is checked for `name`, or for the host where there is none.
///
/// # Errors
/// The system's, or what TLS says.
pub(crate) async fn connect(
    host: &str,
    port: u16,
    tls: Option<&Arc<ClientConfig>>,
    name: Option<&str>,
) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect((host, port)).await?;
    // What is sent is written in one go and waited for.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = name.unwrap_or(host);
    let name = ServerName::try_from(name.to_owned()).map_err(|error| io::Error::other(format!("{name:?}: {error}")))?;
    Ok(Box::new(TlsConnector::from(tls.clone()).connect(name, stream).await?))
}
