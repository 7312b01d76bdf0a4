/* Addresses as 16 bytes: IPv4 lives in ::ffff:0:0/96, so one comparison serves both families.
 *
 * An IPv4 address is matched only by IPv4 ranges: "::/0" means every IPv6 address. Any thread. */
#include "net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define CIDRS_MAX 256
#define V4_BITS 96 /* bits in front of the IPv4 part */
#define PORT_MAX 65535
#define IP_TEXT_MAX 45 /* INET6_ADDRSTRLEN without its NUL */

static const unsigned char v4_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };

static bool is_v4(const struct ip *ip)
{
    return memcmp(ip->b, v4_prefix, sizeof(v4_prefix)) == 0;
}

static struct ip ip_of_v4(const void *four)
{
    struct ip ip;

    memcpy(ip.b, v4_prefix, sizeof(v4_prefix));
    memcpy(ip.b + sizeof(v4_prefix), four, 4);
    return ip;
}

bool ip_parse(struct str s, struct ip *out)
{
    char text[IP_TEXT_MAX + 1];
    struct in_addr v4;
    struct in6_addr v6;

    if (s.n == 0 || s.n > IP_TEXT_MAX || memchr(s.p, 0, s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    if (inet_pton(AF_INET, text, &v4) == 1) {
        *out = ip_of_v4(&v4);
        return true;
    }
    if (inet_pton(AF_INET6, text, &v6) != 1)
        return false;
    memcpy(out->b, &v6, sizeof(out->b));
    return true;
}

struct ip ip_of_sockaddr(const struct sockaddr *sa)
{
    struct ip ip = { { 0 } };

    if (sa && sa->sa_family == AF_INET)
        return ip_of_v4(&((const struct sockaddr_in *)(const void *)sa)->sin_addr);
    if (sa && sa->sa_family == AF_INET6)
        memcpy(ip.b, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, sizeof(ip.b));
    else if (sa && sa->sa_family == AF_UNIX)
        ip.b[15] = 1;
    return ip;
}

void ip_print(struct buf *b, const struct ip *ip)
{
    char text[INET6_ADDRSTRLEN];

    if (is_v4(ip)) {
        for (int i = 12; i < 16; i++) {
            if (i > 12)
                buf_char(b, '.');
            buf_i64(b, ip->b[i]);
        }
        return;
    }
    buf_lit(b, inet_ntop(AF_INET6, ip->b, text, sizeof(text)));
}

/* Digits only, no leading zero, at most max. */
static bool number_parse(struct str s, int max, int *out)
{
    int64_t v;

    if (s.n == 0 || s.n > 5 || s.p[0] == '-' || (s.n > 1 && s.p[0] == '0'))
        return false;
    if (!str_to_i64(s, &v) || v > max)
        return false;
    *out = (int)v;
    return true;
}

/* The first `bits` bits are the same. */
static bool same_head(const struct ip *a, const struct ip *b, int bits)
{
    size_t whole = (size_t)bits / 8;
    unsigned mask = 0xFF00U >> (bits % 8) & 0xFF;

    if (memcmp(a->b, b->b, whole) != 0)
        return false;
    return bits % 8 == 0 || ((a->b[whole] ^ b->b[whole]) & mask) == 0;
}

static bool host_bits_zero(const struct cidr *c)
{
    for (int i = c->bits; i < 128; i++) {
        if (c->ip.b[i / 8] >> (7 - i % 8) & 1)
            return false;
    }
    return true;
}

bool cidr_parse(struct str s, struct cidr *out)
{
    struct str rest = s;
    struct str addr = str_cut(&rest, '/');
    bool is_dotted = !(addr.n && memchr(addr.p, ':', addr.n));
    struct cidr c = { .bits = 128 };

    if (!ip_parse(addr, &c.ip))
        return false;
    if (rest.p) {
        if (!number_parse(rest, is_dotted ? 32 : 128, &c.bits))
            return false;
        c.bits += is_dotted ? V4_BITS : 0;
    }
    if (!host_bits_zero(&c))
        return false;
    *out = c;
    return true;
}

static bool is_separator(char c)
{
    return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The next item of a list; false at its end. */
static bool next_item(struct str *rest, struct str *item)
{
    size_t from = 0, to;

    while (from < rest->n && is_separator(rest->p[from]))
        from++;
    for (to = from; to < rest->n && !is_separator(rest->p[to]);)
        to++;
    *item = str_sub(*rest, from, to - from);
    *rest = str_sub(*rest, to, rest->n);
    return item->n > 0;
}

bool cidrs_parse(struct arena *a, struct str s, struct cidrs *out, struct str *bad)
{
    struct str rest = s, item;
    struct cidr *v;
    size_t n = 0, i = 0;

    while (next_item(&rest, &item)) {
        struct cidr c;

        if (++n > CIDRS_MAX || !cidr_parse(item, &c)) {
            *bad = item;
            return false;
        }
    }
    v = ARENA_ARRAY(a, struct cidr, n);
    for (rest = s; next_item(&rest, &item);)
        cidr_parse(item, &v[i++]);
    *out = (struct cidrs){ v, n };
    return true;
}

bool cidrs_match(struct cidrs list, const struct ip *ip)
{
    bool v4 = is_v4(ip);

    for (size_t i = 0; i < list.n; i++) {
        const struct cidr *c = &list.v[i];

        if ((!v4 || c->bits >= V4_BITS) && same_head(&c->ip, ip, c->bits))
            return true;
    }
    return false;
}

bool listen_parse(struct str s, struct sockaddr_storage *out, socklen_t *out_len)
{
    struct str host = STR_NONE, port = s;
    struct ip ip;
    int n;
    bool is_bracketed;
    size_t colon = s.n;

    while (colon && s.p[colon - 1] != ':')
        colon--;
    if (colon) {
        host = str_sub(s, 0, colon - 1);
        port = str_sub(s, colon, s.n);
    }
    if (!number_parse(port, PORT_MAX, &n))
        return false;
    is_bracketed = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (is_bracketed)
        host = str_sub(host, 1, host.n - 2);
    if (!ip_parse(host.n ? host : STR("0.0.0.0"), &ip))
        return false;
    if (is_bracketed != (host.n && memchr(host.p, ':', host.n)))
        return false;
    memset(out, 0, sizeof(*out));
    if (is_bracketed) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)out;

        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)n);
        memcpy(&in6->sin6_addr, ip.b, sizeof(ip.b));
        *out_len = sizeof(*in6);
    } else {
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)out;

        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)n);
        memcpy(&in->sin_addr, ip.b + sizeof(v4_prefix), 4);
        *out_len = sizeof(*in);
    }
    return true;
}
