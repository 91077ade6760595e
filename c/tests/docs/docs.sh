# docs.sh - the documentation matches the code.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

check options_md_is_current diff c/docs/options.md <(c/tools/options markdown)
check_equal every_option_is_listed "$(grep -c '^| `.*HAKMEM_' c/docs/options.md)" \
    "$(grep -cE '^(TEXT_)?OPTION\(' c/src/core/options.def)"

# Prints the names that a text does not mention.
missing() {
    local text=$1 name
    while read -r name; do
        grep -qw -- "$name" <<<"$text" || echo "$name"
    done
}

# difference EXPECTED FOUND: prints the names that stand in one list only, or at another place.
difference() {
    diff <(echo "$1") <(echo "$2") | sed -n 's/^< /missing: /p; s/^> /unexpected: /p'
}

# The places that list the fields of a struct: the header, and the two crates.
in_header() { sed -n "/^struct $1 {/,/^}/s/^ *uint64_t \([a-z_]*\);.*/\1/p" c/include/hakmem.h; }
in_hakmem_sys() { sed -n "/^pub struct $1 {/,/^}/s/^ *pub \([a-z_]*\): u64,/\1/p" hakmem-sys/src/lib.rs; }
in_hakmem() { sed -n "/^ *[A-Za-z]* of $1;/,/^}/s/^ *\([a-z_]*\),$/\1/p" hakmem/src/stats.rs; }

for table in stats class_stats; do
    names=$(c/tools/statistics names $table)
    check_equal "the_table_${table}_has_a_name_for_each_row" "$(wc -l <<<"$names")" \
        "$(grep -c '^[A-Z_]*STAT(' c/src/core/$table.def)"
    for place in in_header in_hakmem_sys in_hakmem; do
        check_equal "each_row_of_${table}_stands_$place" "$(difference "$names" "$($place hak_$table)")" ""
    done
done
check observing_md_is_current diff c/docs/observing.md <(c/tools/statistics markdown)
check_equal observing_md_names_every_statistic \
    "$( (c/tools/statistics names stats; c/tools/statistics names class_stats) |
        missing "$(<c/docs/observing.md)")" ""
check_equal the_crate_has_a_constant_for_each_option \
    "$(difference "$(sed -n 's/^OPTION(\([a-z_]*\),.*/\1/p' c/src/core/options.def)" \
        "$(sed -nE 's/^    [A-Z_]+: [A-Za-z0-9]+ = c"([a-z_]+)".*;$/\1/p' hakmem/src/options.rs)")" ""

manual=$(c/tools/man_page <c/packaging/hakmem.3.in)
check_equal manual_names_every_function_and_constant \
    "$(grep -oE '\b(hak_[a-z_]+\(|HAK_(PREWARM|REPORT|PROFILE)_[A-Z]+)' c/include/hakmem.h | tr -d '(' | sort -u |
        missing "$manual")" ""
check_equal manual_names_every_option \
    "$(sed -nE 's/^(TEXT_)?OPTION\(([a-z_]*),.*/\2/p' c/src/core/options.def | missing "$manual")" ""
check_equal manual_names_every_statistic \
    "$(c/tools/statistics names stats | missing "$manual")" ""

recipes=$(<c/docs/recipes.md)
check_equal the_recipes_name_options_that_exist \
    "$(grep -oE 'HAKMEM_[A-Z_]+|hakmem-run[^`]* -- ' <<<"$recipes" |
        grep -oE 'HAKMEM_[A-Z_]+|--[a-z-]+' | sed 's/^HAKMEM_//; s/^--//' | tr 'A-Z-' 'a-z_' | sort -u |
        comm -23 - <(c/tools/options table | cut -f 1 | sort))" ""
check_equal the_recipes_set_several_options \
    "$( (($(grep -c 'HAKMEM_\|hakmem-run --' <<<"$recipes") > 10)) && echo yes)" yes

# All link targets within this project exist.
check_equal links_of_documents_lead_somewhere "$(
    for document in ./*.md c/docs/*.md c/src/*.md */README.md */*/README.md; do
        [[ -e $document ]] || continue
        grep -oE '\]\([^)#: ]+[)#]' "$document" | sed 's/^](//; s/.$//' | while read -r target; do
            [[ -e $(dirname "$document")/$target ]] || echo "$document: $target"
        done
    done | sort -u)" ""

check every_place_has_the_same_version c/tools/versions

finish
