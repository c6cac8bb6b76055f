//! Which processors a thread keeps to, and how urgent it is.

use std::io;
use std::mem;

use anyhow::Result;

/// The processors that this thread may use.
pub fn all() -> Vec<usize> {
    // SAFETY: an empty set is all zeros; the call writes no more than the set.
    let set = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::sched_getaffinity(0, size_of_val(&set), &mut set);
        set
    };
    // SAFETY: the numbers are within the set.
    (0..libc::CPU_SETSIZE as usize).filter(|&n| unsafe { libc::CPU_ISSET(n, &set) }).collect()
}

/// Lets a thread (0: this one) use these processors alone.
pub fn keep_to(thread: u32, processors: &[usize]) -> Result<()> {
    // SAFETY: an empty set is all zeros, the numbers come from `all`, and the call reads the set.
    let result = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        processors.iter().for_each(|&processor| libc::CPU_SET(processor, &mut set));
        libc::sched_setaffinity(thread as libc::pid_t, size_of_val(&set), &set)
    };
    outcome(result)
}

/// Gives this thread real-time priority: it runs as soon as it can.
pub fn hurry() -> Result<()> {
    set_policy(libc::SCHED_FIFO, 10)
}

/// Whether that is allowed.
pub fn may_hurry() -> bool {
    hurry().and_then(|()| set_policy(libc::SCHED_OTHER, 0)).is_ok()
}

fn set_policy(policy: libc::c_int, priority: libc::c_int) -> Result<()> {
    // SAFETY: the call reads the parameters.
    let result = unsafe {
        let mut parameters: libc::sched_param = mem::zeroed();
        parameters.sched_priority = priority;
        libc::sched_setscheduler(0, policy, &parameters)
    };
    outcome(result)
}

fn outcome(result: libc::c_int) -> Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}
