//! Unpacking beside reading: one thread unpacks, the other reads what is ready.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Unpacked at once.
const BLOCK_LEN: usize = 256 * 1024;
/// Blocks that are ready at most: the unpacker waits for the reader.
const BLOCKS_MAX: usize = 8;

type Block = io::Result<Vec<u8>>;

/// What a thread of its own unpacks.
pub(super) struct Unpacked {
    blocks: Receiver<Block>,
    block: Vec<u8>,
    /// How much of the block was read.
    at: usize,
    is_over: bool,
}

impl Unpacked {
    /// Begins to unpack `source`. The thread ends with the source, at an error, or when this is
    /// dropped.
    pub(super) fn new(source: impl Read + Send + 'static) -> io::Result<Self> {
        let (ready, blocks) = sync_channel(BLOCKS_MAX);
        let named = thread::Builder::new().name("unpack".into());
        named.spawn(move || unpack(source, &ready))?;
        Ok(Self { blocks, block: Vec::new(), at: 0, is_over: false })
    }
}

/// Gives blocks until the source ends, which is an empty block.
fn unpack(mut source: impl Read, ready: &SyncSender<Block>) {
    loop {
        let mut block = Vec::with_capacity(BLOCK_LEN);
        let result = (&mut source).take(BLOCK_LEN as u64).read_to_end(&mut block);
        let is_last = result.is_err() || block.is_empty();
        // What came before the fault is given before it.
        if !block.is_empty() && ready.send(Ok(block)).is_err() {
            return;
        }
        if is_last {
            // A reader that has left needs no end.
            let _ = ready.send(result.map(|_| Vec::new()));
            return;
        }
    }
}

impl BufRead for Unpacked {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.block.len() && !self.is_over {
            // Without an end the thread has failed.
            let lost = |_| Err(io::Error::other("it cannot be unpacked"));
            let block = self.blocks.recv().unwrap_or_else(lost);
            self.is_over = !block.as_ref().is_ok_and(|block| !block.is_empty());
            (self.block, self.at) = (block?, 0);
        }
        Ok(&self.block[self.at..])
    }

    fn consume(&mut self, len: usize) {
        self.at = self.block.len().min(self.at + len);
    }
}

impl Read for Unpacked {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let len = ready.len().min(into.len());
        into[..len].copy_from_slice(&ready[..len]);
        self.consume(len);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::sync::mpsc;

    /// Gives as much as is asked for, so often, then fails, or ends; tells how much it gave.
    struct Source {
        reads: usize,
        fails: bool,
        given: mpsc::Sender<usize>,
    }

    impl Read for Source {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.reads == 0 {
                return if self.fails { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(0) };
            }
            self.reads -= 1;
            self.given.send(into.len()).unwrap();
            into.fill(7);
            Ok(into.len())
        }
    }

    fn source(reads: usize, fails: bool) -> (Source, mpsc::Receiver<usize>) {
        let (given, told) = mpsc::channel();
        (Source { reads, fails, given }, told)
    }

    /// Scenario: a source of many blocks that ends, and one that fails.
    /// Guarantees: all is read in both, then the end, or the fault, once.
    #[test]
    fn all_is_read_before_the_end_and_before_a_fault() {
        for fails in [false, true] {
            let (source, told) = source(300, fails);
            let mut unpacked = Unpacked::new(source).unwrap();
            let mut read = Vec::new();
            let result = unpacked.read_to_end(&mut read);
            let kind = result.err().map(|error| error.kind());
            assert_eq!(kind, fails.then_some(ErrorKind::UnexpectedEof));
            assert_eq!(read.len(), told.iter().sum::<usize>());
            assert!(2 * BLOCK_LEN < read.len() && read.iter().all(|byte| *byte == 7));
            assert_eq!(unpacked.read(&mut [0]).unwrap(), 0);
        }
    }

    /// Scenario: a source without end; one byte is read, then nobody reads, and leaves.
    /// Guarantees: no more is unpacked than is allowed to be ready; the thread ends.
    #[test]
    fn no_more_is_ready_than_is_allowed() {
        let (source, told) = source(usize::MAX, false);
        let mut unpacked = Unpacked::new(source).unwrap();
        unpacked.read_exact(&mut [0]).unwrap();
        drop(unpacked);
        // Ends with the thread: its sender is gone.
        let given: usize = told.iter().sum();
        // One is being read, and one is in the thread's hand.
        assert!((1..=(BLOCKS_MAX + 2) * BLOCK_LEN).contains(&given), "{given}");
    }

    /// Scenario: the source panics.
    /// Guarantees: an error, not an end.
    #[test]
    fn a_thread_that_fails_is_an_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                panic!("as a decoder may");
            }
        }
        let mut unpacked = Unpacked::new(Broken).unwrap();
        assert!(unpacked.read(&mut [0; 8]).is_err());
    }
}
