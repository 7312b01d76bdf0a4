/* The table of refused ranges and the operator's list: see egress_addr.h.
 *
 * Ranges: the IANA registries of special-purpose addresses (RFC 6890 and what followed it), and
 * one public address that only means something inside a cloud. */
#include "egress_addr.h"

#include <string.h>

#define V4(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))
#define NAME_MAX_BYTES 253

static const struct {
    uint32_t base;
    int bits;
    const char *what;
} refused_v4[] = {
    { V4(0, 0, 0, 0), 8, "this network" },
    { V4(10, 0, 0, 0), 8, "a private network" },
    { V4(100, 64, 0, 0), 10, "a shared network" },
    { V4(127, 0, 0, 0), 8, "this machine" },
    { V4(169, 254, 0, 0), 16, "the local link" },
    { V4(172, 16, 0, 0), 12, "a private network" },
    { V4(192, 0, 0, 0), 24, "protocol assignments" },
    { V4(192, 0, 2, 0), 24, "documentation" },
    { V4(192, 88, 99, 0), 24, "6to4 relays" },
    { V4(192, 168, 0, 0), 16, "a private network" },
    { V4(198, 18, 0, 0), 15, "benchmarks" },
    { V4(198, 51, 100, 0), 24, "documentation" },
    { V4(203, 0, 113, 0), 24, "documentation" },
    { V4(224, 0, 0, 0), 4, "multicast" },
    { V4(240, 0, 0, 0), 4, "reserved addresses" },
    { V4(168, 63, 129, 16), 32, "a metadata service" }, /* Azure's, at a public address */
};

static const struct {
    unsigned char head[8];
    int bits;
    const char *what;
} refused_v6[] = {
    { { 0x20, 0x01, 0x00 }, 23, "protocol assignments" }, /* Teredo 2001::/32 among them */
    { { 0x20, 0x01, 0x0d, 0xb8 }, 32, "documentation" },
    { { 0x20, 0x02 }, 16, "6to4" },
    { { 0x3f, 0xff, 0x00 }, 20, "documentation" },
    /* Behind 2000::/3 already; named so that the sentence says what they are. */
    { { 0x00, 0x64, 0xff, 0x9b }, 32, "NAT64" }, /* 64:ff9b::/96 and 64:ff9b:1::/48 */
    { { 0x01, 0x00 }, 64, "the discard prefix" },
    { { 0x5f, 0x00 }, 16, "segment routing" },
    { { 0xfc }, 7, "a private network" },
    { { 0xfe, 0x80 }, 10, "the local link" },
    { { 0xff }, 8, "multicast" },
};

static bool is_v4(const struct ip *ip)
{
    static const unsigned char mapped[12] = { [10] = 0xFF, [11] = 0xFF };
    return memcmp(ip->b, mapped, sizeof mapped) == 0;
}

static const char *v4_refused(const struct ip *ip)
{
    uint32_t a = V4(ip->b[12], ip->b[13], ip->b[14], ip->b[15]);
    for (size_t i = 0; i < sizeof refused_v4 / sizeof *refused_v4; i++)
        if ((a ^ refused_v4[i].base) >> (32 - refused_v4[i].bits) == 0)
            return refused_v4[i].what;
    return NULL;
}

