/* Any bytes on a connection: a real server on the loopback device, in this process, over SQLite.
 *
 * The server starts once. Each input goes over a connection of its own, whose sending half is
 * then closed; what comes back is read to its end or until the deadline. The process has to
 * live, and what comes back has to be a row of HTTP/1.1 answers, none of them 500. TOKEN in an
 * input stands for the secret of a token that may do everything (always the same secret, so that
 * a finding can be replayed). Logs are off; the database lives in a temporary folder until the
 * end. */
#define _GNU_SOURCE /* memmem */
#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/openapi.h"
#include "api/settings.h"
#include "base/clock.h"
#include "base/crypt.h"
#include "base/log.h"
#include "core/token.h"
#include "http/server.h"

#define INPUT_MAX ((size_t)1 << 17)
#define ANSWER_MAX ((size_t)1 << 22)
/* libmicrohttpd may leave a half-closed connection to its idle timeout, so silence ends it here. */
#define DEADLINE_MS 1000 /* of one connection */
#define SILENCE_MS 20    /* before the first byte of an answer */
#define QUIET_MS 3       /* after the last one */
#define SECRET "stk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define PLACE "TOKEN"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct ctx life; /* as long as the process */
static struct conf conf;
static struct app app;
static struct server *server;
static struct sockaddr_in address;
static char folder[] = "/tmp/tessera-fuzz-XXXXXX";
static char *answer;

/* ---- start and stop ---- */

static enum err_code token_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct token_new in = { .name = STR("fuzz"), .rate_limit = TOKEN_RATE_MAX };
    struct token t;
    unsigned char digest[SHA256_LEN];

    (void)arg;
    REC_SET(&in, name);
    REC_SET(&in, rate_limit);
    enum err_code e = token_create(cx, db, STR(TEAM_DEFAULT), &in, &t);
    if (e)
        return e;
    crypt_sha256(STR(SECRET), digest);
    return db_run(cx, db, "UPDATE integration_tokens SET token_hash = $1 WHERE id = $2",
                  ARGS(VT(hex_of(&cx->arena, digest, sizeof digest)), VT(t.id)));
}

static enum err_code start_data(struct ctx *cx)
{
    struct store_conf sc = { conf.database, conf.pg_writers, conf.pg_readers, conf.queue_max };
    struct usage_conf uc = { conf.usage_detail_days, conf.usage_buffer };
    int applied;
    enum err_code e = store_open(cx, &sc, &app.store);

    if (!e)
        e = store_migrate(cx, app.store, &applied);
    if (!e)
        e = store_tx(cx, app.store, token_unit, NULL);
    if (!e)
        e = usage_open(cx, app.store, &uc, &app.usage);
    if (!e)
        e = token_dir_open(cx, app.store, conf.bad_token_limit, &app.tokens);
    if (!e)
        e = store_start(cx, app.store, usage_hooks(app.usage));
    if (!e)
        e = usage_start(cx, app.usage);
    return e ? e : token_dir_start(cx, app.tokens);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static void stop_all(void)
{
    server_stop(server);
    token_dir_close(app.tokens);
    usage_stop(app.usage);
    store_close(app.store);
    usage_close(app.usage);
    ctx_done(&life);
    free(answer);
    if (nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS))
        fprintf(stderr, "left behind: %s\n", folder);
}

