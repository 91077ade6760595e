# words.pl - what scripts over text do: makes lines, splits and matches them, counts in hashes of
# hashes, sorts and joins.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# usage: perl words.pl ROUNDS
use strict;
use warnings;

my $state = 42; # a generator of our own: the same numbers with every version of perl

sub number {
    my ($limit) = @_;
    $state = ($state * 1103515245 + 12345) % 2147483648;
    return int($state / 65536) % $limit;
}

my @syllables = qw(ba ce di fo gu ha je ki lo mu na pe ri so tu va we xi yo zu);
my ($characters, %index) = (0);
for my $round (1 .. $ARGV[0]) {
    my @lines;
    for (1 .. 3000) {
        my @words = map {
            join('', map { $syllables[number(scalar @syllables)] } 1 .. 1 + number(4))
        } 1 .. 1 + number(10);
        push @lines, join(' ', @words);
    }
    for my $line (@lines) {
        my ($previous) = ('');
        for my $word (split / /, $line) {
            $index{$previous}{$word}++;
            $previous = $word;
        }
        (my $capitals = $line) =~ s/\b([a-z]+)\b/\u$1/g;
        $characters += length $capitals;
    }
    delete @index{(sort keys %index)[0 .. 50]} if $round % 4 == 0;
}
print scalar(keys %index), " $characters\n";
