/* The keys of a set: see jwks.h. */
#include "jwks.h"

#include <rhonabwy.h>
#include <string.h>

#include "../../base/crypt.h"
#include "../../base/json.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define RSA_E_BYTES_MAX 8
#define EC_BYTES 32
#define KID_MAX 255
#define SET_CAP ((size_t)4 << 20)

struct key {
    enum jwk_kind kind;
    struct str kid; /* STR_NONE when it has none */
    jwk_t *jwk;
};
struct jwks {
    struct arena arena; /* of the ids and of this */
    size_t n;
    struct key keys[JWKS_KEYS_MAX];
};

static struct str member(json_t *obj, const char *name)
{
    json_t *v = json_object_get(obj, name);
    return json_is_string(v) ? (struct str){ json_string_value(v), json_string_length(v) }
                             : STR_NONE;
}

/* Marked for signatures by this algorithm, or not marked at all. */
static bool is_for(json_t *obj, const char *alg)
{
    json_t *use = json_object_get(obj, "use"), *ops = json_object_get(obj, "key_ops"), *op;
    json_t *marked = json_object_get(obj, "alg");
    size_t i;
    bool may_verify = !ops;
    if (use && !str_eq(member(obj, "use"), STR("sig")))
        return false;
    json_array_foreach(ops, i, op)
        may_verify |= json_is_string(op) && !strcmp(json_string_value(op), "verify");
    return may_verify && (!marked || str_eq(member(obj, "alg"), str_of(alg)));
}

/* Bytes without leading zeros of a base64url number, 0 when it is not one; *top = first byte. */
static size_t number_bytes(struct str text, unsigned char *top)
{
    unsigned char raw[RSA_BITS_MAX / 8 + 8];
    size_t n, from = 0;
    if (!text.p || !base64url_parse(text, raw, sizeof raw, &n))
        return 0;
    while (from < n && !raw[from])
        from++;
    *top = from < n ? raw[from] : 0;
    return n - from;
}

static bool rsa_is_fine(json_t *obj)
{
    unsigned char top = 0;
    size_t e = number_bytes(member(obj, "e"), &top);
    if (!e || e > RSA_E_BYTES_MAX || (e == 1 && top < 3))
        return false;
    size_t n = number_bytes(member(obj, "n"), &top), bits = n * 8;
    for (unsigned bit = 0x80; n && bit && !(top & bit); bit >>= 1)
        bits--;
    return n && bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX;
}

static bool ec_is_fine(json_t *obj)
{
    unsigned char raw[EC_BYTES];
    size_t x = 0, y = 0;
    struct str tx = member(obj, "x"), ty = member(obj, "y");
    return str_eq(member(obj, "crv"), STR("P-256")) && tx.p && ty.p &&
           base64url_parse(tx, raw, sizeof raw, &x) && base64url_parse(ty, raw, sizeof raw, &y) &&
           x == EC_BYTES && y == EC_BYTES;
}

static jwk_t *rebuild(json_t *obj, const char *const *names)
{
    jwk_t *jwk = NULL;
    bool is_fine = r_jwk_init(&jwk) == RHN_OK;
    for (int i = 0; is_fine && names[i]; i++)
        is_fine = r_jwk_set_property_str(jwk, names[i], member(obj, names[i]).p) == RHN_OK;
    if (is_fine && r_jwk_is_valid(jwk) == RHN_OK)
        return jwk;
    r_jwk_free(jwk);
    return NULL;
}

static void add_key(struct jwks *set, json_t *obj)
{
    static const char *const rsa[] = { "kty", "n", "e", NULL };
    static const char *const ec[] = { "kty", "crv", "x", "y", NULL };
    struct str kty = member(obj, "kty"), kid = member(obj, "kid");
    struct key k = { .kind = JWK_RSA };
    if (kid.n > KID_MAX)
        return;
    if (str_eq(kty, STR("RSA")) && is_for(obj, "RS256") && rsa_is_fine(obj)) {
        k.jwk = rebuild(obj, rsa);
    } else if (str_eq(kty, STR("EC")) && is_for(obj, "ES256") && ec_is_fine(obj)) {
        k.kind = JWK_EC;
        k.jwk = rebuild(obj, ec);
    }
    if (!k.jwk)
        return;
    k.kid = kid.p ? str_dup(&set->arena, kid) : STR_NONE;
    set->keys[set->n++] = k;
}

enum err_code jwks_parse(struct ctx *cx, struct str text, struct jwks **out)
{
    json_t *top = json_read(cx, text), *keys = json_object_get(top, "keys"), *key;
    size_t i;
    if (!top) {
        ctx_clear(cx);
        return fail(cx, INVALID_FIELD, "the key set is not valid JSON");
    }
    if (!json_is_array(keys))
        return fail(cx, INVALID_FIELD, "the key set has no array \"keys\"");
    if (json_array_size(keys) > JWKS_KEYS_MAX)
        return fail(cx, INVALID_FIELD, "the key set has more than %d keys", JWKS_KEYS_MAX);
    struct arena own;
    arena_init(&own, SET_CAP);
    struct jwks *set = ARENA_NEW(&own, struct jwks);
    set->arena = own;
    json_array_foreach(keys, i, key)
        add_key(set, key);
    if (!set->n) {
        jwks_free(set);
        return fail(cx, INVALID_FIELD,
                    "the key set has no usable key (RSA of %d bits or more, EC P-256)",
                    RSA_BITS_MIN);
    }
    *out = set;
    return ERR_NONE;
}

void jwks_free(struct jwks *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->n; i++)
        r_jwk_free(set->keys[i].jwk);
    struct arena own = set->arena;
    arena_done(&own);
}

size_t jwks_count(const struct jwks *set)
{
    return set->n;
}

/* ---- checking ---- */

static size_t count_kind(const struct jwks *set, enum jwk_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < set->n; i++)
        n += set->keys[i].kind == kind;
    return n;
}

static bool is_meant(const struct jwks *set, const struct key *k, enum jwk_kind kind,
                     struct str kid)
{
    if (k->kind != kind)
        return false;
    return kid.p ? k->kid.p && str_eq(k->kid, kid) : count_kind(set, kind) == 1;
}

bool jwks_knows(const struct jwks *set, enum jwk_kind kind, struct str kid)
{
    for (size_t i = 0; i < set->n; i++)
        if (is_meant(set, &set->keys[i], kind, kid))
            return true;
    return false;
}

static bool is_signed(const struct key *k, struct str token)
{
    jwa_alg want = k->kind == JWK_RSA ? R_JWA_ALG_RS256 : R_JWA_ALG_ES256;
    jws_t *jws = NULL;
    /* No keys or addresses out of the token's own header, and never an unsigned one. */
    bool is_fine = r_jws_init(&jws) == RHN_OK &&
                   r_jws_advanced_compact_parsen(jws, token.p, token.n, R_PARSE_NONE,
                                                 R_FLAG_IGNORE_REMOTE) == RHN_OK &&
                   r_jws_get_alg(jws) == want &&
                   r_jws_verify_signature(jws, k->jwk, R_FLAG_IGNORE_REMOTE) == RHN_OK;
    r_jws_free(jws);
    return is_fine;
}

bool jwks_verify(const struct jwks *set, enum jwk_kind kind, struct str kid, struct str token)
{
    for (size_t i = 0; i < set->n; i++)
        if (is_meant(set, &set->keys[i], kind, kid) && is_signed(&set->keys[i], token))
            return true;
    return false;
}
