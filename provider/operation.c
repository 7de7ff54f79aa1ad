#include "operation.h"

#include <stdlib.h>

void bw_operation_free(struct bw_operation *operation)
{
    free(operation);
}
