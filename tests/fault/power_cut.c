/* A disk that forgets at a power cut what was not synced: preloaded into the daemon (LD_PRELOAD).
 *
 *     BW_DISK_OF    the region's folder; all in it but the HSM's tokens is on this disk
 *     BW_DISK       the folder that stands for the disk's platters: what has been synced, under the same names
 *     BW_LOWERED    set: each audit database that opens gets PRAGMA synchronous = NORMAL, after it was checked for FULL
 *
 * Writes and truncations are remembered and go to the platters when the file is synced, as a whole; a removed file leaves
 * them when a folder is synced. After a cut, which is SIGKILL, the platters are all there is: power_cut.sh puts them back.
 * Memory maps are not followed: SQLite maps only what it makes anew after a cut. A synced file's name is on the platters too,
 * as ext4 has it. The real syncs are left out: the machine itself does not fail. */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MAX = 64, DESCRIPTORS_MAX = 4096, DISK_MODE = 0600 };

/* What the disk may yet forget. */
struct change {
    struct change *next;
    off_t          at;
    bool           truncates; /* to at */
    size_t         len;
    char           bytes[];
};

struct file {
    char            name[PATH_MAX]; /* empty: the row is free */
    struct change  *first, **last;
    bool            is_removed;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over all of this; held while the platters are written */
static struct file     files[FILES_MAX];
static struct file    *opened[DESCRIPTORS_MAX];

/* A function of the C library behind one of these. */
static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (found == NULL)
        abort();
    return found;
}

#define REAL(name) ((__typeof__(&name))real(#name))

/* ---- what is remembered ---- */

static void forget(struct file *file)
{
    for (struct change *change = file->first, *next; change != NULL; change = next) {
        next = change->next;
        free(change);
    }
    file->first = NULL;
    file->last  = &file->first;
}

static void remember(struct file *file, bool truncates, off_t at, const void *bytes, size_t len)
{
    struct change *change = malloc(sizeof *change + len);

    if (change == NULL)
        abort();
    *change = (struct change){ .at = at, .truncates = truncates, .len = len };
    if (len > 0)
        memcpy(change->bytes, bytes, len);
    *file->last = change;
    file->last  = &change->next;
}

static struct file *file_of(const char *name)
{
    struct file *vacant = NULL;

    for (size_t i = 0; i < FILES_MAX; i++) {
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
        if (files[i].name[0] == '\0')
            vacant = &files[i];
    }
    if (vacant == NULL || strlen(name) >= sizeof vacant->name)
        abort();
    memcpy(vacant->name, name, strlen(name) + 1);
    forget(vacant);
    return vacant;
}

/* ---- the platters ---- */

static void disk_name(const struct file *file, char ret_name[static PATH_MAX])
{
    if (snprintf(ret_name, PATH_MAX, "%s/%s", getenv("BW_DISK"), file->name + strlen(getenv("BW_DISK_OF"))) >= PATH_MAX)
        abort();
}

static void put(int disk, const struct change *change)
{
    bool good = change->truncates ? REAL(ftruncate)(disk, change->at) == 0
                                  : REAL(pwrite)(disk, change->bytes, change->len, change->at) == (ssize_t)change->len;
    if (!good)
        abort();
}

static void sync_file(struct file *file)
{
    char name[PATH_MAX];

    disk_name(file, name);
    int disk = REAL(open)(name, O_WRONLY | O_CREAT | O_CLOEXEC, DISK_MODE);
    if (disk < 0)
        abort();
    for (const struct change *change = file->first; change != NULL; change = change->next)
        put(disk, change);
    (void)REAL(close)(disk);
    forget(file);
}

static void sync_names(void)
{
    char name[PATH_MAX];

    for (size_t i = 0; i < FILES_MAX; i++) {
        if (!files[i].is_removed)
            continue;
        disk_name(&files[i], name);
        (void)REAL(unlink)(name); /* it need not have been there */
        files[i].is_removed = false;
    }
}

