/* The HTTP server: libmicrohttpd with an epoll thread pool, one struct exchange per request.
 *
 * Life of a request (exchange.c): request line → headers (checks, route, authentication: no I/O) →
 * body → decode → handler at once, or suspended while the store runs it → reply → accounting.
 * server.c owns start, reload and the orderly stop; conn.c the per-connection deadlines; guard.c
 * who may; reply.c the wire forms. */
#ifndef TESSERA_HTTP_SERVER_H
#define TESSERA_HTTP_SERVER_H

#include "../api/route.h"
#include "../api/settings.h"

struct server;

/* Bind, build the route index, start the threads. `app` and `conf` must outlive the server. USAGE
 * errors name the setting. */
enum err_code server_start(struct ctx *cx, const struct conf *conf, struct app *app,
                           struct server **out);
/* The address that was bound, "127.0.0.1:8080" (lives as long as the server). */
struct str server_address(const struct server *s);
/* New certificates from the same files; the old ones stay when the new cannot be read. */
enum err_code server_reload(struct ctx *cx, struct server *s);
/* Stop accepting, let running requests end (at most drain_timeout_s), then close everything. The
 * store must still run. */
void server_stop(struct server *s);

#endif
