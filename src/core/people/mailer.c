/* Mail, the sending: see mail.h. TLS is required (smtps:// or STARTTLS) unless the server is on this
 * machine: who reads a reset link on its way can take the account. */
#include "mail.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../base/clock.h"
#include "../../base/log.h"
#include "../crm/contact_text.h"

#define TIMEOUT_MS 60000L
#define CONNECT_MS 10000L
#define LOOK_MS 200    /* how soon a sending sees the stop */
#define BYTES_A_MS 20  /* a file may be as slow as this */
#define PIECE_LINES 64 /* of a file that are read at once */
#define ERROR_TEXT_MAX 200

struct slot {
    struct mail_order order; /* its texts are below */
    char to[MAIL_TO_MAX], note[MAIL_NOTE_MAX];
};
struct mailer {
    struct mail_conf conf;
    bool is_local; /* the server is on this machine */
    bool has_thread;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_int stop;
    size_t first, n;                   /* lock */
    struct slot slots[MAIL_QUEUE_MAX]; /* lock */
};

/* ---- sending ---- */

/* What is still to be given to libcurl: the text in `rest`, then the file, then the tail. */
struct sending {
    struct str rest, tail;
    int fd; /* of the file; -1: none, or all of it was read */
    off_t at;
    struct buf lines; /* of the piece of the file that `rest` is */
};

/* The next piece of the file, or after it the tail; false when it cannot be read. */
static bool next_piece(struct sending *s)
{
    char raw[MAIL_LINE_BYTES * PIECE_LINES];
    ssize_t n = pread(s->fd, raw, sizeof raw, s->at);
    if (n <= 0) {
        s->fd = -1;
        s->rest = s->tail;
        return !n;
    }
    s->at += n;
    buf_reset(&s->lines);
    mail_encode(&s->lines, (struct str){ raw, (size_t)n });
    s->rest = buf_view(&s->lines);
    return true;
}

static size_t give(char *to, size_t size, size_t n, void *arg)
{
    struct sending *s = arg;
    if (!s->rest.n && s->fd >= 0 && !next_piece(s))
        return CURL_READFUNC_ABORT;
    size_t len = size * n < s->rest.n ? size * n : s->rest.n;
    if (!len)
        return 0;
    memcpy(to, s->rest.p, len);
    s->rest = str_sub(s->rest, len, s->rest.n);
    return len;
}

/* ---- stopping: libcurl waits for the last answer of a mail server without asking anybody, so a
 * thread closes the connection under it when the ctx has ended ---- */

struct watch {
    const atomic_int *stop; /* of the ctx, or NULL */
    int64_t deadline_us;    /* of the ctx, or 0 */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_over;   /* lock: the sending has ended */
    bool is_closed; /* lock: the ctx has ended */
    int fd;         /* lock: of the connection; -1 = none */
};

static bool ctx_has_ended(const struct watch *w)
{
    return (w->stop && atomic_load(w->stop)) ||
           (w->deadline_us && clock_mono_us() >= w->deadline_us);
}

