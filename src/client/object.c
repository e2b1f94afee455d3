/* Serializers: objects to bytes and back. */
#include "client/handle.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static int raw_encode(const void *object, void **data, size_t *len)
{
    const struct cachetastic_bytes *bytes = object;

    *data = malloc(bytes->len + 1);
    if (*data == NULL)
        return -1;
    memcpy(*data, bytes->data, bytes->len);
    *len = bytes->len;
    return 0;
}

static int raw_decode(const void *data, size_t len, void **object)
{
    struct cachetastic_bytes *bytes = malloc(sizeof(*bytes) + len + 1);

    if (bytes == NULL)
        return -1;
    memcpy(bytes + 1, data, len);
    *bytes = (struct cachetastic_bytes){(const char *)(bytes + 1), len};
    *object = bytes;
    return 0;
}

const struct cachetastic_serializer cachetastic_raw = {"raw", raw_encode, raw_decode};

static int json_encode(const void *object, void **data, size_t *len)
{
    *data = json_dumps(object, JSON_COMPACT | JSON_ENCODE_ANY);
    if (*data == NULL)
        return -1;
    *len = strlen(*data);
    return 0;
}

static int json_decode(const void *data, size_t len, void **object)
{
    *object = json_loadb(data, len, JSON_DECODE_ANY, NULL);
    return *object == NULL ? -1 : 0;
}

const struct cachetastic_serializer cachetastic_json = {"json", json_encode, json_decode};

enum cachetastic_status cachetastic_put_object(cachetastic *cache, const char *key, size_t key_len,
                                               const void *object,
                                               const struct cachetastic_serializer *serializer,
                                               const struct cachetastic_put *how)
{
    enum cachetastic_status status;
    void *data;
    size_t len;

    if (serializer->encode(object, &data, &len) != 0)
        return handle_fail(cache, CACHETASTIC_E_INVALID,
                           "the serializer %s does not take this object", serializer->name);
    status = cachetastic_put(cache, key, key_len, data, len, how);
    free(data);
    return status;
}

enum cachetastic_status cachetastic_get_object(cachetastic *cache, const char *key, size_t key_len,
                                               const struct cachetastic_serializer *serializer,
                                               void **object)
{
    struct cachetastic_bytes bytes;
    enum cachetastic_status status = cachetastic_get(cache, key, key_len, &bytes);

    if (status != CACHETASTIC_OK || serializer->decode(bytes.data, bytes.len, object) == 0)
        return status;
    return handle_fail(cache, CACHETASTIC_E_INVALID,
                       "the value is not what the serializer %s writes", serializer->name);
}
