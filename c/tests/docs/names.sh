# names.sh - files and functions named in the documents of the core exist in the source.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

# names_in DOCUMENT: prints its words in code style that look like our names, `module/file.c` or
# `word_word`. The table of the earlier design's names is excluded, because these no longer exist.
names_in() {
    sed '/^Names of the earlier design/,/^## /d; /^```/,/^```/d' "$1" | grep -oE '`[^`]+`' |
        grep -oE '\b(([a-z]+/)+[a-z_]+(\.[a-z]+)?|[a-z]+_[a-z_]+)\b' | sort -u
}

is_there() {
    case $1 in
    thread_local | pthread_* | malloc_* | sched_*) true ;; # of C, C++ and POSIX
    */*.*) [[ -e c/src/$1 || -e c/$1 || -e $1 ]] ;;
    */*) compgen -G "c/src/$1*" >/dev/null || compgen -G "c/$1*" >/dev/null || [[ -e $1 ]] ;;
    *) grep -rqw --include="*.[ch]" --include="*.def" -e "$1" c/src c/include || compgen -G "c/*/*$1*" >/dev/null ||
        compgen -G "benches/c/$1*" >/dev/null ;;
    esac
}

for document in c/src/README.md c/docs/design.md c/docs/concurrency.md c/docs/scaling.md; do
    names=$(names_in "$document")
    check_equal "names_of_$(basename "$document" .md)_are_many" "$( (($(wc -w <<<"$names") > 10)) && echo yes)" yes
    check_equal "names_of_$(basename "$document" .md)_exist" "$(
        for name in $names; do
            is_there "$name" || echo "$name"
        done)" ""
done

finish
