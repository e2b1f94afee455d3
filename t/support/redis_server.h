/* A redis-server of the test's own: on a free port of 127.0.0.1 and on a unix socket, in a
 * temporary directory, ended by its pid. Every failure fails the test. */
#ifndef SUPPORT_REDIS_SERVER_H
#define SUPPORT_REDIS_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct redis_server {
    pid_t pid; /* 0 while it does not run */
    int port;
    char dir[64];
    char address[32];           /* "127.0.0.1:PORT" */
    char unix_address[96];      /* "unix:DIR/sock" */
    const char *const *options; /* "--requirepass", "x", ..., NULL; borrowed */
};

/* Make the directory, choose a port, and start. options: NULL-terminated, or NULL. Returns when it
 * answers. */
void redis_server_start(struct redis_server *server, const char *const *options);
/* Choose everything and do not start: nobody listens at the address. */
void redis_server_reserve(struct redis_server *server, const char *const *options);
/* Start again at the same address. */
void redis_server_restart(struct redis_server *server);
void redis_server_kill(struct redis_server *server,
                       int signal); /* SIGKILL, SIGTERM: waits for its end */
void redis_server_freeze(struct redis_server *server, bool frozen);
/* End it if it runs, remove the directory. */
void redis_server_fini(struct redis_server *server);

#endif
