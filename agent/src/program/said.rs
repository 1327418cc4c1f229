//! What a program says, up to a bound.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use tokio::net::unix::pipe;

/// Bytes that are listened to at least, before the way is closed.
const LISTENED_BYTES_MIN: usize = 256 << 10;

/// What a program says on one of its ways.
pub(super) struct Said {
    /// `None` once enough was said: then whoever goes on writing is ended by it.
    output: Option<pipe::Receiver>,
    pub(super) kept: Vec<u8>,
    bytes: usize,
    bytes_max: usize,
}

impl Said {
    pub(super) fn new(output: Option<OwnedFd>, bytes_max: usize) -> io::Result<Self> {
        let output = output.map(pipe::Receiver::from_owned_fd).transpose()?;
        Ok(Self { output, kept: Vec::new(), bytes: 0, bytes_max })
    }

    /// More was said than is kept.
    pub(super) const fn is_over(&self) -> bool {
        self.bytes > self.bytes_max
    }

    /// Bytes that are read at most: what talks much and does its work all the same is borne for a while.
    fn listened_bytes_max(&self) -> usize {
        self.bytes_max.max(LISTENED_BYTES_MIN)
    }

    /// Listens until the end, or until enough was said.
    pub(super) async fn listen(&mut self) {
        while let Some(output) = &self.output {
            if output.readable().await.is_err() || !self.take() {
                self.output = None;
            }
        }
    }

    /// What is still in the pipe, whether or not the runtime has heard of it.
    pub(super) fn rest(&mut self) {
        let pipe = self.output.take().and_then(|output| output.into_nonblocking_fd().ok());
        let Some(mut pipe) = pipe.map(std::fs::File::from) else { return };
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            self.keep(&buffer[..read]);
            if self.bytes > self.listened_bytes_max() {
                return;
            }
        }
    }

    /// Reads once; whether more may come that is cared for.
    fn take(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.output.as_ref().map(|output| output.try_read(&mut buffer)) {
            Some(Ok(read @ 1..)) => {
                self.keep(&buffer[..read]);
                self.bytes <= self.listened_bytes_max()
            }
            Some(Err(error)) => error.kind() == io::ErrorKind::WouldBlock,
            Some(Ok(0)) | None => false,
        }
    }

    fn keep(&mut self, words: &[u8]) {
        let room = self.bytes_max - self.kept.len();
        self.kept.extend_from_slice(&words[..words.len().min(room)]);
        self.bytes += words.len();
    }
}
