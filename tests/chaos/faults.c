// What a test preloads under a run: a clock that jumps, and a file system that is slow.
//   FAULT_CLOCK  the wall clock jumps by so many seconds, forwards and back again, every half a second
//   FAULT_SLOW   milliseconds that each opening, renaming, making, removing and syncing of a file takes
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static long number(const char *name) {
  const char *text = getenv(name);
  return text ? atol(text) : 0;
}

static void slowly(void) {
  long ms = number("FAULT_SLOW");
  struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
  if (ms) nanosleep(&wait, NULL);
}

int clock_gettime(clockid_t id, struct timespec *now) {
  static __typeof__(&clock_gettime) real;
  if (!real) real = REAL(clock_gettime);
  int code = real(id, now);
  if (id == CLOCK_REALTIME && now->tv_nsec < 500000000) now->tv_sec += number("FAULT_CLOCK");
  return code;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  now->tv_sec = at.tv_sec, now->tv_usec = at.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *into) {
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  if (into) *into = at.tv_sec;
  return at.tv_sec;
}

#define OPEN(name)                              \
  int name(const char *path, int flags, ...) {  \
    va_list list;                               \
    va_start(list, flags);                      \
    mode_t mode = va_arg(list, mode_t);         \
    va_end(list);                               \
    if (flags & O_CREAT) slowly();              \
    return REAL(name)(path, flags, mode);       \
  }
OPEN(open)
OPEN(open64)

int rename(const char *from, const char *to) { return slowly(), REAL(rename)(from, to); }
int mkdir(const char *path, mode_t mode) { return slowly(), REAL(mkdir)(path, mode); }
int unlink(const char *path) { return slowly(), REAL(unlink)(path); }
int fsync(int file) { return slowly(), REAL(fsync)(file); }
int fdatasync(int file) { return slowly(), REAL(fdatasync)(file); }
