// SPDX-License-Identifier: Apache-2.0
// Decides that every frame is the AF_XDP socket's of its queue, but those by which neighbours find the interface.
// It changes no byte of any frame. src/xdp/everything.rs loads it.
#include "sluice.bpf.h"

enum { NEXT_HEADER = 14 + 6, ICMP6 = 58, ICMP6_TYPE = 14 + 40 };

// ARP, and the five types of neighbour discovery (RFC 4861 section 4).
INLINE int finds_neighbours(const __u8 *at, const __u8 *end) {
    if (at + 14 > end)
        return 0;
    __be16 type = *(const __be16 *)(at + 12);
    if (type == be16(0x0806))
        return 1;
    if (type != be16(0x86dd) || at + ICMP6_TYPE + 1 > end || at[NEXT_HEADER] != ICMP6)
        return 0;
    return at[ICMP6_TYPE] >= 133 && at[ICMP6_TYPE] <= 137;
}

SEC("xdp.frags") int sluice_everything(struct xdp_md *ctx) {
    const __u8 *at = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (finds_neighbours(at, end))
        return XDP_PASS;
    return redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
}

char licence_text[] SEC("license") = "Apache-2.0";
