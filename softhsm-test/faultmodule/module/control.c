/* The orders of the driver, one a line, from the socket that it listens on.
 * README.md lists them. */
#include "faultmodule.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char *const names[] = {
#define FUNCTION(name, parameters, arguments, before, after) #name,
#include "functions.h"
#undef FUNCTION
};

/* What an order was given with, and what its answer is. */
struct order {
  enum function function;
  CK_ULONG number[2];
  bool answers; /* with a number */
  CK_ULONG answer;
  const char *error;
};

static void answer(struct order *o, CK_ULONG n) {
  o->answers = true;
  o->answer = n;
}

static void order_delay(struct order *o) { rules_delay(o->function, o->number[0]); }
static void order_hang(struct order *o) { rules_hang(o->function); }
static void order_release(struct order *o) { rules_release(o->function); }
static void order_fail(struct order *o) { rules_fail(o->function, o->number[0], o->number[1]); }
static void order_fail_every(struct order *o) { rules_fail_every(o->function, o->number[0], o->number[1]); }
static void order_fail_randomly(struct order *o) { rules_fail_randomly(o->function, o->number[0], o->number[1]); }
static void order_clear(struct order *o) { rules_clear(o->function); }

static void order_refuse(struct order *o) {
  if (!rules_refuse(o->number[0], false)) o->error = "too many mechanisms";
}

static void order_hide(struct order *o) {
  if (!rules_refuse(o->number[0], true)) o->error = "too many mechanisms";
}

static void order_drop_sessions(struct order *o) {
  (void)o;
  token_drop_sessions();
}

static void order_lose(struct order *o) {
  (void)o;
  token_lose(LOST);
}

static void order_lose_until_reinit(struct order *o) {
  (void)o;
  token_lose(LOST_UNTIL_REINIT);
}

static void order_restore(struct order *o) {
  (void)o;
  token_lose(PRESENT);
}

static void order_stale_handles(struct order *o) {
  (void)o;
  token_make_handles_stale();
}

static void order_alias_handles(struct order *o) {
  if (!token_alias_handles()) o->error = "searches have found fewer than two objects so far";
}

static void order_clear_all(struct order *o) {
  (void)o;
  for (int f = 0; f < FUNCTIONS; f++) rules_clear(f);
  rules_refuse_none();
  token_lose(PRESENT);
}

static void order_calls(struct order *o) { answer(o, rules_calls(o->function)); }
static void order_hung(struct order *o) { answer(o, rules_waiting(o->function)); }
static void order_objects(struct order *o) { answer(o, token_objects()); }
static void order_sessions(struct order *o) { answer(o, token_sessions()); }
static void order_overlaps(struct order *o) { answer(o, token_overlaps()); }

static void order_reset_calls(struct order *o) {
  (void)o;
  rules_reset_calls();
}

static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static enum { APART, CONNECTED, STARTED } state; /* guarded by mu */

static void set_state(int to) {
  pthread_mutex_lock(&mu);
  state = to;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mu);
}

static void order_start(struct order *o) {
  (void)o;
  set_state(STARTED);
}

static const struct {
  const char *verb;
  bool function; /* whether a function's name follows, */
  int numbers;   /* and after it how many numbers */
  void (*carry_out)(struct order *);
} orders[] = {
    {"delay", true, 1, order_delay},
    {"hang", true, 0, order_hang},
    {"release", true, 0, order_release},
    {"fail", true, 2, order_fail},
    {"fail-every", true, 2, order_fail_every},
    {"fail-randomly", true, 2, order_fail_randomly},
    {"clear", true, 0, order_clear},
    {"refuse", false, 1, order_refuse},
    {"hide", false, 1, order_hide},
    {"drop-sessions", false, 0, order_drop_sessions},
    {"lose", false, 0, order_lose},
    {"lose-until-reinit", false, 0, order_lose_until_reinit},
    {"restore", false, 0, order_restore},
    {"stale-handles", false, 0, order_stale_handles},
    {"alias-handles", false, 0, order_alias_handles},
    {"clear-all", false, 0, order_clear_all},
    {"calls", true, 0, order_calls},
    {"hung", true, 0, order_hung},
    {"objects", false, 0, order_objects},
    {"sessions", false, 0, order_sessions},
    {"overlaps", false, 0, order_overlaps},
    {"reset-calls", false, 0, order_reset_calls},
    {"start", false, 0, order_start},
};

