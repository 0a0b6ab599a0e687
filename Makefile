# neap: make help
BUILD    ?= build
SET      ?= encode
CFLAGS   ?= -O2 -g
SSH2     := $(BUILD)/vendor/libssh2
LUA      := $(shell find lua -type f)
# asked anew each time, for `make deps all` installs what is looked for here
ARGPARSE  = $(firstword $(shell ls /usr/share/lua/5.[431]/argparse.lua 2>/dev/null))

# SAN=1: sanitizers; FAULTS=1: fail points (NEAP_FAULT), which a release does not have
ifdef SAN
OUT   := $(BUILD)/san
EXTRA := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1
else
OUT   := $(BUILD)
endif
ifdef FAULTS
OUT   := $(OUT)/fault
EXTRA += -DFAULTS
endif
# FUZZ=1: the program is tests/fuzz/driver.c, around it libFuzzer
ifdef FUZZ
CC    := clang
OUT   := $(BUILD)/fuzz
EXTRA := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1
LIBFUZZER = $(shell clang -print-runtime-dir)/libclang_rt.fuzzer_no_main-$(shell uname -m).a
endif
NEAP := $(OUT)/neap

# The core is linked statically: most of a dynamic start-up goes into relocations. libcrypto stays shared, because curl
# brings it along later and two copies in one process are one too many.
# libuv_a on Debian 12, libuv from 13 on
UV        = $(if $(shell ls /usr/lib/*/libuv_a.a 2>/dev/null),uv_a,uv)
STATIC    = lua5.4 $(UV) sqlite3 yaml jansson zstd utf8proc expat cmark z
INCLUDES := -I/usr/include/lua5.4 -I$(SSH2)/include
LIBS      = $(foreach l,$(STATIC),-l:lib$(l).a) $(SSH2)/lib/libssh2.a -lcrypto -lm -ldl -lpthread
WARN     := -std=gnu11 -Wall -Wextra -Werror
# What brings a heavy library along is a module of its own beside neap, opened at its first use.
LOADED   := dns editline http mysql pg
CFLAGS_dns   = $(shell pkg-config --cflags libcares)
LIBS_dns     = $(shell pkg-config --libs libcares)
CFLAGS_editline = $(shell pkg-config --cflags libedit)
LIBS_editline = $(shell pkg-config --libs libedit)
CFLAGS_http  = $(shell pkg-config --cflags libcurl)
LIBS_http    = $(shell pkg-config --libs libcurl)
CFLAGS_pg    = $(shell pkg-config --cflags libpq)
LIBS_pg      = $(shell pkg-config --libs libpq) -lssl
CFLAGS_mysql = $(shell pkg-config --cflags libmariadb)
LIBS_mysql   = $(shell pkg-config --libs libmariadb)
# Its sources are src/NAME.c and src/NAME_*.c.
sources   = $(wildcard src/$(1).c src/$(1)_*.c)
SOURCES  := $(filter-out $(foreach m,$(LOADED),$(call sources,$m)),$(wildcard src/*.c))
OBJECTS  := $(SOURCES:src/%.c=$(OUT)/o/%.o) $(OUT)/o/lua_files.o
MODULES  := $(patsubst src/%.c,$(OUT)/lib/neap/%.so,$(wildcard $(LOADED:%=src/%.c)))

.PHONY: all help deps demo test sim fuzz lab-test check bench soak fault clean lint doc deb
all: $(NEAP) $(MODULES) ## build build/neap

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

$(NEAP): $(OBJECTS)
	$(CC) $(CFLAGS) $(EXTRA) -Wl,-E -o $@ $(OBJECTS) $(LIBS)

$(OUT)/fuzz: $(filter-out $(OUT)/o/main.o,$(OBJECTS)) tests/fuzz/driver.c Makefile
	$(CC) $(CFLAGS) $(EXTRA) $(WARN) -D_GNU_SOURCE $(INCLUDES) -Isrc -Wl,-E -o $@ tests/fuzz/driver.c \
		$(filter-out %/main.o,$(OBJECTS)) $(LIBFUZZER) $(LIBS) -lstdc++

$(OUT)/o/modules.o: src # which files are there
$(OUT)/o/modules.o: EXTRA += -DLOADED_MODULES='$(foreach m,$(MODULES),"$(basename $(notdir $(m)))",)'

$(OUT)/o/%.o: src/%.c $(SSH2)/lib/libssh2.a Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(EXTRA) $(WARN) -D_GNU_SOURCE $(INCLUDES) -MMD -MP -c -o $@ $<

define LOADED_RULES
$(OUT)/o/$(1)/%.o: src/%.c Makefile
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(EXTRA) $$(WARN) -D_GNU_SOURCE $$(INCLUDES) $$(CFLAGS_$(1)) -MMD -MP -fPIC -c -o $$@ $$<

$(OUT)/lib/neap/$(1).so: $(patsubst src/%.c,$(OUT)/o/$(1)/%.o,$(call sources,$(1)))
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(EXTRA) -shared -o $$@ $$^ $$(LIBS_$(1))
endef
$(foreach m,$(LOADED),$(eval $(call LOADED_RULES,$m)))

$(SSH2)/lib/libssh2.a: vendor/libssh2.sh
	sh vendor/libssh2.sh $(SSH2)

# All Lua in the binary, as text and compiled.
$(OUT)/o/lua_files.S: $(LUA) $(ARGPARSE) src/embed.lua Makefile
	@mkdir -p $(@D)
	lua5.4 src/embed.lua $@ $(LUA) $(ARGPARSE)

$(OUT)/o/lua_files.o: $(OUT)/o/lua_files.S
	$(CC) -c -o $@ $<

test: all ## the tests that need no lab
	TZ=UTC $(NEAP) test $(or $(T),$(wildcard tests/native tests/engine tests/targets tests/cli tests/*_test.lua))

deps: ## install what vendor/ declares (root or sudo), once
	@vendor/install.sh
	@$(MAKE) --no-print-directory $(SSH2)/lib/libssh2.a
	@vendor/crossplane.sh $(BUILD)/vendor/python
	@vendor/moto.sh $(BUILD)/vendor/moto
	@vendor/salt.sh $(BUILD)/vendor/salt

demo: deps ## see it work: plan, run, kill, resume, rollback on real servers
	@$(MAKE) --no-print-directory all $(BUILD)/client
	@tests/lab/demo.sh

lab-test: all fault $(BUILD)/client ## the tests against real servers, of the lab's set SET=encode; it stays up as LAB=SET
	LAB=$(SET) tests/lab/lab up $(SET)
	LAB=$(SET) tests/lab/lab run $(NEAP) test $(or $(T),$(if $(filter encode,$(SET)),$(wildcard tests/lab/*_test.lua),tests/lab/$(SET)))

soak: export NEAP_SOAK = 1
soak: export NEAP_SEED := $(or $(NEAP_SEED),$(shell date +%s))
soak: ## all sets of the lab at full length: every fail point on real servers; for SECONDS (600) the simulator, each parser
	@echo "chance begins at NEAP_SEED=$$NEAP_SEED"
	for set in $(notdir $(wildcard tests/lab/sets/*)); do $(MAKE) lab-test SET=$$set || exit; done
	LONG=$(or $(SECONDS),600) tests/sim/run.sh
	$(MAKE) fuzz SECONDS=$(or $(SECONDS),600)

bench: all ## speed beside other tools, as ratios; QUICK=1 fewer samples, BENCH_PEERS=1 installs peers
	tests/bench/bench.py

doc: all ## the manual as man pages and pages of a site, in build/doc
	vendor/dist/manual.sh $(NEAP) $(BUILD)/doc

deb: doc ## a Debian package and a tarball, in build/dist
	vendor/dist/package.sh $(BUILD) $(BUILD)/dist

sim: all ## the simulator: N=schedules, or SEED=n to show one
	tests/sim/run.sh

fuzz: ## the parsers, by libFuzzer: T=target, SECONDS=5 each
	@$(MAKE) --no-print-directory FUZZ=1 $(BUILD)/fuzz/fuzz
	FUZZ_SECONDS=$(or $(SECONDS),5) tests/fuzz/run.sh $(T)

lint: ## the linters alone
	tests/check.sh lint

check: deps ## all the set-up, every test
	tests/check.sh $(SUITES)

$(BUILD)/client: tests/lab/client.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(WARN) -D_GNU_SOURCE -o $@ $<

fault: ## build/fault/neap, with fail points
	$(MAKE) FAULTS=1

clean: ## remove what was built
	rm -rf $(BUILD)

-include $(OBJECTS:.o=.d) $(foreach m,$(LOADED),$(patsubst src/%.c,$(OUT)/o/$m/%.d,$(call sources,$m)))
