#include "fake/softhsm.h"

#include <dlfcn.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const modules[] = {
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
};

static void give_up(const char *what)
{
    perror(what);
    exit(1);
}

static void write_configuration(const struct softhsm *softhsm)
{
    char path[96];

    (void)snprintf(path, sizeof path, "%s/tokens", softhsm->folder);
    if (mkdir(path, 0700) != 0)
        give_up(path);
    (void)snprintf(path, sizeof path, "%s/softhsm2.conf", softhsm->folder);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        give_up(path);
    (void)fprintf(file, "directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", softhsm->folder);
    if (fclose(file) != 0 || setenv("SOFTHSM2_CONF", path, 1) != 0)
        give_up(path);
}

const char *softhsm_start(struct softhsm *softhsm)
{
    (void)snprintf(softhsm->folder, sizeof softhsm->folder, "/tmp/bailiwick-softhsm-XXXXXX");
    if (mkdtemp(softhsm->folder) == NULL)
        give_up(softhsm->folder);
    write_configuration(softhsm);
    /* kept loaded, so that sanitizers can tell its frames */
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
        if (dlopen(modules[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) != NULL)
            return modules[i];
    give_up("libsofthsm2.so (package libsofthsm2)");
    return NULL;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat, (void)type, (void)ftw;
    return remove(path);
}

void softhsm_stop(struct softhsm *softhsm)
{
    (void)nftw(softhsm->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
