# benches.mk - the benchmarks as targets of the top-level Makefile, which includes this.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

REPORT = $(Q)CARGO='$(CARGO)' $(CARGO) run --release --quiet --package hakmem-reports --

.PHONY: bench bench-c scaling memory compare peers bench-programs
bench: need-cargo
	$(Q)$(CARGO) bench

bench-c: libs bench-programs need-cargo
	$(REPORT) bench-c $(LIBRARY)

scaling: libs bench-programs need-cargo
	$(REPORT) scaling $(SCALING)

memory: libs bench-programs need-cargo
	$(Q)$(MAKE) --no-print-directory -C benches memory CC='$(CC)'
	$(call say,CARGO,'examples and report')
	$(Q)$(CARGO) build --release --quiet --package hakmem-examples --bins
	$(REPORT) memory $(MEMORY)

compare: libs bench-programs peers
	$(call say,CARGO,'benchmarks and report')
	$(REPORT) compare $(COMPARE)

peers: need-cargo
	$(Q)CARGO='$(CARGO)' CC='$(CC)' CXX='$(CXX)' benches/peers

bench-programs: need-cc
	$(Q)$(MAKE) --no-print-directory -C benches bench CC='$(CC)'
