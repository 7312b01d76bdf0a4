/* Unwrapped data keys in memory: see vault_key.h.
 *
 * A fixed table, so that a million teams take no more room than a thousand: the id says the set,
 * the least recently used of its ways is given away and overwritten. */
#include <openssl/crypto.h>
#include <pthread.h>
#include <string.h>

#include "vault_key.h"

struct slot {
    char team_id[UUID_TEXT + 1];
    struct vault_dek dek; /* id "" = empty */
    uint64_t used;        /* tick of the last use */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot slots[VAULT_CACHE_SETS][VAULT_CACHE_WAYS]; /* lock */
static uint64_t tick;                                         /* lock */

static struct slot *set_of(struct str id)
{
    unsigned h = 0;
    for (size_t i = 0; i < id.n; i++)
        h = h * 31 + (unsigned char)id.p[i];
    return slots[h % VAULT_CACHE_SETS];
}

static bool is_it(const struct slot *s, struct str team_id, struct str id)
{
    return str_eq(str_of(s->dek.id), id) && str_eq(str_of(s->team_id), team_id);
}

bool vault_cache_get(struct str team_id, struct str id, struct vault_dek *out)
{
    struct slot *set = set_of(id);
    bool is_found = false;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < VAULT_CACHE_WAYS && !is_found; i++) {
        is_found = is_it(&set[i], team_id, id);
        if (is_found) {
            set[i].used = ++tick;
            *out = set[i].dek;
        }
    }
    pthread_mutex_unlock(&lock);
    return is_found;
}

void vault_cache_put(struct str team_id, const struct vault_dek *dek)
{
    struct slot *set = set_of(str_of(dek->id)), *to = set;
    if (team_id.n > UUID_TEXT)
        return;
    pthread_mutex_lock(&lock);
    for (size_t i = 1; i < VAULT_CACHE_WAYS; i++)
        if (set[i].used < to->used)
            to = &set[i];
    OPENSSL_cleanse(to, sizeof *to);
    if (team_id.n)
        memcpy(to->team_id, team_id.p, team_id.n);
    to->team_id[team_id.n] = '\0';
    to->dek = *dek;
    to->used = ++tick;
    pthread_mutex_unlock(&lock);
}

void vault_cache_clear(void)
{
    pthread_mutex_lock(&lock);
    OPENSSL_cleanse(slots, sizeof slots);
    pthread_mutex_unlock(&lock);
}
