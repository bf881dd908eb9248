#!/usr/bin/env bash
# Runs two agents in a small QEMU guest whose kernel has bonds and VLANs, which that of the lab may lack. Variables as in
# zero-copy.sh. It installs nothing.
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
kernel=$VM_WORK_DIR/kernel-$VM_KERNEL
command -v qemu-system-x86_64 >/dev/null || lacks "QEMU is missing; as root: VM_KERNEL=$VM_KERNEL $vm/packages.sh $VM_WORK_DIR"
[ -e "$kernel/vmlinuz" ] || lacks "no guest kernel in $kernel; as root: VM_KERNEL=$VM_KERNEL $vm/packages.sh $VM_WORK_DIR"

"${CARGO:-cargo}" build --locked -p sluice
guest=$(mktemp -d)
trap 'rm -rf "$guest"' EXIT
strip -o "$guest/sluice" "$target/debug/sluice"
# The guest's own list of modules has no bond.
modules=()
for name in tls bonding; do
    file=$(find "$kernel" -name "$name.ko*" | head -n 1)
    case $file in
    *.xz) xz -dc "$file" >"$guest/$name.ko" ;;
    ?*) cp "$file" "$guest/$name.ko" ;;
    '') continue ;;
    esac
    modules+=("$guest/$name.ko")
done
ping=$(command -v ping) || lacks "ping is missing (iputils-ping)"
"$vm/build-initramfs.sh" "$guest/guest.cpio.gz" "$guest/sluice" "$ping=/usr/bin/ping" "${modules[@]}"
"$vm/run.sh" --init tests/vm/uplinks-guest.sh --initramfs "$guest/guest.cpio.gz" --timeout "${VM_TIMEOUT:-900}"
