/* One call of a delivery: signed here, sent by egress, its end copied on egress's thread. */
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../base/crypt.h"
#include "../../core/egress_log.h"
#include "../hook_sign.h"
#include "send_engine.h"

#define OWN_HEADERS 5

static void copy(char out[ID_TEXT_MAX], struct str id)
{
    BUG_IF(id.n >= ID_TEXT_MAX);
    memcpy(out, id.p, id.n);
    out[id.n] = '\0';
}

static struct flight *flight_new(struct webhooks *w, const struct send_claim *c, struct str lease)
{
    struct flight *f = calloc(1, sizeof *f);
    BUG_IF(!f);
    f->w = w;
    copy(f->team, c->d->team_id);
    copy(f->webhook, c->d->webhook_id);
    copy(f->id, c->d->id);
    copy(f->lease, lease);
    f->attempt = c->d->attempt + 1;
    f->created_ms = c->d->created_ms;
    f->at_ms = clock_ms();
    f->is_ordered = c->d->is_ordered;
    f->bytes = c->bytes;
    return f;
}

void flight_free(struct flight *f)
{
    free(f->body);
    free(f);
}

/* ---- the end ---- */

/* Seconds, or a date (RFC 9110 §10.2.3); 0 = nothing that can be read. */
static int64_t retry_after(const struct egress_answer *a)
{
    char text[64];
    int64_t s;
    struct str value = egress_answer_header(a, STR("retry-after"));
    if (!value.n || value.n >= sizeof text)
        return 0;
    if (str_to_i64(value, &s))
        return s > 0 && s < 7 * 86400 ? s * 1000 : 0;
    memcpy(text, value.p, value.n);
    text[value.n] = '\0';
    time_t at = curl_getdate(text, NULL);
    int64_t ms = at > 0 ? (int64_t)at * 1000 - clock_ms() : 0;
    return ms > 0 && ms < 7 * DAY_MS ? ms : 0;
}

/* Text that both databases take: a cut character at the end goes; in what is no UTF-8, or has NUL,
 * every byte that is not printable ASCII becomes '?'. */
static void keep_body(struct flight *f, struct str body)
{
    size_t n = body.n;
    if (!n || !(f->body = malloc(n)))
        return;
    memcpy(f->body, body.p, n);
    for (int i = 0; i < 3 && n && !str_is_utf8((struct str){ f->body, n }); i++)
        n--;
    if (!str_is_utf8((struct str){ f->body, n }) || memchr(f->body, '\0', n)) {
        n = body.n;
        for (size_t i = 0; i < n; i++) {
            unsigned char c = (unsigned char)f->body[i];
            if (c >= 0x7F || (c < ' ' && c != '\n' && c != '\r' && c != '\t'))
                f->body[i] = '?';
        }
    }
    f->body_n = n;
}

static void ended(struct flight *f)
{
    struct webhooks *w = f->w;
    pthread_mutex_lock(&w->lock);
    f->next = NULL;
    *w->ended_end = f;
    w->ended_end = &f->next;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

/* For people who look at the delivery. */
static void say_error(struct flight *f, struct str why)
{
    bool is_fine = f->class == EGRESS_OK && f->status / 100 == 2;
    if (is_fine)
        return;
    if (f->class == EGRESS_OK)
        why = f->status / 100 == 3 ? STR("The host redirects, which webhooks do not follow")
                                   : STR("The host did not answer with a status of 200 to 299");
    size_t n = why.n < sizeof f->error ? why.n : sizeof f->error - 1;
    memcpy(f->error, why.p ? why.p : "", n);
    f->error[n] = '\0';
}

static void judge(struct flight *f)
{
    struct send_end end = { .class = f->class,
                            .status = f->status,
                            .retry_after_ms = f->retry_after_ms,
                            .try_again_ms = f->try_again_ms,
                            .attempt = f->attempt,
                            .age_ms = clock_ms() - f->created_ms,
                            .percent = (int)f->w->conf.wait_percent };
    crypt_random(&end.dice, sizeof end.dice);
    f->verdict = send_verdict(&end);
}

/* On egress's thread, or on the engine's when the call was not taken. */
static void on_end(void *arg, const struct egress_answer *a)
{
    struct flight *f = arg;
    struct webhooks *w = f->w;
    f->class = a->class;
    f->status = a->status;
    f->duration_ms = a->duration_ms;
    f->try_again_ms = a->try_again_ms;
    f->retry_after_ms = a->class == EGRESS_OK ? retry_after(a) : 0;
    keep_body(f, a->body);
    say_error(f, a->error);
    judge(f);
    ended(f);
    atomic_fetch_sub(&w->n_flying, 1);
}

/* ---- the begin ---- */

static size_t put_headers(const struct send_claim *c, const struct hook_signed *s,
                          struct egress_header *out)
{
    size_t n = 0;
    out[n++] = (struct egress_header){ STR("content-type"), STR("application/json"), false };
    out[n++] = (struct egress_header){ STR("webhook-id"), s->id, false };
    out[n++] = (struct egress_header){ STR("webhook-timestamp"), s->timestamp, false };
    out[n++] = (struct egress_header){ STR("webhook-signature"), s->signature, false };
    if (c->d->is_replay)
        out[n++] = (struct egress_header){ STR("webhook-replay"), STR("true"), false };
    for (size_t i = 0; i < c->to->n_headers; i++)
        out[n++] = (struct egress_header){ c->to->headers[i].name, c->to->headers[i].value, true };
    return n;
}

static void not_signed(struct flight *f, struct ctx *cx)
{
    struct egress_answer a = { .class = EGRESS_INVALID,
                               .error = STR("A secret of the webhook cannot sign") };
    ctx_clear(cx);
    on_end(f, &a);
}

void send_start(struct webhooks *w, struct ctx *cx, const struct send_claim *c, struct str lease)
{
    struct egress_header headers[OWN_HEADERS + WEBHOOK_HEADERS_MAX];
    struct hook_signed signature;
    struct flight *f = flight_new(w, c, lease);
    struct str body = webhook_body(cx, c->ev, c->d->payload);
    const struct hook_message m = { .id = c->ev->id, .timestamp_s = f->at_ms / 1000, .body = body };
    atomic_fetch_add(&w->n_flying, 1);
    if (hook_sign(cx, &m, c->to->secrets, c->to->n_secrets, &signature)) {
        not_signed(f, cx);
        return;
    }
    struct egress_ask ask = { .method = "POST",
                              .url = c->to->w.url,
                              .headers = headers,
                              .n_headers = put_headers(c, &signature, headers),
                              .body = body,
                              .total_ms = w->conf.timeout_ms,
                              .answer_max = WEBHOOK_ANSWER_MAX,
                              .is_cut = true,
                              .apart = c->d->webhook_id };
    ask.labels[EGRESS_LABEL_TEAM] = c->d->team_id;
    egress_start(w->egress, &ask, on_end, f);
}
