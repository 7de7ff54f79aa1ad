#include "fault/fault_vfs.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One write, or truncation, that the disk may yet forget. */
struct change {
    struct change *older;
    sqlite3_int64  offset;
    sqlite3_int64  old_size;  /* of the whole file */
    size_t         old_len, new_len;
    unsigned char *old_bytes, *new_bytes;
    bool           truncates; /* to offset */
};

struct file {
    sqlite3_file   base;
    sqlite3_file  *real;
    const char    *name;      /* lives as long as the file is open */
    struct file   *next;      /* open ones */
    struct change *newest;
};

static sqlite3_vfs    *real_vfs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over everything here, held over each call */
static struct file    *open_files;
static bool            remembers;

static struct { enum fault_call call; unsigned left; int code; bool stays; const char *name; bool failed; } fault;

/* ---- faults ---- */

void fault_vfs_fail(enum fault_call call, unsigned nth, int code, bool stays, const char *name)
{
    (void)pthread_mutex_lock(&lock);
    fault.call   = call;
    fault.left   = nth;
    fault.code   = code;
    fault.stays  = stays;
    fault.name   = name;
    fault.failed = false;
    (void)pthread_mutex_unlock(&lock);
}

void fault_vfs_heal(void)
{
    (void)pthread_mutex_lock(&lock);
    fault.call = FAULT_NONE;
    (void)pthread_mutex_unlock(&lock);
}

bool fault_vfs_has_failed(void)
{
    (void)pthread_mutex_lock(&lock);
    bool failed = fault.failed;
    (void)pthread_mutex_unlock(&lock);
    return failed;
}

/* Holding the lock. */
static int fault_of(enum fault_call call, const char *name)
{
    if (fault.call != call || name == NULL || strstr(name, fault.name) == NULL)
        return SQLITE_OK;
    if (fault.left > 1) {
        fault.left--;
        return SQLITE_OK;
    }
    fault.failed = true;
    if (!fault.stays)
        fault.call = FAULT_NONE;
    return fault.code;
}

/* ---- memory ---- */

static void forget(struct file *file)
{
    while (file->newest != NULL) {
        struct change *older = file->newest->older;
        free(file->newest->old_bytes);
        free(file->newest->new_bytes);
        free(file->newest);
        file->newest = older;
    }
}

static void remember(struct file *file, sqlite3_int64 offset, const void *bytes, size_t len, bool truncates)
{
    struct change *change = calloc(1, sizeof *change);
    sqlite3_int64 end;

    (void)file->real->pMethods->xFileSize(file->real, &change->old_size);
    end = truncates || offset + (sqlite3_int64)len > change->old_size ? change->old_size : offset + (sqlite3_int64)len;
    change->offset    = offset;
    change->truncates = truncates;
    change->old_len   = end > offset ? (size_t)(end - offset) : 0;
    change->old_bytes = malloc(change->old_len + 1);
    change->new_len   = len;
    change->new_bytes = malloc(len + 1);
    if (len > 0)
        memcpy(change->new_bytes, bytes, len);
    if (change->old_len > 0)
        (void)file->real->pMethods->xRead(file->real, change->old_bytes, (int)change->old_len, offset);
    change->older = file->newest;
    file->newest  = change;
}

static void undo_all(struct file *file)
{
    for (const struct change *c = file->newest; c != NULL; c = c->older) {
        if (c->old_len > 0)
            (void)file->real->pMethods->xWrite(file->real, c->old_bytes, (int)c->old_len, c->offset);
        (void)file->real->pMethods->xTruncate(file->real, c->old_size);
    }
}

static void redo_some(struct file *file, const struct change *c, unsigned *seed)
{
    if (c == NULL)
        return;
    redo_some(file, c->older, seed);
    if (rand_r(seed) % 2 == 0)
        return;
    if (c->truncates)
        (void)file->real->pMethods->xTruncate(file->real, c->offset);
    else
        (void)file->real->pMethods->xWrite(file->real, c->new_bytes, (int)c->new_len, c->offset);
}

void fault_vfs_remember(void)
{
    (void)pthread_mutex_lock(&lock);
    remembers = true;
    (void)pthread_mutex_unlock(&lock);
}

_Noreturn void fault_vfs_cut(unsigned seed)
{
    (void)pthread_mutex_lock(&lock); /* for good: no other thread writes or syncs any more */
    for (struct file *file = open_files; file != NULL; file = file->next) {
        undo_all(file);
        redo_some(file, file->newest, &seed);
    }
    _exit(0);
}

/* ---- a file ---- */

static sqlite3_file *real_of(sqlite3_file *f) { return ((struct file *)f)->real; }

