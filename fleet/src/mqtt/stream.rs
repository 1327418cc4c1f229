//! Moves bytes between a stream and a connection's buffers, both ways in one step.

use super::connection::release;
use super::frame::Assembler;
use bytes::{Buf, BytesMut};
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Most bytes that one read takes. The place for them is on the stack, so that waiting costs no buffer.
const READ_BYTES_MAX: usize = 16 * 1024;

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    Read(usize),
    /// So many bytes were taken by the stream; 0 for a flush.
    Wrote(usize),
    /// The peer closed its side.
    Closed,
}

/// A stream with what came from it and what is to go to it.
pub(super) struct Wire<S> {
    stream: S,
    pub(super) input: Assembler,
    pub(super) out: BytesMut,
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, input: Assembler::default(), out: BytesMut::new(), unflushed: false }
    }

    /// Whether something is still to be written or flushed.
    pub(super) fn is_dirty(&self) -> bool {
        !self.out.is_empty() || self.unflushed
    }

    /// Writes, flushes or, where `reading`, reads, whichever is possible first. Safe to cancel.
    pub(super) async fn step(&mut self, reading: bool) -> io::Result<Moved> {
        poll_fn(|cx| {
            if let Poll::Ready(moved) = self.poll_write(cx) {
                return Poll::Ready(moved);
            }
            if reading { self.poll_read(cx) } else { Poll::Pending }
        })
        .await
    }

    /// Writes everything and closes this side.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        while self.is_dirty() {
            poll_fn(|cx| self.poll_write(cx)).await?;
        }
        self.stream.shutdown().await
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Moved>> {
        if !self.out.is_empty() {
            let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, &self.out)? else {
                return Poll::Pending;
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
            release(&mut self.out);
            self.unflushed = true;
            return Poll::Ready(Ok(Moved::Wrote(written)));
        }
        if self.unflushed && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            self.unflushed = false;
            return Poll::Ready(Ok(Moved::Wrote(0)));
        }
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Moved>> {
        let mut place = [const { MaybeUninit::<u8>::uninit() }; READ_BYTES_MAX];
        let mut read = ReadBuf::uninit(&mut place);
        if Pin::new(&mut self.stream).poll_read(cx, &mut read)?.is_pending() {
            return Poll::Pending;
        }
        let bytes = read.filled();
        self.input.input().extend_from_slice(bytes);
        Poll::Ready(Ok(if bytes.is_empty() { Moved::Closed } else { Moved::Read(bytes.len()) }))
    }
}
