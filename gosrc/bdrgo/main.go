// Command bdrgo is bdr_go.so: start and stop of the manager's Go part, for the
// C main thread (include/bdr_boundary.h). It is the only user of "C".
package main

/*
#cgo CFLAGS: -I${SRCDIR}/../../include
#include <stdio.h>
#include <stdlib.h>
#include "bdr_boundary.h"

static inline void
set_error(BdrGoError *error, const char *message)
{
	snprintf(error->message, sizeof(error->message), "%s", message);
}
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"bdr/gosrc/ipc"
	"bdr/gosrc/manager"
	"bdr/gosrc/release"
)

// Limits of the runtime: it shares the machine with PostgreSQL.
const (
	memoryBytesMax = 512 << 20
	processorsMax  = 4
)

var (
	once    sync.Once
	running *manager.Manager
	deadFD  int
)

func main() {}

// bdr_go_start_version starts the manager of one database; once in a process. The
// config is looked at only if the caller is of the same build.
//
//export bdr_go_start_version
func bdr_go_start_version(socketVersion *C.char, config *C.BdrGoConfig, failure *C.BdrGoError) C.int {
	if loaded := C.GoString(socketVersion); loaded != ipc.SocketVersion {
		return fail(failure, errNotRestarted(loaded))
	}
	err := errors.New("the Go part has been started before")
	once.Do(func() { err = start(config) })
	if err == nil {
		return 0
	}
	return fail(failure, err)
}

// bdr_go_start is what the library of 0.1.0 calls.
//
//export bdr_go_start
func bdr_go_start(_ *C.BdrGoConfig, failure *C.BdrGoError) C.int {
	return fail(failure, errNotRestarted(release.First))
}

// errNotRestarted says why the two halves do not fit together.
func errNotRestarted(loaded string) error {
	return fmt.Errorf("the server has loaded bdr %s, and the installed files are of bdr %s: restart the server", loaded, ipc.SocketVersion)
}

func fail(failure *C.BdrGoError, err error) C.int {
	message := C.CString(err.Error())
	defer C.free(unsafe.Pointer(message))
	C.set_error(failure, message)
	return -1
}

// bdr_go_stop returns when the manager has stopped or the time is over.
//
//export bdr_go_stop
func bdr_go_stop(graceMS C.int64_t) {
	if running == nil {
		return
	}
	manager.Guard("stop", func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(graceMS)*time.Millisecond)
		defer cancel()
		running.Stop(ctx)
	})
}

// start sets up the runtime by calls, since it sees no environment: PostgreSQL
// has written its process title over it.
func start(config *C.BdrGoConfig) error {
	debug.SetTraceback("crash")
	debug.SetMemoryLimit(memoryBytesMax)
	runtime.GOMAXPROCS(min(runtime.NumCPU(), processorsMax))
	deadFD = int(config.dead_fd)
	manager.OnDeath(reportDeath)
	cfg := managerConfig(config)
	if err := os.Setenv("HOME", cfg.HomeDirectory); err != nil {
		return fmt.Errorf("set HOME: %w", err)
	}
	return startGuarded(cfg, int(config.main_fd))
}

func managerConfig(config *C.BdrGoConfig) manager.Config {
	return manager.Config{
		RunDirectory:  C.GoString(config.run_directory),
		BinDirectory:  C.GoString(config.bin_directory),
		DataDirectory: C.GoString(config.data_directory),
		HomeDirectory: C.GoString(config.home_directory),
		PassFile:      C.GoString(config.passfile),
		DatabaseName:  C.GoString(config.database_name),
		DatabaseOID:   uint32(config.database_oid),
		ServerVersion: int(config.server_version_num),
	}
}

// startGuarded turns a panic of the start into its error: nothing runs yet
// that could not be thrown away with the process.
func startGuarded(cfg manager.Config, mainFD int) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("panic: %v", reason)
			writeReport("start", reason, debug.Stack())
		}
	}()
	cfg.Main, err = ipc.NewMain(mainFD, manager.Go)
	if err != nil {
		return err
	}
	running, err = manager.Start(cfg)
	return err
}

// reportDeath tells the main thread, which ends the process, and parks.
func reportDeath(name string, reason any, stack []byte) {
	writeReport(name, reason, stack)
	one := uint64(1)
	// The main thread may be far from its loop, in a statement: the signal
	// interrupts that. It can only go there, since Go's threads block it.
	_, writeErr := syscall.Write(deadFD, (*[8]byte)(unsafe.Pointer(&one))[:])
	if killErr := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); writeErr != nil || killErr != nil {
		panic("could not tell the main thread")
	}
	select {}
}

// writeReport writes to the server log, past the logging of PostgreSQL: its
// main thread may be busy. Each line is marked.
func writeReport(name string, reason any, stack []byte) {
	text := fmt.Sprintf("panic in goroutine %q: %v\n%s", name, reason, stack)
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	fmt.Fprintf(os.Stderr, "bdr manager (PID %d): %s\n", os.Getpid(), strings.Join(lines, fmt.Sprintf("\nbdr manager (PID %d): ", os.Getpid())))
}