static void *watch_main(void *arg)
{
    struct watch *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->is_over && !w->is_closed) {
        int64_t until = clock_ms() + LOOK_MS;
        struct timespec at = { .tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000 };
        pthread_cond_timedwait(&w->wake, &w->lock, &at);
        w->is_closed = ctx_has_ended(w);
        if (w->is_closed && w->fd >= 0)
            shutdown(w->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct watch *w = arg;
    int fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    (void)purpose;
    pthread_mutex_lock(&w->lock);
    if (w->is_closed && fd >= 0) {
        close(fd);
        fd = -1;
    }
    w->fd = fd;
    pthread_mutex_unlock(&w->lock);
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int close_socket(void *arg, curl_socket_t fd)
{
    struct watch *w = arg; /* called from curl_easy_cleanup too */
    pthread_mutex_lock(&w->lock);
    if (w->fd == fd)
        w->fd = -1;
    pthread_mutex_unlock(&w->lock);
    return close(fd);
}

/* Performs and cleans up, within the life of the ctx. */
static CURLcode perform(struct ctx *cx, CURL *c, long *status)
{
    struct watch w = { .stop = cx->stop,
                       .deadline_us = cx->deadline_us,
                       .lock = PTHREAD_MUTEX_INITIALIZER,
                       .wake = PTHREAD_COND_INITIALIZER,
                       .fd = -1 };
    pthread_t thread;
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, &w);
    curl_easy_setopt(c, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl_easy_setopt(c, CURLOPT_CLOSESOCKETDATA, &w);
    bool is_watched = !pthread_create(&thread, NULL, watch_main, &w);
    CURLcode rc = is_watched ? curl_easy_perform(c) : CURLE_OUT_OF_MEMORY;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, status);
    curl_easy_cleanup(c);
    pthread_mutex_lock(&w.lock);
    w.is_over = true;
    pthread_cond_signal(&w.wake);
    pthread_mutex_unlock(&w.lock);
    if (is_watched)
        pthread_join(thread, NULL);
    pthread_mutex_destroy(&w.lock);
    pthread_cond_destroy(&w.wake);
    return rc;
}

/* ---- one mail ---- */

static CURL *request(struct ctx *cx, const struct mailer *m, struct sending *s, int64_t size)
{
    const struct mail_conf *conf = &m->conf;
    struct arena *a = &cx->arena;
    CURL *c = curl_easy_init();
    BUG_IF(!c);
    curl_easy_setopt(c, CURLOPT_URL, str_cstr(a, conf->url));
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(c, CURLOPT_USE_SSL, (long)(m->is_local ? CURLUSESSL_NONE : CURLUSESSL_ALL));
    if (conf->user.n) {
        curl_easy_setopt(c, CURLOPT_USERNAME, str_cstr(a, conf->user));
        curl_easy_setopt(c, CURLOPT_PASSWORD, str_cstr(a, conf->password));
    }
    if (m->is_local)
        curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, TIMEOUT_MS + (long)(size / BYTES_A_MS));
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(c, CURLOPT_SERVER_RESPONSE_TIMEOUT, TIMEOUT_MS / 1000);
    curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(c, CURLOPT_READFUNCTION, give);
    curl_easy_setopt(c, CURLOPT_READDATA, s);
    return c;
}

static enum err_code result(struct ctx *cx, CURLcode rc, long status, const char *why)
{
    if (!rc)
        return ERR_NONE;
    if (!ctx_ok(cx))
        return cx->err; /* the stop, or the deadline */
    if (!*why)
        why = curl_easy_strerror(rc);
    if (status >= 500 && status < 600)
        return fail(cx, BAD_REQUEST, "%.*s", ERROR_TEXT_MAX, why);
    return fail(cx, UNAVAILABLE, "%.*s", ERROR_TEXT_MAX, why);
}

enum err_code mailer_send(struct ctx *cx, const struct mailer *m, const struct mail *mail,
                          const struct mail_file *file)
{
    struct sending s = { .fd = -1 };
    struct arena *a = &cx->arena;
    char why[CURL_ERROR_SIZE] = "";
    long status = 0;
    if (!m)
        return fail(cx, NOT_CONFIGURED, "The server is not set up to send mail (smtp_url)");
    if (file) {
        struct mail_frame frame = mail_frame(cx, m->conf.from, mail, file, clock_ms());
        s.rest = frame.head;
        s.tail = frame.tail;
        s.fd = spool_fd(file->spool);
        buf_init(&s.lines, a, 2 * MAIL_LINE_BYTES * PIECE_LINES);
    } else {
        s.rest = mail_message(cx, m->conf.from, mail, clock_ms());
    }
    const char *from = str_printf(a, "<" STR_FMT ">", STR_ARG(m->conf.from)).p;
    struct curl_slist *to =
        curl_slist_append(NULL, str_printf(a, "<" STR_FMT ">", STR_ARG(mail->to)).p);
    CURL *c = request(cx, m, &s, file ? spool_size(file->spool) : 0);
    curl_easy_setopt(c, CURLOPT_MAIL_FROM, from);
    curl_easy_setopt(c, CURLOPT_MAIL_RCPT, to);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    CURLcode rc = perform(cx, c, &status);
    curl_slist_free_all(to);
    return result(cx, rc, status, why);
}

static void run(struct mailer *m, const struct mail_order *order)
{
    struct mail mail = { .to = order->to };
    struct ctx cx;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    cx.stop = &m->stop;
    enum err_code e = order->write(&cx, order, &mail);
    if (!e)
        e = mailer_send(&cx, m, &mail, NULL);
    if (!e)
        log_info(NULL, "mail.sent", KVS("subject", mail.subject));
    else if (e != ERR_NOT_FOUND)
        log_error(NULL, "mail.failed", KVS("why", cx.err_text));
    ctx_done(&cx);
}

