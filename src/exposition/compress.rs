//! Parts of a page compressed apart, joined into one body that any client can read.
//!
//! Gzip: each part is raw deflate that ends at a byte's end (a sync flush), so parts follow each other as the blocks of
//! one stream; header, last block and checksum make one member of them. Several members would be legal too, but not
//! every client reads beyond the first. Zstandard: each part is a frame, and frames follow each other by definition.

use std::io::Write as _;

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress};

use super::format::Coding;

/// How much work a part is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// It serves many scrapes.
    Kept,
    /// It serves one.
    Once,
}

impl Effort {
    /// Measured on pages of 20,000 accounts: level 3 is where deflate's curve bends.
    const fn gzip(self) -> Compression {
        Compression::new(match self {
            Self::Kept => 3,
            Self::Once => 1,
        })
    }

    const fn zstd(self) -> i32 {
        match self {
            Self::Kept => 3,
            Self::Once => 1,
        }
    }
}

/// Size of a compressed part's pieces. Unit: bytes.
const PIECE: usize = 64 << 10;

/// Room that deflate is given at least; with six bytes or fewer it would repeat a flush.
const DEFLATE_ROOM: usize = 64;

/// Plain bytes that are not worth setting up a compressor: stored, they cost a checksum. A stored block of deflate holds
/// 65,535 at most.
const STORED_MAX: usize = 16 << 10;
/// What stands before them: a block that is not the last, without compression, their number and its complement.
const STORED_HEADER: usize = 5;

/// Pieces up to this size are copied into one; sending another piece costs as much.
const COPIED_MAX: usize = 4 << 10;

const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// The last block of a deflate stream, empty.
const DEFLATE_END: [u8; 2] = [0x03, 0x00];

/// Some of a page, ready to be joined.
#[derive(Debug, Default)]
pub(super) struct Part {
    pieces: Vec<Bytes>,
    checksum: Checksum,
}

/// The CRC-32 of a part's plain bytes, ready to go behind that of others; gzip alone needs it.
#[derive(Clone, Copy, Debug, Default)]
struct Checksum {
    crc: u32,
    length: u64,
    /// What the others' is multiplied by: x to the power of this one's bits.
    shift: u32,
}

impl Checksum {
    fn of(plain: Hasher) -> Self {
        /// Polynomials have their lowest power in the highest bit.
        const ONE: u32 = 1 << 31;
        let length = plain.total_len();
        let mut shift = Hasher::new_with_initial(ONE);
        shift.combine(&Hasher::new_with_initial_len(0, length));
        Self {
            crc: plain.finalize(),
            length,
            shift: shift.finalize(),
        }
    }

    /// The checksum of the others' bytes and this one's after them.
    ///
    /// What `Hasher::combine` does, without finding `shift` each time: that is fifteen times the rest.
    fn behind(&self, others: Hasher) -> Hasher {
        let length = others.total_len() + self.length;
        let crc = multiply(self.shift, others.finalize()) ^ self.crc;
        Hasher::new_with_initial_len(crc, length)
    }
}

/// The product of two polynomials modulo CRC-32's.
fn multiply(a: u32, mut b: u32) -> u32 {
    const CRC_32: u32 = 0xedb8_8320;
    let mut product = 0;
    for bit in (0..u32::BITS).rev() {
        product ^= b & (a >> bit & 1).wrapping_neg();
        b = b >> 1 ^ CRC_32 & (b & 1).wrapping_neg();
    }
    product
}

impl Part {
    /// What it takes up. Unit: bytes.
    pub(super) fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }
}

/// Compresses one part, a piece at a time: the plain bytes of a large part never exist as a whole.
pub(super) struct Compressor {
    stage: Stage,
    part: Part,
    /// Of the plain bytes so far, where gzip needs it.
    checksum: Hasher,
}

enum Stage {
    Identity,
    Gzip {
        deflate: Compress,
        out: Vec<u8>,
    },
    Zstd {
        level: i32,
        /// Waits for a second piece: a part of one is compressed at once, with tables of its own size instead of the four
        /// megabytes that are set up for a stream of unknown length.
        first: Vec<u8>,
        stream: Option<zstd::stream::write::Encoder<'static, Vec<u8>>>,
    },
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor")
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

const NEVER_FAILS: &str = "compressing into memory fails only for want of it";

impl Compressor {
    /// A compressor for one part.
    pub(super) fn new(coding: Coding, effort: Effort) -> Self {
        let stage = match coding {
            Coding::Identity => Stage::Identity,
            Coding::Gzip => Stage::Gzip {
                deflate: Compress::new(effort.gzip(), false),
                out: Vec::with_capacity(PIECE),
            },
            Coding::Zstd => Stage::Zstd {
                level: effort.zstd(),
                first: Vec::new(),
                stream: None,
            },
        };
        Self {
            stage,
            part: Part::default(),
            checksum: Hasher::new(),
        }
    }

