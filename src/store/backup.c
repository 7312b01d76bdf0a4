/* Consistent copies of a running database.
 *
 * SQLite: VACUUM INTO on a connection of its own reads one snapshot while the writer goes on, and
 * leaves out free pages and deleted data. The days of the usage archive
 * ("<db>.usage/YYYY-MM-DD.db") follow after the main file, so that a row that moves meanwhile is
 * found in both rather than in none. PostgreSQL: pg_dump's custom format; the connection goes to it
 * by environment, because arguments can be read by every user of the machine.
 *
 * Each copy is written beside its target under a random name, synced, and only then linked to its
 * name, the main file last: if PATH exists, the backup is complete. Nothing is ever overwritten.
 * Any thread; slow. */
#define _GNU_SOURCE /* environ */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../base/log.h"
#include "sqlite.h"

#define ARCHIVE_DAYS_MAX 40000
#define ENV_MAX 1000

static enum err_code io_failed(struct ctx *cx, const char *what, const char *path)
{
    char words[128];

    return fail(cx, UNAVAILABLE, "backup: cannot %s %s: %s", what, path,
                strerror_r(errno, words, sizeof words));
}

static const char *join(struct ctx *cx, const char *a, const char *b)
{
    return str_printf(&cx->arena, "%s%s", a, b).p;
}

/* --- A file that appears when it is complete --- */

/* The name of a new empty file beside path; NULL with the failure recorded. */
static char *part_create(struct ctx *cx, const char *path)
{
    struct stat st;
    char *part;
    int fd;

    if (lstat(path, &st) == 0) {
        fail(cx, USAGE, "backup: %s exists already", path);
        return NULL;
    }
    part = str_cstr(&cx->arena, str_of(join(cx, path, ".XXXXXX")));
    fd = mkstemp(part);
    if (fd < 0) {
        io_failed(cx, "create", part);
        return NULL;
    }
    close(fd);
    return part;
}

static enum err_code sync_path(struct ctx *cx, const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    bool is_synced;

    if (fd < 0)
        return io_failed(cx, "open", path);
    is_synced = fsync(fd) == 0;
    close(fd);
    return is_synced ? ERR_NONE : io_failed(cx, "sync", path);
}

static enum err_code sync_parent(struct ctx *cx, const char *path)
{
    const char *slash = strrchr(path, '/');
    struct str dir = slash ? (struct str){ path, (size_t)(slash - path) + 1 } : STR(".");

    return sync_path(cx, str_cstr(&cx->arena, dir), O_RDONLY | O_DIRECTORY);
}

static enum err_code part_finish(struct ctx *cx, const char *part, const char *path)
{
    enum err_code e = sync_path(cx, part, O_RDWR);

    if (e)
        return e;
    if (link(part, path) != 0) /* unlike rename, never overwrites */
        return io_failed(cx, "create", path);
    unlink(part);
    return sync_parent(cx, path);
}

/* --- SQLite --- */

static enum err_code copy_db(struct ctx *cx, const char *from, const char *part)
{
    static const char SQL[] = "VACUUM INTO $1";
    sqlite3 *conn = sq_connect(cx, from);
    sqlite3_stmt *st = NULL;
    int rc;

    if (!conn)
        return cx->err;
    rc = sqlite3_prepare_v2(conn, SQL, sizeof SQL, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(st, 1, part, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc != SQLITE_DONE)
        fail(cx, UNAVAILABLE, "backup: cannot copy %s: %s", from, sqlite3_errmsg(conn));
    sqlite3_finalize(st);
    sqlite3_close(conn);
    return rc == SQLITE_DONE ? ERR_NONE : cx->err;
}

static enum err_code copy_day(struct ctx *cx, const char *from_dir, const char *to_dir,
                              const char *name)
{
    const char *to = join(cx, join(cx, to_dir, "/"), name);
    char *part = part_create(cx, to);
    enum err_code e;

    if (!part)
        return cx->err;
    e = copy_db(cx, join(cx, join(cx, from_dir, "/"), name), part);
    if (!e)
        e = part_finish(cx, part, to);
    if (e)
        unlink(part);
    return e;
}

/* YYYY-MM-DD.db */
static bool is_day_file(const char *name)
{
    static const char shape[] = "dddd-dd-dd.db";

    if (strlen(name) != sizeof shape - 1)
        return false;
    for (size_t i = 0; shape[i]; i++)
        if (shape[i] == 'd' && i < 10 ? name[i] < '0' || name[i] > '9' : name[i] != shape[i])
            return false;
    return true;
}

static enum err_code copy_archive(struct ctx *cx, const char *from_dir, const char *to_dir)
{
    DIR *dir = opendir(from_dir);
    struct dirent *entry;
    enum err_code e = ERR_NONE;
    int n = 0;

