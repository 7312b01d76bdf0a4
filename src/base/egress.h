/* Egress: the only way out. Every call to another host over HTTP goes through here, so that every
 * call is judged, bounded and recorded alike.
 *
 * A call's address is read once (egress_url.h) and its name resolved once; addresses that may not
 * be called (egress_addr.h) are dropped, and the connection is made to one of the others: nothing
 * resolves the name again. Host, SNI and the certificate's name stay the name. A redirect is a new
 * address, judged as the first was.
 *
 * One thread drives all transfers (libcurl multi). Calls to a host wait in line: how many run at
 * once grows with its successes and falls with its failures, so that a host that hangs holds few
 * places; after some failures in a row it rests (egress_host.h). All bounds are below or in
 * struct egress_conf. */
#ifndef TESSERA_BASE_EGRESS_H
#define TESSERA_BASE_EGRESS_H

#include "egress_dns.h"
#include "egress_url.h"
#include "spool.h"

#define EGRESS_HEADERS_MAX 64
#define EGRESS_HEAD_MAX ((size_t)32 << 10) /* bytes of the headers of an answer */
#define EGRESS_BODY_MAX ((size_t)64 << 20) /* of a request or an answer in memory */
#define EGRESS_ANSWER_DEFAULT ((size_t)1 << 20)
#define EGRESS_REDIRECTS_MAX 5
#define EGRESS_TIME_MAX_MS ((int64_t)1800000)
#define EGRESS_LABELS 4
#define EGRESS_APART_MAX 40

/* How a call ends. NAME, word for logs and the API, does it speak against the host, sentence. */
/* clang-format off */
#define EGRESS_TABLE(X)                                                                           \
    X(OK,        "ok",        0, "OK")                                                            \
    X(INVALID,   "invalid",   0, "The address or a header of the call is not valid")              \
    X(DENIED,    "denied",    0, "The address of this host must not be called from here")         \
    X(DNS,       "dns",       1, "The name of the host cannot be resolved")                       \
    X(CONNECT,   "connect",   1, "The host cannot be connected to")                               \
    X(TLS,       "tls",       1, "The TLS or the certificate of the host is not acceptable")      \
    X(TIMEOUT,   "timeout",   1, "The host did not answer in time")                               \
    X(BROKEN,    "broken",    1, "The host ended the connection before its answer was complete")  \
    X(TOO_LARGE, "too_large", 0, "The answer is larger than allowed")                             \
    X(REDIRECT,  "redirect",  0, "The host redirects too often or to where it must not")          \
    X(PROXY,     "proxy",     0, "The proxy refused the call")                                    \
    X(BUSY,      "busy",      0, "Too many calls wait; try again later")                          \
    X(RESTING,   "resting",   0, "The host failed several times in a row; it is tried again later") \
    X(STOPPED,   "stopped",   0, "The call was given up")
/* clang-format on */
enum egress_class {
#define EGRESS_ENUM(name, word, fault, text) EGRESS_##name,
    EGRESS_TABLE(EGRESS_ENUM)
#undef EGRESS_ENUM
        EGRESS_CLASSES
};
const char *egress_class_word(enum egress_class c);
const char *egress_class_text(enum egress_class c);
extern const char *const egress_class_words[]; /* NULL-terminated, in order */

struct egress_header {
    struct str name, value;
    bool is_secret; /* not sent on to another host; Authorization and Cookie never are */
};

struct egress_ask {
    const char *method; /* "POST"; static text */
    struct str url;
    const struct egress_header *headers;
    size_t n_headers; /* <= EGRESS_HEADERS_MAX; more than EGRESS_HEAD_MAX bytes are INVALID */
    struct str body;  /* STR_NONE = none; <= EGRESS_BODY_MAX */
    /* Too large for memory: files, read and written piece by piece on the egress thread. Both belong
     * to the asker and must be there, untouched, until the call has ended. Slower than 1 KiB a second
     * for 30 s, such a call ends with TIMEOUT. */
    const struct spool *body_file; /* finished; instead of body */
    struct spool *answer_file;     /* takes the body of a 2xx answer; worth nothing unless OK */
    int64_t answer_file_max;       /* bytes of it; more is TOO_LARGE, also with is_cut */
    int redirects;                 /* followed: 0 to EGRESS_REDIRECTS_MAX */
    int64_t connect_ms;            /* for each address; 0 = 5 s */
    int64_t total_ms;  /* waiting in line and redirects included; 0 = 30 s; <= EGRESS_TIME_MAX_MS */
    size_t answer_max; /* bytes of answer.body; 0 = EGRESS_ANSWER_DEFAULT; <= EGRESS_BODY_MAX */
    bool is_cut;       /* a longer answer is cut there instead of TOO_LARGE */
    /* The address comes from the operator's own settings: the deny list does not apply. Never for
     * anything that a request brought. */
    bool is_operators;
    /* Not STR_NONE: calls with this word are a host of their own at each host they go to: own line,
     * places, rate and rests, so that one who has an address that hangs takes no place from others
     * with addresses of the same host. <= EGRESS_APART_MAX bytes. */
    struct str apart;
    struct str labels[EGRESS_LABELS]; /* for the record; not read here */
};