    /// Takes the next plain bytes, and returns a buffer for those after them.
    pub(super) fn write(&mut self, mut plain: Vec<u8>) -> Vec<u8> {
        match &mut self.stage {
            Stage::Identity => {
                let next = Vec::with_capacity(plain.capacity());
                if !plain.is_empty() {
                    if plain.len() < plain.capacity() / 2 {
                        plain.shrink_to_fit();
                    }
                    self.part.pieces.push(plain.into());
                }
                return next;
            }
            Stage::Gzip { deflate, out } => {
                self.checksum.update(&plain);
                run(
                    deflate,
                    &plain,
                    FlushCompress::None,
                    out,
                    &mut self.part.pieces,
                );
            }
            Stage::Zstd {
                first,
                stream: None,
                ..
            } if first.is_empty() => return std::mem::replace(first, plain),
            Stage::Zstd {
                level,
                first,
                stream,
            } => {
                let stream = stream.get_or_insert_with(|| {
                    let first = std::mem::take(first);
                    let stream = zstd::stream::write::Encoder::new(Vec::new(), *level);
                    let mut stream = stream.expect(NEVER_FAILS);
                    stream.write_all(&first).expect(NEVER_FAILS);
                    stream
                });
                stream.write_all(&plain).expect(NEVER_FAILS);
            }
        }
        plain
    }

    /// The part.
    pub(super) fn finish(self) -> Part {
        let Self {
            stage,
            mut part,
            checksum,
        } = self;
        let mut last = match stage {
            Stage::Identity => return part,
            Stage::Gzip {
                mut deflate,
                mut out,
            } => {
                // A part of nothing is nothing; a flush would be five bytes.
                if checksum.total_len() > 0 {
                    run(
                        &mut deflate,
                        &[],
                        FlushCompress::Sync,
                        &mut out,
                        &mut part.pieces,
                    );
                    part.checksum = Checksum::of(checksum);
                }
                out
            }
            Stage::Zstd {
                stream: Some(stream),
                ..
            } => stream.finish().expect(NEVER_FAILS),
            Stage::Zstd { level, first, .. } => {
                zstd::bulk::compress(&first, level).expect(NEVER_FAILS)
            }
        };
        last.shrink_to_fit();
        if !last.is_empty() {
            part.pieces.push(last.into());
        }
        part
    }
}

fn run(
    deflate: &mut Compress,
    mut plain: &[u8],
    flush: FlushCompress,
    out: &mut Vec<u8>,
    pieces: &mut Vec<Bytes>,
) {
    loop {
        if out.capacity() - out.len() < DEFLATE_ROOM {
            let full = std::mem::replace(out, Vec::with_capacity(PIECE));
            pieces.push(full.into());
        }
        let before = deflate.total_in();
        deflate
            .compress_vec(plain, out, flush)
            .expect("deflate fails only when it is called after its end");
        plain = &plain[(deflate.total_in() - before) as usize..];
        // What it can't write for want of room it keeps for the next call.
        if plain.is_empty() && out.len() < out.capacity() {
            return;
        }
    }
}

/// Joins parts into one body.
#[derive(Debug)]
pub(super) struct Joined {
    coding: Coding,
    pieces: Vec<Bytes>,
    /// The piece that grows.
    open: Vec<u8>,
    checksum: Hasher,
}

impl Joined {
    /// A body without parts, with room for so many bytes that are not ready.
    pub(super) fn new(coding: Coding, room: usize) -> Self {
        let mut open = Vec::with_capacity(room);
        if coding == Coding::Gzip {
            open.extend_from_slice(&GZIP_HEADER);
        }
        Self {
            coding,
            pieces: Vec::new(),
            open,
            checksum: Hasher::new(),
        }
    }

    /// Adds a part that is ready in this body's coding.
    pub(super) fn add(&mut self, part: &Part) {
        for piece in &part.pieces {
            if piece.len() <= COPIED_MAX {
                self.open.extend_from_slice(piece);
            } else {
                self.close();
                self.pieces.push(piece.clone());
            }
        }
        if part.checksum.length > 0 {
            self.checksum = part.checksum.behind(std::mem::take(&mut self.checksum));
        }
    }

