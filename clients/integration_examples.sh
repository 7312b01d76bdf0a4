#!/usr/bin/env bash
#
# Every call of the Tessera ticket API (/functions/v1/integration-tickets) with bash (>= 3.2) and
# curl. Run it with --help, or with nothing for a tour of every call.
#
# What is retried: no answer at all, 408, 429, every 5xx, 409 idempotency_in_progress. The wait is
# Retry-After when the server sends one, else exponential backoff with jitter. A POST carries one
# Idempotency-Key for all its attempts, so a create that was stored but whose answer was lost is
# not stored twice. PATCH sets a value and may be repeated as it is.
#
# The token reaches curl through a file descriptor and the body through stdin, so that neither
# shows in `ps`. Left out: a JSON parser. Answers are printed as they come; the tour picks the few
# values it needs by pattern.

set -euo pipefail
export LC_ALL=C    # bytes in, bytes out: the patterns below must not depend on the locale

TOKEN=${INTEGRATION_TOKEN:-${TOKEN:-}}
BASE_URL=${INTEGRATION_URL:-${BASE_URL:-http://127.0.0.1:8080/functions/v1/integration-tickets}}
BASE_URL=${BASE_URL%/}
TIMEOUT_S=${INTEGRATION_TIMEOUT:-15}
MAX_ATTEMPTS=${INTEGRATION_MAX_ATTEMPTS:-5}
MAX_WAIT_S=${INTEGRATION_MAX_WAIT:-60}
BACKOFF_FIRST_MS=500
BACKOFF_MAX_MS=8000

# curl's exit codes that a second try may cure: DNS, connect, time-out, a connection cut at some
# point. A certificate that does not verify (60) or a malformed URL (3) is not among them.
CURL_RETRY=' 5 6 7 18 28 35 52 55 56 92 '

usage() {
    cat <<'TEXT'
usage: integration_examples.sh [COMMAND]
  demo                                                  every call once (the default)
  health
  create TITLE [DESCRIPTION [PRIORITY [CATEGORY [METADATA_JSON]]]]
  get ID
  comment ID TEXT [internal]
  status ID STATUS
environment: INTEGRATION_TOKEN or TOKEN (required), INTEGRATION_URL or BASE_URL,
             INTEGRATION_TIMEOUT, INTEGRATION_MAX_ATTEMPTS, INTEGRATION_MAX_WAIT,
             INTEGRATION_IDEMPOTENCY_KEY
TEXT
}

# die CODE MESSAGE: 1 refused by the server or the network, 2 wrong usage.
die() {
    printf 'failed: %s\n' "$2" >&2
    exit "$1"
}

# ---- JSON, as much as is needed -----------------------------------------------------------------

# json_quote TEXT: the text as a JSON string, quotes included.
json_quote() {
    local text=$1 code char escaped
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    if [[ $text == *[$'\001'-$'\037']* ]]; then
        for ((code = 1; code < 32; code++)); do
            printf -v char '%b' "\\0$(printf '%03o' "$code")"
            printf -v escaped '\\u%04x' "$code"
            text=${text//"$char"/$escaped}
        done
    fi
    printf '"%s"' "$text"
}

# json_pick NAME FILE: the first string value of that name, still escaped; nothing when there is
# none. A name inside a string cannot match: its quotes would be escaped there.
json_pick() {
    local pattern="\"$1\"[[:space:]]*:[[:space:]]*\"(([^\"\\\\]|\\\\.)*)\"" text
    text=$(head -c 65536 "$2")
    [[ $text =~ $pattern ]] && printf '%s' "${BASH_REMATCH[1]}"
    return 0
}

# ---- one request, then the same with retries ----------------------------------------------------

# send_once METHOD PATH BODY KEY: sets http_status (000 = no answer) and curl_exit; the answer's
# headers and body are in $work.
send_once() {
    local arguments=(--silent --show-error --connect-timeout 5 --max-time "$TIMEOUT_S"
        --request "$1" --user-agent tessera-client-bash/1.0 --header 'Accept: application/json'
        --dump-header "$work/headers" --output "$work/body" --write-out '%{http_code}')
    if [[ -n $3 ]]; then
        arguments+=(--header 'Content-Type: application/json' --data-binary @-)
    fi
    if [[ -n $4 ]]; then
        arguments+=(--header "Idempotency-Key: $4")
    fi
    : >"$work/headers"
    : >"$work/body"
    curl_exit=0
    http_status=$(printf '%s' "$3" | curl "${arguments[@]}" \
        --config <(printf 'header = "Authorization: Bearer %s"\n' "$TOKEN") \
        "$BASE_URL$2" 2>"$work/error") || curl_exit=$?
}

# may_retry: would the same request have a chance the next time?
may_retry() {
    if [[ $curl_exit != 0 ]]; then
        [[ $CURL_RETRY == *" $curl_exit "* ]]
    else
        [[ $http_status == 408 || $http_status == 429 || $http_status == 5?? ]] ||
            [[ $http_status == 409 && $(json_pick error "$work/body") == idempotency_in_progress ]]
    fi
}

# retry_after_s: the seconds the server asks us to wait, from a number or an HTTP date; nothing
# when it does not ask.
retry_after_s() {
    local text at
    text=$(tr -d '\r' <"$work/headers" | grep -i '^retry-after:' | tail -n 1) || return 0
    text=${text#*:}
    text=${text# }
    if [[ $text =~ ^[0-9]{1,9}$ ]]; then
        printf '%d' "$((10#$text))"
    elif at=$(date -d "$text" +%s 2>/dev/null); then
        at=$((at - $(date +%s)))
        printf '%d' "$((at > 0 ? at : 0))"
    fi
}

# wait_ms ATTEMPT ASKED_S: never shorter than asked; the jitter keeps many clients from returning
# together.
wait_ms() {
    local step=$((BACKOFF_FIRST_MS << ($1 - 1 < 10 ? $1 - 1 : 10)))
    if [[ -n $2 ]]; then
        printf '%d' "$(($2 * 1000 + RANDOM % 250))"
        return
    fi
    step=$((step < BACKOFF_MAX_MS ? step : BACKOFF_MAX_MS))
    printf '%d' "$((step / 2 + RANDOM % (step / 2 + 1)))"
}

# explain ATTEMPT ASKED_S: one line about the last failure.
explain() {
    local text details
    if [[ $curl_exit != 0 ]]; then
        text="no answer connection_failed: $(head -n 1 "$work/error")"
    else
        text=$(json_pick error "$work/body")
        text="$http_status ${text:-http_$http_status}: $(json_pick message "$work/body")"
        details=$(json_pick details "$work/body")
        text+=${details:+ ($details)}
    fi
    text+=${2:+ [retry after $2 s]}
    [[ $1 -gt 1 ]] && text+=" [gave up after $1 attempts]"
    printf '%s' "$text"
}

# call METHOD PATH [BODY [KEY]]: the answer is in $work/body; anything but 2xx ends the script
# with a clear line.
call() {
    local attempt=1 asked wait
    while :; do
        send_once "$1" "$2" "${3-}" "${4-}"
        if [[ $curl_exit == 0 && $http_status == 2?? ]]; then
            [[ $(head -c 1 "$work/body") == '{' ]] ||
                die 1 "$http_status unexpected_answer: not a JSON object; is the URL right?"
            return
        fi
        asked=$(retry_after_s)
        wait=$(wait_ms "$attempt" "$asked")
        if ! may_retry || ((attempt >= MAX_ATTEMPTS || wait > MAX_WAIT_S * 1000)); then
            die 1 "$(explain "$attempt" "$asked")"
        fi
        sleep "$((wait / 1000)).$(printf '%03d' "$((wait % 1000))")"
        attempt=$((attempt + 1))
    done
}

new_key() {
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

# ---- the calls ----------------------------------------------------------------------------------

check_id() {
    [[ $1 =~ ^[0-9A-Za-z-]+$ ]] || die 2 "'$1' is not a ticket id"
}

api_health() {
    call GET /
}

# api_create TITLE [DESCRIPTION [PRIORITY [CATEGORY [METADATA_JSON]]]]; an empty word leaves the
# field out.
api_create() {
    local body
    body="{\"title\":$(json_quote "$1")"
    [[ -n ${2-} ]] && body+=",\"description\":$(json_quote "$2")"
    [[ -n ${3-} ]] && body+=",\"priority\":$(json_quote "$3")"
    [[ -n ${4-} ]] && body+=",\"category\":$(json_quote "$4")"
    [[ -n ${5-} ]] && body+=",\"metadata\":$5"
    call POST /tickets "$body}" "${INTEGRATION_IDEMPOTENCY_KEY:-$(new_key)}"
}

api_get() {
    check_id "$1"
    call GET "/tickets/$1"
}

# api_comment ID TEXT [internal]
api_comment() {
    local internal=false
    check_id "$1"
    if [[ ${3-} == internal ]]; then
        internal=true
    elif [[ -n ${3-} ]]; then
        die 2 'the third word of comment may only be: internal'
    fi
    call POST "/tickets/$1/comments" "{\"content\":$(json_quote "$2"),\"is_internal\":$internal}" \
        "${INTEGRATION_IDEMPOTENCY_KEY:-$(new_key)}"
}

# api_status ID STATUS: open, in_progress, waiting, resolved, closed.
api_status() {
    check_id "$1"
    call PATCH "/tickets/$1/status" "{\"status\":$(json_quote "$2")}"
}

# Use every call once and print what happened.
demo() {
    local id status
    unset INTEGRATION_IDEMPOTENCY_KEY
    api_health
    printf 'health:  %s\n' "$(json_pick status "$work/body")"
    api_create 'Order processing issue' 'Order #12345 is stuck in processing' high \
        'Technical Support' '{"order_id":"12345","source":"bash"}'
    id=$(json_pick id "$work/body")
    printf 'created: %s status %s priority %s\n' "$id" "$(json_pick status "$work/body")" \
        "$(json_pick priority "$work/body")"
    api_get "$id"
    printf 'fetched: %s\n' "$(json_pick title "$work/body")"
    api_comment "$id" 'The customer has been contacted.'
    printf 'comment: %s\n' "$(json_pick comment_id "$work/body")"
    api_status "$id" in_progress
    printf 'updated: %s\n' "$(json_pick status "$work/body")"
    api_get "$id"
    status=$(json_pick status "$work/body")
    printf 'fetched: status %s\n' "$status"
    [[ $status == in_progress ]] || die 1 "unexpected_answer: status '$status', not 'in_progress'"
    printf 'done: every call worked\n'
}

# run COMMAND FEWEST MOST WORDS...: check the count, call api_COMMAND, print the answer.
run() {
    local name=$1 fewest=$2 most=$3
    shift 3
    if (($# < fewest || $# > most)); then
        usage >&2
        exit 2
    fi
    "api_$name" "$@"
    cat "$work/body"
    printf '\n'
}

main() {
    local command=${1:-demo}
    case $command in
    -h | --help) usage; exit 0 ;;
    demo | health | create | get | comment | status) ;;
    *) usage >&2; exit 2 ;;
    esac
    shift $(($# > 0 ? 1 : 0))
    [[ $TOKEN =~ ^[0-9A-Za-z._~+/=-]+$ ]] ||
        die 2 'set INTEGRATION_TOKEN (or TOKEN) to your token; see --help'
    [[ $BASE_URL == http://* || $BASE_URL == https://* ]] ||
        die 2 'the URL must start with http:// or https://'
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    case $command in
    demo) demo ;;
    health) run health 0 0 "$@" ;;
    create) run create 1 5 "$@" ;;
    get) run get 1 1 "$@" ;;
    comment) run comment 2 3 "$@" ;;
    status) run status 2 2 "$@" ;;
    esac
}

main "$@"
