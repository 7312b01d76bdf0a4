/* Configurations of the kind "hmac": see hook_config.h.
 *
 * The field table checks each field alone; here is what they must be together: a time that is not
 * signed proves nothing, a mark in the signed text needs the header it stands for. */
#include "hook_config.h"

#include <string.h>

#define MARKS_MAX 5 /* '{' in a signed text: at most 11 pieces (HOOK_PIECES_MAX) */
#define WINDOW_S 300
#define WINDOW_MAX_S 86400

static const char *const algorithms[] = { "sha256", "sha1", "sha512", NULL };
static const char *const encodings[] = { "any", "hex", "base64", NULL };
static const char *const secret_encodings[] = { "text", "base64", NULL };

#define MEMBER(name_) .name = #name_, .offset = offsetof(struct hook_config, name_)
#define NAME_OF_HEADER .type = F_STR, .min = 1, .max = 100
#define PATH_IN_JSON .type = F_STR, .min = 1, .max = 200, .flags = F_SINGLE_LINE

static const struct field fields[] = {
    { MEMBER(signature_header), NAME_OF_HEADER,
      .doc = "Header that holds the signature (default: X-Signature and its usual other names).",
      .example = "\"X-Acme-Signature\"" },
    { MEMBER(prefix), .type = F_STR, .max = 40, .flags = F_SINGLE_LINE,
      .doc = "Text before the signature in its header; it must be there.",
      .example = "\"sha256=\"" },
    { MEMBER(algorithm), .type = F_ENUM, .words = algorithms,
      .doc = "Hash of the HMAC (default: sha256).", .example = "\"sha256\"" },
    { MEMBER(encoding), .type = F_ENUM, .words = encodings,
      .doc = "How the signature is written (default: any; hex is in lower case).",
      .example = "\"hex\"" },
    { MEMBER(secret_encoding), .type = F_ENUM, .words = secret_encodings,
      .doc = "Whether the key is the secret as it stands or what it decodes to (default: text).",
      .example = "\"text\"" },
    { .name = "signed",
      .offset = offsetof(struct hook_config, signed_text),
      .type = F_STR,
      .min = 6,
      .max = 200,
      .flags = F_SINGLE_LINE,
      .doc =
          "What is signed, with {body}, {url}, {time} and {id} in their places (default: {body}).",
      .example = "\"{time}.{body}\"" },
    { MEMBER(time_header), NAME_OF_HEADER,
      .doc = "Header of the time in seconds since 1970; needs {time} in signed.",
      .example = "\"X-Acme-Timestamp\"" },
    { MEMBER(window_s), .type = F_INT, .min = 1, .max = WINDOW_MAX_S,
      .doc = "Seconds that the time may be away from now (default: 300).", .example = "300" },
    { MEMBER(id_header), NAME_OF_HEADER, .doc = "Header of the id; needs {id} in signed.",
      .example = "\"X-Acme-Id\"" },
    { MEMBER(type_header), NAME_OF_HEADER, .doc = "Header of the event type.",
      .example = "\"X-Acme-Event\"" },
    { MEMBER(type_path), PATH_IN_JSON,
      .doc = "Path of the event type in the JSON of the body, when the header does not say it.",
      .example = "\"event.type\"" },
    { MEMBER(key_header), NAME_OF_HEADER,
      .doc = "Header of the id of the event, the same at each delivery of it.",
      .example = "\"X-Acme-Delivery\"" },
    { MEMBER(key_path), PATH_IN_JSON,
      .doc = "Path of that id in the JSON of the body, when the header does not say it.",
      .example = "\"event.id\"" },
    { MEMBER(ack_status), .type = F_INT, .min = 200, .max = 204,
      .doc = "Status of the answer to a good request (default: 200).", .example = "200" },
};

const struct rec rec_hook_config =
    REC("HookScheme", struct hook_config, fields,
        "How a sender signs, for the kind hmac; what is left out keeps its default.");

struct check {
    struct ctx *cx;
    const struct hook_config *c;
    struct str prefix;
    enum err_code e; /* of the first problem */
};

static void refuse(struct check *k, const char *field, const char *why)
{
    struct str name = str_printf(&k->cx->arena, STR_FMT "%s%s", STR_ARG(k->prefix),
                                 k->prefix.n ? "." : "", field);
    enum err_code e =
        ctx_fail_field(k->cx, ERR_INVALID_FIELD, name, STR_FMT " %s", STR_ARG(name), why);
    if (!k->e)
        k->e = e;
}

/* RFC 9110 §5.6.2: what a header may be called. */
static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool is_word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_word && (c <= ' ' || c >= 0x7F || strchr("\"(),/:;<=>?@[\\]{}", c)))
            return false;
    }
    return s.n > 0;
}

static void check_headers(struct check *k)
{
    const struct {
        const char *field;
        struct str value;
    } names[] = {
        { "signature_header", k->c->signature_header },
        { "time_header", k->c->time_header },
        { "id_header", k->c->id_header },
        { "type_header", k->c->type_header },
        { "key_header", k->c->key_header },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].value.p && !is_token(names[i].value))
            refuse(k, names[i].field, "is not the name of a header");
}

static bool has_mark(struct str text, struct str mark)
{
    for (size_t i = 0; i < text.n; i++)
        if (str_starts(str_sub(text, i, text.n), mark))
            return true;
    return false;
}

