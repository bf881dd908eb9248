//! Programs run inside a lab: always with a deadline or a guard. It never lets one outlive its lab.

use crate::process::Process;
use crate::state::Record;
use anyhow::{Result, bail};
use nix::sys::signal::Signal;
use std::fmt;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a program said and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command, for messages.
    pub command: String,
    /// Exit code; none if a signal ended it, as at the deadline.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// It did not end by itself before the deadline.
    pub timed_out: bool,
    /// From start to end.
    pub took: Duration,
}

impl Output {
    /// It ended by itself, with code 0.
    pub fn ok(&self) -> bool {
        self.code == Some(0) && !self.timed_out
    }

    /// Its standard output without the last line break.
    ///
    /// # Errors
    /// It failed; the text is what it said.
    pub fn text(&self) -> Result<&str> {
        if self.ok() {
            return Ok(self.stdout.trim_end());
        }
        bail!("{self}")
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.command)?;
        match self.code {
            _ if self.timed_out => write!(f, "was still running after {:.1?}", self.took)?,
            Some(code) => write!(f, "ended with {code} after {:.1?}", self.took)?,
            None => write!(f, "was ended by a signal after {:.1?}", self.took)?,
        }
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.trim().is_empty() {
                write!(f, "\n{name}: {}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

/// A program running in a lab. Dropping it ends it.
pub struct Running {
    command: String,
    process: Option<Process>,
    child: Child,
    stdout: Listener,
    stderr: Listener,
    record: Arc<Mutex<Record>>,
    started: Instant,
    took: Option<Duration>,
}

impl Running {
    /// Starts `command` in the namespace `namespace` and writes it into the record.
    pub(crate) fn start(record: &Arc<Mutex<Record>>, namespace: &str, command: &[&str]) -> Result<Running> {
        let [program, args @ ..] = command else {
            bail!("an empty command cannot be run in {namespace}")
        };
        let mut prepared = Command::new(program);
        prepared
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut held = locked(record);
        let mut child = crate::ns::spawn(namespace, &mut prepared)?;
        let process = Process::of(child.id() as i32, *program);
        held.processes.extend(process.clone());
        drop(held);
        let stdout = Listener::to(child.stdout.take());
        let stderr = Listener::to(child.stderr.take());
        let (command, record, started) = (command.join(" "), record.clone(), Instant::now());
        Ok(Running {
            command,
            process,
            child,
            stdout,
            stderr,
            record,
            started,
            took: None,
        })
    }

    /// Is it still running?
    pub fn running(&self) -> bool {
        self.process.as_ref().is_some_and(Process::alive)
    }

    /// Its standard output so far.
    pub fn said(&self) -> String {
        self.stdout.heard()
    }

    /// Waits until it ends by itself, or ends it `deadline` after its start.
    pub fn finish(mut self, deadline: Duration) -> Output {
        if let Some(process) = &self.process {
            process.gone_within(deadline.saturating_sub(self.started.elapsed()));
        }
        let timed_out = self.running();
        self.halt(timed_out)
    }

    /// Ends it, if it has not ended, and hands out what it said. Asks first: SIGINT, as at a terminal.
    pub fn stop(mut self) -> Output {
        if let Some(process) = &self.process {
            process.signal(Signal::SIGINT);
            process.gone_within(Duration::from_secs(1));
        }
        self.halt(false)
    }

    fn halt(&mut self, timed_out: bool) -> Output {
        let took = *self.took.get_or_insert_with(|| self.started.elapsed());
        if let Some(process) = self.process.take() {
            // The group goes before its leader is waited for: until then nobody else can have the pid.
            process.end_group();
            locked(&self.record).processes.retain(|p| *p != process);
        }
        let code = self.child.wait().ok().and_then(|status| status.code());
        let (stdout, stderr) = (self.stdout.rest(), self.stderr.rest());
        Output {
            command: self.command.clone(),
            code,
            stdout,
            stderr,
            timed_out,
            took,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.halt(false);
        }
    }
}

/// Reads a pipe on a thread of its own, so that a talkative program never blocks.
struct Listener {
    text: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    fn to(pipe: Option<impl Read + Send + 'static>) -> Listener {
        let text = Arc::new(Mutex::new(Vec::new()));
        let shared = text.clone();
        let thread = pipe.map(|mut pipe| {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                    locked(&shared).extend_from_slice(&buffer[..n]);
                }
            })
        });
        Listener { text, thread }
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&locked(&self.text)).into_owned()
    }

    /// All of it, once the program has ended. One that left its group may hold the pipe: nobody waits for it long.
    fn rest(&mut self) -> String {
        let end = Instant::now() + Duration::from_secs(1);
        while self.thread.as_ref().is_some_and(|t| !t.is_finished()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.heard()
    }
}

/// The content, also after a panic elsewhere: taking a lab down must still work then.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
