#!/bin/sh
# Style and structure, without running the program: each line below is one check.
# clang-tidy looks at what changed against TIDY_BASE (HEAD~1 unless said); TIDY=all: at everything.
#
#   scripts/lint.sh BUILD_DIR
set -eu
cd "$(dirname "$0")/.."
. scripts/step.sh
build=$1
results_begin "$build/results/lint"

format() { scripts/list_c.sh | xargs -r clang-format --dry-run -Werror; }

changed() { # the C sources that changed, or all when there is nothing to compare with
    base=${TIDY_BASE:-HEAD~1}
    if [ "${TIDY:-}" = all ] || ! git rev-parse -q --verify "$base" >/dev/null 2>&1; then
        scripts/list_c.sh
    else
        { git diff --name-only --diff-filter=d "$base" && git ls-files -o --exclude-standard; } | sort -u
    fi | grep '^\(src\|tests\)/.*\.c$' || :
}

tidy() { # needs the compiler calls of clang: a build directory that is configured, never built
    CC=clang scripts/configure.sh build-lint -Db_lundef=false -Dfuzz=true || return 1
    changed | xargs -r -n 1 -P 2 clang-tidy -p build-lint --quiet 2>/dev/null
}

shell_syntax() { for file in scripts/*.sh bench/*.sh .ci/run; do [ ! -f "$file" ] || sh -n "$file" || return 1; done; }

python_syntax() {
    python3 - <<'PY'
import ast, pathlib
for folder in ("scripts", "tests", "bench", "clients"):
    for path in pathlib.Path(folder).rglob("*.py"):
        if "node_modules" not in path.parts:
            ast.parse(path.read_text(), str(path))
PY
}

step "format: clang-format" format
step "layers: includes point to the left" scripts/check_layers.py
step "sizes: files, functions, scripts" scripts/check_size.py
step "banned calls" scripts/check_banned.py
step "tables: errors, settings, routes, parsers" scripts/check_tables.py
step "shell scripts parse" shell_syntax
step "Python files parse" python_syntax
step "clang-tidy" tidy
results_end
