# compare.mk - the comparison with other allocators as a target of the top-level Makefile, which
# includes this.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

.PHONY: compare
compare: libs bench-programs need-cargo
	$(call say,CARGO,'benchmarks and report')
	$(Q)CARGO='$(CARGO)' $(CARGO) run --release --quiet --package hakmem-reports --bin compare -- $(COMPARE)
