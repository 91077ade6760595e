# memory.mk - the memory scenarios as a target of the top-level Makefile, which includes this.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

.PHONY: memory
memory: libs bench-programs need-cargo
	$(Q)$(MAKE) --no-print-directory -C benches/memory CC='$(CC)'
	$(call say,CARGO,'examples and report')
	$(Q)$(CARGO) build --release --quiet --package hakmem-examples --bins
	$(Q)$(CARGO) run --release --quiet --package hakmem-reports -- memory $(MEMORY)
