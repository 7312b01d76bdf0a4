/* Addresses of calls and lists of exceptions from any bytes. What is taken is plain: printable, of
 * one host that reads back as itself; and with an empty list no address of this machine or a
 * private network gets through. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/egress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_url(struct ctx *cx, struct str s)
{
    static const struct egress_allow none = { .n_names = 0 };
    struct egress_url u, again;
    if (egress_url_parse(cx, s, &u)) {
        BUG_IF(cx->err != ERR_INVALID_FIELD);
        ctx_clear(cx);
        return;
    }
    for (size_t i = 0; i < u.text.n; i++)
        BUG_IF((unsigned char)u.text.p[i] <= ' ' || (unsigned char)u.text.p[i] >= 0x7F);
    BUG_IF(!u.host.n || u.port < 1 || u.port > 65535 || u.key.n > EGRESS_KEY_MAX);
    BUG_IF(!u.is_ip && egress_host_is_numeric(u.host));
    BUG_IF(u.is_ip && u.ip.b[10] == 0xFF && u.ip.b[11] == 0xFF && u.ip.b[12] == 127 &&
           !memcmp(u.ip.b, (unsigned char[10]){ 0 }, 10) && !egress_addr_refused(&none, &u.ip));
    BUG_IF(egress_url_redact(&cx->arena, &u).n > 2 * EGRESS_URL_MAX);
    if (u.text.n <= EGRESS_URL_MAX) /* a slash may have been added */
        BUG_IF(egress_url_parse(cx, u.text, &again) || !str_eq(u.key, again.key));
}

static void check_list(struct ctx *cx, struct str s)
{
    struct egress_allow a;
    if (egress_allow_parse(cx, s, &a)) {
        BUG_IF(cx->err != ERR_USAGE);
        ctx_clear(cx);
        return;
    }
    BUG_IF(a.ranges.n + a.n_names > EGRESS_ALLOW_MAX);
    for (size_t i = 0; i < a.ranges.n; i++)
        BUG_IF(egress_addr_refused(&a, &a.ranges.v[i].ip) != NULL);
    for (size_t i = 0; i < a.n_names; i++)
        BUG_IF(a.names[i].n < 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = { (const char *)data, size };
    struct ctx cx;
    struct ip ip;

    ctx_init(&cx, (size_t)16 << 20);
    check_url(&cx, s);
    check_list(&cx, s);
    if (egress_host_ip_parse(s, &ip))
        BUG_IF(s.p[0] != '[' && !egress_host_is_numeric(s));
    (void)egress_header_is_fine(str_sub(s, 0, size / 2), str_sub(s, size / 2, size));
    ctx_done(&cx);
    return 0;
}
