/* Rules: which calls wait, which fail, and which mechanisms are refused. */
#include "faultmodule.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

enum when { NEVER, ALWAYS, NEXT, EVERY, RANDOMLY };

static struct rule {
  CK_ULONG calls;
  CK_ULONG delay_ms;
  bool hang;
  CK_ULONG waiting;  /* calls that hang now */
  CK_ULONG releases; /* grows to send all that wait on their way */
  enum when when;
  CK_RV code;
  CK_ULONG n;    /* NEXT: calls left; EVERY: k; RANDOMLY: per mille */
  CK_ULONG seen; /* EVERY: calls since the rule was made */
} rules[FUNCTIONS];

static pthread_cond_t released = PTHREAD_COND_INITIALIZER;
static unsigned int randomness = 1; /* a fixed seed, so that runs are alike */

/* wait_out returns when the delay is over and nothing holds the call. */
static void wait_out(struct rule *r) {
  CK_ULONG releases = r->releases;
  if (r->delay_ms > 0) {
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += (time_t)(r->delay_ms / 1000);
    end.tv_nsec += (long)(r->delay_ms % 1000) * 1000000;
    if (end.tv_nsec >= 1000000000) {
      end.tv_sec++;
      end.tv_nsec -= 1000000000;
    }
    while (r->releases == releases && pthread_cond_clockwait(&released, &mu, CLOCK_MONOTONIC, &end) != ETIMEDOUT) {
    }
  }
  if (!r->hang) return;
  r->waiting++;
  while (r->releases == releases) pthread_cond_wait(&released, &mu);
  r->waiting--;
}

static bool fails(struct rule *r) {
  switch (r->when) {
  case NEVER:
    return false;
  case ALWAYS:
    return true;
  case NEXT:
    if (r->n == 0) return false;
    r->n--;
    return true;
  case EVERY:
    return ++r->seen % r->n == 0;
  case RANDOMLY:
    return (CK_ULONG)(rand_r(&randomness) % 1000) < r->n;
  }
  return false;
}

/* rules_enter counts a call, makes it wait, and says how it ends: CKR_OK lets
 * it go on to the real module. */
CK_RV rules_enter(enum function f) {
  struct rule *r = &rules[f];
  pthread_mutex_lock(&mu);
  r->calls++;
  wait_out(r);
  CK_RV rv = fails(r) ? r->code : CKR_OK;
  pthread_mutex_unlock(&mu);
  return rv;
}

void rules_delay(enum function f, CK_ULONG ms) {
  pthread_mutex_lock(&mu);
  rules[f].delay_ms = ms;
  pthread_mutex_unlock(&mu);
}

void rules_hang(enum function f) {
  pthread_mutex_lock(&mu);
  rules[f].hang = true;
  pthread_mutex_unlock(&mu);
}

static void release(struct rule *r) {
  r->hang = false;
  r->releases++;
  pthread_cond_broadcast(&released);
}

void rules_release(enum function f) {
  pthread_mutex_lock(&mu);
  release(&rules[f]);
  pthread_mutex_unlock(&mu);
}

static void fail(enum function f, enum when when, CK_RV code, CK_ULONG n) {
  pthread_mutex_lock(&mu);
  rules[f].when = when;
  rules[f].code = code;
  rules[f].n = n;
  rules[f].seen = 0;
  pthread_mutex_unlock(&mu);
}

/* rules_fail fails the next calls, or with 0 all of them. */
void rules_fail(enum function f, CK_RV code, CK_ULONG calls) {
  fail(f, calls == 0 ? ALWAYS : NEXT, code, calls);
}

void rules_fail_every(enum function f, CK_RV code, CK_ULONG kth) {
  fail(f, kth == 0 ? NEVER : EVERY, code, kth);
}

void rules_fail_randomly(enum function f, CK_RV code, CK_ULONG per_mille) {
  fail(f, RANDOMLY, code, per_mille);
}

/* rules_clear drops the function's rules and lets its waiting calls go on. */
void rules_clear(enum function f) {
  pthread_mutex_lock(&mu);
  rules[f].delay_ms = 0;
  rules[f].when = NEVER;
  release(&rules[f]);
  pthread_mutex_unlock(&mu);
}

CK_ULONG rules_calls(enum function f) {
  pthread_mutex_lock(&mu);
  CK_ULONG n = rules[f].calls;
  pthread_mutex_unlock(&mu);
  return n;
}

CK_ULONG rules_waiting(enum function f) {
  pthread_mutex_lock(&mu);
  CK_ULONG n = rules[f].waiting;
  pthread_mutex_unlock(&mu);
  return n;
}

void rules_reset_calls(void) {
  pthread_mutex_lock(&mu);
  for (int f = 0; f < FUNCTIONS; f++) rules[f].calls = 0;
  pthread_mutex_unlock(&mu);
}

/* Mechanisms that calls may not use. A hidden one is not listed either. */
static struct refusal {
  CK_MECHANISM_TYPE type;
  bool hidden;
} refusals[256];
static size_t refused;

/* rules_refuse gives false where there are too many. */
bool rules_refuse(CK_MECHANISM_TYPE type, bool hide) {
  pthread_mutex_lock(&mu);
  bool room = refused < sizeof refusals / sizeof refusals[0];
  if (room) refusals[refused++] = (struct refusal){type, hide};
  pthread_mutex_unlock(&mu);
  return room;
}

void rules_refuse_none(void) {
  pthread_mutex_lock(&mu);
  refused = 0;
  pthread_mutex_unlock(&mu);
}

static bool refuses(CK_MECHANISM_TYPE type, bool only_hidden) {
  bool is = false;
  pthread_mutex_lock(&mu);
  for (size_t i = 0; i < refused; i++) is |= refusals[i].type == type && (refusals[i].hidden || !only_hidden);
  pthread_mutex_unlock(&mu);
  return is;
}

bool rules_refuses(CK_MECHANISM_TYPE type) { return refuses(type, false); }

bool rules_hides(CK_MECHANISM_TYPE type) { return refuses(type, true); }
