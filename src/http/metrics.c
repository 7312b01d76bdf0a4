/* Counters of requests for /metrics (Prometheus text format 0.0.4). Relaxed atomics per route; no
 * lock on the request path. */
#include "exchange.h"

#include "../store/store.h"

/* Upper bounds in µs, the last slot is +Inf. */
static const int64_t bounds_us[] = { 100,    250,    500,     1000,    2500,
                                     5000,   10000,  25000,   50000,   100000,
                                     250000, 500000, 1000000, 2500000, 10000000 };
#define BOUNDS ((int)(sizeof bounds_us / sizeof *bounds_us))
_Static_assert(sizeof bounds_us / sizeof *bounds_us == 15,
               "struct route_stat.le has one slot per bound and one for +Inf");

static struct server *bound; /* the one server of the process */

void metrics_bind(struct server *s)
{
    bound = s;
}

void metrics_note(struct server *s, const struct route *r, int status, int64_t took_us)
{
    struct route_stat *st = &s->stats[router_index(r)];
    int class = status / 100;
    atomic_fetch_add_explicit(&st->by_class[class > 0 && class < 6 ? class : 5], 1,
                              memory_order_relaxed);
    int i = 0;
    while (i < BOUNDS && took_us > bounds_us[i])
        i++;
    atomic_fetch_add_explicit(&st->le[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&st->sum_us, (uint64_t)took_us, memory_order_relaxed);
}

static void print_labels(struct buf *out, const char *name, const struct route *r)
{
    buf_printf(out, "%s{method=\"%s\",route=\"%s\"", name, r ? r->method : "",
               r ? r->path : "(unknown)");
}

static void print_route(struct buf *out, const struct route *r, struct route_stat *st)
{
    uint64_t total = 0;
    for (int i = 0; i <= BOUNDS; i++)
        total += st->le[i];
    if (!total)
        return;
    for (int i = 1; i < 6; i++) {
        if (!st->by_class[i])
            continue;
        print_labels(out, "tessera_http_requests_total", r);
        buf_printf(out, ",status=\"%dxx\"} %llu\n", i, (unsigned long long)st->by_class[i]);
    }
    uint64_t sum = 0;
    for (int i = 0; i < BOUNDS; i++) {
        sum += st->le[i];
        print_labels(out, "tessera_http_request_duration_seconds_bucket", r);
        buf_printf(out, ",le=\"%g\"} %llu\n", (double)bounds_us[i] / 1e6, (unsigned long long)sum);
    }
    print_labels(out, "tessera_http_request_duration_seconds_bucket", r);
    buf_printf(out, ",le=\"+Inf\"} %llu\n", (unsigned long long)total);
    print_labels(out, "tessera_http_request_duration_seconds_sum", r);
    buf_printf(out, "} %.6f\n", (double)st->sum_us / 1e6);
    print_labels(out, "tessera_http_request_duration_seconds_count", r);
    buf_printf(out, "} %llu\n", (unsigned long long)total);
}

void metrics_print(struct buf *out)
{
    if (!bound)
        return;
    buf_lit(
        out,
        "# HELP tessera_http_requests_total Requests answered.\n# TYPE tessera_http_requests_total "
        "counter\n"
        "# HELP tessera_http_request_duration_seconds Time from the request line to the answer.\n"
        "# TYPE tessera_http_request_duration_seconds histogram\n");
    for (int i = 0; i <= router_count(); i++)
        print_route(out, router_at(i), &bound->stats[i]);
    buf_printf(
        out,
        "# HELP tessera_http_connections Open connections.\n# TYPE tessera_http_connections gauge\n"
        "tessera_http_connections %lld\n",
        (long long)bound->connections);
    buf_printf(out,
               "# HELP tessera_http_in_flight Requests being answered.\n# TYPE "
               "tessera_http_in_flight gauge\n"
               "tessera_http_in_flight %lld\n",
               (long long)bound->in_flight);
    buf_printf(out,
               "# HELP tessera_http_deadline_closed_total Connections closed for being too slow.\n"
               "# TYPE tessera_http_deadline_closed_total "
               "counter\ntessera_http_deadline_closed_total %llu\n",
               (unsigned long long)bound->refused_timeouts);
    buf_printf(out,
               "# HELP tessera_api_keys_expiring Active API keys that expire within 7 days.\n"
               "# TYPE tessera_api_keys_expiring gauge\ntessera_api_keys_expiring %lld\n",
               (long long)token_dir_expiring(bound->app->tokens));
}
