#!/usr/bin/env bash
# Runs AF_XDP sockets between the network ports of a small QEMU guest, whose drivers have zero-copy where the lab's have
# none. VM names the folder that builds and boots the guest (packages.sh, build-initramfs.sh, run.sh); VM_KERNEL is its
# kernel: 6.18 has zero-copy for igb and virtio-net, 6.12 has not and must fall back. It installs nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
vm=${VM:-../shared/vm}
target=${CARGO_TARGET_DIR:-target}
export VM_KERNEL=${VM_KERNEL:-6.18} VM_WORK_DIR=${VM_WORK_DIR:-target/vm}

lacks() {
    echo "vm-test: $*" >&2
    exit 1
}
[ -x "$vm/run.sh" ] || lacks "no folder $vm that boots a guest; name it with VM=FOLDER"
command -v qemu-system-x86_64 >/dev/null || lacks "QEMU is missing; as root: VM_KERNEL=$VM_KERNEL $vm/packages.sh $VM_WORK_DIR"
[ -e "$VM_WORK_DIR/kernel-$VM_KERNEL/vmlinuz" ] ||
    lacks "no guest kernel in $VM_WORK_DIR/kernel-$VM_KERNEL; as root: VM_KERNEL=$VM_KERNEL $vm/packages.sh $VM_WORK_DIR"

"${CARGO:-cargo}" build --locked -p sluice-io --example afxdp_pair
guest=$(mktemp -d)
trap 'rm -rf "$guest"' EXIT
"$vm/build-initramfs.sh" "$guest/guest.cpio.gz" "$target/debug/examples/afxdp_pair"
faults=0
for queues in 1 2; do
    echo "guest with $queues queues at each virtio-net port"
    "$vm/run.sh" --init tests/vm/zero-copy-guest.sh --initramfs "$guest/guest.cpio.gz" --queues "$queues" --timeout 400 ||
        faults=$((faults + 1))
done
[ "$faults" -eq 0 ]
