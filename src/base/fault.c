/* Fault injection: one countdown, one kind at a time.
 *
 * `armed` is the only thing a point looks at in a normal process. The countdown is atomic, so that
 * threads passing points of the armed kind together still see exactly one Nth pass. */
#include "fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "str.h"

enum fault_mode { FAULT_ONCE, FAULT_ON, FAULT_KILL, FAULT_MODES };

static const char *const kind_words[FAULT_KINDS] = { "db",   "commit", "committed",
                                                     "send", "egress", "answer" };
static const char *const mode_words[FAULT_MODES] = { "once", "on", "kill" };

static atomic_int armed = -1; /* enum fault_kind, -1 = none */
static atomic_int mode;
static atomic_long left; /* passes until it fires; <= 0 = fired */
static atomic_bool fired;

static int word_index(struct str s, const char *const *words, int n)
{
    for (int i = 0; i < n; i++)
        if (str_eq(s, str_of(words[i])))
            return i;
    return -1;
}

static void arm(int kind, int64_t n, int how)
{
    atomic_store(&armed, -1);
    atomic_store(&left, (long)n);
    atomic_store(&mode, how);
    atomic_store(&fired, false);
    atomic_store(&armed, kind);
}

void fault_setup(const char *spec)
{
    struct str rest = str_of(spec);
    int kind, how = FAULT_ONCE;
    int64_t n = 0;
    bool is_good;

    arm(-1, 0, FAULT_ONCE);
    if (!spec || !*spec)
        return;
    kind = word_index(str_cut(&rest, ':'), kind_words, FAULT_KINDS);
    is_good = kind >= 0 && str_to_i64(str_cut(&rest, ':'), &n) && n > 0;
    if (rest.p)
        how = word_index(rest, mode_words, FAULT_MODES);
    if (is_good && how >= 0)
        arm(kind, n, how);
    else
        log_error(NULL, "fault.bad_spec", KVC("spec", spec));
}

void fault_arm(enum fault_kind kind, long n)
{
    BUG_IF(kind >= FAULT_KINDS || n < 1);
    arm((int)kind, n, FAULT_ONCE);
}

bool fault_fired(void)
{
    return atomic_load(&fired);
}

bool fault_hit(enum fault_kind kind)
{
    long before;
    int how;

    if (atomic_load_explicit(&armed, memory_order_relaxed) != (int)kind)
        return false;
    before = atomic_fetch_sub(&left, 1);
    how = atomic_load(&mode);
    if (before > 1 || (before < 1 && how != FAULT_ON))
        return false;
    atomic_store(&fired, true);
    if (how == FAULT_KILL)
        kill(getpid(), SIGKILL);
    return true;
}