    if (!dir)
        return errno == ENOENT ? ERR_NONE : io_failed(cx, "read", from_dir);
    if (mkdir(to_dir, 0700) != 0)
        e = io_failed(cx, "create", to_dir);
    while (!e && n < ARCHIVE_DAYS_MAX && (entry = readdir(dir)) != NULL) {
        if (!is_day_file(entry->d_name))
            continue;
        n++;
        e = copy_day(cx, from_dir, to_dir, entry->d_name);
    }
    closedir(dir);
    return e;
}

static enum err_code fill_from_sqlite(struct ctx *cx, struct store *s, const char *part,
                                      const char *path)
{
    const char *from = str_cstr(&cx->arena, store_path(s));
    enum err_code e = copy_db(cx, from, part);

    return e ? e : copy_archive(cx, join(cx, from, ".usage"), join(cx, path, ".usage"));
}

/* --- PostgreSQL --- */

struct env {
    char *v[ENV_MAX + 1];
    size_t n;
};

static void env_put(struct ctx *cx, struct env *env, const char *name, const char *value)
{
    BUG_IF(env->n == ENV_MAX);
    env->v[env->n++] = str_cstr(&cx->arena, str_printf(&cx->arena, "%s=%s", name, value));
    env->v[env->n] = NULL;
}

/* Row-level security would hide every row from a dump; the policies let the system scope see
 * all. */
#define SYSTEM_SCOPE "-c tessera.system=on"

static void env_put_option(struct ctx *cx, struct env *env, const PQconninfoOption *o)
{
    bool is_options = strcmp(o->keyword, "options") == 0;

    if (is_options)
        env_put(cx, env, o->envvar,
                o->val ? str_printf(&cx->arena, "%s " SYSTEM_SCOPE, o->val).p : SYSTEM_SCOPE);
    else if (o->envvar && o->val)
        env_put(cx, env, o->envvar, o->val);
}

static enum err_code env_for_dump(struct ctx *cx, struct store *s, struct env *env)
{
    PQconninfoOption *options = PQconninfoParse(str_cstr(&cx->arena, s->conf.database), NULL);

    if (!options)
        return fail(cx, USAGE, "backup: the database URL is not valid");
    for (char **at = environ; *at && env->n < ENV_MAX / 2; at++)
        if (strncmp(*at, "PGOPTIONS=", 10) != 0)
            env->v[env->n++] = *at;
    /* What comes first wins in a duplicated environment, so ours must: swap each clash out. */
    for (const PQconninfoOption *o = options; o->keyword; o++) {
        for (size_t i = 0; o->envvar && o->val && i < env->n; i++)
            if (strncmp(env->v[i], o->envvar, strlen(o->envvar)) == 0 &&
                env->v[i][strlen(o->envvar)] == '=')
                env->v[i--] = env->v[--env->n];
        env_put_option(cx, env, o);
    }
    PQconninfoFree(options);
    return ERR_NONE;
}

static enum err_code run_dump(struct ctx *cx, char **argv, char **env)
{
    pid_t pid;
    int status = 0;
    int rc = posix_spawnp(&pid, argv[0], NULL, NULL, argv, env);

    if (rc == ENOENT)
        return fail(cx, UNAVAILABLE, "backup: the program pg_dump is not installed");
    if (rc != 0) {
        errno = rc;
        return io_failed(cx, "start", argv[0]);
    }
    while (waitpid(pid, &status, 0) <
           0) /* as long as the dump takes; stopping it is the operator's */
        if (errno != EINTR)
            return io_failed(cx, "wait for", argv[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return fail(cx, UNAVAILABLE, "backup: the program pg_dump cannot be run");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return fail(cx, UNAVAILABLE, "backup: pg_dump failed; it has said why on standard error");
    return ERR_NONE;
}

static enum err_code fill_from_postgres(struct ctx *cx, struct store *s, char *part)
{
    char *argv[] = { (char[]){ "pg_dump" },
                     (char[]){ "--format=custom" },
                     (char[]){ "--enable-row-security" },
                     (char[]){ "--no-password" },
                     (char[]){ "--file" },
                     part,
                     NULL };
    struct env env = { .n = 0 };
    enum err_code e = env_for_dump(cx, s, &env);

    return e ? e : run_dump(cx, argv, env.v);
}

enum err_code store_backup(struct ctx *cx, struct store *s, const char *path)
{
    char *part = part_create(cx, path);
    enum err_code e;

    if (!part)
        return cx->err;
    if (store_is_postgres(s))
        e = fill_from_postgres(cx, s, part);
    else
        e = fill_from_sqlite(cx, s, part, path);
    if (!e)
        e = part_finish(cx, part, path);
    if (e)
        unlink(part);
    return e;
}