static void check_marks(struct check *k, struct str text)
{
    static const char *const marks[] = { "{body}", "{url}", "{time}", "{id}" };
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        bool is_known = false;
        if (text.p[i] != '{')
            continue;
        for (size_t m = 0; m < 4; m++)
            is_known |= str_starts(str_sub(text, i, text.n), str_of(marks[m]));
        if (!is_known || ++n > MARKS_MAX) {
            refuse(k, "signed",
                   is_known ? "has more than 5 marks" : "knows {body}, {url}, {time} and {id}");
            return;
        }
    }
    if (!has_mark(text, STR("{body}")))
        refuse(k, "signed", "has no {body}: anybody could send another one");
}

/* Marks and headers that belong together. */
static void check_pairs(struct check *k, struct str text)
{
    bool has_time = has_mark(text, STR("{time}")), has_id = has_mark(text, STR("{id}"));
    if (has_time && !k->c->time_header.p)
        refuse(k, "time_header", "is needed for {time} in signed");
    if (!has_time && k->c->time_header.p)
        refuse(k, "time_header", "proves nothing: signed has no {time}");
    if (has_id && !k->c->id_header.p)
        refuse(k, "id_header", "is needed for {id} in signed");
    if (!has_id && k->c->id_header.p)
        refuse(k, "id_header", "proves nothing: signed has no {id}");
    if (!k->c->time_header.p && REC_HAS(k->c, window_s))
        refuse(k, "window_s", "needs a time_header");
}

/* ---- the scheme ---- */

/* STR_NONE, and a text that is not given, stay NULL. */
static const char *kept(struct ctx *cx, struct str s)
{
    return s.p ? str_cstr(&cx->arena, s) : NULL;
}

static void set_picks(struct ctx *cx, struct hook_pick *picks, size_t n, struct str header,
                      struct str path)
{
    size_t at = 0;
    if (!header.p && !path.p)
        return;
    for (size_t i = 0; i < n; i++)
        picks[i] = (struct hook_pick){ .from = HOOK_FROM_NOTHING };
    if (header.p)
        picks[at++] = (struct hook_pick){ .from = HOOK_FROM_HEADER, .name = kept(cx, header) };
    if (path.p)
        picks[at] = (struct hook_pick){ .from = HOOK_FROM_JSON, .name = kept(cx, path) };
}

static void set_signature(struct ctx *cx, const struct hook_config *c, struct hook_scheme *s)
{
    static const enum hook_hash hashes[] = { HOOK_SHA256, HOOK_SHA1, HOOK_SHA512 };
    static const enum hook_form forms[] = { HOOK_FORM_ANY, HOOK_FORM_HEX, HOOK_FORM_BASE64 };
    if (c->signature_header.p) {
        memset(s->signature, 0, sizeof s->signature);
        s->signature[0] = kept(cx, c->signature_header);
        s->prefix = NULL;
    }
    if (c->prefix.p) {
        s->prefix = kept(cx, c->prefix);
        s->may_lack_prefix = false;
    }
    for (size_t i = 0; i < 3; i++) {
        if (str_eq(c->algorithm, str_of(algorithms[i])))
            s->hash = hashes[i];
        if (str_eq(c->encoding, str_of(encodings[i])))
            s->form = forms[i];
    }
    s->is_secret_base64 = str_eq(c->secret_encoding, STR("base64"));
}

static void set_all(struct ctx *cx, const struct hook_config *c, struct hook_scheme *s)
{
    set_signature(cx, c, s);
    if (c->signed_text.p)
        s->text = kept(cx, c->signed_text);
    for (size_t i = 0; i < HOOK_NAMES_MAX && c->time_header.p; i++)
        s->time.header[i] = kept(cx, c->time_header);
    if (c->time_header.p)
        s->time.window_ms = 1000 * (REC_HAS(c, window_s) ? c->window_s : WINDOW_S);
    for (size_t i = 0; i < HOOK_NAMES_MAX && c->id_header.p; i++)
        s->id[i] = kept(cx, c->id_header);
    set_picks(cx, s->type, HOOK_TYPES_MAX, c->type_header, c->type_path);
    set_picks(cx, s->key, HOOK_KEYS_MAX, c->key_header, c->key_path);
    if (REC_HAS(c, ack_status))
        s->ack_status = (int)c->ack_status;
}

enum err_code hook_config_scheme(struct ctx *cx, const struct hook_config *config,
                                 struct str prefix, struct hook_scheme *out)
{
    struct check k = { .cx = cx, .c = config, .prefix = prefix };
    struct str text = config->signed_text.p ? config->signed_text : STR("{body}");
    check_headers(&k);
    check_marks(&k, text);
    check_pairs(&k, text);
    if (k.e)
        return k.e;
    struct hook_scheme made = *hook_scheme_find(STR("hmac"));
    set_all(cx, config, &made);
    *out = made;
    return ERR_NONE;
}

enum err_code hook_config_parse(struct ctx *cx, struct str text, struct hook_scheme *out)
{
    struct hook_config config;
    if (text.n > HOOK_CONFIG_TEXT_MAX)
        return fail(cx, INVALID_JSON, "The configuration is longer than %d bytes",
                    HOOK_CONFIG_TEXT_MAX);
    json_t *obj = json_read(cx, text);
    if (!obj)
        return cx->err;
    if (!json_is_object(obj))
        return fail(cx, INVALID_JSON, "The configuration is not an object");
    enum err_code e = rec_decode(cx, &rec_hook_config, obj, REC_REFUSE_UNKNOWN, STR_NONE, &config);
    return e ? e : hook_config_scheme(cx, &config, STR_NONE, out);
}
