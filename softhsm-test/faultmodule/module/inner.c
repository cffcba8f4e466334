/* The functions that the forwarders call. Most are the real module's own; those
 * that open, make, find or list something are kept account of here. */
#include "faultmodule.h"

#include <stdlib.h>
#include <string.h>

CK_FUNCTION_LIST inner;

static CK_RV finalize(CK_VOID_PTR reserved) {
  CK_RV rv = real->C_Finalize(reserved);
  if (rv == CKR_OK) token_finalized();
  return rv;
}

static CK_RV get_slot_list(CK_BBOOL present, CK_SLOT_ID_PTR slots, CK_ULONG_PTR count) {
  if (!present || count == NULL || !token_lost()) return real->C_GetSlotList(present, slots, count);
  *count = 0;
  return CKR_OK;
}

static CK_RV get_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO_PTR info) {
  CK_RV rv = real->C_GetSlotInfo(slot, info);
  if (rv == CKR_OK && token_lost()) info->flags &= ~(CK_FLAGS)CKF_TOKEN_PRESENT;
  return rv;
}

static CK_RV get_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count) {
  if (count == NULL) return CKR_ARGUMENTS_BAD;
  CK_ULONG n = 0, listed = 0;
  CK_RV rv = real->C_GetMechanismList(slot, NULL, &n);
  if (rv != CKR_OK) return rv;
  CK_MECHANISM_TYPE_PTR all = calloc(n + 1, sizeof *all);
  if (all == NULL) return CKR_HOST_MEMORY;
  rv = real->C_GetMechanismList(slot, all, &n);
  for (CK_ULONG i = 0; rv == CKR_OK && i < n; i++) {
    if (!rules_hides(all[i])) all[listed++] = all[i];
  }
  if (rv == CKR_OK && list != NULL) {
    if (*count < listed)
      rv = CKR_BUFFER_TOO_SMALL;
    else
      memcpy(list, all, listed * sizeof *all);
  }
  if (rv == CKR_OK || rv == CKR_BUFFER_TOO_SMALL) *count = listed;
  free(all);
  return rv;
}

/* Waiting inside the real module would hold gate for as long. */
static CK_RV wait_for_slot_event(CK_FLAGS flags, CK_SLOT_ID_PTR slot, CK_VOID_PTR reserved) {
  if (!(flags & CKF_DONT_BLOCK)) return CKR_FUNCTION_NOT_SUPPORTED;
  return real->C_WaitForSlotEvent(flags, slot, reserved);
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify,
                          CK_SESSION_HANDLE_PTR session) {
  CK_RV rv = real->C_OpenSession(slot, flags, application, notify, session);
  if (rv == CKR_OK) token_opened(*session, slot);
  return rv;
}

static CK_RV close_session(CK_SESSION_HANDLE session) {
  CK_RV rv = real->C_CloseSession(session);
  if (rv == CKR_OK) token_closed(session);
  return rv;
}

static CK_RV close_all_sessions(CK_SLOT_ID slot) {
  CK_RV rv = real->C_CloseAllSessions(slot);
  if (rv == CKR_OK) token_closed_all(slot);
  return rv;
}

static CK_RV destroy_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object) {
  CK_RV rv = real->C_DestroyObject(session, object);
  if (rv == CKR_OK) token_destroyed(object);
  return rv;
}

/* inner_over builds the list over the real module's. */
void inner_over(CK_FUNCTION_LIST_PTR list) {
  inner = *list;
  inner.C_Finalize = finalize;
  inner.C_GetSlotList = get_slot_list;
  inner.C_GetSlotInfo = get_slot_info;
  inner.C_GetMechanismList = get_mechanism_list;
  inner.C_WaitForSlotEvent = wait_for_slot_event;
  inner.C_OpenSession = open_session;
  inner.C_CloseSession = close_session;
  inner.C_CloseAllSessions = close_all_sessions;
  inner.C_DestroyObject = destroy_object;
}
