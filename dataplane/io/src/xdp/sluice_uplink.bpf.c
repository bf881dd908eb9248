// SPDX-License-Identifier: Apache-2.0
// Decides which frames of an uplink go to Sluice's AF_XDP sockets; everything else is the kernel's.
// It changes no byte of any frame. src/xdp/steering.rs fills the maps and must agree on their shapes.
#include "sluice.bpf.h"

// IPv4 as ::ffff:a.b.c.d, as in the Rust type of that name.
struct addr {
    __u32 w[4];
};

struct frontend {
    struct addr addr;
    __be16 port;
    __u8 proto;
    __u8 zero;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1024);
    __type(key, struct addr);
    __type(value, __u8);
} node_addrs SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 262144);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct frontend);
    __type(value, __u8);
} frontends SEC(".maps");

// Prefixes of pods, in bits of struct addr.
struct range {
    __u32 bits;
    struct addr addr;
};

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, 65536);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct range);
    __type(value, __u8);
} pod_ranges SEC(".maps");

// Tables of one bit a port, 1024 words each; user space writes them through a mapping. A node port may be ours in one family
// and a program's of the node in the other: those of IPv6 follow behind those of IPv4.
enum { SNAT_TCP, SNAT_UDP, SNAT_SCTP, ECHO_V4, ECHO_V6, NODEPORT_TCP, NODEPORT_UDP, NODEPORT_SCTP, NODEPORT_V6, TABLES = NODEPORT_V6 + 3 };

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, TABLES * 1024);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, __u64);
} ports SEC(".maps");

// The uplink's own MAC, its six bytes and two of zero; all zero until it is known.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} own_mac SEC(".maps");

// What fragments of one packet share; the protocol is 0 in IPv6, where only the first one's counts.
struct packet {
    struct addr src, dst;
    __u32 id, proto;
};

// When the first fragment of a packet of ours came: the later ones have no ports to know them by.
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, struct packet);
    __type(value, __u64);
} fragments SEC(".maps");

// As long as the packet path knows them.
#define FRAGMENT_LIFE_NS 30000000000ull

const volatile __u16 tunnel_port = 8472;

enum { ICMP4 = 1, TCP = 6, UDP = 17, ICMP6 = 58, SCTP = 132 };
enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, DESTINATION = 60 };
// As many as the parser of the packet path follows.
#define MOST_EXTENSIONS 8

// The headers as far as they are read. Packed: nothing is aligned behind 14 bytes of Ethernet.
struct ipv4 {
    __u8 version_len, tos;
    __be16 len, id, fragment;
    __u8 ttl, proto;
    __be16 sum;
    __u32 src, dst;
} __attribute__((packed));

struct ipv6 {
    __u8 version, rest[3];
    __be16 len;
    __u8 next, hops;
    struct addr src, dst;
} __attribute__((packed));

struct extension {
    __u8 next, len;
    __be16 fragment;
    __u32 id;
} __attribute__((packed));

struct two_ports {
    __be16 src, dst;
};

struct icmp {
    __u8 type, code;
    __be16 sum, id, seq;
};

INLINE struct addr mapped(__u32 v4) {
    struct addr a = {{0, 0, __builtin_bswap32(0xffff), v4}};
    return a;
}

INLINE int bit(__u32 table, __u16 port) {
    __u32 at = table << 10 | port >> 6;
    __u64 *word = map_lookup(&ports, &at);
    return word && (*word >> (port & 63) & 1);
}

// 0 TCP, 1 UDP, 2 SCTP, which is their order among the tables; -1 anything else.
INLINE int kind(__u8 proto) {
    return proto == TCP ? 0 : proto == UDP ? 1 : proto == SCTP ? 2 : -1;
}

// Whether a frame is for the uplink itself: what a switch floods, or a NIC that takes everything lets in, is another's.
INLINE int is_for_us(const __u8 *to) {
    __u32 at = 0;
    __u64 *own = map_lookup(&own_mac, &at);
    __u64 mac = 0;
    __builtin_memcpy(&mac, to, 6);
    return own && mac && mac == *own;
}

