/* `tessera serve`: puts the parts together, waits for signals, takes them apart in order.
 *
 * Start: database, migrations, vault, usage recovery, token directory, limits from this hour's usage,
 * writers, jobs, webhooks, HTTP. Stop (SIGTERM, SIGINT): HTTP drains, running jobs and deliveries go
 * back, then usage flushes, then the store. SIGHUP: certificates, database of countries and log level again. */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../base/clock.h"
#include "../base/crypt.h"
#include "../base/log.h"
#include "../connect/in/process.h"
#include "../connect/in/receive.h"
#include "../connect/webhook/webhook_engine.h"
#include "../core/audit.h"
#include "../core/crm/blob.h"
#include "../core/egress_log.h"
#include "../core/geo.h"
#include "../core/job/job.h"
#include "../core/people/identity.h"
#include "../core/people/jwt.h"
#include "../core/people/mail.h"
#include "../core/people/throttle.h"
#include "../core/people/user.h"
#include "../core/report/export.h"
#include "../core/token_admin.h"
#include "../core/token_settle.h"
#include "../core/vault/vault.h"
#include "../http/server.h"
#include "cli.h"
#include "job_kinds.h"

#define HOUSEKEEPING_S 60

struct serve {
    struct cli *c;
    struct app app;
    struct store *store;
    struct geo *geo;
    struct usage *usage;
    struct token_dir *tokens;
    struct token_settle *settle;
    struct server *server;
    struct jwt *jwt;
    struct blobs *blobs;
    struct exports *exports;
    struct jobs *jobs;
    struct store_hooks hooks;
    struct egress *egress;
    struct egress_log *egress_log;
    struct webhooks *webhooks;
    struct throttle *throttle;
    struct mailer *mailer;
    struct hook_desk hook_desk;
    struct hook_work hook_work;
};

static void log_from(const struct conf *conf)
{
    enum log_level level = LOG_INFO;
    log_level_parse(conf->log_level, &level);
    log_setup(level, str_eq(conf->log_format, STR("json")));
}

/* ---- first run ---- */

struct first {
    struct user_new user;
    struct user user_out;
    struct token token;
    bool is_empty;
};

static enum err_code first_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct first *f = arg;
    struct list tokens;
    int64_t users = 0;
    enum err_code e = user_count(cx, db, &users);
    if (!e)
        e = token_list(cx, db, STR(TEAM_DEFAULT), &tokens);
    f->is_empty = !e && !users && !tokens.n;
    if (e || !f->is_empty)
        return e;
    struct token_new in = { .name = STR("First token") };
    REC_SET(&in, name);
    const struct caller cli = { .team_id = STR(TEAM_DEFAULT) };
    e = user_create(cx, db, &cli, &f->user, &f->user_out);
    return e ? e : key_create(cx, db, &cli, &in, &f->token);
}

static void first_print(const struct serve *s, const struct first *f)
{
    struct str address = server_address(s->server);
    const char *scheme = s->c->conf.tls_cert.n ? "https" : "http";
    printf("\nThis is the first start, so an admin and a token were made. Keep them now: they are "
           "not shown again.\n\n"
           "  admin     " STR_FMT "\n  password  " STR_FMT "\n  token     " STR_FMT
           "\n\nCreate a ticket:\n\n"
           "  curl -s %s://" STR_FMT V0_MOUNT "/tickets \\\n    -H 'Authorization: Bearer " STR_FMT
           "' \\\n"
           "    -H 'Content-Type: application/json' \\\n    -d '{\"title\":\"My first "
           "ticket\",\"priority\":\"high\"}'\n\n"
           "API reference: %s://" STR_FMT "/docs\n\n",
           STR_ARG(f->user.email), STR_ARG(f->user.password), STR_ARG(f->token.token), scheme,
           STR_ARG(address), STR_ARG(f->token.token), scheme, STR_ARG(address));
    fflush(stdout);
}

static enum err_code first_run(struct serve *s, struct first *f)
{
    unsigned char raw[15];
    crypt_random(raw, sizeof raw);
    f->user = (struct user_new){ .email = STR("admin@localhost"),
                                 .name = STR("Admin"),
                                 .role = STR("owner"),
                                 .password = base64url_of(&s->c->cx->arena, raw, sizeof raw) };
    return store_tx(s->c->cx, s->store, first_unit, f);
}

/* ---- start and stop ---- */

