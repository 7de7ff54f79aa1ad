/* A SoftHSM of the test's own: token folder and configuration under a fresh temporary folder, SOFTHSM2_CONF set. */
#ifndef BW_TESTS_SOFTHSM_H
#define BW_TESTS_SOFTHSM_H

struct softhsm {
    char folder[64];
};

/* The path of the PKCS#11 module. Ends the test program when the machine cannot. */
const char *softhsm_start(struct softhsm *softhsm);
/* Removes the folder. */
void softhsm_stop(struct softhsm *softhsm);

#endif