static void settings(struct ctx *cx)
{
    char database[64], listen[] = "TESSERA_LISTEN=127.0.0.1:0", bad[] = "TESSERA_BAD_TOKEN_LIMIT=0";
    char *argv[] = { NULL };
    char *env[] = { database, listen, bad, NULL };
    int argc = 0;

    BUG_IF(!mkdtemp(folder));
    snprintf(database, sizeof database, "TESSERA_DATABASE=sqlite:%s/t.db", folder);
    if (conf_load(cx, &conf_table, &argc, argv, env, &conf, NULL)) {
        fprintf(stderr, STR_FMT "\n", STR_ARG(cx->err_text));
        abort();
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct buf api;

    (void)argc, (void)argv;
    signal(SIGPIPE, SIG_IGN);
    log_setup(LOG_ERROR, false);
    crypt_init();
    ctx_init(&life, (size_t)64 << 20);
    settings(&life);
    enum err_code e = start_data(&life);
    buf_init(&api, &life.arena, OPENAPI_MAX);
    if (!e)
        e = openapi_print(&life, &api);
    app.conf = &conf;
    app.openapi = buf_view(&api);
    app.started_ms = clock_ms();
    if (!e)
        e = server_start(&life, &conf, &app, &server);
    if (e) {
        fprintf(stderr, STR_FMT "\n", STR_ARG(life.err_text));
        abort();
    }
    struct str where = server_address(server);
    int64_t port = 0;
    str_cut(&where, ':');
    BUG_IF(!str_to_i64(where, &port));
    address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    answer = malloc(ANSWER_MAX);
    BUG_IF(!answer);
    atexit(stop_all);
    return 0;
}

/* ---- one connection ---- */

/* Ports are used up faster than the system frees them; each address of 127.1.0.0/16 has its own. */
static int dial(void)
{
    static uint32_t turn;
    struct sockaddr_in from = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    from.sin_addr.s_addr = htonl(0x7f010001u + turn++ % 64);
    if (fd >= 0 && !bind(fd, (struct sockaddr *)&from, sizeof from) &&
        !connect(fd, (struct sockaddr *)&address, sizeof address))
        return fd;
    perror("connect");
    abort();
}

static bool wait_for(int fd, short events, int64_t until_us)
{
    struct pollfd p = { .fd = fd, .events = events };
    int64_t left = (until_us - clock_mono_us() + 999) / 1000;

    return left > 0 && poll(&p, 1, (int)left) > 0;
}

/* Send what the server takes and read what it gives, both bounded by the deadline. Returns the
 * bytes of the answer; *is_whole when the server ended the connection after them in good order. */
static size_t talk(int fd, const uint8_t *data, size_t n, bool *is_whole)
{
    int64_t until = clock_mono_us() + DEADLINE_MS * 1000;
    size_t sent = 0, got = 0;
    bool is_shut = false;

    *is_whole = false;
    while (got < ANSWER_MAX) {
        if (sent == n && !is_shut) {
            shutdown(fd, SHUT_WR);
            is_shut = true;
        }
        int64_t quiet = clock_mono_us() + (got ? QUIET_MS : SILENCE_MS) * 1000;
        short events = sent < n ? POLLIN | POLLOUT : POLLIN;

        if (!wait_for(fd, events, quiet < until ? quiet : until))
            break;
        ssize_t r = recv(fd, answer + got, ANSWER_MAX - got, MSG_DONTWAIT);
        if (r > 0)
            got += (size_t)r;
        if (r == 0 || (r < 0 && errno != EAGAIN)) {
            *is_whole = r == 0;
            break;
        }
        ssize_t w = sent < n ? send(fd, data + sent, n - sent, MSG_DONTWAIT) : 0;
        if (w > 0)
            sent += (size_t)w;
        else if (w < 0 && errno != EAGAIN)
            sent = n; /* refused: what it said before can still be read */
    }
    return got;
}

/* ---- what comes back ---- */

static struct str header(struct str head, struct str name)
{
    while (head.p) {
        struct str line = str_cut(&head, '\n');
        struct str value = line;
        struct str key = str_cut(&value, ':');

        if (value.p && str_eq_nocase(str_trim(key), name))
            return str_trim(value);
    }
    return STR_NONE;
}

/* Take one answer off the front; false when the rest is only the beginning of one. */
static bool take_answer(struct str *rest)
{
    static const struct str version = { "HTTP/1.1 ", 9 };
    const char *end = memmem(rest->p, rest->n, "\r\n\r\n", 4);
    int64_t status = 0, length = 0;

    BUG_IF(memcmp(rest->p, version.p, rest->n < version.n ? rest->n : version.n) != 0);
    if (!end)
        return false;
    struct str head = { rest->p, (size_t)(end - rest->p) };
    *rest = str_sub(*rest, head.n + 4, rest->n - head.n - 4);
    BUG_IF(!str_to_i64(str_sub(head, version.n, 3), &status) || status < 100 || status > 599);
    struct str text = header(head, STR("Content-Length"));
    BUG_IF(text.p && (!str_to_i64(text, &length) || length < 0));
    BUG_IF(status == 500 && text.p); /* nothing that a client sends may break something here */
    if (status < 200 || status == 204 || status == 304 || str_starts(*rest, version))
        return true; /* no body; the last: an answer to HEAD */
    if (rest->n == 0)
        return true; /* to HEAD, or cut before its body */
    size_t body = (size_t)length < rest->n ? (size_t)length : rest->n;
    *rest = str_sub(*rest, body, rest->n - body);
    return true;
}

/* The input with the secret in place of each TOKEN. */
static size_t fill_in(const uint8_t *data, size_t n, uint8_t *to, size_t cap)
{
    size_t at = 0;

    for (size_t i = 0; i < n && at + sizeof SECRET < cap;) {
        bool is_place = n - i >= sizeof PLACE - 1 && !memcmp(data + i, PLACE, sizeof PLACE - 1);

        if (is_place) {
            memcpy(to + at, SECRET, sizeof SECRET - 1);
            at += sizeof SECRET - 1;
            i += sizeof PLACE - 1;
        } else {
            to[at++] = data[i++];
        }
    }
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t input[INPUT_MAX * 2];
    bool is_whole;

    if (n > INPUT_MAX)
        return 0;
    size_t size = fill_in(data, n, input, sizeof input);
    int fd = dial();
    size_t got = talk(fd, input, size, &is_whole);
    close(fd);
    struct str rest = { answer, got };
    while (rest.n && take_answer(&rest))
        ;
    BUG_IF(is_whole && rest.n); /* it ended in the middle of a head */
    return 0;
}
