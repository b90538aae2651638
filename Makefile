#-------------------------------------------------------------------------
# Makefile
#		Builds three modules and the scripts; `make help` lists the targets.
#
# NOTES
#		bdr.so         the extension: workers, SQL functions, hooks
#		bdr_output.so  the output plugin and nothing else
#		bdr_go.so      the Go part, loaded by the manager only
#		bdr_test.so, bdr_go_test.so    what only tests use; they build it
#		V=1 shows the commands.  PG_CONFIG picks the server.
#-------------------------------------------------------------------------
BDR_VERSION = 0.2.0
# From these ALTER EXTENSION bdr UPDATE leads to it; their scripts never change.
BDR_RELEASED = 0.1.0

EXTENSION = bdr
MODULE_big = bdr
# One folder is one layer; house_test.go has the arrows between them.
LAYERS = base version row conflict ddl apply rebuild session session/sequence session/ddl session/lock manager
objects = $(patsubst %.c,%.o,$(sort $(wildcard $(1))))
SHARED_OBJS = extension/base/tables.o extension/base/form.o extension/base/row_filter.o
OUTPUT_OBJS = $(call objects,extension/output/*.c)
TEST_OBJS = $(call objects,extension/test/*.c)
OBJS = $(call objects,extension/*.c $(patsubst %,extension/%/*.c,$(LAYERS)))
LAYER_HEADERS = $(wildcard include/*.h extension/*/*.h extension/*/*/*.h)
PIECES = $(sort $(wildcard sql/[0-9]*.sql))
UPDATES = $(patsubst %,bdr--%--$(BDR_VERSION).sql,$(BDR_RELEASED))
DATA = $(patsubst %,sql/released/bdr--%.sql,$(BDR_RELEASED))
DATA_built = bdr--$(BDR_VERSION).sql $(UPDATES)
SCRIPTS_built = bdr_pg_upgrade
PG_CPPFLAGS = -I$(srcdir)/include -I$(srcdir)/extension
# Headers of PostgreSQL 15 have functions without a list of arguments, which C23 reads as one that is empty.
PG_CFLAGS = -std=gnu17 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
# What a file calls is ours, whatever other modules of the server are named.
SHLIB_LINK = -Wl,-Bsymbolic-functions
EXTRA_CLEAN = $(OUTPUT_OBJS) $(TEST_OBJS) bdr_output$(DLSUFFIX) bdr_test$(DLSUFFIX) bdr_go$(DLSUFFIX) bdr_go.h bdr_go_test$(DLSUFFIX) bdr_go_test.h

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2> /dev/null)
# These do without, or install it first.
WITHOUT_SERVER = help setup test demo demo-stop bench soak installcheck check-cluster check-assert check-mixed core-regress check-go fmt lint
ifeq ($(PGXS),)
ifneq ($(filter-out $(WITHOUT_SERVER),$(or $(MAKECMDGOALS),all)),)
$(error $(PG_CONFIG) was not found: run "make setup", or set PG_CONFIG)
endif
endif
# Bitcode would serve only inlining into queries; nothing of ours is.
override with_llvm = no
# PostgreSQL 16 and later would hide what bdr_test.so calls.
override CFLAGS_SL_MODULE =
include $(PGXS)

GO ?= go
GO_LDFLAGS = -X runtime.godebugDefault=asyncpreemptoff=1
GO_TAGS = netgo,osusergo
GO_BUILD = GOFLAGS=-buildvcs=false $(GO) build -buildmode=c-shared -tags $(GO_TAGS) -trimpath -ldflags "$(GO_LDFLAGS)"
GO_SOURCES = $(shell find gosrc -name '*.go' ! -name '*_test.go') go.mod go.sum include/bdr_boundary.h

ifndef V
.SILENT:
endif

all: bdr_output$(DLSUFFIX) bdr_go$(DLSUFFIX)

$(OBJS) $(OUTPUT_OBJS) $(TEST_OBJS): $(LAYER_HEADERS)

bdr_output$(DLSUFFIX): $(OUTPUT_OBJS) $(SHARED_OBJS)
	$(CC) $(CFLAGS) $(OUTPUT_OBJS) $(SHARED_OBJS) $(LDFLAGS) $(LDFLAGS_SL) $(SHLIB_LINK) -shared -o $@

# What tests call, in a server that has loaded bdr.so; never installed.
bdr_test$(DLSUFFIX): $(TEST_OBJS)
	$(CC) $(CFLAGS) $(TEST_OBJS) $(LDFLAGS) $(LDFLAGS_SL) -shared -o $@

# cgo writes a header beside the library; nothing of ours reads it.
bdr_go$(DLSUFFIX): $(GO_SOURCES)
	$(GO_BUILD) -o $@ ./gosrc/bdrgo
	rm -f bdr_go.h

# The same with faults that tests ask for; never installed.
bdr_go_test$(DLSUFFIX): GO_TAGS := $(GO_TAGS),faults
bdr_go_test$(DLSUFFIX): $(GO_SOURCES)
	$(GO_BUILD) -o $@ ./gosrc/bdrgo
	rm -f bdr_go_test.h

bdr--$(BDR_VERSION).sql: $(PIECES)
	cat $^ > $@

# What is new in the pieces; the decision 0021 says how.
$(UPDATES): bdr--%--$(BDR_VERSION).sql: sql/update.awk sql/updates/bdr--%--$(BDR_VERSION).sql sql/released/bdr--%.sql $(PIECES)
	awk -f $^ > $@ || { rm -f $@; exit 1; }

bdr_pg_upgrade: extension/bdr_pg_upgrade.sh
	cp $< $@

