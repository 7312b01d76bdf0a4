/* Countries of addresses: see geo.h. One read-write lock guards the opened file: look-ups share it,
 * reloading takes it for the length of a pointer swap. */
#include "geo.h"

#include <arpa/inet.h>
#include <maxminddb.h>
#include <pthread.h>
#include <string.h>

#include "../base/log.h"
#include "../base/net.h"

#define MEMORY ((size_t)64 << 10)

struct geo {
    struct arena arena; /* holds all of it */
    const char *path;
    pthread_rwlock_t lock;
    MMDB_s files[2]; /* the open one, and a place for its successor */
    int now;         /* lock: which is open */
};

static enum err_code file_open(struct ctx *cx, const char *path, MMDB_s *db)
{
    int status = MMDB_open(path, MMDB_MODE_MMAP, db);
    if (status != MMDB_SUCCESS)
        return fail(cx, INVALID_FIELD, "geo_database: %s", MMDB_strerror(status));
    log_info(cx, "geo.opened", KVC("type", db->metadata.database_type),
             KVI("built", (int64_t)db->metadata.build_epoch));
    return ERR_NONE;
}

enum err_code geo_open(struct ctx *cx, struct str path, struct geo **out)
{
    struct arena a;
    *out = NULL;
    if (!path.n)
        return ERR_NONE;
    arena_init(&a, MEMORY);
    struct geo *g = ARENA_NEW(&a, struct geo);
    g->path = str_cstr(&a, path);
    g->arena = a;
    enum err_code e = file_open(cx, g->path, &g->files[0]);
    if (e) {
        arena_done(&a);
        return e;
    }
    pthread_rwlock_init(&g->lock, NULL);
    *out = g;
    return ERR_NONE;
}

enum err_code geo_reload(struct ctx *cx, struct geo *g)
{
    if (!g)
        return ERR_NONE;
    int old = g->now; /* only we change it */
    enum err_code e = file_open(cx, g->path, &g->files[!old]);
    if (e)
        return e;
    pthread_rwlock_wrlock(&g->lock);
    g->now = !old;
    pthread_rwlock_unlock(&g->lock);
    MMDB_close(&g->files[old]);
    return ERR_NONE;
}

void geo_close(struct geo *g)
{
    if (!g)
        return;
    MMDB_close(&g->files[g->now]);
    pthread_rwlock_destroy(&g->lock);
    struct arena a = g->arena; /* g lives in it */
    arena_done(&a);
}

/* v4 addresses are asked as such: a database of v4 alone refuses the mapped form. */
static void to_sockaddr(const struct ip *ip, struct sockaddr_storage *out)
{
    static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
    memset(out, 0, sizeof *out);
    if (!memcmp(ip->b, mapped, sizeof mapped)) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
        v4->sin_family = AF_INET;
        memcpy(&v4->sin_addr, ip->b + sizeof mapped, 4);
    } else {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;
        v6->sin6_family = AF_INET6;
        memcpy(&v6->sin6_addr, ip->b, 16);
    }
}

/* Where the address is; else where its network is registered (satellites, anycast). */
static void read_code(MMDB_entry_s *entry, char out[4])
{
    static const char *const parts[] = { "country", "registered_country" };
    for (size_t i = 0; i < 2 && !out[0]; i++) {
        MMDB_entry_data_s data = { .has_data = false };
        if (MMDB_get_value(entry, &data, parts[i], "iso_code", NULL) != MMDB_SUCCESS ||
            !data.has_data || data.type != MMDB_DATA_TYPE_UTF8_STRING || data.data_size != 2)
            continue;
        const char *code = data.utf8_string;
        if (code[0] >= 'A' && code[0] <= 'Z' && code[1] >= 'A' && code[1] <= 'Z')
            memcpy(out, code, 2);
    }
}

void geo_country(struct geo *g, struct str ip, char out[4])
{
    struct ip addr;
    struct sockaddr_storage sa;
    int error = 0;
    memset(out, 0, 4);
    if (!g || !ip_parse(ip, &addr))
        return;
    to_sockaddr(&addr, &sa);
    pthread_rwlock_rdlock(&g->lock);
    MMDB_lookup_result_s found =
        MMDB_lookup_sockaddr(&g->files[g->now], (const struct sockaddr *)(const void *)&sa, &error);
    if (error == MMDB_SUCCESS && found.found_entry)
        read_code(&found.entry, out);
    pthread_rwlock_unlock(&g->lock);
}
