//! Connections of one request each, several at a time: connect, ask, answer, close. The server closes first, as a web server does after its
//! answer. It never counts a connection that was not answered.

use super::{Ends, PATIENCE, dial};
use crate::compare::scene::Way;
use anyhow::{Context, Result, ensure};
use sluice_lab::Lab;
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Clients, and as many servers.
const AT_ONCE: usize = 8;

/// Connections a second over this time, and how many there were.
pub(in crate::compare) fn connections(lab: &Lab, way: Way, time: Duration) -> Result<(f64, u64)> {
    let ends = Ends::of(lab, way)?;
    let (ends, done) = (&ends, AtomicBool::new(false));
    thread::scope(|scope| {
        let done = &done;
        let servers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(move || serve(ends, done))).collect();
        let began = Instant::now();
        let clients: Vec<_> = (0..AT_ONCE)
            .map(|_| scope.spawn(move || ask(ends, began + time)))
            .collect();
        let asked = total(clients);
        let wall = began.elapsed();
        done.store(true, Ordering::Relaxed);
        let (asked, served) = (asked?, total(servers)?);
        ensure!(asked == served, "{served} connections were served and {asked} answered");
        Ok((asked as f64 / wall.as_secs_f64(), asked))
    })
}

/// The sum, or the first error.
fn total(threads: Vec<thread::ScopedJoinHandle<'_, Result<u64>>>) -> Result<u64> {
    let counts = threads
        .into_iter()
        .map(|thread| thread.join().expect("it returns its errors"));
    // All are waited for before the first error is told.
    let counts: Vec<Result<u64>> = counts.collect();
    counts.into_iter().sum()
}

fn ask(ends: &Ends<'_>, end: Instant) -> Result<u64> {
    ends.client.enter()?;
    let target = ends.way.target();
    let mut answered = 0;
    while answered == 0 || Instant::now() < end {
        let mut stream = dial(target)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&[1]).context("a request cannot be sent")?;
        let mut room = [0; 2];
        stream.read_exact(&mut room[..1]).context("a request is not answered")?;
        let rest = stream.read(&mut room).context("a connection does not end")?;
        ensure!(rest == 0, "an answer is too long");
        answered += 1;
    }
    Ok(answered)
}

fn serve(ends: &Ends<'_>, done: &AtomicBool) -> Result<u64> {
    let mut served = 0;
    loop {
        let mut stream = match ends.listener.accept() {
            Ok((stream, _)) => stream,
            // Nobody came within a glance.
            Err(err) if err.kind() == ErrorKind::WouldBlock => {
                if done.load(Ordering::Relaxed) {
                    return Ok(served);
                }
                continue;
            }
            Err(err) => return Err(err).context("no connection can be accepted"),
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut byte = [0];
        stream.read_exact(&mut byte).context("a request does not arrive")?;
        stream.write_all(&byte).context("an answer cannot be sent")?;
        served += 1;
    }
}
