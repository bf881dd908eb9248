//! Every topology file that is shipped can be built.

use sluice_lab::{Topology, manifests};

#[test]
fn every_shipped_topology_is_sound() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/topologies");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path()).collect();
    assert!(files.len() >= 2);
    for file in files {
        let topology = Topology::load(&file).unwrap();
        assert!(
            manifests::objects(&topology).len() > topology.nodes.len() + topology.pods.len(),
            "{}",
            file.display()
        );
    }
}
