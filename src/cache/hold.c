/* Several operations as one, on a memory cache: under the gate of its zone. */
#include "cache/impl.h"
#include "shm/gate.h"

#include <assert.h>

bool cache_hold(struct cache *cache)
{
    assert(!cache->l2 && !cache->held);
    cache->held = gate_take(cache->zone);
    return cache->held;
}

bool cache_settle(struct cache *cache, struct slice key)
{
    assert(cache->held);
    return gate_settle(cache->zone, gate_stripe(cache->zone, key));
}

bool cache_settle_all(struct cache *cache)
{
    assert(cache->held);
    for (unsigned i = 0; i < table_stripes(cache->zone); i++)
        if (!gate_settle(cache->zone, i))
            return false;
    return true;
}

void cache_release(struct cache *cache)
{
    assert(cache->held);
    cache->held = false;
    gate_drop(cache->zone);
}

bool cache_look(const struct cache *cache, uint32_t *turn)
{
    return gate_look(cache->zone, turn) || (gate_wait(cache->zone) && gate_look(cache->zone, turn));
}

bool cache_same(const struct cache *cache, uint32_t turn)
{
    return gate_same(cache->zone, turn);
}

bool hold_event(struct cache *cache, bool *took)
{
    *took = !cache->held;
    return cache->held || cache_hold(cache);
}

void hold_event_end(struct cache *cache, bool took)
{
    if (took)
        cache_release(cache);
}
