# compare.mk - the comparison with other allocators as a target of the top-level Makefile, which
# includes this.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

.PHONY: compare peers
compare: libs bench-programs peers
	$(call say,CARGO,'benchmarks and report')
	$(Q)CARGO='$(CARGO)' $(CARGO) run --release --quiet --package hakmem-reports -- compare $(COMPARE)

peers: need-cargo
	$(Q)CARGO='$(CARGO)' CC='$(CC)' CXX='$(CXX)' benches/peers
