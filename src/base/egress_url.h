/* The address of a call, read once: what was judged is what is called.
 *
 * http and https only, no user name, no control characters or blanks, ASCII only (names in their
 * xn-- form), no zone of an IPv6 address. A numeric host is the IPv4 address that it means in any
 * of its forms (2130706433, 0177.1, 0x7f000001) or it is refused. Any thread. */
#ifndef TESSERA_BASE_EGRESS_URL_H
#define TESSERA_BASE_EGRESS_URL_H

#include "egress_addr.h"

#define EGRESS_URL_MAX 4096
#define EGRESS_HOST_MAX 253
#define EGRESS_KEY_MAX (EGRESS_HOST_MAX + 8) /* with ":65535" */

struct Curl_URL; /* libcurl's CURLU */
struct egress_url {
    struct Curl_URL *handle;
    struct str text; /* as it is sent, without the fragment */
    struct str host; /* lower case, no brackets, no dot at its end */
    struct str key;  /* "host:port": what is counted and limited together */
    struct ip ip;    /* when is_ip */
    int port;
    bool is_ip, is_tls;
};

/* INVALID_FIELD with a public sentence. What *out holds lives in cx. */
enum err_code egress_url_parse(struct ctx *cx, struct str text, struct egress_url *out);
/* 80, 443 and from 1024 on; the others belong to mail, shells and the like, which could be made to
 * act by a request (RFC 9110 has no check of its own). */
bool egress_port_is_fine(int port);
/* For logs: no values of query parameters, no path segments that look like secrets. Lives in a. */
struct str egress_url_redact(struct arena *a, const struct egress_url *url);
/* May a caller set this header? A token as name, a value without control characters (tab apart),
 * neither framing nor routing (Host, Content-Length, Connection …). */
bool egress_header_is_fine(struct str name, struct str value);

#endif
