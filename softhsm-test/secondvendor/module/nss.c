/*
 * NSS softokn as a PKCS#11 module like any other. Its C_Initialize insists on a
 * string of parameters, which PKCS#11 has no place for and no other application
 * passes. This module takes the string from the environment variable
 * NSS_LIB_PARAMS, as NSS itself does in later versions; all other functions are
 * softokn's own. With NSS_FIPS set and not empty they are those of its FIPS mode.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "cryptoki.h"

static CK_FUNCTION_LIST_PTR softokn;

/* NSS's CK_C_INITIALIZE_ARGS: the string is where PKCS#11 has pReserved, and
 * behind it is one member more, which must be NULL. */
struct nss_args {
  CK_C_INITIALIZE_ARGS pkcs11;
  CK_VOID_PTR reserved;
};

static CK_RV initialize(CK_VOID_PTR given) {
  struct nss_args args = {{.flags = CKF_OS_LOCKING_OK}, NULL};
  if (softokn == NULL) return CKR_GENERAL_ERROR;
  if (given != NULL) args.pkcs11 = *(CK_C_INITIALIZE_ARGS_PTR)given;
  args.pkcs11.pReserved = getenv("NSS_LIB_PARAMS");
  return softokn->C_Initialize(&args);
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
  static CK_FUNCTION_LIST functions;
  if (list == NULL) return CKR_ARGUMENTS_BAD;
  void *library = dlopen("libsoftokn3.so", RTLD_NOW | RTLD_LOCAL);
  const char *fips = getenv("NSS_FIPS");
  const char *mode = fips != NULL && fips[0] != '\0' ? "FC_GetFunctionList" : "C_GetFunctionList";
  CK_C_GetFunctionList get = library == NULL ? NULL : (CK_C_GetFunctionList)dlsym(library, mode);
  CK_FUNCTION_LIST_PTR own = NULL;
  if (get != NULL && get(&own) == CKR_OK) {
    softokn = own;
    functions = *own;
  } else {
    const char *why = dlerror();
    fprintf(stderr, "load NSS softokn: %s\n", why != NULL ? why : "C_GetFunctionList failed");
  }
  functions.C_GetFunctionList = C_GetFunctionList;
  functions.C_Initialize = initialize;
  *list = &functions;
  return CKR_OK;
}
