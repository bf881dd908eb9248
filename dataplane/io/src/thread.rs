//! Decides how the scheduler sees the calling thread. It never starts one.

use std::io;

/// Whom the scheduler lets go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `SCHED_OTHER`: shares its CPU with everybody.
    Normal,
    /// `SCHED_RR`, lowest priority: before every ordinary thread of its CPU; equals take turns.
    Realtime,
}

/// Puts the calling thread into this class.
///
/// # Errors
/// The kernel refuses (a real-time class needs CAP_SYS_NICE).
pub fn set_class(class: Class) -> io::Result<()> {
    let (policy, priority) = match class {
        Class::Normal => (libc::SCHED_OTHER, 0),
        Class::Realtime => (libc::SCHED_RR, 1),
    };
    // SAFETY: a structure of integers, for which zero bytes are valid too; C libraries differ in its other fields.
    let mut parameters: libc::sched_param = unsafe { core::mem::zeroed() };
    parameters.sched_priority = priority;
    // SAFETY: zero names the calling thread, and `parameters` is borrowed for the call.
    let done = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> libc::c_int {
        // SAFETY: zero names the calling thread; no pointer is passed.
        unsafe { libc::sched_getscheduler(0) }
    }

    #[test]
    fn a_thread_goes_first_and_comes_back() {
        std::thread::spawn(|| {
            set_class(Class::Realtime).expect("needs root, as CI has");
            assert_eq!(policy(), libc::SCHED_RR);
            set_class(Class::Normal).unwrap();
            assert_eq!(policy(), libc::SCHED_OTHER);
        })
        .join()
        .unwrap();
    }
}
