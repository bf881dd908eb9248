//! Capture files.

use sluice_io::pcap::{Reader, Writer};
use sluice_mem::Memory;

/// A file ends, whatever it says about itself; what was read can be written and read again.
pub(crate) fn pcap(data: &[u8]) {
    let Ok(reader) = Reader::new(data) else { return };
    let packets: Vec<_> = reader.map_while(Result::ok).take(data.len()).collect();
    let Ok(memory) = Memory::new(4096, 1) else { return };
    let mut pool = memory.pool();
    let mut writer = Writer::new(Vec::new(), 4096).expect("a vector takes everything");
    let mut kept = Vec::new();
    for packet in packets {
        let mut buf = pool.alloc().expect("the only chunk is home");
        if let Some(room) = buf.extend(packet.bytes.len()) {
            room.copy_from_slice(&packet.bytes);
            if writer.write(packet.at, &buf).is_ok() {
                kept.push((packet.at, packet.bytes));
            }
        }
        assert!(pool.free(buf).is_ok());
    }
    let file = writer.into_inner();
    let again = Reader::new(&file[..]).expect("what we write, we read");
    let again: Vec<_> = again
        .map(|packet| packet.expect("what we write, we read"))
        .map(|packet| (packet.at, packet.bytes))
        .collect();
    assert_eq!(again, kept);
}