INLINE int is_node(const struct addr *a) { return map_lookup(&node_addrs, a) != 0; }

INLINE int is_pod(const struct addr *a) {
    struct range key = {128, *a};
    return map_lookup(&pod_ranges, &key) != 0;
}

INLINE int is_frontend(const struct addr *a, __be16 port, __u8 proto) {
    struct frontend key = {*a, port, proto, 0};
    return map_lookup(&frontends, &key) != 0;
}

// Whether (addr, port) is an end of ours: a service, or a port of this node that we own.
INLINE int our_end(const struct addr *a, int node, int v6, __be16 port, __u8 proto, int k) {
    if (is_frontend(a, port, proto))
        return 1;
    return node && (bit((v6 ? NODEPORT_V6 : NODEPORT_TCP) + k, be16(port)) || bit(SNAT_TCP + k, be16(port)));
}

// Whether the packet that an ICMP error quotes was sent by us; `dst` is where the error goes.
INLINE int our_quote(const struct addr *dst, int node, int v6, void *at, void *end) {
    struct addr src;
    __u8 proto;
    void *l4;
    if (v6) {
        struct ipv6 *ip = at;
        if ((void *)(ip + 1) > end || ip->version >> 4 != 6)
            return 0;
        src = ip->src;
        proto = ip->next;
        l4 = ip + 1;
        // A sender of large datagrams hears of its path by what is said about their first fragments.
        if (proto == FRAGMENT) {
            struct extension *header = l4;
            if ((void *)(header + 1) > end || header->fragment & be16(0xfff8))
                return 0;
            proto = header->next;
            l4 = header + 1;
        }
    } else {
        struct ipv4 *ip = at;
        if ((void *)(ip + 1) > end || ip->version_len >> 4 != 4)
            return 0;
        __u32 len = (ip->version_len & 15) * 4;
        if (len < sizeof(*ip) || ip->fragment & be16(0x1fff))
            return 0;
        src = mapped(ip->src);
        proto = ip->proto;
        l4 = at + len;
    }
    if (src.w[0] != dst->w[0] || src.w[1] != dst->w[1] || src.w[2] != dst->w[2] || src.w[3] != dst->w[3])
        return 0;
    // RFC 792 promises eight bytes of what was quoted.
    struct icmp *first = l4;
    if ((void *)(first + 1) > end)
        return 0;
    if (proto == (v6 ? ICMP6 : ICMP4))
        return node && first->type == (v6 ? 128 : 8) && bit(v6 ? ECHO_V6 : ECHO_V4, be16(first->id));
    int k = kind(proto);
    if (k < 0)
        return 0;
    struct two_ports *p = l4;
    if (node && proto == UDP && p->dst == be16(tunnel_port))
        return 1;
    return our_end(&src, node, v6, p->src, proto, k);
}

// Which piece of a packet a frame is. `is` also holds for one that is the whole.
struct piece {
    int is, more, later;
    __u32 id;
};

// Where the transport header of an IPv6 packet begins, and which it is; 0 for fragments but the first.
INLINE void *behind_extensions(void *at, void *end, __u8 *next, struct piece *piece) {
    for (int i = 0; i < MOST_EXTENSIONS; i++) {
        if (*next != HOP_BY_HOP && *next != ROUTING && *next != FRAGMENT && *next != DESTINATION)
            return at;
        struct extension *header = at;
        if ((void *)(header + 1) > end)
            return 0;
        if (*next == FRAGMENT) {
            piece->is = 1;
            piece->more = (header->fragment & be16(1)) != 0;
            piece->later = (header->fragment & be16(0xfff8)) != 0;
            piece->id = header->id;
            if (piece->later)
                return 0;
            at += sizeof(*header);
        } else {
            at += (header->len + 1) * 8;
        }
        *next = header->next;
    }
    return 0;
}

