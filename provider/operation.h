/* An active operation: mechanism, key and buffered input. */
#ifndef BW_PROVIDER_OPERATION_H
#define BW_PROVIDER_OPERATION_H

struct bw_operation;

/* Takes NULL. Wipes. */
void bw_operation_free(struct bw_operation *operation);

#endif
