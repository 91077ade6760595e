# bench.mk - the benchmark programs as targets of the top-level Makefile, which includes this.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

.PHONY: bench-programs scaling
bench-programs: need-cc
	$(Q)$(MAKE) --no-print-directory -C benches/c CC='$(CC)'

scaling: libs bench-programs
	$(Q)CC='$(CC)' benches/c/scaling