struct egress_answer { /* what it points to is valid as long as its giver says */
    enum egress_class class;
    int status;           /* 0 = none; set with OK and when a body broke off */
    struct str head;      /* header lines of the last answer */
    struct str body;      /* up to answer_max */
    bool is_cut;          /* more would have come */
    struct str error;     /* public sentence; STR_NONE with OK */
    int64_t duration_ms;  /* from the ask to the end */
    int64_t try_again_ms; /* RESTING: how long the host rests yet */
};
/* Value of the first header of this name, blanks trimmed; STR_NONE when there is none. */
struct str egress_answer_header(const struct egress_answer *a, struct str name);

struct egress_record { /* of a call that ended; valid during the call of record_fn */
    const char *method;
    struct str endpoint; /* address of the last request without secrets; "" when it is not valid */
    enum egress_class class;
    int status;
    bool is_success; /* OK and 2xx */
    struct str error;
    int64_t at_ms, duration_ms, sent_bytes, got_bytes; /* of bodies */
    int redirects;
    const struct str *labels; /* EGRESS_LABELS */
};

/* `record` is called on the egress thread before `done`, or on the asker's when a call is not taken
 * (then without an endpoint); it must not block. */
struct egress_conf {          /* 0 or NULL = the default */
    struct str allow;         /* egress_allow_parse */
    struct str proxy;         /* http://[user:password@]host:port, https://, socks5:// */
    struct str ca_file;       /* PEM; instead of the system's */
    struct str user_agent;    /* "tessera/VERSION" */
    int64_t calls_max;        /* waiting and running; 4096 */
    int64_t running_max;      /* 512 */
    int64_t host_running_max; /* 16 */
    int64_t host_rate;        /* calls to one host a second; 0 = no limit */
    int64_t rest_ms;          /* first rest of a failing host; 10 s */
    void (*record)(void *arg, const struct egress_record *r); /* see above */
    void *record_arg;
    egress_resolve_fn *resolve; /* seam for tests */
    void *resolve_arg;
};
struct egress;

/* Starts the thread. USAGE names the setting that is wrong. The texts are copied. */
enum err_code egress_open(struct ctx *cx, const struct egress_conf *conf, struct egress **out);
/* Ends what runs with STOPPED and waits for the thread. Nobody may call afterwards. NULL is
 * fine. */
void egress_close(struct egress *eg);

/* done(arg, answer) is called once, on the egress thread, or before egress_start returns when the
 * call is not taken (BUSY, STOPPED). It must not block; the answer is valid during it. The ask is
 * copied. Any thread. */
void egress_start(struct egress *eg, const struct egress_ask *ask,
                  void (*done)(void *arg, const struct egress_answer *a), void *arg);
/* The same, waiting; the answer lives in cx, whose memory must hold answer_max bytes. Ends early with cx's deadline or stop. An answer of
 * any status is no error; else UNAVAILABLE or, for INVALID and DENIED, INVALID_FIELD with the
 * sentence in cx, and out->class says more. Never on an event thread or inside a unit of work. */
enum err_code egress_call(struct ctx *cx, struct egress *eg, const struct egress_ask *ask,
                          struct egress_answer *out);
/* What a call of this address would say before it connects: read, resolved, judged by the same
 * code. INVALID_FIELD or UNAVAILABLE with the sentence. Waits for the name server (5 s at most):
 * not on an event thread or inside a unit of work. Not recorded. */
enum err_code egress_check_url(struct ctx *cx, struct egress *eg, struct str url);
/* Its part that needs no name server: form, port, addresses written as such. Does not block. */
enum err_code egress_check_form(struct ctx *cx, const struct egress *eg, struct str url);

struct egress_counts {
    int64_t calls, running, waiting; /* now: all, with a place, in line */
    int64_t ended[EGRESS_CLASSES];   /* since start */
    int64_t hosts_resting;
};
void egress_counts(struct egress *eg, struct egress_counts *out); /* any thread */

#endif
