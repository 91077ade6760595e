# atomics.sh - c/docs/concurrency.md has a row for each atomic variable and each lock, and no other.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1
document=c/docs/concurrency.md

# The first arguments of the macros of base/atomic.h: "&x->y[i]" is shortened to ".y", "&x.y" to "x.y".
variables_in_use() {
    find c/src -name '*.[ch]' ! -path c/src/base/atomic.h -exec cat {} + | awk '
        { text = text $0 " " }
        END {
            while (match(text, /hk_((load|store|add|sub|swap|cas|max)_(relaxed|acquire|release|acq_rel)|stat_(get|set|add|sub)|peek|(store|add|sub)_locked)\(/)) {
                text = substr(text, RSTART + RLENGTH)
                depth = 0
                name = ""
                for (i = 1; i <= length(text); i++) {
                    c = substr(text, i, 1)
                    if (depth == 0 && (c == "," || c == ")"))
                        break
                    if (c == "(" || c == "[")
                        depth++
                    else if (c == ")" || c == "]")
                        depth--
                    else if (depth == 0)
                        name = name c
                }
                gsub(/[& ]/, "", name)
                sub(/^.*->([a-z_]+\.)*/, ".", name)
                print name
            }
        }' | sort -u
}

# The names in the table, from the first cells of its rows: `a.b` also as ".b", `a.*` as "a.*".
rows=$(sed -n '/^## Atomic variables/,/^## /s/^| \(`[^|]*`\).*/\1/p' "$document" | grep -oE '`[^`]+`\)?' |
    tr -d '`)')

undocumented() {
    local name row
    while read -r name; do
        for row in $rows; do
            case $row in
            "$name" | *"$name" | "${name%.*}.*") continue 2 ;;
            esac
        done
        echo "$name"
    done
}

not_in_use() {
    local row name
    for row in $rows; do
        while read -r name; do
            case $row in
            "$name" | *"$name" | "${name%.*}.*") continue 2 ;;
            esac
        done <<<"$1"
        echo "$row"
    done
}

used=$(variables_in_use)
check_equal the_source_uses_atomic_variables "$( (($(wc -l <<<"$used") > 10)) && echo yes)" yes
check_equal every_atomic_variable_has_a_row "$(undocumented <<<"$used")" ""
check_equal every_row_is_an_atomic_variable "$(not_in_use "$used")" ""

# The name of each declaration with the tag atomic must be a row, or the end of one.
declared=$(grep -rhoE '[a-z_]+(\[[^]]*\])?; +/\* atomic' c/src | sed -E 's/[^a-z_].*//' | sort -u)
check_equal every_declaration_tagged_atomic_has_a_row "$(
    for name in $declared; do
        grep -qE "(^|[._])$name(\.\*)?$" <<<"$rows" || echo "$name"
    done)" ""

check_equal the_locks_are_those_of_lock_def_in_their_order \
    "$(sed -n '/^## Locks/,/^## /s/^| `\([A-Z]*\)`.*/\1/p' "$document")" \
    "$(sed -n 's/^LOCK(\([A-Z]*\),.*/\1/p' c/src/os/lock.def)"

finish
