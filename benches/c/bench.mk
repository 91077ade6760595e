# bench.mk - the benchmark programs as a target of the top-level Makefile, which includes this.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

.PHONY: bench-programs
bench-programs: need-cc
	$(Q)$(MAKE) --no-print-directory -C benches/c CC='$(CC)'
