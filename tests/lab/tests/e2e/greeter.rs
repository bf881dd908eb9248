//! A server that says who it is and whom it sees.

use sluice_lab::Place;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Listens for TCP and UDP, both families, until it is dropped.
pub(crate) struct Greeter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Greeter {
    /// At `port` of these addresses, for TCP of every one. Datagrams are answered from the address that they were sent to, as
    /// servers do that have several.
    pub(crate) fn start(at: &Place<'_>, addresses: &[&str], port: u16) -> Self {
        let (tcp, udp) = at
            .within(|| {
                let tcp = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
                tcp.set_nonblocking(true)?;
                let bound = |at: &&str| {
                    let udp = UdpSocket::bind((at.parse::<IpAddr>()?, port))?;
                    udp.set_nonblocking(true)?;
                    Ok(udp)
                };
                Ok((tcp, addresses.iter().map(bound).collect::<anyhow::Result<Vec<_>>>()?))
            })
            .unwrap();
        let (stop, name) = (Arc::new(AtomicBool::new(false)), at.name().to_owned());
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let hello = |peer: SocketAddr| format!("{name} {}", peer.ip().to_canonical());
            let mut buffer = [0; 64];
            while !stopped.load(Ordering::Relaxed) {
                // Whoever went away again is of no interest.
                if let Ok((mut stream, peer)) = tcp.accept() {
                    let _ = stream.write_all(hello(peer).as_bytes());
                }
                for socket in &udp {
                    if let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                        let _ = socket.send_to(hello(peer).as_bytes(), peer);
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a greeter says over TCP.
pub(crate) fn greeted(from: &Place<'_>, to: (IpAddr, u16), patience: Duration) -> io::Result<String> {
    let exchange = || {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from(to), patience)?;
        stream.set_read_timeout(Some(patience))?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    };
    from.within(|| Ok(exchange())).unwrap()
}
