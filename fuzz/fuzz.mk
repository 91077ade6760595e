# fuzz.mk - the fuzz targets, part of the top-level Makefile, which includes this.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Both targets look for new paths through the C core. Inputs that found some are in fuzz/corpus. New
# ones go to build/fuzz, as does the input of a failure.

FUZZ_SECONDS ?= 60
FUZZ_CC ?= clang

.PHONY: fuzz fuzz-calls fuzz-layouts
fuzz: fuzz-calls fuzz-layouts
	@echo 'fuzz: no failure in $(FUZZ_SECONDS) s of each target'

build/fuzz/calls: fuzz/calls.c c/tests/model/model.h c/tests/test.h $(wildcard c/src/*/*.[ch] c/src/*/*.def) | build/fuzz/
	$(call need,$(FUZZ_CC),install clang)
	$(call say,CC,$@)
	$(Q)$(FUZZ_CC) -g -O1 -pthread -DHK_DEBUG -fsanitize=fuzzer,undefined -fno-sanitize-recover=all \
	    -Ic/include -Ic/src -Ic/tests -o $@ $< c/src/hakmem.c

build/fuzz/:
	$(Q)mkdir -p $@

fuzz-calls: build/fuzz/calls
	$(Q)fuzz/run calls $(FUZZ_SECONDS) $<

# The same C core, instrumented, behind the Rust crate.
fuzz-layouts: need-cargo | build/fuzz/
	$(call say,CARGO,build/fuzz/layouts)
	$(Q)CC=$(FUZZ_CC) CFLAGS='-fsanitize=fuzzer-no-link' $(CARGO) build --quiet --release \
	    --manifest-path fuzz/Cargo.toml --target-dir build/fuzz/target --bin layouts
	$(Q)fuzz/run layouts $(FUZZ_SECONDS) build/fuzz/target/release/layouts
