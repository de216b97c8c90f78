//! Splits the large frames of a WebSocket server before the WebSocket library reads them.
//!
//! The library keeps the buffer of the largest frame, so a large message in one frame would be held twice. A message in
//! several frames (RFC 6455 §5.4) is collected in a buffer of its own, which becomes the text of the message.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest payload that the library gets in one frame.
const MAX_PAYLOAD: u64 = 64 << 10;
/// The longest header of a frame without a mask (RFC 6455 §5.2).
const MAX_HEADER: usize = 10;
/// The bit of the last frame of a message.
const FIN: u8 = 0x80;

/// Reads frames that are not masked; what is written is passed on as it is.
pub(super) struct FrameSplitter<S> {
    stream: S,
    /// Frames that are longer are not split: the library rejects them before it reads them.
    limit: u64,
    /// What has been read of the server's header.
    header: Buffer,
    /// What is handed over before more of the payload.
    output: Buffer,
    /// How much is left of the payload of the frame that is handed over.
    payload: u64,
    /// How much is left of the server's frame after that.
    rest: u64,
    /// Whether the server's frame is the last of its message.
    is_final: bool,
}

/// A part of a header: up to `end`, without the first `start` bytes.
#[derive(Default)]
struct Buffer {
    bytes: [u8; MAX_HEADER],
    start: usize,
    end: usize,
}

impl Buffer {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }
}

impl<S> FrameSplitter<S> {
    /// `limit` is the longest frame that is accepted.
    pub(super) fn new(stream: S, limit: usize) -> Self {
        FrameSplitter {
            stream,
            limit: limit as u64,
            header: Buffer::default(),
            output: Buffer::default(),
            payload: 0,
            rest: 0,
            is_final: true,
        }
    }

    /// How many bytes the header needs, as far as it is known.
    fn header_length(&self) -> usize {
        match self.header.bytes[1] & 0x7f {
            _ if self.header.end < 2 => 2,
            126 => 4,
            127 => MAX_HEADER,
            _ => 2,
        }
    }

    /// Begins the frame whose header has been read.
    fn begin_frame(&mut self) {
        let header = std::mem::take(&mut self.header);
        let bytes = &header.bytes[..header.end];
        let length = match header.end {
            2 => u64::from(bytes[1] & 0x7f),
            _ => bytes[2..].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        self.is_final = bytes[0] & FIN != 0;
        let (is_control, is_masked) = (bytes[0] & 0x08 != 0, bytes[1] & 0x80 != 0);
        if is_control || is_masked || length <= MAX_PAYLOAD || length > self.limit {
            self.output.push(bytes);
            self.payload = length;
        } else {
            self.rest = length;
            self.begin_part(bytes[0] & !FIN);
        }
    }

    /// Begins the next part of the server's frame. `first` is its first byte without [`FIN`].
    fn begin_part(&mut self, first: u8) {
        self.payload = self.rest.min(MAX_PAYLOAD);
        self.rest -= self.payload;
        let fin = if self.rest == 0 && self.is_final { FIN } else { 0 };
        self.output.push(&[first | fin, 127]);
        self.output.push(&self.payload.to_be_bytes());
    }
}

/// Reads into a part of a buffer. Returns how much was read: nothing at the end of the stream.
fn poll_read_into(
    stream: Pin<&mut impl AsyncRead>,
    context: &mut Context<'_>,
    space: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut part = ReadBuf::new(space);
    ready!(stream.poll_read(context, &mut part))?;
    Poll::Ready(Ok(part.filled().len()))
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameSplitter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.output.start < this.output.end {
                let output = &this.output.bytes[this.output.start..this.output.end];
                let length = output.len().min(buffer.remaining());
                buffer.put_slice(&output[..length]);
                this.output.start += length;
                return Poll::Ready(Ok(()));
            }
            this.output = Buffer::default();
            if this.payload > 0 {
                let length = usize::try_from(this.payload).unwrap_or(usize::MAX).min(buffer.remaining());
                let space = buffer.initialize_unfilled_to(length);
                let read = ready!(poll_read_into(Pin::new(&mut this.stream), context, space))?;
                buffer.advance(read);
                this.payload -= read as u64;
                return Poll::Ready(Ok(()));
            }
            if this.rest > 0 {
                this.begin_part(0);
                continue;
            }
            let length = this.header_length();
            let space = &mut this.header.bytes[this.header.end..length];
            let read = ready!(poll_read_into(Pin::new(&mut this.stream), context, space))?;
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            this.header.end += read;
            if this.header.end >= 2 && this.header.end == this.header_length() {
                this.begin_frame();
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameSplitter<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::AsyncReadExt;

    use super::*;

    /// What the library reads of these bytes, with a buffer of this size.
    async fn split(bytes: &[u8], size: usize) -> Vec<u8> {
        let mut splitter = FrameSplitter::new(bytes, 1 << 20);
        let (mut all, mut buffer) = (Vec::new(), vec![0; size]);
        loop {
            match splitter.read(&mut buffer).await.unwrap() {
                0 => return all,
                read => all.extend_from_slice(&buffer[..read]),
            }
        }
    }

    fn frame(first: u8, length: u64, sent: usize) -> Vec<u8> {
        [&[first, 127][..], &length.to_be_bytes(), &vec![b'x'; sent]].concat()
    }

    #[tokio::test]
    async fn a_large_data_frame_becomes_several() {
        let part = MAX_PAYLOAD as usize;
        let parts = |opcode, last| [frame(opcode, MAX_PAYLOAD, part), frame(last, 5, 5)].concat();
        for (first, expected) in
            [(0x81, parts(0x01, 0x80)), (0x82, parts(0x02, 0x80)), (0x01, parts(0x01, 0x00)), (0x80, parts(0x00, 0x80))]
        {
            // Another frame follows.
            let sent = [frame(first, MAX_PAYLOAD + 5, part + 5), vec![0x89, 1, b'p']].concat();
            let expected = [expected, vec![0x89, 1, b'p']].concat();
            for size in [3, 16 << 10, 1 << 20] {
                assert_eq!(split(&sent, size).await, expected, "{first:x}, {size}");
            }
        }
    }

    #[tokio::test]
    async fn other_frames_stay_as_they_are() {
        let small = [&[0x81, 126, 0, 200][..], &[b'y'; 200]].concat();
        let masked = [&[0x81, 127 | 0x80][..], &(2 * MAX_PAYLOAD).to_be_bytes(), b"mask"].concat();
        for bytes in [
            vec![0x81, 0, 0x8a, 0, 0x81, 2, b'{', b'}'],
            small,
            masked,
            frame(0x81, MAX_PAYLOAD, 3),
            frame(0x81, (1 << 20) + 1, 3),
            frame(0x88, MAX_PAYLOAD + 1, 3),
        ] {
            assert_eq!(split(&bytes, 1000).await, bytes);
        }
    }
}
