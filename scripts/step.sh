# Sourced by test.sh, check.sh and lint.sh: run named steps, remember how each ended, go on.
#
#   results_begin DIR        an empty results folder; $results names it
#   step NAME COMMAND...     one check: counts as one passed or one failed
#   suite NAME COMMAND...    a test runner: its tests are counted from the files that it leaves in
#                            $results; a runner that fails without a failed test counts as one
#   results_end              print the totals as the last line; status 1 when anything failed.
#                            SUM_LATER=1: only the status, since the caller adds up several folders

workers=3 # of pytest: a test waits more than it computes, on two cores too

results_begin() {
    results=$(pwd)/$1
    rm -rf "$results"
    mkdir -p "$results"
    : >"$results/steps"
}

note_step() { # note_step KIND NAME STATUS SECONDS
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$results/steps"
    [ "$3" = 0 ] || printf '!! %s failed (status %s)\n' "$2" "$3"
}

run_step() { # run_step KIND NAME COMMAND...
    step_kind=$1 step_name=$2 step_status=0
    shift 2
    printf '== %s\n' "$step_name"
    began=$(date +%s)
    "$@" </dev/null || step_status=$?
    note_step "$step_kind" "$step_name" "$step_status" $(($(date +%s) - began))
}

step() { run_step step "$@"; }

suite() { run_step suite "$@"; }

results_end() {
    if [ "${SUM_LATER:-}" = 1 ]; then
        python3 scripts/summary.py "$results" >/dev/null
    else
        python3 scripts/summary.py "$results"
    fi
}
