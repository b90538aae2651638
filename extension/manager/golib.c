/*-------------------------------------------------------------------------
 * manager/golib.c
 *		Loads the Go library into the manager, so that both keep their signals.
 *
 * NOTES
 *		The only file that knows the library's name.  The order of steps is
 *		not a matter of taste; docs/architecture.md says what breaks without
 *		each.  In short: Go's threads are born with every signal blocked, so a
 *		signal to the process can only go to the main thread; PostgreSQL gets
 *		its handlers back; Go keeps those of its own faults; and the abort that
 *		ends a dying Go runtime is caught on the thread that dies.
 *
 *		bdr_go_start_version and bdr_go_stop run on threads of this file.  If Go dies
 *		in them, the main thread is not in Go and can end the process.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "base/settings.h"
#include "manager/golib.h"
#include "bdr_protocol.h"

#define GO_LIBRARY		"bdr_go" DLSUFFIX
#define START_MS_MAX	10000	/* until Go's runtime is up */
#define SIGNALS			32		/* real-time signals have no handlers here */

static BdrGoConfig *go_config;
static BdrGoError go_error;
static bdr_go_start_fn go_start;
static bdr_go_stop_fn go_stop;
static int	go_grace_ms;
static int	event_fd = -1;		/* the state changed */
static int	dead_fd = -1;		/* Go died */
static pthread_t main_thread;
static volatile int go_state = BDR_GO_STARTING;

static int	make_event(void);
static void load_library(void);
static void beside_ourselves(char *path);
static void *find_symbol(void *library, const char *name);
static void run_thread(void *(*body) (void *));
static void *start_thread(void *arg);
static void *stop_thread(void *arg);
static void set_state(BdrGoState state);
static void wait_for_runtime(int talk_fd);
static void restore_handlers(const struct sigaction *saved);
static void handle_abort(int signo);
static void raise_event(int fd);

