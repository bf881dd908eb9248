//! Pings, one by one.

use crate::faults;
use sluice_lab::{Output, Place};
use std::net::IpAddr;

/// Three pings, all answered. One by one: after a first answer, ping waits for later ones only twice as long as that took,
/// which on a busy machine is too short.
pub(crate) fn ping(from: &Place<'_>, to: IpAddr) {
    for _ in 0..3 {
        let output = ping_with(from, to, &[]);
        assert!(output.ok(), "from {}: {output}", from.name());
    }
}

/// One ping with these options.
pub(crate) fn ping_with(from: &Place<'_>, to: IpAddr, options: &[&str]) -> Output {
    let to = to.to_string();
    let command = [&["ping", "-n", "-c", "1", "-W", "3"], options, &[&to]].concat();
    // An error that came back is an answer, too.
    let answered = |said: &Output| said.ok() || [&said.stdout, &said.stderr].iter().any(|text| text.contains("error"));
    faults::again(|| from.run(&command).unwrap(), answered)
}

/// One ping in a packet of `size` bytes, which nobody may cut.
pub(crate) fn sized_ping(from: &Place<'_>, to: IpAddr, size: u32) -> Output {
    let headers = if to.is_ipv6() { 48 } else { 28 };
    ping_with(from, to, &["-M", "do", "-s", &(size - headers).to_string()])
}

/// That one is answered.
pub(crate) fn fits(from: &Place<'_>, to: IpAddr, size: u32) {
    let said = sized_ping(from, to, size);
    assert!(said.ok(), "{size} bytes from {} to {to}: {said}", from.name());
}

/// That one is answered, and one byte more with what the way takes.
pub(crate) fn fits_exactly(from: &Place<'_>, to: IpAddr, mtu: u32) {
    fits(from, to, mtu);
    let over = sized_ping(from, to, mtu + 1);
    let said = format!("{}{}", over.stdout, over.stderr).to_lowercase();
    let named = [format!("mtu={mtu}"), format!("mtu: {mtu}")];
    let named = named.iter().any(|name| said.contains(name));
    assert!(!over.ok() && named, "from {} to {to}: {over}", from.name());
}