static int write_file(sqlite3_file *base, const void *bytes, int len, sqlite3_int64 offset)
{
    struct file *file = (struct file *)base;

    (void)pthread_mutex_lock(&lock);
    int code = fault_of(FAULT_WRITE, file->name);
    if (code == SQLITE_OK && remembers)
        remember(file, offset, bytes, (size_t)len, false);
    if (code == SQLITE_OK)
        code = file->real->pMethods->xWrite(file->real, bytes, len, offset);
    (void)pthread_mutex_unlock(&lock);
    return code;
}

static int truncate_file(sqlite3_file *base, sqlite3_int64 size)
{
    struct file *file = (struct file *)base;

    (void)pthread_mutex_lock(&lock);
    if (remembers)
        remember(file, size, NULL, 0, true);
    int code = file->real->pMethods->xTruncate(file->real, size);
    (void)pthread_mutex_unlock(&lock);
    return code;
}

static int sync_file(sqlite3_file *base, int flags)
{
    struct file *file = (struct file *)base;

    (void)pthread_mutex_lock(&lock);
    int code = fault_of(FAULT_SYNC, file->name);
    if (code == SQLITE_OK)
        code = file->real->pMethods->xSync(file->real, flags);
    if (code == SQLITE_OK)
        forget(file);
    (void)pthread_mutex_unlock(&lock);
    return code;
}

static int close_file(sqlite3_file *base)
{
    struct file *file = (struct file *)base, **at = &open_files;

    (void)pthread_mutex_lock(&lock);
    while (*at != file)
        at = &(*at)->next;
    *at = file->next;
    forget(file);
    (void)pthread_mutex_unlock(&lock);
    int code = file->real->pMethods->xClose(file->real);
    free(file->real);
    return code;
}

static int read_file(sqlite3_file *f, void *bytes, int len, sqlite3_int64 offset) { return real_of(f)->pMethods->xRead(real_of(f), bytes, len, offset); }
static int file_size(sqlite3_file *f, sqlite3_int64 *size) { return real_of(f)->pMethods->xFileSize(real_of(f), size); }
static int lock_file(sqlite3_file *f, int level) { return real_of(f)->pMethods->xLock(real_of(f), level); }
static int unlock_file(sqlite3_file *f, int level) { return real_of(f)->pMethods->xUnlock(real_of(f), level); }
static int check_reserved(sqlite3_file *f, int *held) { return real_of(f)->pMethods->xCheckReservedLock(real_of(f), held); }
static int control(sqlite3_file *f, int op, void *arg) { return real_of(f)->pMethods->xFileControl(real_of(f), op, arg); }
static int sector_size(sqlite3_file *f) { return real_of(f)->pMethods->xSectorSize(real_of(f)); }
static int characteristics(sqlite3_file *f) { return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f)); }
static int shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **at) { return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, at); }
static int shm_lock(sqlite3_file *f, int offset, int n, int flags) { return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags); }
static void shm_barrier(sqlite3_file *f) { real_of(f)->pMethods->xShmBarrier(real_of(f)); }
static int shm_unmap(sqlite3_file *f, int remove) { return real_of(f)->pMethods->xShmUnmap(real_of(f), remove); }

static const sqlite3_io_methods methods = {
    .iVersion = 2, .xClose = close_file, .xRead = read_file, .xWrite = write_file, .xTruncate = truncate_file, .xSync = sync_file,
    .xFileSize = file_size, .xLock = lock_file, .xUnlock = unlock_file, .xCheckReservedLock = check_reserved, .xFileControl = control,
    .xSectorSize = sector_size, .xDeviceCharacteristics = characteristics, .xShmMap = shm_map, .xShmLock = shm_lock,
    .xShmBarrier = shm_barrier, .xShmUnmap = shm_unmap,
};

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *ret_flags)
{
    struct file *file = (struct file *)base;

    (void)vfs;
    *file = (struct file){ .name = name };
    (void)pthread_mutex_lock(&lock);
    int code = fault_of(FAULT_OPEN, name);
    (void)pthread_mutex_unlock(&lock);
    if (code != SQLITE_OK)
        return code;
    file->real = calloc(1, (size_t)real_vfs->szOsFile);
    code = real_vfs->xOpen(real_vfs, name, file->real, flags, ret_flags);
    if (code != SQLITE_OK) {
        free(file->real);
        return code;
    }
    file->base.pMethods = &methods;
    (void)pthread_mutex_lock(&lock);
    file->next = open_files;
    open_files = file;
    (void)pthread_mutex_unlock(&lock);
    return code;
}

void fault_vfs_install(void)
{
    static sqlite3_vfs vfs;

    if (real_vfs != NULL)
        return;
    real_vfs     = sqlite3_vfs_find(NULL);
    vfs          = *real_vfs;
    vfs.pNext    = NULL;
    vfs.zName    = "fault";
    vfs.szOsFile = sizeof(struct file);
    vfs.xOpen    = open_file;
    (void)sqlite3_vfs_register(&vfs, 1);
}
