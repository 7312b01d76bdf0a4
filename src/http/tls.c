/* TLS: certificate and key from files, replaceable while running.
 *
 * libmicrohttpd asks for the credentials at each handshake through GnuTLS's retrieve callback; a
 * reload loads a new set and swaps it under a lock. Replaced sets are freed at close only: a
 * handshake may still use one (certificates change a few times a year). */
#include "exchange.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdlib.h>

#define CHAIN_MAX 8
#define SETS_MAX 256

struct tls_set {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned n;
    gnutls_privkey_t key;
};
struct tls {
    struct str cert, key;
    pthread_mutex_t lock; /* guards sets, n_sets */
    struct tls_set *sets[SETS_MAX];
    int n_sets;
};

static struct tls *current; /* the callback has no closure argument */

static void set_free(struct tls_set *set)
{
    for (unsigned i = 0; i < set->n; i++)
        gnutls_pcert_deinit(&set->chain[i]);
    if (set->key)
        gnutls_privkey_deinit(set->key);
    free(set);
}

static enum err_code set_load(struct ctx *cx, const struct tls *t, struct tls_set **out)
{
    struct tls_set *set = calloc(1, sizeof *set);
    BUG_IF(!set);
    gnutls_datum_t pem = { 0 };
    int e = gnutls_load_file(str_cstr(&cx->arena, t->cert), &pem);
    unsigned n = CHAIN_MAX;
    if (!e) {
        e = gnutls_pcert_list_import_x509_raw(set->chain, &n, &pem, GNUTLS_X509_FMT_PEM, 0);
        gnutls_free(pem.data);
    }
    if (e < 0) {
        set_free(set);
        return fail(cx, USAGE, "tls_cert: cannot read the certificate: %s", gnutls_strerror(e));
    }
    set->n = n;
    e = gnutls_load_file(str_cstr(&cx->arena, t->key), &pem);
    if (!e) {
        gnutls_privkey_init(&set->key);
        e = gnutls_privkey_import_x509_raw(set->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
        gnutls_memset(pem.data, 0, pem.size);
        gnutls_free(pem.data);
    }
    if (e < 0) {
        set_free(set);
        return fail(cx, USAGE, "tls_key: cannot read the key: %s", gnutls_strerror(e));
    }
    *out = set;
    return ERR_NONE;
}

static int tls_retrieve(gnutls_session_t session, const gnutls_datum_t *req_ca, int n_req_ca,
                        const gnutls_pk_algorithm_t *algos, int n_algos, gnutls_pcert_st **chain,
                        unsigned *n, gnutls_privkey_t *key)
{
    (void)session, (void)req_ca, (void)n_req_ca, (void)algos, (void)n_algos;
    pthread_mutex_lock(&current->lock);
    struct tls_set *set = current->sets[current->n_sets - 1];
    pthread_mutex_unlock(&current->lock);
    *chain = set->chain;
    *n = set->n;
    *key = set->key;
    return 0;
}

enum err_code tls_reload(struct ctx *cx, struct tls *t)
{
    struct tls_set *set = NULL;
    enum err_code e = set_load(cx, t, &set);
    if (e)
        return e;
    pthread_mutex_lock(&t->lock);
    bool is_full = t->n_sets == SETS_MAX;
    if (!is_full)
        t->sets[t->n_sets++] = set;
    pthread_mutex_unlock(&t->lock);
    if (!is_full)
        return ERR_NONE;
    set_free(set);
    return fail(cx, USAGE, "tls_cert: reloaded %d times since the start; restart to reload again",
                SETS_MAX);
}

enum err_code tls_open(struct ctx *cx, struct str cert, struct str key, struct tls **out)
{
    if (!cert.n || !key.n)
        return fail(cx, USAGE, "tls_cert and tls_key must be given together");
    struct tls *t = calloc(1, sizeof *t);
    BUG_IF(!t);
    t->cert = cert;
    t->key = key;
    pthread_mutex_init(&t->lock, NULL);
    enum err_code e = tls_reload(cx, t);
    if (e) {
        tls_close(t);
        return e;
    }
    current = t;
    *out = t;
    return ERR_NONE;
}

void tls_close(struct tls *t)
{
    if (!t)
        return;
    for (int i = 0; i < t->n_sets; i++)
        set_free(t->sets[i]);
    pthread_mutex_destroy(&t->lock);
    free(t);
    current = NULL;
}

void tls_options(struct tls *t, struct MHD_OptionItem *items)
{
    (void)t;
    items[0] = (struct MHD_OptionItem){ MHD_OPTION_HTTPS_CERT_CALLBACK, 0,
                                        (void *)(uintptr_t)tls_retrieve };
}
