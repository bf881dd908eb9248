#!/usr/bin/env bash
# Says in one line each what this machine lacks, and installs the Debian packages among it. `prepare.sh build` asks for
# what compiling needs, `count` for what counts instructions too, `demo` and `test` for what the lab needs. It starts no service
# and changes nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

purpose=${1:-test}
build_packages=(clang make gcc linux-libc-dev libc6-dev)
count_packages=(valgrind)
lab_packages=(tshark tcpdump traceroute iperf3 nginx-light nftables iptables conntrack ethtool iproute2 iputils-ping socat curl procps)

faults=0
lacks() {
    echo "prepare: $*" >&2
    faults=$((faults + 1))
}

newer_or_same() { # newer_or_same HAVE WANT
    [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

check_rust() {
    local want have tool
    want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    if ! have=$(rustc --version 2>/dev/null); then
        lacks "Rust is missing; version $want or newer is needed. Install it from https://rustup.rs (under sudo, keep your path: sudo env \"PATH=\$PATH\" make ...)"
        return
    fi
    have=$(cut -d ' ' -f 2 <<<"$have")
    newer_or_same "${have%%-*}" "$want" ||
        lacks "Rust $have is too old; version $want or newer is needed. Update with: rustup update stable"
    [ "$purpose" = test ] || return 0
    for tool in rustfmt clippy; do
        cargo "${tool/rustfmt/fmt}" --version >/dev/null 2>&1 ||
            lacks "Rust's $tool is missing. Install it with: rustup component add $tool"
    done
}

check_kernel() {
    local release
    release=$(uname -r)
    newer_or_same "${release%%-*}" 6.1 || lacks "Linux $release is too old; 6.1 or newer is needed (Debian 12 has it)"
    grep -q '^XDP ' /proc/net/protocols ||
        lacks "this kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS); the agent's uplink needs them"
    [ -c /dev/net/tun ] || modprobe tun 2>/dev/null || true
    [ -c /dev/net/tun ] || lacks "/dev/net/tun is missing (CONFIG_TUN; in a container: --device /dev/net/tun); pods need taps"
    grep -qw bpf /proc/filesystems || lacks "this kernel has no BPF file system (CONFIG_BPF_SYSCALL); the agent pins programs there"
    if ! unshare --net true 2>/dev/null; then
        lacks "network namespaces cannot be created (CONFIG_NET_NS; in a container: --privileged); the lab is made of them"
        return
    fi
    command -v ip >/dev/null || return 0
    local kind
    for kind in veth bridge 'vxlan id 1 dstport 8472'; do
        # shellcheck disable=SC2086
        unshare --net ip link add probe type $kind 2>/dev/null ||
            lacks "this kernel cannot create interfaces of type ${kind%% *}; the lab needs them"
    done
}

missing_packages() {
    local package
    for package in "$@"; do
        # Any flavour of nginx will do, and one that is there already is not ours to touch.
        [ "$package" != nginx-light ] || ! command -v nginx >/dev/null || continue
        dpkg-query --show --showformat '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
    done
}

# Maintainer scripts ask policy-rc.d whether they may start a service: not while we install.
install_packages() {
    local policy=/usr/sbin/policy-rc.d
    echo "prepare: installing $*" >&2
    if [ ! -e "$policy" ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq install --yes --no-install-recommends "$@" >/dev/null
    # A policy that was there before may have let them start, and the next boot would: nobody asked for a web server here.
    case " $* " in *" nginx-light "*) systemctl disable --now --quiet nginx 2>/dev/null || true ;; esac
    case " $* " in *" iperf3 "*) systemctl disable --now --quiet iperf3 2>/dev/null || true ;; esac
}

check_packages() {
    local packages=("${build_packages[@]}") missing system
    case $purpose in
    build) ;;
    count) packages+=("${count_packages[@]}") ;;
    demo) packages+=("${lab_packages[@]}") ;;
    *) packages+=("${lab_packages[@]}" "${count_packages[@]}") ;;
    esac
    if ! command -v dpkg-query >/dev/null; then
        lacks "this is no Debian; install the equivalents of: ${packages[*]}"
        return
    fi
    mapfile -t missing < <(missing_packages "${packages[@]}")
    [ "${#missing[@]}" -gt 0 ] || return 0
    system=$(. /etc/os-release && echo "${ID:-?} ${VERSION_ID:-?}")
    case $system in
    "debian 12" | "debian 13") ;;
    *)
        lacks "this is $system and packages are known for Debian 12 and 13; install the equivalents of: ${missing[*]}"
        return
        ;;
    esac
    if [ "$(id -u)" -ne 0 ]; then
        lacks "packages are missing and installing them needs root: ${missing[*]}"
        return
    fi
    install_packages "${missing[@]}" || lacks "apt-get could not install: ${missing[*]}"
}

lab=1
case $purpose in build | count) lab=0 ;; esac
if [ "$lab" = 1 ] && [ "$(id -u)" -ne 0 ]; then
    lacks "run this as root: the lab creates network namespaces and loads an XDP program (sudo env \"PATH=\$PATH\" make $purpose)"
    exit 1
fi
check_rust
check_packages
[ "$lab" = 0 ] || check_kernel
[ "$faults" -eq 0 ] || exit 1
