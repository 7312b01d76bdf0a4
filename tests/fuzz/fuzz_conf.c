/* Settings from any bytes: the input is cut at NUL bytes into arguments and environment entries
 * (those that hold "TESSERA_") and what lies behind the last one is the settings file. Whatever
 * comes, loading ends in success or in a USAGE error with a sentence, argv stays a list, and what
 * was loaded can be shown. */
#define _GNU_SOURCE 1 /* memfd_create */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/conf.h"

#define LIST_MAX 32

struct sample {
    struct str text, word, cidrs, key;
    int64_t number, flag;
};

static const char *const words[] = { "one", "two", NULL };
static const struct conf_row rows[] = {
    { "a_text", CONF_STR, 0, offsetof(struct sample, text), "x", 0, 0, NULL, "Text." },
    { "word", CONF_STR, 0, offsetof(struct sample, word), "one", 0, 0, words, "Word." },
    { "nets", CONF_CIDRS, 0, offsetof(struct sample, cidrs), NULL, 0, 0, NULL, "Networks." },
    { "key", CONF_KEY, CONF_SECRET, offsetof(struct sample, key), NULL, 0, 0, NULL, "Key." },
    { "num", CONF_INT, 0, offsetof(struct sample, number), "5", 1, 99, NULL, "Number." },
    { "on", CONF_BOOL, 0, offsetof(struct sample, flag), "true", 0, 0, NULL, "Switch." },
};
static const struct conf_table table = { rows, sizeof(rows) / sizeof(*rows),
                                         sizeof(struct sample) };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A file in memory that holds the text; its name goes to `path`. */
static int put_file(struct str text, char *path, size_t n)
{
    int fd = memfd_create("conf", 0);

    BUG_IF(fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n);
    snprintf(path, n, "TESSERA_CONFIG=/proc/self/fd/%d", fd);
    return fd;
}

static void check(struct ctx *cx, enum err_code e, int argc, char **argv, const struct sample *conf)
{
    struct buf b;

    if (e) {
        BUG_IF(e != ERR_USAGE || cx->err_text.n == 0);
        return;
    }
    BUG_IF(argv[argc] != NULL);
    BUG_IF(conf->number < 1 || conf->number > 99 || (conf->flag != 0 && conf->flag != 1));
    BUG_IF(conf->key.p && conf->key.n != 64);
    buf_init(&b, &cx->arena, (size_t)1 << 20);
    conf_explain(&b, &table, conf, NULL);
    BUG_IF(b.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *argv[LIST_MAX + 1], *env[LIST_MAX + 2];
    int argc = 0, n_env = 0, fd;
    struct str rest = { (const char *)data, size };
    struct sample conf;
    char path[64];
    struct ctx cx;

    if (size > 65536)
        return 0;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    argv[argc++] = str_cstr(&cx.arena, STR("prog"));
    while (rest.n && memchr(rest.p, 0, rest.n)) {
        char *item = str_cstr(&cx.arena, str_cut(&rest, '\0'));

        if (strstr(item, "TESSERA_") == item && n_env < LIST_MAX)
            env[n_env++] = item;
        else if (argc < LIST_MAX)
            argv[argc++] = item;
    }
    argv[argc] = NULL;
    fd = put_file(rest, path, sizeof(path));
    env[n_env++] = path;
    env[n_env] = NULL;
    check(&cx, conf_load(&cx, &table, &argc, argv, env, &conf, NULL), argc, argv, &conf);
    close(fd);
    ctx_done(&cx);
    return 0;
}
