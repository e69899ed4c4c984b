//! Files with holes, as GNU tar has them: in its old format, and in pax archives as of
//! its versions 0.1 and 1.0.

use super::header::{Header, MORE_PIECES, PIECES, REAL_SIZE, TYPE, number};
use super::pax::{Pax, decimal};
use super::read::{Error, Reader};
use super::{BLOCK, MOST_PIECES, Piece};

impl Reader<'_> {
    /// Returns how long a file is, and what of it is in the archive.
    pub(super) fn pieces(
        &mut self,
        header: &Header,
        pax: &Pax,
        stored: u64,
        bad: &dyn Fn(&str) -> Error,
    ) -> Result<(u64, Vec<Piece>), Error> {
        let sparse = &pax.sparse;
        let (size, pieces) = if header[TYPE] == b'S' {
            self.old_pieces(header, bad)?
        } else if let Some(major) = sparse.major {
            if (major, sparse.minor) != (1, Some(0)) {
                return Err(bad("it is a sparse file of an unknown version"));
            }
            let size = sparse.real_size.ok_or_else(|| bad("it is a sparse file without a size"))?;
            (size, self.listed_pieces(bad)?)
        } else if let (Some(pieces), Some(size)) = (&sparse.pieces, sparse.real_size) {
            (size, pieces.clone())
        } else if sparse.old {
            return Err(bad("it is a sparse file of GNU tar's version 0.0: pack it anew"));
        } else {
            return Ok((stored, vec![Piece { at: 0, len: stored }]));
        };
        // What is in the archive must be what the pieces say, in order, in the file.
        let mut end = 0u64;
        let mut sum = 0u64;
        for piece in &pieces {
            let next = piece.at.checked_add(piece.len).filter(|&next| next <= size);
            let next = next.filter(|_| piece.at >= end || piece.len == 0);
            end = next.ok_or_else(|| bad("its pieces are not within it, in order"))?.max(end);
            sum += piece.len;
        }
        if sum != self.left || size > i64::MAX.cast_unsigned() {
            return Err(bad("its pieces are not as long as its data"));
        }
        Ok((size, pieces))
    }

    /// Reads the pieces that an old GNU header has, and the blocks behind it.
    fn old_pieces(
        &mut self,
        header: &Header,
        bad: &dyn Fn(&str) -> Error,
    ) -> Result<(u64, Vec<Piece>), Error> {
        let unsigned = |field: &[u8]| number(field).and_then(|value| u64::try_from(value).ok());
        let wrong = || bad("the list of its pieces cannot be read");
        let size = unsigned(&header[REAL_SIZE]).ok_or_else(wrong)?;
        let mut pieces = Vec::new();
        let mut list = header[PIECES].to_vec();
        let mut more = header[MORE_PIECES] != 0;
        loop {
            for piece in list.chunks_exact(24) {
                if piece[0] == 0 {
                    break;
                }
                let at = unsigned(&piece[..12]).ok_or_else(wrong)?;
                let len = unsigned(&piece[12..]).ok_or_else(wrong)?;
                pieces.push(Piece { at, len });
            }
            if pieces.len() > MOST_PIECES {
                return Err(bad("it has too many pieces"));
            }
            if !more {
                return Ok((size, pieces));
            }
            let mut block = [0; BLOCK];
            self.exactly(&mut block)?;
            list = block[..504].to_vec();
            more = block[504] != 0;
        }
    }

    /// Reads the pieces that stand before the data: lines of numbers, in whole blocks.
    fn listed_pieces(&mut self, bad: &dyn Fn(&str) -> Error) -> Result<Vec<Piece>, Error> {
        let wrong = || bad("the list of its pieces cannot be read");
        let mut numbers = Vec::new();
        let mut wanted = None;
        let mut line = Vec::new();
        while wanted.is_none_or(|wanted| numbers.len() < wanted) {
            let mut block = [0; BLOCK];
            self.left = self.left.checked_sub(BLOCK as u64).ok_or_else(wrong)?;
            self.exactly(&mut block)?;
            for byte in block {
                if byte != b'\n' {
                    line.push(byte);
                    continue;
                }
                let number = decimal(&line).ok_or_else(wrong)?;
                line.clear();
                match wanted {
                    None if number <= MOST_PIECES as u64 => {
                        wanted = usize::try_from(number * 2).ok();
                    }
                    None => return Err(bad("it has too many pieces")),
                    Some(_) => numbers.push(number),
                }
                if wanted == Some(numbers.len()) {
                    break;
                }
            }
            if line.len() > 20 {
                return Err(wrong());
            }
        }
        Ok(numbers.chunks_exact(2).map(|pair| Piece { at: pair[0], len: pair[1] }).collect())
    }
}
