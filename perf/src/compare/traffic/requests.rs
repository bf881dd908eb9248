//! One byte there, one byte back, the next one after that: how long an answer takes. It never has two requests under way.

use super::Ends;
use crate::compare::scene::Way;
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use sluice_lab::Lab;
use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

/// Caches and windows are warm after that.
const WARM_UP: Duration = Duration::from_millis(200);
/// Longest that is told apart, ns.
const LONGEST_NS: u64 = 10_000_000_000;

/// Asks for this long; how long answers took, in ns.
pub(in crate::compare) fn requests(lab: &Lab, way: Way, time: Duration) -> Result<Histogram<u64>> {
    let [mut client, mut server] = Ends::of(lab, way)?.connect()?;
    thread::scope(|scope| {
        let echo = scope.spawn(move || -> Result<u64> {
            let (mut byte, mut served) = ([0], 0);
            loop {
                match server.read(&mut byte) {
                    Ok(0) => return Ok(served),
                    Ok(_) => server.write_all(&byte).context("an answer cannot be sent")?,
                    Err(err) if err.kind() == ErrorKind::Interrupted => continue,
                    Err(err) => return Err(err).context("no request arrives"),
                }
                served += 1;
            }
        });
        let mut times = Histogram::new_with_bounds(1, LONGEST_NS, 3)?;
        let (began, mut answered) = (Instant::now(), 0u64);
        loop {
            let asked = Instant::now();
            let since = asked - began;
            // One answer is waited for in any case.
            if since >= WARM_UP + time && !times.is_empty() {
                break;
            }
            let mut byte = [answered as u8];
            client.write_all(&byte).context("a request cannot be sent")?;
            client.read_exact(&mut byte).context("a request is not answered")?;
            let took = asked.elapsed();
            ensure!(byte == [answered as u8], "the answer is to another request");
            answered += 1;
            if since >= WARM_UP {
                times.saturating_record(took.as_nanos() as u64);
            }
        }
        drop(client);
        let served = echo.join().expect("it returns its errors")?;
        ensure!(served == answered, "{answered} answers to {served} requests");
        Ok(times)
    })
}
