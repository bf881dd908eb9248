//! Frames travel in bursts.

use crate::Frame;
use arrayvec::ArrayVec;

/// Most frames that are worked on together.
pub const BURST: usize = 64;

/// Up to [`BURST`] frames, without allocation.
pub type Burst<B> = ArrayVec<Frame<B>, BURST>;
