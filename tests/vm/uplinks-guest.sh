#!/bin/sh
# In the guest: two nodes with an agent each, joined by two cables, their uplinks a bond or a VLAN on top of one. One line a
# check; exit status 1 if one fails.
. /test/guest-lib.sh
failures=0
sluice=/test/sluice
ok() { echo "ok   $*"; }
fail() {
    echo "FAIL $*"
    failures=$((failures + 1))
}
check() {
    what=$1
    shift
    if "$@" >/tmp/said 2>&1; then ok "$what"; else
        fail "$what"
        tail -n 5 /tmp/said
    fi
}

on() {
    place=$1
    shift
    ip netns exec "$place" "$@"
}

# manifest NAME NUMBER: the Node and its pod.
manifest() {
    cat <<EOF
apiVersion: v1
kind: Node
metadata: {name: node-$1}
spec: {podCIDRs: [10.244.$2.0/24, "fd00:244:$2::/64"]}
status: {addresses: [{type: InternalIP, address: 192.0.2.1$2}, {type: InternalIP, address: "2001:db8:2::1$2"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: pod-$1, namespace: default, uid: pod-$1}
spec: {nodeName: node-$1, containers: [{name: c, image: none}]}
status: {phase: Running, podIP: 10.244.$2.5, podIPs: [{ip: 10.244.$2.5}, {ip: "fd00:244:$2::5"}]}
EOF
}

# bond NODE OPTIONS...: bond0 over cable0 and cable1.
bond() {
    place=$1
    shift
    on "$place" ip link add bond0 type bond miimon 50 "$@"
    for cable in cable0 cable1; do
        on "$place" ip link set $cable down
        on "$place" ip link set $cable master bond0
    done
    on "$place" ip link set bond0 up
}

ready() { on "node-$1" $sluice --socket "/run/$1.sock" status -o json | grep -q '"ready": *true'; }
answers() { on pod-a ping -n -c 1 -W 2 "$1"; }
both() { answers 10.244.2.5 && answers fd00:244:2::5; } >/dev/null

# up UPLINK BOND-OPTIONS...: everything, until the pods are attached.
up() {
    uplink=$1
    shift
    mkdir -p /run/manifests
    for name in a b; do ip netns add node-$name && ip netns add pod-$name; done
    for cable in cable0 cable1; do
        ip link add $cable netns node-a type veth peer name $cable netns node-b
        for name in a b; do on node-$name ethtool -K $cable tx off tso off gso off gro off >/dev/null 2>&1; done
    done
    number=0
    for name in a b; do
        number=$((number + 1))
        manifest $name $number >/run/manifests/$name.yaml
        on node-$name ip link set lo up
        bond node-$name "$@"
        [ "$uplink" = bond0 ] || on node-$name ip link add "$uplink" link bond0 type vlan id "${uplink#*.}"
        on node-$name ip link set "$uplink" up
        on node-$name ip address add 192.0.2.1$number/24 dev "$uplink"
        on node-$name ip address add 2001:db8:2::1$number/64 dev "$uplink" nodad
    done
    wait_for 20 on node-a ping -n -c 1 -W 1 192.0.2.12 >/dev/null || fail "$uplink: the nodes reach each other"
    number=0
    for name in a b; do
        number=$((number + 1))
        cat >/run/$name.yaml <<EOF
node: node-$name
manifests: /run/manifests
socket: /run/$name.sock
bpffs: /sys/fs/bpf/node-$name
uplink: {interface: $uplink}
workers: {count: 1, polling: adaptive}
memory: {frames: 8192, flows: 4096, connections: 16384}
EOF
        # Not by the function above: the process that is told to end must be the agent.
        ip netns exec node-$name $sluice run --config /run/$name.yaml >/run/$name.log 2>&1 &
        eval "agent_$name=$!"
    done
    number=0
    for name in a b; do
        number=$((number + 1))
        if ! wait_for 60 ready $name; then
            fail "$uplink: the agent of node-$name is ready"
            tail -n 5 /run/$name.log
        fi
        on node-$name $sluice --socket /run/$name.sock attach --netns /run/netns/pod-$name --interface eth0 \
            --address 10.244.$number.5/24 --address fd00:244:$number::5/64 --pod default/pod-$name
    done
    on node-a $sluice --socket /run/a.sock status | grep -i uplink
    wait_for 20 both || fail "$uplink: pods reach each other"
}

down() {
    for name in a b; do
        eval "kill -TERM \$agent_$name; wait \$agent_$name" || fail "the agent of node-$name stops cleanly"
        grep -E 'ERROR|panicked|lost' /run/$name.log && fail "the log of node-$name"
    done
    for name in a b; do ip netns delete pod-$name && ip netns delete node-$name; done
    rm -rf /run/manifests /run/?.yaml /run/?.log
}

# A file goes through, byte by byte.
transfer() {
    head -c 2000000 /dev/urandom >/tmp/sent
    # Its input stays open: at its end it would close the connection.
    ip netns exec pod-b busybox nc -l -p 9000 <&3 >/tmp/got &
    server=$!
    sleep 1
    ip netns exec pod-a timeout 60 busybox nc 10.244.2.5 9000 </tmp/sent >/dev/null
    wait $server
    cmp /tmp/sent /tmp/got
}

# Frames of the tunnel leave on the wire in this form.
on_the_wire() { ip netns exec node-b timeout 20 tcpdump -Z root -n -i "$1" -c 1 "$2"; }
seen() {
    ip netns exec pod-a ping -n -i 0.2 10.244.2.5 >/dev/null 2>&1 &
    pinging=$!
    on_the_wire "$@"
    result=$?
    kill $pinging
    return $result
}

# That a pod receives slowly is said of any in a guest that is emulated, and this one has no nft.
no_warnings() { ! on node-a $sluice --socket /run/a.sock status | grep -E '^(warning|error)' | grep -v -e ' Pod ' -e ' node: nftables: the program nft is not installed'; }

for module in tls bonding; do [ ! -e /test/$module.ko ] || insmod /test/$module.ko 2>/dev/null; done
modprobe 8021q
# tcpdump asks for a user.
echo root:x:0:0:root:/:/bin/sh >/etc/passwd
mkfifo /tmp/open
exec 3<>/tmp/open
modprobe tun
for uplink in bond0 bond0.100; do
    echo "--- $uplink, active-backup"
    up $uplink mode active-backup
    for name in a b; do on node-$name ip link set bond0 type bond primary cable0; done
    wait_for 20 both
    check "$uplink: ping of full size, IPv4" on pod-a ping -n -c 3 -W 3 -s 1400 10.244.2.5
    check "$uplink: ping of full size, IPv6" on pod-a ping -n -c 3 -W 3 -s 1380 fd00:244:2::5
    check "$uplink: a file arrives whole" transfer
    [ $uplink = bond0 ] || check "$uplink: frames carry the tag" seen cable0 'vlan 100 and udp port 8472'
    [ $uplink = bond0.100 ] || check "$uplink: frames carry no tag" seen cable0 'udp port 8472 and not vlan'
    on node-a ip link set cable0 down
    check "$uplink: the other cable takes over" wait_for 10 both
    check "$uplink: frames go by the other cable" seen cable1 "udp port 8472 or (vlan and udp port 8472)"
    check "$uplink: a file arrives whole by the other cable" transfer
    on node-a ip link set cable0 up
    check "$uplink: and back" wait_for 10 both
    check "$uplink: nothing to warn of" no_warnings
    down
done
echo "--- bond0, 802.3ad"
up bond0 mode 802.3ad lacp_rate fast xmit_hash_policy layer3+4
check "802.3ad: ping of full size, IPv4" on pod-a ping -n -c 3 -W 3 -s 1400 10.244.2.5
check "802.3ad: a file arrives whole" transfer
on node-b ip link set cable1 down
check "802.3ad: one cable is enough" wait_for 10 both
check "802.3ad: a file arrives whole by one" transfer
down
if dmesg | grep -E 'BUG|WARNING|Oops'; then fail "the guest's kernel complained"; fi
echo "$failures failed"
[ $failures = 0 ]
