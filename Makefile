# Makefile - builds, tests and installs hakmem. `make help` lists the targets and variables.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := libs
.DELETE_ON_ERROR:

# ---- Variables of the user --------------------------------------------------------------------------

CC ?= cc
AR ?= ar
CARGO ?= cargo
CLANG_FORMAT ?= clang-format
CFLAGS ?=
LDFLAGS ?=

PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man

DEBUG ?=
SANITIZE ?=
V ?=

# ---- Names and flags --------------------------------------------------------------------------------

HEADER := c/include/hakmem.h
HEADERS := $(HEADER) c/include/hakmem.hpp
VERSION := $(shell sed -n 's/^.define HAK_VERSION_STRING "\(.*\)"/\1/p' $(HEADER))
MAJOR := $(firstword $(subst ., ,$(VERSION)))

HK_CPPFLAGS := -I c/include -I c/src
# -fexceptions: operator new and its handler throw through C, also where it is inlined at link time.
HK_CFLAGS := -std=gnu11 -g -fPIC -pthread -fexceptions -fvisibility=hidden -ftls-model=initial-exec \
             -fno-builtin-malloc -fno-semantic-interposition -Wall -Wextra -Wconversion
HK_LDFLAGS := -shared -pthread -Wl,-soname,libhakmem.so.$(MAJOR) -Wl,-z,nodelete -Wl,-z,now \
              -Wl,-z,defs -Wl,--version-script=c/packaging/exports.map

ifneq ($(DEBUG),)
BUILD := build/debug
HK_CPPFLAGS += -DHK_DEBUG=1
HK_CFLAGS += -O1
else ifneq ($(SANITIZE),)
comma := ,
BUILD := build/$(subst $(comma),-,$(SANITIZE))
HK_CPPFLAGS += -DHK_DEBUG=1
HK_CFLAGS += -O1 -fno-omit-frame-pointer -fsanitize=$(SANITIZE)
else
BUILD := build
HK_CFLAGS += -O2
endif

ARCHIVE := $(BUILD)/libhakmem.a
SONAME := $(BUILD)/libhakmem.so.$(MAJOR)
SHARED := $(BUILD)/libhakmem.so.$(VERSION)

# A sanitizer brings a malloc of its own, linked into the program: beside it there is an archive only,
# and hak_* only.
ifeq ($(SANITIZE),)
HK_CPPFLAGS += -DHAK_OVERRIDE
LIBS := $(ARCHIVE) $(BUILD)/libhakmem.so $(BUILD)/hakmem-run
else
LIBS := $(ARCHIVE)
endif

OBJECT := $(BUILD)/obj/hakmem.o
# Of the shared library alone: a static executable has no dlopen to pass a call on to.
SHARED_OBJECT := $(BUILD)/obj/deepbind.o
SHARED_CFLAGS := -DHAK_SHARED -foptimize-sibling-calls
FLAGS := $(BUILD)/obj/flags
COMPILE_FLAGS := $(HK_CPPFLAGS) $(CPPFLAGS) $(HK_CFLAGS) $(CFLAGS)
COMPILE := $(CC) $(COMPILE_FLAGS)
LINK := $(CC) $(HK_CFLAGS) $(CFLAGS) $(HK_LDFLAGS) $(LDFLAGS)
LINK_LIBS := -ldl

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-8s%s\n' $(1) $(2))
need = @command -v $(firstword $(1)) >/dev/null 2>&1 || \
       { echo "hakmem: '$(firstword $(1))' not found: $(2)" >&2; exit 1; }

# ---- The libraries ----------------------------------------------------------------------------------

.PHONY: all libs need-cc need-cargo
all: libs need-cargo
	$(call say,CARGO,workspace)
	$(Q)$(CARGO) build --release --workspace $(if $(V),,--quiet)

libs: $(LIBS)

need-cc:
	$(call need,$(CC),install a C compiler (gcc or clang) or name one: make CC=...)