static bool function_named(const char *word, enum function *f) {
  for (int i = 0; word != NULL && i < FUNCTIONS; i++) {
    if (strcmp(names[i], word) == 0) {
      *f = i;
      return true;
    }
  }
  return false;
}

/* obey carries out a line and gives what is wrong with it, or NULL. */
static const char *obey(char *line, struct order *o) {
  static const char blanks[] = " \t\r\n";
  char *rest;
  const char *verb = strtok_r(line, blanks, &rest);
  for (size_t i = 0; verb != NULL && i < sizeof orders / sizeof orders[0]; i++) {
    if (strcmp(orders[i].verb, verb) != 0) continue;
    if (orders[i].function && !function_named(strtok_r(NULL, blanks, &rest), &o->function)) return "no such function";
    for (int n = 0; n < orders[i].numbers; n++) {
      char *word = strtok_r(NULL, blanks, &rest), *end;
      if (word == NULL) return "a number is missing";
      o->number[n] = strtoul(word, &end, 0);
      if (*end != '\0') return "not a number";
    }
    if (strtok_r(NULL, blanks, &rest) != NULL) return "too many words";
    orders[i].carry_out(o);
    return o->error;
  }
  return "no such order";
}

static void say(int connection, const char *verdict, const char *text) {
  char line[256];
  int n = snprintf(line, sizeof line, "%s%s%s\n", verdict, text[0] != '\0' ? " " : "", text);
  send(connection, line, (size_t)n, MSG_NOSIGNAL); /* a driver that is gone is noticed at the next read */
}

/* serve obeys until the driver hangs up, which ends every fault, so that no
 * call stays stuck behind a driver that is gone. */
static void *serve(void *argument) {
  FILE *lines = argument;
  char *line = NULL;
  size_t room = 0;
  while (getline(&line, &room, lines) > 0) {
    struct order o = {0};
    char number[32] = "";
    const char *error = obey(line, &o);
    if (o.answers) snprintf(number, sizeof number, "%lu", o.answer);
    say(fileno(lines), error == NULL ? "ok" : "error", error == NULL ? number : error);
  }
  free(line);
  fclose(lines);
  order_clear_all(&(struct order){0});
  set_state(APART);
  return NULL;
}

static FILE *dial(const char *folder) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const char *named = getenv("FAULTMODULE_SOCKET");
  int n = named != NULL ? snprintf(address.sun_path, sizeof address.sun_path, "%s", named)
                        : snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
  if (n < 0 || (size_t)n >= sizeof address.sun_path) return NULL;
  int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connection < 0) return NULL;
  if (connect(connection, (struct sockaddr *)&address, sizeof address) != 0) {
    close(connection);
    return NULL;
  }
  return fdopen(connection, "r");
}

/* control_connect connects to the driver's socket, if there is one, and returns
 * once the driver has said "start": what it ordered before is then in force for
 * the first call already. */
void control_connect(const char *folder) {
  pthread_mutex_lock(&mu);
  bool apart = state == APART;
  pthread_mutex_unlock(&mu);
  FILE *lines = apart ? dial(folder) : NULL;
  if (lines == NULL) return;
  set_state(CONNECTED);

  /* Signals are the application's business. */
  sigset_t all, before;
  pthread_t thread;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  if (pthread_create(&thread, NULL, serve, lines) == 0) {
    pthread_detach(thread);
  } else {
    fclose(lines);
    set_state(APART);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);

  pthread_mutex_lock(&mu);
  while (state == CONNECTED) pthread_cond_wait(&changed, &mu);
  pthread_mutex_unlock(&mu);
}
