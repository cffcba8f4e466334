/* The token as the application sees it: there or lost, with its sessions, the
 * objects that calls made, and the handles of objects. */
#include "faultmodule.h"

#include <stdlib.h>

/* One list type serves for all that is kept account of. */
struct entry {
  struct entry *next;
  CK_ULONG handle;
  CK_ULONG owner;
  bool stays;
};

static struct entry *sessions; /* owner: the slot */
static struct entry *objects;  /* owner: the session; stays: a token object */
static struct entry *found;    /* what C_FindObjects gave, no owner */
static struct entry *aliases;  /* owner: the handle that is meant instead */

static enum presence presence;
static CK_ULONG generation;
static CK_ULONG overlaps;

/* The upper 16 bits of a handle that the application gets tell in which epoch
 * it was given out. The real modules tried need far fewer than the other 48. */
static CK_ULONG epoch;
enum { EPOCH_SHIFT = 48 };

static void add(struct entry **list, CK_ULONG handle, CK_ULONG owner, bool stays) {
  struct entry *e = malloc(sizeof *e);
  if (e == NULL) abort();
  *e = (struct entry){*list, handle, owner, stays};
  *list = e;
}

static struct entry **seek(struct entry **list, CK_ULONG handle) {
  while (*list != NULL && (*list)->handle != handle) list = &(*list)->next;
  return list;
}

static void drop(struct entry **at) {
  struct entry *e = *at;
  if (e == NULL) return;
  *at = e->next;
  free(e);
}

static void drop_all(struct entry **list) {
  while (*list != NULL) drop(list);
}

static CK_ULONG count(const struct entry *list) {
  CK_ULONG n = 0;
  for (; list != NULL; list = list->next) n++;
  return n;
}

/* Closing a session destroys the session objects that were made in it. */
static void forget_session(CK_SESSION_HANDLE session) {
  drop(seek(&sessions, session));
  for (struct entry **at = &objects; *at != NULL;) {
    if ((*at)->owner == session && !(*at)->stays)
      drop(at);
    else
      at = &(*at)->next;
  }
}

static void forget_slot(CK_SLOT_ID slot) {
  for (struct entry *next, *e = sessions; e != NULL; e = next) {
    next = e->next;
    if (e->owner == slot) forget_session(e->handle);
  }
}

void token_opened(CK_SESSION_HANDLE session, CK_SLOT_ID slot) {
  pthread_mutex_lock(&mu);
  add(&sessions, session, slot, false);
  pthread_mutex_unlock(&mu);
}

void token_closed(CK_SESSION_HANDLE session) {
  pthread_mutex_lock(&mu);
  forget_session(session);
  pthread_mutex_unlock(&mu);
}

void token_closed_all(CK_SLOT_ID slot) {
  pthread_mutex_lock(&mu);
  forget_slot(slot);
  pthread_mutex_unlock(&mu);
}

/* drop_sessions is to be called with gate held alone. */
static void drop_sessions(void) {
  for (;;) {
    pthread_mutex_lock(&mu);
    bool any = sessions != NULL;
    CK_SLOT_ID slot = any ? sessions->owner : 0;
    if (any) forget_slot(slot);
    pthread_mutex_unlock(&mu);
    if (!any) return;
    real->C_CloseAllSessions(slot);
  }
}

void token_drop_sessions(void) {
  gate_alone();
  drop_sessions();
  gate_leave();
}

void token_lose(enum presence p) {
  gate_alone();
  pthread_mutex_lock(&mu);
  presence = p;
  pthread_mutex_unlock(&mu);
  if (p != PRESENT) drop_sessions(); /* a token that is taken away takes them with it */
  gate_leave();
}

bool token_lost(void) {
  pthread_mutex_lock(&mu);
  bool is = presence != PRESENT;
  pthread_mutex_unlock(&mu);
  return is;
}

void token_finalized(void) {
  pthread_mutex_lock(&mu);
  generation++;
  while (sessions != NULL) forget_session(sessions->handle);
  drop_all(&found);
  drop_all(&aliases);
  if (presence == LOST_UNTIL_REINIT) presence = PRESENT;
  pthread_mutex_unlock(&mu);
}

CK_ULONG token_generation(void) {
  pthread_mutex_lock(&mu);
  CK_ULONG n = generation;
  pthread_mutex_unlock(&mu);
  return n;
}

void token_made(CK_OBJECT_HANDLE real_handle, CK_SESSION_HANDLE session, bool stays) {
  pthread_mutex_lock(&mu);
  add(&objects, real_handle, session, stays);
  pthread_mutex_unlock(&mu);
}

void token_found(CK_OBJECT_HANDLE real_handle) {
  pthread_mutex_lock(&mu);
  if (*seek(&found, real_handle) == NULL) add(&found, real_handle, 0, false);
  pthread_mutex_unlock(&mu);
}

void token_destroyed(CK_OBJECT_HANDLE real_handle) {
  pthread_mutex_lock(&mu);
  drop(seek(&objects, real_handle));
  drop(seek(&found, real_handle));
  pthread_mutex_unlock(&mu);
}

CK_OBJECT_HANDLE token_handle_out(CK_OBJECT_HANDLE real_handle) {
  pthread_mutex_lock(&mu);
  CK_OBJECT_HANDLE handle = real_handle | epoch << EPOCH_SHIFT;
  pthread_mutex_unlock(&mu);
  return handle;
}

/* token_handle_in turns the application's handle into the real one. It gives
 * false for a handle that is stale. */
bool token_handle_in(CK_OBJECT_HANDLE *handle) {
  if (*handle == CK_INVALID_HANDLE) return true; /* the real module's to refuse */
  pthread_mutex_lock(&mu);
  CK_ULONG given = *handle >> EPOCH_SHIFT;
  *handle &= (1UL << EPOCH_SHIFT) - 1;
  bool known = given == epoch;
  if (!known) {
    struct entry *alias = *seek(&aliases, *handle);
    if (alias != NULL) {
      known = true;
      *handle = alias->owner;
    }
  }
  pthread_mutex_unlock(&mu);
  return known;
}

void token_make_handles_stale(void) {
  pthread_mutex_lock(&mu);
  epoch++;
  drop_all(&aliases);
  drop_all(&found);
  pthread_mutex_unlock(&mu);
}

/* token_alias_handles makes each handle that a search gave mean the next one's
 * object. Searches from now on give new handles, which are right. */
bool token_alias_handles(void) {
  pthread_mutex_lock(&mu);
  bool enough = count(found) >= 2;
  if (enough) {
    epoch++;
    drop_all(&aliases);
    for (struct entry *e = found; e != NULL; e = e->next)
      add(&aliases, e->handle, e->next != NULL ? e->next->handle : found->handle, false);
    drop_all(&found);
  }
  pthread_mutex_unlock(&mu);
  return enough;
}

CK_ULONG token_sessions(void) {
  pthread_mutex_lock(&mu);
  CK_ULONG n = count(sessions);
  pthread_mutex_unlock(&mu);
  return n;
}

CK_ULONG token_objects(void) {
  pthread_mutex_lock(&mu);
  CK_ULONG n = count(objects);
  pthread_mutex_unlock(&mu);
  return n;
}

void token_overlapped(void) {
  pthread_mutex_lock(&mu);
  overlaps++;
  pthread_mutex_unlock(&mu);
}

CK_ULONG token_overlaps(void) {
  pthread_mutex_lock(&mu);
  CK_ULONG n = overlaps;
  pthread_mutex_unlock(&mu);
  return n;
}
