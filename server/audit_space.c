#include "audit_space.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

struct bw_audit_space {
    char           *dir;
    int             ballast;    /* an open file, empty when given up */
    pthread_mutex_t lock;       /* over what follows */
    time_t          looked_s;   /* CLOCK_MONOTONIC */
    bool            low;
    bool            has_ballast;
};

/* Holding the lock. No answer counts as no room. */
static void look(struct bw_audit_space *space)
{
    struct statvfs at;
    bool known = statvfs(space->dir, &at) == 0;
    unsigned long long available = known ? (unsigned long long)at.f_bavail * at.f_frsize : 0;

    space->low = available < BW_AUDIT_FLOOR;
    if (!space->has_ballast && available >= BW_AUDIT_FLOOR + BW_AUDIT_BALLAST)
        space->has_ballast = posix_fallocate(space->ballast, 0, BW_AUDIT_BALLAST) == 0;
}

static bw_result open_ballast(struct bw_audit_space *space)
{
    char        path[4096];
    struct stat file;
    int len = snprintf(path, sizeof path, "%s/audit.ballast", space->dir);

    BW_CHECK(len > 0 && (size_t)len < sizeof path, BW_CONFIG_INVALID, "the audit directory's name is too long");
    space->ballast = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    BW_CHECK(space->ballast >= 0 && fstat(space->ballast, &file) == 0, BW_AUDIT_UNAVAILABLE, "the audit directory cannot be written");
    space->has_ballast = (unsigned long long)file.st_blocks * 512 >= BW_AUDIT_BALLAST;
    return bw_success();
}

bw_result bw_audit_space_new(const char *dir, struct bw_audit_space **ret_space)
{
    BW_AUTO(audit_space) space = calloc(1, sizeof *space);

    BW_CHECK(space != NULL, BW_NO_MEMORY, "space");
    space->ballast = -1;
    space->dir     = strdup(dir);
    BW_CHECK(pthread_mutex_init(&space->lock, NULL) == 0 && space->dir != NULL, BW_NO_MEMORY, "space");
    BW_TRY(open_ballast(space));
    look(space);

    *ret_space = bw_take(&space);
    return bw_success();
}

void bw_audit_space_free(struct bw_audit_space *space)
{
    if (space == NULL)
        return;
    if (space->ballast >= 0)
        (void)close(space->ballast);
    (void)pthread_mutex_destroy(&space->lock);
    free(space->dir);
    free(space);
}

bool bw_audit_space_is_low(struct bw_audit_space *space)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    (void)pthread_mutex_lock(&space->lock);
    if (now.tv_sec != space->looked_s) {
        space->looked_s = now.tv_sec;
        look(space);
    }
    bool low = space->low;
    (void)pthread_mutex_unlock(&space->lock);
    return low;
}

bool bw_audit_space_give_up(struct bw_audit_space *space)
{
    (void)pthread_mutex_lock(&space->lock);
    bool had = space->has_ballast;
    if (had)
        had = ftruncate(space->ballast, 0) == 0;
    space->has_ballast = space->has_ballast && !had;
    space->low         = true;
    (void)pthread_mutex_unlock(&space->lock);
    return had;
}
