//! Decides where frames' bytes live and who owns them: buffers, pools over a shared depot. It never knows a packet format.

mod buf;
mod pool;

pub use buf::Buf;
pub use pool::{HEADROOM, LARGE_CHUNK, Memory, MemoryError, Pool, Pools};