static enum err_code open_jwt(struct serve *s)
{
    const struct conf *conf = &s->c->conf;
    struct jwt_conf jc = { .issuer = conf->jwt_issuer,
                           .audience = conf->jwt_audience,
                           .secret = conf->jwt_secret,
                           .jwks = conf->jwt_jwks,
                           .skew_s = conf->jwt_skew_s,
                           .trusts_email = conf->jwt_trust_email };
    return jwt_open(s->c->cx, &jc, &s->jwt);
}

static enum err_code open_mailer(struct serve *s)
{
    const struct conf *conf = &s->c->conf;
    struct mail_conf mc = { conf->smtp_url, conf->smtp_from, conf->smtp_user, conf->smtp_password,
                            conf->public_url };
    return mailer_open(s->c->cx, &mc, &s->mailer);
}

/* Beside the SQLite file unless the settings say otherwise; with PostgreSQL there is no such place. */
static enum err_code open_blobs(struct serve *s)
{
    struct ctx *cx = s->c->cx;
    const struct conf *conf = &s->c->conf;
    struct str file = store_path(s->store);
    struct blobs_conf bc = { .dir = conf->attachment_dir,
                             .tmp_dir = conf->tmp_dir,
                             .endpoint = conf->s3_endpoint,
                             .region = conf->s3_region,
                             .bucket = conf->s3_bucket,
                             .access_key = conf->s3_access_key,
                             .secret_key = conf->s3_secret_key };
    if (!bc.dir.n && file.n)
        bc.dir = str_printf(&cx->arena, STR_FMT ".attachments", STR_ARG(file));
    return blobs_open(cx, &bc, &s->blobs);
}

static enum err_code open_usage(struct serve *s)
{
    const struct conf *conf = &s->c->conf;
    enum err_code e = geo_open(s->c->cx, conf->geo_database, &s->geo);
    struct usage_conf uc = { conf->usage_detail_days, conf->usage_buffer, s->geo };
    return e ? e : usage_open(s->c->cx, s->store, &uc, &s->usage);
}

/* Where files of exports wait: beside the SQLite file or under attachment_dir; else in tmp_dir, by
 * the name of the database, since several servers may share that. */
static enum err_code open_exports(struct serve *s)
{
    struct ctx *cx = s->c->cx;
    const struct conf *conf = &s->c->conf;
    struct str file = store_path(s->store);
    unsigned char sum[SHA256_LEN];
    struct exports_conf ec = { .store = s->store,
                               .usage = s->usage,
                               .usage_days = conf->usage_detail_days };
    crypt_sha256(conf->database, sum);
    if (conf->attachment_dir.n && !conf->s3_bucket.n)
        ec.dir = str_printf(&cx->arena, STR_FMT "/exports", STR_ARG(conf->attachment_dir));
    else if (file.n)
        ec.dir = str_printf(&cx->arena, STR_FMT ".exports", STR_ARG(file));
    else
        ec.dir = str_printf(&cx->arena, STR_FMT "/tessera-exports-" STR_FMT, STR_ARG(conf->tmp_dir),
                            STR_ARG(hex_of(&cx->arena, sum, 8)));
    return exports_open(cx, &ec, &s->exports);
}

static enum err_code start_data(struct serve *s)
{
    struct ctx *cx = s->c->cx;
    const struct conf *conf = &s->c->conf;
    struct store_conf sc = { conf->database, conf->pg_writers, conf->pg_readers, conf->queue_max };
    int applied = 0;
    enum err_code e = open_jwt(s);
    if (!e)
        e = open_mailer(s);
    if (!e)
        e = store_open(cx, &sc, &s->store);
    if (!e)
        e = store_migrate(cx, s->store, &applied);
    if (!e)
        e = cli_vault(s->c, s->store);
    if (!e)
        s->throttle = throttle_open(vault_mac_key(VAULT_WEB), conf->sign_in_limit);
    if (!e)
        e = open_blobs(s);
    if (!e)
        e = open_usage(s);
    if (!e)
        e = open_exports(s);
    if (!e)
        e = usage_recover(cx, s->usage);
    if (!e)
        e = token_dir_open(cx, s->store, conf->bad_token_limit, &s->tokens);
    if (!e)
        e = token_settle_open(cx, s->tokens, s->usage, store_is_postgres(s->store), &s->settle);
    return e;
}

/* ---- what rides along with every batch of writes: usage rows; jobs and webhooks listen ---- */

static enum err_code before_commit(struct ctx *cx, struct db *db, void *arg, int writer,
                                   struct unit *const *units, size_t n)
{
    const struct store_hooks *usage = usage_hooks(((struct serve *)arg)->usage);
    return usage->before_commit(cx, db, usage->arg, writer, units, n);
}

