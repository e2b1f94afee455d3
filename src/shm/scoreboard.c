#include "shm/scoreboard.h"

#include "common/clock.h"

#include <stddef.h>
#include <sys/mman.h>

int scoreboard_create(uint32_t n_slots, struct scoreboard **out, struct errmsg *msg)
{
    struct scoreboard *board;

    if (n_slots == 0 || n_slots > SCOREBOARD_MAX)
        return err_set(msg, ERR_INVALID, "a scoreboard has 1 to %d slots, not %u", SCOREBOARD_MAX,
                       n_slots);
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        return err_set_errno(msg, "cannot map the scoreboard");
    board->n_slots = n_slots;
    board->started_wall_ms = clock_wall_ms();
    for (uint32_t i = 0; i < SCOREBOARD_MAX; i++)
        atomic_init(&board->slots[i].adopter, SCOREBOARD_NOBODY);
    *out = board;
    return ERR_OK;
}

void scoreboard_destroy(struct scoreboard *board)
{
    if (board != NULL)
        munmap(board, sizeof(*board));
}
