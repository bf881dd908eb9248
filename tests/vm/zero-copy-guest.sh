#!/bin/sh
# In the guest: which mode each pair of joined ports must give, one line a check. Exit status 1 if one differs.
. /test/guest-lib.sh
failures=0
check() {
    echo "--- $*"
    if /test/afxdp_pair "$@"; then
        echo "ok   $*"
    else
        echo "FAIL $*"
        failures=$((failures + 1))
    fi
}

kernel=$(uname -r)
# igb and virtio-net learnt zero-copy in Linux 6.14 at the latest.
[ "$(printf '%s\n' 6.14 "$kernel" | sort -V | head -n 1)" = 6.14 ] && best=zero-copy || best=copy
echo "guest kernel $kernel: $best is the best mode of its drivers"

link_up vn0 vn1
check vn0 vn1 $best
# Not igb: in zero-copy mode it writes at most 1024 bytes of a frame into a chunk of 2048.
check vn0 vn1 $best 2048
queues=$(ls -d /sys/class/net/vn0/queues/rx-* | wc -l)
if [ "$queues" = 1 ]; then
    # The virtual functions go first: a program in the driver of a physical one resets it, and takes their carrier.
    link_up pf0 pf1
    make_vfs pf0 1 && make_vfs pf1 1
    near=$(vf_name pf0 0) far=$(vf_name pf1 0)
    link_up "$near" "$far"
    check "$near" "$far" generic
    for pf in pf0 pf1; do echo 0 >/sys/class/net/$pf/device/sriov_numvfs; done
    link_up pf0 pf1
    check pf0 pf1 $best
    ip link add ve0 type veth peer name ve1
    link_up ve0 ve1
    check ve0 ve1 copy
fi
if dmesg | grep -E 'BUG|WARNING|Oops|DMAR.*fault'; then
    echo "FAIL the guest's kernel complained"
    failures=$((failures + 1))
fi
echo "$failures failed"
[ $failures = 0 ]
