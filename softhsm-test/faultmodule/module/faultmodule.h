/*
 * What the files of the fault module share. A call passes through three of
 * them: forward.c asks rules.c whether it is to wait or fail, checks its
 * arguments, and gives it to the real module by way of inner.c, which keeps
 * account of sessions and objects. control.c takes orders from the driver.
 *
 * Locks: gate is held shared by each call that is inside the real module, and
 * alone by what must find nobody there. mu guards all other state, is held for
 * moments only, and never while waiting for gate. A call that a rule makes wait
 * holds neither.
 */
#include <pthread.h>
#include <stdbool.h>

#include "cryptoki.h"

/* One number for each function that is forwarded, F_C_Initialize and on. */
enum function {
#define FUNCTION(name, parameters, arguments, before, after) F_##name,
#include "functions.h"
#undef FUNCTION
  FUNCTIONS
};

extern pthread_mutex_t mu;

/* forward.c: the real module, NULL until it is loaded, and the gate. */
extern CK_FUNCTION_LIST_PTR real;
void gate_alone(void);
void gate_leave(void);

/* inner.c: the real module's functions, some of them with bookkeeping. */
extern CK_FUNCTION_LIST inner;
void inner_over(CK_FUNCTION_LIST_PTR list);

/* rules.c: what is to happen to calls of one function, and to one mechanism. */
CK_RV rules_enter(enum function f);
void rules_delay(enum function f, CK_ULONG ms);
void rules_hang(enum function f);
void rules_release(enum function f);
void rules_fail(enum function f, CK_RV code, CK_ULONG calls);
void rules_fail_every(enum function f, CK_RV code, CK_ULONG kth);
void rules_fail_randomly(enum function f, CK_RV code, CK_ULONG per_mille);
void rules_clear(enum function f);
CK_ULONG rules_calls(enum function f);
CK_ULONG rules_waiting(enum function f);
void rules_reset_calls(void);
bool rules_refuse(CK_MECHANISM_TYPE type, bool hide);
void rules_refuse_none(void);
bool rules_refuses(CK_MECHANISM_TYPE type);
bool rules_hides(CK_MECHANISM_TYPE type);

/* token.c: whether the token is there, its sessions, objects and handles. */
enum presence { PRESENT, LOST, LOST_UNTIL_REINIT };
void token_lose(enum presence p); /* or bring back, with PRESENT */
bool token_lost(void);
void token_drop_sessions(void);
void token_opened(CK_SESSION_HANDLE session, CK_SLOT_ID slot);
void token_closed(CK_SESSION_HANDLE session);
void token_closed_all(CK_SLOT_ID slot);
void token_finalized(void);
CK_ULONG token_generation(void); /* how often the module was finalised */
void token_made(CK_OBJECT_HANDLE real_handle, CK_SESSION_HANDLE session, bool stays);
void token_found(CK_OBJECT_HANDLE real_handle);
void token_destroyed(CK_OBJECT_HANDLE real_handle);
CK_OBJECT_HANDLE token_handle_out(CK_OBJECT_HANDLE real_handle);
bool token_handle_in(CK_OBJECT_HANDLE *handle);
void token_make_handles_stale(void);
bool token_alias_handles(void);
CK_ULONG token_sessions(void);
CK_ULONG token_objects(void);
CK_ULONG token_overlaps(void);
void token_overlapped(void);

/* control.c: the socket. Does nothing where a driver is connected already. */
void control_connect(const char *folder);
