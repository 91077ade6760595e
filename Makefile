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
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man

DEBUG ?=
SANITIZE ?=
V ?=

# ---- Names and flags --------------------------------------------------------------------------------

HEADER := c/include/hakmem.h
VERSION := $(shell sed -n 's/^.define HAK_VERSION_STRING "\(.*\)"/\1/p' $(HEADER))
MAJOR := $(firstword $(subst ., ,$(VERSION)))

HK_CPPFLAGS := -I c/include -I c/src
HK_CFLAGS := -std=gnu11 -g -fPIC -pthread -fvisibility=hidden -ftls-model=initial-exec \
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

# A sanitizer brings a malloc of its own: only hak_* are built beside it.
ifeq ($(SANITIZE),)
HK_CPPFLAGS += -DHAK_OVERRIDE
endif

ARCHIVE := $(BUILD)/libhakmem.a
SONAME := $(BUILD)/libhakmem.so.$(MAJOR)
SHARED := $(BUILD)/libhakmem.so.$(VERSION)
LIBS := $(ARCHIVE) $(BUILD)/libhakmem.so

OBJECT := $(BUILD)/obj/hakmem.o
FLAGS := $(BUILD)/obj/flags
COMPILE := $(CC) $(HK_CPPFLAGS) $(CPPFLAGS) $(HK_CFLAGS) $(CFLAGS)
LINK := $(CC) $(HK_CFLAGS) $(CFLAGS) $(HK_LDFLAGS) $(LDFLAGS)

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

$(ARCHIVE): $(OBJECT)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $<

$(SHARED): $(OBJECT) c/packaging/exports.map
	$(call say,LD,$@)
	$(Q)$(LINK) $< -o $@

$(SONAME): $(SHARED)
	$(Q)ln -sf $(<F) $@

$(BUILD)/libhakmem.so: $(SONAME)
	$(Q)ln -sf $(<F) $@

-include $(OBJECT:.o=.d)

.PHONY: FORCE
FORCE:
