/* A process that accepts connections, greets them as Redis does (OK for the login, PONG), and then
 * answers each command with the next string of a script, whatever the command is: for answers that
 * a real server cannot be made to give. */
#ifndef SUPPORT_SCRIPTED_SERVER_H
#define SUPPORT_SCRIPTED_SERVER_H

#include <sys/types.h>

#define SCRIPTED_RESET "reset" /* instead of an answer: the connection is reset (RST) */

struct scripted_server {
    pid_t pid;
    char address[32];
};

/* answers: NULL-terminated, borrowed; after the last there are no more. Arguments of commands may
 * hold no '*'. */
void scripted_server_start(struct scripted_server *server, const char *const *answers);
void scripted_server_fini(struct scripted_server *server);

#endif
