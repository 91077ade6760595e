# source.pl - prints a C++ source file that needs no header: classes, templates and functions, for
# compilers to work on.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# usage: perl source.pl NAME FUNCTIONS SEED        NAME: the namespace of all that it defines
use strict;
use warnings;

my ($name, $functions, $state) = @ARGV;

# A generator of our own: the same source with every version of perl.
sub number {
    my ($limit) = @_;
    $state = ($state * 1103515245 + 12345) % 2147483648;
    return int($state / 65536) % $limit;
}

print <<"END";
namespace $name {
template <typename T, int N> struct array {
    T items[N];
    T &operator[](int i) { return items[i % N]; }
    T sum() const {
        T all{};
        for (const T &item : items) all += item;
        return all;
    }
};
template <int N> struct fold {
    static long of(long x) { return fold<N - 1>::of(x * 31 + N) ^ (x >> (N % 7)); }
};
template <> struct fold<0> {
    static long of(long x) { return x; }
};
struct shape {
    virtual ~shape() {}
    virtual long area(long x) const = 0;
};
END

for my $i (0 .. $functions - 1) {
    my ($size, $depth) = (4 + number(60), 1 + number(24));
    my @constants = map { 1 + number(1000) } 0 .. 5;
    my $callee = $i ? 'function_' . number($i) : 'fold<3>::of';
    my $cases = join '', map {
        my ($factor, $shift) = (1 + number(99), 1 + number(9));
        "    case $_: total += (x * $factor) ^ (total >> $shift); values[$_] = total; break;\n"
    } 0 .. 3 + number(8);
    print <<"END";
struct shape_$i : shape {
    long side = $constants[0];
    long area(long x) const override { return side * x + fold<$depth>::of(x + $constants[1]); }
};
long function_$i(long x) {
    array<long, $size> values{};
    long total = $constants[2];
    for (int i = 0; i < $size; i++) {
        switch ((x + i) % 12) {
$cases    default: total -= values[i] + $constants[3];
        }
    }
    shape_$i one;
    auto change = [&](long y) { return y > $constants[4] ? $callee(y / 2) : one.area(y); };
    return values.sum() + change(total) + static_cast<const shape &>(one).area(x % $constants[5]);
}
END
}
print "} // namespace $name\n";
