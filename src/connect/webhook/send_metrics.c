/* Counters of the engine for /metrics (Prometheus text format 0.0.4). Relaxed in order: each is a
 * number of its own. */
#include "send_engine.h"

/* Upper bounds in ms of the delay of a first attempt: from the event's delivery to its answer. */
static const int64_t bounds_ms[] = { 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 15000, 60000 };
_Static_assert(sizeof bounds_ms / sizeof *bounds_ms == SEND_BOUNDS, "one slot per bound");

static void add(atomic_llong *to, long long n)
{
    atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

void send_count(struct webhooks *w, const struct flight *f)
{
    struct send_counts *c = &w->counts;
    int64_t delay_ms = f->at_ms + f->duration_ms - f->created_ms;
    int i = 0;
    switch (f->verdict.move) {
    case SEND_DELIVERED: add(&c->delivered, 1); break;
    case SEND_AGAIN: add(&c->retried, 1); break;
    case SEND_FAILED:
    case SEND_GONE:
    case SEND_EXPIRED: add(&c->failed, 1); break;
    case SEND_POSTPONED: add(&c->postponed, 1); return;
    }
    if (f->verdict.move == SEND_EXPIRED)
        return;
    add(&c->attempts[f->class], 1);
    if (f->attempt != 1)
        return;
    while (i < SEND_BOUNDS && delay_ms > bounds_ms[i])
        i++;
    add(&c->le[i], 1);
    add(&c->delay_ms, delay_ms);
}

static void print_delay(struct buf *out, struct send_counts *c)
{
    long long sum = 0;
    buf_lit(out, "# HELP tessera_webhook_first_attempt_seconds Time from the making of a delivery "
                 "to the end of its first attempt.\n"
                 "# TYPE tessera_webhook_first_attempt_seconds histogram\n");
    for (int i = 0; i <= SEND_BOUNDS; i++) {
        sum += c->le[i];
        buf_lit(out, "tessera_webhook_first_attempt_seconds_bucket{le=\"");
        if (i < SEND_BOUNDS)
            buf_printf(out, "%g\"} %lld\n", (double)bounds_ms[i] / 1e3, sum);
        else
            buf_printf(out, "+Inf\"} %lld\n", sum);
    }
    buf_printf(out,
               "tessera_webhook_first_attempt_seconds_sum %.3f\n"
               "tessera_webhook_first_attempt_seconds_count %lld\n",
               (double)c->delay_ms / 1e3, sum);
}

static void print_results(struct buf *out, struct send_counts *c)
{
    const struct {
        const char *word;
        long long n;
    } rows[] = { { "delivered", c->delivered },
                 { "failed", c->failed },
                 { "retried", c->retried },
                 { "postponed", c->postponed } };
    buf_lit(out, "# HELP tessera_webhook_deliveries_total What deliveries came to after a call.\n"
                 "# TYPE tessera_webhook_deliveries_total counter\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        buf_printf(out, "tessera_webhook_deliveries_total{result=\"%s\"} %lld\n", rows[i].word,
                   rows[i].n);
    buf_lit(out, "# HELP tessera_webhook_attempts_total Attempts by how the call ended.\n"
                 "# TYPE tessera_webhook_attempts_total counter\n");
    for (int i = 0; i < EGRESS_CLASSES; i++)
        if (c->attempts[i])
            buf_printf(out, "tessera_webhook_attempts_total{outcome=\"%s\"} %lld\n",
                       egress_class_word((enum egress_class)i), (long long)c->attempts[i]);
}

void webhooks_metrics(struct buf *out, struct webhooks *w)
{
    if (!w)
        return;
    int64_t due_ms = w->due_ms, late_ms = due_ms < 0 ? 0 : clock_ms() - due_ms;
    print_results(out, &w->counts);
    print_delay(out, &w->counts);
    buf_printf(out,
               "# HELP tessera_webhook_events_total Events given to webhooks by this node.\n"
               "# TYPE tessera_webhook_events_total counter\n"
               "tessera_webhook_events_total %lld\n"
               "# HELP tessera_webhook_in_flight Deliveries that are being sent by this node.\n"
               "# TYPE tessera_webhook_in_flight gauge\ntessera_webhook_in_flight %lld\n"
               "# HELP tessera_webhook_waiting Deliveries of all nodes that wait, retries "
               "included; counted up to %d.\n"
               "# TYPE tessera_webhook_waiting gauge\ntessera_webhook_waiting %lld\n"
               "# HELP tessera_webhook_late_seconds How long the oldest due delivery waits.\n"
               "# TYPE tessera_webhook_late_seconds gauge\ntessera_webhook_late_seconds %.3f\n",
               (long long)w->counts.events, (long long)w->n_flying, SEND_WAITING_SEEN,
               (long long)w->waiting, late_ms > 0 ? (double)late_ms / 1e3 : 0.0);
}