static uint64_t head_of(const unsigned char *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

static const char *v6_refused(const struct ip *ip)
{
    uint64_t head = head_of(ip->b);
    for (size_t i = 0; i < sizeof refused_v6 / sizeof *refused_v6; i++)
        if ((head ^ head_of(refused_v6[i].head)) >> (64 - refused_v6[i].bits) == 0)
            return refused_v6[i].what;
    if (head >> 61 != 1) /* not 2000::/3; ::, ::1 and ::a.b.c.d among them */
        return "no public network";
    return NULL;
}

const char *egress_addr_refused(const struct egress_allow *allow, const struct ip *ip)
{
    if (cidrs_match(allow->ranges, ip))
        return NULL;
    return is_v4(ip) ? v4_refused(ip) : v6_refused(ip);
}

/* ---- the operator's list ---- */

static bool is_blank(char c)
{
    return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool next_item(struct str *rest, struct str *item)
{
    size_t from = 0, to;
    while (from < rest->n && is_blank(rest->p[from]))
        from++;
    for (to = from; to < rest->n && !is_blank(rest->p[to]);)
        to++;
    *item = str_sub(*rest, from, to - from);
    *rest = str_sub(*rest, to, rest->n);
    return item->n > 0;
}

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* A name or "*." and a name, lower case into *out (".name" for the latter). */
static bool read_name(struct arena *a, struct str item, struct str *out)
{
    bool is_below = str_starts(item, STR("*."));
    struct str name = is_below ? str_sub(item, 1, item.n) : item;
    char *p;
    if (name.n <= (size_t)is_below || name.n > NAME_MAX_BYTES || egress_host_is_numeric(name))
        return false;
    p = str_cstr(a, name);
    for (size_t i = 0; i < name.n; i++) {
        bool is_dot = p[i] == '.';
        p[i] = lower(p[i]);
        if (!is_dot && !(p[i] >= 'a' && p[i] <= 'z') && !(p[i] >= '0' && p[i] <= '9') &&
            p[i] != '-' && p[i] != '_')
            return false;
        /* No empty label; one dot in front stands for the star. */
        if (is_dot && (i + 1 == name.n || p[i + 1] == '.' || (i == 0 && !is_below)))
            return false;
    }
    *out = (struct str){ p, name.n };
    return true;
}

static bool read_range(struct str item, struct cidr *out)
{
    if (item.n > 2 && item.p[0] == '[' && item.p[item.n - 1] == ']')
        item = str_sub(item, 1, item.n - 2);
    return cidr_parse(item, out);
}

enum err_code egress_allow_parse(struct ctx *cx, struct str text, struct egress_allow *out)
{
    struct cidr *ranges = ARENA_ARRAY(&cx->arena, struct cidr, EGRESS_ALLOW_MAX);
    struct str *names = ARENA_ARRAY(&cx->arena, struct str, EGRESS_ALLOW_MAX);
    struct str rest = text, item;
    size_t n_ranges = 0, n_names = 0;
    while (next_item(&rest, &item)) {
        if (n_ranges + n_names == EGRESS_ALLOW_MAX)
            return fail(cx, USAGE, "egress_allow has more than %d items", EGRESS_ALLOW_MAX);
        if (read_range(item, &ranges[n_ranges]))
            n_ranges++;
        else if (read_name(&cx->arena, item, &names[n_names]))
            n_names++;
        else
            return fail(cx, USAGE,
                        "egress_allow: \"" STR_FMT "\" is neither an address, a range without "
                        "host bits, a name nor *.name",
                        STR_ARG(item));
    }
    *out = (struct egress_allow){ { ranges, n_ranges }, names, n_names };
    return ERR_NONE;
}

bool egress_allow_has_name(const struct egress_allow *allow, struct str name)
{
    for (size_t i = 0; i < allow->n_names; i++) {
        struct str want = allow->names[i];
        if (str_eq(want, name))
            return true;
        if (want.p[0] == '.' && name.n > want.n &&
            str_eq(str_sub(name, name.n - want.n, want.n), want))
            return true;
    }
    return false;
}

/* ---- forms of addresses ---- */

static int digit_of(char c)
{
    c = lower(c);
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

/* Decimal, 0octal or 0xhex; false when it is none or past 32 bits. */
static bool read_part(struct str s, uint64_t *out)
{
    uint64_t v = 0;
    int base = 10;
    if (!s.n)
        return false;
    if (s.n > 1 && s.p[0] == '0') {
        base = lower(s.p[1]) == 'x' ? 16 : 8;
        s = str_sub(s, base == 16 ? 2 : 1, s.n);
    }
    for (size_t i = 0; i < s.n; i++) {
        int d = digit_of(s.p[i]);
        if (d >= base)
            return false;
        v = v * (uint64_t)base + (uint64_t)d;
        if (v > UINT32_MAX)
            return false;
    }
    *out = v;
    return true;
}

/* The last part fills all bytes that the others leave: 127.1 is 127.0.0.1. */
static bool read_v4(struct str s, struct ip *out)
{
    uint64_t part[4], v = 0;
    int n = 0;
    for (struct str rest = s; rest.p;) {
        if (n == 4 || !read_part(str_cut(&rest, '.'), &part[n]))
            return false;
        n++;
    }
    for (int i = 0; i < n - 1; i++) {
        if (part[i] > 255)
            return false;
        v |= part[i] << (24 - 8 * i);
    }
    if (n == 0 || part[n - 1] >> (8 * (5 - n)))
        return false;
    v |= part[n - 1];
    *out = (struct ip){ { [10] = 0xFF, [11] = 0xFF } };
    for (int i = 0; i < 4; i++)
        out->b[12 + i] = (unsigned char)(v >> (24 - 8 * i));
    return true;
}

bool egress_host_ip_parse(struct str s, struct ip *out)
{
    if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']') {
        s = str_sub(s, 1, s.n - 2);
        return memchr(s.p, ':', s.n) && ip_parse(s, out);
    }
    if (s.n > 1 && s.p[s.n - 1] == '.')
        s.n--;
    return s.n && read_v4(s, out);
}

/* Digits, or 0x and hexadecimal digits, however many: a number past 32 bits is no name either. */
static bool is_number(struct str s)
{
    bool is_hex = s.n > 1 && s.p[0] == '0' && lower(s.p[1]) == 'x';
    for (size_t i = is_hex ? 2 : 0; i < s.n; i++)
        if (digit_of(s.p[i]) >= (is_hex ? 16 : 10))
            return false;
    return s.n > 0;
}

bool egress_host_is_numeric(struct str s)
{
    size_t from;
    if (s.n && s.p[s.n - 1] == '.')
        s.n--;
    for (from = s.n; from && s.p[from - 1] != '.';)
        from--;
    return is_number(str_sub(s, from, s.n));
}