/* ---- the queue ---- */

bool mailer_post(struct mailer *m, const struct mail_order *order)
{
    if (!m || order->to.n > MAIL_TO_MAX || order->note.n > MAIL_NOTE_MAX)
        return false;
    pthread_mutex_lock(&m->lock);
    bool has_room = m->n < MAIL_QUEUE_MAX && !atomic_load(&m->stop);
    if (has_room) {
        struct slot *s = &m->slots[(m->first + m->n++) % MAIL_QUEUE_MAX];
        s->order = *order;
        memcpy(s->to, order->to.n ? order->to.p : "", order->to.n);
        memcpy(s->note, order->note.n ? order->note.p : "", order->note.n);
        s->order.to = (struct str){ s->to, order->to.n };
        s->order.note = (struct str){ s->note, order->note.n };
        pthread_cond_signal(&m->wake);
    }
    pthread_mutex_unlock(&m->lock);
    if (!has_room)
        log_warn(NULL, "mail.queue_full", KVI("waiting", MAIL_QUEUE_MAX));
    return has_room;
}

/* The slot stays ours until `n` goes down, so it is used without the lock. */
static void *mailer_main(void *arg)
{
    struct mailer *m = arg;
    pthread_mutex_lock(&m->lock);
    while (!atomic_load(&m->stop)) {
        if (!m->n) {
            pthread_cond_wait(&m->wake, &m->lock); /* mailer_close wakes it too */
            continue;
        }
        const struct slot *s = &m->slots[m->first];
        pthread_mutex_unlock(&m->lock);
        run(m, &s->order);
        pthread_mutex_lock(&m->lock);
        m->first = (m->first + 1) % MAIL_QUEUE_MAX;
        m->n--;
    }
    if (m->n)
        log_warn(NULL, "mail.dropped", KVI("n", (int64_t)m->n));
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* ---- start and stop ---- */

static bool url_is_fine(struct ctx *cx, struct str url, bool *is_local)
{
    char *host = NULL, *user = NULL;
    CURLU *u = curl_url();
    BUG_IF(!u);
    bool is_fine = (str_starts(url, STR("smtp://")) || str_starts(url, STR("smtps://"))) &&
                   !curl_url_set(u, CURLUPART_URL, str_cstr(&cx->arena, url), 0) &&
                   !curl_url_get(u, CURLUPART_HOST, &host, 0) &&
                   curl_url_get(u, CURLUPART_USER, &user, 0);
    *is_local =
        is_fine && str_starts(url, STR("smtp://")) &&
        (!strcmp(host, "127.0.0.1") || !strcmp(host, "[::1]") || !strcmp(host, "localhost"));
    curl_free(host);
    curl_free(user);
    curl_url_cleanup(u);
    return is_fine;
}

enum err_code mailer_open(struct ctx *cx, const struct mail_conf *conf, struct mailer **out)
{
    bool is_local;
    *out = NULL;
    if (!conf->url.n)
        return ERR_NONE;
    if (!url_is_fine(cx, conf->url, &is_local))
        return fail(cx, USAGE,
                    "smtp_url must be smtp://host:port or smtps://host:port (user and password are "
                    "settings of their own)");
    if (!str_is_utf8(conf->from) || !email_is_fine(conf->from))
        return fail(cx, USAGE, "smtp_from must be an e-mail address when smtp_url is set");
    if (!str_starts(conf->public_url, STR("https://")) &&
        !str_starts(conf->public_url, STR("http://")))
        return fail(cx, USAGE,
                    "public_url must be set when smtp_url is: links in mails lead there");
    struct mailer *m = calloc(1, sizeof *m);
    BUG_IF(!m);
    m->conf = *conf;
    m->is_local = is_local;
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->wake, NULL);
    *out = m;
    return ERR_NONE;
}

void mailer_start(struct mailer *m)
{
    if (!m)
        return;
    m->has_thread = !pthread_create(&m->thread, NULL, mailer_main, m);
    BUG_IF(!m->has_thread);
}

void mailer_close(struct mailer *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    atomic_store(&m->stop, 1);
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
    if (m->has_thread)
        pthread_join(m->thread, NULL);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->wake);
    free(m);
}