void
bdr_golib_start(BdrGoConfig *config, int talk_fd)
{
	struct sigaction saved[SIGNALS];
	sigset_t	everything;
	sigset_t	before;

	go_config = config;
	event_fd = make_event();
	dead_fd = config->dead_fd = make_event();
	main_thread = pthread_self();

	for (int i = 1; i < SIGNALS; i++)
		sigaction(i, NULL, &saved[i]);
	sigfillset(&everything);
	pthread_sigmask(SIG_SETMASK, &everything, &before);
	PG_TRY();
	{
		load_library();
		run_thread(start_thread);
		wait_for_runtime(talk_fd);
	}
	PG_FINALLY();
	{
		restore_handlers(saved);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	PG_END_TRY();
}

void
bdr_golib_stop(int grace_ms)
{
	sigset_t	everything;
	sigset_t	before;

	if (go_state != BDR_GO_RUNNING || bdr_golib_died())
		return;
	go_state = BDR_GO_STOPPING;
	go_grace_ms = grace_ms;
	sigfillset(&everything);
	pthread_sigmask(SIG_SETMASK, &everything, &before);
	run_thread(stop_thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int
bdr_golib_event_fd(void)
{
	return event_fd;
}

int
bdr_golib_dead_fd(void)
{
	return dead_fd;
}

void
bdr_golib_clear_event(void)
{
	uint64		count;

	/* Not being readable is no error: somebody cleared it before. */
	if (read(event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN && errno != EINTR)
		elog(FATAL, "could not read from eventfd: %m");
}

BdrGoState
bdr_golib_state(void)
{
	return (BdrGoState) go_state;
}

const char *
bdr_golib_error(void)
{
	return go_error.message;
}

bool
bdr_golib_died(void)
{
	struct pollfd fds = {.fd = dead_fd,.events = POLLIN};

	return dead_fd >= 0 && poll(&fds, 1, 0) > 0;
}

static int
make_event(void)
{
	int			fd;

	if (!AcquireExternalFD() || (fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not make an eventfd: %m")));
	return fd;
}

/* Every signal is blocked here. */
static void
load_library(void)
{
	char		path[MAXPGPATH];
	void	   *library;

	if (bdr_debug_go_library[0] != '\0')
		strlcpy(path, bdr_debug_go_library, sizeof(path));
	else
		beside_ourselves(path);
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("could not load library \"%s\"", path),
				 errdetail_internal("%s", dlerror()),
				 errhint("Install all files of one build of bdr.")));
	go_start = (bdr_go_start_fn) (uintptr_t) find_symbol(library, BDR_GO_START);
	go_stop = (bdr_go_stop_fn) (uintptr_t) find_symbol(library, "bdr_go_stop");
}

/*
 * The Go library is where bdr.so was found, which dynamic_library_path decides;
 * pkglib_path if the loader cannot tell.
 */
static void
beside_ourselves(char *path)
{
	Dl_info		info;
	char		folder[MAXPGPATH];

	strlcpy(folder, pkglib_path, sizeof(folder));
	if (dladdr((const void *) &go_config, &info) != 0 && info.dli_fname != NULL && is_absolute_path(info.dli_fname))
	{
		strlcpy(folder, info.dli_fname, sizeof(folder));
		get_parent_directory(folder);
	}
	snprintf(path, MAXPGPATH, "%s/%s", folder, GO_LIBRARY);
}

static void *
find_symbol(void *library, const char *name)
{
	void	   *symbol = dlsym(library, name);

	if (symbol == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("could not find function \"%s\" in \"%s\"", name, GO_LIBRARY),
				 errhint("Install all files of one build of bdr.")));
	return symbol;
}

/* The thread inherits a full signal mask from the caller. */
static void
run_thread(void *(*body) (void *))
{
	pthread_t	thread;
	int			error = pthread_create(&thread, NULL, body, NULL);

	if (error != 0)
	{
		errno = error;
		elog(ERROR, "could not start a thread: %m");
	}
	pthread_detach(thread);
}

static void *
start_thread(void *arg)
{
	set_state(go_start(BDR_SOCKET_VERSION, go_config, &go_error) == 0 ? BDR_GO_RUNNING : BDR_GO_FAILED);
	return NULL;
}

static void *
stop_thread(void *arg)
{
	go_stop(go_grace_ms);
	set_state(BDR_GO_STOPPED);
	return NULL;
}

static void
set_state(BdrGoState state)
{
	__atomic_store_n(&go_state, state, __ATOMIC_SEQ_CST);
	raise_event(event_fd);
}

/*
 * Waits until Go has taken over the signal handlers it wants, so that taking
 * them back is the last word.
 *
 * That is so when the start is complete, or earlier when Go has begun to talk
 * to the main thread.  Signals are blocked; the time limit guards against a
 * runtime that hangs.
 */
static void
wait_for_runtime(int talk_fd)
{
	struct pollfd fds[] = {
		{.fd = event_fd, .events = POLLIN},
		{.fd = dead_fd, .events = POLLIN},
		{.fd = talk_fd, .events = POLLIN},
	};
	int			n;

	do
		n = poll(fds, lengthof(fds), START_MS_MAX);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("the Go part of the bdr manager did not start within %d s", START_MS_MAX / 1000)));
}

/*
 * Go keeps the faults it turns into panics.  The abort handler runs on Go's
 * alternate stack, with everything blocked.
 */
static void
restore_handlers(const struct sigaction *saved)
{
	struct sigaction abort_action = {.sa_handler = handle_abort,.sa_flags = SA_ONSTACK | SA_NODEFER};

	for (int i = 1; i < SIGNALS; i++)
		if (i != SIGSEGV && i != SIGBUS && i != SIGFPE && i != SIGKILL && i != SIGSTOP)
			sigaction(i, &saved[i], NULL);
	sigfillset(&abort_action.sa_mask);
	sigaction(SIGABRT, &abort_action, NULL);
}

/*
 * A dying Go runtime aborts on the thread that dies: keep that thread here and
 * let the main thread end the process in good order.  The signal gets it out of
 * a statement.  An abort of the main thread is PostgreSQL's own.
 */
static void
handle_abort(int signo)
{
	if (!pthread_equal(pthread_self(), main_thread))
	{
		raise_event(dead_fd);
		kill(getpid(), SIGTERM);
		for (;;)
			pause();
	}
	signal(SIGABRT, SIG_DFL);
	raise(SIGABRT);
}

/* Async-signal-safe. */
static void
raise_event(int fd)
{
	const uint64 one = 1;
	ssize_t		written = write(fd, &one, sizeof(one));

	/* An eventfd whose counter is full is readable already. */
	(void) written;
}
