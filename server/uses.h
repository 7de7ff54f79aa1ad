#include "registry.h"
bw_result bw_uses_take(struct bw_daemon *daemon, const struct bw_key *key, const struct bw_key_version *version, uint64_t count);
