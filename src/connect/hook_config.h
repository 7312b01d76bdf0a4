/* The generic kind "hmac" bent to a sender that is not in the table: which header, which algorithm,
 * what is signed. Data that an integration keeps; described by a field table, so that API, CLI and
 * documents agree. Any thread. */
#ifndef TESSERA_CONNECT_HOOK_CONFIG_H
#define TESSERA_CONNECT_HOOK_CONFIG_H

#include "../base/rec.h"
#include "hook_scheme.h"

#define HOOK_CONFIG_TEXT_MAX 8192 /* bytes of its JSON */

struct hook_config {
    struct rec_bits bits;
    struct str signature_header, prefix, algorithm, encoding, secret_encoding;
    struct str signed_text;
    struct str time_header;
    int64_t window_s;
    struct str id_header;
    struct str type_header, type_path, key_header, key_path;
    int64_t ack_status;
};

extern const struct rec rec_hook_config;

/* The scheme of a decoded configuration: the row "hmac" with what is said in its place. INVALID_FIELD
 * for each field that does not fit to the others, named with `prefix` before it (may be STR_NONE).
 * *out points into cx and into constant tables. */
enum err_code hook_config_scheme(struct ctx *cx, const struct hook_config *config,
                                 struct str prefix, struct hook_scheme *out);
/* The same from its JSON. INVALID_JSON, MISSING_FIELD, INVALID_FIELD. */
enum err_code hook_config_parse(struct ctx *cx, struct str text, struct hook_scheme *out);

#endif
