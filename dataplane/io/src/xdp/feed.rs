//! Decides which socket gets the frames of which queue. It never decides which frames those are.

use super::attach::with_causes;
use super::steering::SteeringError;
use crate::afxdp::Attach;
use aya::maps::{Map, MapData, MapError, XskMap};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Most NIC queues.
pub const MAX_QUEUES: u32 = 256;

/// An XDP program that brings frames to sockets.
pub trait Feed {
    /// Where the program runs; `None` before it is attached.
    fn mode(&self) -> Option<Attach>;

    /// Feeds a queue's frames to its socket; when the socket is closed, the kernel forgets it.
    ///
    /// # Errors
    /// [`SteeringError::Full`] from queue 256 on, else [`SteeringError::Map`].
    fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), SteeringError>;
}

/// The map `xsks` of a program.
pub(super) struct Sockets(XskMap<MapData>);

impl Sockets {
    pub(super) fn new(map: Map) -> Result<Self, SteeringError> {
        map.try_into().map(Self).map_err(|err: MapError| SteeringError::Load {
            what: with_causes(&err),
        })
    }

    pub(super) fn set(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), SteeringError> {
        if queue >= MAX_QUEUES {
            return Err(SteeringError::Full {
                what: "queues",
                limit: MAX_QUEUES as usize,
            });
        }
        self.0
            .set(queue, socket.as_raw_fd(), 0)
            .map_err(|source| SteeringError::Map {
                what: "a socket",
                source,
            })
    }
}