static void after_commit(void *arg, int writer, bool is_committed)
{
    struct serve *s = arg;
    const struct store_hooks *usage = usage_hooks(s->usage);
    usage->after_commit(usage->arg, writer, is_committed);
    jobs_committed(s->jobs, is_committed);
    webhooks_committed(s->webhooks, is_committed);
}

static struct webhooks *open_webhooks(struct serve *s)
{
    const struct conf *conf = &s->c->conf;
    const struct webhooks_conf wc = { .store = s->store,
                                      .mailer = s->mailer,
                                      .public_url = conf->public_url,
                                      .calls = conf->webhook_calls,
                                      .timeout_ms = conf->webhook_timeout_s * 1000,
                                      .lease_ms = conf->webhook_lease_s * 1000,
                                      .wait_percent = conf->webhook_wait_percent };
    return webhooks_open(&wc);
}

/* Webhooks that come in. Connectors put their handlers here; none has one yet. */
static void open_hooks(struct serve *s)
{
    const struct conf *conf = &s->c->conf;
    int64_t quota = conf->hook_store_mb << 20;
    bool is_longer = conf->hook_seen_days > conf->hook_payload_days;
    struct str base = conf->public_url;
    while (base.n && base.p[base.n - 1] == '/')
        base.n--;
    s->hook_desk = (struct hook_desk){ brake_open(conf->hook_refused_limit), base, quota };
    s->hook_work = (struct hook_work){ .quota_bytes = quota,
                                       .payload_days = conf->hook_payload_days,
                                       .seen_days = is_longer ? conf->hook_seen_days
                                                              : conf->hook_payload_days + 1 };
    s->app.hook_desk = &s->hook_desk;
    s->app.hook_work = &s->hook_work;
}

/* What is there before the first request, for handlers, jobs and webhooks. */
static void fill_app(struct serve *s)
{
    const struct conf *conf = &s->c->conf;
    s->app = (struct app){ .store = s->store,
                           .tokens = s->tokens,
                           .usage = s->usage,
                           .geo = s->geo,
                           .jwt = s->jwt,
                           .throttle = s->throttle,
                           .mailer = s->mailer,
                           .blobs = s->blobs,
                           .exports = s->exports,
                           .conf = conf,
                           .started_ms = clock_ms() };
    open_hooks(s);
    const struct jobs_conf jc = { .store = s->store,
                                  .uses = job_kinds(s->c->cx, &s->app),
                                  .workers = conf->job_workers,
                                  .lease_ms = conf->job_lease_s * 1000,
                                  .drain_ms = conf->drain_timeout_s * 1000 };
    s->jobs = s->app.jobs = jobs_open(&jc);
    s->webhooks = s->app.webhooks = open_webhooks(s);
}

static enum err_code start_egress(struct serve *s)
{
    const struct conf *conf = &s->c->conf;
    struct egress_log_conf lc = { .store = s->store };
    enum err_code e = egress_log_start(s->c->cx, &lc, &s->egress_log);
    struct egress_conf ec = { .allow = conf->egress_allow,
                              .proxy = conf->egress_proxy,
                              .ca_file = conf->egress_ca_file,
                              .host_running_max = conf->egress_host_calls,
                              .host_rate = conf->egress_host_rate,
                              .record = egress_log_record,
                              .record_arg = s->egress_log };
    if (!e)
        e = egress_open(s->c->cx, &ec, &s->egress);
    s->app.egress = s->egress;
    s->app.egress_log = s->egress_log;
    return e;
}

static enum err_code start_threads(struct serve *s)
{
    struct ctx *cx = s->c->cx;
    s->hooks = (struct store_hooks){ s, before_commit, after_commit };
    enum err_code e = store_start(cx, s->store, &s->hooks);
    if (!e)
        e = start_egress(s); /* who calls out starts after it and ends before it */
    if (!e)
        e = usage_start(cx, s->usage);
    if (!e)
        e = token_dir_start(cx, s->tokens);
    if (!e)
        e = token_settle_start(cx, s->settle);
    if (!e)
        e = exports_start(cx, s->exports);
    jwt_use_egress(s->jwt, s->egress);
    blobs_use_egress(s->blobs, s->egress);
    if (!e)
        e = jwt_start(cx, s->jwt);
    if (!e)
        mailer_start(s->mailer);
    return e;
}

