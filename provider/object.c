#include "object.h"

#include <pthread.h>
#include <stdlib.h>

struct bw_objects {
    pthread_mutex_t lock;
};

bw_result bw_objects_new(struct bw_objects **ret_objects)
{
    struct bw_objects *objects = calloc(1, sizeof *objects);

    BW_CHECK(objects != NULL, BW_NO_MEMORY, "object table");
    if (pthread_mutex_init(&objects->lock, NULL) != 0) {
        free(objects);
        return bw_fail(BW_NO_MEMORY, "object table's lock");
    }
    *ret_objects = objects;
    return bw_success();
}

void bw_objects_free(struct bw_objects *objects)
{
    if (objects == NULL)
        return;
    pthread_mutex_destroy(&objects->lock);
    free(objects);
}

void bw_objects_session_closed(struct bw_objects *objects, CK_SESSION_HANDLE session)
{
    (void)objects, (void)session;
}

void bw_objects_logged_out(struct bw_objects *objects)
{
    (void)objects;
}
