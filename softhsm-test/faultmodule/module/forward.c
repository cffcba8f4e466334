/* The module's entry points: one forwarder for each function of PKCS#11, made
 * from its line in functions.h, and C_GetFunctionList. */
#include "faultmodule.h"

#include <dlfcn.h>
#include <libgen.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
CK_FUNCTION_LIST_PTR real;

/* Writers first: under load, calls alone would keep them out for ever. */
static pthread_rwlock_t gate = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static atomic_int inside; /* calls that hold it shared */

void gate_alone(void) { pthread_rwlock_wrlock(&gate); }

void gate_leave(void) { pthread_rwlock_unlock(&gate); }

/* What is done with arguments, by their type. Each works on the variable rv of
 * the forwarder, and does nothing once that is an error. */

#define SLOT(slot) \
  if (rv == CKR_OK && token_lost()) rv = CKR_TOKEN_NOT_PRESENT;

#define SESSION(session) \
  if (rv == CKR_OK && token_lost()) rv = CKR_DEVICE_REMOVED;

#define MECHANISM(m) \
  if (rv == CKR_OK && m != NULL && rules_refuses(m->mechanism)) rv = CKR_MECHANISM_INVALID;

#define MECHANISM_TYPE(type) \
  if (rv == CKR_OK && rules_hides(type)) rv = CKR_MECHANISM_INVALID;

#define KEY(handle) \
  if (rv == CKR_OK && !token_handle_in(&handle)) rv = CKR_KEY_HANDLE_INVALID;

#define OBJECT(handle) \
  if (rv == CKR_OK && !token_handle_in(&handle)) rv = CKR_OBJECT_HANDLE_INVALID;

#define MADE(session, handle) \
  if (rv == CKR_OK) made(session, handle);

#define FOUND(handles, count) \
  if (rv == CKR_OK) found(handles, *count);

static void made(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR handle) {
  CK_BBOOL stays = CK_FALSE;
  CK_ATTRIBUTE token = {CKA_TOKEN, &stays, sizeof stays};
  real->C_GetAttributeValue(session, *handle, &token, 1);
  token_made(*handle, session, stays);
  *handle = token_handle_out(*handle);
}

static void found(CK_OBJECT_HANDLE_PTR handles, CK_ULONG count) {
  for (CK_ULONG i = 0; i < count; i++) {
    token_found(handles[i]);
    handles[i] = token_handle_out(handles[i]);
  }
}

/* load takes the real module in. What fails is told on stderr: PKCS#11 has no
 * words for it. */
static void load(const char *folder) {
  char path[4096];
  const char *named = getenv("FAULTMODULE_REAL");
  snprintf(path, sizeof path, "%s/real", folder);
  void *library = dlopen(named != NULL ? named : path, RTLD_NOW | RTLD_LOCAL);
  CK_C_GetFunctionList get = library == NULL ? NULL : (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
  CK_FUNCTION_LIST_PTR list = NULL;
  if (get == NULL || get(&list) != CKR_OK) {
    const char *why = dlerror();
    fprintf(stderr, "faultmodule: load the real module: %s\n", why != NULL ? why : "its C_GetFunctionList failed");
    return;
  }
  gate_alone();
  inner_over(list);
  real = list;
  gate_leave();
}

/* attach loads the real module and connects to the driver, where that is still
 * to be done. It must not be called with gate held: the driver's first orders
 * may need it. */
static void attach(void) {
  static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
  Dl_info self;
  char path[4096];

  pthread_mutex_lock(&once);
  if (dladdr((void *)attach, &self) != 0 && (size_t)snprintf(path, sizeof path, "%s", self.dli_fname) < sizeof path) {
    const char *folder = dirname(path);
    if (real == NULL) load(folder);
    control_connect(folder);
  }
  pthread_mutex_unlock(&once);
}

/* begin enters the gate. The module may have been finalised since the call came
 * in and waited; its handles could mean something else by now. */
static CK_RV begin(enum function f, CK_ULONG generation) {
  if (f == F_C_Initialize || f == F_C_Finalize) {
    if (f == F_C_Finalize && inside > 0) token_overlapped();
    gate_alone();
  } else {
    pthread_rwlock_rdlock(&gate);
    inside++;
  }
  if (real == NULL) return f == F_C_Initialize ? CKR_GENERAL_ERROR : CKR_CRYPTOKI_NOT_INITIALIZED;
  return generation == token_generation() ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED;
}

static void end(enum function f) {
  if (f != F_C_Initialize && f != F_C_Finalize) inside--;
  gate_leave();
}

#define FUNCTION(name, parameters, arguments, before, after) \
  static CK_RV forward_##name parameters {                   \
    if (F_##name == F_C_Initialize) attach();                \
    CK_ULONG generation = token_generation();                \
    CK_RV rv = rules_enter(F_##name);                        \
    if (rv != CKR_OK) return rv;                             \
    rv = begin(F_##name, generation);                        \
    before                                                   \
    if (rv == CKR_OK) rv = inner.name arguments;             \
    after                                                    \
    end(F_##name);                                           \
    return rv;                                               \
  }
#include "functions.h"
#undef FUNCTION

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
  static CK_FUNCTION_LIST functions = {
      .version = {2, 40},
      .C_GetFunctionList = C_GetFunctionList,
#define FUNCTION(name, parameters, arguments, before, after) .name = forward_##name,
#include "functions.h"
#undef FUNCTION
  };
  if (list == NULL) return CKR_ARGUMENTS_BAD;
  attach();
  *list = &functions;
  return CKR_OK;
}
