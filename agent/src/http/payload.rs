//! Bodies of requests: bytes in memory, or a file that is read while it is sent. One type, so that HTTP is compiled once.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

/// How much of a file is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A file that is sent.
#[derive(Debug)]
pub struct FileBody {
    file: File,
    left: u64,
}

impl FileBody {
    /// Opens a file.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub async fn open(path: &std::path::Path) -> io::Result<Self> {
        let file = File::open(path).await?;
        let left = file.metadata().await?.len();
        Ok(Self { file, left })
    }
}

/// A body.
#[derive(Debug)]
pub(super) enum Payload {
    Whole(Bytes),
    File(FileBody),
}

impl Payload {
    pub(super) fn whole(bytes: &Bytes) -> Self {
        Self::Whole(bytes.clone())
    }

    /// The body for one exchange: bytes can be sent again after a redirect, a file cannot and is empty then.
    pub(super) fn begin(&mut self) -> Self {
        match self {
            Self::Whole(bytes) => Self::Whole(bytes.clone()),
            Self::File(_) => std::mem::replace(self, Self::Whole(Bytes::new())),
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::File(FileBody { left: 0, .. }) => Poll::Ready(None),
            Self::File(FileBody { file, left }) => {
                let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(*left).unwrap_or(CHUNK_BYTES))];
                let mut buffer = ReadBuf::new(&mut chunk);
                ready!(Pin::new(file).poll_read(context, &mut buffer))?;
                let read = buffer.filled().len();
                if read == 0 {
                    let shorter = io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter");
                    return Poll::Ready(Some(Err(shorter)));
                }
                chunk.truncate(read);
                *left = left.saturating_sub(read as u64);
                Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::File(body) => body.left,
        })
    }
}