need-cargo:
	$(call need,$(CARGO),install Rust 1.85 or later (https://rustup.rs) or name one: make CARGO=...)

# Holds the command lines; changes, and so rebuilds, when they change.
$(FLAGS): FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(COMPILE)' '$(LINK)' | cmp -s - $@ || printf '%s\n' '$(COMPILE)' '$(LINK)' > $@

$(OBJECT): c/src/hakmem.c $(FLAGS) | need-cc
	$(call say,CC,$@)
	$(Q)$(COMPILE) -MMD -MP -c $< -o $@

$(SHARED_OBJECT): c/src/api/deepbind.c $(FLAGS) | need-cc
	$(call say,CC,$@)
	$(Q)$(COMPILE) $(SHARED_CFLAGS) -MMD -MP -c $< -o $@

$(ARCHIVE): $(OBJECT)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $<

$(SHARED): $(OBJECT) $(SHARED_OBJECT) c/packaging/exports.map
	$(call say,LD,$@)
	$(Q)$(LINK) $(OBJECT) $(SHARED_OBJECT) $(LINK_LIBS) -o $@

$(SONAME): $(SHARED)
	$(Q)ln -sf $(<F) $@

$(BUILD)/libhakmem.so: $(SONAME)
	$(Q)ln -sf $(<F) $@

# In the build folder, hakmem-run is beside the library. `make install` replaces that place.
$(BUILD)/hakmem-run: c/packaging/hakmem-run.in c/src/core/options.def c/tools/options $(HEADER)
	@mkdir -p $(@D)
	$(Q)c/tools/options table | sed -e 's|@VERSION@|$(VERSION)|' -e 's|@MAJOR@|$(MAJOR)|' \
	    -e '/^@OPTIONS@$$/{r /dev/stdin' -e 'd;}' $< > $@
	@chmod 755 $@

-include $(OBJECT:.o=.d) $(SHARED_OBJECT:.o=.d)

# ---- Tests, benchmarks, demonstration ---------------------------------------------------------------

# C tests that examine the project rather than the library. `make test` leaves them out.
CHECKS := build/ docs/ layers/ proofs/

.PHONY: test check coverage sanitize soak demo
test: libs need-cargo
	$(Q)BUILD='$(BUILD)' CC='$(CC)' CARGO='$(CARGO)' c/tools/run_tests '$(CHECKS)'

check: libs
	$(Q)BUILD='$(BUILD)' CC='$(CC)' c/tests/run $(CHECKS)

coverage:
	$(Q)c/tools/coverage

sanitize:
	$(Q)CC='$(CC)' c/tools/sanitize

# Random programs, for longer than in the tests. SEED repeats a run.
MINUTES ?= 120
SEED ?=
soak: libs
	$(Q)SOAK_SECONDS=$$(($(MINUTES) * 60)) TEST_SLOWDOWN=$$(($(MINUTES) + 1)) HAKMEM_TEST_SEED='$(SEED)' \
	    BUILD='$(BUILD)' CC='$(CC)' SOAK_PROGRESS=3 c/tests/run stress/soak 3>&2

include benches/benches.mk
include fuzz/fuzz.mk

demo: libs need-cargo
	$(Q)CC='$(CC)' CARGO='$(CARGO)' examples/demo

# ---- Documentation and format -----------------------------------------------------------------------

.PHONY: docs format format-check lint
docs:
	@mkdir -p build
	$(Q)c/tools/options update
	$(Q)c/tools/statistics update

# With the other allocators that `make peers` has built.
.PHONY: misuse
misuse: libs
	$(Q)CC='$(CC)' BUILD='$(BUILD)' c/tools/misuse update

FORMATTED = $(shell find c benches examples fuzz -name '*.[ch]' -o -name '*.[ch]pp')
# The length of lines is checked here, because neither tool breaks comments, and clang-format would
# break the columns of tables. Rows of tables in Rust's documentation, and lists of variables for a
# test, are one line each.
LINES = $(FORMATTED) $(wildcard c/src/*/*.def) \
    $(shell find benches examples fuzz hakmem hakmem-sys -name '*.rs' -not -path '*/target/*')

format:
	$(call need,$(CLANG_FORMAT),install clang-format)
	$(Q)$(CLANG_FORMAT) -i $(FORMATTED)
	$(Q)$(CARGO) fmt --all
	$(Q)$(CARGO) fmt --manifest-path fuzz/Cargo.toml

format-check:
	$(call need,$(CLANG_FORMAT),install clang-format)
	$(Q)$(CLANG_FORMAT) --dry-run -Werror $(FORMATTED)
	$(Q)awk '!/^\/\/ env:|^ *\/\/[\/!] \|/ && length > 100 { print FILENAME ":" FNR ": more than 100 columns"; \
	    long = 1 } END { exit long }' $(LINES)
	$(Q)$(CARGO) fmt --all --check
	$(Q)$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check

lint:
	$(Q)c/tools/lint

# ---- Installation -----------------------------------------------------------------------------------

CMAKEDIR := $(LIBDIR)/cmake/hakmem
PKGCONFIGDIR := $(LIBDIR)/pkgconfig
# The CMake file finds the header from its own place, and hakmem-run the library, so that an installed
# tree can be moved.
INCLUDE_FROM_CMAKE = $(shell realpath -ms --relative-to='$(CMAKEDIR)' '$(INCLUDEDIR)')
# gdb loads the script with a library of this path, if it searches DATADIR (/usr/share).
GDBDIR = $(DATADIR)/gdb/auto-load$(LIBDIR)
GDB_SCRIPT = $(GDBDIR)/$(notdir $(SHARED))-gdb.py
LIBDIR_FROM_BINDIR = $(shell realpath -ms --relative-to='$(BINDIR)' '$(LIBDIR)')
CONFIGURE = sed -e 's|@VERSION@|$(VERSION)|g' -e 's|@MAJOR@|$(MAJOR)|g' -e 's|@PREFIX@|$(PREFIX)|g' \
                -e 's|@LIBDIR@|$(LIBDIR)|g' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' \
                -e 's|@INCLUDE_FROM_CMAKE@|$(INCLUDE_FROM_CMAKE)|g'

.PHONY: install uninstall
install: libs
	$(call say,INSTALL,$(DESTDIR)$(PREFIX))
	$(Q)install -d '$(DESTDIR)$(INCLUDEDIR)' '$(DESTDIR)$(LIBDIR)' '$(DESTDIR)$(PKGCONFIGDIR)' \
	    '$(DESTDIR)$(CMAKEDIR)' '$(DESTDIR)$(MANDIR)/man3' '$(DESTDIR)$(MANDIR)/man1' \
	    '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(GDBDIR)'
	$(Q)install -m 644 $(HEADERS) '$(DESTDIR)$(INCLUDEDIR)'
	$(Q)install -m 644 $(ARCHIVE) '$(DESTDIR)$(LIBDIR)/libhakmem.a'
	$(Q)install -m 755 $(SHARED) '$(DESTDIR)$(LIBDIR)/$(notdir $(SHARED))'
	$(Q)ln -sf $(notdir $(SHARED)) '$(DESTDIR)$(LIBDIR)/$(notdir $(SONAME))'
	$(Q)ln -sf $(notdir $(SONAME)) '$(DESTDIR)$(LIBDIR)/libhakmem.so'
	$(Q)$(CONFIGURE) c/packaging/hakmem.pc.in > '$(DESTDIR)$(PKGCONFIGDIR)/hakmem.pc'
	$(Q)$(CONFIGURE) c/packaging/hakmemConfig.cmake.in > '$(DESTDIR)$(CMAKEDIR)/hakmemConfig.cmake'
	$(Q)$(CONFIGURE) c/packaging/hakmemConfigVersion.cmake.in > \
	    '$(DESTDIR)$(CMAKEDIR)/hakmemConfigVersion.cmake'
	$(Q)$(CONFIGURE) c/packaging/hakmem.3.in | c/tools/man_page > '$(DESTDIR)$(MANDIR)/man3/hakmem.3'
	$(Q)$(CONFIGURE) c/packaging/hakmem-run.1.in | c/tools/man_page > \
	    '$(DESTDIR)$(MANDIR)/man1/hakmem-run.1'
	$(Q)sed 's|^library_folder=.*|library_folder="$(LIBDIR_FROM_BINDIR)"|' $(BUILD)/hakmem-run > \
	    '$(DESTDIR)$(BINDIR)/hakmem-run'
	$(Q)chmod 755 '$(DESTDIR)$(BINDIR)/hakmem-run'
	$(Q)install -m 644 c/tools/gdb/hakmem-gdb.py '$(DESTDIR)$(GDB_SCRIPT)'
	@# Files below DESTDIR are not where programs will look for them.
	$(Q)test -n '$(DESTDIR)' || c/tools/install_notes '$(LIBDIR)' '$(notdir $(SONAME))'

uninstall:
	$(call say,REMOVE,$(DESTDIR)$(PREFIX))
	$(Q)rm -f '$(DESTDIR)$(INCLUDEDIR)/hakmem.h' '$(DESTDIR)$(INCLUDEDIR)/hakmem.hpp' \
	    '$(DESTDIR)$(MANDIR)/man3/hakmem.3' \
	    '$(DESTDIR)$(BINDIR)/hakmem-run' '$(DESTDIR)$(MANDIR)/man1/hakmem-run.1' \
	    '$(DESTDIR)$(GDB_SCRIPT)' \
	    '$(DESTDIR)$(LIBDIR)/libhakmem.a' '$(DESTDIR)$(LIBDIR)/libhakmem.so' \
	    '$(DESTDIR)$(LIBDIR)/$(notdir $(SONAME))' '$(DESTDIR)$(LIBDIR)/$(notdir $(SHARED))' \
	    '$(DESTDIR)$(PKGCONFIGDIR)/hakmem.pc' '$(DESTDIR)$(CMAKEDIR)/hakmemConfig.cmake' \
	    '$(DESTDIR)$(CMAKEDIR)/hakmemConfigVersion.cmake'
	$(Q)rmdir '$(DESTDIR)$(CMAKEDIR)' 2>/dev/null || true

# ---- Packages and releases --------------------------------------------------------------------------

DEB := build/deb
DEB_SOURCES = $(DEB)/hakmem-$(VERSION)

# Only the sources are copied. MAKEFLAGS would pass the variables of this make on to that of the packages.
.PHONY: deb
deb:
	$(call need,dpkg-buildpackage,install dpkg-dev and debhelper)
	$(call say,DEB,$(DEB))
	$(Q)rm -rf '$(DEB)' && mkdir -p '$(DEB_SOURCES)'
	$(Q)tar -cf - --exclude=./build --exclude=./target --exclude=./.git . | tar -xf - -C '$(DEB_SOURCES)'
	$(Q)cp -r c/packaging/debian '$(DEB_SOURCES)'
	$(Q)cd '$(DEB_SOURCES)' && env -u MAKEFLAGS dpkg-buildpackage -b -us -uc $(if $(V),,>../log 2>&1) || \
	    { tail -n 40 ../log >&2; exit 1; }

# The key that signs the tarball: of gpg, or the file of a key of ssh.
RELEASE_KEY ?=
.PHONY: release
release: need-cc need-cargo
	$(Q)CC='$(CC)' CARGO='$(CARGO)' RELEASE_KEY='$(RELEASE_KEY)' c/tools/release

# ---- The rest ---------------------------------------------------------------------------------------

.PHONY: clean print-flags help
clean:
	$(Q)rm -rf build target

# For the tests: how the core is compiled.
print-flags:
	@echo '$(COMPILE_FLAGS)'

help:
	@echo 'make              build/libhakmem.a, build/libhakmem.so, build/hakmem-run'
	@echo 'make all          the libraries and the Rust crates'
	@echo 'make demo         a service, a C program and a preloaded program: before and after'
	@echo 'make test         the tests of the library; ends in "N passed, N failed"'
	@echo 'make check        layers, models, warnings, other processors, installation, packages, documentation'
	@echo 'make coverage     the lines of the core that the C tests execute'
	@echo 'make sanitize     the tests of the core under ASan, UBSan and TSan'
	@echo 'make soak         random programs with random options, MINUTES=120'
	@echo 'make fuzz         two fuzz targets, FUZZ_SECONDS=60 each'
	@echo 'make bench-c      the C benchmarks, system allocator against hakmem'
	@echo 'make scaling      throughput, memory and page faults with 1 to 500 threads; locks, slow calls, quotas'
	@echo 'make bench        the criterion benchmarks'
	@echo 'make memory       resident memory over time, beside other allocators; a page in build/'
	@echo 'make compare      time and memory beside other allocators, 45 minutes; a page in build/'
	@echo 'make peers        builds the other allocators of the comparison, from their crates'
	@echo 'make install      to PREFIX ($(PREFIX)); also BINDIR, LIBDIR, INCLUDEDIR, DATADIR, DESTDIR'
	@echo 'make uninstall    removes what install put there'
	@echo 'make deb          packages for Debian, in build/deb'
	@echo 'make release      the signed tarball, checked with the crates; RELEASE_KEY=; what is left to do'
	@echo 'make docs         puts the options and statistics into c/docs'
	@echo 'make misuse       makes common mistakes, also on other allocators, and puts the outcomes into c/docs'
	@echo 'make format       formats C and Rust; format-check only looks'
	@echo 'make lint         static analysis of the core'
	@echo 'make clean        removes build/ and target/'
	@echo ''
	@echo 'V=1               shows the commands'
	@echo 'DEBUG=1           with assertions, into build/debug'
	@echo 'SANITIZE=thread   or address,undefined: hak_* only, into build/<name>'
	@echo 'CC CFLAGS LDFLAGS the compiler, and flags added to those of the project'

.PHONY: FORCE
FORCE:
