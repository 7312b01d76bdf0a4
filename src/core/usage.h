/* Usage: a row for every request, rollups by minute, hour and day, and what the dashboard asks.
 *
 * Writing. The row of a write travels as unit->tag and is inserted by the writer in the same
 * transaction (usage_hooks). Everything else is copied into a bounded buffer (usage_note never
 * blocks; a full buffer drops the detail and counts the drop, the counts of the rollup stay right)
 * and a flusher thread stores it within 50 ms as one unit. Each writer keeps the counts of its
 * committed rows in memory and once a second adds them to usage_rollup (grains m, h, d and t = for
 * ever; also summed over the team under token_id and route '*', which the dashboard reads) in a
 * transaction of its own, together with its stream's mark: after a crash the rows above the mark
 * are folded in at the next start (usage_recover), so rollups and rows agree. Token last_used and
 * use_count move in that same transaction.
 *
 * Keeping. SQLite: rows older than `hot` go, in small steps, to day files
 * "<db>.usage/YYYY-MM-DD.db", and old day files are unlinked. PostgreSQL: day partitions, made
 * ahead and dropped. Never a long DELETE. Rollups: m 7 days, h 90 days, d 400 days, then M (months,
 * made from days by usage_month.c) and t always.
 *
 * Countries of addresses are looked up by the flusher, or by the writer for its own rows, and counted
 * in usage_country by hour and day, in the transaction of usage_rollup.
 *
 * Owner of tables integration_token_usage, usage_stream, usage_rollup, usage_country and the day
 * files. */
#ifndef TESSERA_CORE_USAGE_H
#define TESSERA_CORE_USAGE_H

#include "../store/store.h"
#include "caller.h"

#define USAGE_PAYLOAD_MAX 4096
#define USAGE_AGENT_MAX 256
#define USAGE_STREAM_SHIFT 40

struct usage;
struct geo;

struct usage_event {
    int64_t at_ms;        /* when the request arrived */
    int64_t took_us;      /* until its answer was ready (a write: until its commit began) */
    int status;           /* of the answer; 0 = not known yet */
    const char *method;   /* static text */
    const char *endpoint; /* static text: the route's pattern; "(unknown)" when none matched */
    struct str team_id;   /* STR_NONE = no valid token */
    struct str token_id;
    struct str ip, agent;
    struct str error;   /* wire code or STR_NONE */
    struct str payload; /* redacted body of POST/PATCH, or STR_NONE */
    char country[4];    /* filled by the flusher or the writer: geo_country(ip), "" = not known */
};

struct usage_conf {
    int64_t detail_days;   /* rows are kept this long (30) */
    int64_t buffer_events; /* bound of the buffer of usage_note (65536) */
    struct geo *geo;       /* core/geo.h; NULL = countries stay unknown */
};

enum err_code usage_open(struct ctx *cx, struct store *s, const struct usage_conf *conf,
                         struct usage **out);
/* At start, before serving: fold rows that a crash left out of the rollups, make partitions. */
enum err_code usage_recover(struct ctx *cx, struct usage *u);
/* Requests per token, 429s not counted, in the running cell of a limit's window [start_ms, start_ms
 * + window_ms) and in the one before: what all servers on this database have granted. Windows that
 * are no multiple of a minute, and those above two days that are none of an hour, are counted to the
 * bucket. `each` is called in the calling thread. */
struct usage_cells {
    int64_t start_ms, window_ms;
};
typedef void usage_count_fn(void *arg, struct str token_id, int64_t running, int64_t before);
enum err_code usage_window_counts(struct ctx *cx, struct usage *u, const struct usage_cells *span,
                                  usage_count_fn *each, void *arg);
const struct store_hooks *usage_hooks(
    struct usage *u); /* for store_start; unit->tag is a struct usage_event * or NULL */
enum err_code usage_start(struct ctx *cx, struct usage *u); /* flusher and housekeeping threads */
void usage_note(struct usage *u,
                const struct usage_event *e); /* any thread; copies; never blocks */
/* Removes what is kept no longer, and makes the next partitions: once for all nodes, from a job. */
enum err_code usage_retain(struct ctx *cx, struct usage *u, int64_t now_ms);
void usage_stop(struct usage *u);  /* flush everything; call before store_close */
void usage_close(struct usage *u); /* after store_close */

/* The redacted, capped form of a request body: secrets' values (password, token, secret,
 * authorization, api_key, … case-insensitive, at any depth) become "***"; at most USAGE_PAYLOAD_MAX
 * bytes. */
struct str usage_redact(struct ctx *cx, json_t *body, struct str raw);
/* Does the name of a JSON member sound like a secret? */
bool usage_is_sensitive(const char *key);

struct usage_stats { /* one token or a whole team */
    struct rec_bits bits;
    int64_t active_tokens; /* dashboard only */
    int64_t requests_total, requests_this_hour, requests_today, errors_today, errors_total,
        rate_limited_today;
    int64_t average_us, p50_us, p95_us, p99_us; /* today */
    int64_t rate_limit, remaining_this_hour;    /* token only */
    int64_t last_used_ms;
    int64_t success_rate_bp;         /* today; basis points: 9950 = 99.50 % */
    struct str key_id;               /* token only */
    struct str top_keys, top_routes; /* JSON texts; usage_overview only */
};
/* For the command line. */
extern const struct rec rec_usage_dashboard;
extern const struct rec rec_usage_token;
enum err_code usage_dashboard(struct ctx *cx, struct db *db, struct str team_id, int64_t now_ms,
                              struct usage_stats *out);
enum err_code usage_token_stats(struct ctx *cx, struct db *db, struct str team_id,
                                struct str token_id, int64_t now_ms, struct usage_stats *out);
/* The same for /v1: with the busiest keys and routes of today, and with its own names. */
extern const struct rec rec_usage_overview;
extern const struct rec rec_usage_key;
enum err_code usage_overview(struct ctx *cx, struct db *db, struct str team_id, int64_t now_ms,
                             struct usage_stats *out);

struct usage_row {
    struct rec_bits bits;
    int64_t id, status_code, response_time_us, created_ms;
    struct str token_id, endpoint, method, ip_address, user_agent, request_payload, error_message;
    struct str country; /* two letters or STR_NONE */
    struct str id_text; /* id for JSON, whose readers round large numbers; set by usage_export.h */
};
extern const struct rec rec_usage_row; /* as stored; reading them is usage_export.h */
/* The document's cascade: in the transaction that deletes a token, note that its rows and rollups
 * are to go. The housekeeping of a running server (any node) finds the note and removes them in
 * small steps. */
enum err_code usage_forget_mark(struct ctx *cx, struct db *db, struct str team_id,
                                struct str token_id);

struct usage_counters {
    int64_t noted, dropped, stored, flush_failures;
};
void usage_counters(struct usage *u, struct usage_counters *out);

#endif
