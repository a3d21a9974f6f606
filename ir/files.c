/* Files: the one place through which the compiler reads, and small outputs. See ir/base.h. */
#include "ir/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t reads_left; /* 0: no failure is planned */

void file_fail_after(uint64_t n) {
  reads_left = n;
}

static bool failure_is_due(void) {
  if (!reads_left || --reads_left) return false;
  errno = EIO;
  return true;
}

/* Opens a regular file. O_NONBLOCK keeps a FIFO from blocking the open; fstat then refuses it. */
static Status open_regular(Diag *d, const char *path, int *out_fd, uint64_t *out_size) {
  int fd = failure_is_due() ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return diag_error(d, path, "cannot be opened: %s", strerror(errno));
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    const char *what = S_ISDIR(st.st_mode) ? "is a folder" : "is not a regular file";
    close(fd);
    return diag_error(d, path, "%s (expected a file)", what);
  }
  *out_fd = fd;
  *out_size = (uint64_t)st.st_size;
  return OK;
}

Status file_map(Arena *a, Diag *d, const char *path, MappedFile *out) {
  int fd;
  uint64_t size;
  *out = (MappedFile){0};
  TRY(open_regular(d, path, &fd, &size));
  void *data = NULL;
  if (size) {
    data = failure_is_due() ? MAP_FAILED : mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      int error = errno;
      close(fd);
      return diag_error(d, path, "cannot be mapped: %s", strerror(error));
    }
  }
  close(fd);
  *out = (MappedFile){arena_strdup(a, path), data, size};
  return OK;
}

void file_unmap(MappedFile *f) {
  if (f->data) munmap((void *)(uintptr_t)f->data, f->size);
  f->data = NULL;
  f->size = 0;
}

void file_release(const void *data, uint64_t size) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  uintptr_t lo = ((uintptr_t)data + page - 1) & -page, hi = ((uintptr_t)data + size) & -page;
  if (lo < hi) madvise((void *)lo, hi - lo, MADV_DONTNEED);
}

Status file_read(Arena *a, Diag *d, const char *path, uint64_t max, char **out, size_t *out_size) {
  int fd;
  uint64_t size;
  TRY(open_regular(d, path, &fd, &size));
  if (size > max) {
    close(fd);
    return diag_error(d, path, "is too large: %llu bytes (expected at most %llu)",
                      (unsigned long long)size, (unsigned long long)max);
  }
  char *data = arena_alloc(a, size + 1);
  size_t done = 0;
  while (done < size) {
    ssize_t n = failure_is_due() ? -1 : read(fd, data + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const char *why = n < 0 ? strerror(errno) : "it ended early";
      close(fd);
      return diag_error(d, path, "cannot be read: %s", why);
    }
    done += (size_t)n;
  }
  close(fd);
  *out = data;
  *out_size = size;
  return OK;
}

bool file_exists(const char *path) {
  return access(path, F_OK) == 0;
}

char *path_name(Arena *a, const char *path) {
  size_t n = strlen(path);
  while (n > 1 && path[n - 1] == '/') n--;
  size_t start = n;
  while (start && path[start - 1] != '/') start--;
  char *name = arena_strndup(a, path + start, n - start);
  if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) return name;
  char *whole = realpath(path, NULL);
  if (whole) name = arena_strdup(a, strrchr(whole, '/') + 1);
  free(whole);
  return name;
}

static bool write_all(FILE *f, const void *data, size_t size) {
  return fwrite(data, 1, size, f) == size && fflush(f) == 0;
}

/* Writes, sets the mode and renames; errno says why on false. */
static bool write_renamed(const char *temporary, const char *path, const void *data, size_t size,
                          unsigned mode) {
  FILE *f = fopen(temporary, "wb");
  if (!f) return false;
  bool good = write_all(f, data, size) && fchmod(fileno(f), mode) == 0;
  int error = errno;
  if (fclose(f) != 0 && good) {
    good = false;
    error = errno;
  }
  if (good && rename(temporary, path) == 0) return true;
  if (good) error = errno;
  unlink(temporary);
  errno = error;
  return false;
}

Status file_write(Diag *d, const char *path, const void *data, size_t size, unsigned mode) {
  if (!path || strcmp(path, "-") == 0) {
    if (write_all(stdout, data, size)) return OK;
    return diag_error(d, "stdout", "cannot be written: %s", strerror(errno));
  }
  Buf name = {0};
  buf_printf(&name, "%s.%ld.tmp", path, (long)getpid());
  bool good = write_renamed(name.data, path, data, size, mode);
  int error = errno;
  buf_free(&name);
  return good ? OK : diag_error(d, path, "cannot be written: %s", strerror(error));
}
