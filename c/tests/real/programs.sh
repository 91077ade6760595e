# programs.sh - perl, sqlite3, a shell and a compiler give the same results with hakmem and with libc.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# timeout: 180
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

# same NAME COMMAND...: the command succeeds with the same output with and without the library.
same() {
    local name=$1 expected actual
    shift
    expected=$("$@" 2>&1) || {
        skip "$name" "fails without hakmem too: $(tail -n 1 <<<"$expected")"
        return
    }
    if ! actual=$(preloaded "$@" 2>&1); then
        not_ok "$name" "status $? of: $*
$actual"
    elif [[ $actual != "$expected" ]]; then
        not_ok "$name" "$(diff <(echo "$expected") <(echo "$actual") | head -n 20)"
    else
        ok "$name"
    fi
}

# same_if_installed PROGRAM NAME COMMAND...
same_if_installed() {
    if installed "$1"; then
        same "${@:2}"
    else
        skip "$2" "not installed: $1"
    fi
}

cat >"$scratch/work.pl" <<'END'
use strict;
my (%words, @list);
for my $i (1 .. 200000) {
    my $word = join '-', map { chr(97 + ($i * $_) % 26) } 1 .. 5;
    $words{$word}{count}++;
    push @{$words{$word}{where}}, $i if $i % 3 == 0;
    push @list, $word x ($i % 7);
}
@list = sort { $b cmp $a } @list;
my $text = join ',', @list[0 .. 5000];
my $changed = ($text =~ s/([aeiou])-/<$1>/g);
printf "%d %d %d %s\n", scalar(keys %words), length $text, $changed, substr $text, 0, 60;
my @pids = map { my $pid = fork // die; exit(scalar(grep { /a/ } @list) ? 0 : 1) unless $pid; $pid } 1 .. 3;
for (@pids) { waitpid $_, 0; die if $? }
END
same_if_installed perl perl_hashes_sorts_and_forks perl "$scratch/work.pl"

cat >"$scratch/work.sql" <<'END'
CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, value REAL, data BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
INSERT INTO t SELECT i, printf('name %d', i * 7919 % 100003), i / 7.0, zeroblob(i % 300) FROM n;
CREATE INDEX by_name ON t (name);
SELECT count(*), sum(length(data)), round(avg(value), 3) FROM t;
SELECT name FROM t ORDER BY name DESC LIMIT 5;
SELECT length(name), count(*) FROM t GROUP BY 1 ORDER BY 1;
UPDATE t SET data = zeroblob(length(data) * 2) WHERE id % 5 = 0;
DELETE FROM t WHERE id % 3 = 0;
SELECT count(*), sum(length(data)) FROM t;
PRAGMA integrity_check;
END
same_if_installed sqlite3 sqlite3_sorts_and_deletes_100000_rows \
    sqlite3 :memory: ".read $scratch/work.sql"

same a_shell_sorts_and_counts bash -c \
    'for i in {1..20000}; do echo "$((i * 7919 % 20011))"; done | sort -n | uniq | md5sum'
same_if_installed awk awk_fills_arrays awk 'BEGIN { for (i = 0; i < 300000; i++) a[i % 5003] = a[i % 5003] i % 10
    for (k in a) n += length(a[k]); print n }'
same_if_installed xz xz_compresses_with_threads \
    bash -c 'set -o pipefail; cat "$1"/c/*/*/*.[ch] "$1"/c/src/*/*.c | xz -T2 | md5sum' - "$TEST_ROOT"

# compiled COMMAND: creates an object file with that compiler, from sources that do not change
# meanwhile. The file's name is always the same, because it is in the debug information.
cp -r "$TEST_ROOT/c/src" "$TEST_ROOT/c/include" "$scratch/"
compiled() {
    (cd "$scratch" && "$@" -std=gnu11 -O2 -g -I include -I src -DHAK_OVERRIDE -c src/hakmem.c -o core.o) &&
        md5sum <"$scratch/core.o"
}
for compiler in gcc clang; do
    name=${compiler}_compiles_the_core_to_the_same_object
    if ! installed $compiler; then
        skip $name "not installed: $compiler"
    elif ! expected=$(compiled $compiler 2>&1); then
        skip $name "fails without hakmem too: $(tail -n 1 <<<"$expected")"
    else
        check_equal $name "$(compiled preloaded $compiler 2>&1)" "$expected"
    fi
done

finish
