/* Streams by plain read and write: see io.h. The one mutable global of the program is the flag that
 * the signal handler sets.
 */
#include "runtime/core/io.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile int interrupted;
static const int ends[] = {SIGINT, SIGTERM, SIGHUP}; /* the signals that end the program */

static void on_interrupt(int sig) {
  if (interrupted) _exit(128 + sig); /* the second Ctrl-C does not wait for anything */
  interrupted = sig;
}

void io_setup(void) {
  struct sigaction ignore = {.sa_handler = SIG_IGN}, stop = {.sa_handler = on_interrupt}, old;
  sigaction(SIGPIPE, &ignore, NULL);
  sigaction(SIGXFSZ, &ignore, NULL); /* a file-size limit is a failed write */
  /* a shell starts background jobs with SIGINT ignored, and that must stay */
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
    if (sigaction(ends[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
      sigaction(ends[i], &stop, NULL);
}

const volatile int *io_interrupted(void) {
  return &interrupted;
}

void io_clear_interrupt(void) {
  if (interrupted == SIGINT) interrupted = 0;
}

void io_write(const char *data, size_t n) {
  while (n > 0) {
    ssize_t k = write(STDOUT_FILENO, data, n);
    if (k < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      if (errno == EPIPE || errno == EBADF) exit(0);
      fprintf(stderr, "%s: error: standard output: %s\n", program_invocation_short_name,
              strerror(errno));
      exit(1);
    }
    data += k;
    n -= (size_t)k;
  }
}

void io_flush_out(Out *o) {
  if (o->failed) {
    fprintf(stderr, "%s: error: out of memory\n", program_invocation_short_name);
    exit(1);
  }
  io_write(o->data, o->size);
  o->size = 0;
}

double io_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Waits until standard input can be read; false when a signal came first. The signals are blocked
 * but for the wait itself, so that one that arrives just before it ends it too. */
static bool wait_for_input(void) {
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  sigset_t ends_set, old;
  sigemptyset(&ends_set);
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) sigaddset(&ends_set, ends[i]);
  pthread_sigmask(SIG_BLOCK, &ends_set, &old);
  while (!interrupted && ppoll(&input, 1, NULL, &old) < 0 && errno == EINTR) {
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return !interrupted;
}

/* Appends what one read gives. 1: something, 0: end or interrupted, -1: error. */
static int read_more(Out *o, Err *e) {
  char chunk[1 << 16];
  if (!wait_for_input()) return 0;
  ssize_t k = read(STDIN_FILENO, chunk, sizeof chunk);
  if (k < 0 && errno == EINTR) return 0;
  if (k < 0) return err_set(e, "standard input", "%s", strerror(errno)), -1;
  out_put(o, chunk, (size_t)k);
  if (o->failed) return err_no_memory(e, "standard input"), -1;
  return k > 0;
}

int io_line(LineReader *r, Out *before, const char **line, size_t *n, Err *e) {
  size_t scanned = r->at;
  for (;;) {
    char *from = r->buffer.data ? r->buffer.data + r->at : NULL;
    char *end = r->buffer.size > scanned
                    ? memchr(r->buffer.data + scanned, '\n', r->buffer.size - scanned)
                    : NULL;
    if (end || (r->eof && r->buffer.size > r->at)) {
      *line = from;
      *n = end ? (size_t)(end - from) : r->buffer.size - r->at;
      r->at += *n + (end != NULL);
      return 1;
    }
    if (r->eof) return 0;
    if (r->at) { /* keep only the unfinished line */
      memmove(r->buffer.data, r->buffer.data + r->at, r->buffer.size - r->at);
      r->buffer.size -= r->at;
      r->at = 0;
    }
    scanned = r->buffer.size;
    if (before && before->size) io_flush_out(before);
    int k = read_more(&r->buffer, e);
    if (k < 0) return -1;
    r->eof = k == 0;
    if (interrupted) return 0;
  }
}

bool io_line_ready(const LineReader *r) {
  size_t n = r->buffer.size - r->at;
  return n && (r->eof || memchr(r->buffer.data + r->at, '\n', n));
}

int io_read_all(Out *o, Err *e) {
  int k;
  while ((k = read_more(o, e)) > 0) {
  }
  return k < 0;
}
