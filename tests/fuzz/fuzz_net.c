/* Addresses, ranges, lists and listen forms from any bytes: what parses prints back to itself. */
#include <stddef.h>
#include <stdint.h>

#include "base/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ip(struct str s)
{
    char room[64];
    struct buf b = { .p = room, .cap = sizeof(room), .max = sizeof(room) };
    struct ip ip, again;

    if (!ip_parse(s, &ip))
        return;
    ip_print(&b, &ip);
    BUG_IF(b.over || !ip_parse(buf_view(&b), &again));
    for (int i = 0; i < 16; i++)
        BUG_IF(ip.b[i] != again.b[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = { (const char *)data, size };
    struct arena a;
    struct sockaddr_storage ss;
    socklen_t len = 0;
    struct cidr c;
    struct cidrs list;
    struct str bad = STR_NONE;

    check_ip(s);
    if (cidr_parse(s, &c))
        BUG_IF(c.bits < 0 || c.bits > 128 || !cidrs_match((struct cidrs){ &c, 1 }, &c.ip));
    arena_init(&a, (size_t)1 << 20);
    if (cidrs_parse(&a, s, &list, &bad)) {
        BUG_IF(list.n > 256);
        for (size_t i = 0; i < list.n; i++)
            BUG_IF(!cidrs_match(list, &list.v[i].ip));
    } else {
        BUG_IF(bad.n == 0 || bad.p < s.p || bad.p + bad.n > s.p + s.n);
    }
    if (listen_parse(s, &ss, &len))
        BUG_IF(len == 0 || len > sizeof(ss));
    arena_done(&a);
    return 0;
}
