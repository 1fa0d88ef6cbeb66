//! A sequence of zstd frames, as RFC 8878 §3 allows them, read as one stream, each with its
//! checksum verified. Used for the bodies of OTLP/HTTP and for capture files. Of a frame that is
//! cut, all whole blocks are given before that is an error.

use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::errors::ReadFrameHeaderError::SkipFrame;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::error::Error;
use std::io::{self, BufRead, ErrorKind, Read};

/// Unfolds zstd frames; holds one window and one block at most.
pub(crate) struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    is_inside: bool,
    /// What is wrong once the source has ended within a frame, after all that was unpacked of it.
    cut: Option<String>,
}

/// A block that ends a frame and holds nothing: the header (the last one, raw, no bytes), and a
/// checksum for the frames that have one.
const EMPTY_LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// What a frame asks for is more memory than is allowed. The inner error of an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("a zstd frame needs a larger window than is allowed")]
pub(crate) struct WindowTooLarge;

impl<R: BufRead> Frames<R> {
    /// Reads the frames in `source`, none with a window of more than `window_len_max` bytes.
    pub(crate) fn new(source: R, window_len_max: u64) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(window_len_max);
        Self { source, decoder, is_inside: false, cut: None }
    }

    /// Begins the next frame; `false` at the end of the source.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => {
                    self.is_inside = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(SkipFrame { length, .. })) => {
                    self.skip(u64::from(length))?;
                }
                Err(FrameDecoderError::WindowSizeTooBig { .. }) => {
                    return Err(io::Error::other(WindowTooLarge));
                }
                Err(error) => return Err(damage(&error)),
            }
        }
        Ok(false)
    }

    fn skip(&mut self, len: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.source).take(len), &mut io::sink())?;
        if skipped < len {
            let longer = "a skippable frame is longer than the body";
            return Err(io::Error::new(ErrorKind::UnexpectedEof, longer));
        }
        Ok(())
    }

    /// Unpacks until there is something to give, or the frame ends, or the source does.
    fn unpack(&mut self) -> io::Result<()> {
        while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
            let strategy = BlockDecodingStrategy::UptoBlocks(1);
            let decoded = self.decoder.decode_blocks(&mut self.source, strategy);
            let Err(error) = decoded.map_err(|error| damage(&error)) else { continue };
            if error.kind() != ErrorKind::UnexpectedEof {
                return Err(error);
            }
            self.cut = Some(error.to_string());
            // The decoder keeps a whole window back for as long as blocks may follow: an end of
            // our own makes it give that, too.
            let strategy = BlockDecodingStrategy::UptoBlocks(1);
            let ended = self.decoder.decode_blocks(EMPTY_LAST_BLOCK.as_slice(), strategy);
            ended.map_err(|error| damage(&error))?;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.is_inside = false;
        let written = self.decoder.get_checksum_from_data();
        if written.is_some() && written != self.decoder.get_calculated_checksum() {
            let wrong = "the checksum of a zstd frame is wrong";
            return Err(io::Error::new(ErrorKind::InvalidData, wrong));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, unfolded: &mut [u8]) -> io::Result<usize> {
        if unfolded.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.is_inside && !self.begin()? {
                return Ok(0);
            }
            self.unpack()?;
            let len = self.decoder.read(unfolded)?;
            if 0 < len {
                return Ok(len);
            }
            if let Some(why) = &self.cut {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, why.clone()));
            }
            self.end()?;
        }
    }
}

/// What is wrong with a frame: `UnexpectedEof` where the source ends within it.
fn damage(error: &FrameDecoderError) -> io::Error {
    let mut is_cut = false;
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        is_cut |= io.is_some_and(|error| error.kind() == ErrorKind::UnexpectedEof);
        cause = error.source();
    }
    let kind = if is_cut { ErrorKind::UnexpectedEof } else { ErrorKind::InvalidData };
    io::Error::new(kind, error.to_string())
}
