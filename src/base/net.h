/* Addresses and CIDR lists. v4-mapped v6 addresses are judged by their v4 part. Any thread. */
#ifndef TESSERA_BASE_NET_H
#define TESSERA_BASE_NET_H

#include <stdbool.h>
#include <sys/socket.h>

#include "ctx.h"

struct ip {
    unsigned char b[16]; /* v4 as ::ffff:a.b.c.d */
};
struct cidr {
    struct ip ip;
    int bits; /* 0–128 over the 16 bytes */
};
struct cidrs {
    const struct cidr *v;
    size_t n;
};

bool ip_parse(struct str s, struct ip *out);         /* no port, no brackets, no zone */
struct ip ip_of_sockaddr(const struct sockaddr *sa); /* unix sockets give ::1 */
void ip_print(struct buf *b, const struct ip *ip);   /* v4 form for mapped addresses */
/* "10.0.0.0/8", "2001:db8::/32" or a single address; host bits must be zero. */
bool cidr_parse(struct str s, struct cidr *out);
/* Comma or blank separated; at most 256; false with *bad = the item that is wrong. */
bool cidrs_parse(struct arena *a, struct str s, struct cidrs *out, struct str *bad);
bool cidrs_match(struct cidrs list, const struct ip *ip); /* an empty list matches nothing */
/* "127.0.0.1:8080", "[::1]:8080", ":8080", "8080": the address to listen on. */
bool listen_parse(struct str s, struct sockaddr_storage *out, socklen_t *out_len);

#endif