# install(1) replaces a file, so running servers keep the one they mapped.
install: install-modules
install-modules: all installdirs
	$(INSTALL_SHLIB) bdr_output$(DLSUFFIX) bdr_go$(DLSUFFIX) '$(DESTDIR)$(pkglibdir)/'

uninstall: uninstall-modules
uninstall-modules:
	rm -f '$(DESTDIR)$(pkglibdir)/bdr_output$(DLSUFFIX)' '$(DESTDIR)$(pkglibdir)/bdr_go$(DLSUFFIX)'

help:
	@echo 'make                 build bdr.so, bdr_output.so, bdr_go.so (V=1: show commands)'
	@echo 'make install         install them into the server of PG_CONFIG'
	@echo 'make setup           install what building and testing needs (apt)'
	@echo 'make demo            three nodes on loopback; make demo-stop ends them'
	@echo 'make test            all tests but check-assert and soak, on a fresh checkout too'
	@echo '                     PG=17, PG=18: on that PostgreSQL, in a root of its own; PG=all: on each'
	@echo 'make check-go        Go: vet and unit tests, race detector on'
	@echo 'make installcheck    one server: regression and isolation tests'
	@echo 'make check-cluster   several servers'
	@echo 'make check-assert    the same for what applies rows, on a server with assertions (built once)'
	@echo 'make check-mixed     servers of 15, 17 and 18 in one cluster, and upgrades from one to the next'
	@echo 'make core-regress    the suite of PostgreSQL on one node of two: PG_SOURCE=source of the server, installed first'
	@echo 'make bench           against native logical replication (REPEATS, SCALE, WORKLOADS, VARIANTS); PG=17, PG=18'
	@echo 'make soak            hours that make test leaves out: SOAK="model cluster", SCHEDULES=100000 of each'
	@echo '                     kind in the conflict model, BDR_SOAK_ROWS=5000000, BDR_SOAK_MINUTES=30,'
	@echo '                     BDR_SOAK_SCHEDULES=1000, BDR_SOAK_STORMS=50 of each kind, BDR_SEED for one of chaos and joins'
	@echo 'make fmt | lint      layout; static checks'
	@echo 'make clean | uninstall'

fmt:
	gofmt -w gosrc regress $(wildcard *.go)
	if command -v pgindent >/dev/null; then pgindent extension include; fi

lint:
	test -z "$$(gofmt -l gosrc regress $(wildcard *.go))" || { gofmt -l gosrc regress $(wildcard *.go); exit 1; }
	GOFLAGS=-buildvcs=false $(GO) vet ./...
	GOFLAGS=-buildvcs=false $(GO) vet -tags soak,faults ./gosrc/manager ./regress/cluster/...
	if command -v golangci-lint >/dev/null; then golangci-lint run; fi
	! grep -nE ' +$$|^ +[^ *]' extension/*.c extension/*/*.c extension/*/*/*.c $(LAYER_HEADERS)
	! grep -nE '^ *# *(if|elif).*PG_VERSION_NUM' extension/*.c extension/*/*.c extension/*/*/*.c $(filter-out include/bdr_compat.h,$(LAYER_HEADERS))

check-go:
	GOFLAGS=-buildvcs=false $(GO) vet ./gosrc/... ./regress/bench .
	GOFLAGS=-buildvcs=false $(GO) test -race ./gosrc/... ./regress/bench .

# On the server of PG_CONFIG, or on those of other majors that PG names.
installcheck check-cluster test: %:
	$(foreach major,$(or $(subst all,15 17 18,$(PG)),15),$(if $(filter 15,$(major)), \
		PG_CONFIG='$(PG_CONFIG)' regress/run-tests.sh,regress/major.sh $(major)) $(filter-out test,$@) &&) true

check-assert soak: %:
	PG_CONFIG='$(PG_CONFIG)' regress/run-tests.sh $@

check-mixed:
	regress/major.sh mixed

# PostgreSQL's own suite on one node of two (docs/core-regress.md); SKIP=1 goes on behind
# whatever node 2 cannot apply.
CORE_FOLDER = $(CURDIR)/tmp_check/core-regress
core-regress:
	test -f '$(PG_SOURCE)/src/test/regress/parallel_schedule' || { \
		echo 'PG_SOURCE must be the source of the server of PG_CONFIG, for example:'; \
		echo '  apt-get source postgresql-15 && make core-regress PG_SOURCE=$$PWD/postgresql-15-15.18'; \
		echo 'apt-get source needs a deb-src line; https://ftp.postgresql.org/pub/source has the same.'; exit 1; }
	mkdir -p '$(CORE_FOLDER)'
	BDR_CORE_SOURCE='$(abspath $(PG_SOURCE))' BDR_CORE_FOLDER='$(CORE_FOLDER)' BDR_CORE_SKIP='$(SKIP)' PG_CONFIG='$(PG_CONFIG)' GOFLAGS=-buildvcs=false \
		$(GO) test -count=1 -timeout 60m -v -run '^TestCoreRegress$$' ./regress/core

# Of another major it prints the results, and writes no page.
bench:
	$(if $(PG),regress/major.sh $(PG) bench,PG_CONFIG='$(PG_CONFIG)' regress/bench.sh)

setup:
	PG_CONFIG='$(PG_CONFIG)' regress/setup.sh

demo:
	PG_CONFIG='$(PG_CONFIG)' regress/demo.sh start

demo-stop:
	PG_CONFIG='$(PG_CONFIG)' regress/demo.sh stop

.PHONY: help fmt lint check-go installcheck check-cluster check-assert check-mixed core-regress test bench soak setup demo demo-stop install-modules uninstall-modules