static int sync_descriptor(int fd)
{
    struct stat about;

    if (fd < 0 || fd >= DESCRIPTORS_MAX || fstat(fd, &about) != 0)
        return -1;
    (void)pthread_mutex_lock(&lock);
    if (opened[fd] != NULL)
        sync_file(opened[fd]);
    else if (S_ISDIR(about.st_mode))
        sync_names();
    (void)pthread_mutex_unlock(&lock);
    return 0;
}

/* ---- in front of the C library, seen by all ---- */

static bool is_on_disk(const char *path)
{
    size_t len = strlen(getenv("BW_DISK_OF"));

    return strncmp(path, getenv("BW_DISK_OF"), len) == 0 && strncmp(path + len, "/tokens/", 8) != 0;
}

static void note_opened(int fd, const char *path, int flags)
{
    if (fd < 0 || (flags & O_ACCMODE) == O_RDONLY || !is_on_disk(path))
        return;
    if (fd >= DESCRIPTORS_MAX)
        abort();
    (void)pthread_mutex_lock(&lock);
    struct file *file = opened[fd] = file_of(path);
    if (file->is_removed || (flags & O_TRUNC) != 0)
        remember(file, true, 0, NULL, 0);
    file->is_removed = false;
    (void)pthread_mutex_unlock(&lock);
}

#pragma GCC visibility push(default)

int open(const char *path, int flags, ...)
{
    va_list more;

    va_start(more, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
    va_end(more);
    int fd = REAL(open)(path, flags, mode);
    note_opened(fd, path, flags);
    return fd;
}

int close(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS_MAX) {
        (void)pthread_mutex_lock(&lock);
        opened[fd] = NULL;
        (void)pthread_mutex_unlock(&lock);
    }
    return REAL(close)(fd);
}

/* done: how much the C library has written; what it has not is no change. */
static ssize_t note_written(int fd, const void *bytes, ssize_t done, off_t at)
{
    if (fd >= 0 && fd < DESCRIPTORS_MAX && opened[fd] != NULL && done > 0) {
        (void)pthread_mutex_lock(&lock);
        remember(opened[fd], false, at, bytes, (size_t)done);
        (void)pthread_mutex_unlock(&lock);
    }
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    return note_written(fd, bytes, REAL(pwrite)(fd, bytes, len, at), at);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    off_t at = fd >= 0 && fd < DESCRIPTORS_MAX && opened[fd] != NULL ? lseek(fd, 0, SEEK_CUR) : 0;
    return note_written(fd, bytes, REAL(write)(fd, bytes, len), at);
}

int ftruncate(int fd, off_t len)
{
    int done = REAL(ftruncate)(fd, len);

    if (done == 0 && fd < DESCRIPTORS_MAX && opened[fd] != NULL) {
        (void)pthread_mutex_lock(&lock);
        remember(opened[fd], true, len, NULL, 0);
        (void)pthread_mutex_unlock(&lock);
    }
    return done;
}

int unlink(const char *path)
{
    int done = REAL(unlink)(path);

    if (done == 0 && is_on_disk(path)) {
        (void)pthread_mutex_lock(&lock);
        struct file *file = file_of(path);
        forget(file);
        file->is_removed = true;
        (void)pthread_mutex_unlock(&lock);
    }
    return done;
}

int fsync(int fd)
{
    return sync_descriptor(fd);
}

int fdatasync(int fd)
{
    return sync_descriptor(fd);
}

/* What SQLite calls: the same on a 64-bit machine. */
int     open64(const char *, int, ...)                __attribute__((alias("open")));
ssize_t pwrite64(int, const void *, size_t, off64_t)  __attribute__((alias("pwrite")));
int     ftruncate64(int, off64_t)                     __attribute__((alias("ftruncate")));

/* ---- the lowered audit ---- */

/* The last that the daemon does to an audit database when it opens it, and to no other. Without a hook it is SQLite's own. */
void *sqlite3_wal_hook(sqlite3 *db, int (*hook)(void *, sqlite3 *, const char *, int), void *self)
{
    if (getenv("BW_LOWERED") != NULL && hook != NULL && sqlite3_exec(db, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL) != SQLITE_OK)
        abort();
    return REAL(sqlite3_wal_hook)(db, hook, self);
}