INLINE int ours(const struct addr *dst, int v6, __u8 proto, int fragment, void *l4, void *end) {
    int node = is_node(dst);
    if (proto == (v6 ? ICMP6 : ICMP4)) {
        struct icmp *icmp = l4;
        if ((void *)(icmp + 1) > end)
            return 0;
        __u8 type = icmp->type;
        if (type == (v6 ? 129 : 0))
            return node && bit(v6 ? ECHO_V6 : ECHO_V4, be16(icmp->id));
        // Unreachable, too big, time exceeded, parameter problem; RFC 792 and RFC 4443 section 3.
        if (v6 ? type >= 1 && type <= 4 : type == 3 || type == 11 || type == 12)
            return our_quote(dst, node, v6, icmp + 1, end);
        return 0;
    }
    int k = kind(proto);
    if (k < 0)
        return 0;
    // A header cut short is the kernel's to complain about, but not in a fragment: it would put the rest to it.
    __u32 least = fragment || proto == UDP ? 8 : proto == TCP ? 20 : 12;
    if (l4 + least > end)
        return 0;
    struct two_ports *p = l4;
    // The kernel puts fragmented tunnel packets together and hands them to a socket of ours.
    if (node && proto == UDP && p->dst == be16(tunnel_port))
        return !fragment;
    return our_end(dst, node, v6, p->dst, proto, k);
}

// Whether a piece of a packet goes the way of its first one. What comes before it, or when it is long forgotten, does not.
INLINE int follow(const struct packet *packet, const struct piece *piece, int take) {
    __u64 now = time_ns();
    if (piece->later) {
        __u64 *since = take ? 0 : map_lookup(&fragments, packet);
        return take || (since && now - *since < FRAGMENT_LIFE_NS);
    }
    // The same identification may have been that of another packet before.
    if (take)
        map_update(&fragments, packet, &now, BPF_ANY);
    else
        map_delete(&fragments, packet);
    return take;
}

SEC("xdp.frags") int sluice_uplink(struct xdp_md *ctx) {
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    __be16 *ether_type = data + 12;
    if (data + 14 > end || !is_for_us(data))
        return XDP_PASS;
    struct packet packet = {};
    struct piece piece = {};
    void *l4;
    __u8 proto;
    int v6;
    if (*ether_type == be16(0x0800)) {
        struct ipv4 *ip = data + 14;
        if ((void *)(ip + 1) > end || ip->version_len >> 4 != 4)
            return XDP_PASS;
        __u32 len = (ip->version_len & 15) * 4;
        if (len < sizeof(*ip) || be16(ip->len) < len)
            return XDP_PASS;
        packet.src = mapped(ip->src);
        packet.dst = mapped(ip->dst);
        v6 = 0;
        proto = ip->proto;
        packet.proto = proto;
        piece.later = (ip->fragment & be16(0x1fff)) != 0;
        piece.more = (ip->fragment & be16(0x2000)) != 0;
        piece.is = piece.later || piece.more;
        piece.id = ip->id;
        l4 = piece.later ? 0 : (void *)ip + len;
    } else if (*ether_type == be16(0x86dd)) {
        struct ipv6 *ip = data + 14;
        if ((void *)(ip + 1) > end || ip->version >> 4 != 6)
            return XDP_PASS;
        packet.src = ip->src;
        packet.dst = ip->dst;
        v6 = 1;
        proto = ip->next;
        l4 = behind_extensions(ip + 1, end, &proto, &piece);
    } else {
        return XDP_PASS;
    }
    // A host that forwards would carry them to the pods as its own: only tunnels and services lead there.
    int take = is_pod(&packet.dst) || (l4 && ours(&packet.dst, v6, proto, piece.is, l4, end));
    if (piece.more || piece.later) {
        packet.id = piece.id;
        take = follow(&packet, &piece, take);
    }
    // Without a live socket on this queue what is ours is dropped: the kernel would answer with a reset.
    return take ? redirect_map(&xsks, ctx->rx_queue_index, XDP_DROP) : XDP_PASS;
}

char licence_text[] SEC("license") = "Apache-2.0";