static enum err_code start_http(struct serve *s)
{
    struct ctx *cx = s->c->cx;
    const struct conf *conf = &s->c->conf;
    enum err_code e = openapi_packed(cx, &s->app.openapi);
    if (e)
        return e;
    if (vault_is_ready()) {
        crypt_derive(vault_mac_key(VAULT_WEB), "tessera list cursors", s->app.cursor_key.b);
    } else {
        crypt_random(s->app.cursor_key.b, sizeof s->app.cursor_key.b);
        log_warn(NULL, "serve.no_master_key", KVC("effect", "list cursors end with this process"));
    }
    return server_start(cx, conf, &s->app, &s->server);
}

/* Writes when sessions were last seen: only this node knows. */
static void flush_sessions(struct serve *s)
{
    struct ctx cx;
    if (!s->store)
        return;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    if (identity_flush(&cx, s->store))
        log_warn(NULL, "sessions.flush_failed", KVS("why", cx.err_text));
    ctx_done(&cx);
}

static void stop_all(struct serve *s)
{
    server_stop(s->server);
    jobs_close(s->jobs);
    webhooks_stop(s->webhooks);
    exports_close(s->exports);
    jwt_close(s->jwt);
    mailer_close(s->mailer);
    egress_close(s->egress);
    webhooks_flush(s->webhooks);
    egress_log_stop(s->egress_log);
    flush_sessions(s);
    throttle_close(s->throttle);
    token_settle_close(s->settle);
    token_dir_close(s->tokens);
    if (s->usage)
        usage_stop(s->usage);
    store_close(s->store);
    webhooks_close(s->webhooks);
    vault_stop();
    if (s->usage)
        usage_close(s->usage);
    geo_close(s->geo);
    brake_close(s->hook_desk.brake);
}

/* ---- running ---- */

static void sweep_exports(struct serve *s)
{
    struct ctx cx;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    if (exports_sweep(&cx, s->exports))
        log_warn(NULL, "exports.sweep_failed", KVS("why", cx.err_text));
    ctx_done(&cx);
}

/* What each node does for itself; what is done once for all are jobs (job_kinds.c). */
static void housekeeping(struct serve *s)
{
    sweep_exports(s);
    flush_sessions(s);
}

static void reload(struct serve *s)
{
    struct ctx cx;
    struct conf now = { 0 };
    enum log_level level = LOG_INFO;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    enum err_code e = server_reload(&cx, s->server);
    if (!e)
        e = geo_reload(&cx, s->geo);
    if (!e)
        e = cli_conf_again(&cx, &now);
    if (!e && log_level_parse(now.log_level, &level))
        log_set_level(level);
    if (e)
        log_error(NULL, "serve.reload_failed", KVS("why", cx.err_text));
    else
        log_info(NULL, "serve.reloaded", KVS("log_level", now.log_level));
    ctx_done(&cx);
}

static void wait_for_stop(struct serve *s, const sigset_t *set)
{
    for (;;) {
        int sig = sigtimedwait(set, NULL, &(struct timespec){ .tv_sec = HOUSEKEEPING_S });
        if (sig == SIGTERM || sig == SIGINT)
            return;
        if (sig == SIGHUP)
            reload(s);
        else
            housekeeping(s);
    }
}

static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

enum err_code cmd_serve(struct cli *c)
{
    struct serve s = { .c = c };
    struct first first = { .is_empty = false };
    sigset_t set;
    log_from(&c->conf);
    block_signals(&set);
    enum err_code e = start_data(&s);
    if (!e && c->conf.first_run)
        e = first_run(&s, &first);
    if (!e && first.is_empty)
        e = token_dir_refresh(c->cx, s.tokens);
    if (!e) {
        fill_app(&s);
        e = start_threads(&s);
    }
    if (!e)
        e = jobs_start(c->cx, s.jobs);
    if (!e)
        e = webhooks_start(c->cx, s.webhooks, s.egress);
    if (!e)
        e = start_http(&s);
    if (!e) {
        malloc_trim(0); /* what only the start needed */
        log_info(NULL, "serve.listening", KVS("address", server_address(s.server)),
                 KVC("version", TESSERA_VERSION),
                 KVC("database", store_is_postgres(s.store) ? "postgresql" : "sqlite"));
        if (first.is_empty)
            first_print(&s, &first);
        wait_for_stop(&s, &set);
        log_info(NULL, "serve.stopping", KVI("in_flight", 0));
    }
    stop_all(&s);
    if (!e)
        log_info(NULL, "serve.stopped", KVI("clean", 1));
    return e;
}
