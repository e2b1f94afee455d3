#include "http/trust.h"

#include "common/addr.h"

struct slice trust_address(const char *peer)
{
    const char *colon = strrchr(peer, ':');
    struct slice address = slice_make(peer, colon == NULL ? strlen(peer) : (size_t)(colon - peer));

    if (address.len > 2 && address.data[0] == '[')
        address = slice_make(address.data + 1, address.len - 2);
    return address;
}

bool trust_covers(const struct config *config, const char *peer)
{
    struct slice address = trust_address(peer);
    char text[64];

    if (strcmp(peer, "unix") == 0)
        return true;
    if (config->n_trusted_proxies == 0 || address.len >= sizeof(text))
        return false;
    memcpy(text, address.data, address.len);
    text[address.len] = '\0';
    for (size_t i = 0; i < config->n_trusted_proxies; i++)
        if (addr_in_net(text, config->trusted_proxies[i]) == 1)
            return true;
    return false;
}
