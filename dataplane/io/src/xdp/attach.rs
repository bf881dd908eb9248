//! Decides how a program gets onto an interface: in the driver if it can, by a link that goes with whoever holds it. It never knows
//! what the program does.

use super::steering::SteeringError;
use crate::afxdp::Attach;
use crate::link::bundles_others;
use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::xdp::XdpLinkId;
use aya::programs::{ProgramError, Xdp, XdpMode};
use std::error::Error;
use std::io;

/// The program of this name.
pub(super) fn program<'e>(object: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp, SteeringError> {
    let missing = || SteeringError::Load {
        what: format!("program {name} is missing"),
    };
    object
        .program_mut(name)
        .ok_or_else(missing)?
        .try_into()
        .map_err(|_| missing())
}

/// Attaches where nothing is attached yet.
pub(super) fn anew(program: &mut Xdp, interface: &str, ifindex: u32) -> Result<(Attach, FdLink), SteeringError> {
    let mut refusals = Vec::with_capacity(2);
    let modes = [(Attach::Native, XdpMode::Driver), (Attach::Generic, XdpMode::Skb)];
    for (attach, mode) in modes.into_iter().skip(usize::from(bundles_others(interface))) {
        let outcome = match program.attach_to_if_index(ifindex, mode) {
            Ok(id) => take_link(program, interface, id),
            Err(err) if matches!(errno(&err), Some(libc::EBUSY | libc::EEXIST)) => {
                return Err(SteeringError::Occupied {
                    interface: interface.to_owned(),
                });
            }
            Err(err) => Err(fail(interface, "attach", &err)),
        };
        match outcome {
            Ok(link) => return Ok((attach, link)),
            Err(SteeringError::Link { what, .. }) => refusals.push(what),
            Err(other) => return Err(other),
        }
    }
    let [native, generic] = [0, 1].map(|at| refusals.get(at).cloned().unwrap_or_default());
    Err(SteeringError::Attach {
        interface: interface.to_owned(),
        native,
        generic,
    })
}

pub(super) fn take_link(program: &mut Xdp, interface: &str, id: XdpLinkId) -> Result<FdLink, SteeringError> {
    let link = program
        .take_link(id)
        .map_err(|err| fail(interface, "take the link", &err))?;
    // aya attaches by netlink where the kernel refuses a link; such a program would go with us, so it is not wanted.
    link.try_into().map_err(|_| {
        fail(
            interface,
            "attach by a link",
            &io::Error::from_raw_os_error(libc::EINVAL),
        )
    })
}

pub(super) fn fail(interface: &str, step: &'static str, err: &dyn Error) -> SteeringError {
    SteeringError::Link {
        interface: interface.to_owned(),
        step,
        what: with_causes(err),
    }
}

/// The error number at the bottom of aya's errors.
pub(super) fn errno(err: &(dyn Error + 'static)) -> Option<i32> {
    let own = err.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    let syscall = match err.downcast_ref::<ProgramError>() {
        Some(ProgramError::SyscallError(call)) => call.io_error.raw_os_error(),
        _ => None,
    };
    own.or(syscall).or_else(|| errno(err.source()?))
}

pub(super) fn with_causes(err: &dyn Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}
