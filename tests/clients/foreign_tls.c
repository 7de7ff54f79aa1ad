/* What a host with another TLS library in its global scope does to modules: names that OpenSSL has too, unversioned, and other
 * things behind them. Preloaded; whoever calls it by mistake ends here. */
#include <stdlib.h>

#define FOREIGN(name) __attribute__((visibility("default"))) void name(void); \
                      void name(void) { abort(); }

FOREIGN(SSL_CTX_new_ex)
FOREIGN(SSL_new)
FOREIGN(SSL_do_handshake)
FOREIGN(SSL_free)
FOREIGN(OPENSSL_init_ssl)
FOREIGN(EVP_MD_fetch)
FOREIGN(ERR_get_error_all)
