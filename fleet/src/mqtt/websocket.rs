//! MQTT over WebSocket (MQTT 5, 6): binary messages whose borders mean nothing, subprotocol `mqtt`, path `/mqtt`.

use super::connection::PeerIdentity;
use super::hub::Service;
use super::stats::Refusal;
use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};
use tokio_util::sync::CancellationToken;

/// Where clients ask for MQTT.
pub const WEBSOCKET_PATH: &str = "/mqtt";
/// Largest WebSocket message or frame, in bytes. Clients send one MQTT packet in each.
const MESSAGE_BYTES_MAX: usize = 2 << 20;
/// Largest message that is sent, in bytes.
const SEND_BYTES_MAX: usize = 64 * 1024;

impl Service {
    /// Does the WebSocket handshake on a stream whose peer is proved already, then serves MQTT on it.
    pub async fn serve_websocket<S>(&self, stream: S, who: PeerIdentity, stop: &CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX))
            .read_buffer_size(4096)
            .write_buffer_size(0)
            .max_write_buffer_size(2 * SEND_BYTES_MAX);
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = timeout(
                self.0.config.handshake_timeout,
                accept_hdr_async_with_config(stream, Subprotocol, Some(config)),
            ) => accepted,
        };
        let error = match accepted {
            Ok(Ok(socket)) => return self.serve_stream(WsStream::new(socket), who, stop).await,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        self.0.stats.refuse(Refusal::Handshake);
        tracing::info!(node = %who.node, peer = %who.peer, error, "WebSocket handshake failed");
    }
}

/// Checks path and subprotocol of the request.
struct Subprotocol;

impl Callback for Subprotocol {
    #[expect(clippy::result_large_err, reason = "the trait's signature")]
    fn on_request(self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        let refuse = |status, text: &str| {
            let mut response = ErrorResponse::new(Some(text.to_owned()));
            *response.status_mut() = status;
            Err(response)
        };
        if request.uri().path() != WEBSOCKET_PATH {
            return refuse(StatusCode::NOT_FOUND, "MQTT is at /mqtt");
        }
        let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
        let mqtt = offered
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|name| name.trim() == "mqtt");
        if !mqtt {
            return refuse(StatusCode::BAD_REQUEST, "the subprotocol must be mqtt");
        }
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mqtt"));
        Ok(response)
    }
}

/// The byte stream inside a WebSocket's binary messages.
pub struct WsStream<S> {
    socket: WebSocketStream<S>,
    unread: Bytes,
}

impl<S> WsStream<S> {
    /// Of an accepted socket.
    #[must_use]
    pub fn new(socket: WebSocketStream<S>) -> Self {
        Self { socket, unread: Bytes::new() }
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WsStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Ok(_)) => {
                    let text = "MQTT over WebSocket takes binary messages alone";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            }
        }
        let n = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..n]);
        self.unread.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WsStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(io_error)?;
        let n = bytes.len().min(SEND_BYTES_MAX);
        let message = Message::Binary(Bytes::copy_from_slice(&bytes[..n]));
        Pin::new(&mut self.socket).start_send(message).map_err(io_error)?;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(io_error)
    }
}