    /// Adds plain bytes, which `write` appends.
    pub(super) fn add_written(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.open.len();
        if self.coding == Coding::Gzip {
            // Of a stored block, which is what most of them become, so that they need not be moved.
            self.open.extend_from_slice(&[0; STORED_HEADER]);
        }
        let plain = self.open.len();
        write(&mut self.open);
        let length = self.open.len() - plain;
        match self.coding {
            Coding::Identity => {}
            Coding::Gzip | Coding::Zstd if length == 0 => self.open.truncate(begin),
            Coding::Gzip if length <= STORED_MAX => {
                self.checksum.update(&self.open[plain..]);
                let length = length as u16;
                self.open[begin + 1..begin + 3].copy_from_slice(&length.to_le_bytes());
                self.open[begin + 3..plain].copy_from_slice(&(!length).to_le_bytes());
            }
            Coding::Gzip | Coding::Zstd => {
                let plain = self.open.split_off(plain);
                self.open.truncate(begin);
                let mut compressor = Compressor::new(self.coding, Effort::Once);
                compressor.write(plain);
                self.add(&compressor.finish());
            }
        }
    }

    /// The whole body, its pieces in order.
    pub(super) fn finish(mut self) -> Vec<Bytes> {
        match self.coding {
            Coding::Identity => {}
            Coding::Gzip => {
                let length = self.checksum.total_len() as u32;
                let checksum = std::mem::take(&mut self.checksum).finalize();
                self.open.extend_from_slice(&DEFLATE_END);
                self.open.extend_from_slice(&checksum.to_le_bytes());
                self.open.extend_from_slice(&length.to_le_bytes());
            }
            Coding::Zstd if self.pieces.is_empty() && self.open.is_empty() => {
                // No frame at all would be no Zstandard.
                self.add(&Compressor::new(Coding::Zstd, Effort::Once).finish());
            }
            Coding::Zstd => {}
        }
        self.close();
        self.pieces
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.pieces.push(std::mem::take(&mut self.open).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::bufread::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn joined(coding: Coding, parts: &[(Vec<u8>, Effort)]) -> Vec<u8> {
        let mut body = Joined::new(coding, 0);
        for (plain, effort) in parts {
            match effort {
                Effort::Kept => {
                    let mut compressor = Compressor::new(coding, Effort::Kept);
                    for piece in plain.chunks(1000) {
                        compressor.write(piece.to_vec());
                    }
                    body.add(&compressor.finish());
                }
                Effort::Once => body.add_written(|out| out.extend_from_slice(plain)),
            }
        }
        body.finish().concat()
    }

    fn plain(coding: Coding, body: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match coding {
            Coding::Identity => plain.extend_from_slice(body),
            // Reads the first member and checks its trailer; that nothing follows it is checked below.
            Coding::Gzip => {
                let mut decoder = GzDecoder::new(body);
                decoder.read_to_end(&mut plain).unwrap();
                assert!(decoder.into_inner().is_empty(), "one member and no more");
            }
            Coding::Zstd => plain = zstd::decode_all(body).unwrap(),
        }
        plain
    }

    fn part() -> impl Strategy<Value = (Vec<u8>, Effort)> {
        let noise = prop::collection::vec(any::<u8>(), 0..5_000);
        let lines = (any::<u8>(), 0_usize..100_000)
            .prop_map(|(byte, length)| (0..length).map(|at| byte ^ (at / 64) as u8).collect());
        let effort = prop_oneof![Just(Effort::Kept), Just(Effort::Once)];
        (prop_oneof![Just(Vec::new()), noise, lines], effort)
    }

    #[test]
    fn large_noise_passes_through_every_coding() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .take(1 << 20)
        .collect();
        for coding in Coding::ALL {
            for effort in [Effort::Kept, Effort::Once] {
                let body = joined(
                    coding,
                    &[(noise.clone(), effort), (noise.clone(), Effort::Kept)],
                );
                assert!(plain(coding, &body) == [noise.clone(), noise.clone()].concat());
            }
        }
    }

    #[test]
    fn body_of_nothing_is_valid_in_every_coding() {
        for coding in Coding::ALL {
            assert!(plain(coding, &joined(coding, &[])).is_empty());
        }
    }

    #[test]
    fn repetitive_part_becomes_a_tenth_at_most() {
        let line =
            b"wechat_logistics_account_quota{appid=\"wx0\",biz_id=\"1\",delivery_id=\"YTO\"} 1\n";
        for coding in [Coding::Gzip, Coding::Zstd] {
            let body = joined(coding, &[(line.repeat(1000), Effort::Kept)]);
            assert!(body.len() < line.len() * 100, "{coding:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn parts_compressed_apart_read_as_one_body(parts in prop::collection::vec(part(), 0..6)) {
            let whole: Vec<u8> = parts.iter().flat_map(|(plain, _)| plain.clone()).collect();
            for coding in Coding::ALL {
                prop_assert!(plain(coding, &joined(coding, &parts)) == whole, "{:?}", coding);
            }
        }
    }
}
