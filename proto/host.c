#include "host.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

/* An error whose texts cannot be copied keeps its code. */
static char *copy(const char *text)
{
    return text != NULL && text[0] != '\0' ? strdup(text) : NULL;
}

void bw_host_enter(struct bw_host *ret_host)
{
    const char *file, *function, *data;
    int line, flags;

    ret_host->error_number = errno;
    ret_host->errors_len   = 0;
    while (ret_host->errors_len < BW_HOST_ERRORS_MAX) {
        unsigned long code = ERR_get_error_all(&file, &line, &function, &data, &flags);
        if (code == 0)
            return;
        ret_host->errors[ret_host->errors_len++] = (struct bw_host_error){ code, line, copy(file), copy(function), copy(data) };
    }
}

static void put_back(struct bw_host_error *error)
{
    ERR_new();
    ERR_set_debug(error->file, error->line, error->function);
    if (error->data != NULL)
        ERR_set_error(ERR_GET_LIB(error->code), ERR_GET_REASON(error->code), "%s", error->data);
    else
        ERR_set_error(ERR_GET_LIB(error->code), ERR_GET_REASON(error->code), NULL);
    free(error->file);
    free(error->function);
    free(error->data);
}

void bw_host_leave(struct bw_host *host)
{
    ERR_clear_error();
    for (size_t i = 0; i < host->errors_len; i++)
        put_back(&host->errors[i]);
    errno = host->error_number;
}
