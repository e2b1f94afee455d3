/* A worker without a daemon: loop, limits and scoreboard, and sessions that speak one-line
 * commands.
 *
 * Lines of the fake protocol (both sessions): "eTEXT" answers TEXT; "lN" is answered later by
 * fake_answer(N); "bN" answers N bytes; "w" waits until nothing is pending, then answers "w"; "y"
 * answers "y" and yields; "q" answers "bye" and closes; "a" aborts. */
#ifndef FAKE_WORKER_H
#define FAKE_WORKER_H

#include "common/config.h"
#include "worker/conn.h"

struct fake {
    struct config config;
    struct config_listener listener;
    struct scoreboard *board;
    struct heritage heritage;
    struct worker *worker;
};

/* self: this worker's slot of n_slots. board: shared by several fakes, or NULL for one of its own.
 */
void fake_start(struct fake *fake, unsigned self, unsigned n_slots, struct scoreboard *board);
/* Closes every connection and checks that nothing is left on the loop. */
void fake_end(struct fake *fake);
/* A connection: returns the client's (non-blocking) end. */
int fake_connect(struct fake *fake);
/* Let the loop run until it has nothing to do at once. */
void fake_turns(struct fake *fake);
/* Finish the pending request "lN" with the reply "lN;". */
void fake_answer(unsigned number);
unsigned fake_open_requests(void);
unsigned fake_open_sessions(void);

void fake_send(int fd, const char *text);
/* What has arrived, NUL-terminated; "EOF" appended when the other side has ended. Static storage.
 */
const char *fake_received(int fd);

#endif
