/* The PKCS#11 module itself, loaded as an application would load it. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bailiwick/pkcs11.h"
#include "doctor.h"

enum { SLOTS_MAX = BW_CONF_SLOTS_MAX };

static CK_FUNCTION_LIST *load(struct bw_doctor *doctor, const char *path)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get_list = module ? (CK_C_GetFunctionList)(uintptr_t)dlsym(module, "C_GetFunctionList") : NULL;
    CK_FUNCTION_LIST *list = NULL;

    if (module == NULL)
        bw_doctor_found(doctor, BW_WRONG, "install it, or name it with --module", "%s", dlerror());
    else if (get_list == NULL || get_list(&list) != CKR_OK)
        bw_doctor_found(doctor, BW_WRONG, "name bailiwick-pkcs11.so with --module", "%s is no PKCS#11 module", path);
    return list;
}

static void tell_slot(struct bw_doctor *doctor, const CK_FUNCTION_LIST *list, CK_SLOT_ID slot)
{
    CK_TOKEN_INFO info;
    int len = sizeof info.label;

    CK_RV rv = list->C_GetTokenInfo(slot, &info);
    if (rv != CKR_OK) {
        bw_doctor_found(doctor, BW_WRONG, NULL, "slot %lu: C_GetTokenInfo fails with 0x%lx", slot, rv);
        return;
    }
    while (len > 0 && info.label[len - 1] == ' ')
        len--;
    bw_doctor_found(doctor, BW_FINE, NULL, "slot %lu, token \"%.*s\"%s", slot, len, (const char *)info.label,
                    info.flags & CKF_LOGIN_REQUIRED ? ", login required" : "");
}

static void tell_slots(struct bw_doctor *doctor, const CK_FUNCTION_LIST *list)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG   count = SLOTS_MAX;

    CK_RV rv = list->C_GetSlotList(CK_TRUE, slots, &count);
    if (rv != CKR_OK || count != doctor->conf->slot_count)
        bw_doctor_found(doctor, BW_WRONG, "is it bailiwick's module, of this version?", "C_GetSlotList: 0x%lx, %lu slots for %zu sections", rv,
                        rv == CKR_OK ? count : 0, doctor->conf->slot_count);
    for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++)
        tell_slot(doctor, list, slots[i]);
}

bool bw_check_module(struct bw_doctor *doctor, const char *module_path)
{
    char  *config = bw_arena_text(&doctor->cli->arena, "config=%s", doctor->conf->path);
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK, .pReserved = config };
    CK_FUNCTION_LIST *list = load(doctor, module_path);

    if (list == NULL)
        return false;
    CK_RV rv = list->C_Initialize(&args);
    if (rv != CKR_OK) {
        bw_doctor_found(doctor, BW_WRONG, "the module told standard error why; is it bailiwick's, of this version?", "C_Initialize fails with 0x%lx", rv);
        return false;
    }
    tell_slots(doctor, list);
    (void)list->C_Finalize(NULL); /* the process ends anyway */
    return true;
}

/* ---- p11-kit ---- */

/* "module: /path/of.so" in a file of p11-kit's (pkcs11.conf(5)); a name without a path is in its module folder. */
static const char *module_of(struct bw_doctor *doctor, const char *file)
{
    char  line[4096], name[4096];
    FILE *stream = fopen(file, "re");
    const char *module = NULL;

    while (stream != NULL && module == NULL && fgets(line, sizeof line, stream) != NULL)
        if (sscanf(line, " module : %4095s", name) == 1)
            module = name[0] == '/' ? bw_arena_text(&doctor->cli->arena, "%s", name)
                                    : bw_arena_text(&doctor->cli->arena, "%.*s/%s", (int)(strrchr(BW_MODULE_PATH, '/') - BW_MODULE_PATH), BW_MODULE_PATH, name);
    if (stream != NULL)
        (void)fclose(stream);
    return module;
}

static bool check_p11_kit_file(struct bw_doctor *doctor, const char *file)
{
    const char *module = module_of(doctor, file);
    const char *name   = module ? strrchr(module, '/') : NULL;

    if (name == NULL || strcmp(name, "/bailiwick-pkcs11.so") != 0)
        return true; /* somebody else's */
    if (access(module, R_OK) != 0) {
        bw_doctor_found(doctor, BW_WRONG, "correct 'module:' in that file, or install the module there", "%s names %s: %s", file, module, strerror(errno));
        return false;
    }
    bw_doctor_found(doctor, BW_FINE, NULL, "%s names %s", file, module);
    return true;
}

static bool check_p11_kit_folder(struct bw_doctor *doctor, const char *folder)
{
    DIR *dir = folder ? opendir(folder) : NULL;
    bool fine = true;

    for (const struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        const char *ending = strrchr(entry->d_name, '.');
        const char *file   = ending && strcmp(ending, ".module") == 0 ? bw_arena_text(&doctor->cli->arena, "%s/%s", folder, entry->d_name) : NULL;
        if (file != NULL)
            fine &= check_p11_kit_file(doctor, file);
    }
    if (dir != NULL)
        (void)closedir(dir);
    return fine;
}

bool bw_check_p11_kit(struct bw_doctor *doctor)
{
    const char *home = getenv("HOME");
    bool fine = check_p11_kit_folder(doctor, "/usr/share/p11-kit/modules");

    fine &= check_p11_kit_folder(doctor, "/etc/pkcs11/modules");
    return check_p11_kit_folder(doctor, home ? bw_arena_text(&doctor->cli->arena, "%s/.config/pkcs11/modules", home) : NULL) && fine;
}
