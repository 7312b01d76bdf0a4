/* Which addresses may be called: a table of refused ranges, and the operator's list of exceptions.
 *
 * Refused is what is not the public internet: this machine, private and shared networks, link-local
 * (the metadata services of clouds), documentation, multicast, and the forms of IPv6 that carry an
 * IPv4 address through a gateway (NAT64, 6to4, Teredo). Of IPv6 only 2000::/3 is public at all.
 * v4-mapped addresses are judged by their v4 part (base/net.h). Any thread. */
#ifndef TESSERA_BASE_EGRESS_ADDR_H
#define TESSERA_BASE_EGRESS_ADDR_H

#include "net.h"

#define EGRESS_ALLOW_MAX 256 /* items of the list */

struct egress_allow { /* the operator's exceptions; read-only once made */
    struct cidrs ranges;
    const struct str *names; /* lower case; ".example.com" = every name below example.com */
    size_t n_names;
};

/* "10.1.0.0/16, ::1, hooks.internal, *.svc.example": ranges, addresses, names, names below one;
 * separated by commas or blanks. Lives in cx. USAGE names the item that is wrong. */
enum err_code egress_allow_parse(struct ctx *cx, struct str text, struct egress_allow *out);
/* Is the name (lower case, no dot at its end) on the list? Then all its addresses are good. */
bool egress_allow_has_name(const struct egress_allow *allow, struct str name);
/* NULL when the address may be called, else what it belongs to ("a private network"). */
const char *egress_addr_refused(const struct egress_allow *allow, const struct ip *ip);

/* Every form of an IPv4 address that inet_aton reads (decimal, octal, hexadecimal, one to four
 * parts), or IPv6 in brackets. False when s is neither. */
bool egress_host_ip_parse(struct str s, struct ip *out);
/* Does the name end in a number, so that it can be nothing but an IPv4 address (WHATWG URL, "ends
 * in a number")? */
bool egress_host_is_numeric(struct str s);

#endif
