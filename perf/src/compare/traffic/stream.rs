//! One TCP connection that carries as much as it can. Decides between which moments bytes count; it never leaves one uncounted.

use super::{Ends, GLANCE, PATIENCE};
use crate::compare::load::Load;
use crate::compare::scene::Way;
use anyhow::{Context, Result, ensure};
use sluice_lab::Lab;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a write, and room for a read.
const CHUNK: usize = 256 << 10;
/// Until the window has opened.
const WARM_UP: Duration = Duration::from_millis(300);

/// What arrived between two moments.
#[derive(Clone, Copy, Debug)]
pub(in crate::compare) struct Stream {
    pub(in crate::compare) bytes: u64,
    pub(in crate::compare) wall: Duration,
    pub(in crate::compare) load: Load,
}

/// Sends for this long, and some more before and after.
pub(in crate::compare) fn stream(lab: &Lab, way: Way, time: Duration) -> Result<Stream> {
    let [mut client, mut server] = Ends::of(lab, way)?.connect()?;
    let (stop, arrived) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let sender = scope.spawn(|| -> Result<u64> {
            let chunk = vec![0x5a; CHUNK];
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                let wrote = client.write(&chunk).context("the stream stalls: nothing can be sent")?;
                sent += wrote as u64;
            }
            client.shutdown(std::net::Shutdown::Write)?;
            Ok(sent)
        });
        let receiver = scope.spawn(|| -> Result<u64> {
            let mut room = vec![0; CHUNK];
            let mut got = 0;
            loop {
                let read = server.read(&mut room).context("the stream stalls: nothing arrives")?;
                if read == 0 {
                    return Ok(got);
                }
                got += read as u64;
                arrived.store(got, Ordering::Relaxed);
            }
        });
        thread::sleep(WARM_UP);
        let (began, before, load) = (Instant::now(), arrived.load(Ordering::Relaxed), Load::now());
        thread::sleep(time);
        // On a machine that others use, too, either end may not have had its turn yet.
        while arrived.load(Ordering::Relaxed) == before && began.elapsed() < time + PATIENCE {
            thread::sleep(GLANCE);
        }
        let bytes = arrived.load(Ordering::Relaxed) - before;
        let (wall, load) = (began.elapsed(), load?.since()?);
        stop.store(true, Ordering::Relaxed);
        let ended = |thread: thread::ScopedJoinHandle<'_, Result<u64>>| thread.join().expect("it returns its errors");
        let (sent, got) = (ended(sender)?, ended(receiver)?);
        ensure!(sent == got, "{sent} bytes were sent and {got} arrived");
        ensure!(bytes > 0, "nothing arrived in {wall:?}");
        Ok(Stream { bytes, wall, load })
    })
}
